//! Businesses on the real daemon: made by one command, entered by their first admin and by whoever is invited, held to
//! their plan, closed, taken out and brought back; and of one business nobody learns anything through another.

mod figures;

use std::collections::BTreeSet;
use std::process::Output;
use std::time::{Duration, Instant};

use angel_harness::binary::{Daemon, Launch, PATIENCE, verb};
use angel_harness::wait::until;
use angel_protocol::lexicon::flags::{Class, Flags};
use angel_protocol::lexicon::{Catalog, Definition};
use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt as _;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::walk::{Known, Record, questions, routes};

struct Host {
    daemon: Daemon,
    client: Client,
    dir: tempfile::TempDir,
}

/// Somebody who logged in.
struct Person {
    did: String,
    token: String,
}

/// An answer: its status and what it says.
type Answer = (u16, Value);

impl Host {
    fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self { daemon: Self::launch(&dir).start()?, client: Client::new(), dir })
    }

    fn launch(dir: &tempfile::TempDir) -> Launch {
        let launch = Launch::in_dir(&dir.path().join("data")).env("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test");
        launch.env("ANGEL_HTTP_RATE_LIMITS", "false")
    }

    fn angel(&self, words: &[&str]) -> Result<Value> {
        let Output { status, stdout, stderr } = verb(&self.dir.path().join("data"), &[words, &["--json"]].concat())?;
        ensure!(status.success(), "angel {words:?}: {}", String::from_utf8_lossy(&stderr));
        Ok(serde_json::from_slice(&stdout)?)
    }

    async fn ask(&self, method: Method, name: &str, person: Option<&Person>, body: Option<&Value>) -> Result<Answer> {
        let request = self.client.request(method, format!("{}/xrpc/{name}", self.daemon.fact("httpUrl")));
        let request = if let Some(person) = person { request.bearer_auth(&person.token) } else { request };
        let request = if let Some(body) = body { request.json(body) } else { request };
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
    }

    async fn get(&self, name: &str, person: Option<&Person>) -> Result<Answer> {
        self.ask(Method::GET, name, person, None).await
    }

    async fn post(&self, name: &str, person: &Person, body: &Value) -> Result<Answer> {
        self.ask(Method::POST, name, Some(person), Some(body)).await
    }

    async fn log_in(&self, identifier: &str, password: &str) -> Result<Person> {
        let body = json!({ "identifier": identifier, "password": password });
        let (status, answer) = self.ask(Method::POST, "com.atproto.server.createSession", None, Some(&body)).await?;
        ensure!(status == 200, "{answer}");
        person(&answer)
    }

    async fn sign_up(&self, name: &str) -> Result<Person> {
        let body = json!({ "handle": format!("{name}.angel.test"), "password": "correct horse battery" });
        let (status, answer) = self.ask(Method::POST, "com.atproto.server.createAccount", None, Some(&body)).await?;
        ensure!(status == 200, "{answer}");
        person(&answer)
    }

    /// Everything that a space tells by server-sent events, up to closing time.
    async fn events(&self, person: Option<&Person>, space: &str) -> Result<String> {
        let url = format!("{}/api/spaces/events?space={space}&cursor=0", self.daemon.fact("httpUrl"));
        let request = self.client.get(url);
        let request = if let Some(person) = person { request.bearer_auth(&person.token) } else { request };
        let mut response = request.send().await?.error_for_status()?;
        let mut told = String::new();
        while !told.contains("closing time") {
            let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await.context("something is told")??;
            told.push_str(&String::from_utf8_lossy(&chunk.context("the stream goes on")?));
        }
        Ok(told)
    }

    /// The same by `subscribeSpace`, as JSON.
    async fn frames(&self, person: Option<&Person>, space: &str) -> Result<String> {
        let url = self.daemon.fact("httpUrl").replacen("http", "ws", 1);
        let url = format!("{url}/xrpc/co.kendev.spaces.subscribeSpace?space={space}&cursor=0&format=json");
        let mut request = url.into_client_request()?;
        if let Some(person) = person {
            request.headers_mut().insert("authorization", format!("Bearer {}", person.token).parse()?);
        }
        let (mut stream, _) = tokio_tungstenite::connect_async(request).await?;
        let mut told = String::new();
        while !told.contains("closing time") {
            let frame = tokio::time::timeout(PATIENCE, stream.next()).await.context("something is told")?;
            let frame = frame.context("the stream goes on")??;
            told.push_str(frame.to_text()?);
            ensure!(!told.contains("\"error\""), "{told}");
        }
        Ok(told)
    }

    /// A tenant made by one command, and its first admin, logged in.
    async fn tenant(&self, template: &str, slug: &str) -> Result<(String, Person)> {
        let made = self.angel(&["tenant", "create", "--template", template, slug])?;
        let did = made["tenant"]["did"].as_str().context("a DID")?.to_owned();
        let handle = made["owner"]["handle"].as_str().context("the owner's handle")?;
        let password = made["owner"]["password"].as_str().context("the owner's password")?;
        Ok((did, self.log_in(handle, password).await?))
    }
}

