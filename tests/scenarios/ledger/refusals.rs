//! What is refused at the door, over HTTP: each by its name and its sentence, on both surfaces alike, and nothing changes.

use std::time::Duration;

use angel_harness::validators::{GRANT, Payment, Validators};
use angel_node::clock;
use angel_protocol::ledger::action::{Cause, PeerRecognition, Quote, Witness};
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::ledger::{Action, Amount, Outcome, Transaction};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

/// Hands a transaction in both ways and compares status, name and sentence.
async fn refused(at: &Validators, payment: &Payment, status: u16, name: &str, outcome: Outcome) -> Result<()> {
    let federation = at.hand_in(0, payment).await?;
    let xrpc = at.call(0, "co.kendev.network.exchangeTokens", None, &payment.body).await?;
    for (found, answer) in [federation, xrpc] {
        ensure!(found == status && answer["error"] == name, "{outcome:?}: {found} {answer:#}");
        let said = answer["message"].as_str().unwrap_or_default();
        ensure!(said.starts_with(outcome.text()), "{outcome:?}: {answer:#}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_transactions_are_refused_by_name_and_change_nothing() -> Result<()> {
    let alone = Validators::start_all(1, 3)?;
    let draft = alone.draft(0, 0, alone.exchange(1, 5));
    let own = |transaction: Transaction| alone.sign(0, &transaction);
    let asking = |action: Action| own(Transaction { action, ..draft.clone() });

    refused(&alone, &alone.payment(0, 1, 0, GRANT + 1), 402, "InsufficientBalance", Outcome::InsufficientBalance)
        .await?;
    refused(&alone, &alone.payment(0, 0, 0, 5), 400, "InvalidTransaction", Outcome::SameWallet).await?;
    refused(&alone, &alone.payment(0, 1, 0, 0), 400, "InvalidTransaction", Outcome::AmountZero).await?;
    let network = "another-net".parse()?;
    let foreign = own(Transaction { network, ..draft.clone() });
    refused(&alone, &foreign, 400, "InvalidTransaction", Outcome::WrongNetwork).await?;
    let late = own(Transaction { expires: clock::now() + Duration::from_hours(30 * 24), ..draft.clone() });
    refused(&alone, &late, 400, "InvalidTransaction", Outcome::ExpiresTooLate).await?;
    let stranger = alone.sign(0, &Transaction { wallet: "did:plc:strangerstrangerstranger".parse()?, ..draft.clone() });
    refused(&alone, &stranger, 400, "InvalidTransaction", Outcome::WalletUnknown).await?;
    let mut nobody = alone.exchange(1, 5);
    nobody.to = "did:plc:nobodynobodynobodynobody".parse()?;
    let nobody = asking(Action::CrossTenantExchange(nobody));
    refused(&alone, &nobody, 400, "InvalidTransaction", Outcome::UnknownReceiver).await?;
    refused(&alone, &alone.sign(1, &draft), 401, "BadSignature", Outcome::BadSignature).await?;

    let now = clock::now();
    let mut quoted = alone.exchange(1, 5);
    quoted.quote = Some(Quote {
        node: alone.daemon(0).fact("did").parse()?,
        issued: now - Duration::from_secs(600),
        expires: now - Duration::from_secs(550),
        rate: 1_000_000,
        fee: 0,
        signature: [0; 64],
    });
    let quoted = asking(Action::CrossTenantExchange(quoted));
    refused(&alone, &quoted, 409, "QuoteExpired", Outcome::QuoteExpired).await?;
    let mut unquoted = alone.exchange(1, 5);
    unquoted.currency = Currency::KarmaPoints;
    let unquoted = asking(Action::CrossTenantExchange(unquoted));
    refused(&alone, &unquoted, 400, "InvalidTransaction", Outcome::QuoteMissing).await?;

    let recognition = |witnesses: Vec<Witness>, impact: u8| {
        Action::PeerRecognition(PeerRecognition {
            to: alone.wallet(1),
            tenant: None,
            amount: Amount::new(1_000).expect("within the supply"),
            cause: Cause { uri: "at://did:plc:someone/app.bsky.feed.post/1".to_owned(), at: now, impact, witnesses },
            reason: String::new(),
        })
    };
    let witness = Witness { account: alone.wallet(2), tenant: None, signature: [7; 64] };
    let forged = asking(recognition(vec![witness], 20));
    refused(&alone, &forged, 400, "InvalidTransaction", Outcome::BadWitnessSignature).await?;
    ensure!(alone.height(0).await? == 0, "nothing was decided");

    // A cause is rewarded once.
    let first = asking(recognition(vec![], 0));
    let (status, answer) = alone.hand_in(0, &first).await?;
    ensure!(status == 202, "{answer:#}");
    ensure!(alone.decided(0, &first).await?["status"] == "confirmed");
    let next = Transaction { sequence: 1, nonce: [1; 16], ..draft.clone() };
    let again = own(Transaction { action: recognition(vec![], 0), ..next.clone() });
    refused(&alone, &again, 400, "InvalidTransaction", Outcome::CauseRewarded).await?;

    // An id is used once, and so is a number.
    let reused = own(Transaction { sequence: 1, ..draft.clone() });
    refused(&alone, &reused, 409, "IdReused", Outcome::IdReused).await?;
    let passed = own(Transaction { sequence: 0, ..next.clone() });
    refused(&alone, &passed, 409, "BadSequence", Outcome::SequencePassed).await?;
    let (_, answer) = alone.hand_in(0, &passed).await?;
    let said = answer["message"].as_str().unwrap_or_default();
    ensure!(answer["expected"] == 1 && said.ends_with("the ledger expects 1"), "{answer:#}");
    let (status, answer) = alone.hand_in(0, &alone.payment(0, 1, 5000, 5)).await?;
    ensure!((status, &answer["error"]) == (409, &Value::from("BadSequence")), "{answer:#}");
    ensure!(alone.height(0).await? == 1, "one was decided");
    ensure!(alone.balance(0, 1).await? == GRANT + 1_000);
    Ok(())
}

#[tokio::test]
async fn what_is_no_transaction_never_gets_as_far_as_the_ledger() -> Result<()> {
    let alone = Validators::start_all(1, 2)?;
    let good = alone.payment(0, 1, 0, 5);
    let bytes = good.signed.bytes();
    // The amount, 5, is written as a number of nine bytes.
    let amount = bytes.windows(7).position(|window| window == b"famount").context("the amount is in there")?;
    let mut other = bytes.to_vec();
    other.splice(amount + 7..=amount + 7, [0x1b, 0, 0, 0, 0, 0, 0, 0, 5]);
    let cut = &bytes[..bytes.len() - 1];
    let longer = [bytes, &[0]].concat();
    for (what, body) in [
        ("no base64", json!({ "transaction": { "$bytes": "*" } })),
        ("written otherwise", json!({ "transaction": { "$bytes": STANDARD_NO_PAD.encode(&other) } })),
        ("cut short", json!({ "transaction": { "$bytes": STANDARD_NO_PAD.encode(cut) } })),
        ("followed by more", json!({ "transaction": { "$bytes": STANDARD_NO_PAD.encode(&longer) } })),
        ("nothing", json!({ "transaction": { "$bytes": "" } })),
        ("longer than any", json!({ "transaction": { "$bytes": STANDARD_NO_PAD.encode(vec![0; 33_000]) } })),
    ] {
        let (status, answer) = alone.call(0, "co.kendev.network.exchangeTokens", None, &body).await?;
        ensure!((400..500).contains(&status) && answer["error"].is_string(), "{what}: {status} {answer:#}");
        let (status, answer) = alone.hand_in(0, &Payment { signed: good.signed.clone(), body }).await?;
        ensure!((400..500).contains(&status) && answer["error"].is_string(), "{what}: {status} {answer:#}");
    }
    ensure!(alone.height(0).await? == 0, "nothing was decided");
    ensure!(alone.hand_in(0, &good).await?.0 == 202, "the good one still is");
    Ok(())
}
