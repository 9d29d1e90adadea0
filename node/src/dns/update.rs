//! Changes to a zone that this node may change: dynamic update (RFC 2136), signed with a shared key (TSIG, RFC 8945).
//!
//! What the server answers is taken as its word that it took the change; whether names really lead where they should is
//! seen by asking for them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode, UpdateMessage};
use hickory_resolver::proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record, message_tbs};
use hickory_resolver::proto::rr::rdata::{CNAME, TXT};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// How long a server may take in all.
const LIMIT: Duration = Duration::from_secs(10);

/// How far two clocks may be apart, in seconds: what RFC 8945 recommends.
const FUDGE: u16 = 300;

/// How long others may remember what is set here, in seconds (`network.md` 5.4).
const TTL: u32 = 60;

/// A zone and the right to change it.
pub(crate) struct Zone {
    /// Its primary server.
    pub(crate) server: SocketAddr,
    /// Its name.
    pub(crate) name: String,
    /// The key that the server knows.
    pub(crate) key: Option<Key>,
}

/// A shared key of HMAC-SHA256.
pub(crate) struct Key {
    /// Its name, which both sides use.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) secret: Zeroizing<Vec<u8>>,
}

/// What a name is to say, in the place of what it says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// A text.
    Text(String),
    /// That it is another name for this host.
    Alias(String),
}

/// Why a zone is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// A name that is none.
    #[error("a name for the zone makes no sense: {0}")]
    Name(ProtoError),
    /// The server cannot be reached, or does not answer.
    #[error("the name server {0} does not answer: {1}")]
    Server(SocketAddr, io::Error),
    /// The server answers something else.
    #[error("the name server {0} answers something else")]
    Unexpected(SocketAddr),
    /// The server refuses.
    #[error(
        "the name server refuses the change of the zone: {0}; does it know the key, and may the key change the zone?"
    )]
    Refused(ResponseCode),
}

impl Zone {
    /// Makes `name` say this, and nothing else of its kind.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub(crate) async fn set(&self, name: &str, says: &Says) -> Result<(), UpdateError> {
        let id = rand::random();
        let bytes = self.message(id, name, says).map_err(UpdateError::Name)?;
        let exchange = async {
            let mut server = TcpStream::connect(self.server).await?;
            let length = u16::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            server.write_all(&length.to_be_bytes()).await?;
            server.write_all(&bytes).await?;
            let mut answer = vec![0; usize::from(server.read_u16().await?)];
            server.read_exact(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        let answer = match tokio::time::timeout(LIMIT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let answer = answer.map_err(|error| UpdateError::Server(self.server, error))?;
        // The head of it is enough: its id and its code.
        let (Some(theirs), Some(flags)) = (answer.get(..2), answer.get(2..4)) else {
            return Err(UpdateError::Unexpected(self.server));
        };
        let is_answer = u16::from_be_bytes([theirs[0], theirs[1]]) == id && flags[0] & 0x80 != 0;
        match ResponseCode::from(0, flags[1] & 0x0f) {
            _ if !is_answer => Err(UpdateError::Unexpected(self.server)),
            ResponseCode::NoError => Ok(()),
            code => Err(UpdateError::Refused(code)),
        }
    }

    fn message(&self, id: u16, name: &str, says: &Says) -> Result<Vec<u8>, ProtoError> {
        let name = absolute(name)?;
        let mut update = Message::new(id, MessageType::Query, OpCode::Update);
        let mut zone = Query::new();
        zone.set_name(absolute(&self.name)?).set_query_type(RecordType::SOA);
        update.add_zone(zone);
        // An alias stands alone at its name.
        let instead_of: &[RecordType] = match says {
            Says::Text(_) => &[RecordType::TXT],
            Says::Alias(_) => &[RecordType::CNAME, RecordType::A, RecordType::AAAA],
        };
        for kind in instead_of {
            let mut none = Record::update0(name.clone(), 0, *kind);
            none.dns_class = DNSClass::ANY;
            update.add_update(none);
        }
        let data = match says {
            Says::Text(text) => RData::TXT(TXT::new(vec![text.clone()])),
            Says::Alias(host) => RData::CNAME(CNAME(absolute(host)?)),
        };
        update.add_update(Record::from_rdata(name, TTL, data));
        if let Some(key) = &self.key {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let signer = absolute(&key.name)?;
            let unsigned = TSIG::new(TsigAlgorithm::HmacSha256, now, FUDGE, Vec::new(), id, None, Vec::new());
            let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).expect("HMAC takes keys of any length");
            mac.update(&message_tbs(&update, &unsigned, &signer)?);
            let signed = unsigned.set_mac(mac.finalize().into_bytes().to_vec());
            let Record { name, dns_class, ttl, data, .. } = make_tsig_record(signer, signed);
            let mut signature = Record::from_rdata(name, ttl, RData::TSIG(data));
            signature.dns_class = dns_class;
            // The last of all, as it has to be.
            Message::add_additional(&mut update, signature);
        }
        update.to_vec()
    }
}

fn absolute(name: &str) -> Result<Name, ProtoError> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const SECRET: &str = "c2VjcmV0IG9mIGEgem9uZSB0aGF0IG1vdmVzIG5hbWVz";

