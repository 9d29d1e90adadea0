//! The documents as others see them: served, published in the node's own repository, and judged on the command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use angel_harness::binary::{Daemon, Launch, verb};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

#[tokio::test]
async fn documents_are_served_and_published_as_they_lie_in_the_source() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let daemon = Launch::in_dir(&data_dir).env("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test").start()?;
    let get = async |path: &str| -> Result<(u16, Value)> {
        let response = reqwest::get(format!("{}{path}", daemon.fact("httpUrl"))).await?;
        Ok((response.status().as_u16(), response.json().await?))
    };
    let source: Value = serde_json::from_str(include_str!("../../lexicons/co/kendev/spaces/message.json"))?;
    ensure!(get("/lexicons/co.kendev.spaces.message").await? == (200, source.clone()));
    ensure!(get("/lexicons/com.example.note").await?.0 == 404 && get("/lexicons/nothing").await?.0 == 400);

    let publish = || -> Result<Value> {
        let output = verb(&data_dir, &["lexicon", "publish", "--json"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let first = publish()?;
    ensure!(first["documents"] == first["changed"] && first["documents"].as_u64() > Some(80), "{first}");
    ensure!(publish()?["changed"] == 0, "what is there already stays");
    let (status, record) = get(&format!(
        "/xrpc/com.atproto.repo.getRecord?repo=node.angel.test&collection=com.atproto.lexicon.schema&rkey={}",
        "co.kendev.spaces.message"
    ))
    .await?;
    let mut published = source;
    published["$type"] = "com.atproto.lexicon.schema".into();
    ensure!(status == 200 && record["value"] == published, "{record}");
    Ok(())
}

/// How often a DNS server was asked for a text, by name.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

/// A DNS server on loopback that knows one text and where `localhost` is (RFC 1035, section 4).
async fn dns(name: &'static str, text: String) -> Result<(SocketAddr, Asked)> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let asked = Asked::default();
    let counting = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            if let Some((name, [0, 16])) = asked_for(&question[..length]) {
                *counting.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
            }
            let Some(answer) = answer(&question[..length], name, &text) else { continue };
            if socket.send_to(&answer, from).await.is_err() {
                return;
            }
        }
    });
    Ok((address, asked))
}

/// The name and the kind that a question is about.
fn asked_for(question: &[u8]) -> Option<(String, [u8; 2])> {
    let (mut at, mut labels) = (12, vec![]);
    while *question.get(at)? > 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(question.get(at + 1..=at + length)?).to_ascii_lowercase());
        at += length + 1;
    }
    Some((labels.join("."), question.get(at + 1..at + 3)?.try_into().ok()?))
}

