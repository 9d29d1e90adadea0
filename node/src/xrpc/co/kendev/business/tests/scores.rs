//! Leads are scored by what was noted about them, in whichever way, and by how long ago it is (LEA-01, LEA-02).

use super::*;

const ACTIVITY: &str = "co.kendev.business.activity";
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// A moment so many days ago, as records have it.
fn days_ago(days: u64) -> String {
    let now = crate::clock::now().as_millis();
    angel_protocol::time::Timestamp::from_millis(now - days * DAY_MILLIS).to_string()
}

impl World {
    /// Notes something by a plain write; answers with its key.
    async fn note(&self, lead: &Value, kind: &str, at: &str) -> String {
        let record = json!({ "$type": ACTIVITY, "subjectRecord": lead["uri"], "type": kind, "subject": "a word",
            "createdAt": at });
        let body = json!({ "space": self.workspace(), "repo": self.tenant, "collection": ACTIVITY, "record": record });
        let made = self.record("com.atproto.space.createRecord", body).await;
        made["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).expect("a key").to_owned()
    }

    async fn scored(&self, lead: &Value) -> Value {
        let uri = lead["uri"].as_str().expect("a URI").replace(':', "%3A").replace('/', "%2F");
        self.ask(&self.owner, &format!("getLead?uri={uri}"), None).await.expect("staff")["value"].clone()
    }
}

#[tokio::test]
async fn what_is_noted_by_a_plain_write_counts_and_what_is_gone_does_not_from_the_next_day_on() {
    let world = World::new().await;
    let record = json!({ "firstName": "Ada", "lastName": "Love", "email": "ada@mail.test", "source": "website" });
    let wish = json!({ "tenant": world.tenant, "record": record });
    let lead = world.ask(&world.owner, "createLead", Some(wish)).await.expect("staff");
    assert_eq!(world.scored(&lead).await["scoring"]["conversionPrediction"], 5000);

    let today = days_ago(0);
    let meeting = world.note(&lead, "meeting", &today).await;
    world.note(&lead, "form-submission", &days_ago(40)).await;
    let scored = world.scored(&lead).await;
    assert_eq!(scored["scoring"]["behaviorScore"], 15 + 6, "what is older than 30 days counts half");
    assert_eq!(scored["lastActivityAt"], today.as_str(), "the older one was noted later");
    assert_eq!(scored["scoring"]["conversionPrediction"], 6500);
    world.note(&lead, "call", &days_ago(91)).await;
    assert_eq!(world.scored(&lead).await["scoring"]["behaviorScore"], 21, "too old to count");

    let body = json!({ "space": world.workspace(), "repo": world.tenant, "collection": ACTIVITY, "rkey": meeting });
    world.record("com.atproto.space.deleteRecord", body).await;
    // Every day begins anew, and so does a node that starts.
    let World { at, tenant, owner } = world;
    let world = World { at: at.restarted(|_| (), |_| ()).await, tenant, owner };
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while world.scored(&lead).await["scoring"]["behaviorScore"] != 6 {
        assert!(tokio::time::Instant::now() < deadline, "{}", world.scored(&lead).await);
        tokio::task::yield_now().await;
    }
    world.at.node.shutdown().await.expect("stops");
}
