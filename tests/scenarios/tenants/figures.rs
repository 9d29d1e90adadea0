//! What follows from a business's records: figures that are computed when they are asked for, and are the same after the node
//! was killed; a campaign that is paused by its budget; an agent that speaks by its owner's word.

use rustix::process::Signal;

use super::*;

const AT: &str = "2026-11-21T12:00:00.000Z";
const TASK: &str = "co.kendev.business.task";
const CAMPAIGN: &str = "co.kendev.business.campaign";

impl Host {
    /// Kills the daemon, and starts it anew on what it left.
    fn killed(self) -> Result<Self> {
        self.daemon.signal(Signal::KILL)?;
        self.daemon.wait()?;
        let Self { daemon, client, dir } = self;
        drop(daemon);
        let daemon = Self::launch(&dir).start()?;
        Ok(Self { daemon, client, dir })
    }

    async fn put(&self, who: &Person, body: &Value) -> Result<()> {
        let method =
            if body.get("space").is_some() { "com.atproto.space.putRecord" } else { "com.atproto.repo.putRecord" };
        let (status, answer) = self.post(method, who, body).await?;
        ensure!(status == 200, "{method}: {answer}");
        Ok(())
    }

    async fn read(&self, who: &Person, method: &str, uri: &str) -> Result<Value> {
        let (status, view) = self.get(&format!("{method}?uri={uri}"), Some(who)).await?;
        ensure!(status == 200, "{method}: {view}");
        Ok(view)
    }
}

