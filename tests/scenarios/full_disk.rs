//! A disk that fills up (SLF-04): the node serves what it has, takes nothing more in, and goes on when there is room again.

use angel_harness::binary::{Launch, PATIENCE};
use angel_harness::disks::Disk;
use angel_harness::wait::until;
use anyhow::{Context, Result, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

const NOTE: &str = "com.example.note";

/// Somebody who lives on a node.
struct Resident {
    client: Client,
    url: String,
    did: String,
    token: String,
}

impl Resident {
    async fn new(url: &str) -> Result<Self> {
        let client = Client::new();
        let wish = json!({ "handle": "ada.test", "email": "ada@mail.test", "password": "open sesame" });
        let made = client.post(format!("{url}/xrpc/com.atproto.server.createAccount")).json(&wish).send().await?;
        let made: Value = made.error_for_status()?.json().await?;
        let text = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("{made}"));
        Ok(Self { client, url: url.to_owned(), did: text("did")?, token: text("accessJwt")? })
    }

    async fn call(&self, method: &str, mut body: Value) -> Result<Response> {
        body["repo"] = self.did.as_str().into();
        body["collection"] = NOTE.into();
        let asked = self.client.post(format!("{}/xrpc/com.atproto.repo.{method}", self.url)).bearer_auth(&self.token);
        Ok(asked.json(&body).send().await?)
    }

    async fn write(&self, rkey: &str) -> Result<Response> {
        self.call("createRecord", json!({ "rkey": rkey, "record": { "$type": NOTE, "text": "a" } })).await
    }

    async fn reads(&self, rkey: &str) -> Result<StatusCode> {
        let query = format!("repo={}&collection={NOTE}&rkey={rkey}", self.did);
        let url = format!("{}/xrpc/com.atproto.repo.getRecord?{query}", self.url);
        Ok(self.client.get(url).send().await?.status())
    }

    async fn disk(&self) -> Result<Value> {
        let health: Value = self.client.get(format!("{}/api/health", self.url)).send().await?.json().await?;
        Ok(health["services"]["disk"].clone())
    }
}

#[tokio::test]
async fn what_is_there_is_served_while_there_is_no_room_for_more() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let at = dir.path().join("data");
    let Some(disk) = Disk::under(&at, 160)? else {
        println!("not tried: nothing can be mounted here");
        return Ok(());
    };
    let daemon = Launch::in_dir(&at).env("ANGEL_ACCOUNTS_INVITES_REQUIRED", "false").start()?;
    let ada = Resident::new(daemon.fact("httpUrl")).await?;
    ensure!(ada.write("before").await?.status() == StatusCode::OK);
    ensure!(ada.disk().await? == "ok", "{}", ada.disk().await?);

    disk.fill_but(6 << 20)?;
    until("the node has seen it", PATIENCE, async || Ok((ada.disk().await? != "ok").then_some(()))).await?;
    let refused = ada.write("meanwhile").await?;
    ensure!(refused.status() == StatusCode::SERVICE_UNAVAILABLE && refused.headers().contains_key("retry-after"));
    let refused: Value = refused.json().await?;
    ensure!(refused["error"] == "DiskFull", "{refused}");
    ensure!(ada.reads("before").await? == StatusCode::OK);
    let login = json!({ "identifier": ada.did, "password": "open sesame" });
    let login =
        ada.client.post(format!("{}/xrpc/com.atproto.server.createSession", ada.url)).json(&login).send().await?;
    ensure!(login.status() == StatusCode::OK, "{}", login.text().await?);
    let gone = ada.call("deleteRecord", json!({ "rkey": "before" })).await?;
    ensure!(gone.status() == StatusCode::OK, "{}", gone.text().await?);

    disk.free()?;
    until("there is room again", PATIENCE, async || Ok((ada.disk().await? == "ok").then_some(()))).await?;
    ensure!(ada.write("after").await?.status() == StatusCode::OK);
    // A file that would fill the disk is refused on its way.
    disk.fill_but(10 << 20)?;
    let upload = ada.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", ada.url)).bearer_auth(&ada.token);
    let upload = upload.header("content-type", "application/octet-stream").body(vec![7; 8 << 20]).send().await?;
    ensure!(upload.status() == StatusCode::SERVICE_UNAVAILABLE, "{}", upload.text().await?);
    disk.free()?;
    ensure!(daemon.stop()?.success());
    Ok(())
}
