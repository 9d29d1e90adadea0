//! What single rules compute, held against the numbers of the specification.

use super::*;
use crate::business::order::{self, Step};
use crate::tenants::{Allowance, Plan, Resource, TenantStatus};

/// As the node writes it.
fn written(collection: &str, record: &Json, before: Option<&Json>) -> Json {
    private(tenant()).by(By::Node).judge(collection, record, before).expect("fits")
}

/// As a method writes it.
fn by_method(collection: &str, record: &Json, before: Option<&Json>) -> Result<Json, Refused> {
    private(tenant()).by(By::Procedure).judge(collection, record, before)
}

const ORDER: &str = "co.kendev.business.order";

fn order(kind: &str) -> Json {
    json!({ "status": "pending", "paymentStatus": "pending", "fulfillment": { "method": "pickup" },
        "lineItems": [{ "quantity": 3, "unitPrice": 4115 }], "commission": { "rate": 1500 },
        "revenueDistribution": { "baseKind": kind } })
}

/// The order after a step, as it is stored.
fn step(before: &Json, step: Step) -> Json {
    let Value::Map(mut map) = value(before) else { panic!("a map") };
    order::take(&mut map, step).expect("may be done now");
    by_method(ORDER, &to_json(&Value::Map(map)), Some(before)).expect("fits")
}

fn shares(order: &Json) -> [i64; 5] {
    let shared = &order["revenueDistribution"];
    ["base", "aiPartner", "humanPartner", "platformOperations", "justiceFund"]
        .map(|part| shared[part].as_i64().unwrap_or_default())
}

#[test]
fn what_is_shared_out_is_said_when_an_order_is_placed_and_shared_when_it_is_paid() {
    let placed = by_method(ORDER, &order("order_net"), None).expect("fits");
    assert_eq!(shares(&placed), [12_345, 0, 0, 0, 0]);
    assert_eq!(placed["commission"]["amount"], 1852, "half a unit is rounded up: 1851.75");
    assert!(placed["revenueDistribution"].get("calculatedAt").is_none(), "nothing is shared out yet");
    let paid = step(&placed, Step::Capture);
    assert_eq!(shares(&paid), [12_345, 1852, 3704, 6172, 617]);
    assert_eq!(paid["revenueDistribution"]["calculatedAt"], NOW.to_string());
    assert_eq!(paid["paymentDetails"]["paymentProcessedAt"], NOW.to_string());
    let back = step(&paid, Step::Refund(Some(2345)));
    assert_eq!(shares(&back), [10_000, 1500, 3000, 5000, 500]);
    assert_eq!(
        (&back["commission"]["amount"], &back["paymentDetails"]["refundedAmount"]),
        (&json!(1500), &json!(2345))
    );
    assert_eq!(shares(&step(&back, Step::Refund(None))), [0; 5]);

    let off = step(&placed, Step::Cancel);
    assert!(off.get("revenueDistribution").is_none(), "what was never paid is not shared out: {off}");
    assert!(off["commission"].get("amount").is_none(), "{off}");
}

#[test]
fn of_the_platforms_fee_a_refund_takes_the_same_part_as_of_the_goods() {
    let placed = by_method(ORDER, &order("platform_fee"), None).expect("fits");
    assert_eq!((shares(&placed)[0], &placed["commission"]["amount"]), (1852, &json!(1852)));
    let paid = step(&placed, Step::Capture);
    assert_eq!(shares(&paid), [1852, 278, 555, 926, 93], "15, 30, 50 and 5 of a hundred of the fee");
    // More can be given back than was shared out: it is the goods that are given back.
    let back = step(&paid, Step::Refund(Some(10_345)));
    assert_eq!((shares(&back)[0], &back["commission"]["amount"]), (300, &json!(300)), "15 of a hundred of 2000");
    let Value::Map(mut map) = value(&back) else { panic!("a map") };
    assert!(order::take(&mut map, Step::Refund(Some(2001))).is_err());
    let all = step(&back, Step::Refund(Some(2000)));
    assert_eq!((shares(&all), &all["commission"]["amount"]), ([0; 5], &json!(0)));
    assert_eq!(all["paymentDetails"]["refundedAmount"], 12_345);
    // What was said when it was placed stays.
    let unsaid = step(&by_method(ORDER, &order("sundial"), None).expect("fits"), Step::Capture);
    assert_eq!(unsaid["revenueDistribution"]["baseKind"], "order_net");
}

