//! A business and its people on three hosts, who write what is private in every way there is, with the records of this
//! network: messages into a private space, into a channel for some, between two people; and leads of the business.

use super::*;
use crate::walk::Record;

/// The space in which a tenant keeps what is not public.
const WORKSPACE: &str = "co.kendev.tenants.workspace";

/// A business with a private space.
pub(super) struct Business {
    pub(super) tenant: Did,
    pub(super) owner: Account,
    pub(super) office: String,
    pub(super) direct: String,
    backroom: String,
    product: String,
}

/// Logs in.
pub(super) async fn log_in(host: &Host, handle: &str, password: &str) -> Result<Account> {
    let body = json!({ "identifier": handle, "password": password });
    let session = host.answer(host.post("com.atproto.server.createSession", &body)).await?;
    let text = |field: &str| session[field].as_str().context("a session").map(str::to_owned);
    Ok(Account { did: text("did")?.parse()?, token: text("accessJwt")? })
}

/// A token by which `who` of `home` speaks to `host`.
pub(super) async fn speaks(home: &Host, who: &Account, host: &Host, method: &str) -> Result<String> {
    let described = host.answer(host.get("com.atproto.server.describeServer", &[])).await?;
    let audience = described["did"].as_str().context("a DID")?;
    let query = [("aud", audience), ("lxm", method)];
    let asked = home.get("com.atproto.server.getServiceAuth", &query).bearer_auth(&who.token);
    Ok(home.answer(asked).await?["token"].as_str().context("a token")?.to_owned())
}

impl Business {
    /// A business on `host`, whose private space the others join from where they live.
    pub(super) async fn open(host: &Host, members: &[(&Host, &Account)]) -> Result<Self> {
        let words = ["tenant", "create", "--template", "basic-business", "bakery", "--plan", "professional", "--json"];
        let output = verb(&host.dir, &words)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout)?;
        let text = |value: &Value| value.as_str().context("a text").map(str::to_owned);
        let tenant: Did = text(&made["tenant"]["did"])?.parse()?;
        let owner = log_in(host, &text(&made["owner"]["handle"])?, &text(&made["owner"]["password"])?).await?;
        let record = json!({ "name": "Office", "slug": "office", "visibility": "private",
            "memberApproval": "disabled", "businessIdentity": { "type": "service", "industry": "general" } });
        let post = async |method: &str, body: Value| {
            host.answer(host.post(&format!("co.kendev.spaces.{method}"), &body).bearer_auth(&owner.token)).await
        };
        let office = text(&post("createSpace", json!({ "tenant": tenant, "record": record })).await?["uri"])?;
        for (home, member) in members {
            let invite = json!({ "space": office, "user": member.did });
            let token = text(&post("inviteMember", invite).await?["token"])?;
            let joining = speaks(home, member, host, "co.kendev.spaces.joinSpace").await?;
            let join = host.post("co.kendev.spaces.joinSpace", &json!({ "space": office, "token": token }));
            host.answer(join.bearer_auth(joining)).await?;
        }
        let channel = json!({ "space": office, "name": "Backroom", "channelType": "chat", "visibility": "restricted" });
        let backroom = text(&post("createChannel", channel).await?["uri"])?;
        let collection = "co.kendev.business.product";
        let cake = json!({ "$type": collection, "title": "Cake", "slug": "cake", "tenant": tenant,
            "productType": "physical", "pricing": { "currency": "EUR", "basePrice": 1250 }, "status": "active",
            "createdAt": "2026-11-21T12:00:00.000Z" });
        let cake = json!({ "repo": tenant, "collection": collection, "record": cake });
        let cake = host.post("com.atproto.repo.createRecord", &cake).bearer_auth(&owner.token);
        let product = text(&host.answer(cake).await?["uri"])?;
        let other = host.sign_up("other").await?;
        let direct = text(&post("openDirect", json!({ "user": other.did })).await?["uri"])?;
        Ok(Self { tenant, owner, office, direct, backroom, product })
    }

    /// Who sent each message of the office, as `host` lists them to the owner.
    pub(super) async fn senders(&self, host: &Host) -> Result<Vec<String>> {
        let (mut senders, mut cursor) = (vec![], String::new());
        loop {
            let mut query = vec![("space", self.office.as_str()), ("limit", "100")];
            if !cursor.is_empty() {
                query.push(("cursor", &cursor));
            }
            let listed = host.get("co.kendev.spaces.listMessages", &query).bearer_auth(&self.owner.token);
            let listed = host.answer(listed).await?;
            for message in listed["messages"].as_array().context("a list")? {
                senders.push(message["sender"].as_str().context("a sender")?.to_owned());
            }
            match listed["cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return Ok(senders),
            }
        }
    }

    /// Writes one of each kind, with `word` in it.
    pub(super) async fn write(&self, host: &Host, members: &[(&Host, &Account)], word: &str) -> Result<Vec<Record>> {
        let mut written = vec![];
        let say = |space: &str, channel: Option<&str>| {
            let mut message =
                json!({ "space": space, "content": { "type": "text", "text": format!("secretly {word}") } });
            if let Some(channel) = channel {
                message["channel"] = channel.into();
            }
            message
        };
        let mut sends = vec![
            (host, &self.owner, say(&self.office, Some(&self.backroom))),
            (host, &self.owner, say(&self.direct, None)),
        ];
        sends.extend(members.iter().map(|(home, member)| (*home, *member, say(&self.office, None))));
        for (home, author, message) in sends {
            let sent = home.post("co.kendev.spaces.sendMessage", &message).bearer_auth(&author.token);
            written.push(record(&home.answer(sent).await?)?);
        }
        let order = json!({ "tenant": self.tenant, "method": "pickup", "customerNotes": format!("for Mrs {word}"),
            "lineItems": [{ "product": self.product, "quantity": 1 }] });
        let placed = host.post("co.kendev.business.createOrder", &order).bearer_auth(&self.owner.token);
        written.push(record(&host.answer(placed).await?)?);
        let lead = json!({ "$type": "co.kendev.business.lead", "firstName": "Ada", "lastName": word,
            "email": format!("{word}@mail.test"), "source": "website", "status": "new", "tenant": self.tenant,
            "createdAt": "2026-11-21T12:00:00.000Z" });
        let space = format!("at://{}/space/{WORKSPACE}/self", self.tenant);
        let body =
            json!({ "space": space, "repo": self.tenant, "collection": "co.kendev.business.lead", "record": lead });
        let wrote = host.post("com.atproto.space.createRecord", &body).bearer_auth(&self.owner.token);
        let wrote = host.answer(wrote).await?;
        let rkey = wrote["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).context("a key")?.to_owned();
        let (did, collection) = (self.tenant.to_string(), "co.kendev.business.lead".to_owned());
        written.push(Record { did, collection, rkey, cid: wrote["cid"].as_str().context("a CID")?.to_owned() });
        Ok(written)
    }
}

/// A record, by the answer that tells of it.
fn record(answer: &Value) -> Result<Record> {
    let uri = answer["uri"].as_str().context("a URI")?;
    let parts: Vec<_> = uri.trim_start_matches("at://").split('/').map(str::to_owned).collect();
    let [did, collection, rkey] = <[String; 3]>::try_from(parts).ok().context("the URI of a record")?;
    Ok(Record { did, collection, rkey, cid: answer["cid"].as_str().context("a CID")?.to_owned() })
}