#[tokio::test]
async fn what_follows_from_records_follows_from_them_after_a_crash_too() -> Result<()> {
    let host = Host::start()?;
    let made = host.angel(&["tenant", "create", "--template", "creative-agency", "studio"])?;
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned).context("a text");
    let (handle, password) = (text(&made["owner"]["handle"])?, text(&made["owner"]["password"])?);
    let (tenant, owner) = (text(&made["tenant"]["did"])?, host.log_in(&handle, &password).await?);
    let workspace = format!("at://{tenant}/space/co.kendev.tenants.workspace/self");
    let record = |collection: &str, rkey: &str, record: &Value| json!({ "space": workspace, "repo": tenant, "collection": collection, "rkey": rkey, "record": record });
    let list = async |collection: &str| -> Result<Vec<Value>> {
        let query = format!("space={workspace}&repo={tenant}&collection={collection}");
        let (_, page) = host.get(&format!("com.atproto.space.listRecords?{query}"), Some(&owner)).await?;
        let records = page["records"].as_array().with_context(|| format!("{collection}: {page}"))?;
        // As other records of the business refer to them.
        let named = records.iter().map(|record| {
            let mut record = record.clone();
            record["uri"] = format!("at://{tenant}/{collection}/{}", record["rkey"].as_str()?).into();
            Some(record)
        });
        named.collect::<Option<_>>().context("keys")
    };
    let key = |uri: &str| uri.rsplit('/').next().unwrap_or_default().to_owned();

    // The template made a project with five tasks; two get done, one of them in an hour and a half.
    let project = text(&list("co.kendev.business.project").await?[0]["uri"])?;
    let tasks = list(TASK).await?;
    ensure!(tasks.len() == 5, "{tasks:?}");
    let fresh = host.read(&owner, "co.kendev.business.getProject", &project).await?;
    let begun = json!({ "completionPercentage": 0, "tasksTotal": 5, "tasksCompleted": 0, "minutesActual": 0 });
    ensure!(fresh["progress"] == begun, "{fresh}");
    for task in &tasks[..2] {
        let mut done = task["value"].clone();
        done["status"] = "done".into();
        host.put(&owner, &record(TASK, &key(&text(&task["uri"])?), &done)).await?;
    }
    let entry = json!({ "$type": "co.kendev.business.timeEntry", "task": tasks[0]["uri"], "date": AT, "minutes": 90,
        "createdAt": AT });
    host.put(&owner, &record("co.kendev.business.timeEntry", "3kznmn7xqxl22", &entry)).await?;

    // The campaign begins, is entered, and spends more than it has.
    let campaign = list(CAMPAIGN).await?[0].clone();
    let uri = text(&campaign["uri"])?;
    let mut running = campaign["value"].clone();
    running["status"] = "active".into();
    running["budget"] = json!({ "currency": "EUR", "totalBudget": 20_000, "spentBudget": 20_000 });
    host.put(&owner, &record(CAMPAIGN, &key(&uri), &running)).await?;
    let metrics = json!({ "impressions": 10_000, "clicks": 250, "conversions": 10, "leads": 5, "revenue": 50_000 });
    let entered = json!({ "campaign": uri, "metrics": metrics });
    let (status, answer) = host.post("co.kendev.business.enterMetrics", &owner, &entered).await?;
    ensure!(status == 200 && answer["value"]["status"] == "active", "{answer}");
    running["budget"]["spentBudget"] = 20_001.into();
    host.put(&owner, &record(CAMPAIGN, &key(&uri), &running)).await?;

    // An agent of the owner speaks in the business's public space.
    let leo = host.sign_up("leo").await?;
    let (_, spaces) = host.get(&format!("co.kendev.spaces.listSpaces?tenant={tenant}"), None).await?;
    let space = text(&spaces["spaces"][0]["uri"])?;
    let (status, answer) = host.post("co.kendev.spaces.joinSpace", &leo, &json!({ "space": space })).await?;
    ensure!(status == 200, "{answer}");
    let profile = json!({ "owner": owner.did, "role": "ship_mind", "createdAt": AT });
    let profile =
        json!({ "repo": leo.did, "collection": "co.kendev.agents.agentProfile", "rkey": "self", "record": profile });
    host.put(&leo, &profile).await?;
    let said =
        json!({ "space": space, "messageType": "leo", "content": { "type": "text", "text": "at your service" } });
    refused(&host.post("co.kendev.spaces.sendMessage", &leo, &said).await?, 403, "AgentNotConfirmed")?;
    let word = json!({ "agent": leo.did, "createdAt": AT });
    let word =
        json!({ "repo": owner.did, "collection": "co.kendev.agents.ownership", "rkey": leo.did, "record": word });
    host.put(&owner, &word).await?;
    let (status, answer) = host.post("co.kendev.spaces.sendMessage", &leo, &said).await?;
    ensure!(status == 200, "{answer}");

    let figures = async |host: &Host, who: &Person| -> Result<(Value, Value)> {
        let project = host.read(who, "co.kendev.business.getProject", &project).await?;
        let campaign = host.read(who, "co.kendev.business.getCampaign", &uri).await?;
        Ok((project, campaign))
    };
    let before = figures(&host, &owner).await?;
    let progress = json!({ "completionPercentage": 40, "tasksTotal": 5, "tasksCompleted": 2, "minutesActual": 90 });
    ensure!(before.0["progress"] == progress, "{}", before.0);
    let rates = json!({ "clickThroughRate": 250, "conversionRate": 400, "returnOnAdSpend": 249, "costPerLead": 4000 });
    ensure!(before.1["metrics"] == rates && before.1["value"]["status"] == "paused", "{}", before.1);

    let host = host.killed()?;
    let owner = host.log_in(&handle, &password).await?;
    ensure!(figures(&host, &owner).await? == before, "the same records, the same figures");
    let space = format!("co.kendev.spaces.listMessages?space={space}&messageType=leo");
    let (shown, _) = until("the agent's word is shown", PATIENCE, async || {
        let (_, page) = host.get(&space, None).await?;
        Ok(page["messages"].as_array().filter(|messages| !messages.is_empty()).cloned())
    })
    .await?;
    ensure!(shown.len() == 1 && shown[0]["sender"] == leo.did.as_str(), "{shown:?}");
    Ok(())
}
