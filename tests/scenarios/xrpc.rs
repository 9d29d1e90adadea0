//! The methods that the daemon serves and the lexicon documents are the same, in name and in shape.

use std::collections::BTreeSet;

use angel_harness::binary::{Launch, PATIENCE};
use angel_harness::wait::until;
use angel_protocol::lexicon::{Catalog, Definition, Schemas};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const ROUTERS: [&str; 2] =
    [include_str!("../../node/src/http/router.rs"), include_str!("../../node/src/xrpc/router.rs")];

/// The methods of ours that the routers list.
fn routed() -> BTreeSet<String> {
    let paths = ROUTERS.iter().flat_map(|router| router.split('"')).filter_map(|text| text.strip_prefix("/xrpc/"));
    paths.filter(|name| name.starts_with("co.kendev.")).map(ToOwned::to_owned).collect()
}

#[test]
fn router_and_documents_hold_the_same_methods() {
    let is_method = |main: &Definition| {
        matches!(main, Definition::Query(_) | Definition::Procedure(_) | Definition::Subscription(_))
    };
    let documents = Catalog::builtin().iter().filter(|document| document.main().is_some_and(is_method));
    let ids = documents.map(|document| document.id.to_string());
    let documented: BTreeSet<String> = ids.filter(|name| name.starts_with("co.kendev.")).collect();
    assert_eq!(routed(), documented);
}

#[tokio::test]
async fn answers_have_the_shape_that_their_documents_say() -> Result<()> {
    let dirs = [tempfile::tempdir()?, tempfile::tempdir()?];
    let first = Launch::in_dir(&dirs[0].path().join("data")).start()?;
    let bootstrap = first.facts()["p2p"][0].as_str().context("it listens")?.to_owned();
    let second = Launch::in_dir(&dirs[1].path().join("data")).args(["--bootstrap", &bootstrap]).start()?;
    let client = reqwest::Client::new();
    let get = async |name: &str| -> Result<Value> {
        let url = format!("{}/xrpc/{name}", second.fact("httpUrl"));
        Ok(client.get(url).send().await?.error_for_status()?.json().await?)
    };
    let (nodes, _) = until("the second node lists the first", PATIENCE, async || {
        let answer = get("co.kendev.network.listNodes").await?;
        // With its record, so that the answer is as full as it gets.
        Ok(answer["nodes"][0]["name"].is_string().then_some(answer))
    })
    .await?;
    let topology = get("co.kendev.network.getTopology").await?;
    for (name, answer) in [("co.kendev.network.listNodes", nodes), ("co.kendev.network.getTopology", topology)] {
        let method = Schemas::builtin().method(name).context("documented")?;
        let checked = method.validate_output(&answer);
        ensure!(checked.is_ok(), "{name}: {checked:?} in {answer:#}");
    }
    Ok(())
}
