//! What nobody but its hosts may see of a business outlives its machine too: members and roles, a private space with its
//! messages, orders, preferences, passwords. Everything that was answered is there on the node that takes over, and
//! nothing of it lies on a node that holds no copy.

use std::path::Path;
use std::time::Duration;

use angel_harness::tenancy::{Session, Tenancy};
use angel_harness::wait::until;
use angel_protocol::ledger::action::Exchange;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// Stands in everything that is private.
const MARK: &str = "Kolibri-4711-private";

/// Everything that takes the network a decision may take so long on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The primary, its standbys, and the node that only decides and hosts nothing of the business.
const PRIMARY: usize = 0;
const STANDBYS: [usize; 2] = [1, 2];
const OTHER: usize = 3;

async fn post(tenancy: &Tenancy, index: usize, name: &str, person: &Session, body: &Value) -> Result<Value> {
    let (status, answer) = tenancy.caller(index).call(name, Some(&person.token), body).await?;
    ensure!(status == 200, "{name}: {status} {answer}");
    Ok(answer)
}

/// Takes an order as a shop does that tries again while no standby confirms: on a busy machine the one that is left takes
/// a moment to follow a new primary.
async fn order_through(tenancy: &Tenancy, index: usize, person: &Session, order: &Value) -> Result<()> {
    for _ in 0..10 {
        let caller = tenancy.caller(index);
        let (status, answer) = caller.call("com.atproto.space.putRecord", Some(&person.token), order).await?;
        if status == 200 {
            return Ok(());
        }
        ensure!(answer["error"] == "ReplicationUnavailable", "{status} {answer}");
    }
    bail!("no standby confirms")
}

async fn get(tenancy: &Tenancy, index: usize, name: &str, person: &Session) -> Result<Value> {
    let (status, answer) = tenancy.caller(index).query(name, &person.token).await?;
    ensure!(status == 200, "{name}: {status} {answer}");
    Ok(answer)
}

/// Waits until a standby is primary of an account and takes writes, with a copy of which nothing had to be mended.
async fn until_taken_over(tenancy: &Tenancy, did: &str) -> Result<usize> {
    let index = tenancy.until_primary_of(did, &STANDBYS).await?;
    let report = tenancy.report_of(index, did).await?.context("a report")?;
    ensure!(report["mended"] == 0, "nothing was to be mended: {report}");
    Ok(index)
}

/// With a file that no public record names.
fn order(number: u32, drawing: &Value) -> Value {
    // One that fits a row of the store, and one that does not.
    let note = MARK.repeat(if number == 1 { 1 } else { 2_000 });
    json!({ "$type": "com.example.order", "number": number, "note": note, "drawing": drawing,
        "createdAt": "2026-11-21T12:00:00.000Z" })
}

/// A product that is offered; its URI.
async fn offered(tenancy: &Tenancy, owner: &Session, tenant: &str) -> Result<String> {
    let record = json!({ "$type": "co.kendev.business.product", "title": "Honey", "slug": "honey", "tenant": tenant,
        "productType": "digital", "pricing": { "currency": "EUR", "basePrice": 900 }, "status": "active",
        "createdAt": "2026-11-21T12:00:00.000Z" });
    let body = json!({ "repo": tenant, "collection": "co.kendev.business.product", "record": record });
    let made = post(tenancy, PRIMARY, "com.atproto.repo.createRecord", owner, &body).await?;
    Ok(made["uri"].as_str().context("a URI")?.to_owned())
}

fn preferences(word: &str) -> Value {
    json!({ "preferences": [
        { "$type": "app.bsky.actor.defs#interestsPref", "tags": [MARK, word] },
    ] })
}