fn person(answer: &Value) -> Result<Person> {
    let text = |name: &str| answer[name].as_str().map(ToOwned::to_owned).context("a session");
    Ok(Person { did: text("did")?, token: text("accessJwt")? })
}

fn refused(answer: &Answer, status: u16, name: &str) -> Result<()> {
    ensure!(answer.0 == status && answer.1["error"] == name, "expected {status} {name}: {answer:?}");
    Ok(())
}

fn space(tenant: &str, slug: &str, visibility: &str) -> Value {
    json!({
        "repo": tenant,
        "collection": "co.kendev.spaces.space",
        "record": {
            "$type": "co.kendev.spaces.space",
            "name": slug,
            "slug": slug,
            "tenant": tenant,
            "businessIdentity": { "type": "business", "industry": "general" },
            "visibility": visibility,
            "memberApproval": "automatic",
            "createdAt": "2026-11-21T12:00:00.000Z",
        },
    })
}

#[tokio::test]
async fn one_command_makes_a_working_business_of_each_kind_in_under_ten_seconds() -> Result<()> {
    let host = Host::start()?;
    let templates = [
        "basic-business",
        "ecommerce-store",
        "service-provider",
        "creative-agency",
        "saas-company",
        "non-profit",
        "custom",
    ];
    for (number, template) in templates.into_iter().enumerate() {
        let began = Instant::now();
        let slug = format!("shop{number}");
        let (tenant, owner) = host.tenant(template, &slug).await?;
        let (status, page) = host
            .get(
                &format!("com.atproto.repo.listRecords?repo={slug}.angel.test&collection=co.kendev.spaces.space"),
                None,
            )
            .await?;
        let took = began.elapsed();
        println!("{template}: {} ms from the command to the first public read", took.as_millis());
        ensure!(took < Duration::from_secs(10), "{template} took {took:?}");
        ensure!(status == 200 && page["records"][0]["value"]["tenant"] == tenant.as_str(), "{page}");
        let (_, told) = host.get(&format!("co.kendev.tenants.getProvisioning?tenant={slug}"), Some(&owner)).await?;
        ensure!(told["isProvisioned"] == true, "{told}");
        let steps = told["log"].as_array().context("a log")?;
        ensure!(steps.len() == 10 && steps.iter().all(|step| step["status"] == "success"), "{told}");
        // What is for members alone is in no public answer.
        for (collection, _) in
            Flags::builtin().collections.iter().filter(|(_, rules)| rules.class == Class::Permissioned)
        {
            let query = format!("com.atproto.repo.listRecords?repo={tenant}&collection={collection}");
            let (_, listed) = host.get(&query, None).await?;
            ensure!(listed["records"] == json!([]), "{collection}: {listed}");
        }
        let car =
            host.client.get(format!("{}/xrpc/com.atproto.sync.getRepo?did={tenant}", host.daemon.fact("httpUrl")));
        let car = car.send().await?.bytes().await?;
        for private in ["First project", "First product", "told by its node", "First campaign"] {
            ensure!(!car.windows(private.len()).any(|bytes| bytes == private.as_bytes()), "{template}: {private}");
        }
    }
    let taken = host.angel(&["tenant", "create", "--template", "custom", "shop0", "--owner", "did:web:a.example"]);
    ensure!(taken.is_err(), "a short name is given once");
    let listed = host.angel(&["tenant", "list"])?;
    ensure!(listed["tenants"].as_array().map(Vec::len) == Some(7), "{listed}");
    Ok(())
}

