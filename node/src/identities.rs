//! The did:plc identities of hosted accounts, as far as this node may change them: made, moved to another handle, signed
//! for with its rotation key.
//!
//! The key lies in `secrets/plc-rotation.key` or is given as a setting. An owner's recovery key comes before it in every
//! identity made here, so that the owner can take back what this node does.

use std::sync::Arc;

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::ids::{Did, Handle};
use angel_protocol::plc::{PlcData, PlcOperation, PlcStatement};
use angel_storage::reader::ReadError;
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

use crate::config::{IdentityConfig, PlcDirectory, Secret};
use crate::data_dir::Layout;
use crate::directory::{Directory, DirectoryError};
use crate::fetch::FetchError;
use crate::ledger::Ledger;
use crate::secrets::{SecretError, create_secret, random_bytes, read_secret};

const HEADER: &str = "angel plc rotation key 1";
const FILE: &str = "plc-rotation.key";

/// What the node needs to change identities. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identities {
    directory: Directory,
    rotation_key: Arc<SigningKey>,
    recovery_key: Option<Did>,
    endpoint: String,
}

/// Why identities could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentitiesOpenError {
    /// The rotation key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What lies here of the directory.
    #[error("the did:plc directory of this node: {0}")]
    Read(#[from] ReadError),
    /// The way to an outside directory.
    #[error("the way to the did:plc directory: {0}")]
    Fetch(#[from] FetchError),
}

impl Identities {
    /// As the settings say, with accounts hosted at `endpoint`. Makes the rotation key while there are `no_accounts`.
    /// Blocks.
    ///
    /// # Errors
    /// [`IdentitiesOpenError`].
    pub fn open(
        ledger: Ledger,
        layout: &Layout,
        config: &IdentityConfig,
        endpoint: String,
        no_accounts: bool,
    ) -> Result<Self, IdentitiesOpenError> {
        let rotation_key = load_rotation_key(layout, config.plc_rotation_key.as_ref(), no_accounts)?;
        let directory = match &config.plc {
            PlcDirectory::Federation => Directory::of_ledger(ledger)?,
            PlcDirectory::Outside(url) => Directory::outside(url.clone())?,
        };
        Ok(Self::new(directory, rotation_key, config.recovery_key.clone(), endpoint))
    }

    /// Changes identities in `directory` with `rotation_key`. `recovery_key` is the operator's own, which goes into
    /// every identity ahead of it; `endpoint` is where this host answers.
    #[must_use]
    pub fn new(directory: Directory, rotation_key: SigningKey, recovery_key: Option<Did>, endpoint: String) -> Self {
        Self { directory, rotation_key: Arc::new(rotation_key), recovery_key, endpoint }
    }

    /// Where the identities are kept.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The public half of the node's rotation key, as `did:key`.
    #[must_use]
    pub fn rotation_key(&self) -> Did {
        self.rotation_key.did()
    }

    /// The operator's own key, which goes into every identity that is made here.
    #[must_use]
    pub const fn operators_key(&self) -> Option<&Did> {
        self.recovery_key.as_ref()
    }

    /// Where this host answers, as identities name it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The rotation keys of an account of this host, the most powerful first: the owner's, the operator's, the node's.
    #[must_use]
    pub fn rotation_keys(&self, recovery_key: Option<Did>) -> Vec<Did> {
        let mut keys: Vec<Did> = recovery_key.into_iter().chain(self.recovery_key.clone()).collect();
        keys.push(self.rotation_key());
        let mut seen = std::collections::BTreeSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys
    }

    /// What the identity of an account of this host should say.
    #[must_use]
    pub fn account_data(&self, signing_key: Did, handle: &Handle, recovery_key: Option<Did>) -> PlcData {
        PlcData::account(self.rotation_keys(recovery_key), signing_key, handle, self.endpoint.clone())
    }

    /// The operation that makes the identity of a new account: [`PlcOperation::creates`] is its DID.
    #[must_use]
    pub fn genesis(&self, signing_key: Did, handle: &Handle, recovery_key: Option<Did>) -> PlcOperation {
        let data = self.account_data(signing_key, handle, recovery_key);
        PlcStatement::State { data, prev: None }.sign(&self.rotation_key)
    }

    /// Signs the operation that changes `did` as `change` does, without bringing it before the directory.
    ///
    /// # Errors
    /// [`DirectoryError`] when the log cannot be had or has ended.
    pub async fn sign(&self, did: &Did, change: impl FnOnce(&mut PlcData)) -> Result<PlcOperation, DirectoryError> {
        let log = self.directory.log(did).await?;
        let mut data = log.data().ok_or_else(|| DirectoryError::Tombstoned(did.clone()))?;
        change(&mut data);
        Ok(PlcStatement::State { data, prev: Some(log.head().cid) }.sign(&self.rotation_key))
    }

    /// The operation that puts another handle in the place of the present one; nothing if it is the present one. The
    /// other names stay.
    ///
    /// # Errors
    /// [`DirectoryError`] when the identity cannot be had or has ended.
    pub async fn handle_change(&self, did: &Did, handle: &Handle) -> Result<Option<PlcOperation>, DirectoryError> {
        let name = format!("at://{handle}");
        let present = self.directory.document(did).await?;
        if present.document.claimed_handle().as_ref() == Some(handle) {
            return Ok(None);
        }
        let operation = self.sign(did, |data| {
            data.also_known_as.retain(|known| *known != name);
            match data.also_known_as.iter().position(|known| known.starts_with("at://")) {
                Some(at) => data.also_known_as[at] = name,
                None => data.also_known_as.insert(0, name),
            }
        });
        operation.await.map(Some)
    }
}

/// The node's rotation key: as set, else from its file, else, while no identity can name another, a new one in that
/// file. Blocks.
///
/// # Errors
/// [`SecretError`]: a setting or a file that holds no such key, a file that others can read, that is lost or that cannot
/// be made.
pub fn load_rotation_key(
    layout: &Layout,
    setting: Option<&Secret>,
    no_accounts: bool,
) -> Result<SigningKey, SecretError> {
    let path = layout.secrets().join(FILE);
    if let Some(secret) = setting {
        let key = parse_key(secret.expose());
        return key.ok_or(SecretError::Setting { key: "identity.plc_rotation_key", what: "32 bytes in hexadecimal" });
    }
    let text = match read_secret(&path)? {
        Some(text) => text,
        None if !no_accounts => {
            let without = "Without it the identities of those who live here cannot be changed from here. If it is gone \
                           for good, set identity.plc_rotation_key to another: it serves those who come from now on";
            return Err(SecretError::Lost { path, without });
        }
        None => {
            let text = loop {
                let bytes = random_bytes::<32>()?;
                if let Some(key) = Secp256k1Key::from_bytes(&bytes) {
                    let secret = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&*bytes));
                    let did = SigningKey::from(key).did();
                    break Zeroizing::new(format!("{HEADER}\ndid: {did}\nsecret: {}\n", secret.as_str()));
                }
            };
            create_secret(&path, &text)?;
            text
        }
    };
    parse_file(&text).ok_or(SecretError::Corrupt { path, what: "it holds no rotation key" })
}

