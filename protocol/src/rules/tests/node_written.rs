//! Every field that is the node's is written by a rule, by a procedure that is named here, or by nobody yet: a new one
//! cannot be forgotten.

use std::collections::BTreeSet;

use super::*;
use crate::business::customer;
use crate::data::{cbor, record_from_json};
use crate::lexicon::generate::Generator;
use crate::membership::NodeRecord;
use crate::tenants::{Allowance, TenantStatus};

/// Fields that a method writes, which sees more than the record, and the method.
const PROCEDURES: &[(&str, &[&str], &str)] = &[
    (
        "co.kendev.business.order",
        &[
            "orderNumber",
            "status",
            "lineItems[].unitPrice",
            "lineItems[].productSnapshot",
            "commission.rate",
            "paymentStatus",
            "fulfillment.status",
        ],
        "co.kendev.business.createOrder",
    ),
    (
        "co.kendev.business.order",
        &["paymentDetails.transactionId", "paymentDetails.last4"],
        "co.kendev.business.capturePayment",
    ),
    ("co.kendev.business.order", &["paymentDetails.refundedAmount"], "co.kendev.business.refundOrder"),
    ("co.kendev.business.lead", &["lastActivityAt"], "co.kendev.business.logActivity"),
    (
        "co.kendev.business.campaign",
        &[
            "metrics.impressions",
            "metrics.clicks",
            "metrics.conversions",
            "metrics.leads",
            "metrics.sales",
            "metrics.revenue",
        ],
        "co.kendev.business.enterMetrics",
    ),
    ("co.kendev.content.formSubmission", &["completionSeconds", "lead", "copied"], "co.kendev.content.submitForm"),
    ("co.kendev.people.recognition", &["anomaly"], "co.kendev.people.recognise"),
    ("co.kendev.people.recognition", &["revokedAt", "revokedBy"], "co.kendev.people.revokeRecognition"),
];

/// The node's own record, which [`NodeRecord`] makes.
const NODE: (&str, &[&str]) = (
    crate::membership::COLLECTION,
    &[
        "atProtocolDID",
        "status",
        "resources.currentTenants",
        "peerId",
        "listenAddresses",
        "softwareVersion",
        "federationKey",
    ],
);

/// What is known about members as customers: written by the node when it sees orders, answers to forms, appointments and leads
/// in the event log, and who set a tier, by the rule that sees a client write one.
const CUSTOMER: (&str, &[&str]) = (
    crate::business::MEMBER_CRM,
    &["crmData.leadScore", "crmData.tierSetBy", "crmData.lastInteraction", "crmData.conversionEvents"],
);

