//! What this host tells others and hears from them: that repositories advance, that spaces go, that credentials count
//! no more.
//!
//! Whatever is told is staged in the batch that makes it true, so neither exists without the other; the notifier
//! delivers it. A later notice about the same repository takes the place of one that waits: the newest state is all that
//! is worth telling, and whoever hears of it asks for the rest. What is heard is believed of those alone whose it is.

use std::sync::PoisonError;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::limits::{CREDENTIAL_LIFE_MAX, REVOKED_CREDENTIALS_MAX, SPACE_CLOCK_SKEW};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::policy::{Access, Decision};
use angel_protocol::permissioned::wire::SPACE_HOST_SERVICE;
use angel_protocol::permissioned::wire::notice::{DeletionNotice, RevocationNotice, WriteNotice};
use angel_protocol::permissioned::wire::token::Kind;
use angel_protocol::service_auth::ServiceId;
use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::permissioned::{self as rows, Advanced, Delivery, Registration, SpaceRow, WriterRow};

use super::services::Services;
use super::{Committed, HEARING_LOCKS, Permissioned, PermissionedError, repo_key};
use crate::accounts::Account;
use crate::{blocking, clock};

/// How long a registration lasts.
const REGISTERED_FOR: Duration = Duration::from_hours(7 * 24);

/// How long a notice is tried to be delivered (alpha of October 2026).
const TRIED_FOR: Duration = Duration::from_hours(24);

/// Services that one space tells of its writes: each takes a row in the batch of every write.
const SERVICES_MAX: usize = 64;

/// Hosts that are told when a space goes, or a credential of it. Those beyond learn of it when they next ask.
const HOSTS_TOLD_MAX: usize = 1000;

/// Credentials of one person in one space that are looked at together. Half as many may count at once, so that all of
/// them are found when they are revoked.
pub(super) const ISSUED_MAX: usize = 512;

const NOTIFY_WRITE: &str = "com.atproto.space.notifyWrite";
const NOTIFY_DELETED: &str = "com.atproto.space.notifySpaceDeleted";
const NOTIFY_REVOKED: &str = "com.atproto.space.notifyCredentialRevoked";

/// Something that is to be told: by whom, to whom, and what.
struct Telling<'a> {
    issuer: &'a Did,
    /// Whom the call is addressed to.
    service: String,
    /// Where it goes.
    at: String,
    method: &'static str,
    space: &'a SpaceUri,
    /// What a later notice of this kind would be about as well.
    subject: &'a str,
    body: String,
}

fn stage(
    batch: &mut Batch,
    telling: Telling<'_>,
    space_rev: Option<angel_protocol::ids::Tid>,
    now: Timestamp,
) -> Result<(), PermissionedError> {
    let Telling { issuer, service, at, method, space, subject, body } = telling;
    let key = rows::delivery_key(&service, method, space, subject);
    let delivery = Delivery {
        issuer: issuer.clone(),
        service,
        at,
        method: method.to_owned(),
        space: space.clone(),
        body,
        space_rev,
        attempts: 0,
        due: now,
        until: now + TRIED_FOR,
    };
    Ok(rows::put_delivery(batch, key, &delivery)?)
}

impl Permissioned {
    /// Tells the services that follow a space of a change in it.
    pub(super) fn stage_forwards(
        &self,
        batch: &mut Batch,
        space: &SpaceUri,
        row: &WriterRow,
        now: Timestamp,
    ) -> Result<(), PermissionedError> {
        let registered = rows::registrations(&self.shared.reader, space.digest(), SERVICES_MAX)?;
        for registration in registered.into_iter().filter(|registration| registration.expires_at > now) {
            let notice = WriteNotice {
                space: space.clone(),
                repo: row.did.clone(),
                repo_rev: row.rev,
                hash: row.hash,
                space_rev: Some(row.space_rev),
                // What the service heard of last is known when it is told.
                prev_space_rev: None,
            };
            let telling = Telling {
                issuer: &space.authority,
                at: registration.service.clone(),
                service: registration.service,
                method: NOTIFY_WRITE,
                space,
                subject: row.did.as_str(),
                body: notice.to_json(),
            };
            stage(batch, telling, Some(row.space_rev), now)?;
        }
        Ok(())
    }

