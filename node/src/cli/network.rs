//! `angel network`: founding a network of several validators, and joining one.

use std::path::PathBuf;
use std::str::FromStr;

use angel_protocol::ids::{Did, NetworkId, NodeName};
use angel_protocol::ledger::action::{Holder, Region};
use angel_protocol::ledger::genesis::{GenesisNode, GenesisWallet};
use angel_protocol::ledger::parameters::Admission;
use angel_protocol::ledger::{Amount, Genesis, Parameters};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Common;
use super::exit::{Code, Failure};
use super::output::print;
use super::wallet_key;
use crate::clock;
use crate::data_dir::DataDir;
use crate::keys::Identity;

#[derive(Debug, Subcommand)]
pub(super) enum NetworkVerb {
    /// Write the genesis of a new network: who decides in it, and who has how many tokens.
    Create(CreateArgs),
    /// Take a network's genesis into the data directory of a node that has not run yet.
    Join(JoinArgs),
    /// Print the DID of the node in the data directory, making its key when there is none: what `create` wants to know.
    Did,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// The file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The network's id; ids that end in -dev are for development.
    #[arg(long, value_name = "ID")]
    network: String,
    /// A validator: its DID, an equals sign, and its name. Name each.
    #[arg(long = "validator", value_name = "DID=NAME", required = true)]
    validators: Vec<String>,
    /// A wallet: the file of its key (made when absent), an equals sign, and its tokens. The first validator is its home.
    #[arg(long = "wallet", value_name = "KEYFILE=TOKENS")]
    wallets: Vec<String>,
    /// Days on the network before a node may become a validator.
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    candidate_days: u64,
    /// Transactions of one wallet in an hour.
    #[arg(long, value_name = "N", default_value_t = 100)]
    hourly: u32,
}

#[derive(Args, Debug)]
pub(super) struct JoinArgs {
    /// The genesis file of the network.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn network(common: &Common, verb: &NetworkVerb) -> Result<(), Failure> {
    match verb {
        NetworkVerb::Create(args) => create(common, args),
        NetworkVerb::Join(args) => join(common, args),
        NetworkVerb::Did => {
            let data_dir = open(common)?;
            let identity = Identity::load_or_create(data_dir.layout(), clock::now())?;
            print(common, &json!({ "did": identity.did() }), vec![identity.did().to_string()])?;
            Ok(())
        }
    }
}

fn open(common: &Common) -> Result<DataDir, Failure> {
    let loaded = common.load(vec![])?;
    Ok(DataDir::open(loaded.config.data_dir())?)
}

fn wrong(what: &str, text: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Config, format!("{what} {text}: {why}"))
}

fn create(common: &Common, args: &CreateArgs) -> Result<(), Failure> {
    let network = NetworkId::from_str(&args.network).map_err(|error| wrong("the network", &args.network, error))?;
    let mut nodes = Vec::new();
    for text in &args.validators {
        let (did, name) = text.split_once('=').ok_or_else(|| wrong("validator", text, "write it as DID=NAME"))?;
        let did = Did::from_str(did).map_err(|error| wrong("validator", text, error))?;
        let name = NodeName::from_str(name).map_err(|error| wrong("validator", text, error))?;
        nodes.push(GenesisNode {
            operator: did.clone(),
            did,
            name,
            region: Region::Europe,
            hosts: true,
            validator: true,
        });
    }
    let home = nodes.first().map(|node| node.did.clone()).ok_or_else(|| wrong("validator", "", "name at least one"))?;
    let mut wallets = Vec::new();
    for text in &args.wallets {
        let (file, tokens) = text.split_once('=').ok_or_else(|| wrong("wallet", text, "write it as KEYFILE=TOKENS"))?;
        let key = wallet_key::load_or_create(&PathBuf::from(file))?;
        let tokens: u64 = tokens.parse().map_err(|error| wrong("wallet", text, error))?;
        let grant = tokens.checked_mul(1_000_000).and_then(|micro| Amount::new(micro).ok());
        wallets.push(GenesisWallet {
            account: key.did(),
            key: key.public().to_bytes(),
            holder: Holder::Person,
            home: home.clone(),
            human: true,
            grant: grant.ok_or_else(|| wrong("wallet", text, "more than may exist"))?,
        });
    }
    let mut parameters = Parameters::new(home);
    parameters.admission = Admission::Open;
    parameters.candidate_age = args.candidate_days * 86_400_000;
    parameters.transactions_per_hour = args.hourly;
    let genesis = Genesis { network, time: clock::now(), parameters, nodes, wallets };
    genesis.rows().map_err(|error| wrong("the genesis", &args.network, error))?;
    let text = serde_json::to_string_pretty(&genesis).expect("a genesis has only integers, texts and keys");
    std::fs::write(&args.file, format!("{text}\n"))
        .map_err(|error| Failure::new(Code::DataDir, format!("cannot write {}: {error}", args.file.display())))?;
    let lines = vec![
        format!("{} validators, {} wallets", genesis.nodes.len(), genesis.wallets.len()),
        format!("start each node with --genesis {}", args.file.display()),
    ];
    let answer = json!({ "file": args.file.display().to_string(), "validators": genesis.nodes.len() });
    print(common, &answer, lines)?;
    Ok(())
}

fn join(common: &Common, args: &JoinArgs) -> Result<(), Failure> {
    let genesis = crate::ledger::genesis::read(&args.file)?;
    let data_dir = open(common)?;
    let kept = data_dir.layout().genesis();
    if kept.exists() && crate::ledger::genesis::read(&kept)?.hash() != genesis.hash() {
        let words = format!(
            "the node in {} has begun a ledger already: its accounts' identities and its tokens are decided there, and \
             no other network knows of them. Join with a data directory that is new (--data-dir), and move the accounts \
             over to it",
            data_dir.layout().root().display()
        );
        return Err(Failure::new(Code::DataDir, words));
    }
    data_dir.take_genesis(&args.file)?;
    let answer =
        json!({ "network": genesis.network, "validators": genesis.nodes.iter().filter(|it| it.validator).count() });
    print(common, &answer, vec![format!("this node will follow the ledger of {}", genesis.network)])?;
    Ok(())
}