#[tokio::test]
async fn people_come_in_by_invitation_and_do_what_their_role_allows() -> Result<()> {
    let host = Host::start()?;
    let (tenant, owner) = host.tenant("basic-business", "hays").await?;
    let (member, other) = (host.sign_up("mila").await?, host.sign_up("otto").await?);
    let invitation = json!({ "tenant": "hays", "role": "tenant_manager", "permissions": ["manage_content"] });
    let stranger = host.post("co.kendev.tenants.invite", &member, &invitation).await?;
    refused(&stranger, 400, "TenantNotFound")?;
    let (status, invited) = host.post("co.kendev.tenants.invite", &owner, &invitation).await?;
    ensure!(status == 200, "{invited}");
    let acceptance = json!({ "tenant": tenant, "token": invited["token"] });
    let (status, accepted) = host.post("co.kendev.tenants.acceptInvite", &member, &acceptance).await?;
    ensure!(status == 200 && accepted["membership"]["value"]["user"] == member.did.as_str(), "{accepted}");
    refused(&host.post("co.kendev.tenants.acceptInvite", &other, &acceptance).await?, 400, "InvitationNotFound")?;

    let (_, members) = host.get("co.kendev.tenants.listMemberships?tenant=hays", Some(&member)).await?;
    ensure!(members["memberships"].as_array().map(Vec::len) == Some(2), "{members}");
    let page = json!({
        "repo": tenant,
        "collection": "co.kendev.content.page",
        "record": {
            "title": "News", "slug": "news", "tenant": tenant, "published": true, "pageType": "custom",
            "content": { "text": "Something new.", "format": "plain" }, "createdAt": "2026-11-21T12:00:00.000Z",
        },
    });
    let (status, written) = host.post("com.atproto.repo.createRecord", &member, &page).await?;
    ensure!(status == 200, "a manager of content writes a page: {written}");
    let more = host.post("com.atproto.repo.createRecord", &member, &space(&tenant, "more", "public")).await?;
    refused(&more, 403, "NotAllowed")?;
    let outside = host.post("com.atproto.repo.createRecord", &other, &page).await?;
    ensure!(outside.0 == 401, "{outside:?}");
    refused(&host.post("co.kendev.tenants.invite", &member, &invitation).await?, 403, "NotAllowed")?;

    let left = json!({ "tenant": "hays", "user": member.did, "status": "revoked" });
    let (status, answer) = host.post("co.kendev.tenants.setRole", &owner, &left).await?;
    ensure!(status == 200, "{answer}");
    refused(&host.get("co.kendev.tenants.getPlan?tenant=hays", Some(&member)).await?, 400, "TenantNotFound")?;
    let again = host.post("com.atproto.repo.createRecord", &member, &page).await?;
    ensure!(again.0 == 401, "rights end with the membership: {again:?}");
    Ok(())
}

