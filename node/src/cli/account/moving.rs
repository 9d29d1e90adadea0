//! `angel account move-out` and `move-in`: an account goes to any other PDS, or comes from one, by the procedure that the
//! AT Protocol documents ("Account Migration").
//!
//! Every step is looked at before it is done, at the two hosts themselves: whoever calls the verb again goes on where it
//! broke off. Nothing is asked where there is no terminal; each answer is also a flag.

mod private;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::client::Daemon;
use super::super::exit::{Code, Failure};
use super::super::output::row;
use super::{Said, text};

/// How long a host may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);

/// Longest password or code that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 1024;

/// Files that are asked for at a time.
const FILES_PAGE: &str = "100";

#[derive(Args, Debug)]
pub(in super::super) struct MoveOutArgs {
    /// The account's handle or DID.
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// The host that it goes to.
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    answers: Answers,
}

#[derive(Args, Debug)]
pub(in super::super) struct MoveInArgs {
    /// The account's handle or DID at the host that it leaves.
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// The host that it comes from.
    #[arg(long, value_name = "URL")]
    from: String,
    #[command(flatten)]
    answers: Answers,
}

/// What is asked where a terminal is there and the flag is not.
#[derive(Args, Debug)]
struct Answers {
    /// The handle that it is to have at the new host.
    #[arg(long, value_name = "HANDLE")]
    handle: String,
    /// Where the new host's codes and notices go.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// An invite code of the new host, where it asks for one.
    #[arg(long, value_name = "CODE")]
    invite: Option<String>,
    /// A file with the account's password at the host that it leaves. The new host gets the same, unless another file is
    /// named.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A file with the password for the new host.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// The code that the old host mails before it signs the identity away. Without it the move stops there and goes on
    /// when the verb is called again with it.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// The code that the old host mails before it lets somebody in whose account asks for one. Without it the move stops
    /// there and goes on when the verb is called again with it.
    #[arg(long, value_name = "CODE")]
    sign_in_code: Option<String>,
    /// Leave behind what it wrote in spaces that are not public, for a new host that does not take it in.
    #[arg(long)]
    leave_private: bool,
}

/// A host as one of its accounts sees it.
struct Pds {
    url: String,
    client: reqwest::Client,
    token: Option<Zeroizing<String>>,
}

/// What a host answered that was no success.
struct Refusal {
    status: Option<StatusCode>,
    name: String,
    message: String,
}

impl Refusal {
    /// Whether the host has no such method.
    fn is_of_no_method(&self) -> bool {
        self.name == "MethodNotImplemented"
    }

    /// Whether the host has mailed a code that it wants beside the password.
    fn wants_code(&self) -> bool {
        self.name == "AuthFactorTokenRequired"
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(Code::Daemon, refusal.message)
    }
}

type Asked<T> = Result<T, Refusal>;

