//! Hosts that lie. A node has ended, and somebody speaks with its key to those who host a tenant with it: as a backup that
//! wants to be believed, and as a primary whose copies are to be spoiled. Nothing that the honest have changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use angel_harness::impostor::{Impostor, receive, send};
use angel_harness::tenancy::{COLLECTION, LONG, Tenancy};
use angel_harness::wait::until;
use angel_node::clock;
use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::data::{Block, Cid, Codec, cbor, from_json};
use angel_protocol::firehose;
use angel_protocol::ids::{Did, Tid};
use angel_protocol::ledger::statement;
use angel_protocol::migration::wire as moving;
use angel_protocol::replication::wire::{
    AccountOf, Answer, InFavour, Of, PROTOCOL, Pull, Question, Refusal, Replay, RepoOf, Told, Unseen,
};
use angel_protocol::repo::{Commit, car};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

const PRIMARY: usize = 0;
const LIAR: usize = 1;
const HONEST: usize = 2;

/// Where a copy stands: revision and root.
fn stands(report: &Value) -> Result<(Tid, Cid)> {
    let text = |name: &str| report[name].as_str().context("it has a copy");
    Ok((text("rev")?.parse()?, text("root")?.parse()?))
}

fn now_rev() -> Tid {
    Tid::new(clock::now().as_millis() * 1000, 7)
}

/// A backup that is none any more: what it may ask, what it may not, and that a move to it comes to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_lies_changes_nothing_and_is_moved_nothing() -> Result<()> {
    let mut tenancy = Tenancy::under_load().await?;
    let other = tenancy.sign_up("other").await?.did;
    let caller = tenancy.caller(PRIMARY);
    let (status, body) = caller.write(&caller.log_in().await?, "true", "as it was written").await?;
    ensure!(status == 200, "{status} {body}");
    tenancy.place(false).await?;
    let primary: Did = tenancy.node(PRIMARY).parse()?;
    let target = tenancy.node(LIAR);
    tenancy.validators.kill(LIAR)?;
    let liar = Arc::new(Impostor::of_daemon(&tenancy.validators, &tenancy.validators.dir(LIAR))?);
    let own = liar.key().did();
    ensure!(own.as_str() == target);
    let of = Of { tenant: tenancy.did().parse()?, epoch: 1 };
    let ask = async |question: Question| -> Result<Answer> {
        Ok(Answer::decode(&liar.ask(&primary, PROTOCOL, &question.encode()?).await?)?)
    };

    // It never was primary, so nothing is written in the tenant's name on its word.
    let record = json!({ "$type": COLLECTION, "text": "forged" });
    let record = cbor::encode(&from_json(&record)?);
    let unseen = Unseen {
        space: None,
        path: format!("{COLLECTION}/forged"),
        rev: now_rev(),
        before: None,
        record: Some(record.into()),
    };
    let answer = ask(Question::Replay(Replay { of: of.clone(), writes: vec![unseen] })).await?;
    ensure!(answer == Answer::Refused(Refusal::NotPrimary), "{answer:?}");
    ensure!(!caller.has("forged").await?, "it is not written");
    // The ledger has not decided for it, and what it does not host is none of its business.
    let share = Question::Share(InFavour { tenant: of.tenant.clone(), epoch: 2 });
    let answer = ask(share).await?;
    ensure!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    let foreign = Of { tenant: other.parse()?, epoch: 1 };
    let recipient = String::from("age1");
    let account = AccountOf {
        of: foreign.clone(),
        recipient: recipient.clone(),
        signing_key: own.clone(),
        rotation_key: own.clone(),
        endpoint: "https://liar.example".to_owned(),
    };
    let repository = Question::Repo(RepoOf { of: foreign, has: None });
    for question in [repository, Question::Account(account)] {
        let answer = ask(question).await?;
        ensure!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }

    // A move to it: it says of itself whatever brings the move on, and has something else.
    let report = tenancy.report(PRIMARY).await?.context("it is primary")?;
    let (rev, root) = stands(&report)?;
    let older = Tid::new(rev.micros() - 1, 0);
    let empty = Cid::of(Codec::DagCbor, b"an empty tree");
    let pull = |complete: u64| Pull {
        of: of.clone(),
        since: u64::MAX >> 12,
        complete,
        wait_ms: 0,
        account: [0; 32],
        recipient: recipient.clone(),
    };
    let Answer::Page { account, .. } = ask(Question::Pull(pull(0))).await? else { bail!("a page") };
    let lies = [("altered", rev, empty), ("older", older, root)];
    let claim = Arc::new(Mutex::new(lies[0]));
    let mut incoming = liar.accept(moving::PROTOCOL)?;
    let (network, asked_of, by) = (tenancy.validators.network(), of.tenant.clone(), Arc::clone(&liar));
    {
        let claim = Arc::clone(&claim);
        tokio::spawn(async move {
            while let Some((_, mut io)) = incoming.next().await {
                let Ok(question) = receive(&mut io).await else { continue };
                let Ok(question) = moving::Question::decode(&question) else { continue };
                let (_, rev, root) = *claim.lock().expect("not poisoned");
                let answer = match question {
                    moving::Question::Stand(_) => moving::Answer::Stand(moving::Stand {
                        epoch: 1,
                        serves: false,
                        complete: Some(u64::MAX >> 12),
                        bytes: 0,
                        stopped: None,
                        account,
                    }),
                    moving::Question::Holds(_) => moving::Answer::Holds(moving::Holds {
                        rev,
                        root,
                        files: 0,
                        files_digest: EMPTY,
                        account,
                        private_rows: 0,
                        private_digest: EMPTY,
                    }),
                    moving::Question::Accept(asked) => {
                        let (domain, message) = statement::hosting(&network, &asked_of, asked.epoch, &by.key().did());
                        moving::Answer::Accepted(by.key().sign(domain, &message))
                    }
                    _ => moving::Answer::Welcome,
                };
                // Whoever asked may have gone.
                let _gone = send(&mut io, &answer.encode().expect("small")).await;
            }
        });
    }
    // It has everything, it says.
    ask(Question::Pull(pull(u64::MAX >> 12))).await?;
    for lie in lies {
        *claim.lock().expect("not poisoned") = lie;
        let wish = json!({ "tenant": tenancy.did(), "toNode": target });
        let (status, begun) =
            tenancy.operate(PRIMARY, Method::POST, "/api/federation/migrate-tenant", Some(&wish)).await?;
        ensure!(status == 200, "{status} {begun}");
        let path = format!("/api/federation/migrate-tenant/{}", begun["id"].as_str().context("an id")?);
        let mut last = Value::Null;
        let over = until("the move is over", LONG, async || {
            last = tenancy.operate(PRIMARY, Method::GET, &path, None).await?.1;
            Ok(["ended", "grace"].contains(&last["phase"].as_str().unwrap_or_default()).then_some(()))
        });
        over.await.with_context(|| format!("{last:#}"))?;
        ensure!(last["status"] == "failed" && last["reason"] == "DigestMismatch", "{}: {last:#}", lie.0);
        let after = tenancy.report(PRIMARY).await?.context("it is primary")?;
        ensure!(after["role"] == "primary" && after["epoch"] == 1 && stands(&after)? == (rev, root), "{after}");
    }
    let (status, body) = caller.write(&caller.log_in().await?, "goes-on", "").await?;
    ensure!(status == 200, "{status} {body}");
    Ok(())
}

