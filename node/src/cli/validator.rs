//! `angel validator`: who decides.

use clap::Subcommand;

use super::client::Daemon;
use super::exit::Failure;
use super::output::print;
use super::{Common, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum ValidatorVerb {
    /// List the validators of the next height.
    List,
}

pub(super) fn validator(common: &Common, verb: &ValidatorVerb) -> Result<(), Failure> {
    let ValidatorVerb::List = verb;
    let daemon = Daemon::find(common)?;
    let answer = block_on(daemon.get("/xrpc/co.kendev.network.listValidators"))??;
    let validators = answer["validators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<_> = validators.iter().filter_map(|it| it["did"].as_str()).map(ToOwned::to_owned).collect();
    lines.push(match validators.len() {
        1 => "single validator, no fault tolerance".to_owned(),
        _ => format!("{} of {} have to agree", answer["quorum"], validators.len()),
    });
    print(common, &answer, lines);
    Ok(())
}