/// The answer to one question; none to what is no question.
fn answer(question: &[u8], name: &str, text: &str) -> Option<Vec<u8>> {
    let (asked, kind) = asked_for(question)?;
    // Each label has a byte for its length, and the last of them is 0.
    let at = 12 + if asked.is_empty() { 0 } else { asked.len() + 1 };
    let data = match kind {
        [0, 16] if asked == name => [&[u8::try_from(text.len()).ok()?][..], text.as_bytes()].concat(),
        [0, 1] if asked == "localhost" => vec![127, 0, 0, 1],
        _ => vec![],
    };
    // Its own number and question again, and one record or none.
    let mut answer = [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]].concat();
    answer.extend_from_slice(question.get(12..at + 5)?);
    if !data.is_empty() {
        answer.extend_from_slice(&[0xc0, 12, 0, kind[1], 0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend_from_slice(&data);
    }
    Some(answer)
}

/// Most documents that one document may need, itself included.
const CLOSURE_MAX: usize = 16;

/// A lexicon that this node does not ship is found by the domain of its name, and records are held to it, public and
/// private ones.
#[tokio::test]
async fn a_lexicon_of_others_is_found_through_dns() -> Result<()> {
    let root = tempfile::tempdir()?;
    let quiet = |name: &str| {
        let launch = Launch::in_dir(&root.path().join(name)).env("ANGEL_NODE_NODE_ID", name);
        launch.env("ANGEL_IDENTITY_HANDLE_DOMAINS", format!(".{name}.test"))
    };
    // One node publishes, another one looks up.
    let publisher = quiet("publisher").start()?;
    let url = |daemon: &Daemon| daemon.fact("httpUrl").replace("127.0.0.1", "localhost");
    let client = reqwest::Client::new();
    let post = async |daemon: &Daemon, method: &str, token: Option<&str>, body: &Value| -> Result<(u16, Value)> {
        let request = client.post(format!("{}/xrpc/{method}", url(daemon))).json(body);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    };
    let account =
        |name: &str, at: &str| json!({ "handle": format!("{name}.{at}.test"), "password": "open sesame now" });
    let (status, author) =
        post(&publisher, "com.atproto.server.createAccount", None, &account("notes", "publisher")).await?;
    ensure!(status == 200, "{author}");
    let lexicon = json!({
        "$type": "com.atproto.lexicon.schema", "lexicon": 1, "id": "org.example.notes.note",
        "defs": { "main": { "type": "record", "key": "tid", "record": {
            "type": "object", "required": ["text"],
            "properties": { "text": { "type": "string", "maxLength": 10 } },
        } } },
    });
    let body = json!({ "repo": author["did"], "collection": "com.atproto.lexicon.schema",
        "rkey": "org.example.notes.note", "record": lexicon });
    let (status, made) = post(&publisher, "com.atproto.repo.createRecord", author["accessJwt"].as_str(), &body).await?;
    ensure!(status == 200, "{made}");
    let did = author["did"].as_str().unwrap_or_default();
    let (dns, asked) = dns("_lexicon.notes.example.org", format!("did={did}")).await?;
    // A chain of documents, each of which needs the next: the first needs one more than may be needed.
    let link = |n: usize| format!("org.example.notes.link{n}");
    for n in 0..=CLOSURE_MAX {
        let next = json!({ "type": "ref", "ref": format!("{}#part", link(n + 1)) });
        let properties = if n < CLOSURE_MAX { json!({ "next": next }) } else { json!({}) };
        let part = json!({ "type": "object", "properties": properties });
        let schema = json!({ "$type": "com.atproto.lexicon.schema", "lexicon": 1, "id": link(n),
            "defs": { "main": { "type": "record", "key": "tid", "record": part }, "part": part } });
        let body = json!({ "repo": author["did"], "collection": "com.atproto.lexicon.schema", "rkey": link(n),
            "record": schema });
        let (status, made) =
            post(&publisher, "com.atproto.repo.createRecord", author["accessJwt"].as_str(), &body).await?;
        ensure!(status == 200, "{made}");
    }

    let reader = quiet("reader").env("ANGEL_IDENTITY_DNS_SERVER", dns.to_string());
    let reader = reader.env("ANGEL_IDENTITY_PLC", url(&publisher)).start()?;
    let (status, writer) = post(&reader, "com.atproto.server.createAccount", None, &account("ann", "reader")).await?;
    ensure!(status == 200, "{writer}");
    let write = async |record: Value| {
        let body = json!({ "repo": writer["did"], "collection": "org.example.notes.note", "validate": true,
            "record": record });
        post(&reader, "com.atproto.repo.createRecord", writer["accessJwt"].as_str(), &body).await
    };
    let (status, fits) = write(json!({ "text": "short" })).await?;
    ensure!(status == 200 && fits["validationStatus"] == "valid", "{status}: {fits}");
    let (status, refused) = write(json!({ "text": "far too long to fit" })).await?;
    ensure!(status == 400 && refused["message"].as_str().is_some_and(|text| text.contains("text")), "{refused}");
    // A private record is held to it as a public one is.
    let token = writer["accessJwt"].as_str();
    let open = json!({ "spaceType": "org.example.notes.book", "skey": "self",
        "readPolicy": { "$type": "com.atproto.simplespace.defs#memberListPolicy" },
        "writePolicy": { "$type": "com.atproto.simplespace.defs#memberListPolicy" },
        "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
    let (status, space) = post(&reader, "com.atproto.simplespace.createSpace", token, &open).await?;
    ensure!(status == 200, "{space}");
    let write_in_private = async |collection: &str, record: Value| {
        let body = json!({ "space": space["uri"], "repo": writer["did"], "collection": collection, "validate": true,
            "record": record });
        post(&reader, "com.atproto.space.createRecord", token, &body).await
    };
    let (status, fits) = write_in_private("org.example.notes.note", json!({ "text": "short" })).await?;
    ensure!(status == 200 && fits["validationStatus"] == "valid", "{status}: {fits}");
    let (status, refused) =
        write_in_private("org.example.notes.note", json!({ "text": "far too long to fit" })).await?;
    ensure!(status == 400 && refused["message"].as_str().is_some_and(|text| text.contains("text")), "{refused}");
    let (status, unknown) = write_in_private("org.example.other.note", json!({})).await?;
    ensure!(status == 400 && unknown["message"].as_str().is_some_and(|text| text.contains("not known")), "{unknown}");
    let other =
        json!({ "repo": writer["did"], "collection": "org.example.other.note", "validate": true, "record": {} });
    let (status, unknown) =
        post(&reader, "com.atproto.repo.createRecord", writer["accessJwt"].as_str(), &other).await?;
    ensure!(status == 400 && unknown["message"].as_str().is_some_and(|text| text.contains("not known")), "{unknown}");

    // What one document needs is bounded.
    let chained = async |n: usize| {
        let body = json!({ "repo": writer["did"], "collection": link(n), "validate": true, "record": {} });
        post(&reader, "com.atproto.repo.createRecord", writer["accessJwt"].as_str(), &body).await
    };
    let (status, fits) = chained(1).await?;
    ensure!(status == 200 && fits["validationStatus"] == "valid", "{CLOSURE_MAX} documents: {status}: {fits}");
    let (status, refused) = chained(0).await?;
    ensure!(status == 400 && refused["message"].as_str().is_some_and(|text| text.contains("not known")), "{refused}");

    // What was found is kept, and so is that nothing was: strangers are not asked again for the asking.
    let resolve = async |nsid: &str| -> Result<(u16, Value)> {
        let path = format!("{}/xrpc/com.atproto.lexicon.resolveLexicon?nsid={nsid}", url(&reader));
        let response = reqwest::get(path).await?;
        Ok((response.status().as_u16(), response.json().await?))
    };
    let before = resolve("org.example.notes.note").await?;
    ensure!(before.0 == 200 && before.1["schema"]["id"] == "org.example.notes.note", "{before:?}");
    let mut newer = lexicon.clone();
    newer["description"] = "newer".into();
    let body = json!({ "repo": author["did"], "collection": "com.atproto.lexicon.schema",
        "rkey": "org.example.notes.note", "record": newer });
    let (status, made) = post(&publisher, "com.atproto.repo.putRecord", author["accessJwt"].as_str(), &body).await?;
    ensure!(status == 200, "{made}");
    for _ in 0..3 {
        ensure!(resolve("org.example.notes.note").await? == before, "kept for an hour");
        let (status, none) = resolve("org.example.other.note").await?;
        ensure!(status == 400 && none["error"] == "LexiconNotFound", "{none}");
    }
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let times = |name: &str| asked.get(name).copied().unwrap_or_default();
    // A resolver may ask twice what is not answered at once.
    ensure!((1..=2).contains(&times("_lexicon.other.example.org")), "a no is kept, too: {asked:?}");
    Ok(())
}

#[test]
fn a_file_is_judged_on_the_command_line() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let judge = |value: &Value| -> Result<(Option<i32>, Value)> {
        let file = dir.path().join("file.json");
        std::fs::write(&file, value.to_string())?;
        let words = ["lexicon", "check", file.to_str().unwrap_or_default(), "--json"];
        let output = verb(dir.path(), &words)?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
    };
    let document = json!({ "lexicon": 1, "id": "com.example.note", "defs": { "main": { "type": "token" } } });
    let (code, answer) = judge(&document)?;
    ensure!(code == Some(0) && answer["valid"] == true && answer["what"] == "document", "{answer}");
    let (code, answer) =
        judge(&json!({ "lexicon": 1, "id": "com.example.note", "defs": { "main": { "type": "no" } } }))?;
    ensure!(code == Some(15) && answer["valid"] == false, "{answer}");
    let follow = json!({ "$type": "co.kendev.people.follow", "createdAt": "2026-11-21T12:00:00Z" });
    let (code, answer) = judge(&follow)?;
    ensure!(code == Some(15) && answer["what"] == "record", "{answer}");
    ensure!(answer["findings"][0].as_str().is_some_and(|text| text.contains("is required")), "{answer}");
    Ok(())
}
