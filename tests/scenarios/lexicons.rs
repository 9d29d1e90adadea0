//! The documents as others see them: served, published in the node's own repository, and judged on the command line.

use angel_harness::binary::{Launch, verb};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

#[tokio::test]
async fn documents_are_served_and_published_as_they_lie_in_the_source() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let daemon = Launch::in_dir(&data_dir).env("ANGEL_IDENTITY_HANDLE_DOMAINS", ".angel.test").start()?;
    let get = async |path: &str| -> Result<(u16, Value)> {
        let response = reqwest::get(format!("{}{path}", daemon.fact("httpUrl"))).await?;
        Ok((response.status().as_u16(), response.json().await?))
    };
    let source: Value = serde_json::from_str(include_str!("../../lexicons/co/kendev/spaces/message.json"))?;
    ensure!(get("/lexicons/co.kendev.spaces.message").await? == (200, source.clone()));
    ensure!(get("/lexicons/com.example.note").await?.0 == 404 && get("/lexicons/nothing").await?.0 == 400);

    let publish = || -> Result<Value> {
        let output = verb(&data_dir, &["lexicon", "publish", "--json"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let first = publish()?;
    ensure!(first["documents"] == first["changed"] && first["documents"].as_u64() > Some(80), "{first}");
    ensure!(publish()?["changed"] == 0, "what is there already stays");
    let (status, record) = get(&format!(
        "/xrpc/com.atproto.repo.getRecord?repo=node.angel.test&collection=com.atproto.lexicon.schema&rkey={}",
        "co.kendev.spaces.message"
    ))
    .await?;
    let mut published = source;
    published["$type"] = "com.atproto.lexicon.schema".into();
    ensure!(status == 200 && record["value"] == published, "{record}");
    Ok(())
}

#[test]
fn a_file_is_judged_on_the_command_line() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let judge = |value: &Value| -> Result<(Option<i32>, Value)> {
        let file = dir.path().join("file.json");
        std::fs::write(&file, value.to_string())?;
        let words = ["lexicon", "check", file.to_str().unwrap_or_default(), "--json"];
        let output = verb(dir.path(), &words)?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
    };
    let document = json!({ "lexicon": 1, "id": "com.example.note", "defs": { "main": { "type": "token" } } });
    let (code, answer) = judge(&document)?;
    ensure!(code == Some(0) && answer["valid"] == true && answer["what"] == "document", "{answer}");
    let (code, answer) =
        judge(&json!({ "lexicon": 1, "id": "com.example.note", "defs": { "main": { "type": "no" } } }))?;
    ensure!(code == Some(15) && answer["valid"] == false, "{answer}");
    let follow = json!({ "$type": "co.kendev.people.follow", "createdAt": "2026-11-21T12:00:00Z" });
    let (code, answer) = judge(&follow)?;
    ensure!(code == Some(15) && answer["what"] == "record", "{answer}");
    ensure!(answer["findings"][0].as_str().is_some_and(|text| text.contains("is required")), "{answer}");
    Ok(())
}