    /// Tells the host of a space elsewhere that a repository here has advanced.
    pub(super) fn stage_report(
        &self,
        batch: &mut Batch,
        space: &SpaceUri,
        author: &Did,
        made: &Committed,
        now: Timestamp,
    ) -> Result<(), PermissionedError> {
        let notice = WriteNotice {
            space: space.clone(),
            repo: author.clone(),
            repo_rev: made.rev,
            hash: made.hash,
            space_rev: None,
            prev_space_rev: None,
        };
        let telling = Telling {
            issuer: author,
            service: space.authority.to_string(),
            at: format!("{}#{SPACE_HOST_SERVICE}", space.authority),
            method: NOTIFY_WRITE,
            space,
            subject: author.as_str(),
            body: notice.to_json(),
        };
        stage(batch, telling, None, now)
    }

    /// Tells everybody who follows a space, and the hosts of its writers, that it is gone; and revokes its credentials.
    pub(super) fn stage_farewell(&self, batch: &mut Batch, row: &SpaceRow) -> Result<(), PermissionedError> {
        let (space, now) = (&row.uri, clock::now());
        let body = angel_protocol::data::json_of(&DeletionNotice { space: space.clone() }).to_string();
        let reader = &self.shared.reader;
        let registered = rows::registrations(reader, space.digest(), SERVICES_MAX)?;
        let services = registered.into_iter().map(|registration| registration.service);
        let hosts = self.hosts_blocking(space)?.into_iter().map(|did| did.to_string());
        for service in services.chain(hosts) {
            let telling = Telling {
                issuer: &space.authority,
                at: service.clone(),
                service,
                method: NOTIFY_DELETED,
                space,
                subject: "",
                body: body.clone(),
            };
            stage(batch, telling, None, now)?;
        }
        Ok(())
    }

    /// Tells the host of `user` something about a space that is held here, by a method of that host; tried for a day, as
    /// every notice. A later one by the same method about the same space takes its place.
    ///
    /// # Errors
    /// The store does not write.
    pub(crate) async fn tell(
        &self,
        space: &SpaceUri,
        user: &Did,
        method: &'static str,
        body: String,
    ) -> Result<(), PermissionedError> {
        let (this, space, user) = (self.clone(), space.clone(), user.to_string());
        blocking::run(move || {
            let mut batch = Batch::new();
            let telling = Telling {
                issuer: &space.authority,
                at: user.clone(),
                service: user,
                method,
                space: &space,
                subject: "",
                body,
            };
            stage(&mut batch, telling, None, clock::now())?;
            this.shared.writer.commit(batch)?;
            this.shared.outbox.notify_one();
            Ok(())
        })
        .await
    }

    /// The writers of a space whose repositories are on other hosts. Blocks.
    fn hosts_blocking(&self, space: &SpaceUri) -> Result<Vec<Did>, PermissionedError> {
        let mut found = Vec::new();
        for row in rows::writers(&self.shared.reader, space.digest(), None, HOSTS_TOLD_MAX)? {
            if self.shared.accounts.resident_blocking(&row.did)?.is_none() {
                found.push(row.did);
            }
        }
        Ok(found)
    }

    /// Revokes all credentials that `did` has for a space, here and on the hosts of its writers. Hold [`Shared::changing`]
    /// alone.
    pub(super) fn stage_revocation(
        &self,
        batch: &mut Batch,
        row: &SpaceRow,
        did: &Did,
    ) -> Result<(), PermissionedError> {
        let (space, now) = (&row.uri, clock::now());
        let issued = rows::issued(&self.shared.reader, space.digest(), Some(did), None, ISSUED_MAX)?;
        let (mut nonces, authority) = (Vec::new(), space.authority.as_str());
        for (did, nonce, until) in issued {
            let digest = rows::token_digest(Kind::Credential.type_name(), authority, &nonce);
            rows::put_spent(batch, digest, until, false)?;
            rows::remove_issued(batch, space.digest(), &did, &nonce)?;
            if until > now {
                nonces.push(nonce);
            }
        }
        for (n, credentials) in nonces.chunks(REVOKED_CREDENTIALS_MAX).enumerate() {
            let notice = RevocationNotice { space: space.clone(), credentials: credentials.to_vec() };
            let body = angel_protocol::data::json_of(&notice).to_string();
            for host in self.hosts_blocking(space)? {
                let telling = Telling {
                    issuer: &space.authority,
                    service: host.to_string(),
                    at: host.to_string(),
                    method: NOTIFY_REVOKED,
                    space,
                    subject: &format!("{did} {n} {}", credentials[0]),
                    body: body.clone(),
                };
                stage(batch, telling, None, now)?;
            }
        }
        Ok(())
    }