#[test]
fn appointments_pay_when_they_are_over_and_paid() {
    let booked = json!({ "appointmentType": "consultation", "revenueTracking": { "source": "pickup_job" },
        "payment": { "required": true, "amount": 10_000, "currency": "EUR" } });
    let first = written("co.kendev.business.appointment", &booked, None);
    assert_eq!((&first["status"], &first["payment"]["paymentStatus"]), (&json!("scheduled"), &json!("pending")));
    assert_eq!(first["revenueTracking"]["commissionRate"], 400);
    let mut later = first.clone();
    later["status"] = json!("completed");
    let unpaid = written("co.kendev.business.appointment", &later, Some(&first));
    assert!(unpaid["revenueTracking"].get("commissionAmount").is_none(), "{unpaid}");
    later["payment"]["paymentStatus"] = json!("paid");
    let done = written("co.kendev.business.appointment", &later, Some(&first));
    assert_eq!(done["revenueTracking"]["commissionAmount"], json!({ "amount": 400, "currency": "EUR" }));
    let free = json!({ "appointmentType": "auto_repair", "revenueTracking": { "source": "repeat_customer" } });
    let free = written("co.kendev.business.appointment", &free, None);
    assert_eq!((&free["status"], &free["revenueTracking"]["commissionRate"]), (&json!("confirmed"), &json!(800)));
    let asks =
        json!({ "bookingSettings": { "requireConfirmation": true }, "revenueTracking": { "source": "pickup_job" } });
    assert_eq!(written("co.kendev.business.appointment", &asks, None)["status"], "scheduled");
}

#[test]
fn invoices_add_up_and_stay_once_they_were_sent() {
    const INVOICE: &str = "co.kendev.business.invoice";
    let line = |price: i64| json!({ "description": "work", "quantity": 3, "unitPrice": price });
    let draft = private(tenant()).judge(INVOICE, &json!({ "currency": "EUR", "lines": [line(100), line(50)] }), None);
    let draft = draft.expect("fits");
    assert_eq!(
        (&draft["subtotal"], &draft["totalAmount"], &draft["amountPaid"], &draft["status"]),
        (&json!(450), &json!(450), &json!(0), &json!("draft"))
    );
    assert_eq!(draft["lines"][1]["totalPrice"], 150);
    let mut wrong = json!({ "lines": [line(100)] });
    wrong["lines"][0]["totalPrice"] = json!(1);
    let refused = private(tenant()).judge(INVOICE, &wrong, None);
    assert_eq!(refused, Err(Refused::Amount { path: "/lines/0/totalPrice".to_owned() }));

    let mut sent = draft.clone();
    sent["status"] = json!("sent");
    let sent = written(INVOICE, &sent, Some(&draft));
    assert_eq!(sent["issuedAt"], NOW.to_string());
    let mut changed = sent.clone();
    changed["lines"] = json!([line(1)]);
    let refused = private(tenant()).judge(INVOICE, &changed, Some(&sent));
    assert_eq!(refused, Err(Refused::Sent { path: "/lines".to_owned() }));
    let mut paid = sent.clone();
    paid["status"] = json!("paid");
    let paid = written(INVOICE, &paid, Some(&sent));
    assert_eq!((&paid["amountPaid"], &paid["paidAt"]), (&json!(450), &json!(NOW.to_string())));
}

const SETTINGS: &str = "co.kendev.business.productSettings";

fn of_product() -> Json {
    json!({ "product": "at://did:web:own.example/co.kendev.business.product/3k" })
}