fn parse_key(text: &str) -> Option<SigningKey> {
    let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?);
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
    Secp256k1Key::from_bytes(&bytes).map(Into::into)
}

fn parse_file(text: &str) -> Option<SigningKey> {
    let mut lines = text.lines();
    let is_ours = lines.next()? == HEADER;
    let did = lines.next()?.strip_prefix("did: ")?;
    let key = parse_key(lines.next()?.strip_prefix("secret: ")?)?;
    (is_ours && key.did().as_str() == did).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;

    #[test]
    fn the_rotation_key_is_made_once_and_can_be_set() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        let made = load_rotation_key(data.layout(), None, true).expect("made");
        assert_eq!(load_rotation_key(data.layout(), None, true).expect("read").did(), made.did());
        let set = Secret::new("01".repeat(32));
        let key = load_rotation_key(data.layout(), Some(&set), true).expect("read");
        assert_eq!(key.did(), SigningKey::from(Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar")).did());
        for broken in ["", "01", "zz", &"00".repeat(32)] {
            let refused = load_rotation_key(data.layout(), Some(&Secret::new(broken.to_owned())), true);
            assert!(matches!(refused, Err(SecretError::Setting { .. })), "{broken:?}");
        }
        let path = data.layout().secrets().join(FILE);
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::remove_file(&path).expect("removed");
        let lost = load_rotation_key(data.layout(), None, false).expect_err("nobody knows another key");
        assert!(lost.to_string().contains("identity.plc_rotation_key") && !path.exists(), "{lost}");
        load_rotation_key(data.layout(), Some(&set), false).expect("the operator has said which");
        create_secret(&path, &text).expect("put back");
        std::fs::write(&path, text.replace("secret: ", "secret: 0")).expect("written");
        assert!(matches!(load_rotation_key(data.layout(), None, true), Err(SecretError::Corrupt { .. })));
    }
}