/// SHA-256 of nothing.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// What a primary does to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evil {
    /// Tells of an account that is not the tenant.
    Foreign,
    /// Tells of a commit that somebody else signed.
    Forged,
    /// Has less than it had.
    Older,
    /// Has it copied anew, without an end.
    Endless,
    /// Has it copied anew, with a block that is not what its CID says.
    Altered,
    /// Has it copied anew, and ends before anything has come.
    Truncated,
}

impl Evil {
    /// What the operator of the copy is told.
    const fn told(self) -> &'static str {
        match self {
            Self::Foreign | Self::Forged | Self::Altered | Self::Truncated => "does not verify",
            Self::Older => "a fork",
            Self::Endless => "replicas.quota",
        }
    }
}

struct Primary {
    did: Did,
    stands: (Tid, Cid),
    /// By the copy that it is done to.
    evil: Mutex<BTreeMap<String, Evil>>,
}

impl Primary {
    /// With the digest that the copy has, so that it asks for nothing else.
    fn page(&self, evil: Evil, account: [u8; 32]) -> Answer {
        let (rev, data) = self.stands;
        let sequence = 1 << 40;
        let time = clock::now();
        let told = |did: &Did| {
            let event = firehose::identity(did, None, time);
            Told { sequence, frame: firehose::number(event.stored(), sequence).expect("it was made so") }
        };
        let forged = || {
            let key: SigningKey = Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into();
            let head = Commit { did: self.did.clone(), data, rev: now_rev(), prev: None }.sign(&key);
            let event = firehose::sync(&head, time);
            Told { sequence, frame: firehose::number(event.stored(), sequence).expect("it was made so") }
        };
        let page = |events: Vec<Told>, rev: Tid| {
            let next = if events.is_empty() { 0 } else { sequence };
            Answer::Page { events, next, head: next, rev, data, account, rows: None }
        };
        match evil {
            Evil::Foreign => page(vec![told(&"did:web:somebody.example".parse().expect("a DID"))], rev),
            Evil::Forged => page(vec![forged()], rev),
            Evil::Older => page(vec![], Tid::new(rev.micros() - 1, 0)),
            Evil::Endless | Evil::Altered | Evil::Truncated => Answer::Trimmed,
        }
    }

