//! What is sent to a node over HTTP by those who mean no good, or know no better.

use angel_protocol::limits::SEQUENCE_MAX;

use super::*;

const JSON: &str = "application/json";
const CBOR: &str = "application/vnd.ipld.dag-cbor";

fn name(error: &(u16, String)) -> (u16, &str) {
    (error.0, &error.1)
}

/// `bytes` with the first `from` in them replaced by `to`, of the same length.
fn with(bytes: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "a did:key of Ed25519 has one length");
    let place = bytes.windows(from.len()).position(|window| window == from.as_bytes()).context("it is in there")?;
    Ok([&bytes[..place], to.as_bytes(), &bytes[place + to.len()..]].concat())
}

/// What others declare and when they were first seen: all that a heartbeat could change for good.
fn held(sight: &Sight) -> Vec<Value> {
    let fields = |node: &Value| {
        json!({ "did": node["did"], "createdAt": node["createdAt"], "declared": node["declared"],
            "admittedBy": node["admittedBy"], "declaredStatus": node["declaredStatus"] })
    };
    sight.nodes().iter().map(fields).collect()
}

#[tokio::test]
async fn nobody_speaks_for_another() -> Result<()> {
    let mut network = Network::new(&[])?;
    let (a, victim) = (network.start("a", &[])?, network.start("victim", &[])?);
    network.until_all_see_all(&[&a, &victim]).await?;
    let did = victim.daemon.fact("did").to_owned();
    let before = network.sight(&a).await?;

    let forger = Stranger::new("forged");
    // The highest number there is: had it counted, the victim could never be heard again.
    let real = forger.heartbeat(SEQUENCE_MAX)?;
    let mut forged_json = real.to_json();
    forged_json["did"] = did.as_str().into();
    let forged_cbor = with(real.bytes(), &forger.did(), &did)?;
    for (sent, (media_type, body)) in
        [(JSON, forged_json.to_string().into_bytes()), (CBOR, forged_cbor.clone()), ("application/cbor", forged_cbor)]
            .into_iter()
            .enumerate()
    {
        let refused = network.refused(&a, media_type, body).await?;
        assert_eq!(name(&refused), (401, "BadSignature"), "{media_type}");
        assert_eq!(network.refusals(&a, "signature").await?, sent as u64 + 1);
    }
    let after = network.sight(&a).await?;
    assert_eq!(held(&after), held(&before), "nothing of it was kept");

    let last_seen = after.node(&did).context("listed")?["measured"]["lastSeen"].clone();
    let heard_again = async || {
        let sight = network.sight(&a).await?;
        let node = sight.node(&did).context("listed")?;
        Ok((node["measured"]["lastSeen"] != last_seen && node["status"] == "online").then_some(()))
    };
    until("the victim's own heartbeats still count", PATIENCE, heard_again).await?;
    Ok(())
}

#[tokio::test]
async fn each_refusal_has_its_name() -> Result<()> {
    let mut network = Network::new(&[])?;
    let a = network.start("a", &[])?;
    let known = Stranger::new("known");
    let first = known.heartbeat(1)?;
    let taken = network.post(&a, CBOR, first.bytes().to_vec()).await?;
    assert_eq!(taken.status(), 200, "{}", taken.text().await?);
    let own: Value = taken.json().await?;
    // On a busy machine the next one may be due by the time it is there.
    let before = network.refusals(&a, "rate_limited").await?;
    let mut next = 2;
    let too_soon = loop {
        let answer = network.post(&a, CBOR, known.heartbeat(next)?.bytes().to_vec()).await?;
        if answer.status() != 200 {
            break refusal(answer).await?;
        }
        next += 1;
        ensure!(next < 100, "a hundred heartbeats in a row are not too many");
    };
    assert_eq!(name(&too_soon), (429, "RateLimited"));
    assert_eq!(network.refusals(&a, "rate_limited").await?, before + 1);
    let held_before = held(&network.sight(&a).await?);
    assert_eq!(held_before.len(), 1);

    let now = clock::now();
    let stranger = Stranger::new("stranger");
    let at = |ms: u64| {
        seal(&stranger.key, &super::network(), 1, angel_protocol::time::Timestamp::from_millis(ms), stranger.body()?)
            .map_err(anyhow::Error::from)
    };
    let elsewhere = seal(&stranger.key, &"elsewhere".parse()?, 1, now, stranger.body()?)?;
    let same_name = Stranger::new("known");
    let mut version = stranger.heartbeat(1)?.to_json();
    version["v"] = 2.into();
    let mut unknown_field = stranger.heartbeat(1)?.to_json();
    unknown_field["more"] = true.into();
    let future = at(now.as_millis() + 200_000)?;
    let past = at(now.as_millis() - 200_000)?;

    let cases = [
        ("replayed", first.to_json().to_string().into_bytes(), (409, "StaleSequence"), "stale_sequence"),
        ("from the future", future.to_json().to_string().into_bytes(), (400, "InvalidHeartbeat"), "clock"),
        ("from the past", past.to_json().to_string().into_bytes(), (400, "InvalidHeartbeat"), "clock"),
        ("for another network", elsewhere.to_json().to_string().into_bytes(), (400, "InvalidHeartbeat"), "network"),
        (
            "under another's name",
            same_name.heartbeat(1)?.to_json().to_string().into_bytes(),
            (409, "NodeIdTaken"),
            "node_id_taken",
        ),
        ("in a later version", version.to_string().into_bytes(), (400, "InvalidHeartbeat"), "version"),
        ("with more fields", unknown_field.to_string().into_bytes(), (400, "InvalidHeartbeat"), "field"),
        ("its own", own["heartbeat"].to_string().into_bytes(), (400, "InvalidHeartbeat"), "own"),
        ("empty", vec![], (400, "InvalidHeartbeat"), "not_json"),
        ("another object", b"{\"v\":1}".to_vec(), (400, "InvalidHeartbeat"), "field"),
        ("deeply nested", [b"[".repeat(50_000), b"]".repeat(50_000)].concat(), (400, "InvalidHeartbeat"), "not_json"),
    ];
    for (what, body, expected, reason) in cases {
        let before = network.refusals(&a, reason).await?;
        let refused = network.refused(&a, JSON, body).await.with_context(|| what.to_owned())?;
        assert_eq!(name(&refused), expected, "{what}");
        assert_eq!(network.refusals(&a, reason).await?, before + 1, "{what} is counted as {reason}");
    }
    assert_eq!(held(&network.sight(&a).await?), held_before);
    Ok(())
}

