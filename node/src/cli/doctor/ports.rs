//! The ports: free for a daemon to come, answering when one runs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Finding, Patient};
use crate::facts::RunFile;
use crate::network::{AddressPart, Multiaddr};

/// On this machine an answer comes at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = match &patient.daemon {
        Some(daemon) => answering(daemon).await,
        None => free(patient).await,
    };
    let listen = patient.loaded.config.http.listen;
    if !listen.ip().is_loopback() {
        let what = format!("HTTP listens on {listen} without TLS");
        let mend = "listen on 127.0.0.1 and let a proxy with TLS (caddy, nginx) forward to it";
        findings.push(Finding::warning("http", what, mend));
    }
    findings
}

async fn answering(daemon: &RunFile) -> Vec<Finding> {
    let mut findings = vec![health(daemon).await];
    for address in &daemon.p2p {
        let Some((ip, Port::Tcp(port))) = address.parse().ok().as_ref().and_then(socket) else { continue };
        let connect = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect((ip, port))).await;
        findings.push(match connect {
            Ok(Ok(_)) => Finding::ok("p2p", format!("{address} answers")),
            Ok(Err(error)) => unanswered(address, &error.to_string()),
            Err(_) => unanswered(address, "no answer in time"),
        });
    }
    findings
}

fn unanswered(address: &str, why: &str) -> Finding {
    let mend = "look for a firewall on this machine, and into the log";
    Finding::problem("p2p", format!("{address} does not answer: {why}"), mend)
}

async fn health(daemon: &RunFile) -> Finding {
    let url = format!("{}/api/health", daemon.http_url);
    let restart = "look into its log; restart it if it hangs";
    let answer = async {
        let client = reqwest::Client::builder().timeout(CONNECT_LIMIT).no_proxy().build()?;
        client.get(&url).send().await?.json::<serde_json::Value>().await
    };
    match answer.await {
        Err(error) => {
            let what = format!("the daemon does not answer at {url}: {}", crate::tasks::chain(&error));
            Finding::problem("health", what, restart)
        }
        Ok(health) if health["status"] == "healthy" => Finding::ok("health", format!("the daemon answers at {url}")),
        Ok(health) => Finding::problem("health", format!("degraded: {}", health["reasons"]), restart),
    }
}

async fn free(patient: &Patient<'_>) -> Vec<Finding> {
    let config = &patient.loaded.config;
    let mut findings = vec![match TcpListener::bind(config.http.listen).await {
        Ok(_) => Finding::ok("http", format!("{} is free", config.http.listen)),
        Err(error) => taken("http", &config.http.listen.to_string(), &error, "http.listen"),
    }];
    for address in &config.network.listen {
        let bound = match socket(address) {
            Some((ip, Port::Tcp(port))) => TcpListener::bind(SocketAddr::new(ip, port)).await.map(drop),
            Some((ip, Port::Udp(port))) => UdpSocket::bind(SocketAddr::new(ip, port)).await.map(drop),
            None => continue,
        };
        findings.push(match bound {
            Ok(()) => Finding::ok("p2p", format!("{address} is free")),
            Err(error) => taken("p2p", &address.to_string(), &error, "network.listen"),
        });
    }
    findings
}

fn taken(check: &'static str, address: &str, error: &std::io::Error, key: &str) -> Finding {
    let mend = format!("stop whoever has it, or set {key} to another address");
    Finding::problem(check, format!("cannot listen on {address}: {error}"), mend)
}

#[derive(Debug, PartialEq, Eq)]
enum Port {
    Tcp(u16),
    Udp(u16),
}

/// Where a multiaddress of a plain IP address leads.
fn socket(address: &Multiaddr) -> Option<(IpAddr, Port)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        AddressPart::Ip4(ip) => ip.into(),
        AddressPart::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        AddressPart::Tcp(port) => Some((ip, Port::Tcp(port))),
        AddressPart::Udp(port) => Some((ip, Port::Udp(port))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiaddresses_lead_to_ports() {
        let socket = |text: &str| socket(&text.parse().expect("a multiaddress"));
        let any: IpAddr = "0.0.0.0".parse().expect("an address");
        assert_eq!(socket("/ip4/0.0.0.0/tcp/2584"), Some((any, Port::Tcp(2584))));
        assert_eq!(socket("/ip4/0.0.0.0/udp/2584/quic-v1"), Some((any, Port::Udp(2584))));
        assert_eq!(socket("/dns4/example.org/tcp/2584"), None);
    }
}
