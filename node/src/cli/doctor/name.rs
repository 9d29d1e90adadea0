//! The public host name, when there is one: does it resolve, is its certificate good, does this node answer there, and
//! what time does the world say it is?

use std::time::Duration;

use reqwest::header::DATE;
use serde_json::Value;
use url::{Host, Url};

use super::{Finding, Patient};
use crate::clock;
use crate::keys::Identity;

/// The way out to the internet and back.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Messages are refused at 120 s; half of it is time to act.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Largest DID document looked at, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

pub(super) async fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let Some(url) = &patient.loaded.config.node.public_url else {
        return vec![Finding::note("name", "node.public_url is unset: only this network's peers can reach the node")];
    };
    let mut findings = vec![];
    if url.scheme() != "https" {
        let mend = "set node.public_url to https and put a proxy with TLS in front";
        findings.push(Finding::warning("name", format!("{url} is not encrypted"), mend));
    }
    let (Some(Host::Domain(host)), Some(port)) = (url.host(), url.port_or_known_default()) else {
        let mend = "use a host name, if AT Protocol clients should resolve the node";
        findings.push(Finding::warning("name", format!("{url} has no host name, so the node has no did:web"), mend));
        return findings;
    };
    match tokio::time::timeout(ANSWER_LIMIT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.map(|addr| addr.ip().to_string()).collect();
            findings.push(Finding::ok("name", format!("{host} resolves to {}", addresses.join(", "))));
            findings.extend(answer(patient, url).await);
        }
        Ok(Err(error)) => {
            let mend = "add an A or AAAA record for it, and wait until it is known";
            findings.push(Finding::problem("name", format!("{host} does not resolve: {error}"), mend));
        }
        Err(_) => findings.push(Finding::problem("name", format!("{host}: no answer"), "check the resolver")),
    }
    findings
}

/// Asks for the node's DID document, as strangers will.
async fn answer(patient: &Patient<'_>, url: &Url) -> Vec<Finding> {
    let document = async {
        let client = reqwest::Client::builder().timeout(ANSWER_LIMIT).build()?;
        let mut response = client.get(format!("{url}.well-known/did.json")).send().await?.error_for_status()?;
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(ToOwned::to_owned);
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok::<_, reqwest::Error>((date, body))
    };
    match document.await {
        Err(error) => {
            let mend = "start the daemon; then check the proxy, its certificate and the router's forwarding";
            vec![Finding::problem("name", format!("{url} does not answer: {}", crate::tasks::chain(&error)), mend)]
        }
        Ok((date, body)) => {
            let mut findings = vec![who(patient, url, &body)];
            findings.extend(date.and_then(|date| time(&date)));
            findings
        }
    }
}

/// Whether it is this node that answers there.
fn who(patient: &Patient<'_>, url: &Url, body: &[u8]) -> Finding {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let mend = "let the proxy forward the whole host to this node's http.listen";
    match Identity::load(&patient.layout, clock::now()) {
        Ok(identity) if document["alsoKnownAs"][0] == identity.did().as_str() => {
            Finding::ok("name", format!("{url} is this node"))
        }
        Ok(_) => Finding::problem("name", format!("{url} answers, but not with this node's DID document"), mend),
        Err(error) => Finding::problem("name", error.to_string(), "start the node once, so that it has a key"),
    }
}

/// This machine's clock against the server's.
fn time(date: &str) -> Option<Finding> {
    let theirs = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let ours = Duration::from_millis(clock::now().as_millis());
    let skew = ours.abs_diff(theirs);
    Some(if skew > CLOCK_SKEW_MAX {
        let what = format!("this machine's clock is {} s off", skew.as_secs());
        Finding::problem("clock", what, "let a time service keep the clock (timedatectl set-ntp true)")
    } else {
        Finding::ok("clock", format!("within {} s of the public name's", skew.as_secs().max(1)))
    })
}
