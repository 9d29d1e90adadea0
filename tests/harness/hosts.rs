//! Several hosts on one machine: network namespaces joined by a bridge, some of them behind a router that translates
//! addresses as a home router does.
//!
//! ```text
//!   host a ──┐                       ┌── host c     45.67.89.0/24 and 2001:db8::/64, the "internet"
//!            ├────── bridge ─────────┤
//!   router ──┘   (a namespace too)   └── router ── host d   192.168.2.0/24 behind a translating router
//! ```
//!
//! Needs root, `ip` and `nft`. Where one is missing, [`Lab::new`] says which, and the scenario is skipped with that
//! sentence. Dropping the lab removes every namespace it made; what runs inside must have ended by then.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

/// Hosts, routers and the bridge between them.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    bridge: String,
    namespaces: Vec<String>,
    /// Host part of the next address on the bridge's network.
    next_address: u8,
    /// Third octet of the next network behind a router.
    next_network: u8,
    links: u32,
}

/// A host of the lab, or a router: a namespace with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    namespace: String,
    address: Ipv4Addr,
    address_v6: Option<Ipv6Addr>,
    /// The end of this host's cable that lies in its switch or router, to be cut: (namespace, interface).
    cable: (String, String),
}

/// A router that translates addresses: its hosts reach out, nobody reaches in unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    host: Host,
    network: u8,
}

/// Which outside port a router gives to a connection from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// The port it has inside, whomever it goes to: holes can be punched.
    KeepsPorts,
    /// Another port for each that it goes to: nobody can know the port in advance, and no hole can be punched.
    RandomPorts,
}

/// Why there can be no lab on this machine.
#[derive(Debug)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no network namespaces here: {}", self.0)
    }
}