    /// Sends something for a repository.
    async fn copy(&self, evil: Evil, io: &mut angel_node::network::Stream) -> Result<()> {
        let begins = Answer::Begins { bytes: None, sequence: 1 << 40, media_type: None };
        send(io, &begins.encode()?).await?;
        let mut first = Vec::new();
        car::write_header(&mut first, Cid::of(Codec::DagCbor, b"a commit that never comes"));
        if evil == Evil::Altered {
            car::write_stored_block(&mut first, self.stands.1, b"other bytes");
        }
        send(io, &Answer::Piece(first.into()).encode()?).await?;
        let count = if evil == Evil::Endless { u64::MAX } else { 0 };
        for number in 0..count {
            let mut piece = Vec::new();
            for part in 0_u64..8 {
                // A string of 16 KiB, each another.
                let mut bytes = vec![0x59, 0x3f, 0xf0];
                bytes.resize(3 + 0x3ff0, 0);
                bytes[3..11].copy_from_slice(&(number * 8 + part).to_be_bytes());
                car::write_block(&mut piece, &Block::new(Codec::DagCbor, bytes));
            }
            send(io, &Answer::Piece(piece.into()).encode()?).await?;
        }
        send(io, &Answer::End.encode()?).await
    }

    /// Answers one stream for as long as the other side asks.
    async fn answer(&self, asker: &str, mut io: angel_node::network::Stream) -> Result<()> {
        loop {
            let question = Question::decode(&receive(&mut io).await?)?;
            let evil = self.evil.lock().expect("not poisoned").get(asker).copied();
            let answer = match (question, evil) {
                (Question::Pull(pull), Some(evil)) => self.page(evil, pull.account),
                (Question::Repo(_), Some(evil)) => {
                    self.copy(evil, &mut io).await?;
                    continue;
                }
                _ => Answer::Refused(Refusal::NotPrimary),
            };
            send(&mut io, &answer.encode()?).await?;
        }
    }
}

/// A primary whose machine somebody else has now: its copies take nothing that is not the tenant's own, and no more than
/// their operators give.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_lies_spoils_no_copy() -> Result<()> {
    let mut tenancy = Tenancy::under_load().await?;
    for index in [LIAR, HONEST] {
        tenancy.validators.set_for(index, "ANGEL_REPLICAS_QUOTA", "16MiB");
        tenancy.validators.stop(index)?;
        tenancy.validators.start(index)?;
    }
    let caller = tenancy.caller(PRIMARY);
    let token = caller.log_in().await?;
    for number in 0..3 {
        let (status, body) = caller.write(&token, &format!("true-{number}"), "as it was written").await?;
        ensure!(status == 200, "{status} {body}");
    }
    tenancy.place(false).await?;
    tenancy.until_equal(&[0, 1, 2]).await?;
    let stand = stands(&tenancy.report(PRIMARY).await?.context("it is primary")?)?;
    tenancy.validators.kill(PRIMARY)?;

    // No two in a row of which the operator is told the same.
    let rounds = [[Evil::Foreign, Evil::Forged], [Evil::Endless, Evil::Older], [Evil::Altered, Evil::Truncated]];
    let copies = [1, 2];
    for round in rounds {
        let evil = copies.into_iter().zip(round).map(|(index, evil)| (tenancy.node(index), evil)).collect();
        let primary = Arc::new(Primary { did: tenancy.did().parse()?, stands: stand, evil: Mutex::new(evil) });
        let liar = Impostor::of_daemon(&tenancy.validators, &tenancy.validators.dir(PRIMARY))?;
        let mut incoming = liar.accept(PROTOCOL)?;
        let answering = tokio::spawn(async move {
            while let Some((peer, io)) = incoming.next().await {
                let Some(asker) = angel_node::network::did_of(&peer) else { continue };
                let primary = Arc::clone(&primary);
                // Ends with whoever asks.
                tokio::spawn(async move { primary.answer(asker.as_str(), io).await });
            }
        });
        for (index, evil) in copies.into_iter().zip(round) {
            let what = format!("{evil:?} has stopped node {index}");
            let report = tenancy
                .until_reported(&what, index, |report| {
                    report["stopped"].as_str().is_some_and(|why| why.contains(evil.told()))
                })
                .await?;
            ensure!(report["role"] == "standby" && stands(&report)? == stand, "{evil:?}: {report}");
            let bytes = report["bytes"].as_u64().context("bytes")?;
            ensure!(bytes < 16 << 20, "{evil:?}: {bytes} bytes are kept");
        }
        answering.abort();
        drop(liar);
        for index in copies {
            tenancy.validators.stop(index)?;
            tenancy.validators.start(index)?;
        }
    }
    // What is there is what was there, and still the tenant's own.
    for index in copies {
        ensure!(stands(&tenancy.report(index).await?.context("it has a copy")?)? == stand);
    }
    Ok(())
}
