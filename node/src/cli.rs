//! The command line. Data goes to standard output, words to standard error; every verb has `--json`, a documented
//! exit code for each way it can end, and asks nothing of whoever called it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod account;
mod backup;
mod client;
mod completions;
mod config;
mod declare;
mod doctor;
mod drill;
mod exit;
mod identity;
mod ledger;
mod lexicon;
mod log;
mod network;
mod output;
mod peer;
mod peers;
mod restore;
mod run;
mod space;
mod status;
mod storage;
mod tenant;
mod token;
mod validator;
mod wallet_key;

use self::exit::{Code, Failure};
use crate::config::{Config, ConfigError, FlagValue, Loaded, Sources};

#[derive(Debug, Parser)]
#[command(name = "angel", version, about = "An Angel OS node: a federated host for AT Protocol accounts.")]
#[command(after_long_help = exit::TABLE)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Without a verb the node runs.
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
struct Common {
    /// Where everything is kept [default: "angel" in the XDG data directory, /var/lib/angel as a service].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [env: ANGEL_CONFIG]; `angel config example` prints one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the node until it is told to stop.
    Run(run::RunArgs),
    /// Say how the running node is.
    Status,
    /// List the nodes that the running node knows.
    Peers(peers::PeersArgs),
    /// Make, list, help and end the accounts that this node hosts.
    #[command(subcommand)]
    Account(account::AccountVerb),
    /// Make, list, open and close the businesses that this node hosts, and move them; their copies on other nodes.
    #[command(subcommand)]
    Tenant(tenant::TenantVerb),
    /// Invite, remove or give up on other nodes.
    #[command(subcommand)]
    Peer(peer::PeerVerb),
    /// Declare a status to the peers, for example maintenance.
    Declare(declare::DeclareArgs),
    /// Look for what is wrong or will go wrong, with the mend for each; works with the node down too.
    Doctor,
    /// Show or explain the configuration.
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Show or rotate the node's key.
    #[command(subcommand)]
    Identity(identity::IdentityVerb),
    /// Balances, payments and proofs.
    #[command(subcommand)]
    Token(token::TokenVerb),
    /// What was decided, as this node has it.
    #[command(subcommand)]
    Ledger(ledger::LedgerVerb),
    /// Judge, show and publish lexicon documents.
    #[command(subcommand)]
    Lexicon(lexicon::LexiconVerb),
    /// Who decides.
    #[command(subcommand)]
    Validator(validator::ValidatorVerb),
    /// Found a network of several validators, or join one.
    #[command(subcommand)]
    Network(network::NetworkVerb),
    /// Look at the public spaces that the running node serves.
    #[command(subcommand)]
    Space(space::SpaceVerb),
    /// Compact, verify or convert the store of a stopped node.
    #[command(subcommand)]
    Storage(storage::StorageVerb),
    /// Make, verify and list backups of the running node, and make the key that opens them.
    #[command(subcommand)]
    Backup(backup::BackupVerb),
    /// Fail a tenant over to a standby and back on purpose, and compare roots on all hosts.
    Drill(drill::DrillArgs),
    /// Make a data directory from a backup.
    Restore(restore::RestoreArgs),
    /// Change what the running node logs.
    #[command(subcommand)]
    Log(log::LogVerb),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { common, verb } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error, std::env::args_os()),
    };
    let done = match verb.unwrap_or_else(|| Verb::Run(run::RunArgs::default())) {
        Verb::Run(args) => run::run(&common, args),
        Verb::Status => status::status(&common),
        Verb::Peers(args) => peers::peers(&common, &args),
        Verb::Account(verb) => account::account(&common, verb),
        Verb::Tenant(verb) => tenant::tenant(&common, verb),
        Verb::Peer(verb) => peer::peer(&common, verb),
        Verb::Declare(args) => declare::declare(&common, &args),
        Verb::Doctor => doctor::doctor(&common),
        Verb::Config(verb) => config::config(&common, verb),
        Verb::Identity(verb) => identity::identity(&common, verb),
        Verb::Token(verb) => token::token(&common, verb),
        Verb::Ledger(verb) => ledger::ledger(&common, &verb),
        Verb::Lexicon(verb) => lexicon::lexicon(&common, verb),
        Verb::Validator(verb) => validator::validator(&common, &verb),
        Verb::Network(verb) => network::network(&common, &verb),
        Verb::Space(verb) => space::space(&common, verb),
        Verb::Storage(verb) => storage::storage(&common, verb),
        Verb::Backup(verb) => backup::backup(&common, verb),
        Verb::Drill(args) => drill::drill(&common, &args),
        Verb::Restore(args) => restore::restore(&common, &args),
        Verb::Log(verb) => log::log(&common, verb),
        Verb::Completions(args) => completions::completions(&common, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&common),
    }
}

/// How it ends when the arguments are no command, or ask for help alone.
fn unparsed(error: &clap::Error, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    if error.use_stderr() && arguments.into_iter().any(|argument| argument == "--json") {
        let text = error.to_string();
        let words = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        return Failure::new(Code::Usage, words).report(&Common { data_dir: None, config: None, json: true });
    }
    error.exit()
}

impl Common {
    /// The configuration with these flags and those of the verb.
    fn load(&self, mut flags: Vec<FlagValue>) -> Result<Loaded, ConfigError> {
        if let Some(dir) = &self.data_dir {
            // Read as text that is nearly the same, it would be another directory.
            let text =
                dir.to_str().ok_or_else(|| no_text("data_dir", dir.as_os_str(), "flag --data-dir".to_owned()))?;
            flags.push(FlagValue { key: "data_dir", flag: "--data-dir", text: text.to_owned() });
        }
        Config::load(Sources { file: self.config.clone(), flags, environment: environment(std::env::vars_os())? })
    }
}

fn no_text(key: impl Into<String>, value: &OsStr, origin: String) -> ConfigError {
    let why = "it is no text in UTF-8".to_owned();
    ConfigError::Value { key: key.into(), value: format!("{value:?}"), origin, why }
}

/// The variables that are text. One of a setting that is none is refused: the setting would silently be another.
fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut environment = vec![];
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => environment.push((name, value)),
            Err(value) => {
                if let Some(field) = Config::fields().iter().find(|field| field.variable() == name) {
                    return Err(no_text(field.key(), &value, format!("environment variable {name}")));
                }
            }
        }
    }
    Ok(environment)
}

/// A runtime for a verb that makes a few requests.
fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Failure::unexpected(format!("cannot start: {error}")))?.block_on(future))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    /// The byte 0xff is in no text.
    fn broken() -> OsString {
        OsString::from_vec(b"/tmp/\xff".to_vec())
    }

    #[test]
    fn a_directory_that_is_no_text_is_refused_and_not_taken_for_another() {
        let common = Common { data_dir: Some(broken().into()), config: None, json: false };
        let refused = common.load(vec![]).expect_err("no text").to_string();
        assert!(refused.contains("data_dir") && refused.contains("--data-dir") && refused.contains("xFF"), "{refused}");
        let given = |name: &str| environment([(name.into(), broken())].into_iter());
        let refused = given("ANGEL_DATA_DIR").expect_err("no text").to_string();
        assert!(refused.contains("data_dir") && refused.contains("ANGEL_DATA_DIR"), "{refused}");
        assert_eq!(given("SOMEBODY_ELSES").expect("none of ours"), []);
    }
}
