//! A tenant outlives its machine: copies, a primary that is killed while it is written to, a standby that takes over with
//! everything that was acknowledged, and the old primary that comes back and gives way. Real daemons, real keys, one
//! ledger that four validators decide; only the silence after which a primary counts as gone is shorter than usual.

mod behind;
mod claim;
mod cut;
mod events;
mod hostile;
mod neighbours;
mod overfull;
mod schedules;
mod vault;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use angel_harness::tenancy::{Caller, HOSTS, LONG, Tenancy};
use angel_harness::wait::until;
use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Writes as a client does that tries again while no standby confirms: on a busy machine the one that is left takes a
/// moment to follow a new primary. Each refusal takes as long as a node waits for its standbys.
async fn write_through(caller: &Caller, token: &str, rkey: &str) -> Result<()> {
    for number in 0..10 {
        // What was not confirmed is stored all the same, under its name.
        let (status, body) = caller.write(token, &format!("{rkey}-{number}"), "written behind the change").await?;
        if status == 200 {
            return Ok(());
        }
        ensure!(body["error"] == "ReplicationUnavailable", "{rkey}: {status} {body}");
    }
    bail!("{rkey}: no standby confirms")
}

async fn write(caller: &Caller, token: &str, rkey: &str) -> Result<()> {
    let (status, body) = caller.write(token, rkey, &format!("note {rkey}")).await?;
    ensure!(status == 200, "{rkey}: {status} {body}");
    Ok(())
}

