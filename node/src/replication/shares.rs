//! The operation by which an identity would move to a standby: signed ahead of time by the primary, split among the
//! standbys, and put together only after the ledger has made that standby primary (architecture, "Identities and keys").
//!
//! A backup holds no rotation key of the account. Fewer shares than are needed say nothing of the operation; and the
//! operation names what it follows on, so once the identity has another head it is worth nothing.

use std::collections::BTreeSet;

use angel_protocol::data::Cid;
use angel_protocol::did_document::{ATPROTO_KEY, ATPROTO_PDS, ATPROTO_PDS_TYPE};
use angel_protocol::failover::quorum::shares_needed;
use angel_protocol::ids::Did;
use angel_protocol::plc::{PlcOperation, PlcService};
use angel_protocol::replication::wire::{AccountOf, Answer, InFavour, Question, Share, decode_shares, encode_shares};
use angel_storage::Batch;
use angel_storage::codec::{self, Cbor};
use angel_storage::replicas::{self, OperationRow};
use blahaj::Sharks;
use zeroize::Zeroizing;

use super::state::{SealingError, seal};
use super::{Replication, ReplicationError};
use crate::blocking;
use crate::placement::Tenant;

/// Dealings of one operation of which a share is kept.
const DEALINGS_MAX: usize = 4;

/// Other hosts of whose shares all choices are tried: a few thousand at most.
const OTHERS_MAX: usize = 12;

impl Replication {
    /// Signs and splits the operation that moves the tenant to `standby`, unless the one that is there still fits.
    pub(super) async fn prepare_operation(
        &self,
        tenant: &Tenant,
        standby: &Did,
        wants: &AccountOf,
    ) -> Result<(), ReplicationError> {
        if tenant.did.method() != "plc" {
            return Ok(());
        }
        let identities = &self.0.parts.lifecycle.identities;
        let failed = |error: crate::directory::DirectoryError| ReplicationError::Identity(error.to_string());
        let head = identities.directory().log(&tenant.did).await.map_err(failed)?.head().cid.to_string();
        // A vault holds nothing but its archive: a share would be missing whenever it is needed.
        let holders = tenant.placed.standbys.clone();
        let key = (tenant.did.clone(), standby.clone());
        let reader = self.0.parts.reader.clone();
        let stored = key.clone();
        let present = blocking::run(move || replicas::OPERATIONS.get(&reader, &stored)).await?;
        let present: Option<OperationRow> = present.and_then(|bytes| decoded(&bytes));
        let fits = |row: &OperationRow| {
            row.prev == head
                && row.signing_key == wants.signing_key
                && row.rotation_key == wants.rotation_key
                && row.endpoint == wants.endpoint
                && row.shares.iter().map(|(holder, _)| holder).eq(&holders)
        };
        if present.as_ref().is_some_and(fits) {
            return Ok(());
        }
        let operation = self.sign_move(&tenant.did, &wants.signing_key, &wants.rotation_key, &wants.endpoint);
        let operation = operation.await?;
        let needed = u8::try_from(shares_needed(holders.len())).unwrap_or(u8::MAX);
        let bytes = operation.to_bytes();
        let dealt = Sharks(needed).dealer(&bytes).take(holders.len());
        let shares = holders.into_iter().zip(dealt.map(|share| serde_bytes::ByteBuf::from(Vec::from(&share))));
        let row = OperationRow {
            signing_key: wants.signing_key.clone(),
            rotation_key: wants.rotation_key.clone(),
            endpoint: wants.endpoint.clone(),
            prev: operation.statement().prev().map(|prev| prev.to_string()).unwrap_or_default(),
            needed,
            shares: shares.collect(),
        };
        let this = self.clone();
        blocking::run(move || {
            let parts = &this.0.parts;
            let bytes = encoded(&row)?;
            let mut batch = Batch::new();
            replicas::replace(&replicas::OPERATIONS, &parts.reader, &mut batch, &key, &bytes)?;
            parts.writer.commit(batch)?;
            Ok::<_, ReplicationError>(())
        })
        .await?;
        // The other backups have a share of it to fetch, and may be waiting for something to happen.
        self.0.dealt.send_replace(());
        Ok(())
    }