#[tokio::test]
async fn a_record_that_breaks_the_rules_is_refused_by_name_and_path() -> Result<()> {
    let host = Host::start()?;
    let (tenant, owner) = host.tenant("basic-business", "hays").await?;
    let (elsewhere, _) = host.tenant("basic-business", "other").await?;
    let write = async |collection: &str, record: Value| {
        let body = json!({ "repo": tenant, "collection": collection, "record": record });
        let (status, answer) = host.post("com.atproto.repo.createRecord", &owner, &body).await?;
        let message = answer["message"].as_str().unwrap_or_default().to_owned();
        ensure!(status == 400 && answer["error"] == "InvalidRequest", "{collection}: {status} {answer}");
        Ok(message)
    };
    let private = write("co.kendev.spaces.space", space(&tenant, "secret", "private")["record"].clone()).await?;
    ensure!(private.starts_with("/visibility: "), "{private}");
    let mut foreign = space(&tenant, "mine", "public")["record"].clone();
    foreign["tenant"] = elsewhere.as_str().into();
    ensure!(write("co.kendev.spaces.space", foreign).await?.starts_with("/tenant: "));
    let mut computed = space(&tenant, "mine", "public")["record"].clone();
    computed["stats"] = json!({ "memberCount": 1000 });
    ensure!(write("co.kendev.spaces.space", computed).await?.starts_with("/stats/memberCount: "));
    let (_, spaces) = host
        .get(&format!("com.atproto.repo.listRecords?repo={elsewhere}&collection=co.kendev.spaces.space"), None)
        .await?;
    let channel = json!({
        "name": "theirs", "tenant": tenant, "space": spaces["records"][0]["uri"], "channelType": "chat",
        "accessControl": { "visibility": "public" }, "createdAt": "2026-11-21T12:00:00.000Z",
    });
    ensure!(write("co.kendev.spaces.channel", channel.clone()).await?.starts_with("/space: refers to a record of"));
    let mut nowhere = channel;
    nowhere["space"] = format!("at://{tenant}/co.kendev.spaces.space/2222222222222").into();
    ensure!(write("co.kendev.spaces.channel", nowhere).await?.starts_with("/space: "));
    ensure!(write("co.kendev.business.lead", json!({ "email": "a@example.com" })).await?.contains("certain people"));
    let secret = json!({
        "title": "Keys", "slug": "keys", "tenant": tenant, "published": true, "pageType": "custom",
        "content": { "text": format!("sk_live_{}", "4eC39HqLyjWDarjtT1zdp7dc") }, "createdAt": "2026-11-21T12:00:00.000Z",
    });
    let told = write("co.kendev.content.page", secret).await?;
    ensure!(told.starts_with("/content/text: ") && !told.contains("4eC39"), "{told}");
    let log = host.daemon.log().join("\n");
    ensure!(!log.contains("4eC39"), "a secret is in no log");
    Ok(())
}

#[tokio::test]
async fn a_plan_is_a_limit_with_figures_and_a_suspended_business_is_closed() -> Result<()> {
    let host = Host::start()?;
    let (tenant, owner) = host.tenant("basic-business", "hays").await?;
    for slug in ["second", "third"] {
        let (status, answer) =
            host.post("com.atproto.repo.createRecord", &owner, &space(&tenant, slug, "public")).await?;
        ensure!(status == 200, "{answer}");
    }
    let fourth = space(&tenant, "fourth", "public");
    let full = host.post("com.atproto.repo.createRecord", &owner, &fourth).await?;
    refused(&full, 402, "UsageLimitExceeded")?;
    let figures = json!([full.1["resource"], full.1["limit"], full.1["used"], full.1["plan"]]);
    ensure!(figures == json!(["spaces", 3, 3, "free"]), "{full:?}");
    let (_, usage) = host.get("co.kendev.tenants.getUsage?tenant=hays", Some(&owner)).await?;
    let spaces = usage["figures"].as_array().context("figures")?.iter().find(|one| one["resource"] == "spaces");
    ensure!(spaces.is_some_and(|one| one["used"] == 3 && one["limit"] == 3), "{usage}");
    host.angel(&["tenant", "plan", "hays", "starter"])?;
    let (status, answer) = host.post("com.atproto.repo.createRecord", &owner, &fourth).await?;
    ensure!(status == 200, "a larger plan has room: {answer}");

    host.angel(&["tenant", "suspend", "hays"])?;
    let closed = host.post("com.atproto.repo.createRecord", &owner, &space(&tenant, "fifth", "public")).await?;
    refused(&closed, 403, "TenantClosed")?;
    let (_, notice) = host.get("co.kendev.tenants.getTenant?tenant=hays", None).await?;
    ensure!(notice["status"] == "suspended", "{notice}");
    let (status, plan) = host.get("co.kendev.tenants.getPlan?tenant=hays", Some(&owner)).await?;
    ensure!(status == 200 && plan["plan"] == "starter", "members read: {plan}");
    let (_, listed) = host.get("co.kendev.tenants.listTenants", None).await?;
    ensure!(listed["tenants"] == json!([]), "{listed}");
    host.angel(&["tenant", "reopen", "hays"])?;
    let (status, answer) =
        host.post("com.atproto.repo.createRecord", &owner, &space(&tenant, "fifth", "public")).await?;
    ensure!(status == 200, "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_business_is_taken_out_whole_and_brought_back() -> Result<()> {
    let host = Host::start()?;
    let (tenant, owner) = host.tenant("creative-agency", "studio").await?;
    let records = async || -> Result<Value> {
        let mut all = vec![];
        for collection in ["co.kendev.spaces.space", "co.kendev.content.page", "co.kendev.tenants.profile"] {
            let query = format!("com.atproto.repo.listRecords?repo={tenant}&collection={collection}");
            all.push(host.get(&query, None).await?.1);
        }
        Ok(all.into())
    };
    let before = records().await?;
    let file = host.dir.path().join("studio.jsonl");
    let name = file.to_str().context("a path in UTF-8")?;
    host.angel(&["tenant", "export", "studio", "--to", name])?;
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("First project"), "what is private is taken along");
    ensure!(host.angel(&["tenant", "import", name]).is_err(), "it is here and in use");
    host.angel(&["tenant", "archive", "studio", "--confirm", "studio"])?;
    refused(&host.get("co.kendev.tenants.getTenant?tenant=studio", None).await?, 400, "TenantNotFound")?;
    let (status, _) = host.get("co.kendev.tenants.exportTenant?tenant=studio", Some(&owner)).await?;
    ensure!(status == 200, "its owner can always take it out");
    let broken = host.dir.path().join("broken.jsonl");
    std::fs::write(&broken, text.replace("\"First project\"", "\"Other project\""))?;
    ensure!(host.angel(&["tenant", "import", broken.to_str().context("a path")?]).is_err(), "its digest does not fit");
    host.angel(&["tenant", "import", name])?;
    ensure!(records().await? == before, "every record is as it was");
    let (_, shown) = host.get("co.kendev.tenants.getTenant?tenant=studio", Some(&owner)).await?;
    ensure!(shown["status"] == "active" && shown["role"] == "owner", "{shown}");
    Ok(())
}

