//! `angel doctor` about a public name, against a TLS front of our own and this machine's own resolver.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use angel_harness::binary::{Daemon, Launch, command_under};
use angel_harness::hosts::{Host, Lab};
use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// How the world calls the node.
const NAME: &str = "node.example";

/// Who signs the certificates, and the file by which clients know it.
struct Authority {
    certificate: Certificate,
    key: KeyPair,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &Path) -> Result<Self> {
        let (mut params, key) = (CertificateParams::new(vec![])?, KeyPair::generate()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = dir.join("authority.pem");
        let certificate = params.self_signed(&key)?;
        let text = BASE64_STANDARD.encode(certificate.der());
        std::fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))?;
        Ok(Self { certificate, key, file })
    }
}

/// What an operator puts in front of a node, on a thread that lives as long as the tests: it ends TLS on port 443 of
/// `address` and passes everything on to the node. The certificate is good until the year `until`.
fn front(host: &Host, address: Ipv4Addr, authority: &Authority, until: i32, node: SocketAddr) -> Result<()> {
    let (mut params, key) = (CertificateParams::new(vec![NAME.to_owned()])?, KeyPair::generate()?);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, &authority.certificate, &authority.key)?;
    let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (host, (bound, is_bound)) = (host.clone(), mpsc::channel());
    let serve = async move || {
        let listener = match TcpListener::bind((address, 443)).await {
            Ok(listener) => listener,
            Err(error) => return drop(bound.send(Err(error))),
        };
        drop(bound.send(Ok(())));
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                copy_bidirectional(&mut client, &mut TcpStream::connect(node).await?).await
            });
        }
    };
    thread::spawn(move || {
        host.enter()?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve());
        anyhow::Ok(())
    });
    Ok(is_bound.recv().context("the front did not start")??)
}

/// What the doctor finds about the name and the clock: levels with texts.
fn ask(host: &Host, data_dir: &Path, authority: Option<&Authority>) -> Result<Vec<(String, String)>> {
    let mut command = command_under(&host.wrapper(), data_dir);
    command.args(["doctor", "--json", "--data-dir"]).arg(data_dir);
    command.env("ANGEL_NODE_PUBLIC_URL", format!("https://{NAME}")).env("ANGEL_HTTP_LISTEN", "127.0.0.1:0");
    command.env("ANGEL_NETWORK_LISTEN", "/ip4/127.0.0.1/tcp/0");
    if let Some(authority) = authority {
        command.env("SSL_CERT_FILE", &authority.file);
    }
    let answer: Value = serde_json::from_slice(&command.output()?.stdout)?;
    let findings = answer["findings"].as_array().context("findings")?;
    let about = |finding: &&Value| finding["check"] == "name" || finding["check"] == "clock";
    let text = |finding: &Value| (finding["level"].as_str().unwrap_or_default().to_owned(), finding.to_string());
    Ok(findings.iter().filter(about).map(text).collect())
}

fn says(findings: &[(String, String)], level: &str, text: &str) -> bool {
    findings.iter().any(|(found, finding)| found == level && finding.contains(text))
}

#[test]
fn the_doctor_tries_the_public_name_as_strangers_would() -> Result<()> {
    let mut lab = match Lab::new() {
        Ok(lab) => lab,
        Err(unavailable) => {
            println!("skipped: {unavailable}");
            return Ok(());
        }
    };
    let (dir, host) = (tempfile::tempdir()?, lab.host("named")?);
    let authority = Authority::new(dir.path())?;
    let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
    let start = |dir: &Path| -> Result<(Daemon, SocketAddr)> {
        let launch = Launch::under(&host.wrapper(), dir).env("ANGEL_NODE_PUBLIC_URL", format!("https://{NAME}"));
        let daemon = launch.start()?;
        let address = daemon.fact("httpUrl").trim_start_matches("http://").parse()?;
        Ok((daemon, address))
    };
    let ((daemon, node), (stranger, other)) = (start(&ours)?, start(&other)?);
    let place = |last: u8| Ipv4Addr::new(127, 0, 0, last);
    front(&host, place(2), &authority, 4000, node)?;
    front(&host, place(3), &authority, 2021, node)?;
    front(&host, place(4), &authority, 4000, other)?;

    let found = ask(&host, &ours, Some(&authority))?;
    assert!(says(&found, "problem", "does not resolve"), "nobody knows the name yet: {found:?}");

    host.knows(NAME, place(2))?;
    let found = ask(&host, &ours, Some(&authority))?;
    assert!(says(&found, "ok", "resolves to 127.0.0.2"), "{found:?}");
    assert!(says(&found, "ok", "is this node"), "{found:?}");
    assert!(says(&found, "ok", "of the public name's"), "the clock is compared: {found:?}");
    let found = ask(&host, &ours, None)?;
    assert!(says(&found, "problem", "certificate"), "nobody vouches for it: {found:?}");

    host.knows(NAME, place(3))?;
    let found = ask(&host, &ours, Some(&authority))?;
    assert!(says(&found, "problem", "xpired"), "{found:?}");

    host.knows(NAME, place(4))?;
    let found = ask(&host, &ours, Some(&authority))?;
    assert!(says(&found, "problem", "not with this node's DID document"), "somebody else answers: {found:?}");
    assert!(daemon.stop()?.success());
    assert!(stranger.stop()?.success());
    Ok(())
}