/// How often the mark stands in the files under a directory, its log and store among them.
fn marks_under(dir: &Path) -> Result<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found += marks_under(&entry.path())?;
        } else if entry.file_type()?.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            found += bytes.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count();
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_outlives_its_machine() -> Result<()> {
    let mut world = Tenancy::on_loopback().await?;
    let (manager, guest) = (world.sign_up("mila").await?, world.sign_up("gus").await?);
    let rivals = [
        (STANDBYS[0], world.sign_up_at(STANDBYS[0], "rex", None).await?),
        (STANDBYS[1], world.sign_up_at(STANDBYS[1], "rita", None).await?),
    ];
    let made = world.angel(PRIMARY, &["tenant", "create", "--template", "ecommerce-store", "hays"])?;
    let text = |path: &str| made.pointer(path).and_then(Value::as_str).map(ToOwned::to_owned).context("as it says");
    let (tenant, handle, password) = (text("/tenant/did")?, text("/owner/handle")?, text("/owner/password")?);
    let owner = world.caller(PRIMARY).log_in_as(&handle, &password).await?;

    // What is older than the first copy.
    let invitation = json!({ "tenant": "hays", "role": "tenant_manager", "permissions": ["manage_content"] });
    let invited = post(&world, PRIMARY, "co.kendev.tenants.invite", &owner, &invitation).await?;
    let acceptance = json!({ "tenant": tenant, "token": invited["token"] });
    post(&world, PRIMARY, "co.kendev.tenants.acceptInvite", &manager, &acceptance).await?;
    let wish = json!({ "tenant": tenant, "record": {
        "name": "Back office", "slug": "back-office", "visibility": "private", "memberApproval": "automatic",
        "businessIdentity": { "type": "service", "industry": "general" },
    } });
    let space = post(&world, PRIMARY, "co.kendev.spaces.createSpace", &owner, &wish).await?;
    let space = space["uri"].as_str().context("a space")?.to_owned();
    let say = |text: &str| json!({ "space": space, "content": { "type": "text", "text": format!("{MARK} {text}") } });
    let before = post(&world, PRIMARY, "co.kendev.spaces.sendMessage", &owner, &say("before")).await?;
    for person in [&manager, &guest] {
        let wish = json!({ "space": space, "user": person.did });
        let asked = post(&world, PRIMARY, "co.kendev.spaces.inviteMember", &owner, &wish).await?;
        let joining = json!({ "space": space, "token": asked["token"] });
        post(&world, PRIMARY, "co.kendev.spaces.joinSpace", person, &joining).await?;
    }
    post(&world, PRIMARY, "app.bsky.actor.putPreferences", &owner, &preferences("before")).await?;
    let list = json!({ "$type": "com.atproto.simplespace.defs#memberListPolicy" });
    let orders = json!({ "spaceType": "com.example.orders", "skey": "self", "readPolicy": list, "writePolicy": list,
        "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
    let orders = post(&world, PRIMARY, "com.atproto.simplespace.createSpace", &owner, &orders).await?;
    let orders = orders["uri"].as_str().context("a space")?.to_owned();
    let drawing = format!("{MARK} as drawn").into_bytes();
    let blob = world.caller(PRIMARY).upload(&owner.token, drawing.clone()).await?;
    let take = |number: u32| {
        json!({ "space": orders, "repo": owner.did, "collection": "com.example.order", "rkey": format!("n{number}"),
            "record": order(number, &blob) })
    };
    post(&world, PRIMARY, "com.atproto.space.createRecord", &owner, &take(1)).await?;

    let product = offered(&world, &owner, &tenant).await?;

    for did in [&tenant, &owner.did] {
        let [one, two] = STANDBYS.map(|index| world.node(index));
        world.angel(PRIMARY, &["tenant", "place", did, "--node", &one, "--node", &two, "--ack", "replicated"])?;
        world.until_copied(did).await?;
    }

    // What is answered from here on has a standby, and the machine goes the moment that the last of it is answered.
    post(&world, PRIMARY, "com.atproto.space.createRecord", &owner, &take(2)).await?;
    post(&world, PRIMARY, "co.kendev.spaces.sendMessage", &owner, &say("after")).await?;
    let app = json!({ "name": "till" });
    let app = post(&world, PRIMARY, "com.atproto.server.createAppPassword", &owner, &app).await?;
    let promotion = json!({ "tenant": "hays", "user": manager.did, "role": "tenant_admin" });
    post(&world, PRIMARY, "co.kendev.tenants.setRole", &owner, &promotion).await?;
    post(&world, PRIMARY, "app.bsky.actor.putPreferences", &owner, &preferences("after")).await?;
    let banned = json!({ "space": space, "user": guest.did });
    post(&world, PRIMARY, "co.kendev.spaces.banMember", &owner, &banned).await?;
    let read = json!({ "message": before["uri"] });
    post(&world, PRIMARY, "co.kendev.spaces.markRead", &manager, &read).await?;
    for (_, rival) in &rivals {
        let wish = json!({ "user": rival.did });
        post(&world, PRIMARY, "co.kendev.spaces.blockPerson", &owner, &wish).await?;
    }
    let wish = json!({ "tenant": tenant, "method": "digital", "lineItems": [{ "product": product, "quantity": 1 }] });
    let bought = post(&world, PRIMARY, "co.kendev.business.createOrder", &manager, &wish).await?;
    let step = json!({ "order": bought["uri"] });
    post(&world, PRIMARY, "co.kendev.business.capturePayment", &owner, &step).await?;
    world.validators.kill(PRIMARY)?;

    // Two accounts, each with a primary of its own: the business, and the person who owns it. Usually one node takes both
    // over. Where not, the business follows its owner, as an operator would have it.
    let new = until_taken_over(&world, &owner.did).await?;
    if until_taken_over(&world, &tenant).await? != new {
        world.angel(new, &["tenant", "promote", &tenant])?;
        world
            .until_reported_of(&tenant, "the business is with its owner", new, |report| report["writable"] == true)
            .await?;
    }
    let owner = world.caller(new).log_in_as(&handle, &password).await?;
    world.caller(new).log_in_as(&handle, app["password"].as_str().context("an app password")?).await?;
    let kept = get(&world, new, "app.bsky.actor.getPreferences", &owner).await?;
    ensure!(kept == preferences("after"), "{kept}");
    let members = get(&world, new, "co.kendev.tenants.listMemberships?tenant=hays", &owner).await?;
    let role = members["memberships"].as_array().into_iter().flatten().find_map(|it| {
        (it["value"]["user"] == manager.did.as_str()).then(|| it["value"]["role"].as_str().map(ToOwned::to_owned))
    });
    ensure!(role.flatten().as_deref() == Some("tenant_admin"), "{members}");
    let said = get(&world, new, &format!("co.kendev.spaces.listMessages?space={space}"), &owner).await?;
    let said = said.to_string();
    ensure!(said.contains(&format!("{MARK} before")) && said.contains(&format!("{MARK} after")), "{said}");
    let banned = get(&world, new, &format!("co.kendev.spaces.listMembers?space={space}&status=banned"), &owner).await?;
    let banned: Vec<_> = banned["members"].as_array().into_iter().flatten().map(|member| &member["did"]).collect();
    ensure!(banned == [guest.did.as_str()], "who was banned still is: {banned:?}");
    let (_, rival) = rivals.iter().find(|(index, _)| *index == new).context("it was a standby")?;
    let wish = json!({ "user": owner.did });
    let caller = world.caller(new);
    let (status, answer) = caller.call("co.kendev.spaces.openDirect", Some(&rival.token), &wish).await?;
    ensure!(status == 403 && answer["error"] == "NotAllowed", "who was blocked still is: {status} {answer}");
    let uri = before["uri"].as_str().context("a URI")?;
    let read = get(&world, new, &format!("co.kendev.spaces.getMessage?uri={uri}"), &owner).await?;
    ensure!(read["readBy"] == json!([manager.did]), "who had read it still has: {read}");
    for number in [1, 2] {
        let path = format!(
            "com.atproto.space.getRecord?space={orders}&repo={}&collection=com.example.order&rkey=n{number}",
            owner.did
        );
        let found = get(&world, new, &path, &owner).await?;
        ensure!(found["value"] == order(number, &blob), "order {number}: {}", found["value"]["number"]);
    }

    // What follows from an order is known of its customer, also where the node that took the payment did not come to note it:
    // the one that took over has read everything again.
    let person = format!("co.kendev.business.getCustomer?tenant={tenant}&person={}", manager.did);
    until("the customer is known by the order", LONG, async || {
        let known = get(&world, new, &person, &owner).await?;
        let events = known["value"]["crmData"]["conversionEvents"].as_array().cloned().unwrap_or_default();
        ensure!(events.iter().any(|event| event["subject"] == bought["uri"]), "{known}");
        let log = world.validators.daemon(new).log();
        let is_read = |line: &&String| line.contains("known by all its records") && line.contains(&tenant);
        Ok(log.iter().find(is_read).map(drop))
    })
    .await?;

    let cid = blob["ref"]["$link"].as_str().context("a CID")?;
    let path = format!("com.atproto.space.getBlob?space={orders}&repo={}&cid={cid}", owner.did);
    let (status, bytes) = world.caller(new).file(&path, Some(&owner.token)).await?;
    ensure!(status == 200 && bytes == drawing, "the drawing: {status}");
    let (status, _) =
        world.caller(new).file(&format!("com.atproto.sync.getBlob?did={}&cid={cid}", owner.did), None).await?;
    ensure!(status != 200, "it is no more public than before");

    // It goes on: the business takes orders as before, and the other standby has each that is answered.
    order_through(&world, new, &owner, &take(3)).await?;
    let seen = format!("com.atproto.space.listRecords?space={orders}&repo={}&collection=com.example.order", owner.did);
    let seen = get(&world, new, &seen, &owner).await?;
    ensure!(seen["records"].as_array().map(Vec::len) == Some(3), "{} orders", seen["records"]);

    // Whoever does not host the business has nothing of it: not in its store, not in its log.
    let found = marks_under(&world.validators.dir(OTHER))?;
    ensure!(found == 0, "node {OTHER} has the mark {found} times");
    ensure!(marks_under(&world.validators.dir(new))? > 0, "the search finds what is there");
    is_told_what_the_network_does(&mut world, new, &owner, &tenant).await
}

/// The business hears of its move, of tokens, and of a node of its that falls silent and comes back.
async fn is_told_what_the_network_does(world: &mut Tenancy, new: usize, owner: &Session, tenant: &str) -> Result<()> {
    let here = world.node(new);
    world.until_told(new, owner, tenant, "tenant.migrated", 1, |told| told["to"] == here).await?;
    let exchange = Exchange { to: tenant.parse()?, ..world.validators.exchange(0, 2_500_000) };
    let payment = world.validators.sign(0, &world.validators.draft(0, 0, exchange));
    let (status, taken) = world.validators.hand_in(new, &payment).await?;
    ensure!(status < 300, "{status} {taken}");
    let decided = world.validators.decided(new, &payment).await?;
    ensure!(decided["status"] == "confirmed", "{decided}");
    let confirmed = world.until_told(new, owner, tenant, "token.confirmed", 1, |_| true).await?;
    ensure!(confirmed["change"] == 2_500_000 && confirmed["balance"] == 2_500_000, "{confirmed}");

    // The former primary comes back as a standby, and goes again. Its first silence is told where it lasted long enough.
    world.validators.start(PRIMARY)?;
    let former = world.node(PRIMARY);
    until("the former primary is heard", LONG, async || {
        let nodes = world.validators.get(new, "/api/federation/nodes").await?;
        let nodes = nodes["nodes"].as_array().context("nodes")?;
        Ok(nodes.iter().any(|node| node["did"] == former && node["status"] == "online").then_some(()))
    })
    .await?;
    world.validators.kill(PRIMARY)?;
    let of_it = |told: &Value| told["node"] == former;
    world.until_told(new, owner, tenant, "node.degraded", 2, of_it).await?;
    world.validators.start(PRIMARY)?;
    world.until_told(new, owner, tenant, "node.recovered", 2, of_it).await?;
    Ok(())
}