/// What the owner prefers: one muted word.
pub(crate) async fn prefer(caller: &Caller, token: &str, word: &str) -> Result<()> {
    let muted = json!({ "$type": "app.bsky.actor.defs#mutedWordsPref", "items": [{ "value": word, "targets": [] }] });
    let body = json!({ "preferences": [muted] });
    let (status, answer) = caller.call("app.bsky.actor.putPreferences", Some(token), &body).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

async fn preferred(caller: &Caller, token: &str) -> Result<String> {
    let (status, kept) = caller.query("app.bsky.actor.getPreferences", token).await?;
    let word = kept.pointer("/preferences/0/items/0/value").and_then(|word| word.as_str());
    Ok(word.with_context(|| format!("{status} {kept}"))?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_outlives_its_machine() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    tenancy.place(true).await?;

    // A client writes without pause; what is answered with success is on a standby's disk.
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let writer = {
        let (caller, acknowledged) = (tenancy.caller(0), Arc::clone(&acknowledged));
        let token = caller.log_in().await?;
        tokio::spawn(async move {
            for number in 0.. {
                let rkey = format!("before-{number}");
                match caller.write(&token, &rkey, "written before").await {
                    Ok((200, _)) => drop(acknowledged.lock().await.insert(rkey)),
                    Ok(refused) => return Some(refused),
                    Err(_) => return None,
                }
            }
            None
        })
    };
    until("writes are acknowledged", LONG, async || Ok((acknowledged.lock().await.len() >= 40).then_some(()))).await?;
    tenancy.validators.kill(0)?;
    let killed = Instant::now();
    let ended = writer.await?;
    ensure!(ended.is_none(), "the writer was refused before the primary was gone: {ended:?}");

    // One of the standbys takes over; the identity leads to it, and it takes writes.
    let new = tenancy.until_primary(&[1, 2]).await?;
    let caller = tenancy.caller(new);
    let token = caller.log_in().await?;
    write_through(&caller, &token, "after-0").await?;
    println!("{} ms from the kill to the first accepted write", killed.elapsed().as_millis());
    let expected = tenancy.validators.daemon(new).fact("httpUrl").replace("127.0.0.1", "localhost");
    for index in [1, 2, 3] {
        ensure!(tenancy.endpoint(index).await?.as_deref() == Some(&expected), "the identity leads to the new host");
    }
    let acknowledged = acknowledged.lock().await.clone();
    for rkey in &acknowledged {
        ensure!(caller.has(rkey).await?, "{rkey} was acknowledged and is lost");
    }
    println!("{} acknowledged writes, none lost", acknowledged.len());

    // The old primary comes back, gives way and becomes a copy like the others.
    tenancy.validators.start(0)?;
    tenancy.until_reported("the old primary is a standby", 0, |report| report["role"] == "standby").await?;
    write_through(&caller, &token, "after-1").await?;
    tenancy.until_equal(&HOSTS).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_nobody_confirms_refuses_writes() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    tenancy.place(false).await?;
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    write(&caller, &token, "one").await?;
    // It cannot know whether the two have replaced it: it must not go on.
    tenancy.validators.kill(1)?;
    tenancy.validators.kill(2)?;
    tenancy.until_reported("the lease has ended", 0, |report| report["writable"] == false).await?;
    let (status, body) = caller.write(&token, "two", "").await?;
    ensure!(status == 503 && body["error"] == "PrimaryUnconfirmed", "{status} {body}");
    ensure!(caller.has("one").await?, "reads go on");
    Ok(())
}

/// The tenant's private records: a space of its own.
struct Orders(String);

impl Orders {
    async fn open(caller: &Caller, token: &str) -> Result<Self> {
        let list = json!({ "$type": "com.atproto.simplespace.defs#memberListPolicy" });
        let wish = json!({ "spaceType": "com.example.orders", "skey": "self", "readPolicy": list, "writePolicy": list,
            "appAccess": { "$type": "com.atproto.simplespace.defs#open" } });
        let (status, made) = caller.call("com.atproto.simplespace.createSpace", Some(token), &wish).await?;
        ensure!(status == 200, "{status} {made}");
        Ok(Self(made["uri"].as_str().context("a space")?.to_owned()))
    }

    async fn put(&self, caller: &Caller, token: &str, rkey: &str, note: &str) -> Result<()> {
        let record = json!({ "$type": "com.example.order", "note": note, "createdAt": "2026-11-21T12:00:00.000Z" });
        let body = json!({ "space": self.0, "repo": caller.did(), "collection": "com.example.order", "rkey": rkey,
            "record": record });
        let (status, answer) = caller.call("com.atproto.space.putRecord", Some(token), &body).await?;
        ensure!(status == 200, "{rkey}: {status} {answer}");
        Ok(())
    }

    async fn note(&self, caller: &Caller, token: &str, rkey: &str) -> Result<Option<String>> {
        let method = format!(
            "com.atproto.space.getRecord?space={}&repo={}&collection=com.example.order&rkey={rkey}",
            self.0,
            caller.did()
        );
        let (status, record) = caller.query(&method, token).await?;
        Ok(record.pointer("/value/note").and_then(|note| note.as_str()).filter(|_| status == 200).map(str::to_owned))
    }
}

/// What a primary wrote while its standbys heard nothing is told when it comes back: in order, nothing dropped, and where
/// both wrote one record, both are kept. So it is with what is public and with what is in spaces.
#[tokio::test(flavor = "multi_thread")]
async fn unseen_writes_are_replayed_and_conflicts_are_kept() -> Result<()> {
    let mut tenancy = Tenancy::on_loopback().await?;
    let neighbour = tenancy.sign_up("neighbour").await?;
    let caller = tenancy.caller(0);
    let token = caller.log_in().await?;
    let orders = Orders::open(&caller, &token).await?;
    orders.put(&caller, &token, "both", "before").await?;
    prefer(&caller, &token, "before").await?;
    tenancy.place(false).await?;
    // Killed, for one that is merely stopped still hears what lies in its sockets. The lease goes on for a while, and
    // what is written meanwhile is answered for this machine alone.
    tenancy.validators.kill(1)?;
    tenancy.validators.kill(2)?;
    for rkey in ["unseen-1", "unseen-2", "both"] {
        write(&caller, &token, rkey).await?;
    }
    for note in ["a draft", "the last word"] {
        orders.put(&caller, &token, "unseen", note).await?;
    }
    orders.put(&caller, &token, "both", "by the old primary").await?;
    prefer(&caller, &token, "unseen").await?;
    tenancy.validators.kill(0)?;
    tenancy.validators.start(1)?;
    tenancy.validators.start(2)?;
    let new = tenancy.until_primary(&[1, 2]).await?;
    let caller = tenancy.caller(new);
    ensure!(!caller.has("unseen-1").await?, "the standbys did not hear of it");
    let token = caller.log_in().await?;
    let (status, body) = caller.write(&token, "both", "written by the new primary").await?;
    ensure!(status == 200, "{status} {body}");
    ensure!(orders.note(&caller, &token, "unseen").await?.is_none(), "the standbys did not hear of it");
    ensure!(preferred(&caller, &token).await? == "before", "the standbys did not hear of it");
    orders.put(&caller, &token, "both", "by the new primary").await?;

    tenancy.validators.start(0)?;
    tenancy.until_reported("the old primary is a standby", 0, |report| report["role"] == "standby").await?;
    for rkey in ["unseen-1", "unseen-2"] {
        ensure!(caller.has(rkey).await?, "{rkey} was told");
    }
    let unseen = orders.note(&caller, &token, "unseen").await?;
    ensure!(unseen.as_deref() == Some("the last word"), "{unseen:?}");
    ensure!(preferred(&caller, &token).await? == "unseen", "preferences are told, too");
    let both = orders.note(&caller, &token, "both").await?;
    ensure!(both.as_deref() == Some("by the new primary"), "{both:?}");
    let report = tenancy.angel(new, &["tenant", "backups", tenancy.did()])?;
    ensure!(report["keptVersions"] == 2, "the other version of two records is kept: {report}");
    let kept = report["versions"].as_array().context("a list")?;
    let in_space = |space: Option<&str>| kept.iter().filter(|it| it["space"].as_str() == space).count();
    ensure!((in_space(None), in_space(Some(&orders.0))) == (1, 1), "it is shown which: {report}");
    tenancy.until_equal(&HOSTS).await?;
    let shown = both_versions(&tenancy, new, &caller, &token).await?;
    let method = format!("co.kendev.network.listRecordVersions?tenant={}", tenancy.did());
    let (status, refused) = tenancy.caller(0).query(&method, &neighbour.token).await?;
    ensure!(status == 403 && refused["error"] == "NotAuthorised", "somebody else: {status} {refused}");
    let (status, refused) = tenancy.operate(0, Method::GET, &format!("/xrpc/{method}"), None).await?;
    ensure!(status == 503 && refused["error"] == "NotPrimary", "a standby shows none: {status} {refused}");
    let texts = |it: &Value, name: &str| {
        [format!("/{name}/value/text"), format!("/{name}/value/note")]
            .iter()
            .find_map(|at| it.pointer(at)?.as_str().map(str::to_owned))
    };
    let pairs: BTreeSet<_> = shown.iter().map(|it| (texts(it, "kept"), texts(it, "served"))).collect();
    let pair = |kept: &str, served: &str| (Some(kept.to_owned()), Some(served.to_owned()));
    let expected = [pair("note both", "written by the new primary"), pair("by the old primary", "by the new primary")];
    ensure!(pairs == BTreeSet::from(expected), "the owner reads both versions of both records: {shown:?}");

    // They go with the tenant: whoever is primary next shows the same.
    let next = 3 - new;
    tenancy.angel(next, &["tenant", "promote", tenancy.did()])?;
    ensure!(tenancy.until_primary(&[next]).await? == next);
    let after = tenancy.angel(next, &["tenant", "backups", tenancy.did()])?;
    ensure!(after["versions"] == report["versions"], "{after}, and before {report}");

    // The owner dismisses one, the copies follow, and the other stays.
    let (gone, stays) = (&shown[0], &shown[1]);
    let mut which = json!({ "path": gone["path"], "rev": gone["rev"] });
    if gone["space"].is_string() {
        which["space"] = gone["space"].clone();
    }
    let wish = json!({ "tenant": tenancy.did(), "versions": [which] });
    let (status, refused) = caller.call("co.kendev.network.dismissRecordVersions", Some(&token), &wish).await?;
    ensure!(status != 200, "the primary alone dismisses: {refused}");
    let caller = tenancy.caller(next);
    let token = caller.log_in().await?;
    let (status, answer) = caller.call("co.kendev.network.dismissRecordVersions", Some(&token), &wish).await?;
    ensure!(status == 200 && answer["dismissed"] == 1, "{status} {answer}");
    let left = both_versions(&tenancy, next, &caller, &token).await?;
    ensure!(left.len() == 1 && left[0]["path"] == stays["path"] && left[0]["space"] == stays["space"], "{left:?}");
    let (_, again) = caller.call("co.kendev.network.dismissRecordVersions", Some(&token), &wish).await?;
    ensure!(again["dismissed"] == 0, "it is gone: {again}");
    Ok(())
}

/// Second versions as the account's owner reads them, one at a time; others read none, and the operator not what is in
/// them.
async fn both_versions(tenancy: &Tenancy, index: usize, caller: &Caller, token: &str) -> Result<Vec<Value>> {
    let method = format!("co.kendev.network.listRecordVersions?tenant={}", tenancy.did());
    let (mut shown, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = caller.query(&format!("{method}&limit=1{after}"), token).await?;
        ensure!(status == 200, "{status} {page}");
        shown.extend(page["versions"].as_array().context("a list")?.iter().cloned());
        let Some(cursor) = page["cursor"].as_str() else { break };
        after = format!("&cursor={}", cursor.replace('/', "%2F").replace('~', "%7E"));
    }
    let (_, whole) = caller.query(&method, token).await?;
    ensure!(whole["versions"] == json!(shown), "{whole}");
    let (status, refused) = caller.query(&format!("{method}&cursor=nonsense"), token).await?;
    ensure!(status == 400, "{status} {refused}");

    let path = format!("/xrpc/{method}");
    let (status, told) = tenancy.operate(index, Method::GET, &path, None).await?;
    let versions = told["versions"].as_array().with_context(|| format!("{status} {told}"))?;
    ensure!(versions.len() == shown.len() && !told.to_string().contains("\"value\""), "{told}");
    let (status, refused) = caller.get(&path).await?;
    ensure!(status == 401, "nobody in particular: {status} {refused}");
    Ok(shown)
}

/// A machine that stands still for a while, as one does that is suspended, wakes up in an epoch that is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_stood_still_acknowledges_nothing_in_its_old_epoch() -> Result<()> {
    let tenancy = Tenancy::on_loopback().await?;
    tenancy.place(false).await?;
    let old = tenancy.caller(0);
    let token = old.log_in().await?;
    write(&old, &token, "before").await?;
    tenancy.until_equal(&HOSTS).await?;
    tenancy.pause(0, true)?;
    let new = tenancy.until_primary(&[1, 2]).await?;
    let caller = tenancy.caller(new);
    ensure!(caller.has("before").await?, "the standbys had it");
    write(&caller, &caller.log_in().await?, "meanwhile").await?;

    // The very first thing it does is to be asked for writes, before it can have heard of anything.
    let asked: Vec<_> = (0..8)
        .map(|number| {
            let (old, token) = (old.clone(), token.clone());
            tokio::spawn(async move { old.write(&token, &format!("late-{number}"), "too late").await })
        })
        .collect();
    tokio::task::yield_now().await;
    tenancy.pause(0, false)?;
    for asking in asked {
        if let Ok((status, body)) = asking.await? {
            ensure!(status != 200, "acknowledged in an epoch that is over: {body}");
        }
    }
    tenancy.until_reported("it has given way", 0, |report| report["role"] == "standby").await?;
    tenancy.until_equal(&HOSTS).await?;
    ensure!(tenancy.until_primary(&HOSTS).await? == new, "the new one stays");
    Ok(())
}

/// Cut off from everybody else, it cannot know whether it has been replaced; and it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_cut_off_refuses_writes_and_gives_way_when_it_is_back() -> Result<()> {
    let Some(tenancy) = Tenancy::on_hosts().await? else { return Ok(()) };
    tenancy.place(false).await?;
    let old = tenancy.caller(0);
    let token = old.log_in().await?;
    write(&old, &token, "before").await?;
    tenancy.cut(0, true)?;
    tenancy.until_reported("the lease has ended", 0, |report| report["writable"] == false).await?;
    let (status, body) = old.write(&token, "alone", "nobody hears this").await?;
    ensure!(status == 503 && body["error"] == "PrimaryUnconfirmed", "{status} {body}");

    let new = tenancy.until_primary(&[1, 2]).await?;
    let caller = tenancy.caller(new);
    write(&caller, &caller.log_in().await?, "meanwhile").await?;
    let (status, body) = old.write(&token, "alone", "nobody hears this").await?;
    ensure!(status != 200, "acknowledged in an epoch that is over: {body}");
    tenancy.cut(0, false)?;
    tenancy.until_reported("it has given way", 0, |report| report["role"] == "standby").await?;
    tenancy.until_equal(&HOSTS).await?;
    ensure!(!caller.has("alone").await?, "it was refused");
    Ok(())
}