/// Tenant isolation: whatever can be asked, by whom it is none of their business.
#[tokio::test]
async fn no_question_leads_from_one_business_into_another() -> Result<()> {
    let host = Host::start()?;
    let (one, owner) = host.tenant("creative-agency", "one").await?;
    let (_, rival) = host.tenant("creative-agency", "two").await?;
    // Leads and orders are no part of what a free plan has.
    host.angel(&["tenant", "plan", "one", "professional"])?;
    let mark = format!("mark{:016x}", rand::random::<u64>());
    let made = async |method: &str, body: Value| -> Result<Value> {
        let (status, answer) = host.post(method, &owner, &body).await?;
        ensure!(status == 200, "{method}: {answer}");
        Ok(answer)
    };
    let text = |value: &Value| value.as_str().context("a text").map(str::to_owned);
    let office = json!({ "name": format!("Office {mark}"), "slug": "office", "visibility": "private",
        "memberApproval": "disabled", "businessIdentity": { "type": "service", "industry": "general" } });
    let office = made("co.kendev.spaces.createSpace", json!({ "tenant": one, "record": office })).await?;
    let office = text(&office["uri"])?;
    let (_, listed) = host.get(&format!("co.kendev.spaces.listSpaces?tenant={one}&limit=100"), Some(&owner)).await?;
    let spaces = listed["spaces"].as_array().context("a list")?;
    let open = spaces.iter().find(|space| space["value"]["visibility"] == "public").context("a space to begin with")?;
    let open = text(&open["uri"])?;
    let channel =
        json!({ "space": open, "name": format!("Back {mark}"), "channelType": "chat", "visibility": "restricted" });
    let channel = text(&made("co.kendev.spaces.createChannel", channel).await?["uri"])?;
    let mut records = vec![];
    for (space, channel) in [(&office, None), (&open, Some(&channel))] {
        let mut message = json!({ "space": space, "content": { "type": "text", "text": format!("secretly {mark}") } });
        if let Some(channel) = channel {
            message["channel"] = channel.as_str().into();
        }
        let sent = made("co.kendev.spaces.sendMessage", message).await?;
        records.push((text(&sent["uri"])?, text(&sent["cid"])?));
    }
    let workspace = format!("at://{one}/space/co.kendev.tenants.workspace/self");
    let lead = json!({ "$type": "co.kendev.business.lead", "firstName": "Ada", "lastName": mark, "tenant": one,
        "email": format!("{mark}@mail.test"), "source": "website", "status": "new",
        "createdAt": "2026-11-21T12:00:00.000Z" });
    let lead = json!({ "space": workspace, "repo": one, "collection": "co.kendev.business.lead", "record": lead });
    let lead = made("com.atproto.space.createRecord", lead).await?;
    let rkey = text(&lead["uri"])?.rsplit('/').next().context("a key")?.to_owned();
    records.push((format!("at://{one}/co.kendev.business.lead/{rkey}"), text(&lead["cid"])?));
    let customer = json!({ "$type": "co.kendev.spaces.memberCrm", "crmData": { "notes": format!("pays late, {mark}") },
        "membership": format!("at://{one}/co.kendev.spaces.membership/{}", owner.did),
        "createdAt": "2026-11-21T12:00:00.000Z" });
    let customer = json!({ "space": workspace, "repo": one, "collection": "co.kendev.spaces.memberCrm",
        "rkey": owner.did, "record": customer });
    let customer = made("com.atproto.space.putRecord", customer).await?;
    let collection = "co.kendev.business.product";
    let cake = json!({ "$type": collection, "title": "Cake", "slug": "cake", "tenant": one, "productType": "physical",
        "pricing": { "currency": "EUR", "basePrice": 1250 }, "status": "active", "createdAt": "2026-11-21T12:00:00.000Z" });
    let cake = json!({ "repo": one, "collection": collection, "record": cake });
    let cake = made("com.atproto.repo.createRecord", cake).await?;
    let order = json!({ "tenant": one, "method": "pickup", "customerNotes": format!("for Mrs {mark}"),
        "lineItems": [{ "product": cake["uri"], "quantity": 1 }] });
    let order = made("co.kendev.business.createOrder", order).await?;
    records.push((text(&order["uri"])?, text(&order["cid"])?));
    records.push((office.clone(), text(&lead["cid"])?));
    records.push((channel, text(&lead["cid"])?));
    let known = format!("at://{one}/co.kendev.spaces.memberCrm/{}", owner.did);
    records.push((known, text(&customer["cid"])?));

    let records = records.into_iter().map(|(uri, cid)| -> Result<Record> {
        let parts: Vec<_> = uri.trim_start_matches("at://").split('/').map(str::to_owned).collect();
        let [did, collection, rkey] = <[String; 3]>::try_from(parts).ok().context("the URI of a record")?;
        Ok(Record { did, collection, rkey, cid })
    });
    let room = office.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room");
    let spaces = vec![office.clone(), open.clone(), room, workspace];
    let known = Known { spaces, records: records.collect::<Result<_>>()?, word: "secretly".to_owned() };
    let found = async |person: Option<&Person>| -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for question in questions(&known) {
            let request = host.client.get(format!("{}{question}", host.daemon.fact("httpUrl")));
            let request = if let Some(person) = person { request.bearer_auth(&person.token) } else { request };
            let bytes = request.send().await?.bytes().await?;
            if bytes.windows(mark.len()).any(|window| window == mark.as_bytes()) {
                found.insert(question.split('?').next().unwrap_or_default().to_owned());
            }
        }
        Ok(found)
    };
    let own = found(Some(&owner)).await?;
    let methods = routes();
    println!("{} methods; the business itself finds the mark by {own:?}", methods.len());
    ensure!(methods.len() > 90, "the routers are read: {}", methods.len());
    for method in ["getMessage", "listMessages", "searchMessages", "getThread", "getSpace", "listChannels"] {
        ensure!(own.contains(&format!("/xrpc/co.kendev.spaces.{method}")), "the search bites: {own:?}");
    }
    for method in ["getOrder", "listOrders", "getLead", "listLeads", "getCustomer", "listCustomers"] {
        ensure!(own.contains(&format!("/xrpc/co.kendev.business.{method}")), "the search bites: {own:?}");
    }
    for (who, person) in [("another business", Some(&rival)), ("a stranger", None)] {
        let found = found(person).await?;
        ensure!(found.is_empty(), "{who} is told by {found:?}");
    }

    // What is told live: everything from the beginning on, up to what is for everybody.
    let everybody = json!({ "space": open, "content": { "type": "text", "text": "closing time" } });
    made("co.kendev.spaces.sendMessage", everybody).await?;
    for (person, knows) in [(Some(&owner), true), (Some(&rival), false), (None, false)] {
        for told in [host.events(person, &open).await?, host.frames(person, &open).await?] {
            ensure!(told.contains("closing time") && told.contains(&mark) == knows, "{knows}: {told}");
        }
        if !knows {
            let path = format!("/api/spaces/events?space={office}");
            let request = host.client.get(format!("{}{path}", host.daemon.fact("httpUrl")));
            let request = if let Some(person) = person { request.bearer_auth(&person.token) } else { request };
            let told: Value = request.send().await?.json().await?;
            ensure!(told["error"] == "SpaceNotFound", "{told}");
            let told = host.frames(person, &office).await;
            ensure!(told.is_err(), "a stranger follows a private space: {told:?}");
        }
    }
    Ok(())
}

