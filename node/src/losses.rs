//! "If this machine dies now": what would be lost of each tenant, who takes over, in what time, when that was last tried,
//! and when it was last backed up. From what was measured and decided; where nothing was, that is said.

use std::collections::BTreeSet;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_storage::accounts::ACCOUNTS_BY_DID;
use angel_storage::codec::Cbor;
use angel_storage::{AccountId, Reader, events};
use serde_json::{Value, json};

use crate::backup::Backups;
use crate::drill;
use crate::placement::Tenant;
use crate::replication::{Replication, ReplicationError};
use crate::tenants::Tenants;
use crate::{blocking, clock};

/// Events of the log that are looked through to find what one tenant would lose: beyond that it is "at least".
const EVENTS_LOOKED_AT: usize = 5_000;

/// Tenants that are told of.
const TENANTS_MAX: usize = 1_000;

/// What one account wrote behind a place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Behind {
    operations: u64,
    /// How long ago the first of them was.
    age: Option<Duration>,
    /// There may be more.
    at_least: bool,
}

fn behind(reader: &Reader, account: AccountId, since: u64) -> Result<Behind, ReplicationError> {
    let mut found = Behind::default();
    let (mut after, mut looked) = (since, 0);
    loop {
        let page = events::after(reader, after, 500)?;
        let Some(last) = page.events.last() else { return Ok(found) };
        after = last.sequence;
        looked += page.events.len();
        for event in page.events.iter().filter(|event| event.account == Some(account)) {
            found.operations += 1;
            found.age = found.age.or(Some(clock::now().since(event.at)));
        }
        if looked >= EVENTS_LOOKED_AT {
            found.at_least = page.more;
            return Ok(found);
        }
    }
}

impl Behind {
    fn to_json(self) -> Value {
        json!({
            "everything": false,
            "operations": self.operations,
            "seconds": self.age.map_or(0, |age| age.as_secs()),
            "atLeast": self.at_least,
        })
    }
}

/// All tenants of this node, placed or not.
pub(crate) async fn report(
    replication: &Replication,
    tenants: &Tenants,
    backups: &Backups,
) -> Result<Value, ReplicationError> {
    let alive: BTreeSet<Did> = match replication.0.parts.membership.nodes().await {
        Ok(list) => {
            list.nodes.iter().filter(|node| node.connection.is_some()).map(|node| node.view.did.clone()).collect()
        }
        Err(_) => BTreeSet::new(),
    };
    let (replication, tenants, backups) = (replication.clone(), tenants.clone(), backups.clone());
    blocking::run(move || {
        let placed = replication.placement().tenants();
        let mut told = vec![];
        for tenant in placed.iter().filter(|tenant| tenant.is_primary()) {
            told.push(of_placed(&replication, &backups, &alive, tenant)?);
        }
        let listed = tenants.list(None, TENANTS_MAX, |_, _| true, None);
        for tenant in listed.iter().filter(|tenant| !placed.iter().any(|placed| placed.did == *tenant.did())) {
            told.push(of_unplaced(&replication, &backups, tenant.did())?);
        }
        let last = backups.last();
        Ok(json!({
            "nodesReachable": alive.len(),
            "lastBackup": last.as_ref().map(|last| json!({
                "madeAt": last.made_at.to_string(),
                "ageSeconds": clock::now().since(last.made_at).as_secs(),
                "place": last.place,
                "verified": last.verified,
            })),
            "tenants": told,
        }))
    })
    .await
}

/// One account, whether it is a tenant or not.
pub(crate) async fn of(replication: &Replication, backups: &Backups, did: &Did) -> Result<Value, ReplicationError> {
    let alive: BTreeSet<Did> = match replication.0.parts.membership.nodes().await {
        Ok(list) => {
            list.nodes.iter().filter(|node| node.connection.is_some()).map(|node| node.view.did.clone()).collect()
        }
        Err(_) => BTreeSet::new(),
    };
    let (replication, backups, did) = (replication.clone(), backups.clone(), did.clone());
    blocking::run(move || match replication.placement().tenant(&did) {
        Some(tenant) if tenant.is_primary() => of_placed(&replication, &backups, &alive, &tenant),
        Some(tenant) => Ok(json!({ "did": did, "placed": true, "primary": tenant.placed.primary, "lost": null })),
        None => of_unplaced(&replication, &backups, &did),
    })
    .await
}

