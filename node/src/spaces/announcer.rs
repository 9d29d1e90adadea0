//! Reads the event log behind a cursor of its own and tells of what happens in businesses: which records make which events,
//! `angel_protocol::spaces` says. Each event of a record is told once, however often the record is written.

use angel_protocol::data::cbor;
use angel_protocol::ids::Did;
use angel_protocol::spaces::{Happening, happenings, makes_events};
use angel_storage::codec::Cbor;
use angel_storage::cursors::{self, CursorRow};
use angel_storage::permissioned::{self, RepoKey, WRITTEN};
use angel_storage::spaces::{FACTS, Fact};
use angel_storage::{Batch, events};
use tokio_util::sync::CancellationToken;

use super::announce::Announcement;
use super::{SpaceError, Spaces};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// The cursor of the announcer in the event log.
const CURSOR: (&str, &str) = ("announcer", "spaces");

/// Events of one step, and about how many bytes of them.
const STEP_EVENTS: usize = 256;
const STEP_BYTES: usize = 2 * 1024 * 1024;

/// Something that is to be told.
struct Due {
    tenant: Did,
    subject: String,
    happening: &'static Happening,
}

/// Tells until told to stop.
pub(crate) async fn run(spaces: Spaces, stop: CancellationToken) -> TaskResult {
    let mut durable = spaces.0.durable.clone();
    let this = spaces.clone();
    let mut cursor = blocking::run(move || this.begin_announcing()).await?;
    loop {
        durable.borrow_and_update();
        let more = spaces.announce_some(&mut cursor).await?;
        if more && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = durable.changed() => changed.map_err(|_| "the store's writer ended")?,
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
        let newest = reader.durable_sequence();
        self.keep_announced(newest)?;
        Ok(newest)
    }

    fn keep_announced(&self, sequence: u64) -> Result<(), SpaceError> {
        let mut batch = Batch::new();
        cursors::set(&mut batch, CURSOR.0, CURSOR.1, CursorRow { sequence, at: clock::now() })?;
        self.0.writer.commit(batch)?;
        Ok(())
    }

    async fn announce_some(&self, cursor: &mut u64) -> Result<bool, SpaceError> {
        let (this, from) = (self.clone(), *cursor);
        let (due, upto, more) = blocking::run(move || this.due(from)).await?;
        for Due { tenant, subject, happening } in &due {
            let (event, subject) = (happening.event, Some(subject.clone()));
            let told = Announcement { event, subject, ..Announcement::of_department(happening.department) };
            self.announce(tenant, told).await;
        }
        let far = upto.saturating_sub(*cursor) >= STEP_EVENTS as u64;
        if !due.is_empty() || far {
            let this = self.clone();
            blocking::run(move || this.told(due, upto)).await?;
        }
        *cursor = upto;
        Ok(more)
    }

    /// What is to be told of some events of the log; how far they went, and whether there are more. Blocks.
    fn due(&self, cursor: u64) -> Result<(Vec<Due>, u64, bool), SpaceError> {
        let reader = &self.0.reader;
        let page = events::page(reader, cursor, STEP_EVENTS, STEP_BYTES)?;
        let mut due: Vec<Due> = vec![];
        for event in page.events.iter().filter(|event| event.kind == WRITTEN) {
            let Some(written) = permissioned::written(event)? else { continue };
            let makes = |op: &&angel_protocol::permissioned::Op| makes_events(op.path.collection.as_str());
            if !written.ops.iter().any(|op| makes(&op)) {
                continue;
            }
            let Some(tenant) = self.0.tenants.find(&written.author) else { continue };
            let repo = RepoKey { account: tenant.id(), space: written.space.digest() };
            for op in written.ops.iter().filter(makes) {
                let path = op.path.to_string();
                let Some(record) = permissioned::record(reader, repo, &path)? else { continue };
                let Ok(value) = cbor::decode(&record.bytes) else { continue };
                for happening in happenings(op.path.collection.as_str(), &value) {
                    let subject = format!("at://{}/{path}", written.author);
                    let is_due = |due: &Due| due.subject == subject && due.happening == happening;
                    let is_told = reader.contains(&FACTS, &told_key(&written.author, &subject, happening.event))?;
                    if !is_told && !due.iter().any(is_due) {
                        due.push(Due { tenant: written.author.clone(), subject, happening });
                    }
                }
            }
        }
        let upto = page.events.last().map_or(cursor, |event| event.sequence);
        Ok((due, upto, page.more))
    }

    /// Tells of something that happens to a business once.
    pub(crate) async fn announce_once(&self, tenant: &Did, event: &'static str) -> Result<(), SpaceError> {
        let key = told_key(tenant, "", event);
        let (this, asked) = (self.clone(), key.clone());
        if blocking::run(move || this.0.reader.contains(&FACTS, &asked)).await? {
            return Ok(());
        }
        self.announce(tenant, Announcement { event, ..Announcement::default() }).await;
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
        for Due { tenant, subject, happening } in due {
            batch.put(&FACTS, &told_key(&tenant, &subject, happening.event), &Cbor(Fact::Told { at }))?;
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
