//! Answers to other nodes. Who asks is known from the stream; whether it may, from the ledger.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::ledger::statement;
use angel_protocol::limits::MIGRATION_FRAME_BYTES_MAX;
use angel_protocol::migration::wire::{Allows, Answer, PROTOCOL, Question, Session, Stand};
use angel_protocol::replication::wire::Refusal;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Migrations, NotMoved, refused};
use crate::placement::Tenant;
use crate::replication::{ReplicationError, stream};
use crate::sessions::Login;
use crate::tasks::TaskResult;
use crate::{blocking, clock, network};

/// Questions of all other nodes at once; more are dropped, and asked again.
const STREAMS_MAX: usize = 64;

/// How long a question may take to arrive.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);

/// How an app's session that came along is called where sessions are listed.
const MOVED_APP: &str = "before the move";

impl Migrations {
    /// Answers until told to stop.
    pub(super) async fn serve(self, stop: CancellationToken) -> TaskResult {
        let mut incoming = self.0.parts.replication.0.parts.network.accept_streams(PROTOCOL)?;
        let (room, streams) = (Arc::new(Semaphore::new(STREAMS_MAX)), TaskTracker::new());
        loop {
            let (peer, mut io) = tokio::select! {
                () = stop.cancelled() => break,
                next = incoming.next() => match next {
                    Some(next) => next,
                    None if stop.is_cancelled() => break,
                    None => return Err("the network ended".into()),
                },
            };
            let (Ok(place), Some(asker)) = (Arc::clone(&room).try_acquire_owned(), network::did_of(&peer)) else {
                continue;
            };
            let (this, stop) = (self.clone(), stop.clone());
            streams.spawn(async move {
                let served = Box::pin(stop.run_until_cancelled(this.answer_one(&asker, &mut io))).await;
                if let Some(Err(error)) = served {
                    tracing::debug!(peer = %asker, %error, "a question about a move was not answered");
                }
                drop(place);
            });
        }
        streams.close();
        streams.wait().await;
        Ok(())
    }

    async fn answer_one(&self, asker: &Did, io: &mut network::Stream) -> io::Result<()> {
        let bytes = stream::read_frame(io, MIGRATION_FRAME_BYTES_MAX, QUESTION_LIMIT).await?;
        let answer = match self.answer(asker, Question::decode(&bytes)?).await {
            Ok(answer) => answer,
            Err(NotMoved::Replication(ReplicationError::Refused(refusal))) => Answer::Refused(refusal),
            Err(error) => {
                tracing::warn!(peer = %asker, %error, "cannot answer about a move");
                Answer::Refused(Refusal::Not(error.to_string().chars().take(200).collect()))
            }
        };
        stream::write_frame(io, &answer.encode()?).await
    }

