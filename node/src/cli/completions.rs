//! `angel completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::exit::Failure;
use super::output::print;
use super::{Cli, Common};

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(super) fn completions(common: &Common, args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: what writes it takes a reader that went away for a mistake in the program.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "angel", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::unexpected(error.to_string()))?;
    let answer = json!({ "shell": args.shell.to_string(), "script": script });
    print(common, &answer, script.lines().map(str::to_owned))
}
