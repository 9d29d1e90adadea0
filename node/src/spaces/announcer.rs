//! Reads the event log behind a cursor of its own and tells of what happens in businesses: which records make which events,
//! `angel_protocol::spaces` says. Each event of a record is told once, however often the record is written. A business also
//! hears when a node that it lies on falls silent or is well again. Moves and tokens are told by [`ledger`].

pub(crate) mod ledger;

use std::sync::Arc;

use angel_protocol::data::cbor;
use angel_protocol::ids::Did;
use angel_protocol::spaces::{Happening, happenings, makes_events};
use angel_storage::codec::{self, Cbor};
use angel_storage::cursors::{self, CursorRow};
use angel_storage::events::Event;
use angel_storage::permissioned::{self, RepoKey, WRITTEN};
use angel_storage::spaces::{FACTS, Fact};
use angel_storage::{Batch, events};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::announce::Announcement;
use super::{SpaceError, Spaces};
use crate::firehose::Beside;
use crate::membership::{NODE_EVENT, NodeEventRow};
use crate::placement::Placement;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// The cursor of the announcer in the event log.
const CURSOR: (&str, &str) = ("announcer", "spaces");

/// Events of one step, and about how many bytes of them.
const STEP_EVENTS: usize = 256;
const STEP_BYTES: usize = 2 * 1024 * 1024;

/// Events of which none is told, after which the cursor is written. They are looked at again after a crash.
const KEPT_AFTER: u64 = 4096;

/// Something that is to be told.
struct Due {
    tenant: Did,
    announcement: Announcement,
    /// What is noted when it is told.
    note: Note,
}

/// What is noted of something told, so that it is not told again. It says what it is of.
enum Note {
    Told(String),
    /// What was told before no longer holds, and may happen again.
    Over(String),
}

impl Due {
    fn of_record(tenant: &Did, uri: &str, happening: &Happening) -> Self {
        let (event, subject) = (happening.event, Some(uri.to_owned()));
        let announcement = Announcement { event, subject, ..Announcement::of_department(happening.department) };
        Self { tenant: tenant.clone(), announcement, note: Note::Told(uri.to_owned()) }
    }

    fn is_of(&self, tenant: &Did, subject: &str, event: &str) -> bool {
        let (Note::Told(noted) | Note::Over(noted)) = &self.note;
        self.tenant == *tenant && noted == subject && self.announcement.event == event
    }
}

/// Told when a node falls silent or says that it is not well, and when it is well again.
const DEGRADED: &str = "node.degraded";
const RECOVERED: &str = "node.recovered";

/// Tells until told to stop. Read at once: a record tells what happened as it is now, and goes on from there.
pub(crate) async fn run(
    spaces: Spaces,
    placement: Placement,
    mut beside: Beside,
    stop: CancellationToken,
) -> TaskResult {
    let this = spaces.clone();
    let mut cursor = blocking::run(move || this.begin_announcing()).await?;
    let mut kept = cursor;
    loop {
        let passed = beside.pass(cursor);
        let more = if passed > cursor {
            cursor = passed;
            false
        } else {
            spaces.announce_some(&placement, &mut cursor).await?
        };
        if cursor.saturating_sub(kept) >= KEPT_AFTER {
            let this = spaces.clone();
            blocking::run(move || this.keep_announced(cursor)).await?;
            kept = cursor;
        }
        if more && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = beside.changed() => changed?,
        }
    }
}

impl Spaces {
    /// Where to go on. What happened before there was an announcer is told by nobody. Blocks.
    fn begin_announcing(&self) -> Result<u64, SpaceError> {
        let reader = &self.0.reader;
        let cursor = cursors::get(reader, CURSOR.0, CURSOR.1)?;
        if cursor > 0 {
            return Ok(cursor);
        }
        // In a store that is new there is nothing yet, and 0 is said of who never read.
        let newest = reader.durable_sequence().max(1);
        self.keep_announced(newest)?;
        Ok(newest)
    }

    fn keep_announced(&self, sequence: u64) -> Result<(), SpaceError> {
        let mut batch = Batch::new();
        cursors::set(&mut batch, CURSOR.0, CURSOR.1, CursorRow { sequence, at: clock::now() })?;
        self.0.writer.commit(batch)?;
        Ok(())
    }

    async fn announce_some(&self, placement: &Placement, cursor: &mut u64) -> Result<bool, SpaceError> {
        let (this, placement, from) = (self.clone(), placement.clone(), *cursor);
        let (due, upto, more) = blocking::run(move || this.due(&placement, from)).await?;
        for Due { tenant, announcement, .. } in &due {
            self.announce(tenant, announcement.clone()).await;
        }
        if !due.is_empty() {
            let this = self.clone();
            blocking::run(move || this.told(due, upto)).await?;
        }
        *cursor = upto;
        Ok(more)
    }

    /// What is to be told of some events of the log; how far they went, and whether there are more. Blocks.
    fn due(&self, placement: &Placement, cursor: u64) -> Result<(Vec<Due>, u64, bool), SpaceError> {
        let page = events::page(&self.0.reader, cursor, STEP_EVENTS, STEP_BYTES)?;
        let mut due: Vec<Due> = vec![];
        for event in &page.events {
            match event.kind {
                WRITTEN => self.due_of_records(event, &mut due)?,
                NODE_EVENT => self.due_of_node(placement, event, &mut due)?,
                _ => {}
            }
        }
        let upto = page.events.last().map_or(cursor, |event| event.sequence);
        Ok((due, upto, page.more))
    }

