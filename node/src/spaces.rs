//! Spaces: business conversations as AT Protocol records that belong to their authors, indexed and told live by the node
//! of the space's holder.
//!
//! The event log is the truth. One task ([`index`]) reads it behind a cursor of its own, makes rows of what concerns a
//! space, and hands what happened to those who follow it ([`live`]). What people do that is no record of theirs
//! (joining, hiding, reading) is an event of that log too ([`people`]), so there is one writer of the index and one
//! order of things. Authors who live elsewhere are followed at their own hosts ([`follow`]), and what they write enters
//! the log once it is verified.
//!
//! What is read is this index, or the copy of another node's ([`reading`]). Who may do what is decided in
//! `angel_protocol::spaces`; here it is looked up, asked and carried out.

mod agents;
pub(crate) mod announce;
pub(crate) mod announcer;
mod apply;
pub(crate) mod asked;
mod complaints;
pub(crate) mod direct;
mod engagement;
mod error;
mod find;
pub(crate) mod follow;
mod heard;
pub(crate) mod index;
mod install;
mod invitations;
mod keep;
mod list;
pub(crate) mod live;
mod marks;
mod people;
mod reading;
mod reconcile;
mod records;
mod restore;
pub(crate) mod rooms;
pub(crate) mod staff;
mod streams;
mod told;
mod transfer;
pub(crate) mod untold;
pub(crate) mod view;
mod write;

use std::sync::Arc;

use angel_storage::accounts::Numbers;
use angel_storage::reader::ReadError;
use angel_storage::{Reader, Writer, cursors};
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::permissioned::Permissioned;
use crate::repos::Repos;
use crate::tenants::{Rulebook, Tenants};
use crate::webhooks::Bell;

pub(crate) use complaints::{NewComplaint, Wanted as Complaints};
pub(crate) use error::SpaceError;
pub(crate) use find::Asker;
pub(crate) use list::{Filter, Page};
use live::Live;
pub(crate) use people::Change;
pub(crate) use reading::Reading;
pub(crate) use transfer::{Known, Line as SpaceLine, TakingError};
pub(crate) use write::{NewMessage, NewSettings, Subject, Written};

/// The cursor of the index in the event log.
const CURSOR: (&str, &str) = ("index", "spaces");

/// Locks under which memberships are changed, one for many spaces.
const LOCKS: usize = 64;

/// The spaces of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Spaces(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    accounts: Accounts,
    repos: Repos,
    permissioned: Permissioned,
    tenants: Tenants,
    rulebook: Rulebook,
    numbers: Numbers,
    live: Live,
    /// What businesses are still to be told.
    untold: untold::Untold,
    /// Rung for a business that was told something.
    bell: Bell,
    /// Who speaks as an agent.
    agents: agents::Agents,
    /// How active members are.
    engagements: engagement::Engagements,
    /// The newest event that is durable.
    durable: watch::Receiver<u64>,
    /// The newest event that the index has dealt with.
    indexed: watch::Sender<u64>,
    /// Tells when authors elsewhere came or went.
    strangers: watch::Sender<u64>,
    /// What is changed by looking first is changed under one of these.
    locks: Vec<tokio::sync::Mutex<()>>,
}

/// What the spaces are made of.
pub(crate) struct Parts {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) accounts: Accounts,
    pub(crate) repos: Repos,
    pub(crate) permissioned: Permissioned,
    pub(crate) tenants: Tenants,
    pub(crate) rulebook: Rulebook,
}

impl std::fmt::Debug for Spaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spaces")
    }
}

impl Spaces {
    /// The spaces in a store; `durable` tells of new events. Nothing is indexed before [`index::run`]. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn open(parts: Parts, durable: watch::Receiver<u64>, followers_max: u32) -> Result<Self, ReadError> {
        let Parts { reader, writer, accounts, repos, permissioned, tenants, rulebook } = parts;
        let numbers = Numbers::open(&reader, "space")?;
        let indexed = cursors::get(&reader, CURSOR.0, CURSOR.1)?;
        Ok(Self(Arc::new(Shared {
            reader,
            writer,
            accounts,
            repos,
            permissioned,
            tenants,
            rulebook,
            numbers,
            live: Live::new(followers_max),
            untold: untold::Untold::default(),
            bell: Bell::default(),
            agents: agents::Agents::default(),
            engagements: engagement::Engagements::default(),
            durable,
            indexed: watch::Sender::new(indexed),
            strangers: watch::Sender::new(0),
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
        })))
    }

    /// What rings when a business was told something, for whoever tells it on.
    pub(crate) fn bell(&self) -> &Bell {
        &self.0.bell
    }

    /// Who follows live.
    pub(crate) fn live(&self) -> &Live {
        &self.0.live
    }

    /// Waits until everything that is durable now is in the index, so that whoever wrote reads what they wrote.
    pub(crate) async fn caught_up(&self) {
        let newest = self.0.reader.durable_sequence();
        let mut indexed = self.0.indexed.subscribe();
        // The sender lives as long as this handle.
        drop(indexed.wait_for(|sequence| *sequence >= newest).await);
    }
}
