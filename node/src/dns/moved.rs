//! Names of a tenant that was moved. The DID document says where it is to AT Protocol clients; names are for browsers, and
//! for the handle's own proof.
//!
//! | adapter | what it does |
//! |---|---|
//! | manual | says which records to set, and looks whether they are |
//! | zone | sets them in a zone that this node may change (RFC 2136) |
//! | command | runs a command for each of them |

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use angel_protocol::ids::{Did, Handle};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::Dns;
use super::update::{Key, Says, UpdateError, Zone};

/// How long a command may take for one name.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// How long a record may be remembered, in seconds, as commands are told.
const TTL: &str = "60";

/// Longest key file that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// How names are changed.
pub(crate) enum Adapter {
    /// By whoever has the domain.
    Manual,
    /// In this zone.
    Zone {
        /// Its primary server.
        server: SocketAddr,
        /// Its name.
        zone: String,
        /// The name of the key, and the file that holds it in base64.
        key: Option<(String, PathBuf)>,
    },
    /// By this command with its arguments; no shell reads them.
    Command(Vec<String>),
}

/// The names of tenants. Cheap to share, not to clone.
pub(crate) struct Names {
    pub(crate) adapter: Adapter,
    pub(crate) dns: Dns,
}

/// A record that a name has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The name.
    pub(crate) name: String,
    /// What it says.
    pub(crate) says: Says,
}

/// Why a name was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNamed {
    /// The zone's server.
    #[error(transparent)]
    Zone(#[from] UpdateError),
    /// The key of the zone.
    #[error("the key of the zone cannot be read from {0}: {1}")]
    Key(PathBuf, String),
    /// The command.
    #[error("the command for names did not succeed: {0}")]
    Command(String),
}

impl Wanted {
    fn kind(&self) -> &'static str {
        match self.says {
            Says::Text(_) => "TXT",
            Says::Alias(_) => "CNAME",
        }
    }

    fn value(&self) -> &str {
        match &self.says {
            Says::Text(value) | Says::Alias(value) => value,
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.says {
            Says::Text(text) => write!(f, "{}. {TTL} IN TXT \"{text}\"", self.name),
            Says::Alias(host) => write!(f, "{}. {TTL} IN CNAME {host}.", self.name),
        }
    }
}

/// The records by which a handle leads to an account at the host `host`: its proof, and where its pages are. None where the
/// host has no name that others could look up.
#[must_use]
pub(crate) fn wanted(handle: &Handle, did: &Did, host: &str) -> Vec<Wanted> {
    let mut wanted = vec![Wanted { name: format!("_atproto.{handle}"), says: Says::Text(format!("did={did}")) }];
    let is_name = host.contains('.') && host.parse::<std::net::IpAddr>().is_err();
    if is_name && host != handle.as_str() {
        wanted.push(Wanted { name: handle.to_string(), says: Says::Alias(host.to_owned()) });
    }
    wanted
}

impl Names {
    /// Makes a name say what it should; whether that was tried is answered.
    ///
    /// # Errors
    /// [`NotNamed`].
    pub(crate) async fn set(&self, wanted: &Wanted) -> Result<bool, NotNamed> {
        match &self.adapter {
            Adapter::Manual => Ok(false),
            Adapter::Zone { server, zone, key } => {
                let key = match key {
                    Some((name, file)) => Some(Key { name: name.clone(), secret: read_key(file)? }),
                    None => None,
                };
                let zone = Zone { server: *server, name: zone.clone(), key };
                zone.set(&wanted.name, &wanted.says).await?;
                Ok(true)
            }
            Adapter::Command(words) => {
                let Some((program, arguments)) = words.split_first() else { return Ok(false) };
                command(program, arguments, wanted).await?;
                Ok(true)
            }
        }
    }

    /// Whether the name says so now, as others see it. An alias counts when it leads to the same addresses.
    pub(crate) async fn holds(&self, wanted: &Wanted) -> bool {
        match &wanted.says {
            Says::Text(text) => self.dns.texts(&wanted.name).await.is_ok_and(|found| found.contains(text)),
            Says::Alias(host) => {
                let (here, there) = tokio::join!(self.dns.addresses(&wanted.name), self.dns.addresses(host));
                match (here, there) {
                    (Ok(mut here), Ok(mut there)) => {
                        here.sort_unstable();
                        there.sort_unstable();
                        !here.is_empty() && here == there
                    }
                    _ => false,
                }
            }
        }
    }
}

