//! `angel identity`: the node's key, shown or rotated.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Daemon, running};
use super::exit::Failure;
use super::output::{print, row};
use super::{Common, block_on};
use crate::clock;
use crate::data_dir::{DataDir, Layout};
use crate::keys::{self, Identity, did_web};

#[derive(Debug, Subcommand)]
pub(super) enum IdentityVerb {
    /// Show the node's DIDs and peer id.
    Show,
    /// Replace the node's key; the old one stays valid for a while. A running daemon restarts its network under it.
    Rotate,
}

pub(super) fn identity(common: &Common, verb: IdentityVerb) -> Result<(), Failure> {
    match verb {
        IdentityVerb::Show => show(common),
        IdentityVerb::Rotate => rotate(common),
    }
}

fn show(common: &Common) -> Result<(), Failure> {
    let loaded = common.load(vec![])?;
    let layout = Layout::new(loaded.config.data_dir());
    let identity = Identity::load(&layout, clock::now())?;
    let web = loaded.config.node.public_url.as_ref().and_then(did_web);
    let previous: Vec<Value> = identity
        .previous()
        .iter()
        .map(|previous| json!({ "did": previous.key.did(), "validUntil": previous.until.to_string() }))
        .collect();
    let mut lines = vec![row("did", identity.did()), row("peer id", identity.peer_id())];
    lines.extend(web.as_ref().map(|web| row("also", web)));
    for previous in identity.previous() {
        lines.push(row("before", format!("{} (valid until {})", previous.key.did(), previous.until)));
    }
    let answer = json!({
        "did": identity.did(),
        "peerId": identity.peer_id().to_string(),
        "didWeb": web,
        "previous": previous,
    });
    print(common, &answer, lines)?;
    Ok(())
}

fn rotate(common: &Common) -> Result<(), Failure> {
    let loaded = common.load(vec![])?;
    let layout = Layout::new(loaded.config.data_dir());
    let answer = if running(&layout)?.is_some() {
        block_on(Daemon::find(common)?.post("/admin/identity/rotate", &json!({})))??
    } else {
        let data_dir = DataDir::open_existing(layout.root())?;
        keys::rotate(data_dir.layout(), clock::now(), loaded.config.identity.rotation_overlap)?.to_json()
    };
    let text = |key: &str| answer[key].as_str().unwrap_or("-").to_owned();
    let lines = [
        row("did", text("current")),
        row("before", format!("{} (valid until {})", text("previous"), text("previousUntil"))),
    ];
    print(common, &answer, lines)?;
    Ok(())
}
