//! A service that registered with a credential is told of every write.

use angel_protocol::service_auth::ServiceToken;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// Longest request that the service reads.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a service was told: by which method, with which token, and what.
#[derive(Debug)]
struct Told {
    path: String,
    token: String,
    body: Value,
}

/// A service with a DID of its own, at an address of this machine, that takes notices.
struct Service {
    did: Did,
    told: mpsc::Receiver<Told>,
}

impl Service {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let did: Did = format!("did:web:localhost%3A{port}").parse()?;
        let (sender, told) = mpsc::channel(64);
        let document = json!({ "@context": ["https://www.w3.org/ns/did/v1"], "id": did, "service": [{
            "id": "#listener", "type": "SpaceListener", "serviceEndpoint": format!("http://localhost:{port}"),
        }] });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // What cannot be read is not answered: whoever asks tries again.
                drop(serve(stream, &document, &sender).await);
            }
        });
        Ok(Self { did, told })
    }

    fn name(&self) -> String {
        format!("{}#listener", self.did)
    }

    async fn next(&mut self) -> Result<Told> {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        told.context("the service is told in time")?.context("it runs")
    }
}

/// Answers one request: with the service's DID document, or by taking what it is told.
async fn serve(mut stream: TcpStream, document: &Value, told: &mpsc::Sender<Told>) -> Result<()> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let read = stream.read(&mut chunk).await?;
        ensure!(read > 0 && bytes.len() < REQUEST_BYTES_MAX, "a whole request");
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = if path == "/.well-known/did.json" {
        document.clone()
    } else {
        let token = header(&head, "authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned();
        told.send(Told { path, token, body: serde_json::from_str(&body)? }).await?;
        json!({})
    };
    let answer = answer.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[tokio::test]
async fn a_registered_service_is_told_of_every_write_by_the_authority_until_it_withdraws() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let (shop, bob) = (first.sign_up("shop").await?, second.sign_up("bob").await?);
    let space = first.space(&shop, "self", &[&bob]).await?;
    let reader = Reader::admitted(&second, &bob, &first, &space).await?;
    let mut service = Service::start().await?;

    // A service that leads nowhere is refused at once, and so is one without a credential.
    let about = |service: &str| json!({ "space": space, "service": service });
    let nowhere = about(&format!("{}#another", service.did));
    let (status, body) = answer(reader.signed_post(&first, "com.atproto.space.registerNotify", &nowhere)).await?;
    ensure!((status, name(&body)) == (400, "ServiceNotResolvable"), "{status}: {body}");
    let bare = first.post("com.atproto.space.registerNotify", &about(&service.name()));
    ensure!(answer(bare).await?.0 == 401);
    let registered =
        first.answer(reader.signed_post(&first, "com.atproto.space.registerNotify", &about(&service.name()))).await?;
    ensure!(registered["expiresAt"].is_string(), "{registered}");

    // One who lives with the space, and one from elsewhere, whose host tells the space's.
    let mut revs = Vec::new();
    for (host, author) in [(&first, &shop), (&second, &bob)] {
        host.message(author, &space, "hello").await?;
        let told = service.next().await?;
        ensure!(told.path == "/xrpc/com.atproto.space.notifyWrite", "{told:?}");
        ensure!(told.body["space"] == space.to_string() && told.body["repo"] == author.did.as_str(), "{told:?}");
        // It is the authority that speaks, and to this service.
        let token: ServiceToken = told.token.parse()?;
        let claims = token.claims();
        ensure!(claims.issuer.did == shop.did && claims.audience.to_string() == service.name(), "{claims:?}");
        token.verify(reader::key_of(&first, &shop.did).await?)?;
        // What it has missed it can tell: each notice names the one before.
        let rev = told.body["spaceRev"].as_str().context("a revision of the space")?.to_owned();
        if let Some(before) = revs.last() {
            ensure!(told.body["prevSpaceRev"] == *before && rev > *before, "{told:?} after {before}");
        }
        let commit = reader.commit(host, &author.did).await?;
        ensure!(told.body["repoRev"] == commit.rev.to_string(), "{told:?}");
        revs.push(rev);
    }

    // Another member's app stays registered when one withdraws; the one that withdrew hears nothing more.
    let mut other = Service::start().await?;
    first.answer(reader.signed_post(&first, "com.atproto.space.registerNotify", &about(&other.name()))).await?;
    first.answer(reader.signed_post(&first, "com.atproto.space.unregisterNotify", &about(&service.name()))).await?;
    first.message(&shop, &space, "once more").await?;
    ensure!(other.next().await?.body["repo"] == shop.did.as_str());
    ensure!(service.told.try_recv().is_err(), "it withdrew");
    drop(third);
    Ok(())
}