fn read_key(file: &PathBuf) -> Result<Zeroizing<Vec<u8>>, NotNamed> {
    use std::io::Read as _;
    let failed = |why: String| NotNamed::Key(file.clone(), why);
    let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize));
    let read = std::fs::File::open(file).and_then(|open| open.take(KEY_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| failed(error.to_string()))?;
    let key = STANDARD.decode(text.trim()).map_err(|_| failed("it is no base64".to_owned()))?;
    Ok(Zeroizing::new(key))
}

/// Runs the command with nothing but what it has to know in its environment:
///
/// `ANGEL_DNS_NAME`, `ANGEL_DNS_TYPE` (`TXT` or `CNAME`), `ANGEL_DNS_VALUE`, `ANGEL_DNS_TTL`, and `PATH`.
async fn command(program: &str, arguments: &[String], wanted: &Wanted) -> Result<(), NotNamed> {
    let failed = |why: String| NotNamed::Command(format!("{program}: {why}"));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let told: [(&str, &OsStr); 4] = [
        ("ANGEL_DNS_NAME", wanted.name.as_ref()),
        ("ANGEL_DNS_TYPE", wanted.kind().as_ref()),
        ("ANGEL_DNS_VALUE", wanted.value().as_ref()),
        ("ANGEL_DNS_TTL", TTL.as_ref()),
    ];
    let output = command.envs(told).kill_on_drop(true).output();
    let output = tokio::time::timeout(COMMAND_LIMIT, output).await;
    let output = output.map_err(|_| failed(format!("it took longer than {} s", COMMAND_LIMIT.as_secs())))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).chars().take(120).collect();
    Err(failed(format!("{}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> (Handle, Did) {
        ("shop.angel.example".parse().expect("a handle"), "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().expect("a DID"))
    }

    fn names(words: &[&str]) -> Names {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Names { adapter: Adapter::Command(words), dns: Dns::nowhere() }
    }

    #[test]
    fn what_is_to_be_set_is_said_as_a_zone_has_it() {
        let (handle, did) = shop();
        let said: Vec<_> = wanted(&handle, &did, "node-b.example").iter().map(ToString::to_string).collect();
        let proof = format!("_atproto.shop.angel.example. 60 IN TXT \"did={did}\"");
        assert_eq!(said, [proof, "shop.angel.example. 60 IN CNAME node-b.example.".to_owned()]);
        assert_eq!(wanted(&handle, &did, "localhost").len(), 1, "nobody else can look that up");
        assert_eq!(wanted(&handle, &did, "192.0.2.1").len(), 1);
    }

    #[tokio::test]
    async fn a_command_is_told_by_its_environment_and_by_nothing_else() {
        let (handle, did) = shop();
        let wanted = &wanted(&handle, &did, "node-b.example")[0];
        let dir = tempfile::tempdir().expect("a directory");
        let (file, script) = (dir.path().join("told"), "env | sort > \"$0\"");
        let file = file.display().to_string();
        assert!(names(&["sh", "-c", script, &file]).set(wanted).await.expect("done"));
        let told = std::fs::read_to_string(&file).expect("written");
        assert!(told.contains(&format!("ANGEL_DNS_VALUE=did={did}\n")), "{told}");
        assert!(told.contains("ANGEL_DNS_TYPE=TXT\n") && !told.contains("HOME="), "{told}");
        let refused = names(&["sh", "-c", "echo no such zone >&2; exit 3"]).set(wanted).await;
        assert!(refused.expect_err("it failed").to_string().contains("no such zone"));
        assert!(names(&["/nonexistent/command"]).set(wanted).await.is_err());
        let manual = Names { adapter: Adapter::Manual, dns: Dns::nowhere() };
        assert!(!manual.set(wanted).await.expect("nothing to do") && !manual.holds(wanted).await);
    }
}