/// Fields of a collection.
type Fields = (&'static str, &'static [&'static str]);

/// Fields that nothing computes yet, by what they wait for. Clients cannot write them either.
const NOBODY: &[(&str, &[Fields])] = &[
    (
        "the engine that finds things out",
        &[
            ("co.kendev.agents.insight", &["type", "facts", "acted", "actions", "trigger"]),
            ("co.kendev.agents.job", &["output", "error", "insight"]),
        ],
    ),
    (
        "an AI provider",
        &[
            ("co.kendev.business.document", &["processing.extractedText", "processing.summary"]),
            (
                "co.kendev.spaces.messageInsight",
                &[
                    "businessIntelligence.sentiment",
                    "businessIntelligence.intent",
                    "businessIntelligence.entities",
                    "businessIntelligence.confidence",
                    "businessIntelligence.suggestedActions",
                    "businessIntelligence.customerJourney",
                    "businessIntelligence.workflow",
                ],
            ),
            ("co.kendev.spaces.spaceSettings", &["monetization.aiOptVersion", "monetization.aiOptFactors"]),
        ],
    ),
    (
        "nothing: they are computed when somebody asks (`co.kendev.spaces.getMessageInsight`)",
        &[("co.kendev.spaces.messageInsight", &["businessIntelligence.leadScore", "businessIntelligence.department"])],
    ),
    (
        "links to services outside",
        &[
            ("co.kendev.agents.socialChannel", &["followers", "status"]),
            ("co.kendev.content.postSettings", &["syndicationResults"]),
            ("co.kendev.tenants.integration", &["expiresAt", "status", "lastSyncAt", "lastError"]),
        ],
    ),
    (
        "payments, subscriptions and taxes",
        &[
            ("co.kendev.business.appointment", &["payment.stripePaymentIntentId"]),
            ("co.kendev.business.donation", &["transactionId"]),
            ("co.kendev.business.invoice", &["taxAmount"]),
            ("co.kendev.business.order", &["taxAmount", "shippingAmount", "discountAmount"]),
            (
                "co.kendev.spaces.membership",
                &["subscription.plan", "subscription.status", "subscription.nextBilling", "subscription.amount"],
            ),
            (
                "co.kendev.tenants.management",
                &["billing.monthlyRevenue", "billing.nextBillingDate", "billing.paymentStatus"],
            ),
            (
                "co.kendev.tenants.settings",
                &[
                    "subscription.status",
                    "subscription.currentPeriodStart",
                    "subscription.currentPeriodEnd",
                    "subscription.stripeCustomerId",
                ],
            ),
        ],
    ),
    (
        "a method that sends invoices, counts them and says when they are due",
        &[("co.kendev.business.invoice", &["invoiceNumber", "dueDate", "document"])],
    ),
    (
        "calendars, reminders and ratings",
        &[("co.kendev.business.appointment", &["feedback.attendeeRating", "calendarEventId", "remindersSent"])],
    ),
    (
        "a method that makes one record of another",
        &[
            ("co.kendev.business.opportunity", &["lead", "dates.lastContactDate", "order"]),
            ("co.kendev.people.connection", &["thread"]),
            ("co.kendev.people.pointsEntry", &["action", "cause"]),
            (
                "co.kendev.spaces.spaceSettings",
                &["migrationStatus.jsonMigrated", "migrationStatus.migratedAt", "migrationStatus.migrationVersion"],
            ),
        ],
    ),
    ("web chats", &[("co.kendev.agents.webChatSession", &["sessionId", "channel", "handedOffTo", "lead"])]),
    (
        "work on pictures and films",
        &[("co.kendev.content.media", &["width", "height", "sizes", "duration", "exifRemoved"])],
    ),
    (
        "a private record of each person",
        &[(
            "co.kendev.people.account",
            &[
                "roles",
                "karma.contributionTypes",
                "lastLoginAt",
                "verified",
                "proofOfHumanity",
                "onboarding.completedAt",
                "onboarding.guidelinesAcceptedAt",
            ],
        )],
    ),
    (
        "records of what the node keeps in rows and in its ledger",
        &[
            (
                "co.kendev.network.migration",
                &[
                    "status",
                    "phase",
                    "startedAt",
                    "completedAt",
                    "dataSize",
                    "migrationLog",
                    "sourceRoot",
                    "targetRoot",
                ],
            ),
            ("co.kendev.network.tenantDistribution", &["primaryNode", "backupNodes", "epoch"]),
            (
                "co.kendev.network.tokenBalance",
                &[
                    "currentBalance",
                    "balanceBreakdown.karmaRewards",
                    "balanceBreakdown.peerRecognition",
                    "balanceBreakdown.systemGrants",
                    "balanceBreakdown.crossTenantEarnings",
                    "balanceBreakdown.nodeRewards",
                    "balanceBreakdown.justiceContributions",
                    "transactionSummary.totalEarned",
                    "transactionSummary.totalSpent",
                    "transactionSummary.transactionCount",
                    "transactionSummary.lastTransactionAt",
                    "reputation.humanWorthScore",
                    "reputation.contributionLevel",
                    "reputation.trustRating",
                    "reputation.networkInfluence",
                    "governance.stakedTokens",
                    "governance.votingPower",
                    "governance.proposalsVoted",
                    "crossNetworkBalances",
                    "security.lastVerified",
                    "security.verificationHash",
                    "security.anomalyFlags",
                    "lastUpdated",
                ],
            ),
            (
                "co.kendev.network.tokenTransaction",
                &[
                    "transactionId",
                    "humanWorthMetrics.proofOfHumanity",
                    "humanWorthMetrics.impactScore",
                    "humanWorthMetrics.witnessCount",
                    "exchangeDetails.exchangeRate",
                    "exchangeDetails.networkFee",
                    "exchangeDetails.crossNodeExchange",
                    "consensus.validatorNodes",
                    "consensus.consensusReached",
                    "consensus.validationTimestamp",
                    "consensus.proofOfHumanWorth",
                    "status",
                    "processedAt",
                    "confirmedAt",
                    "failureReason",
                    "reverses",
                    "blockchainData.blockHash",
                    "blockchainData.transactionHash",
                    "blockchainData.gasUsed",
                    "blockchainData.networkId",
                ],
            ),
            ("co.kendev.spaces.membership", &["invitedBy", "invitationStatus", "joinedAt"]),
            ("co.kendev.tenants.management", &["tenant", "provisioning.isProvisioned", "provisioning.provisioningLog"]),
            (
                "co.kendev.tenants.membership",
                &[
                    "joinedAt",
                    "invitedBy",
                    "invitationDetails.invitationToken",
                    "invitationDetails.invitationExpiresAt",
                ],
            ),
            (
                "co.kendev.tenants.usage",
                &["month", "tasks", "posts", "emails", "apiCalls", "orders", "storageUsed", "aiCost", "closed"],
            ),
        ],
    ),
];

/// How many records of a collection are looked at to see a field written: what is written depends on what is there.
const SEEDS: u64 = 60;

type Field = (String, String);

fn fields<'a>(collection: &str, fields: &'a [&str]) -> impl Iterator<Item = Field> + use<'a> {
    let collection = collection.to_owned();
    fields.iter().map(move |field| (collection.clone(), (*field).to_owned()))
}