    fn due_of_records(&self, event: &Event, due: &mut Vec<Due>) -> Result<(), SpaceError> {
        let reader = &self.0.reader;
        let Some(written) = permissioned::written(event)? else { return Ok(()) };
        let makes = |op: &&angel_protocol::permissioned::Op| makes_events(op.path.collection.as_str());
        if !written.ops.iter().any(|op| makes(&op)) {
            return Ok(());
        }
        let Some(tenant) = self.0.tenants.find(&written.author) else { return Ok(()) };
        let repo = RepoKey { account: tenant.id(), space: written.space.digest() };
        for op in written.ops.iter().filter(makes) {
            let path = op.path.to_string();
            let Some(record) = permissioned::record(reader, repo, &path)? else { continue };
            let Ok(value) = cbor::decode(&record.bytes) else { continue };
            for happening in happenings(op.path.collection.as_str(), &value) {
                let uri = format!("at://{}/{path}", written.author);
                let is_told = reader.contains(&FACTS, &told_key(&written.author, &uri, happening.event))?;
                if !is_told && !due.iter().any(|due| due.is_of(&written.author, &uri, happening.event)) {
                    due.push(Due::of_record(&written.author, &uri, happening));
                }
            }
        }
        Ok(())
    }

    /// Whoever lies on a node hears once that it is not well, and once that it is well again.
    fn due_of_node(&self, placement: &Placement, event: &Event, due: &mut Vec<Due>) -> Result<(), SpaceError> {
        let Ok(Cbor(NodeEventRow { node, status: Some(status), .. })) =
            codec::decode::<Cbor<NodeEventRow>>(&event.body)
        else {
            return Ok(());
        };
        let is_well = match status.as_str() {
            "online" => true,
            "degraded" | "offline" => false,
            _ => return Ok(()),
        };
        let lies_there = |tenant: &Arc<crate::placement::Tenant>| {
            tenant.serves() && tenant.placed.primary != node && tenant.placed.hosts().any(|host| *host == node)
        };
        for tenant in placement.tenants().into_iter().filter(lies_there) {
            let subject = node.to_string();
            // What of this page comes before counts like what was told before.
            let latest = due
                .iter()
                .rev()
                .find(|due| [DEGRADED, RECOVERED].iter().any(|event| due.is_of(&tenant.did, &subject, event)));
            let is_told = match latest {
                Some(due) => matches!(due.note, Note::Told(_)),
                None => self.0.reader.contains(&FACTS, &told_key(&tenant.did, &subject, DEGRADED))?,
            };
            if is_told != is_well {
                continue;
            }
            let (event, note) =
                if is_well { (RECOVERED, Note::Over(subject)) } else { (DEGRADED, Note::Told(subject)) };
            let data = Some(json!({ "node": node.as_str(), "status": status }));
            let announcement = Announcement { event, data, ..Announcement::of_department("operations") };
            due.push(Due { tenant: tenant.did.clone(), announcement, note });
        }
        Ok(())
    }

    /// Tells of something that happens to a business once.
    pub(crate) async fn announce_once(&self, tenant: &Did, event: &'static str) -> Result<(), SpaceError> {
        self.announce_once_of(tenant, "", Announcement { event, ..Announcement::default() }).await
    }

    /// Tells of something that happens once to what `subject` names.
    async fn announce_once_of(&self, tenant: &Did, subject: &str, told: Announcement) -> Result<(), SpaceError> {
        let key = told_key(tenant, subject, told.event);
        let (this, asked) = (self.clone(), key.clone());
        if blocking::run(move || this.0.reader.contains(&FACTS, &asked)).await? {
            return Ok(());
        }
        self.announce(tenant, told).await;
        let this = self.clone();
        blocking::run(move || {
            let mut batch = Batch::new();
            batch.put(&FACTS, &key, &Cbor(Fact::Told { at: clock::now() }))?;
            this.0.writer.commit(batch)?;
            Ok(())
        })
        .await
    }

    fn told(&self, due: Vec<Due>, upto: u64) -> Result<(), SpaceError> {
        let (mut batch, at) = (Batch::new(), clock::now());
        for Due { tenant, announcement, note } in due {
            match note {
                Note::Told(subject) => {
                    let key = told_key(&tenant, &subject, announcement.event);
                    batch.put(&FACTS, &key, &Cbor(Fact::Told { at }))?;
                }
                Note::Over(subject) => batch.delete(&FACTS, &told_key(&tenant, &subject, DEGRADED))?,
            }
        }
        cursors::set(&mut batch, CURSOR.0, CURSOR.1, CursorRow { sequence: upto, at })?;
        self.0.writer.commit(batch)?;
        Ok(())
    }
}

/// Facts of a business lie beside those of its spaces, under no space.
fn told_key(tenant: &Did, subject: &str, event: &str) -> (Did, String, String) {
    (tenant.clone(), String::new(), format!("told {subject} {event}"))
}