    async fn answer(&self, asker: &Did, question: Question) -> Result<Answer, NotMoved> {
        let replication = &self.0.parts.replication;
        Ok(match question {
            Question::Offer(offer) => {
                let this = replication.clone();
                let holding = blocking::run(move || this.holding_blocking(None)).await?;
                match replication.0.parts.consent.to(asker, &offer, holding) {
                    Ok(()) => Answer::Welcome,
                    Err(declined) => Answer::Declined(declined),
                }
            }
            Question::Relieve(offer) => match self.relieve(asker, &offer).await? {
                Ok(()) => Answer::Welcome,
                Err(declined) => {
                    tracing::info!(peer = %asker, tenant = %offer.tenant, %declined, "a full node is not relieved");
                    Answer::Declined(declined)
                }
            },
            Question::Stand(of) => {
                let unknown = || ReplicationError::Refused(Refusal::UnknownTenant);
                let tenant = self.placement().tenant(&of.tenant).ok_or_else(unknown)?;
                let stand = replication.stand(&tenant).await?;
                // Whether it serves is for whoever gave the tenant away, too, and on the ledger for everybody.
                let hosts = self.known(asker, &of.tenant).is_ok();
                Answer::Stand(if hosts { stand } else { Stand { bytes: 0, stopped: None, account: [0; 32], ..stand } })
            }
            Question::Holds(of) => {
                let tenant = self.known(asker, &of.tenant)?;
                let stand = replication.stand(&tenant).await?;
                if stand.complete.is_none() || stand.stopped.is_some() {
                    return Err(refused("the copy is not whole").into());
                }
                Answer::Holds(replication.holds(&tenant, stand.account).await?)
            }
            Question::Accept(asked) => {
                let tenant = self.known(asker, &asked.tenant)?;
                // It is given to the primary alone, for the next epoch, by a node that has a whole copy.
                let is_next = tenant.placed.primary == *asker && tenant.placed.epoch + 1 == asked.epoch;
                if !is_next || replication.stand(&tenant).await?.complete.is_none() {
                    return Err(ReplicationError::Refused(Refusal::NotPrimary).into());
                }
                let network = self.placement().ledger().network();
                let (domain, message) = statement::hosting(network, &asked.tenant, asked.epoch, self.own());
                Answer::Accepted(replication.0.parts.submitter.key().sign(domain, &message))
            }
            Question::Session(asked) => self.open_session(asker, &asked).await?,
            Question::Return(of) => {
                let tenant = self.moved_here_from(asker, &of.tenant)?;
                let account = self.account(&tenant.did).await?;
                let view = self.roll_back(&account).await?;
                Answer::Returning(view["id"].as_str().unwrap_or_default().to_owned())
            }
            Question::Release(of) => {
                let tenant = self.known(asker, &of.tenant)?;
                if !tenant.is_primary() {
                    return Err(ReplicationError::Refused(Refusal::NotPrimary).into());
                }
                if self.dismiss(&tenant, asker).await? { Answer::Released } else { Answer::Needed }
            }
            Question::Drop(of) => {
                let own = self.own().clone();
                let needless = move |tenant: Option<&Arc<Tenant>>| {
                    tenant.is_none_or(|tenant| !tenant.placed.hosts().any(|host| *host == own))
                };
                // The ledger alone says that nobody needs it, whoever asks.
                self.until_placed(&of.tenant, needless).await?;
                if self.placement().tenant(&of.tenant).is_some_and(|tenant| tenant.is_former(self.own())) {
                    return Ok(Answer::Needed);
                }
                if self.placement().tenant(&of.tenant).is_some() {
                    replication.drop_copy(&of.tenant).await?;
                }
                Answer::Released
            }
        })
    }

    /// The tenant, if the asker hosts it, or did before a move.
    fn known(&self, asker: &Did, did: &Did) -> Result<Arc<Tenant>, NotMoved> {
        let unknown = || ReplicationError::Refused(Refusal::UnknownTenant);
        let tenant = self.placement().tenant(did).ok_or_else(unknown)?;
        let hosts = tenant.placed.hosts().any(|host| host == asker) || tenant.is_former(asker);
        if hosts { Ok(tenant) } else { Err(ReplicationError::Refused(Refusal::NotAHost).into()) }
    }

    /// The tenant, if this node serves it and the asker did before.
    fn moved_here_from(&self, asker: &Did, did: &Did) -> Result<Arc<Tenant>, NotMoved> {
        let tenant = self.known(asker, did)?;
        let serves = tenant.is_primary() && tenant.serves();
        if serves && tenant.is_former(asker) {
            Ok(tenant)
        } else {
            Err(ReplicationError::Refused(Refusal::NotPrimary).into())
        }
    }

    /// A token for a client whose own the former primary has checked: it held the account until the switch, and may take
    /// it back, so its word counts for as long.
    async fn open_session(&self, asker: &Did, asked: &Session) -> Result<Answer, NotMoved> {
        let tenant = self.moved_here_from(asker, &asked.of.tenant)?;
        let account = self.account(&tenant.did).await?;
        let app = |privileged| Login::App { name: MOVED_APP.to_owned(), privileged };
        let login = match asked.allows {
            Allows::Owner => Login::Owner,
            Allows::PrivilegedApp => app(true),
            Allows::App => app(false),
        };
        let sessions = self.0.parts.sessions.clone();
        let opened = blocking::run(move || sessions.create_blocking(&account, login, clock::now())).await;
        let tokens = opened.map_err(|error| refused(&error.to_string()))?;
        Ok(Answer::Session { access: tokens.access, endpoint: self.0.parts.endpoint.clone() })
    }
}