#[test]
fn every_field_of_the_nodes_is_somebodys() {
    let mut all: BTreeSet<Field> = BTreeSet::new();
    let mut by_rule: BTreeSet<Field> = BTreeSet::new();
    for (collection, rules) in &Flags::builtin().collections {
        for field in &rules.node_written {
            let name = (collection.to_string(), field.to_string());
            // Of every collection alike; another test watches it.
            if field.to_string() == "updatedAt" {
                continue;
            }
            if table::of(collection).is_some_and(|rule| rule.fill.is_some()) && is_written(collection, rules, field) {
                by_rule.insert(name.clone());
            }
            all.insert(name);
        }
    }
    let mut listed: Vec<Field> = fields(NODE.0, NODE.1).chain(fields(CUSTOMER.0, CUSTOMER.1)).collect();
    for (collection, names, method) in PROCEDURES {
        assert!(Schemas::builtin().method(method).is_some(), "{method} is no method");
        listed.extend(fields(collection, names));
    }
    for (_, waiting) in NOBODY {
        listed.extend(waiting.iter().flat_map(|(collection, names)| fields(collection, names)));
    }
    let count = listed.len();
    let listed: BTreeSet<Field> = listed.into_iter().collect();
    assert_eq!(listed.len(), count, "a field is on the lists twice");
    let unknown: Vec<_> = listed.difference(&all).collect();
    assert!(unknown.is_empty(), "no fields of the node's: {unknown:?}");
    let forgotten: Vec<_> = all.iter().filter(|field| !listed.contains(*field) && !by_rule.contains(*field)).collect();
    assert!(
        forgotten.is_empty(),
        "no rule writes these, no procedure does, and they are not on the list: {forgotten:?}"
    );
    let written: Vec<_> = listed.intersection(&by_rule).collect();
    assert!(written.is_empty(), "rules write these, so they are on no list: {written:?}");
    println!("{} fields: {} by rules, {} by others or nobody", all.len(), by_rule.len(), listed.len());
}

/// Whether a rule writes the field into some record that lacks it.
fn is_written(collection: &str, rules: &Collection, field: &FieldPath) -> bool {
    (0..SEEDS).any(|seed| {
        let mut record = refusals::example(collection, rules, Generator::new(seed).record(collection), false);
        refusals::take_away(&mut record, field);
        let mut case = refusals::case(rules).by(By::Node);
        for path in reads(&collection.parse().expect("valid"), &value(&record)) {
            let there = json!({ "productType": "physical", "compliance": { "dataRetention": 30 } });
            case.facts.records.insert(path.to_string(), value(&there));
        }
        case.facts.handle = "own.example".parse().ok();
        case.facts.standing = Some(Standing { allowance: Allowance::default(), status: TenantStatus::Active });
        case.judge(collection, &record, None).is_ok_and(|written| !field.find(&written).is_empty())
    })
}

#[test]
fn the_nodes_own_record_has_what_is_said_of_it() {
    let (collection, names) = NODE;
    let record = record_from_json(&Generator::whole(1).record(collection)).expect("data");
    let read: NodeRecord = serde_ipld_dagcbor::from_slice(&cbor::encode(&record)).expect("a node's record");
    let written = cbor::decode(&serde_ipld_dagcbor::to_vec(&read).expect("DAG-CBOR")).expect("the data model");
    for name in names {
        let field: FieldPath = name.parse().expect("a path");
        assert!(!field.find(&written).is_empty(), "{name} in {written:?}");
    }
}

#[test]
fn what_is_known_of_a_customer_has_what_is_said_of_it() {
    let (collection, names) = CUSTOMER;
    let uri = "at://did:web:own.example/co.kendev.content.formSubmission/3kznmn7xqxl22";
    let filled_in = json!({ "submitter": "did:web:bea.example", "submittedAt": "2026-11-21T09:00:00.000Z" });
    let said = customer::said(crate::business::FORM_SUBMISSION, uri, &value(&filled_in), NOW);
    let key = customer::key(&said[0].person).expect("short enough");
    let mut record = customer::new_record(&did("own"), &key, NOW);
    assert!(customer::add(&mut record, said.into_iter().filter_map(|said| said.event).collect()).is_empty());
    customer::set_score(&mut record, Some(40));
    record.insert("$type".to_owned(), value(&json!(collection)));
    let node = private(tenant()).by(By::Node).judge(collection, &to_json(&Value::Map(record)), None).expect("fits");
    let mut by_hand = node.clone();
    by_hand["crmData"]["customerTier"] = "vip".into();
    let staff = private(tenant()).judge(collection, &by_hand, Some(&node)).expect("fits");
    for name in names {
        let field: FieldPath = name.parse().expect("a path");
        assert!(!field.find(&staff).is_empty(), "{name} in {staff:#}");
    }
    Schemas::builtin().record(collection).expect("shipped").validate(&staff).expect("valid");
}
