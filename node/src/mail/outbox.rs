//! Sending what is in the outbox: one mail at a time, oldest first, again and again while it is worth it.

use std::time::Duration;

use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::accounts::{MAIL_OUTBOX, MailRow};
use lettre::message::Mailbox;
use lettre::message::{MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio_util::sync::CancellationToken;

use super::{Mail, OUTBOX_MAX, html};
use crate::accounts::AccountError;
use crate::config::MailConfig;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// How long one attempt may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(60);

/// The first pause after a failure; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(15);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_mins(30);

/// Mails sent before others that wait get a turn.
const PAGE: usize = 20;

/// The mail server, and who mail is from.
#[derive(Debug)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Why mail cannot be sent with this configuration. Shows no password.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The URL.
    #[error("mail.smtp_url is no URL of a mail server; write it as smtps://user:password@mail.example.org")]
    Url,
    /// The sender.
    #[error("mail.from {0:?} is no e-mail address; write it as angel@example.org, or as Angel <angel@example.org>")]
    From(String),
}

impl Smtp {
    /// From the configuration; `None` when no server is set. `host` is the host name in the sender's default address.
    ///
    /// # Errors
    /// [`SmtpError`].
    pub fn new(config: &MailConfig, host: &str) -> Result<Option<Self>, SmtpError> {
        let Some(url) = &config.smtp_url else { return Ok(None) };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose()).map_err(|_| SmtpError::Url)?;
        let from = config.from.clone().unwrap_or_else(|| format!("angel@{host}"));
        let from = from.parse().map_err(|_| SmtpError::From(from))?;
        Ok(Some(Self { transport: transport.timeout(Some(ATTEMPT_LIMIT)).build(), from }))
    }

    async fn send(&self, mail: &MailRow) -> Result<(), String> {
        let to = mail.to.parse().map_err(|_| "the address is none".to_owned())?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .multipart(bodies(&mail.text))
            .map_err(|error| error.to_string())?;
        self.transport.send(message).await.map(drop).map_err(|error| error.to_string())
    }
}

impl Mail {
    /// Sends what is in the outbox, until asked to stop. What is not sent by then is sent after the next start.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        if self.0.smtp.is_none() {
            stop.cancelled().await;
            return Ok(());
        }
        loop {
            let work = async {
                let next = self.send_due().await?;
                tokio::select! {
                    () = self.0.wake.notified() => {}
                    () = sleep_until(next) => {}
                }
                Ok::<_, AccountError>(())
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = work => done?,
            }
        }
    }

    /// Sends what is due, and tells when something is due again.
    async fn send_due(&self) -> Result<Option<Timestamp>, AccountError> {
        let mut next: Option<Timestamp> = None;
        let mut after = 0;
        loop {
            let reader = self.0.reader.clone();
            let page = blocking::run(move || reader.scan(&MAIL_OUTBOX).after(&after).page(PAGE)).await?;
            for (number, mail) in page.rows {
                after = number;
                let due = self.attend(number, mail).await?;
                next = [next, due].into_iter().flatten().min();
            }
            if !page.more {
                return Ok(next);
            }
        }
    }

    /// Sends a mail if it is due, and tells when it is due again, if it still waits.
    async fn attend(&self, number: u64, mail: MailRow) -> Result<Option<Timestamp>, AccountError> {
        let now = clock::now();
        if mail.not_before > now && mail.give_up_at > now {
            return Ok(Some(mail.not_before));
        }
        let mut batch = Batch::new();
        let mut due = None;
        let Some(smtp) = &self.0.smtp else { return Ok(None) };
        if mail.give_up_at <= now {
            tracing::warn!(attempts = mail.attempts, "a mail was given up; is mail.smtp_url right?");
            batch.delete(&MAIL_OUTBOX, &number)?;
        } else if let Err(error) = smtp.send(&mail).await {
            let later = clock::now() + pause(mail.attempts);
            tracing::warn!(error, attempts = mail.attempts + 1, "a mail could not be sent; it is tried again");
            batch.put(&MAIL_OUTBOX, &number, &MailRow { attempts: mail.attempts + 1, not_before: later, ..mail })?;
            due = Some(later);
        } else {
            tracing::debug!("a mail was sent");
            batch.delete(&MAIL_OUTBOX, &number)?;
        }
        let writer = self.0.writer.clone();
        blocking::run(move || writer.commit(batch)).await?;
        Ok(due)
    }
}

/// A letter in the forms in which mail programs show it.
fn bodies(text: &str) -> MultiPart {
    if html::is_page(text) {
        MultiPart::alternative().singlepart(SinglePart::html(text.to_owned()))
    } else {
        MultiPart::alternative_plain_html(text.to_owned(), html::page(text))
    }
}

fn pause(attempts: u16) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << attempts.min(16)).min(PAUSE_MAX)
}

async fn sleep_until(due: Option<Timestamp>) {
    match due {
        Some(due) => tokio::time::sleep(due.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

// The whole outbox is looked through at each turn; it is small.
const _: () = assert!(OUTBOX_MAX <= 10_000);
