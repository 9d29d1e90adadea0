//! The configuration: one struct per section, defaults in code, checked when loaded. A value comes from a flag, the
//! environment (`ANGEL_…`), the file or the default, in this order, and each setting remembers from which. Secrets
//! live in files of their own ([`crate::secrets`]); the few that can be set as well are [`Secret`] and never shown.

mod layers;
mod section;
mod sections;
mod template;
mod validate;
mod value;

use std::path::{Path, PathBuf};

use self::layers::Layers;
pub use self::layers::{Origin, UnusedVariable};
pub use self::section::Field;
use self::section::Section;
pub use self::sections::{
    AcceptTenants, AccountsConfig, AddressScope as Scope, Admission, BackupConfig, BlobsConfig, ConsensusConfig,
    FirehoseConfig, General, HttpConfig, IdentityConfig, LogConfig, LogFormat, MailConfig, MembershipConfig,
    MetricsAccess, NamesAdapter, NamesConfig, NetworkConfig, NodeConfig, Profile, ReplicasConfig, ServicesConfig,
    StorageConfig,
};
pub use self::template::template;
pub use self::value::{ByteSize, HandleDomain, InvalidByteSize, InvalidHandleDomain, PlcDirectory, Secret, Value};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What stands before any section.
    pub general: General,
    /// What the node says about itself.
    pub node: NodeConfig,
    /// The HTTP server.
    pub http: HttpConfig,
    /// The peer-to-peer network.
    pub network: NetworkConfig,
    /// How peers are watched.
    pub membership: MembershipConfig,
    /// What survives a restart.
    pub storage: StorageConfig,
    /// Deciding the ledger together.
    pub consensus: ConsensusConfig,
    /// Copies of tenants.
    pub replicas: ReplicasConfig,
    /// Names of tenants that are moved.
    pub names: NamesConfig,
    /// Backups.
    pub backup: BackupConfig,
    /// The log.
    pub log: LogConfig,
    /// Identities, the node's and its accounts'.
    pub identity: IdentityConfig,
    /// Who may sign up, and how they log in.
    pub accounts: AccountsConfig,
    /// Mail to account owners.
    pub mail: MailConfig,
    /// Files of accounts.
    pub blobs: BlobsConfig,
    /// The event stream.
    pub firehose: FirehoseConfig,
    /// Services of others.
    pub services: ServicesConfig,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not valid TOML: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, with the line.
        why: String,
    },
    /// A key that means nothing.
    #[error("unknown key \"{key}\" ({origin}){}; `angel config example` lists every key", hint(nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// The key that was perhaps meant.
        nearest: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{key} = {value} ({origin}): {why}")]
    Value {
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// Where it stands.
        origin: String,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// Values that do not go together.
    #[error("{key}{}: {why}", origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default())]
    Contradiction {
        /// The key to change first.
        key: &'static str,
        /// Where it stands, if anywhere.
        origin: Option<String>,
        /// What does not go together, and what to do.
        why: String,
    },
    /// No data directory was named and the environment does not say where one belongs.
    #[error("no place for the data: neither XDG_DATA_HOME nor HOME is set; name a directory with --data-dir")]
    NoDataDir,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean \"{key}\"?")).unwrap_or_default()
}

/// What the configuration is made from.
#[derive(Debug, Default)]
pub struct Sources {
    /// `--config`; else `ANGEL_CONFIG` is looked at, else there is no file.
    pub file: Option<PathBuf>,
    /// Settings given as flags: key, values, the flag's name.
    pub flags: Vec<FlagValue>,
    /// The environment.
    pub environment: Vec<(String, String)>,
}

/// A setting given as a flag.
#[derive(Debug)]
pub struct FlagValue {
    /// The key it sets, such as `http.listen`.
    pub key: &'static str,
    /// The flag, such as `--http`.
    pub flag: &'static str,
    /// The value as text; lists are comma-separated.
    pub text: String,
}