/// Tenant isolation: every method of ours that reads about a tenant, asked about another one.
#[tokio::test]
async fn of_one_business_nobody_learns_anything_through_another() -> Result<()> {
    let host = Host::start()?;
    let (one, owner) = host.tenant("creative-agency", "one").await?;
    let (two, rival) = host.tenant("creative-agency", "two").await?;
    let reads = Catalog::builtin().iter().filter_map(|document| match document.main()? {
        Definition::Query(method) if document.id.starts_with("co.kendev.tenants.") => {
            let names_tenant =
                method.parameters.as_ref().is_some_and(|params| params.properties.contains_key("tenant"));
            names_tenant.then(|| document.id.to_string())
        }
        _ => None,
    });
    let reads: Vec<_> = reads.collect();
    ensure!(reads.len() >= 6, "{reads:?}");
    for (name, tenant) in reads.iter().flat_map(|name| [&one, &two].map(|tenant| (name, tenant))) {
        let own = if *tenant == one { &owner } else { &rival };
        let strange = if *tenant == one { &rival } else { &owner };
        let query = format!("{name}?tenant={tenant}");
        let (status, answer) = host.get(&query, Some(own)).await?;
        ensure!(status == 200, "{query} by its own: {answer}");
        let (status, answer) = host.get(&query, Some(strange)).await?;
        if name == "co.kendev.tenants.getTenant" {
            for private in ["owner", "plan", "members", "role", "permissions", "template"] {
                ensure!(answer.get(private).is_none(), "{private}: {answer}");
            }
        } else {
            ensure!(status == 400 && answer["error"] == "TenantNotFound", "{query}: {status} {answer}");
            let missing = host.get(&format!("{name}?tenant=nobody"), Some(strange)).await?;
            ensure!(missing.1["message"] == answer["message"], "as if there were none: {missing:?} {answer}");
        }
    }
    for (name, body) in [
        ("updateTenant", json!({ "tenant": one, "name": "Taken" })),
        ("invite", json!({ "tenant": one, "role": "tenant_member" })),
        ("setRole", json!({ "tenant": one, "user": owner.did, "status": "revoked" })),
        ("archive", json!({ "tenant": one, "slug": "one" })),
    ] {
        let answer = host.post(&format!("co.kendev.tenants.{name}"), &rival, &body).await?;
        refused(&answer, 400, "TenantNotFound")?;
    }
    for name in ["suspend", "provision"] {
        let body = json!({ "tenant": one, "template": "custom", "slug": "three", "owner": rival.did });
        refused(&host.post(&format!("co.kendev.tenants.{name}"), &rival, &body).await?, 403, "NotAllowed")?;
    }
    let (_, mine) = host.get("co.kendev.tenants.listTenants?mine=true", Some(&rival)).await?;
    let mine: Vec<_> = mine["tenants"].as_array().context("a list")?.iter().map(|one| one["slug"].clone()).collect();
    ensure!(mine == [json!("two")], "{mine:?}");
    let Some(invited) = host
        .post("co.kendev.tenants.invite", &owner, &json!({ "tenant": one, "role": "tenant_admin" }))
        .await?
        .1["token"]
        .as_str()
        .map(str::to_owned)
    else {
        bail!("no token")
    };
    let elsewhere = json!({ "tenant": two, "token": invited });
    let person = host.sign_up("gesa").await?;
    refused(&host.post("co.kendev.tenants.acceptInvite", &person, &elsewhere).await?, 400, "InvitationNotFound")?;
    Ok(())
}