#[test]
fn a_products_rate_follows_from_its_type() {
    let record = of_product();
    let named = reads(&SETTINGS.parse().expect("valid"), &value(&record));
    let named: Vec<_> = named.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["co.kendev.business.product/3k", "co.kendev.tenants.settings/self"]);
    let with = |kind: &str, before: Option<&Json>| {
        let mut case = private(tenant());
        let sharing = json!({ "revenueSharing": { "defaultRate": 2100 } });
        case.facts.records.insert(named[0].clone(), value(&json!({ "productType": kind })));
        case.facts.records.insert(named[1].clone(), value(&sharing));
        case.judge(SETTINGS, &record, before).expect("fits")["commissionTemplate"].clone()
    };
    assert_eq!(with("consultation_solo", None), json!({ "defaultRate": 800, "rationale": "expert time is the value" }));
    let before =
        json!({ "product": record["product"], "commissionTemplate": { "defaultRate": 800, "rationale": "x" } });
    assert_eq!(with("automation", Some(&before))["defaultRate"], 2000, "whenever the type is another");
    assert_eq!(with("sundial", None)["defaultRate"], 2100, "the tenant's, for an unknown type");
    let unknown = private(tenant()).judge(SETTINGS, &record, Some(&before)).expect("fits");
    assert_eq!(unknown["commissionTemplate"], before["commissionTemplate"], "a product that is not there says nothing");
}

#[test]
fn low_rates_are_set_by_super_admins_alone() {
    let with = |rate: i64| {
        let mut record = of_product();
        record["commission"] = json!({ "useCustomRate": false, "customCommissionRate": rate });
        record
    };
    let path = "/commission/customCommissionRate".to_owned();
    let judge = |record: &Json, before: Option<&Json>| private(tenant()).judge(SETTINGS, record, before);
    assert!(judge(&with(800), None).is_ok() && judge(&with(3000), None).is_ok());
    let low = Refused::LowRate { path: path.clone(), least: 800 };
    assert_eq!(judge(&with(799), None), Err(low.clone()));
    for outside in [3001, -1] {
        assert_eq!(judge(&with(outside), None), Err(Refused::Rate { path: path.clone(), least: 0, most: 3000 }));
    }
    let mut admin = private(tenant());
    admin.facts.super_admin = true;
    let set = admin.judge(SETTINGS, &with(0), None).expect("may");
    let mut used = with(0);
    used["commission"]["useCustomRate"] = json!(true);
    assert!(judge(&used, Some(&set)).is_ok(), "what a super admin set is used by others");
    assert_eq!(judge(&with(1), Some(&set)), Err(low), "and not changed");
}

#[test]
fn an_agreement_is_within_its_bounds_and_names_its_contract() {
    let judge = |sharing: Json| {
        let settings = json!({ "revenueSharing": sharing });
        private(tenant()).judge("co.kendev.tenants.settings", &settings, None)
    };
    let path = "/revenueSharing/defaultRate".to_owned();
    for outside in [799, 3001] {
        let refused = Refused::Rate { path: path.clone(), least: 800, most: 3000 };
        assert_eq!(judge(json!({ "defaultRate": outside })), Err(refused));
    }
    for kind in ["negotiated", "performance"] {
        let refused = Refused::NoContract { path: "/revenueSharing/contractId".to_owned() };
        assert_eq!(judge(json!({ "agreementType": kind, "contractId": " " })), Err(refused));
        assert!(judge(json!({ "agreementType": kind, "contractId": "c-1", "defaultRate": 800 })).is_ok());
    }
    assert!(judge(json!({ "agreementType": "standard" })).is_ok());
}

#[test]
fn a_tenants_settings_say_what_its_plan_gives() {
    let of = |plan: Plan, status: TenantStatus| {
        let mut case = private(tenant());
        let limits = [(Resource::Users, 7)].into();
        let allowance = Allowance { plan, limits, ..Allowance::default() };
        case.facts.standing = Some(Standing { allowance, status });
        case.judge("co.kendev.tenants.settings", &json!({}), None).expect("fits")
    };
    let free = of(Plan::Free, TenantStatus::Trial);
    assert_eq!(free["limits"], json!({ "maxUsers": 7, "maxSpaces": 3, "maxStorage": 500, "maxApiCalls": 10_000 }));
    assert_eq!((&free["settings"]["customBranding"], &free["status"]), (&json!(false), &json!("active")));
    let business = of(Plan::Business, TenantStatus::Suspended);
    assert_eq!(
        (&business["subscription"]["plan"], &business["settings"]["customBranding"], &business["status"]),
        (&json!("professional"), &json!(true), &json!("suspended"))
    );
    let custom = of(Plan::Custom, TenantStatus::Active);
    assert_eq!(custom["limits"], json!({ "maxUsers": 7 }), "what is by contract has no number here");
}