/// A configuration with the story of its values.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Variables that look like settings and are none.
    pub unused_variables: Vec<UnusedVariable>,
    layers: Layers,
}

impl Default for Config {
    /// The defaults of the home profile.
    fn default() -> Self {
        Self::of_profile(Profile::Home)
    }
}

impl Config {
    /// The defaults of a profile.
    #[must_use]
    pub fn of_profile(profile: Profile) -> Self {
        let home = profile == Profile::Home;
        Self {
            general: General { profile, data_dir: if home { None } else { Some(PathBuf::from("/var/lib/angel")) } },
            network: NetworkConfig { mdns: home, upnp: home, ..NetworkConfig::default() },
            node: NodeConfig::default(),
            http: HttpConfig::default(),
            membership: MembershipConfig::default(),
            storage: StorageConfig::default(),
            consensus: ConsensusConfig::default(),
            replicas: ReplicasConfig::default(),
            names: NamesConfig::default(),
            backup: BackupConfig::default(),
            log: LogConfig::default(),
            identity: IdentityConfig::default(),
            accounts: AccountsConfig::default(),
            mail: MailConfig::default(),
            blobs: BlobsConfig::default(),
            firehose: FirehoseConfig::default(),
            services: ServicesConfig::default(),
        }
    }

    /// Defaults for a node in `data_dir` that takes free ports on the loopback interface and looks for nobody: what
    /// tests and tools start from.
    #[must_use]
    pub fn on_loopback(data_dir: &Path) -> Self {
        let mut config = Self::default();
        config.general.data_dir = Some(data_dir.to_owned());
        config.http.listen.set_port(0);
        config.network.listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
            .map(|address| address.parse().expect("a valid multiaddress"))
            .into();
        config.network.mdns = false;
        config.network.upnp = false;
        config
    }

    /// Puts the sources together and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`], by what is wrong with which key from which source.
    pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
        let fields = Self::fields();
        let mut layers = Layers::default();
        let variable = |name: &str| sources.environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        if let Some(path) = sources.file.or_else(|| variable("ANGEL_CONFIG").map(PathBuf::from)) {
            let text =
                std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            layers.lay_file(&path, &text, &fields)?;
        }
        let home = variable("HOME");
        let xdg_data_home = variable("XDG_DATA_HOME");
        let unused_variables = layers.lay_environment(sources.environment.into_iter(), &fields)?;
        for FlagValue { key, flag, text } in sources.flags {
            let field = fields.iter().find(|field| field.key() == key).expect("flags name keys that exist");
            layers.lay_text(field, &text, Origin::Flag(flag))?;
        }

