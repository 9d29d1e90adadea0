//! What is computed when somebody asks, held against the numbers of the specification; and every field that is for views
//! alone is computed by the table, by the room that is named here, or by nobody yet.

use std::collections::BTreeSet;

use super::*;
use crate::rules::figures::{Counts, figures};

/// Fields of a collection.
type Fields = (&'static str, &'static [&'static str]);

/// Fields of views that are made of rows, and not of a record and what is counted beside it, by where that is done.
const ROWS: &[(&str, &[&str], &str)] = &[
    (
        "co.kendev.spaces.message",
        &["sender", "readBy", "reactions", "atProtocol.type", "atProtocol.did", "atProtocol.uri", "atProtocol.cid"],
        "the views of spaces",
    ),
    ("co.kendev.content.roadmapFeature", &["voting.voters"], "the views of the roadmap"),
    (
        "co.kendev.spaces.space",
        &["stats.memberCount", "stats.messageCount", "stats.lastActivity", "stats.engagementScore"],
        "the same",
    ),
    (
        "co.kendev.network.node",
        &[
            "resources.cpuLoad",
            "resources.memoryUsage",
            "connectedNodes",
            "health.lastSeen",
            "health.responseTime",
            "health.uptime",
            "health.loadScore",
        ],
        "the views of peers",
    ),
];

/// Fields of views that nothing computes yet, by what they wait for.
const UNCOUNTED: &[(&str, &[Fields])] = &[
    (
        "visitors, whom nobody counts: a node serves no pages",
        &[
            (
                "co.kendev.business.product",
                &["analytics.views", "analytics.purchases", "analytics.revenue", "analytics.conversionRate"],
            ),
            (
                "co.kendev.content.page",
                &["analytics.views", "analytics.conversions", "analytics.bounceRate", "analytics.averageTime"],
            ),
            (
                "co.kendev.content.postSettings",
                &["analytics.views", "analytics.engagement", "analytics.conversions", "analytics.shares"],
            ),
        ],
    ),
    (
        "forms that were begun and not sent: no page tells of it",
        &[("co.kendev.content.formSettings", &["analytics.abandonmentRate"])],
    ),
    (
        "views of what is sold and of events, for which there are no methods",
        &[
            ("co.kendev.business.product", &["pricing.variants[].inStock", "inventory.inStock"]),
            (
                "co.kendev.business.event",
                &[
                    "attendeeStats.expectedAttendees",
                    "attendeeStats.actualAttendees",
                    "attendeeStats.noShows",
                    "attendeeStats.waitlistSize",
                ],
            ),
        ],
    ),
    (
        "engines and agents",
        &[
            ("co.kendev.agents.listing", &["approval", "rating", "installs"]),
            ("co.kendev.agents.socialMediaBot", &["postsThisMonth"]),
            ("co.kendev.agents.agentProfile", &["ownerConfirmed"]),
            (
                "co.kendev.spaces.channelSettings",
                &["metrics.totalReports", "metrics.processingTime", "metrics.accuracyScore", "metrics.lastProcessed"],
            ),
        ],
    ),
    (
        "views of people, and of single votes, for which there are no methods",
        &[
            ("co.kendev.people.profile", &["followers", "following", "helpedCount"]),
            ("co.kendev.people.account", &["tenantMemberships"]),
            ("co.kendev.content.roadmapVote", &["voteWeight"]),
            ("co.kendev.content.tool", &["offersUsing", "asksNeeding", "experts"]),
        ],
    ),
    (
        "views of records of what the node keeps in rows",
        &[
            (
                "co.kendev.tenants.settings",
                &[
                    "analytics.totalUsers",
                    "analytics.activeUsers",
                    "analytics.totalSpaces",
                    "analytics.storageUsed",
                    "analytics.lastActivity",
                ],
            ),
            (
                "co.kendev.tenants.membership",
                &[
                    "lastActiveAt",
                    "activityMetrics.loginCount",
                    "activityMetrics.spacesJoined",
                    "activityMetrics.contentCreated",
                ],
            ),
            (
                "co.kendev.tenants.management",
                &["usage.userCount", "usage.storageUsed", "usage.apiCallsThisMonth", "usage.lastActivity"],
            ),
            (
                "co.kendev.network.tenantDistribution",
                &[
                    "performance.averageResponseTime",
                    "performance.uptime",
                    "performance.lastHealthCheck",
                    "performance.errorRate",
                    "resourceUsage.storageUsed",
                    "resourceUsage.bandwidthUsed",
                    "resourceUsage.computeMinutes",
                    "resourceUsage.lastUpdated",
                ],
            ),
            ("co.kendev.network.tokenBalance", &["balanceHistory"]),
        ],
    ),
];

fn figured(collection: &str, record: &Json, counts: &Counts) -> Json {
    to_json(&Value::Map(figures(collection, &value(record), counts)))
}

const CAMPAIGN: &str = "co.kendev.business.campaign";

#[test]
fn a_campaigns_rates_are_those_of_the_specification() {
    let rates = |budget: Json, metrics: Json| {
        figured(CAMPAIGN, &json!({ "budget": budget, "metrics": metrics }), &Counts::default())
    };
    let metrics =
        json!({ "impressions": 10_000, "clicks": 250, "conversions": 10, "leads": 5, "revenue": 50_000, "sales": 3 });
    let expected =
        json!({ "clickThroughRate": 250, "conversionRate": 400, "returnOnAdSpend": 250, "costPerLead": 4000 });
    assert_eq!(rates(json!({ "spentBudget": 20_000 }), metrics.clone())["metrics"], expected);
    // Half a unit is rounded up, less is not.
    let cost = |spent: i64, leads: i64| {
        rates(json!({ "spentBudget": spent }), json!({ "leads": leads }))["metrics"]["costPerLead"].clone()
    };
    assert_eq!((cost(5, 2), cost(7, 3), cost(8, 3), cost(0, 3)), (json!(3), json!(2), json!(3), json!(0)));
    // What divides by nothing is absent, and so is what nobody counted.
    let unspent = rates(json!({}), metrics);
    assert_eq!(unspent["metrics"].get("returnOnAdSpend"), None);
    assert_eq!(rates(json!({ "spentBudget": 1 }), json!({ "impressions": 0, "clicks": 0, "leads": 0 })), json!({}));
    assert_eq!(figured(CAMPAIGN, &json!({ "status": "draft" }), &Counts::default()), json!({}));
    // More clicks than times it was shown: a share beyond the whole is no share.
    assert_eq!(rates(json!({}), json!({ "impressions": 1, "clicks": 2 })), json!({}));
    let most = i64::MAX;
    let huge = rates(json!({ "spentBudget": most }), json!({ "impressions": most, "clicks": most, "leads": 1 }));
    assert_eq!(huge["metrics"], json!({ "clickThroughRate": 10_000, "costPerLead": most }));
}

#[test]
fn a_campaign_that_has_spent_more_than_it_has_is_paused() {
    let judge = |record: &Json, before: Option<&Json>| private(tenant()).judge(CAMPAIGN, record, before).expect("fits");
    let with = |status: &str, total: i64, spent: i64| json!({ "status": status, "budget": { "totalBudget": total, "spentBudget": spent, "currency": "EUR" } });
    let going = judge(&with("active", 100, 100), None);
    assert_eq!((&going["status"], &going["dates"]["launchDate"]), (&json!("active"), &json!(NOW.to_string())));
    let paused = judge(&with("active", 100, 101), Some(&going));
    assert_eq!((&paused["status"], &paused["dates"]["launchDate"]), (&json!("paused"), &going["dates"]["launchDate"]));
    assert_eq!(judge(&with("active", 200, 101), Some(&paused))["status"], "active", "whoever raises the budget may");
    let never = judge(&with("active", 0, 1), None);
    assert_eq!((&never["status"], never.get("dates")), (&json!("paused"), None), "it was not launched");
    assert_eq!(judge(&with("draft", 0, 1), None)["status"], "draft");
    assert_eq!(judge(&json!({ "status": "active", "budget": { "spentBudget": 7 } }), None)["status"], "active");
}

#[test]
fn a_project_is_as_far_as_its_tasks() {
    let of = |status: &str, total: u64, done: u64| {
        let counts = Counts { tasks: Some(total), tasks_done: Some(done), minutes: Some(95), ..Counts::default() };
        figured("co.kendev.business.project", &json!({ "status": status }), &counts)["progress"].clone()
    };
    let progress = |percentage: i64, total: u64, done: u64| json!({ "completionPercentage": percentage, "tasksTotal": total, "tasksCompleted": done, "minutesActual": 95 });
    assert_eq!(of("active", 3, 2), progress(66, 3, 2), "rounded down");
    assert_eq!(of("active", 0, 0), progress(0, 0, 0), "nothing to do is nothing done");
    assert_eq!(of("active", 4, 4), progress(100, 4, 4));
    assert_eq!(of("completed", 3, 1), progress(100, 3, 1), "completed is completed");
    let unknown = figured("co.kendev.business.project", &json!({ "status": "active" }), &Counts::default());
    assert_eq!(unknown, json!({}), "what was not counted is not nothing");
    let spent = Counts { minutes: Some(40), ..Counts::default() };
    assert_eq!(
        figured("co.kendev.business.task", &json!({}), &spent),
        json!({ "timeTracking": { "actualMinutes": 40 } })
    );
}

#[test]
fn a_feature_is_as_far_as_its_milestones_and_says_when_it_was_completed() {
    const FEATURE: &str = "co.kendev.content.roadmapFeature";
    let of = |done: usize, all: usize, votes: Option<u64>| {
        let milestones: Vec<_> = (0..all).map(|index| json!({ "title": "m", "completed": index < done })).collect();
        let counts = Counts { votes, ..Counts::default() };
        figured(FEATURE, &json!({ "progress": { "milestones": milestones } }), &counts)
    };
    assert_eq!(of(2, 3, Some(7)), json!({ "voting": { "votes": 7 }, "progress": { "completionPercentage": 66 } }));
    assert_eq!(of(0, 0, None), json!({ "progress": { "completionPercentage": 0 } }));
    let operator = Case::of(Holder::Operator, Place::Public);
    let completed = operator.judge(FEATURE, &json!({ "status": "completed" }), None).expect("fits");
    assert_eq!(completed["timeline"]["actualCompletion"], NOW.to_string());
    let taken_up = operator.judge(FEATURE, &json!({ "status": "in-review" }), Some(&completed)).expect("fits");
    assert_eq!(taken_up["timeline"].get("actualCompletion"), None);
}

#[test]
fn a_vote_is_for_what_takes_votes() {
    const VOTE: &str = "co.kendev.content.roadmapVote";
    let uri = "at://did:web:node.example/co.kendev.content.roadmapFeature/3k";
    let vote = json!({ "feature": uri });
    assert_eq!(looks_at(&VOTE.parse().expect("valid"), &value(&vote)), [uri]);
    let judge = |feature: Option<Json>| {
        let mut case = person();
        case.facts.others.insert(uri.to_owned(), feature.as_ref().map(value));
        case.judge(VOTE, &vote, None)
    };
    let feature = |status: &str, allow: bool| Some(json!({ "status": status, "voting": { "allowVoting": allow } }));
    for status in ["consideration", "planned", "in-progress", "in-review"] {
        assert!(judge(feature(status, true)).is_ok(), "{status}");
        assert!(matches!(judge(feature(status, false)), Err(Refused::Vote { path, .. }) if path == "/feature"));
    }
    for refused in [feature("completed", true), feature("cancelled", true), None, Some(json!({}))] {
        assert!(matches!(judge(refused.clone()), Err(Refused::Vote { .. })), "{refused:?}");
    }
    assert!(person().judge(VOTE, &vote, None).is_ok(), "nobody could be asked");
    let other = json!({ "feature": "at://did:web:node.example/co.kendev.content.tool/3k" });
    assert!(matches!(person().judge(VOTE, &other, None), Err(Refused::Vote { .. })));
    assert_eq!(crate::tenants::Plan::ALL.map(crate::tenants::Plan::vote_weight), [1, 2, 2, 3, 3, 3]);
}

#[test]
fn a_form_says_how_often_it_was_filled_in() {
    let of = |counts: Counts| figured("co.kendev.content.formSettings", &json!({}), &counts);
    let known = Counts { submissions: Some(7), completion_seconds: Some(90), ..Counts::default() };
    assert_eq!(of(known), json!({ "analytics": { "submissions": 7, "averageCompletionTime": 90 } }));
    let untimed = Counts { completion_seconds: None, ..known };
    assert_eq!(of(untimed), json!({ "analytics": { "submissions": 7 } }));
    let seen = |views: u64, answered: u64| {
        let seen = Counts { views: Some(views), views_answered: Some(answered), ..Counts::default() };
        of(seen)["analytics"].clone()
    };
    assert_eq!(seen(8, 3), json!({ "views": 8, "conversionRate": 3750 }));
    assert_eq!(seen(8, 0), json!({ "views": 8, "conversionRate": 0 }));
    assert_eq!(seen(0, 0), json!({ "views": 0 }), "what divides by nothing is absent");
    assert_eq!(seen(2, 3), json!({ "views": 2 }), "a share beyond the whole is none");
    assert_eq!(of(Counts::default()), json!({}));
}

#[test]
fn a_person_has_karma_and_from_a_thousand_on_is_an_angel() {
    let of = |karma| {
        let counts = Counts { karma, ..Counts::default() };
        figured("co.kendev.people.profile", &json!({}), &counts)
    };
    assert_eq!(of(Some(0)), json!({ "karma": { "score": 0, "guardianAngelStatus": false } }));
    assert_eq!(of(Some(999)), json!({ "karma": { "score": 999, "guardianAngelStatus": false } }));
    assert_eq!(of(Some(1000)), json!({ "karma": { "score": 1000, "guardianAngelStatus": true } }));
    assert_eq!(of(None), json!({}), "what was not added up is not nothing");
}

#[test]
fn every_figure_is_somebodys() {
    let all: BTreeSet<(String, String)> = Flags::builtin()
        .collections
        .iter()
        .flat_map(|(collection, rules)| rules.view_only.iter().map(|field| (collection.to_string(), field.to_string())))
        .collect();
    // Such records and counts as let every figure be computed.
    let counts = Counts {
        tasks: Some(2),
        tasks_done: Some(1),
        minutes: Some(30),
        votes: Some(3),
        submissions: Some(4),
        completion_seconds: Some(5),
        views: Some(8),
        views_answered: Some(2),
        karma: Some(6),
    };
    let record = json!({
        "metrics": { "impressions": 9, "clicks": 3, "conversions": 1, "leads": 1, "revenue": 1 },
        "budget": { "spentBudget": 2 },
    });
    let mut computed = BTreeSet::new();
    for rule in TABLE {
        let made = Value::Map(figures(rule.collection, &value(&record), &counts));
        let Value::Map(made) = &made else { continue };
        for (object, inner) in made {
            let Value::Map(inner) = inner else { panic!("{}: {object} is no object", rule.collection) };
            computed.extend(inner.keys().map(|name| (rule.collection.to_owned(), format!("{object}.{name}"))));
        }
    }
    let unknown: Vec<_> = computed.difference(&all).collect();
    assert!(unknown.is_empty(), "no fields of views: {unknown:?}");
    let pairs = |collection: &str, names: &[&str]| -> Vec<(String, String)> {
        names.iter().map(|name| (collection.to_owned(), (*name).to_owned())).collect()
    };
    let mut listed: Vec<_> = ROWS.iter().flat_map(|(collection, names, _)| pairs(collection, names)).collect();
    for (_, waiting) in UNCOUNTED {
        listed.extend(waiting.iter().flat_map(|(collection, names)| pairs(collection, names)));
    }
    let count = listed.len();
    let listed: BTreeSet<_> = listed.into_iter().collect();
    assert_eq!(listed.len(), count, "a field is on the lists twice");
    let twice: Vec<_> = listed.intersection(&computed).collect();
    assert!(twice.is_empty(), "the table computes these, so they are on no list: {twice:?}");
    let somebodys: BTreeSet<_> = listed.union(&computed).cloned().collect();
    assert_eq!(somebodys, all, "neither computed nor listed, or listed and none of the views'");
    println!("{} fields of views: {} by the table, {} by others or nobody", all.len(), computed.len(), listed.len());
}