    /// Revokes all credentials for a deleted space, so that none of them opens one that is made anew in its place. Blocks.
    pub(super) fn revoke_all_blocking(&self, space: &SpaceUri) -> Result<(), PermissionedError> {
        loop {
            let page = rows::issued(&self.shared.reader, space.digest(), None, None, ISSUED_MAX)?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            for (did, nonce, until) in page {
                let digest = rows::token_digest(Kind::Credential.type_name(), space.authority.as_str(), &nonce);
                rows::put_spent(&mut batch, digest, until, false)?;
                rows::remove_issued(&mut batch, space.digest(), &did, &nonce)?;
            }
            self.shared.writer.commit(batch)?;
        }
    }

    /// Revokes the credentials of whoever may no longer read a space by its settings. Blocks.
    pub(super) fn revoke_others_blocking(&self, row: &SpaceRow) -> Result<(), PermissionedError> {
        let (digest, mut after) = (row.uri.digest(), None);
        loop {
            let page = rows::issued(&self.shared.reader, digest, None, after, ISSUED_MAX)?;
            let Some((did, nonce, _)) = page.last() else { return Ok(()) };
            after = Some((did.clone(), nonce.clone()));
            let mut people: Vec<_> = page.into_iter().map(|(did, ..)| did).collect();
            people.dedup();
            for did in people {
                // A managing app is not asked again: what it has let in ends by itself within minutes.
                if self.decide_blocking(row, Access::Read, &did)? == Decision::No {
                    let mut batch = Batch::new();
                    self.stage_revocation(&mut batch, row, &did)?;
                    self.shared.writer.commit(batch)?;
                }
            }
        }
    }

    /// Registers a service that is told of changes in a space which this node answers for. Answers when that lapses.
    ///
    /// # Errors
    /// [`PermissionedError::ServiceNotResolvable`], [`PermissionedError::TooManyServices`], or what is wrong with the
    /// space.
    pub(crate) async fn register(
        &self,
        services: &Services,
        space: &SpaceUri,
        service: &ServiceId,
    ) -> Result<Timestamp, PermissionedError> {
        services.endpoint(service).await.map_err(|_| PermissionedError::ServiceNotResolvable)?;
        let _changing = self.shared.changing.write().await;
        let (this, space, service) = (self.clone(), space.clone(), service.to_string());
        blocking::run(move || {
            this.hosted_blocking(&space)?;
            let (digest, now, reader) = (space.digest(), clock::now(), &this.shared.reader);
            let mut batch = Batch::new();
            let before = rows::registration(reader, digest, &service)?;
            if before.is_none() {
                let others = rows::registrations(reader, digest, SERVICES_MAX)?;
                let is_full = others.len() >= SERVICES_MAX;
                let lapsed = others.iter().filter(|other| other.expires_at <= now);
                let gone = lapsed.map(|other| rows::remove_registration(&mut batch, digest, &other.service));
                let gone = gone.collect::<Result<Vec<_>, _>>()?.len();
                if is_full && gone == 0 {
                    return Err(PermissionedError::TooManyServices);
                }
            }
            let told = match before {
                Some(before) => before.told,
                None => rows::newest_space_rev(reader, digest)?,
            };
            let expires_at = now + REGISTERED_FOR;
            rows::put_registration(&mut batch, digest, &Registration { service, expires_at, told })?;
            this.shared.writer.commit(batch)?;
            Ok(expires_at)
        })
        .await
    }

    /// Withdraws a registration, if there is one.
    ///
    /// # Errors
    /// The store does not write.
    pub(crate) async fn unregister(&self, space: &SpaceUri, service: &ServiceId) -> Result<(), PermissionedError> {
        let (this, space, service) = (self.clone(), space.clone(), service.to_string());
        blocking::run(move || {
            let mut batch = Batch::new();
            rows::remove_registration(&mut batch, space.digest(), &service)?;
            this.shared.writer.commit(batch)?;
            Ok(())
        })
        .await
    }

    /// Up to `limit` writers of a space that this node answers for, whose repositories changed after the revision
    /// `after` of the space, in the order of the changes.
    ///
    /// # Errors
    /// What is wrong with the space, or the store cannot be read.
    pub async fn writers(
        &self,
        space: &SpaceUri,
        after: Option<angel_protocol::ids::Tid>,
        limit: usize,
    ) -> Result<Vec<WriterRow>, PermissionedError> {
        let (this, space) = (self.clone(), space.clone());
        blocking::run(move || {
            this.hosted_blocking(&space)?;
            Ok(rows::writers(&this.shared.reader, space.digest(), after, limit)?)
        })
        .await
    }

