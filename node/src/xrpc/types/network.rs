//! What the methods of `co.kendev.network.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::permissioned::SpaceUri;
use serde::Deserialize;

use crate::xrpc::types::Bytes;

/// The body of `co.kendev.network.cancelMigration`.
#[derive(Deserialize)]
pub(crate) struct CancelMigrationInput {
    /// The move's id. At most 64 bytes.
    pub(crate) id: String,
}

/// The body of `co.kendev.network.dismissRecordVersions`.
#[derive(Deserialize)]
pub(crate) struct DismissRecordVersionsInput {
    /// The account: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// Which. At most 100 entries.
    pub(crate) versions: Vec<DismissRecordVersionsVersionRef>,
}

/// What names a version.
#[derive(Deserialize)]
pub(crate) struct DismissRecordVersionsVersionRef {
    /// The record's collection and key, or the word preferences: the owner's preferences are kept in the same way. At
    /// most 1024 bytes.
    pub(crate) path: String,
    /// The revision that the version had where it was written.
    pub(crate) rev: Tid,
    /// The space that it is in; a record of the public repository is in none.
    pub(crate) space: Option<SpaceUri>,
}

/// The body of `co.kendev.network.exchangeTokens`.
#[derive(Deserialize)]
pub(crate) struct ExchangeTokensInput {
    /// Canonical DAG-CBOR of the signed transaction. At most 32768 bytes.
    pub(crate) transaction: Bytes,
}

/// The parameters of `co.kendev.network.getBalance`.
#[derive(Deserialize)]
pub(crate) struct GetBalanceParameters {
    /// Whose balance.
    pub(crate) account: Did,
    /// Inside which tenant; outside all when absent.
    pub(crate) tenant: Option<Did>,
}

/// The parameters of `co.kendev.network.getMigration`.
#[derive(Deserialize)]
pub(crate) struct GetMigrationParameters {
    /// The move's id. At most 64 bytes.
    pub(crate) id: String,
}

/// The parameters of `co.kendev.network.getProof`.
#[derive(Deserialize)]
pub(crate) struct GetProofParameters {
    /// A wallet; with a tenant, its balance there.
    pub(crate) account: Option<Did>,
    /// Where a tenant is; with an account, its balance there.
    pub(crate) tenant: Option<Did>,
    /// What became of a transaction. Exactly 52 bytes.
    pub(crate) transaction: Option<String>,
}

/// The parameters of `co.kendev.network.getRate`.
#[derive(Deserialize)]
pub(crate) struct GetRateParameters {
    /// What is to be exchanged. One of `usd`, `karma_points`, `angel_tokens`.
    pub(crate) source: Currency,
    /// Into what: what moves is always tokens. One of `angel_tokens`.
    pub(crate) target: Option<Currency>,
}

/// The parameters of `co.kendev.network.getTransaction`.
#[derive(Deserialize)]
pub(crate) struct GetTransactionParameters {
    /// The transaction's id. Exactly 52 bytes.
    pub(crate) id: String,
}

/// The parameters of `co.kendev.network.listMigrations`.
#[derive(Deserialize)]
pub(crate) struct ListMigrationsParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.network.listNodes`.
#[derive(Deserialize)]
pub(crate) struct ListNodesParameters {
    /// What the page before gave.
    pub(crate) cursor: Option<Did>,
    /// Most nodes on the page. From 1 to 1000. When absent, `100`.
    pub(crate) limit: u16,
}

/// The parameters of `co.kendev.network.listRecordVersions`.
#[derive(Deserialize)]
pub(crate) struct ListRecordVersionsParameters {
    /// What the page before gave. At most 1100 bytes.
    pub(crate) cursor: Option<String>,
    /// Most versions on the page; a page of large ones has fewer. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// The account: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.network.listTransactions`.
#[derive(Deserialize)]
pub(crate) struct ListTransactionsParameters {
    /// Whose.
    pub(crate) account: Did,
    /// What the page before gave. At most 40 bytes.
    pub(crate) cursor: Option<String>,
    /// Most movements on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
}

/// The parameters of `co.kendev.network.listValidators`.
#[derive(Deserialize)]
pub(crate) struct ListValidatorsParameters {
    /// Which height. At least 1.
    pub(crate) height: Option<u64>,
}

/// The body of `co.kendev.network.migrateTenant`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MigrateTenantInput {
    /// Only find out whether it could be done.
    pub(crate) dry_run: Option<bool>,
    /// Why. One of `manual`, `load_balancing`, `geographic_optimization`.
    pub(crate) migration_type: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// The node that it is to go to.
    pub(crate) to_node: Did,
}

/// The body of `co.kendev.network.rollBackMigration`.
#[derive(Deserialize)]
pub(crate) struct RollBackMigrationInput {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.network.sendTokens`.
#[derive(Deserialize)]
pub(crate) struct SendTokensInput {
    /// How much, in micro-tokens. From 1 to 9007199254740991.
    pub(crate) amount: u64,
    /// What for. At most 2048 bytes.
    pub(crate) reason: Option<String>,
    /// The wallet's next number, as getBalance tells it. A payment that is asked for again under the same number is
    /// made once.
    pub(crate) sequence: Option<u64>,
    /// Who receives.
    pub(crate) to: Did,
}

/// The parameters of `co.kendev.network.subscribeLedger`.
#[derive(Deserialize)]
pub(crate) struct SubscribeLedgerParameters {
    /// The last height that is known; 0 begins with the first.
    pub(crate) cursor: Option<u64>,
}
