//! Posts that wait in the workspace are public from their time on (CNT-01), and answers to forms go when they were kept long
//! enough (FRM-04).

use super::*;
use crate::clock;

const POST: &str = "co.kendev.content.post";

/// How far ahead a post waits here: long enough that it is seen waiting.
const AHEAD: Duration = Duration::from_secs(3);

impl World {
    fn workspace(tenant: &str) -> String {
        format!("at://{tenant}/space/co.kendev.tenants.workspace/self")
    }

    fn post(tenant: &str, title: &str, status: &str, at: &str) -> Value {
        let slug = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let slug = slug.trim_matches('-').replace("--", "-");
        json!({ "$type": POST, "title": title, "content": { "text": "New in." }, "status": status, "publishedAt": at,
            "slug": slug, "tenant": tenant, "createdAt": AT })
    }

    /// Writes a post into the workspace.
    async fn keep(&self, owner: &Person, tenant: &str, rkey: &str, post: &Value) {
        let body = json!({ "space": Self::workspace(tenant), "repo": tenant, "collection": POST, "rkey": rkey, "record": post });
        let (status, answer) = self.send(Some(owner), "com.atproto.space.putRecord", Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The post as anybody reads it.
    async fn public(&self, tenant: &str, rkey: &str) -> Option<Value> {
        let query = format!("com.atproto.repo.getRecord?repo={tenant}&collection={POST}&rkey={rkey}");
        let (status, answer) = self.send(None, &query, None).await;
        (status == 200).then(|| answer["value"].clone())
    }

    /// Whether it lies in the workspace.
    async fn waits(&self, owner: &Person, tenant: &str, rkey: &str) -> bool {
        let space = Self::workspace(tenant).replace(':', "%3A").replace('/', "%2F");
        let query = format!("com.atproto.space.getRecord?space={space}&repo={tenant}&collection={POST}&rkey={rkey}");
        self.send(Some(owner), &query, None).await.0 == 200
    }

    /// The post once it is public and nothing of it waits any more.
    async fn published(&self, owner: &Person, tenant: &str, rkey: &str, title: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.public(tenant, rkey).await.filter(|post| post["title"] == title);
            if let (Some(post), false) = (found, self.waits(owner, tenant, rkey).await) {
                return post;
            }
            assert!(tokio::time::Instant::now() < deadline, "{title} was waited for");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_post_that_waits_is_public_from_its_time_on() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let shop = world.tenant("shop", &ada, "business").await;
    let (due, later) = ((clock::now() + AHEAD).to_string(), "2090-01-01T00:00:00.000Z");
    for (rkey, status, at) in
        [(RKEY, "scheduled", due.as_str()), ("3kznmn7xqxl23", "scheduled", later), ("3kznmn7xqxl24", "draft", &due)]
    {
        let mut post = World::post(&shop, "Spring", status, at);
        post["slug"] = rkey.into();
        world.keep(&ada, &shop, rkey, &post).await;
        assert_eq!(world.public(&shop, rkey).await, None, "{status} for {at}");
    }
    // One that says it is published waits all the same, and under the key of a public one it is the next version of that.
    let first = World::post(&shop, "Old", "published", AT);
    let body = json!({ "repo": shop, "collection": POST, "rkey": "3kznmn7xqxl25", "record": first });
    assert_eq!(world.send(Some(&ada), "com.atproto.repo.putRecord", Some(&body)).await.0, 200);
    world.keep(&ada, &shop, "3kznmn7xqxl25", &World::post(&shop, "New", "published", &due)).await;

    let post = world.published(&ada, &shop, RKEY, "Spring").await;
    assert!(clock::now().to_string() >= due, "not before its time");
    assert_eq!((&post["status"], &post["publishedAt"]), (&json!("published"), &json!(due)));
    world.published(&ada, &shop, "3kznmn7xqxl25", "New").await;
    for rkey in ["3kznmn7xqxl23", "3kznmn7xqxl24"] {
        assert!(world.public(&shop, rkey).await.is_none() && world.waits(&ada, &shop, rkey).await);
    }
    world.at.stop().await;
}

#[tokio::test]
async fn what_fell_due_while_a_node_was_away_is_done_when_it_is_back() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let shop = world.tenant("shop", &ada, "business").await;
    let due = (clock::now() + AHEAD).to_string();
    world.keep(&ada, &shop, RKEY, &World::post(&shop, "Spring", "scheduled", &due)).await;
    // Its time comes while the node is away.
    let wait = AHEAD + Duration::from_millis(100);
    let at = world.at.restarted(|_| (), |_| std::thread::sleep(wait)).await;
    let world = World { at, ..world };
    world.published(&ada, &shop, RKEY, "Spring").await;
    world.at.stop().await;
}