        let profile = General::read(&layers, General::default())?.profile;
        let mut config = Self::read(&layers, Self::of_profile(profile))?;
        if config.general.data_dir.is_none() {
            config.general.data_dir = Some(user_data_dir(xdg_data_home, home).ok_or(ConfigError::NoDataDir)?);
        }
        config.validate().map_err(|error| match error {
            ConfigError::Contradiction { key, why, .. } => {
                let origin = layers.get(key).map(|(_, origin)| origin.to_string());
                ConfigError::Contradiction { key, origin, why }
            }
            error => error,
        })?;
        Ok(Loaded { config, unused_variables, layers })
    }

    /// Every setting there is, in the order of the file.
    #[must_use]
    pub fn fields() -> Vec<Field> {
        Self::sections().into_iter().flat_map(|(_, fields)| fields.iter().copied()).collect()
    }

    /// Where everything is kept.
    ///
    /// # Panics
    /// When the configuration was neither loaded nor given a data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.general.data_dir.as_deref().expect("loading a configuration settles the data directory")
    }

    fn read(layers: &Layers, defaults: Self) -> Result<Self, ConfigError> {
        Ok(Self {
            general: General::read(layers, defaults.general)?,
            node: NodeConfig::read(layers, defaults.node)?,
            http: HttpConfig::read(layers, defaults.http)?,
            network: NetworkConfig::read(layers, defaults.network)?,
            membership: MembershipConfig::read(layers, defaults.membership)?,
            storage: StorageConfig::read(layers, defaults.storage)?,
            consensus: ConsensusConfig::read(layers, defaults.consensus)?,
            replicas: ReplicasConfig::read(layers, defaults.replicas)?,
            names: NamesConfig::read(layers, defaults.names)?,
            backup: BackupConfig::read(layers, defaults.backup)?,
            log: LogConfig::read(layers, defaults.log)?,
            identity: IdentityConfig::read(layers, defaults.identity)?,
            accounts: AccountsConfig::read(layers, defaults.accounts)?,
            mail: MailConfig::read(layers, defaults.mail)?,
            blobs: BlobsConfig::read(layers, defaults.blobs)?,
            firehose: FirehoseConfig::read(layers, defaults.firehose)?,
            services: ServicesConfig::read(layers, defaults.services)?,
        })
    }

    fn sections() -> [(&'static [&'static str], &'static [Field]); 17] {
        [
            (General::DOC, General::FIELDS),
            (NodeConfig::DOC, NodeConfig::FIELDS),
            (HttpConfig::DOC, HttpConfig::FIELDS),
            (NetworkConfig::DOC, NetworkConfig::FIELDS),
            (MembershipConfig::DOC, MembershipConfig::FIELDS),
            (StorageConfig::DOC, StorageConfig::FIELDS),
            (ConsensusConfig::DOC, ConsensusConfig::FIELDS),
            (ReplicasConfig::DOC, ReplicasConfig::FIELDS),
            (NamesConfig::DOC, NamesConfig::FIELDS),
            (BackupConfig::DOC, BackupConfig::FIELDS),
            (LogConfig::DOC, LogConfig::FIELDS),
            (IdentityConfig::DOC, IdentityConfig::FIELDS),
            (AccountsConfig::DOC, AccountsConfig::FIELDS),
            (MailConfig::DOC, MailConfig::FIELDS),
            (BlobsConfig::DOC, BlobsConfig::FIELDS),
            (FirehoseConfig::DOC, FirehoseConfig::FIELDS),
            (ServicesConfig::DOC, ServicesConfig::FIELDS),
        ]
    }

    /// The values in the order of [`Self::fields`]; `None` is unset.
    fn values(&self) -> Vec<Option<toml::Value>> {
        [
            self.general.values(),
            self.node.values(),
            self.http.values(),
            self.network.values(),
            self.membership.values(),
            self.storage.values(),
            self.consensus.values(),
            self.replicas.values(),
            self.names.values(),
            self.backup.values(),
            self.log.values(),
            self.identity.values(),
            self.accounts.values(),
            self.mail.values(),
            self.blobs.values(),
            self.firehose.values(),
            self.services.values(),
        ]
        .concat()
    }
}

/// One setting as it is in force.
#[derive(Debug)]
pub struct Setting {
    /// The key, such as `http.listen`.
    pub key: String,
    /// Its value, or `None` when it is unset.
    pub value: Option<toml::Value>,
    /// Where the value came from.
    pub origin: Origin,
}

impl Loaded {
    /// Every setting with its value and origin, in the order of the file.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        let fields = Config::fields();
        fields.into_iter().zip(self.config.values()).map(|(field, value)| {
            let key = field.key();
            Setting { origin: self.layers.origin(&key), key, value }
        })
    }
}

/// XDG Base Directory Specification: `$XDG_DATA_HOME`, when absolute, else `~/.local/share`.
fn user_data_dir(xdg_data_home: Option<String>, home: Option<String>) -> Option<PathBuf> {
    let xdg = xdg_data_home.map(PathBuf::from).filter(|path| path.is_absolute());
    let base = xdg.or_else(|| Some(PathBuf::from(home.filter(|home| !home.is_empty())?).join(".local/share")))?;
    Some(base.join("angel"))
}

#[cfg(test)]
mod tests;