    /// The standbys to which the identity would move if this node ended now: the operation is prepared, follows on the
    /// identity's head, and they and so many others hold shares of it as are needed. Of an outside directory the head is
    /// not asked. Blocks.
    pub(crate) fn heirs_blocking(&self, tenant: &Tenant) -> Result<BTreeSet<Did>, ReplicationError> {
        if tenant.did.method() != "plc" {
            // Whoever serves its domain points it to the one that takes over: no share is needed.
            return Ok(tenant.placed.standbys.iter().cloned().collect());
        }
        let Some(account) = tenant.account else { return Ok(BTreeSet::new()) };
        let held = tenant.held_of_account();
        let mut holders = BTreeSet::new();
        for standby in &tenant.placed.standbys {
            if held.get(standby) == Some(&self.account_digest_blocking(tenant, account, standby)?) {
                holders.insert(standby.clone());
            }
        }
        let head = self.0.parts.lifecycle.identities.directory().known_head_blocking(&tenant.did);
        let head = head.map_err(|error| ReplicationError::Identity(error.to_string()))?.map(|head| head.to_string());
        let mut heirs = BTreeSet::new();
        for standby in tenant.placed.standbys.iter().filter(|standby| holders.contains(*standby)) {
            let key = (tenant.did.clone(), standby.clone());
            let row = replicas::OPERATIONS.get(&self.0.parts.reader, &key)?.and_then(|bytes| decoded(&bytes));
            if row.is_some_and(|row| can_be_released(&row, head.as_deref(), &holders)) {
                heirs.insert(standby.clone());
            }
        }
        Ok(heirs)
    }

    /// Signs the operation that moves an identity to a standby.
    async fn sign_move(
        &self,
        did: &Did,
        signing_key: &Did,
        rotation_key: &Did,
        endpoint: &str,
    ) -> Result<PlcOperation, ReplicationError> {
        let identities = &self.0.parts.lifecycle.identities;
        let own = identities.rotation_key();
        let operation = identities.sign(did, |data| {
            for key in data.rotation_keys.iter_mut().filter(|key| **key == own) {
                key.clone_from(rotation_key);
            }
            data.verification_methods.insert(ATPROTO_KEY.to_owned(), signing_key.clone());
            let service = PlcService { kind: ATPROTO_PDS_TYPE.to_owned(), endpoint: endpoint.to_owned() };
            data.services.insert(ATPROTO_PDS.to_owned(), service);
        });
        operation.await.map_err(|error| ReplicationError::Identity(error.to_string()))
    }

    /// Moves the identity to the node that the ledger has made primary, if it still leads here: this node was primary and
    /// lives, so nobody has to put shares together.
    pub(crate) async fn release_identity(&self, tenant: &Tenant, to: &Did) -> Result<(), ReplicationError> {
        if tenant.did.method() != "plc" {
            return Ok(());
        }
        let account = self.0.parts.accounts.by_did(&tenant.did).await?;
        let Some(account) = account else { return Ok(()) };
        if self.0.parts.lifecycle.check_identity(&account).await.is_err() {
            return Ok(());
        }
        let (reader, key) = (self.0.parts.reader.clone(), (tenant.did.clone(), to.clone()));
        let known = blocking::run(move || replicas::OPERATIONS.get(&reader, &key)).await?;
        let Some(known) = known.and_then(|bytes| decoded(&bytes)) else { return Ok(()) };
        let operation = self.sign_move(&tenant.did, &known.signing_key, &known.rotation_key, &known.endpoint).await?;
        let submitted = self.0.parts.lifecycle.identities.directory().submit(&tenant.did, operation).await;
        submitted.map_err(|error| ReplicationError::Identity(error.to_string()))
    }

    /// The shares of `holder`: one for each standby whose operation is prepared. Blocks.
    pub(super) fn shares_of_blocking(&self, tenant: &Tenant, holder: &Did) -> Result<Vec<Share>, ReplicationError> {
        let mut found = Vec::new();
        for standby in &tenant.placed.standbys {
            let key = (tenant.did.clone(), standby.clone());
            let Some(bytes) = replicas::OPERATIONS.get(&self.0.parts.reader, &key)? else { continue };
            let Some(row) = decoded(&bytes) else { continue };
            let share = row.shares.iter().find(|(it, _)| it == holder).map(|(_, share)| share.to_vec());
            if let (Some(share), Ok(prev)) = (share, row.prev.parse::<Cid>()) {
                found.push(Share { standby: standby.clone(), prev, needed: row.needed, share });
            }
        }
        Ok(found)
    }

