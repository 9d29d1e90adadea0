//! `angel peer`: what the operator decides about other nodes.

use angel_protocol::ids::Did;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Daemon;
use super::exit::Failure;
use super::output::print;
use super::{Common, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum PeerVerb {
    /// Print an invitation to this node's network: one word, for `network.invitation` of the newcomer.
    Invite(InviteArgs),
    /// Forget a node. It may come back if the network admits it; `network.block` keeps it out.
    Remove(RemoveArgs),
    /// Declare that the nodes not seen now are gone for good, so that this one need not think itself cut off.
    AcceptAbsence,
}

#[derive(Args, Debug)]
pub(super) struct InviteArgs {
    /// For the node with this DID alone; without it, for whoever brings the word.
    #[arg(long, value_name = "DID")]
    invitee: Option<Did>,
    /// How many nodes may come in with it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(angel_protocol::limits::INVITE_USES_MAX)))]
    uses: u16,
    /// How many days it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=366))]
    days: u64,
}

#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The node's DID.
    #[arg(value_name = "DID")]
    did: Did,
}

pub(super) fn peer(common: &Common, verb: PeerVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let (path, body) = request(verb);
    let answer = block_on(daemon.post(path, &body))??;
    let words = match (path, answer["invitation"].as_str()) {
        (_, Some(word)) => vec![word.to_owned()],
        ("/admin/peers/remove", None) => vec![format!("removed {}", body["did"].as_str().unwrap_or_default())],
        _ => vec!["the absence of the nodes not seen now is accepted".to_owned()],
    };
    print(common, &answer, words)?;
    Ok(())
}

fn request(verb: PeerVerb) -> (&'static str, Value) {
    match verb {
        PeerVerb::Invite(args) => {
            let mut body = json!({ "uses": args.uses, "validSeconds": args.days * 86_400 });
            if let Some(invitee) = args.invitee {
                body["invitee"] = invitee.as_str().into();
            }
            ("/admin/peers/invite", body)
        }
        PeerVerb::Remove(args) => ("/admin/peers/remove", json!({ "did": args.did })),
        PeerVerb::AcceptAbsence => ("/admin/peers/accept-absence", json!({})),
    }
}
