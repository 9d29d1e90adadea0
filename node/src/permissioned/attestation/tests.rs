//! A space that lets certain apps in, and what apps say of themselves: their keys are fetched from a real server.

use angel_protocol::crypto::{P256Key, SigningKey};
use angel_protocol::permissioned::wire::request::{SignedHeaders, sign};
use angel_protocol::permissioned::{AppAccess, SpaceConfig, SpaceUri};
use serde_json::json;

use super::*;
use crate::accounts::Account;
use crate::clock;
use crate::network::Scope;
use crate::permissioned::credentials::{CredentialError, Credentials};
use crate::permissioned::services::Services;
use crate::permissioned::tests::Node;
use crate::resolver::tests::{Bench, CALM, bench};

const APP: &str = "https://app.test/client-metadata.json";

/// The public half of the app's key, as a JSON Web Key has it.
const X: &str = "HhhTL9R1TALzBB2cdc6zO4P_2BrHzk_ogsyxyYvFiW4";
const Y: &str = "pGwxHE4v9A3ZajZT5uRURdMt_khuztdcepDGoYiBwKM";

fn key(n: u8) -> SigningKey {
    P256Key::from_bytes(&[n; 32]).expect("a scalar").into()
}

/// What the app `client_id` says to `authority`, signed by `signer`, which it calls `name`.
fn attestation(client_id: &str, authority: &Did, name: &str, signer: &SigningKey) -> String {
    let now = clock::now().as_millis() / 1000;
    let (client_id, key) = (client_id.to_owned(), name.to_owned());
    let claims = Claims::Attestation { client_id, authority: authority.clone(), key };
    Token { claims, issued_at: now, expires_at: now + 60, nonce: format!("{:x}", rand::random::<u128>()) }.sign(signer)
}

struct Meeting {
    credentials: Credentials,
    ada: Account,
    space: SpaceUri,
    bench: Bench,
}

impl Meeting {
    async fn of(node: &Node) -> Self {
        let bench = bench(CALM).await;
        let ada = node.account("ada");
        let config = SpaceConfig { apps: AppAccess::AllowList(vec![APP.to_owned()]), ..SpaceConfig::default() };
        let (kind, name) = ("com.example.forum".parse().expect("an NSID"), "self".parse().expect("a key"));
        let space = node.permissioned.create_space(&ada, kind, Some(name), config).await.expect("made");
        let (resolver, fetcher) = (bench.resolver.clone(), bench.fetcher.clone());
        let services = Services::new(node.accounts.clone(), resolver, fetcher, Scope::Loopback);
        Self { credentials: Credentials::new(node.permissioned.clone(), services), ada, space, bench }
    }

    /// What the app publishes about itself.
    fn publish(&self, metadata: &serde_json::Value) {
        self.bench.world.page("app.test/client-metadata.json", 200, &metadata.to_string());
    }

    /// What becomes of a request for a credential with this attestation, for which the user delegates anew.
    async fn ask(&self, attestation: Option<&str>) -> Result<String, CredentialError> {
        let token = self.credentials.delegate(&self.ada, &self.space).await.expect("a member");
        let authorization = format!("Bearer {token}");
        let signature = sign(P256Key::from_bytes(&[9; 32]).expect("a scalar"), &authorization, None);
        let headers = SignedHeaders {
            authorization: vec![&authorization],
            audience: vec![],
            signature_input: vec![&signature.input],
            signature: vec![&signature.signature],
        };
        self.credentials.exchange(&headers, &self.space, attestation).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_for_certain_apps_lets_those_in_that_prove_who_they_are() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let meeting = Meeting::of(&node).await;
    let keys = json!({ "keys": [
        { "kty": "EC", "crv": "P-256", "kid": "key-1", "x": X, "y": Y },
        { "kty": "EC", "crv": "secp256k1", "kid": "key-2", "x": X, "y": Y },
    ] });
    meeting.publish(&json!({ "client_id": APP, "jwks": keys }));
    let authority = meeting.space.authority.clone();
    let genuine = || attestation(APP, &authority, "key-1", &key(7));

    assert!(matches!(meeting.ask(None).await, Err(CredentialError::App)), "no app is named");
    let first = genuine();
    meeting.ask(Some(&first)).await.expect("the app that is let in");
    assert!(matches!(meeting.ask(Some(&first)).await, Err(CredentialError::Delegation)), "an attestation counts once");

    // Signed by another key; by a key of another curve; by one that is not published; said to somebody else.
    let other: Did = "did:web:other.test".parse().expect("a DID");
    for (case, text) in [
        ("another key", attestation(APP, &authority, "key-1", &key(8))),
        ("another curve", attestation(APP, &authority, "key-2", &key(7))),
        ("a key that is not published", attestation(APP, &authority, "key-3", &key(7))),
        ("another authority", attestation(APP, &other, "key-1", &key(7))),
        ("nonsense", "nonsense".to_owned()),
    ] {
        let refused = meeting.ask(Some(&text)).await;
        assert!(matches!(refused, Err(CredentialError::Attestation(_))), "{case}: {refused:?}");
    }
    // An app that proves who it is, and is not on the list.
    let page = "https://app.test/other.json";
    meeting.bench.world.page("app.test/other.json", 200, &json!({ "client_id": page, "jwks": keys }).to_string());
    let refused = meeting.ask(Some(&attestation(page, &authority, "key-1", &key(7)))).await;
    assert!(matches!(refused, Err(CredentialError::App)), "{refused:?}");

    // Keys at an address of their own; and metadata that are another app's, too long, or away.
    meeting.publish(&json!({ "client_id": APP, "jwks_uri": "https://app.test/keys.json" }));
    meeting.bench.world.page("app.test/keys.json", 200, &keys.to_string());
    meeting.ask(Some(&genuine())).await.expect("its keys are elsewhere");
    for metadata in [
        json!({ "client_id": page, "jwks": keys }),
        json!({ "client_id": APP }),
        json!({ "client_id": APP, "jwks_uri": "http://app.test/keys.json" }),
        json!({ "client_id": APP, "jwks": keys, "more": "x".repeat(METADATA_BYTES_MAX) }),
    ] {
        meeting.publish(&metadata);
        let refused = meeting.ask(Some(&genuine())).await;
        assert!(matches!(refused, Err(CredentialError::Attestation(_))), "{refused:?}");
    }
    meeting.bench.world.page("app.test/client-metadata.json", 404, "");
    let refused = meeting.ask(Some(&genuine())).await;
    assert!(matches!(refused, Err(CredentialError::Attestation(AttestationError::Fetch(_)))), "{refused:?}");
}