    /// This node's own share of the newest operation in favour of `standby`. Blocks.
    pub(super) fn held_share_blocking(&self, tenant: &Did, standby: &Did) -> Result<Option<Share>, ReplicationError> {
        let shares = self.held_shares_blocking(tenant)?;
        Ok(shares.into_iter().find(|share| share.standby == *standby))
    }

    /// All shares that this node holds, the newest of each operation first. Blocks.
    fn held_shares_blocking(&self, tenant: &Did) -> Result<Vec<Share>, ReplicationError> {
        let key = (tenant.clone(), replicas::Sealed::Shares.number());
        let Some(sealed) = replicas::SEALED.get(&self.0.parts.reader, &key)? else { return Ok(Vec::new()) };
        let opened = self.0.parts.sealing.open(&sealed)?;
        Ok(decode_shares(&opened).map_err(SealingError::from)?)
    }

    /// What is to be stored once these shares have come, sealed to this node: with them those of earlier dealings. While hosts
    /// come and go some hold shares of one dealing and some of another, and either moves the identity. Blocks.
    pub(super) fn with_held_shares_blocking(&self, tenant: &Did, sealed: &[u8]) -> Result<Vec<u8>, ReplicationError> {
        let sealing = &self.0.parts.sealing;
        let new = decode_shares(&sealing.open(sealed)?).map_err(SealingError::from)?;
        let count = new.len();
        // Those that do not open any more are worth nothing, and these are to be stored all the same.
        let kept = kept(new, self.held_shares_blocking(tenant).unwrap_or_default());
        if kept.len() == count {
            return Ok(sealed.to_vec());
        }
        let bytes = Zeroizing::new(encode_shares(&kept).map_err(SealingError::from)?);
        Ok(seal(&sealing.recipient(), &bytes)?)
    }

    /// Puts the operation together that moves the identity here, with the shares of the other hosts.
    pub(crate) async fn collect_operation(&self, tenant: &Tenant) -> Result<PlcOperation, ReplicationError> {
        let (this, did) = (self.clone(), tenant.did.clone());
        let mut shares = blocking::run(move || this.held_shares_blocking(&did)).await?;
        shares.retain(|share| share.standby == *self.own());
        // The newest last, as of those that come.
        shares.reverse();
        let prev = shares.last().map(|share| share.prev);
        let prev = prev.ok_or_else(|| ReplicationError::Identity("this node was never given a share".to_owned()))?;
        let account = self.0.parts.accounts.by_did(&tenant.did).await?;
        let key = account.map(|account| account.row().signing_key.clone());
        let endpoint = self.0.parts.lifecycle.identities.endpoint();
        let leads_here = |operation: &PlcOperation| {
            let data = operation.statement().data();
            data.is_some_and(|data| {
                data.verification_methods.get(ATPROTO_KEY) == key.as_ref()
                    && data.services.get(ATPROTO_PDS).is_some_and(|service| service.endpoint == endpoint)
            })
        };
        if let Some(operation) = put_together(&shares, &leads_here) {
            return Ok(operation);
        }
        let question = Question::Share(InFavour { tenant: tenant.did.clone(), epoch: tenant.placed.epoch });
        for other in tenant.hosts().backups() {
            match self.ask(other, &question).await {
                Ok(Answer::Share(share)) if share.prev == prev && share.standby == *self.own() => shares.push(share),
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(tenant = %tenant.did, host = %other, %error, "no share");
                    continue;
                }
            }
            if let Some(operation) = put_together(&shares, &leads_here) {
                return Ok(operation);
            }
        }
        // None was made for what this node is now; one for what it was is better than none.
        let any = (1..=shares.len()).rev().find_map(|count| put_together(&shares[..count], &|_| true));
        any.ok_or_else(|| {
            let text = format!("of {} shares of the operation no few that are enough fit together", shares.len());
            ReplicationError::Identity(text)
        })
    }
}