#[tokio::test]
async fn what_is_cut_bent_or_bloated_is_refused() -> Result<()> {
    let mut network = Network::new(&[])?;
    let a = network.start("a", &[])?;
    let stranger = Stranger::new("stranger");
    let good = stranger.heartbeat(1)?;
    let (cbor, text) = (good.bytes().to_vec(), good.to_json().to_string().into_bytes());
    let mut sent = 0;
    for (media_type, whole) in [(CBOR, &cbor), (JSON, &text)] {
        for length in (0..whole.len()).step_by(7) {
            let refused = network.refused(&a, media_type, whole[..length].to_vec()).await?;
            assert_eq!(name(&refused), (400, "InvalidHeartbeat"), "{media_type} cut to {length} bytes");
            sent += 1;
        }
    }
    for place in (0..cbor.len()).step_by(5) {
        let mut bent = cbor.clone();
        bent[place] ^= 1;
        let refused = network.refused(&a, CBOR, bent).await?;
        let expected = [(400, "InvalidHeartbeat"), (401, "BadSignature")];
        assert!(expected.contains(&name(&refused)), "byte {place} bent: {refused:?}");
        sent += 1;
    }
    for (media_type, size, expected) in [
        (CBOR, 65 * 1024, (400, "InvalidHeartbeat")),
        (CBOR, 300 * 1024, (413, "PayloadTooLargeError")),
        (JSON, 300 * 1024, (413, "PayloadTooLargeError")),
    ] {
        let refused = network.refused(&a, media_type, vec![b' '; size]).await?;
        assert_eq!(name(&refused), expected, "{size} bytes of {media_type}");
        sent += u64::from(expected.0 == 400);
    }
    assert_eq!(network.count(&a, "angel_heartbeats_refused_total", &["way=\"Http\""]).await?, sent);
    assert_eq!(network.count(&a, "angel_http_requests_total", &["heartbeat", "status=\"413\""]).await?, 2);
    assert!(network.sight(&a).await?.nodes().is_empty());

    // The node is no worse for it.
    let taken = network.post(&a, CBOR, cbor).await?;
    assert_eq!(taken.status(), 200, "{}", taken.text().await?);
    Ok(())
}

#[tokio::test]
async fn what_is_not_served_is_said_so() -> Result<()> {
    let mut network = Network::new(&[])?;
    let a = network.start("a", &[])?;
    let heartbeat = Stranger::new("stranger").heartbeat(1)?;
    for media_type in ["text/plain", "application/octet-stream", "application/json5", ""] {
        let refused = network.refused(&a, media_type, heartbeat.bytes().to_vec()).await?;
        assert_eq!(name(&refused), (415, "InvalidHeartbeat"), "{media_type:?}");
    }
    let url = |path: &str| format!("{}{path}", a.daemon.fact("httpUrl"));
    let cases = [
        (network.client.get(url("/api/federation/heartbeat")), (405, "MethodNotAllowed")),
        (network.client.delete(url("/api/federation/nodes")), (405, "MethodNotAllowed")),
        (network.client.get(url("/api/federation/nothing")), (404, "NotFound")),
        (network.client.get(url("/xrpc/co.kendev.network.nothing")), (501, "MethodNotImplemented")),
        (network.client.get(url("/api/federation/nodes?limit=0")), (400, "InvalidRequest")),
        (network.client.get(url("/api/federation/nodes?limit=99999")), (400, "InvalidRequest")),
        (network.client.get(url("/api/federation/nodes?limit=many")), (400, "InvalidRequest")),
        (network.client.get(url("/api/federation/nodes?cursor=nobody")), (400, "InvalidRequest")),
        (
            network.client.post(url("/admin/declare")).json(&json!({ "status": "maintenance" })),
            (401, "AdminPasswordRequired"),
        ),
    ];
    for (request, expected) in cases {
        let said = format!("{request:?}");
        let refused = refusal(request.send().await?).await.with_context(|| said.clone())?;
        assert_eq!(name(&refused), expected, "{said}");
    }
    for (status, times) in [(415, 4), (405, 2), (404, 1), (501, 1), (400, 4), (401, 1)] {
        let status = format!("status=\"{status}\"");
        assert_eq!(network.count(&a, "angel_http_requests_total", &[&status]).await?, times, "{status}");
    }
    assert!(network.sight(&a).await?.nodes().is_empty());
    Ok(())
}