impl Pds {
    fn new(url: &str) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().read_timeout(SILENCE_LIMIT).build();
        let client = client.map_err(|error| Failure::unexpected(format!("cannot make requests: {error}")))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client, token: None })
    }

    fn refusal(&self, method: &str, why: impl std::fmt::Display) -> Refusal {
        Refusal { status: None, name: String::new(), message: format!("{} does not answer {method}: {why}", self.url) }
    }

    async fn exchange(
        &self,
        verb: Method,
        method: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Asked<reqwest::Response> {
        let mut request = self.client.request(verb, format!("{}/xrpc/{method}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.as_str());
        }
        let response = fill(request).send().await.map_err(|error| self.refusal(method, crate::tasks::chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = response.json().await.unwrap_or_default();
        let (name, said) = (text(&body, "error"), text(&body, "message"));
        let message = format!("{} refuses {method} ({status}): {name} {said}", self.url);
        Err(Refusal { status: Some(status), name, message })
    }

    async fn json(
        &self,
        verb: Method,
        method: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Asked<Value> {
        let response = self.exchange(verb, method, fill).await?;
        let bytes = response.bytes().await.map_err(|error| self.refusal(method, error))?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, method: &str) -> Asked<Value> {
        self.json(Method::GET, method, |request| request).await
    }

    async fn post(&self, method: &str, body: &Value) -> Asked<Value> {
        self.json(Method::POST, method, |request| request.json(body)).await
    }

    async fn act(&self, method: &str) -> Asked<Value> {
        self.json(Method::POST, method, |request| request).await
    }

    async fn log_in(&mut self, who: &str, password: &str, code: Option<&str>) -> Asked<Value> {
        self.token = None;
        let mut body = json!({ "identifier": who, "password": password, "allowTakendown": true });
        if let Some(code) = code {
            body["authFactorToken"] = code.into();
        }
        let session = self.post("com.atproto.server.createSession", &body).await?;
        self.token = Some(Zeroizing::new(text(&session, "accessJwt")));
        Ok(session)
    }
}

/// Both ends of a move, and what was answered.
struct Wizard<'a> {
    old: Pds,
    new: Pds,
    did: String,
    password: Zeroizing<String>,
    new_password: Zeroizing<String>,
    answers: &'a Answers,
    /// The node itself, where it is the host that is left: it knows the code that it would mail.
    daemon: Option<&'a Daemon>,
    done: Vec<(String, String)>,
}

pub(super) async fn move_out(daemon: &Daemon, args: &MoveOutArgs) -> Result<Said, Failure> {
    let found = daemon.post("/admin/accounts/find", &json!({ "account": args.account })).await?;
    let did = text(&found, "did");
    run(daemon, daemon.url(), &args.to, &did, &args.answers, true).await
}

pub(super) async fn move_in(daemon: &Daemon, args: &MoveInArgs) -> Result<Said, Failure> {
    run(daemon, &args.from, daemon.url(), &args.account, &args.answers, false).await
}

async fn run(
    daemon: &Daemon,
    old: &str,
    new: &str,
    account: &str,
    answers: &Answers,
    is_out: bool,
) -> Result<Said, Failure> {
    let password = secret(answers.password_file.as_deref(), "password at the old host", "--password-file")?;
    let new_password = match &answers.new_password_file {
        Some(path) => secret(Some(path), "password for the new host", "--new-password-file")?,
        None => password.clone(),
    };
    let (mut old, new) = (Pds::new(old)?, Pds::new(new)?);
    let daemon_as_old = is_out.then_some(daemon);
    let session = log_in_to_leave(&mut old, account, &password, answers, daemon_as_old).await?;
    let did = text(&session, "did");
    let mut wizard = Wizard { old, new, did, password, new_password, answers, daemon: daemon_as_old, done: Vec::new() };
    wizard.done("log in", format!("{} as {}", wizard.old.url, wizard.did));
    wizard.make_account(if is_out { None } else { Some(daemon) }).await?;
    if wizard.status().await?["activated"] == true {
        // It has all of this, and may have written on since.
        wizard.done("account", "is in use at the new host already");
    } else {
        wizard.import_records().await?;
        wizard.copy_files().await?;
        wizard.copy_preferences().await?;
        wizard.carry_private().await?;
    }
    if !wizard.move_identity().await? {
        return Ok(wizard.said("waiting for the code"));
    }
    wizard.switch().await?;
    Ok(wizard.said("moved"))
}

/// A session at the host that is left, with the code that it mails where the account asks for one.
async fn log_in_to_leave(
    old: &mut Pds,
    account: &str,
    password: &str,
    answers: &Answers,
    daemon: Option<&Daemon>,
) -> Result<Value, Failure> {
    let refusal = match old.log_in(account, password, answers.sign_in_code.as_deref()).await {
        Err(refusal) if refusal.wants_code() => refusal,
        outcome => return Ok(outcome?),
    };
    let code = match daemon {
        Some(daemon) => {
            let wish = json!({ "account": account, "purpose": "sign_in" });
            text(&daemon.post("/admin/accounts/code", &wish).await?, "code")
        }
        None if std::io::stdin().is_terminal() => typed("sign-in code from the old host's mail")?.trim().to_owned(),
        None => {
            let words = format!("{} ({}). Call the same verb again with --sign-in-code CODE", refusal.message, old.url);
            return Err(Failure::new(Code::Daemon, words));
        }
    };
    Ok(old.log_in(account, password, Some(&code)).await?)
}

impl Wizard<'_> {
    /// Shows a step that is done.
    fn done(&mut self, step: &str, what: impl Into<String>) {
        let what = what.into();
        eprintln!("{step:12} {what}");
        self.done.push((step.to_owned(), what));
    }

    fn said(self, status: &str) -> Said {
        let steps: Vec<_> = self.done.iter().map(|(step, what)| json!({ "step": step, "what": what })).collect();
        let (old, new) = (self.old.url, self.new.url);
        let answer = json!({ "did": self.did, "from": old, "to": new, "status": status, "steps": steps });
        let mut words = vec![row("did", &self.did), row("from", &old), row("to", &new), row("status", status)];
        if status != "moved" {
            words.push("The old host has mailed a code. Call the same verb again with --code CODE.".to_owned());
        }
        (answer, words)
    }

    /// The account at the new host, switched off, by the word of the old one. One that is there from before is taken up.
    async fn make_account(&mut self, host: Option<&Daemon>) -> Result<(), Failure> {
        if self.new.log_in(&self.did, &self.new_password, None).await.is_ok() {
            self.done("account", "was made before");
            return Ok(());
        }
        let server = self.new.get("com.atproto.server.describeServer").await?;
        let audience = text(&server, "did");
        let query = [("aud", audience.as_str()), ("lxm", "com.atproto.server.createAccount")];
        let proof = self.old.get(&with("com.atproto.server.getServiceAuth", query)).await?;
        let mut wish = json!({
            "did": self.did, "handle": self.answers.handle, "password": *self.new_password, "email": self.answers.email,
        });
        let mut invite = self.answers.invite.clone();
        if invite.is_none()
            && server["inviteCodeRequired"] == true
            && let Some(host) = host
        {
            let made = host.post("/xrpc/com.atproto.server.createInviteCode", &json!({ "useCount": 1 })).await?;
            invite = Some(text(&made, "code"));
        }
        if let Some(invite) = invite {
            wish["inviteCode"] = invite.into();
        }
        self.new.token = Some(Zeroizing::new(text(&proof, "token")));
        let made = self.new.post("com.atproto.server.createAccount", &wish).await?;
        self.new.token = Some(Zeroizing::new(text(&made, "accessJwt")));
        self.done("account", format!("{} at {}, switched off", self.answers.handle, self.new.url));
        Ok(())
    }

    async fn status(&self) -> Result<Value, Failure> {
        Ok(self.new.get("com.atproto.server.checkAccountStatus").await?)
    }

    /// The records, once; whether they are all there is seen when both hosts count the same.
    async fn import_records(&mut self) -> Result<(), Failure> {
        let (here, there) = (self.old.get("com.atproto.server.checkAccountStatus").await?, self.status().await?);
        if there["indexedRecords"] == here["indexedRecords"] && here["indexedRecords"].as_u64().is_some_and(|it| it > 0)
        {
            self.done("records", "were there before");
            return Ok(());
        }
        let query = [("did", self.did.as_str())];
        let car = self.old.exchange(Method::GET, &with("com.atproto.sync.getRepo", query), |it| it).await?;
        // From one host to the other, without a place of its own here.
        let car = car.bytes().await.map_err(|error| self.old.refusal("com.atproto.sync.getRepo", error))?;
        let bytes = car.len();
        let filled = |request: RequestBuilder| request.header(CONTENT_TYPE, "application/vnd.ipld.car").body(car);
        self.new.exchange(Method::POST, "com.atproto.repo.importRepo", filled).await?;
        let there = self.status().await?;
        if there["indexedRecords"] != here["indexedRecords"] {
            let words = format!("{} records are there and {} here", there["indexedRecords"], here["indexedRecords"]);
            return Err(Failure::new(Code::Daemon, words));
        }
        self.done("records", format!("{} in {bytes} bytes", here["indexedRecords"]));
        Ok(())
    }

    /// The files that records name and that the new host lacks.
    async fn copy_files(&mut self) -> Result<(), Failure> {
        let (mut copied, mut lost, mut after) = (0_u64, Vec::new(), None::<String>);
        loop {
            let query = [("limit", FILES_PAGE)].into_iter().chain(after.as_deref().map(|after| ("cursor", after)));
            let page = self.new.get(&with("com.atproto.repo.listMissingBlobs", query)).await?;
            let missing: Vec<_> = page["blobs"].as_array().into_iter().flatten().map(|it| text(it, "cid")).collect();
            for cid in &missing {
                if self.copy_file(cid).await? { copied += 1 } else { lost.push(cid.clone()) }
            }
            after = page["cursor"].as_str().map(ToOwned::to_owned);
            if missing.is_empty() || after.is_none() {
                break;
            }
        }
        self.done("files", format!("{copied} copied"));
        if !lost.is_empty() {
            self.done("files", format!("{} are not at the old host either: {}", lost.len(), lost.join(" ")));
        }
        Ok(())
    }

    /// Whether the old host had it.
    async fn copy_file(&self, cid: &str) -> Result<bool, Failure> {
        let query = [("did", self.did.as_str()), ("cid", cid)];
        self.copy_file_of(&with("com.atproto.sync.getBlob", query)).await
    }

    /// Whether the old host had the file that it is asked for like this.
    async fn copy_file_of(&self, asked: &str) -> Result<bool, Failure> {
        let file = match self.old.exchange(Method::GET, asked, |it| it).await {
            Ok(file) => file,
            Err(refusal) if refusal.status.is_some_and(|status| status.is_client_error()) => return Ok(false),
            Err(refusal) => return Err(refusal.into()),
        };
        // Whoever takes a file wants to be told what it is.
        let unknown = HeaderValue::from_static("application/octet-stream");
        let kind = file.headers().get(CONTENT_TYPE).cloned().unwrap_or(unknown);
        let bytes = file.bytes().await.map_err(|error| self.old.refusal(asked, error))?;
        let filled = |request: RequestBuilder| request.header(CONTENT_TYPE, kind).body(bytes);
        self.new.exchange(Method::POST, "com.atproto.repo.uploadBlob", filled).await?;
        Ok(true)
    }

    async fn copy_preferences(&mut self) -> Result<(), Failure> {
        let preferences = match self.old.get("app.bsky.actor.getPreferences").await {
            Ok(preferences) => preferences,
            // Hosts that serve no application view may not know them.
            Err(refusal) if refusal.is_of_no_method() => return Ok(()),
            Err(refusal) => return Err(refusal.into()),
        };
        let mut kept = preferences["preferences"].as_array().cloned().unwrap_or_default();
        // What a host works out itself is nobody's to carry.
        kept.retain(|it| it["$type"] != "app.bsky.actor.defs#declaredAgePref");
        let count = kept.len();
        self.new.post("app.bsky.actor.putPreferences", &json!({ "preferences": kept })).await?;
        self.done("preferences", format!("{count} copied"));
        Ok(())
    }

    /// Points the identity at the new host, with the old one's signature. `false` where its code is still to come.
    async fn move_identity(&mut self) -> Result<bool, Failure> {
        if self.status().await?["validDid"] == true {
            self.done("identity", "leads to the new host already");
            return Ok(true);
        }
        if !self.did.starts_with("did:plc:") {
            let words = format!("point {} at {} yourself, then call this again", self.did, self.new.url);
            return Err(Failure::new(Code::Daemon, words));
        }
        let Some(code) = self.code().await? else { return Ok(false) };
        let mut wish = self.new.get("com.atproto.identity.getRecommendedDidCredentials").await?;
        wish["token"] = code.into();
        let signed = self.old.post("com.atproto.identity.signPlcOperation", &wish).await?;
        self.new.post("com.atproto.identity.submitPlcOperation", &signed).await?;
        self.done("identity", format!("leads to {}", self.new.url));
        Ok(true)
    }

    /// The code that the old host wants: given, known to this node, or typed; otherwise it is mailed.
    async fn code(&mut self) -> Result<Option<String>, Failure> {
        if let Some(code) = &self.answers.code {
            return Ok(Some(code.clone()));
        }
        self.old.act("com.atproto.identity.requestPlcOperationSignature").await?;
        if let Some(daemon) = self.daemon {
            let wish = json!({ "account": self.did, "purpose": "plc_operation" });
            let answer = daemon.post("/admin/accounts/code", &wish).await?;
            return Ok(Some(text(&answer, "code")));
        }
        if !std::io::stdin().is_terminal() {
            self.done("code", "asked for; it is in the mail");
            return Ok(None);
        }
        Ok(Some(typed("code from the old host's mail")?.trim().to_owned()))
    }

    /// On at the new host, off at the old one.
    async fn switch(&mut self) -> Result<(), Failure> {
        if self.status().await?["activated"] != true {
            self.new.act("com.atproto.server.activateAccount").await?;
        }
        self.done("activate", self.new.url.clone());
        // With the session from the beginning, unless that is over: a second login might want a second code.
        let session = match self.old.get("com.atproto.server.getSession").await {
            Err(_) => self.old.log_in(&self.did, &self.password, None).await,
            there => there,
        };
        let session = session.map_err(|refusal| {
            let words = "the account is in use at the new host, and the old one was not told to switch its copy off";
            Failure::new(Code::Daemon, format!("{words}: {}. Call the same verb again", refusal.message))
        })?;
        if session["active"] != false {
            self.carry_spaces().await?;
            self.old.post("com.atproto.server.deactivateAccount", &json!({})).await?;
        }
        self.done("deactivate", self.old.url.clone());
        Ok(())
    }
}

/// A method with its parameters.
fn with<'p>(method: &str, parameters: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{method}?{query}")
}

/// A secret from its file, or typed where there is a terminal.
fn secret(path: Option<&Path>, what: &str, flag: &str) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = path else {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(
                Code::Usage,
                format!("there is no terminal to ask for the {what}: name {flag} FILE"),
            ));
        }
        return typed(what);
    };
    let mut read = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize));
    let file = std::fs::File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut read));
    file.map_err(|error| Failure::new(Code::Usage, format!("cannot read {}: {error}", path.display())))?;
    Ok(Zeroizing::new(read.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A line from the terminal. It is shown while it is typed: whoever minds uses a file.
fn typed(what: &str) -> Result<Zeroizing<String>, Failure> {
    eprint!("{what}: ");
    drop(std::io::stderr().flush());
    let mut line = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize));
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::new(Code::Usage, format!("cannot read the {what}: {error}")))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