impl Lab {
    /// An empty lab: a bridge and nothing on it.
    ///
    /// # Errors
    /// [`Unavailable`] when this machine or this user cannot make namespaces.
    pub fn new() -> Result<Self, Unavailable> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err(Unavailable("only root may make them".to_owned()));
        }
        for tool in ["ip", "nft"] {
            let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if found.is_err() {
                return Err(Unavailable(format!("the command {tool} is missing")));
            }
        }
        let prefix = format!("angel-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let bridge = format!("{prefix}-net");
        let mut lab =
            Self { prefix, bridge: bridge.clone(), namespaces: Vec::new(), next_address: 1, next_network: 1, links: 0 };
        let made = lab
            .namespace(&bridge)
            .and_then(|()| inside(&bridge, &["ip", "link", "add", "br0", "type", "bridge"]))
            .and_then(|()| inside(&bridge, &["ip", "link", "set", "br0", "up"]));
        match made {
            Ok(()) => Ok(lab),
            Err(error) => Err(Unavailable(format!("{error:#}"))),
        }
    }

    /// A host with an address of its own on the bridge, reachable by all.
    ///
    /// # Errors
    /// When a command of `ip` fails.
    pub fn host(&mut self, name: &str) -> Result<Host> {
        // No documentation range: software that looks for its public address knows those for what they are.
        let address = Ipv4Addr::new(45, 67, 89, self.next_address);
        let address_v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.next_address.into());
        self.next_address = self.next_address.checked_add(1).context("the bridge has room for 255 hosts")?;
        let namespace = format!("{}-{name}", self.prefix);
        self.namespace(&namespace)?;
        let cable = self.cable(&namespace, "eth0", address, &self.bridge.clone())?;
        inside(&cable.0, &["ip", "link", "set", &cable.1, "master", "br0"])?;
        // Nobody else on this network can have the address: it need not be asked for first.
        inside(&namespace, &["ip", "address", "add", &format!("{address_v6}/64"), "dev", "eth0", "nodad"])?;
        Ok(Host { namespace, address, address_v6: Some(address_v6), cable })
    }

    /// A router on the bridge with an empty network behind it. It translates the source of what goes out and drops what
    /// nobody inside has asked for, as home routers do.
    ///
    /// # Errors
    /// When a command of `ip` or `nft` fails.
    pub fn router(&mut self, name: &str, mapping: Mapping) -> Result<Router> {
        let host = self.host(name)?;
        let network = self.next_network;
        self.next_network = self.next_network.checked_add(1).context("the lab has room for 255 routers")?;
        let masquerade = match mapping {
            Mapping::KeepsPorts => "masquerade",
            Mapping::RandomPorts => "masquerade fully-random",
        };
        // What comes unasked to the router itself must not be answered, or an early packet of a peer that punches a hole
        // would take the place that ours needs in the table of translations.
        let rules = format!(
            "table inet home {{\n\
             chain asked_in {{ type nat hook prerouting priority -100; }}\n\
             chain asked_out {{ }}\n\
             chain asked_through {{ }}\n\
             chain out {{ type nat hook postrouting priority 100; oifname \"eth0\" {masquerade}; }}\n\
             chain in {{ type filter hook input priority 0; iifname \"eth0\" ct state new drop; }}\n\
             chain through {{ type filter hook forward priority 0; jump asked_through; \
             iifname \"eth0\" ct state new drop; }}\n}}\n"
        );
        inside(&host.namespace, &["nft", &rules])?;
        inside(&host.namespace, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        let inner = Ipv4Addr::new(192, 168, network, 1);
        inside(&host.namespace, &["ip", "link", "add", "lan0", "type", "bridge"])?;
        inside(&host.namespace, &["ip", "address", "add", &format!("{inner}/24"), "dev", "lan0"])?;
        inside(&host.namespace, &["ip", "link", "set", "lan0", "up"])?;
        Ok(Router { host, network })
    }

    /// A host behind `router`, at `192.168.<network>.<10 + place>`.
    ///
    /// # Errors
    /// When a command of `ip` fails.
    pub fn host_behind(&mut self, router: &Router, name: &str, place: u8) -> Result<Host> {
        let address = Ipv4Addr::new(192, 168, router.network, 10 + place);
        let namespace = format!("{}-{name}", self.prefix);
        self.namespace(&namespace)?;
        let cable = self.cable(&namespace, "eth0", address, &router.host.namespace)?;
        inside(&cable.0, &["ip", "link", "set", &cable.1, "master", "lan0"])?;
        let gateway = Ipv4Addr::new(192, 168, router.network, 1).to_string();
        inside(&namespace, &["ip", "route", "add", "default", "via", &gateway])?;
        Ok(Host { namespace, address, address_v6: None, cable })
    }

    fn namespace(&mut self, name: &str) -> Result<()> {
        run(&["ip", "netns", "add", name])?;
        self.namespaces.push(name.to_owned());
        inside(name, &["ip", "link", "set", "lo", "up"])
    }

    /// Joins `namespace` to `other` by a pair of interfaces and gives the near end an address.
    fn cable(&mut self, namespace: &str, near: &str, address: Ipv4Addr, other: &str) -> Result<(String, String)> {
        let far = format!("port{}", self.links);
        self.links += 1;
        run(&["ip", "link", "add", near, "netns", namespace, "type", "veth", "peer", "name", &far, "netns", other])?;
        inside(namespace, &["ip", "address", "add", &format!("{address}/24"), "dev", near])?;
        inside(namespace, &["ip", "link", "set", near, "up"])?;
        inside(other, &["ip", "link", "set", &far, "up"])?;
        Ok((other.to_owned(), far))
    }
}

/// A service on a router that opens ports for hosts behind it, as home routers offer (UPnP). Ends when dropped.
#[derive(Debug)]
pub struct PortService {
    process: Child,
    dir: TempDir,
}

