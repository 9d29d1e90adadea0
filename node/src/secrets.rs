//! Files that hold a secret: made once, readable by their owner alone, refused when anybody else could read them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::TryRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::data_dir::{Layout, exposure, sync_dir};

/// Longest secret file that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// Random bytes in a generated admin password: beyond guessing.
const PASSWORD_BYTES: usize = 20;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error("cannot use the secret {}: {source}; check the owner and mode of the directory", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error("{} does not exist; `angel run` makes it at the first start", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// It was there once: what it belongs to still is.
    #[error(
        "{} is missing, and this data directory is not a new one: put the file back, as a backup has it. {without}",
        path.display()
    )]
    Lost {
        /// Where it was.
        path: PathBuf,
        /// What goes on without it, or does not.
        without: &'static str,
    },
    /// Others could read the file.
    #[error(
        "{} can be read by others ({exposure}); run `chmod 600` on it, and rotate the secret if somebody may have",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How.
        exposure: String,
    },
    /// The file is not what it should be. Says nothing of its content.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A setting that holds no such secret. Says nothing of what it holds.
    #[error("{key} is set and is not {what}; set it right, or unset it to use a generated one")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What it should be.
        what: &'static str,
    },
    /// Something is there already, and is never overwritten.
    #[error("{} exists already and is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The environment holds an unusable password.
    #[error("ANGEL_ADMIN_PASSWORD is set and empty; set a password, or unset it to use the generated one")]
    EmptyPassword,
    /// The operating system gave no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(String),
}

/// Reads a secret file, or `None` when there is none.
///
/// # Errors
/// [`SecretError::Exposed`] before a single byte is believed; `Access` and `Corrupt` as they say.
pub fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>, SecretError> {
    let access = |source| SecretError::Access { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(access(error)),
    };
    let metadata = file.metadata().map_err(access)?;
    if let Some(exposure) = exposure(&metadata) {
        return Err(SecretError::Exposed { path: path.to_owned(), exposure });
    }
    // Read into room of its full size: a growing buffer would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize));
    match file.take(SECRET_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(SecretError::Corrupt { path: path.to_owned(), what: "it is no text" })
        }
        Err(error) => Err(access(error)),
    }
}

/// Makes a secret file that was not there: complete and flushed before it has its name, and never over another.
///
/// # Errors
/// [`SecretError::Exists`] when the name is taken, else `Access`.
pub fn create_secret(path: &Path, content: &str) -> Result<(), SecretError> {
    let parent = path.parent().expect("secrets lie in a directory");
    let name = path.file_name().expect("secrets have a name").to_string_lossy();
    let temporary = parent.join(format!(".{name}.{}", std::process::id()));
    let write = || {
        drop(fs::remove_file(&temporary));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, refuses to replace.
        fs::hard_link(&temporary, path)?;
        sync_dir(parent)
    };
    let result = write();
    drop(fs::remove_file(&temporary));
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SecretError::Exists { path: path.to_owned() },
        _ => SecretError::Access { path: path.to_owned(), source },
    })
}

/// Fills an array with random bytes of the operating system.
///
/// # Errors
/// [`SecretError::Randomness`].
pub(crate) fn random_bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, SecretError> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::rngs::SysRng
        .try_fill_bytes(bytes.as_mut_slice())
        .map_err(|error| SecretError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// The password of the admin API.
pub struct AdminPassword {
    password: Zeroizing<String>,
    file: Option<PathBuf>,
}

impl AdminPassword {
    /// The password given by `ANGEL_ADMIN_PASSWORD`, else the one in the secrets directory, else a new one there.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn load(layout: &Layout, from_environment: Option<String>) -> Result<Self, SecretError> {
        if let Some(password) = from_environment {
            let password = Zeroizing::new(password);
            return if password.is_empty() {
                Err(SecretError::EmptyPassword)
            } else {
                Ok(Self { password, file: None })
            };
        }
        let path = Self::path(layout);
        let password = match read_secret(&path)? {
            Some(text) => text,
            None => {
                let random = random_bytes::<PASSWORD_BYTES>()?;
                let text: Zeroizing<String> = Zeroizing::new(random.iter().map(|byte| format!("{byte:02x}")).collect());
                create_secret(&path, &text)?;
                text
            }
        };
        let password = Zeroizing::new(password.trim().to_owned());
        if password.is_empty() {
            return Err(SecretError::Corrupt { path, what: "it is empty" });
        }
        Ok(Self { password, file: Some(path) })
    }

    /// Where a generated password lies.
    #[must_use]
    pub fn path(layout: &Layout) -> PathBuf {
        layout.secrets().join("admin.password")
    }

    /// The file it came from; `None` when the environment gave it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether `offered` is the password. Takes as long for a near miss as for a far one.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        self.password.as_bytes().ct_eq(offered).into()
    }

    /// The password, for the `Authorization` header of the command line's requests.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminPassword(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::data_dir::DataDir;

    #[test]
    fn a_secret_is_never_overwritten_and_never_half_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("node.key");
        create_secret(&path, "first").expect("created");
        assert!(matches!(create_secret(&path, "second"), Err(SecretError::Exists { .. })));
        assert_eq!(read_secret(&path).expect("readable").expect("there").as_str(), "first");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no temporary file is left");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("node.key");
        create_secret(&path, "text").expect("created");
        for mode in [0o640, 0o604, 0o620, 0o610, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            assert!(matches!(read_secret(&path), Err(SecretError::Exposed { .. })), "{mode:o}");
        }
    }

    #[test]
    fn the_admin_password_is_generated_once_and_can_be_overridden() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        let first = AdminPassword::load(data.layout(), None).expect("generated");
        let second = AdminPassword::load(data.layout(), None).expect("read");
        assert!(second.matches(first.reveal().as_bytes()) && first.reveal().len() == 2 * PASSWORD_BYTES);
        assert!(!second.matches(b"") && !second.matches(&first.reveal().as_bytes()[1..]));
        let given = AdminPassword::load(data.layout(), Some("given".to_owned())).expect("taken");
        assert!(given.matches(b"given") && !given.matches(first.reveal().as_bytes()) && given.file().is_none());
        assert!(matches!(AdminPassword::load(data.layout(), Some(String::new())), Err(SecretError::EmptyPassword)));
        assert!(!format!("{first:?}").contains(first.reveal()));
    }
}