    /// A name server of its own, on loopback.
    struct Knot {
        process: Child,
        address: SocketAddr,
        _dir: tempfile::TempDir,
    }

    impl Drop for Knot {
        fn drop(&mut self) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }

    /// Nothing where the server is not installed.
    fn knot() -> Option<Knot> {
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("has one").port();
        let at = dir.path().display();
        let zone = "$TTL 60\n@ SOA ns admin 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\nshop A 127.0.0.9\n";
        std::fs::write(dir.path().join("angel.example.zone"), zone).expect("written");
        let config = format!(
            "server:\n  rundir: {at}\n  listen: 127.0.0.1@{port}\ndatabase:\n  storage: {at}\nkey:\n  - id: mover\n    \
             algorithm: hmac-sha256\n    secret: {SECRET}\nacl:\n  - id: may\n    key: mover\n    action: update\nzone:\n  - \
             domain: angel.example\n    storage: {at}\n    file: angel.example.zone\n    acl: may\n"
        );
        let path = dir.path().join("knot.conf");
        std::fs::File::create(&path).and_then(|mut file| file.write_all(config.as_bytes())).expect("written");
        let process = Command::new("knotd").arg("-c").arg(&path).stdout(Stdio::null()).spawn().ok()?;
        Some(Knot { process, address: SocketAddr::from(([127, 0, 0, 1], port)), _dir: dir })
    }

    async fn asked(server: SocketAddr, name: &str, kind: RecordType) -> Option<String> {
        let mut question = Message::query();
        let mut query = Query::new();
        query.set_name(absolute(name).expect("a name")).set_query_type(kind);
        question.add_query(query);
        let bytes = question.to_vec().expect("encodes");
        let mut stream = TcpStream::connect(server).await.ok()?;
        stream.write_all(&u16::try_from(bytes.len()).expect("short").to_be_bytes()).await.ok()?;
        stream.write_all(&bytes).await.ok()?;
        let mut answer = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut answer).await.ok()?;
        let answer = Message::from_vec(&answer).ok()?;
        answer.answers.first().map(|record| record.data.to_string())
    }

    #[tokio::test]
    async fn a_real_name_server_takes_signed_changes_and_no_others() {
        let Some(knot) = knot() else { return println!("skipped: knotd (package knot) is not installed") };
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while asked(knot.address, "shop.angel.example", RecordType::A).await.is_none() {
            assert!(std::time::Instant::now() < deadline, "the name server does not come up");
            tokio::task::yield_now().await;
        }
        use base64::Engine as _;
        let secret = base64::engine::general_purpose::STANDARD.decode(SECRET).expect("base64");
        let zone = |secret: Option<Vec<u8>>| Zone {
            server: knot.address,
            name: "angel.example".to_owned(),
            key: secret.map(|secret| Key { name: "mover".to_owned(), secret: secret.into() }),
        };
        let mine = zone(Some(secret.clone()));
        let text = |did: &str| Says::Text(format!("did={did}"));
        mine.set("_atproto.shop.angel.example", &text("did:plc:one")).await.expect("taken");
        mine.set("_atproto.shop.angel.example", &text("did:plc:two")).await.expect("taken again");
        let said = asked(knot.address, "_atproto.shop.angel.example", RecordType::TXT).await;
        assert!(said.as_deref().is_some_and(|said| said.contains("did=did:plc:two")), "{said:?}");
        mine.set("shop.angel.example", &Says::Alias("node-b.example".to_owned())).await.expect("taken");
        let said = asked(knot.address, "shop.angel.example", RecordType::CNAME).await;
        assert_eq!(said.as_deref(), Some("node-b.example."));
        for wrong in [zone(None), zone(Some(vec![1; 32]))] {
            let refused = wrong.set("shop.angel.example", &Says::Alias("evil.example".to_owned())).await;
            assert!(matches!(refused, Err(UpdateError::Refused(_))), "{refused:?}");
        }
        let outside = mine.set("shop.other.example", &text("did:plc:two")).await;
        assert!(matches!(outside, Err(UpdateError::Refused(_))), "{outside:?}");
    }
}