#[test]
fn between_people_the_node_says_who_when_and_how_much() {
    let by_person = |record: &Json, collection: &str, before: Option<&Json>| {
        private(person()).by(By::Procedure).judge(collection, record, before).expect("fits")
    };
    let connection = by_person(&json!({}), "co.kendev.people.connection", None);
    assert_eq!((&connection["from"], &connection["status"]), (&json!(did("own")), &json!("initiated")));
    let done = by_person(&json!({ "status": "completed" }), "co.kendev.people.connection", Some(&connection));
    assert_eq!((&done["acceptedAt"], &done["completedAt"]), (&json!(NOW.to_string()), &json!(NOW.to_string())));
    assert!(done.get("declinedAt").is_none());
    let declined = by_person(&json!({ "status": "declined" }), "co.kendev.people.connection", None);
    assert!(declined["declinedAt"].is_string() && declined.get("acceptedAt").is_none());

    for (kind, points) in [
        ("helpful_response", 20),
        ("quality_content", 10),
        ("community_leadership", 25),
        ("technical_excellence", 25),
        ("guardian_angel_action", 50),
    ] {
        let record = json!({ "toUser": did("bea"), "tenant": did("own"), "type": kind });
        let by_business = |record: &Json, before: Option<&Json>| {
            let case = private(tenant()).by(By::Procedure);
            case.judge("co.kendev.people.recognition", record, before).expect("fits")
        };
        let mut given = by_business(&record, None);
        assert_eq!((&given["points"], &given["awardedBy"]), (&json!(points), &json!(did("author"))), "{kind}");
        assert_eq!(given["awardedAt"], NOW.to_string());
        given["awardedAt"] = json!("2026-01-01T00:00:00.000Z");
        given["anomaly"] = json!("reciprocal_recognition");
        let odd = by_business(&given, Some(&given));
        assert_eq!((&odd["points"], &odd["awardedAt"]), (&json!(0), &given["awardedAt"]), "{kind}");
    }
    let entry = |record: Json| private(person()).by(By::Node).judge("co.kendev.people.pointsEntry", &record, None);
    for (action, points, category) in [
        ("respond_ask", 15, "giving"),
        ("complete_help", 25, "giving"),
        ("helpful_rating", 20, "giving"),
        ("give_feedback", 10, "giving"),
        ("beta_test", 15, "giving"),
        ("ask_responded", 5, "receiving"),
        ("add_offer", 10, "building"),
        ("complete_onboarding", 25, "community"),
    ] {
        let made = entry(json!({ "action": action })).expect("fits");
        assert_eq!((&made["points"], &made["category"]), (&json!(points), &json!(category)), "{action}");
    }
    let undone = entry(json!({ "action": "add_offer", "points": -10 })).expect("fits");
    assert_eq!(undone["points"], -10, "what is taken back says so itself");
}

#[test]
fn a_form_says_how_long_answers_are_kept() {
    const SUBMISSION: &str = "co.kendev.content.formSubmission";
    let form = "at://did:web:own.example/co.kendev.content.form/3k";
    let record = json!({ "form": { "uri": form, "cid": "c" } });
    let mut case = private(tenant()).by(By::Procedure);
    let kept = json!({ "compliance": { "dataRetention": 30 } });
    case.facts.records.insert("co.kendev.content.form/3k".to_owned(), value(&kept));
    let made = case.judge(SUBMISSION, &record, None).expect("fits");
    let until = Timestamp::from_millis(NOW.as_millis() + 30 * 24 * 3600 * 1000);
    assert_eq!((&made["submittedAt"], &made["deleteAfter"]), (&json!(NOW.to_string()), &json!(until.to_string())));
    assert_eq!(made["status"], "received");
    let mut given = made.clone();
    given["assignedTo"] = json!(did("bea"));
    assert_eq!(case.judge(SUBMISSION, &given, Some(&made)).expect("fits")["status"], "assigned");
    let endless = json!({ "compliance": { "dataRetention": i64::MAX } });
    case.facts.records.insert("co.kendev.content.form/3k".to_owned(), value(&endless));
    assert!(case.judge(SUBMISSION, &record, None).expect("fits").get("deleteAfter").is_none(), "that is never");
}

