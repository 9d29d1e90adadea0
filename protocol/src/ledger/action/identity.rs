//! Identities of accounts (did:plc).

use serde::{Deserialize, Serialize};

use super::super::transaction::InvalidTransaction;
use crate::plc::{self, PlcOperation};

/// See [`super::Action::ChangeIdentity`].
///
/// The operation is all there is: it names no network, has no number in a wallet's order and never expires, so its
/// transaction has none of that to choose either. One operation is one transaction, whoever sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeIdentity {
    /// The signed operation: canonical DAG-CBOR, the bytes that its CID names.
    #[serde(with = "serde_bytes")]
    pub operation: Vec<u8>,
}

impl ChangeIdentity {
    /// The operation, if it is one and within the bounds of a directory.
    pub(crate) fn read(&self) -> Result<PlcOperation, InvalidTransaction> {
        let operation = PlcOperation::from_bytes(&self.operation).map_err(InvalidTransaction::Operation)?;
        plc::check_bounds(&operation).map_err(InvalidTransaction::OperationBound)?;
        Ok(operation)
    }
}