/// The shares that are kept once `new` have come: of operations that follow on the same heads those of before, too.
fn kept(new: Vec<Share>, before: Vec<Share>) -> Vec<Share> {
    let mut kept = new;
    for share in before {
        let of_it = kept.iter().filter(|it| it.standby == share.standby && it.prev == share.prev).count();
        if (1..DEALINGS_MAX).contains(&of_it) && !kept.contains(&share) {
            kept.push(share);
        }
    }
    kept
}

/// The operation that some of these shares make, the newest share among them. They may be of several dealings: who was slow
/// holds one of before, of an operation that follows on the same head, and the shares of two dealings say nothing.
fn put_together(shares: &[Share], is_wanted: &dyn Fn(&PlcOperation) -> bool) -> Option<PlcOperation> {
    let newest = shares.last()?;
    let needed = usize::from(newest.needed);
    let of_a_kind = shares[..shares.len() - 1].iter().filter(|share| share.needed == newest.needed);
    let others: Vec<_> = of_a_kind.filter_map(parsed).take(OTHERS_MAX).collect();
    let newest_share = parsed(newest)?;
    for chosen in (0_u32..1 << others.len()).filter(|chosen| chosen.count_ones() as usize + 1 == needed) {
        let others = others.iter().enumerate().filter(|(place, _)| chosen & 1 << place != 0).map(|(_, share)| share);
        let some: Vec<blahaj::Share> = others.chain([&newest_share]).cloned().collect();
        let bytes = Sharks(newest.needed).recover(&some).ok();
        let operation = bytes.and_then(|bytes| PlcOperation::from_bytes(&bytes).ok());
        // What comes of shares that are not of one dealing is noise.
        let follows = |operation: &PlcOperation| operation.statement().prev() == Some(newest.prev);
        if let Some(operation) = operation.filter(|operation| follows(operation) && is_wanted(operation)) {
            return Some(operation);
        }
    }
    None
}

fn parsed(share: &Share) -> Option<blahaj::Share> {
    blahaj::Share::try_from(share.share.as_slice()).ok()
}

/// Whether those who hold shares could put an operation together that the directory would take.
fn can_be_released(row: &OperationRow, head: Option<&str>, holders: &BTreeSet<Did>) -> bool {
    let at_hand = row.shares.iter().filter(|(holder, _)| holders.contains(holder)).count();
    at_hand >= usize::from(row.needed) && head.is_none_or(|head| row.prev == head)
}

fn encoded(row: &OperationRow) -> Result<Vec<u8>, ReplicationError> {
    codec::encode(&Cbor(row.clone())).map_err(|error| ReplicationError::NotBelieved(error.to_string()))
}

