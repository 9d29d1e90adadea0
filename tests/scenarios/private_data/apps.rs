//! A space for certain apps: an app publishes its keys at its own address, and says with each request for a credential who
//! it is (proposal 0016, "Client attestation").

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use angel_protocol::crypto::{P256Key, SigningKey};
use angel_protocol::permissioned::wire::token::{Claims, Token};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// The public half of the app's key, as a JSON Web Key has it.
const X: &str = "HhhTL9R1TALzBB2cdc6zO4P_2BrHzk_ogsyxyYvFiW4";
const Y: &str = "pGwxHE4v9A3ZajZT5uRURdMt_khuztdcepDGoYiBwKM";

/// The longest head of a request that the app reads, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

fn key(n: u8) -> Result<SigningKey> {
    Ok(P256Key::from_bytes(&[n; 32]).context("a scalar")?.into())
}

/// Who vouches for the addresses of apps on this machine.
struct Addresses {
    acceptor: TlsAcceptor,
    /// The file by which others know it.
    file: PathBuf,
}

impl Addresses {
    fn new(dir: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let secret = PrivateKeyDer::try_from(made.key_pair.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], secret)?;
        let (file, text) = (dir.join("addresses.pem"), BASE64_STANDARD.encode(made.cert.der()));
        std::fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), file })
    }

    /// An app that publishes at an address of its own what it is; answers its name, which is where that lies.
    async fn app(&self) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let name = format!("https://localhost:{}/client-metadata.json", listener.local_addr()?.port());
        let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "key-1", "x": X, "y": Y }] });
        let body = json!({ "client_id": name, "jwks": keys }).to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}");
        let (text, acceptor) = (format!("{head}\r\nconnection: close\r\n\r\n{body}"), self.acceptor.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever is not answered asks again.
                drop(publish(&acceptor, stream, &text).await);
            }
        });
        Ok(name)
    }
}

/// Answers one request, whatever it is.
async fn publish(acceptor: &TlsAcceptor, stream: TcpStream, text: &str) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let (mut asked, mut chunk) = (Vec::new(), [0; 4096]);
    while !asked.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        ensure!(read > 0 && asked.len() < HEAD_BYTES_MAX, "the head of a request");
        asked.extend_from_slice(&chunk[..read]);
    }
    stream.write_all(text.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// What an app says to the authority of a space, signed by `signer`.
fn says(client_id: &str, space: &SpaceUri, signer: &SigningKey) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (authority, key) = (space.authority.clone(), "key-1".to_owned());
    let claims = Claims::Attestation { client_id: client_id.to_owned(), authority, key };
    let nonce = format!("{:x}", rand::random::<u128>());
    Ok(Token { claims, issued_at: now, expires_at: now + 60, nonce }.sign(signer))
}

#[tokio::test]
async fn an_app_that_a_space_lets_in_proves_who_it_is_and_reads_for_a_member_elsewhere() -> Result<()> {
    let root = tempfile::tempdir()?;
    let addresses = Addresses::new(root.path())?;
    let (chosen, other) = (addresses.app().await?, addresses.app().await?);
    let known = addresses.file.to_str().context("a path in UTF-8")?;
    let first = Host::start(root.path(), "first", &[("SSL_CERT_FILE", known)])?;
    let second = Host::start(root.path(), "second", &[("ANGEL_IDENTITY_PLC", &first.url)])?;
    let (shop, bob) = (first.sign_up("shop").await?, second.sign_up("bob").await?);
    let list = json!({ "$type": "com.atproto.simplespace.defs#memberListPolicy" });
    let body = json!({ "spaceType": TYPE, "skey": "self", "readPolicy": list, "writePolicy": list,
        "appAccess": { "$type": "com.atproto.simplespace.defs#allowList", "allowed": [chosen] } });
    let made = first.post("com.atproto.simplespace.createSpace", &body).bearer_auth(&shop.token);
    let space: SpaceUri = first.answer(made).await?["uri"].as_str().context("a space")?.parse()?;
    first.put_member(&shop, &space, &bob).await?;
    first.message(&shop, &space, "for certain apps").await?;

    // Nobody's app, another one's, and one that has not the key of the app that it says it is.
    let unnamed = Reader::refused(&second, &bob, &first, &space).await?;
    ensure!(unnamed.0 == 400 && name(&unnamed.1) == "AppNotAuthorized", "{unnamed:?}");
    for (attestation, expected) in [
        (says(&other, &space, &key(7)?)?, "AppNotAuthorized"),
        (says(&chosen, &space, &key(8)?)?, "InvalidClientAttestation"),
        ("nonsense".to_owned(), "InvalidClientAttestation"),
    ] {
        let refused = Reader::with_app(&second, &bob, &first, &space, &attestation).await?;
        let Err((status, body)) = refused else { anyhow::bail!("{expected} was let in") };
        ensure!(status == 400 && name(&body) == expected, "{status} {body}, not {expected}");
    }

    // The app itself, once with each word: what it may read it reads.
    let genuine = says(&chosen, &space, &key(7)?)?;
    let reader = Reader::with_app(&second, &bob, &first, &space, &genuine).await?;
    let reader = reader.map_err(|(status, body)| anyhow::anyhow!("{status} {body}"))?;
    let records = reader.list(&first, &shop.did).await?;
    ensure!(records.len() == 1 && records[0]["value"]["content"]["text"] == "for certain apps", "{records:?}");
    let again = Reader::with_app(&second, &bob, &first, &space, &genuine).await?;
    ensure!(again.is_err_and(|(_, body)| name(&body) == "InvalidDelegationToken"), "a word counts once");
    Ok(())
}
