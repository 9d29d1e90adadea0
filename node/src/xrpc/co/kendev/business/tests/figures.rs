//! Figures of a business's records, as they follow from what is written through the ordinary methods.

use super::*;

const AT: &str = "2026-11-21T09:00:00.000Z";
const CAMPAIGN: &str = "co.kendev.business.campaign";
const PROJECT: &str = "co.kendev.business.project";
const TASK: &str = "co.kendev.business.task";
const TIME_ENTRY: &str = "co.kendev.business.timeEntry";

impl World {
    fn uri(&self, collection: &str, rkey: &str) -> String {
        format!("at://{}/{collection}/{rkey}", self.tenant)
    }

    fn get(&self, method: &str, collection: &str, rkey: &str) -> String {
        format!("{method}?uri={}", self.uri(collection, rkey).replace(':', "%3A").replace('/', "%2F"))
    }

    async fn written(&self, collection: &str, rkey: &str, record: Value) {
        let (status, answer) = self.put(collection, rkey, &record).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn removed(&self, collection: &str, rkey: &str) {
        let body = json!({ "space": self.workspace(), "repo": self.tenant, "collection": collection, "rkey": rkey });
        self.record("com.atproto.space.deleteRecord", body).await;
    }

    fn campaign(&self, status: &str, budget: Value) -> Value {
        json!({ "$type": CAMPAIGN, "tenant": self.tenant, "name": "Spring", "type": "ads", "status": status,
            "budget": budget, "createdAt": AT })
    }

    fn project(&self, status: &str) -> Value {
        json!({ "$type": PROJECT, "tenant": self.tenant, "name": "Garden", "status": status, "priority": "high",
            "budget": { "currency": "EUR" }, "createdAt": AT })
    }

    fn task_of(&self, project: Option<&str>, status: &str) -> Value {
        let mut task = json!({ "$type": TASK, "tenant": self.tenant, "title": "Dig", "status": status,
            "priority": "low", "createdAt": AT });
        if let Some(rkey) = project {
            task["project"] = json!(self.uri(PROJECT, rkey));
        }
        task
    }

    fn time_entry(&self, task: &str, minutes: i64) -> Value {
        json!({ "$type": TIME_ENTRY, "task": self.uri(TASK, task), "date": AT, "minutes": minutes, "createdAt": AT })
    }
}

#[tokio::test]
async fn a_campaign_says_how_it_goes_and_stops_when_it_has_spent_too_much() {
    const RKEY: &str = "3kznmn7xqxl22";
    let world = World::new().await;
    let eve = world.sign_up("eve").await;
    let budget = |spent: i64| json!({ "currency": "EUR", "totalBudget": 20_000, "spentBudget": spent });
    world.written(CAMPAIGN, RKEY, world.campaign("active", budget(20_000))).await;
    let get = world.get("getCampaign", CAMPAIGN, RKEY);
    let bare = world.ask(&world.owner, &get, None).await.expect("staff");
    assert_eq!((&bare["value"]["status"], bare.get("metrics")), (&json!("active"), None), "{bare}");

    // Figures are the node's to keep: they come in by the method that notes who entered them.
    let mut made_up = world.campaign("active", budget(20_000));
    made_up["metrics"] = json!({ "clicks": 250 });
    let (status, refused) = world.put(CAMPAIGN, RKEY, &made_up).await;
    assert_eq!((status, &refused["error"]), (400, &json!("InvalidRequest")), "{refused}");
    let metrics = json!({ "impressions": 10_000, "clicks": 250, "conversions": 10, "leads": 5, "revenue": 50_000 });
    let enter = json!({ "campaign": world.uri(CAMPAIGN, RKEY), "metrics": metrics });
    let rates = json!({ "clickThroughRate": 250, "conversionRate": 400, "returnOnAdSpend": 250, "costPerLead": 4000 });
    let entered = world.ask(&world.owner, "enterMetrics", Some(enter.clone())).await.expect("staff");
    assert_eq!((&entered["metrics"], &entered["value"]["metrics"]), (&rates, &metrics), "{entered}");
    assert_eq!(world.ask(&world.owner, &get, None).await.expect("staff"), entered);
    for method in ["getCampaign", "enterMetrics"] {
        let refused = match method {
            "getCampaign" => world.ask(&eve, &get, None).await,
            _ => world.ask(&eve, method, Some(enter.clone())).await,
        };
        assert_eq!(refused, Err("RecordNotFound".to_owned()), "{method}");
    }
    let unknown = json!({ "campaign": world.uri(CAMPAIGN, RKEY), "metrics": { "applause": 3 } });
    assert_eq!(world.ask(&world.owner, "enterMetrics", Some(unknown)).await, Err("InvalidRequest".to_owned()));
    let nothing = world.get("getCampaign", CAMPAIGN, "3nothing22222");
    assert_eq!(world.ask(&world.owner, &nothing, None).await, Err("RecordNotFound".to_owned()));

    // One unit more than there is: it is paused, what was entered stays, and the business hears of it.
    world.written(CAMPAIGN, RKEY, world.campaign("active", budget(20_001))).await;
    let paused = world.ask(&world.owner, &get, None).await.expect("staff");
    assert_eq!((&paused["value"]["status"], &paused["value"]["metrics"]), (&json!("paused"), &metrics), "{paused}");
    world.told(&["campaign.overspent"]).await;
    world.at.stop().await;
}

#[tokio::test]
async fn a_project_is_as_far_as_its_tasks_are() {
    const GARDEN: &str = "3kznmn7xqxl22";
    const HOUSE: &str = "3kznmn7xqxl23";
    let tasks = ["3kznmn7xqxl24", "3kznmn7xqxl25", "3kznmn7xqxl26"];
    let world = World::new().await;
    let eve = world.sign_up("eve").await;
    for project in [GARDEN, HOUSE] {
        world.written(PROJECT, project, world.project("active")).await;
    }
    let progress = async |rkey: &str| {
        let view = world.ask(&world.owner, &world.get("getProject", PROJECT, rkey), None).await.expect("staff");
        view["progress"].clone()
    };
    let says = |percentage: i64, total: i64, done: i64, minutes: i64| {
        json!({ "completionPercentage": percentage, "tasksTotal": total, "tasksCompleted": done,
            "minutesActual": minutes })
    };
    assert_eq!(progress(GARDEN).await, says(0, 0, 0, 0));
    world.written(TASK, tasks[0], world.task_of(Some(GARDEN), "done")).await;
    world.written(TASK, tasks[1], world.task_of(Some(GARDEN), "todo")).await;
    world.written(TASK, tasks[2], world.task_of(None, "done")).await;
    assert_eq!(progress(GARDEN).await, says(50, 2, 1, 0));
    for (rkey, task, minutes) in
        [("3kznmn7xqxl27", tasks[0], 30), ("3kznmn7xqxl2a", tasks[1], 65), ("3kznmn7xqxl2b", tasks[2], 7)]
    {
        world.written(TIME_ENTRY, rkey, world.time_entry(task, minutes)).await;
    }
    assert_eq!(progress(GARDEN).await, says(50, 2, 1, 95));
    assert_eq!(progress(HOUSE).await, says(0, 0, 0, 0), "another project has no part in it");
    let task = world.get("getTask", TASK, tasks[1]);
    assert_eq!(world.ask(&world.owner, &task, None).await.expect("staff")["timeTracking"]["actualMinutes"], 65);

    // A task that goes takes its hours with it; one that moves takes them along.
    world.removed(TASK, tasks[1]).await;
    assert_eq!(progress(GARDEN).await, says(100, 1, 1, 30));
    world.written(TASK, tasks[0], world.task_of(Some(HOUSE), "review")).await;
    assert_eq!((progress(GARDEN).await, progress(HOUSE).await), (says(0, 0, 0, 0), says(0, 1, 0, 30)));
    world.written(PROJECT, HOUSE, world.project("completed")).await;
    assert_eq!(progress(HOUSE).await, says(100, 1, 0, 30), "completed is completed");
    assert_eq!(world.ask(&eve, &task, None).await, Err("RecordNotFound".to_owned()));
    world.at.stop().await;
}

#[tokio::test]
async fn a_form_says_how_often_it_was_filled_in_and_nothing_that_nobody_counts() {
    const SETTINGS: &str = "co.kendev.content.formSettings";
    const RKEY: &str = "3kznmn7xqxl22";
    let world = World::new().await;
    let eve = world.sign_up("eve").await;
    let settings = json!({ "$type": SETTINGS, "form": world.uri("co.kendev.content.form", RKEY),
        "submitAction": { "type": "database", "destination": "here" }, "createdAt": AT });
    world.written(SETTINGS, RKEY, settings).await;
    let method = format!("co.kendev.content.{}", world.get("getFormSettings", SETTINGS, RKEY));
    let (status, view) = world.send(Some(&world.owner), &method, None).await;
    assert_eq!((status, &view["analytics"]), (200, &json!({ "submissions": 0, "views": 0 })), "{view}");
    let schema = Schemas::builtin().method("co.kendev.content.getFormSettings").expect("documented");
    schema.validate_output(&view).expect("as its document says");
    let (status, refused) = world.send(Some(&eve), &method, None).await;
    assert_eq!((status, &refused["error"]), (400, &json!("RecordNotFound")));
    world.at.stop().await;
}