#[test]
fn jobs_insights_documents_and_the_rest_say_when() {
    let now = json!(NOW.to_string());
    let job = private(tenant()).judge("co.kendev.agents.job", &json!({ "title": "x" }), None).expect("fits");
    assert_eq!(
        (&job["status"], &job["attempts"], &job["createdBy"]),
        (&json!("PENDING"), &json!(0), &json!(did("author")))
    );
    let begun = written("co.kendev.agents.job", &json!({ "status": "IN_PROGRESS" }), Some(&job));
    assert_eq!((&begun["startedAt"], begun.get("completedAt")), (&now, None));
    assert_eq!(written("co.kendev.agents.job", &json!({ "status": "FAILED" }), Some(&begun))["completedAt"], now);
    for (kind, confidence) in [("stale_leads", 9000), ("low_content_output", 8000), ("task_backlog", 8500)] {
        let insight = written("co.kendev.agents.insight", &json!({ "type": kind }), None);
        assert_eq!((&insight["confidence"], &insight["runAt"]), (&json!(confidence), &now));
    }
    let chat = written("co.kendev.agents.webChatSession", &json!({}), None);
    assert_eq!((&chat["status"], &chat["startedAt"], chat.get("endedAt")), (&json!("open"), &now, None));
    let closed = written("co.kendev.agents.webChatSession", &json!({ "status": "closed" }), Some(&chat));
    assert_eq!(closed["endedAt"], now);

    let document = |file: &str| json!({ "file": file });
    let first = written("co.kendev.business.document", &document("a"), None);
    assert_eq!((&first["version"], &first["processing"]["status"]), (&json!(1), &json!("none")));
    assert_eq!(written("co.kendev.business.document", &document("a"), Some(&first))["version"], 1);
    assert_eq!(written("co.kendev.business.document", &document("b"), Some(&first))["version"], 2);
    let backup = written("co.kendev.agents.agentSettings", &json!({ "personalityBackup": "m" }), None);
    assert_eq!(backup["backedUpAt"], now);
    let given = written("co.kendev.business.donation", &json!({}), None);
    assert_eq!((&given["paymentStatus"], given.get("receivedAt")), (&json!("pending"), None));
    assert_eq!(
        written("co.kendev.business.donation", &json!({ "paymentStatus": "captured" }), None)["receivedAt"],
        now
    );
    let file = Case::of(Holder::Operator, Place::Permissioned);
    let active = file.judge("co.kendev.tenants.management", &json!({ "status": "active" }), None).expect("fits");
    assert_eq!(active["provisioning"]["provisionedAt"], now);
}