    /// Hears that a repository on another host has advanced. The caller has made sure that its owner says so.
    ///
    /// # Errors
    /// [`PermissionedError::SpaceNotFound`], also when the owner's writes do not count;
    /// [`PermissionedError::FutureRev`].
    pub(crate) async fn heard_write(&self, notice: WriteNotice) -> Result<(), PermissionedError> {
        let place =
            usize::from(notice.repo.as_str().bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)));
        let _turn = self.shared.hearing[place % HEARING_LOCKS].lock().await;
        let this = self.clone();
        blocking::run(move || {
            let now = clock::now();
            let (authority, row) = this.hosted_blocking(&notice.space)?;
            match this.decide_blocking(&row, Access::Write, &notice.repo)? {
                Decision::No => return Err(PermissionedError::SpaceNotFound),
                // Who may write by the word of an app reads by it as well, and is asked then.
                Decision::Yes | Decision::Ask(_) => {}
            }
            if notice.is_from_the_future(now) {
                return Err(PermissionedError::FutureRev);
            }
            let digest = notice.space.digest();
            let before = rows::writer(&this.shared.reader, digest, &notice.repo)?;
            let is_here = this.shared.accounts.resident_blocking(&notice.repo)?.is_some();
            if is_here || before.as_ref().is_some_and(|before| before.rev >= notice.repo_rev) {
                // Of accounts of this host it knows more already.
                return Ok(());
            }
            let mut batch = Batch::new();
            let advanced = Advanced { space: notice.space.clone(), author: notice.repo.clone(), rev: notice.repo_rev };
            let author = notice.repo.clone();
            batch.append_event(rows::advanced_event(authority.id(), &advanced, now)?)?;
            let (told, outcome) = std::sync::mpsc::sync_channel(1);
            {
                let mut sequence = this.shared.sequence.lock().unwrap_or_else(PoisonError::into_inner);
                let space_rev = this.next_space_rev(&mut sequence, &notice.space, now)?;
                let row = WriterRow { did: notice.repo, rev: notice.repo_rev, hash: notice.hash, space_rev };
                rows::put_writer(&mut batch, digest, &row, before.map(|before| before.space_rev))?;
                this.stage_forwards(&mut batch, &notice.space, &row, now)?;
                this.shared.writer.submit_blocking(batch, move |outcome| drop(told.send(outcome)));
            }
            outcome.recv().unwrap_or(Err(angel_storage::CommitError::Closed))?;
            this.shared.outbox.notify_one();
            this.shared.news.add(notice.space, author);
            Ok(())
        })
        .await
    }

    /// Hears from a space's authority that the space is gone: `account`'s repository in it stays, and is the account's
    /// alone from now on.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn heard_deletion(&self, account: &Account, space: &SpaceUri) -> Result<(), PermissionedError> {
        let slot = self.shared.slots.slot(repo_key(account.id(), space));
        let mut open = std::sync::Arc::clone(&slot.open).lock_owned().await;
        slot.flight.until_durable(slot.flight.handed_over()).await?;
        let this = self.clone();
        blocking::run(move || {
            let Some(mut repo) = rows::repo(&this.shared.reader, slot.key)? else { return Ok(()) };
            repo.space_deleted_at.get_or_insert(clock::now());
            let mut batch = Batch::new();
            rows::put_repo(&mut batch, slot.key, &repo)?;
            this.shared.writer.commit(batch)?;
            *open = None;
            Ok(())
        })
        .await
    }

    /// Hears from a space's authority that credentials count no more. Believed where `account` has a repository in the
    /// space, so that nobody fills this host with names of credentials it will never see.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn heard_revocation(
        &self,
        account: &Account,
        notice: RevocationNotice,
    ) -> Result<(), PermissionedError> {
        let (this, key) = (self.clone(), repo_key(account.id(), &notice.space));
        blocking::run(move || {
            if rows::repo(&this.shared.reader, key)?.is_none() {
                return Ok(());
            }
            let until = clock::now() + CREDENTIAL_LIFE_MAX + SPACE_CLOCK_SKEW;
            let mut batch = Batch::new();
            for nonce in notice.credentials.iter().take(REVOKED_CREDENTIALS_MAX) {
                let authority = notice.space.authority.as_str();
                let digest = rows::token_digest(Kind::Credential.type_name(), authority, nonce);
                rows::put_spent(&mut batch, digest, until, false)?;
            }
            this.shared.writer.commit(batch)?;
            Ok(())
        })
        .await
    }
}