impl Router {
    /// The address of the router on the internet.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.host.address
    }

    /// Starts a UPnP service for the hosts behind this router.
    ///
    /// # Errors
    /// When `miniupnpd` is missing or does not start.
    pub fn serve_ports(&self) -> Result<PortService> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("miniupnpd.conf");
        let lines = [
            "ext_ifname=eth0",
            "listening_ip=lan0",
            "enable_upnp=yes",
            "enable_natpmp=no",
            "secure_mode=yes",
            "system_uptime=yes",
            "uuid=6ad5d8a1-9f0f-4c0e-9d8e-27f4e6a1c0de",
            "upnp_table_name=home",
            "upnp_nat_table_name=home",
            "upnp_forward_chain=asked_through",
            "upnp_nat_chain=asked_in",
            "upnp_nat_postrouting_chain=asked_out",
            &format!("lease_file={}", dir.path().join("leases").display()),
            "allow 1024-65535 0.0.0.0/0 1024-65535",
            "deny 0-65535 0.0.0.0/0 0-65535",
        ];
        fs::write(&config, lines.join("\n") + "\n")?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host.namespace, "miniupnpd", "-d", "-f"]).arg(&config);
        command.arg("-P").arg(dir.path().join("pid"));
        let log = fs::File::create(dir.path().join("log"))?;
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(PortService { process, dir })
    }

    /// What the router lets through now, as its packet filter lists it.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn rules(&self) -> Result<String> {
        let output =
            Command::new("ip").args(["netns", "exec", &self.host.namespace, "nft", "list", "ruleset"]).output()?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl PortService {
    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PortService {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().rev() {
            if let Err(error) = run(&["ip", "netns", "delete", namespace]) {
                eprintln!("the namespace {namespace} stays: {error:#}");
            }
            drop(fs::remove_dir_all(files_of(namespace)));
        }
    }
}

impl Host {
    /// The host's address on its own network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The host's IPv6 address on the internet; hosts behind routers have none.
    #[must_use]
    pub fn address_v6(&self) -> Option<Ipv6Addr> {
        self.address_v6
    }

    /// Lets this host know another by a name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn knows(&self, name: &str, address: impl fmt::Display) -> Result<()> {
        let files = files_of(&self.namespace);
        fs::create_dir_all(&files)?;
        Ok(fs::write(files.join("hosts"), format!("127.0.0.1 localhost\n{address} {name}\n"))?)
    }

    /// What to put before a command so that it runs on this host. The process has the id of the spawned child, since
    /// `ip netns exec` replaces itself.
    #[must_use]
    pub fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.namespace]
    }

    /// Moves the calling thread to this host: sockets it makes from now on are the host's.
    ///
    /// # Errors
    /// When the host is gone, or this is not root.
    pub fn enter(&self) -> Result<()> {
        let space = fs::File::open(PathBuf::from("/run/netns").join(&self.namespace))?;
        Ok(move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Makes the host's cable one that carries so many megabits a second in either direction, as a line of its own would.
    ///
    /// # Errors
    /// When `tc` fails.
    pub fn throttle(&self, megabits: u64) -> Result<()> {
        let rate = format!("{megabits}mbit");
        for (namespace, interface) in [(self.namespace.as_str(), "eth0"), (&self.cable.0, &self.cable.1)] {
            // A burst holds what is handed over at once, a queue what a router would hold.
            let shape = ["root", "tbf", "rate", &rate, "burst", "256kb", "latency", "20ms"];
            inside(namespace, &[&["tc", "qdisc", "replace", "dev", interface][..], &shape].concat())?;
        }
        Ok(())
    }

    /// Pulls the host's cable: nothing goes in or out until [`Host::mend`].
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn cut(&self) -> Result<()> {
        inside(&self.cable.0, &["ip", "link", "set", &self.cable.1, "down"])
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn mend(&self) -> Result<()> {
        inside(&self.cable.0, &["ip", "link", "set", &self.cable.1, "up"])
    }
}

/// Files here take the place of those in /etc for what `ip netns exec` runs in the namespace.
fn files_of(namespace: &str) -> PathBuf {
    PathBuf::from("/etc/netns").join(namespace)
}

fn inside(namespace: &str, command: &[&str]) -> Result<()> {
    run(&[&["ip", "netns", "exec", namespace], command].concat())
}

fn run(command: &[&str]) -> Result<()> {
    let (program, arguments) = command.split_first().context("a command has a program")?;
    let output = Command::new(program).args(arguments).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
