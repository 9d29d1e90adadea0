//! Tells businesses of what the ledger decided about them: that they moved to this node, and that tokens came or went.
//!
//! It follows the ledger behind a height of its own, apart from the records' announcer: a wallet through which many
//! payments go makes nobody wait for news of an order.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::ledger::TransactionId;
use angel_storage::codec::Cbor;
use angel_storage::ledger::decided::history;
use angel_storage::{Batch, Table, TableId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::blocking;
use crate::placement::{Placement, Tenant};
use crate::spaces::announce::Announcement;
use crate::spaces::{SpaceError, Spaces};
use crate::tasks::TaskResult;

const LOCAL: Table<String, Cbor<u64>> = Table::new(TableId::Local);

/// The height up to which everything is told.
const TOLD_UP_TO: &str = "announcer-height";

/// Movements of one wallet that are told of one stretch of the ledger, the newest; its history has them all.
const MOVEMENTS_MAX: usize = 64;

/// Tells until told to stop.
pub(crate) async fn run(spaces: Spaces, placement: Placement, stop: CancellationToken) -> TaskResult {
    let (mut tip, mut placed) = (placement.ledger().watch(), placement.watch());
    let newest = tip.borrow_and_update().height;
    let this = spaces.clone();
    let mut height = blocking::run(move || this.begin_telling(newest)).await?;
    let mut epochs = BTreeMap::new();
    loop {
        placed.borrow_and_update();
        let newest = tip.borrow_and_update().height;
        spaces.tell_moves(&placement, &mut epochs).await?;
        if newest > height {
            spaces.tell_movements(height, newest).await?;
            height = newest;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = tip.changed() => changed.map_err(|_| "the ledger ended")?,
            changed = placed.changed() => changed.map_err(|_| "placement ended")?,
        }
    }
}

impl Spaces {
    /// Where to go on. What was decided before there was somebody to tell it is told by nobody. Blocks.
    fn begin_telling(&self, newest: u64) -> Result<u64, SpaceError> {
        if let Some(Cbor(height)) = self.0.reader.get(&LOCAL, &TOLD_UP_TO.to_owned())? {
            return Ok(height);
        }
        self.keep_told(newest)?;
        Ok(newest)
    }

    fn keep_told(&self, height: u64) -> Result<(), SpaceError> {
        let mut batch = Batch::new();
        batch.put(&LOCAL, &TOLD_UP_TO.to_owned(), &Cbor(height))?;
        self.0.writer.commit(batch)?;
        Ok(())
    }

    /// A tenant's first epoch is that of its first primary: in each later one it has moved. `epochs` are those that need not
    /// be looked at again.
    async fn tell_moves(&self, placement: &Placement, epochs: &mut BTreeMap<Did, u64>) -> Result<(), SpaceError> {
        let served: Vec<_> = placement.tenants().into_iter().filter(|tenant| tenant.serves()).collect();
        epochs.retain(|did, _| served.iter().any(|tenant| tenant.did == *did));
        let is_news =
            |tenant: &&Arc<Tenant>| tenant.placed.epoch > 1 && epochs.get(&tenant.did) != Some(&tenant.placed.epoch);
        let moved: Vec<_> = served.iter().filter(is_news).cloned().collect();
        for tenant in moved {
            // It is told when it is open here, which is another change of placement.
            if self.0.tenants.find(&tenant.did).is_none() || !self.0.tenants.takes_writes(&tenant.did) {
                continue;
            }
            let placed = &tenant.placed;
            let mut data = json!({ "to": placed.primary.as_str(), "epoch": placed.epoch });
            if let Some(previous) = &placed.previous {
                data["from"] = previous.primary.as_str().into();
            }
            let told = Announcement {
                event: "tenant.migrated",
                data: Some(data),
                ..Announcement::of_department("operations")
            };
            self.announce_once_of(&tenant.did, &placed.epoch.to_string(), told).await?;
            epochs.insert(tenant.did.clone(), placed.epoch);
        }
        Ok(())
    }

    /// Tells of tokens that came and went above one height and up to another.
    async fn tell_movements(&self, above: u64, upto: u64) -> Result<(), SpaceError> {
        let this = self.clone();
        let due = blocking::run(move || this.movements(above, upto)).await?;
        if due.is_empty() {
            return Ok(());
        }
        for (tenant, announcement) in due {
            self.announce(&tenant, announcement).await;
        }
        let this = self.clone();
        blocking::run(move || this.keep_told(upto)).await
    }

    fn movements(&self, above: u64, upto: u64) -> Result<Vec<(Did, Announcement)>, SpaceError> {
        let mut due = vec![];
        for tenant in self.0.tenants.list(None, usize::MAX, |_, _| true, None) {
            let wallet = tenant.did();
            let until = Some((upto.saturating_add(1), 0));
            let newest = history(&self.0.reader, wallet, until, 1)?;
            if newest.first().is_none_or(|((height, _), _)| *height <= above) {
                continue;
            }
            let movements = history(&self.0.reader, wallet, until, MOVEMENTS_MAX)?;
            let fresh = movements.into_iter().take_while(|((height, _), _)| *height > above);
            let start = due.len();
            due.extend(fresh.map(|((height, _), movement)| {
                let data = json!({
                    "transactionId": TransactionId(movement.id).to_string(),
                    "change": movement.change,
                    "balance": movement.balance,
                    "height": height,
                });
                let told = Announcement {
                    event: "token.confirmed",
                    data: Some(data),
                    ..Announcement::of_department("finance")
                };
                (wallet.clone(), told)
            }));
            // The oldest first.
            due[start..].reverse();
        }
        Ok(due)
    }
}