#[test]
fn a_tier_set_by_hand_stays_until_it_is_taken_away() {
    const CUSTOMER: &str = "co.kendev.spaces.memberCrm";
    let by_staff = |record: &Json, before: &Json| {
        private(tenant()).judge(CUSTOMER, record, Some(before)).expect("fits")["crmData"].clone()
    };
    let event = json!({ "event": "order.captured", "timestamp": "2026-11-21T09:00:00.000Z" });
    let first = written(CUSTOMER, &json!({ "crmData": { "leadScore": 7 } }), None);
    assert_eq!(first["crmData"], json!({ "leadScore": 7, "customerTier": "lead" }));
    assert_eq!(written(CUSTOMER, &json!({}), None)["crmData"]["customerTier"], "prospect", "by default");

    // What staff write beside it leaves it to follow from what happens.
    let mut tagged = json!({ "crmData": { "tags": ["tall"], "customerTier": "lead" } });
    let expected = json!({ "leadScore": 7, "customerTier": "lead", "tags": ["tall"] });
    assert_eq!(by_staff(&tagged, &first), expected);
    let mut paid = json!({ "crmData": expected });
    paid["crmData"]["conversionEvents"] = json!([event]);
    let paid = written(CUSTOMER, &paid, Some(&first));
    assert_eq!(paid["crmData"]["customerTier"], "customer");

    // What they set stays, whatever happens, and says who did; without it, what happened counts again.
    tagged["crmData"]["customerTier"] = "friend".into();
    let set = json!({ "crmData": by_staff(&tagged, &paid) });
    assert_eq!(
        (&set["crmData"]["customerTier"], &set["crmData"]["tierSetBy"]),
        (&json!("friend"), &json!(did("author")))
    );
    let mut more = set.clone();
    more["crmData"]["conversionEvents"] = vec![event; 10].into();
    let more = written(CUSTOMER, &more, Some(&set));
    assert_eq!(more["crmData"]["customerTier"], "friend");
    assert_eq!(by_staff(&more, &more)["customerTier"], "friend", "sent back as it was read");
    let again = by_staff(&json!({ "crmData": { "tags": [] } }), &more);
    assert_eq!((&again["customerTier"], again.get("tierSetBy")), (&json!("vip"), None));
}

#[test]
fn a_form_that_means_nothing_is_refused_where_it_is_written() {
    const FORM: &str = "co.kendev.content.form";
    let form = |when: &str| {
        json!({ "$type": FORM, "name": "Quote", "tenant": did("own"), "createdAt": NOW.to_string(), "fields": [
            { "id": "a", "name": "a", "label": "A", "type": "text", "required": true,
                "conditionalLogic": { "showIf": when } },
        ] })
    };
    let judge = |record: &Json, by: By| tenant().by(by).judge(FORM, record, None);
    for by in [By::Client, By::Procedure] {
        assert!(judge(&form("a = b"), by).is_ok());
        let refused = judge(&form("b = b"), by).expect_err("there is no such question");
        assert!(matches!(&refused, Refused::Question { path, .. } if path == "/fields/0/conditionalLogic/showIf"));
        assert!(refused.to_string().starts_with("/fields/0/conditionalLogic/showIf: "), "{refused}");
    }
    assert!(judge(&form("b = b"), By::Node).is_ok(), "what comes as it is stays as it is");
}

#[test]
fn answers_go_to_no_url_that_cannot_be_called() {
    let settings = |action: &str, to: &str| {
        json!({ "form": format!("at://{}/co.kendev.content.form/3kznmn7xqxl22", did("own")), "createdAt": NOW.to_string(),
            "submitAction": { "type": action, "destination": to } })
    };
    let judge = |record: &Json, by: By| private(tenant()).by(by).judge("co.kendev.content.formSettings", record, None);
    assert!(judge(&settings("webhook", "https://hooks.example/x"), By::Client).is_ok());
    assert!(judge(&settings("email", "desk@shop.example"), By::Client).is_ok());
    for to in ["http://hooks.example/x", "https://ada:hush@hooks.example/", "desk@shop.example"] {
        let refused = judge(&settings("webhook", to), By::Client).expect_err("no URL to call");
        assert!(matches!(&refused, Refused::Target { path, .. } if path == "/submitAction/destination"), "{refused}");
        assert!(!refused.to_string().contains("hush"), "{refused}");
        assert!(judge(&settings("webhook", to), By::Node).is_ok(), "what comes as it is stays as it is");
    }
}

#[test]
fn a_lead_has_the_names_that_it_has() {
    let full = |first: &str, last: &str| {
        let lead = json!({ "firstName": first, "lastName": last });
        let judged = private(tenant()).judge("co.kendev.business.lead", &lead, None).expect("fits");
        judged.get("fullName").cloned()
    };
    assert_eq!(full("Ada", "Love"), Some(json!("Ada Love")));
    assert_eq!(full("", "Love"), Some(json!("Love")));
    assert_eq!(full("", ""), None);
}