fn of_placed(
    replication: &Replication,
    backups: &Backups,
    alive: &BTreeSet<Did>,
    tenant: &Tenant,
) -> Result<Value, ReplicationError> {
    let reader = &replication.0.parts.reader;
    let successors = Replication::successors(tenant);
    let lost = match tenant.account {
        Some(account) if !successors.is_empty() => behind(reader, account, tenant.safe())?.to_json(),
        _ => everything(backups, reader, tenant.account)?,
    };
    let heirs = replication.heirs_blocking(tenant)?;
    let next = successors.iter().find(|(did, _)| alive.contains(did) && heirs.contains(did));
    let drill = drill::last(reader, &tenant.did)?;
    // The silence that the network waits for is agreed; what follows it was measured, or is not known.
    let silence = replication.placement().parameters().silence;
    let (vaults, archive) = replication.vault_reports(tenant);
    let measured = drill.as_ref().filter(|drill| drill.failure.is_none()).map(|drill| drill.refused_there_ms);
    Ok(json!({
        "did": tenant.did,
        "placed": true,
        "epoch": tenant.placed.epoch,
        "lost": lost,
        "takesOver": next.map(|(did, copy)| json!({ "did": did, "completeUpTo": copy })),
        "standbys": successors.len(),
        "standbysAlive": successors.iter().filter(|(did, _)| alive.contains(did)).count(),
        "heirs": heirs,
        "within": { "silenceMs": silence, "handOverMs": measured },
        "lastDrill": drill.as_ref().map(drill::Drill::to_json),
        "lastBackup": backups.last().map(|last| last.made_at.to_string()),
        "vaults": vaults,
        "archive": archive,
    }))
}

fn of_unplaced(replication: &Replication, backups: &Backups, did: &Did) -> Result<Value, ReplicationError> {
    let reader = &replication.0.parts.reader;
    let account = reader.get(&ACCOUNTS_BY_DID, did)?.map(|Cbor(account)| account);
    Ok(json!({
        "did": did,
        "placed": false,
        "lost": everything(backups, reader, account)?,
        "takesOver": null,
        "standbys": 0,
        "standbysAlive": 0,
        "within": null,
        "lastDrill": null,
        "lastBackup": backups.last().map(|last| last.made_at.to_string()),
    }))
}

/// Without a copy everything is lost that is in no backup.
fn everything(backups: &Backups, reader: &Reader, account: Option<AccountId>) -> Result<Value, ReplicationError> {
    let since = match (backups.last(), account) {
        (Some(last), Some(account)) => Some(behind(reader, account, last.sequence)?),
        _ => None,
    };
    Ok(json!({
        "everything": true,
        "inNoBackup": since.map(Behind::to_json),
    }))
}

/// The same in words, for one tenant.
pub(crate) fn words(report: &Value) -> Vec<String> {
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64);
    if report["lost"].is_null() {
        return vec![format!("its primary is {}", report["primary"].as_str().unwrap_or("-"))];
    }
    let least = |at_least: &Value| if *at_least == true { "at least " } else { "" };
    let mut words = vec![];
    if report["lost"]["everything"] == true {
        let behind = &report["lost"]["inNoBackup"];
        words.push(match behind.is_null() {
            true => "everything is lost: it has no copy and no backup".to_owned(),
            false => format!(
                "everything is lost here, for it has no copy; the backup lacks {}{} operations of the last {} s",
                least(&behind["atLeast"]),
                behind["operations"],
                behind["seconds"]
            ),
        });
        words.push("nobody takes over".to_owned());
    } else {
        let lost = &report["lost"];
        words.push(match number("/lost/operations") {
            Some(0) => "nothing is lost".to_owned(),
            _ => format!(
                "{}{} operations of the last {} s are lost",
                least(&lost["atLeast"]),
                lost["operations"],
                lost["seconds"]
            ),
        });
        let silence = number("/within/silenceMs").unwrap_or(0) / 1000;
        words.push(match report.pointer("/takesOver/did").and_then(Value::as_str) {
            None if number("/standbysAlive") == Some(0) => "nobody takes over: no standby is reachable".to_owned(),
            None => "nobody takes over yet: too few backups hold their share of the identity".to_owned(),
            Some(did) => match number("/within/handOverMs") {
                Some(ms) => format!("{did} takes over, {silence} s of silence and {ms} ms (as last drilled) later"),
                None => format!("{did} takes over after {silence} s of silence; how long that takes was never drilled"),
            },
        });
    }
    words.push(match report.pointer("/lastDrill/at").and_then(Value::as_str) {
        Some(at) => {
            let failure = report.pointer("/lastDrill/failure").and_then(Value::as_str);
            let how = failure.map_or("equal roots".to_owned(), |why| format!("FAILED: {why}"));
            format!("last drilled {at}: {how}")
        }
        None => "never drilled".to_owned(),
    });
    words.push(match report["lastBackup"].as_str() {
        Some(at) => format!("last backed up {at}"),
        None => "never backed up".to_owned(),
    });
    if let Some(vaults) = report["vaults"].as_array().filter(|vaults| !vaults.is_empty()) {
        let proved = |vault: &&Value| vault["state"] == "proved";
        let (proved, at) = (vaults.iter().filter(proved).count(), report.pointer("/archive/madeAt"));
        let at = at.and_then(Value::as_str).map_or_else(String::new, |at| format!(", the newest of {at}"));
        words.push(format!("{proved} of {} vaults have proved to have an archive{at}", vaults.len()));
    }
    words
}