fn decoded(bytes: &[u8]) -> Option<OperationRow> {
    codec::decode::<Cbor<OperationRow>>(bytes).ok().map(|Cbor(row)| row)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use angel_protocol::crypto::{P256Key, SigningKey};
    use angel_protocol::data::Codec;
    use angel_protocol::plc::{PlcData, PlcStatement};

    use super::*;

    #[test]
    fn as_many_shares_as_are_needed_and_no_fewer_give_the_operation() {
        let secret = b"an operation that moves an identity".to_vec();
        let dealt: Vec<Vec<u8>> = Sharks(2).dealer(&secret).take(3).map(|share| Vec::from(&share)).collect();
        let read = |bytes: &Vec<u8>| blahaj::Share::try_from(bytes.as_slice()).expect("a share");
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let shares = [read(&dealt[a]), read(&dealt[b])];
            assert_eq!(Sharks(2).recover(&shares).expect("enough"), secret);
        }
        assert!(Sharks(2).recover(&[read(&dealt[0])]).is_err(), "one is not enough");
        assert!(!dealt.iter().any(|share| share.windows(8).any(|part| secret.windows(8).any(|of| of == part))));
    }

    #[test]
    fn shares_of_before_are_kept_as_long_as_they_follow_on_the_same_head() {
        let share = |standby: &str, head: &[u8], number: u8| Share {
            standby: format!("did:web:{standby}.example").parse().expect("a DID"),
            prev: Cid::of(Codec::DagCbor, head),
            needed: 2,
            share: vec![number],
        };
        let first = kept(vec![share("one", b"head", 1), share("two", b"head", 2)], Vec::new());
        let second = kept(vec![share("one", b"head", 3), share("two", b"head", 2)], first);
        let numbers = |shares: &[Share]| shares.iter().map(|share| share.share[0]).collect::<Vec<_>>();
        assert_eq!(numbers(&second), [3, 2, 1], "the newest first, and each once");
        let third = kept(vec![share("one", b"later", 4)], second.clone());
        assert_eq!(
            numbers(&third),
            [4],
            "behind another head they are worth nothing, and so for who is a standby no more"
        );
        let many = (5..50).fold(second, |before, number| kept(vec![share("one", b"head", number)], before));
        assert_eq!(numbers(&many), [49, 48, 47, 46]);
    }

    #[test]
    fn shares_of_an_earlier_dealing_are_passed_over() {
        let key = SigningKey::from(P256Key::from_bytes(&[7; 32]).expect("a scalar"));
        let prev = Cid::of(Codec::DagCbor, b"the head");
        let sign = |endpoint: &str| {
            let service = PlcService { kind: ATPROTO_PDS_TYPE.to_owned(), endpoint: endpoint.to_owned() };
            let data = PlcData {
                rotation_keys: vec![key.did()],
                verification_methods: BTreeMap::from([(ATPROTO_KEY.to_owned(), key.did())]),
                also_known_as: Vec::new(),
                services: BTreeMap::from([(ATPROTO_PDS.to_owned(), service)]),
            };
            PlcStatement::State { data, prev: Some(prev) }.sign(&key)
        };
        let deal = |operation: &PlcOperation, needed: u8, holders: usize| {
            let bytes = operation.to_bytes();
            let shares = Sharks(needed).dealer(&bytes).take(holders).map(|share| Share {
                standby: "did:web:standby.example".parse().expect("a DID"),
                prev,
                needed,
                share: Vec::from(&share),
            });
            shares.collect::<Vec<_>>()
        };
        let (old, new) = (sign("https://one.example"), sign("https://two.example"));
        let (before, now) = (deal(&old, 2, 2), deal(&new, 2, 3));
        let fits = |shares: &[&Share]| {
            let shares: Vec<Share> = shares.iter().map(|share| (*share).clone()).collect();
            // As they come, one after another.
            (1..=shares.len()).find_map(|count| put_together(&shares[..count], &|_| true))
        };
        assert!(fits(&[&now[0]]).is_none(), "one is not enough");
        assert!(fits(&[&now[0], &before[1]]).is_none(), "two of two dealings say nothing");
        assert_eq!(fits(&[&now[0], &before[1], &now[2]]).as_ref(), Some(&new), "who was slow is passed over");
        assert_eq!(fits(&[&before[0], &now[1], &now[2]]).as_ref(), Some(&new), "also when that is this node");
        let of_three = deal(&new, 3, 3);
        let mixed = [&now[0], &of_three[0], &before[0], &of_three[1], &of_three[2]];
        assert_eq!(fits(&mixed).as_ref(), Some(&new), "dealings among more hosts need more");
    }

    #[test]
    fn an_operation_is_released_by_enough_holders_and_only_behind_the_head() {
        let did = |name: &str| format!("did:web:{name}.example").parse::<Did>().expect("a DID");
        let share = |name: &str| (did(name), serde_bytes::ByteBuf::new());
        let row = OperationRow {
            signing_key: did("key"),
            rotation_key: did("rotation"),
            endpoint: "https://standby.example".to_owned(),
            prev: "the head".to_owned(),
            needed: 2,
            shares: vec![share("one"), share("two"), share("three")],
        };
        let (all, one) = (["one", "two", "three"].map(did).into(), [did("one")].into());
        assert!(can_be_released(&row, Some("the head"), &all));
        assert!(can_be_released(&row, None, &all), "an outside directory is not asked");
        assert!(!can_be_released(&row, Some("the head"), &one), "one share is not enough");
        assert!(!can_be_released(&row, Some("a later head"), &all), "the identity has gone on: it is worth nothing");
    }
}
