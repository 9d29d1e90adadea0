use angel_storage::Store;
use angel_storage::accounts::{MAIL_CODES, MailPurpose};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::accounts::Accounts;
use crate::accounts::tests::new_account;
use crate::clock;
use crate::config::{MailConfig, Secret};
use crate::data_dir::DataDir;

struct World {
    store: Store,
    accounts: Accounts,
    _dir: TempDir,
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        let store = Store::in_memory().expect("starts");
        let accounts = Accounts::open(store.reader().clone(), store.writer().clone(), data.layout()).expect("opens");
        Self { store, accounts, _dir: dir }
    }

    fn account(&self, n: u8) -> Account {
        let (did, handle, email) = (format!("did:plc:n{n}"), format!("n{n}.test"), format!("n{n}@mail.test"));
        let new = new_account(&did, &handle, Some(&email));
        self.accounts.create_blocking::<AccountError>(new, |_, _, _| Ok(())).expect("made")
    }

    fn mail(&self, smtp_url: Option<String>) -> Mail {
        let config = MailConfig { smtp_url: smtp_url.map(Secret::new), from: None };
        let smtp = Smtp::new(&config, "host.test").expect("configured");
        let (reader, writer) = (self.store.reader().clone(), self.store.writer().clone());
        Mail::open(reader, writer, smtp, "host.test".to_owned()).expect("opens")
    }
}

#[test]
fn a_code_is_good_once_for_its_account_and_purpose_and_for_a_quarter_of_an_hour() {
    let world = World::new();
    let mail = world.mail(None);
    let (alice, bob) = (world.account(1), world.account(2));
    let purpose = MailPurpose::DeleteAccount;
    mail.send_code_blocking(&alice, purpose, NOW).expect("made");
    let codes = mail.codes();
    let code = codes.current_blocking(alice.id(), purpose, NOW).expect("reads").expect("there");
    assert!(code.len() == 11 && code.as_bytes()[5] == b'-', "{code}");
    let used = |id, purpose, code: &str, now| codes.use_blocking(id, purpose, code, now);
    assert!(matches!(used(bob.id(), purpose, &code, NOW), Err(CodeRefused::Invalid)));
    assert!(matches!(used(alice.id(), MailPurpose::PlcOperation, &code, NOW), Err(CodeRefused::Invalid)));
    assert!(matches!(used(alice.id(), purpose, "AAAAA-AAAAA", NOW), Err(CodeRefused::Invalid)));
    assert!(matches!(used(alice.id(), purpose, &code, NOW + CODE_LIFE), Err(CodeRefused::Expired)));
    codes.check_blocking(alice.id(), purpose, &code, NOW).expect("checked and not used");
    used(alice.id(), purpose, &code.to_lowercase(), NOW).expect("in lower case too");
    assert!(matches!(used(alice.id(), purpose, &code, NOW), Err(CodeRefused::Invalid)), "a second time");
    assert_eq!(codes.current_blocking(alice.id(), purpose, NOW).expect("reads"), None);
}

#[test]
fn a_new_code_takes_the_place_of_the_old_and_guessing_ends_it() {
    let world = World::new();
    let mail = world.mail(None);
    let alice = world.account(1);
    let purpose = MailPurpose::ResetPassword;
    let fresh = || {
        mail.send_code_blocking(&alice, purpose, NOW).expect("made");
        mail.codes().current_blocking(alice.id(), purpose, NOW).expect("reads").expect("there")
    };
    let whose = |code: &str| mail.codes().account_of_reset_blocking(code).expect("reads");
    let (first, second) = (fresh(), fresh());
    assert_eq!((whose(&first), whose(&second)), (None, Some(alice.id())));
    assert_eq!(whose(&second.to_lowercase()), Some(alice.id()));
    assert!(matches!(mail.codes().use_blocking(alice.id(), purpose, &first, NOW), Err(CodeRefused::Invalid)));
    for _ in 0..10 {
        assert!(matches!(mail.codes().use_blocking(alice.id(), purpose, "AAAAA", NOW), Err(CodeRefused::Invalid)));
    }
    assert!(matches!(mail.codes().use_blocking(alice.id(), purpose, &second, NOW), Err(CodeRefused::Invalid)));
    assert!(!world.store.reader().contains(&MAIL_CODES, &(alice.id(), purpose.number())).expect("reads"));
    assert_eq!(whose(&second), None);
}

#[test]
fn of_two_who_use_a_code_at_once_one_is_heard() {
    let world = World::new();
    let mail = world.mail(None);
    let alice = world.account(1);
    let purpose = MailPurpose::UpdateEmail;
    mail.send_code_blocking(&alice, purpose, NOW).expect("made");
    let code = mail.codes().current_blocking(alice.id(), purpose, NOW).expect("reads").expect("there");
    let heard: usize = std::thread::scope(|scope| {
        let attempt = || usize::from(mail.codes().use_blocking(alice.id(), purpose, &code, NOW).is_ok());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(attempt)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(heard, 1);
}

#[test]
fn without_a_server_nothing_is_queued_and_the_operator_is_told() {
    let world = World::new();
    let mail = world.mail(None);
    let alice = world.account(1);
    mail.send_code_blocking(&alice, MailPurpose::ConfirmEmail, NOW).expect("made");
    assert!(matches!(mail.send_text_blocking(&alice, None, "x", NOW), Err(MailError::NoServer)));
    assert!(world.store.reader().scan(&MAIL_OUTBOX).page(1).expect("reads").rows.is_empty());
}

#[test]
fn addresses_that_mail_could_not_reach_are_told_apart() {
    for address in ["a@b.example", "first.last+tag@sub.example.org", "c0ffee@example.com"] {
        assert!(is_email(address), "{address}");
    }
    let long = format!("{}@example.org", "a".repeat(65));
    for address in [
        "",
        "a",
        "@b.example",
        "a@",
        "a@b",
        "a@b..c",
        "a b@c.example",
        "a@b.example\r\nBcc: c@d.example",
        "<a@b.c>",
        "a,b@c.de",
        &long,
    ] {
        assert!(!is_email(address), "{address}");
    }
}

/// A mail server that refuses the first `refusals` mails and gives the text of the one it takes.
async fn take_one(listener: &TcpListener, mut refusals: usize) -> String {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 test\r\n").await.expect("written");
        let mut line = String::new();
        let mut text: Option<String> = None;
        loop {
            line.clear();
            if stream.read_line(&mut line).await.expect("read") == 0 {
                break;
            }
            let answer: &[u8] = match &mut text {
                Some(body) if line == ".\r\n" => {
                    let body = std::mem::take(body);
                    stream.write_all(b"250 taken\r\n").await.expect("written");
                    return body;
                }
                Some(body) => {
                    body.push_str(&line);
                    continue;
                }
                None if line.starts_with("MAIL") && refusals > 0 => {
                    refusals -= 1;
                    b"451 not now\r\n"
                }
                None if line.starts_with("DATA") => {
                    text = Some(String::new());
                    b"354 go on\r\n"
                }
                None => b"250 fine\r\n",
            };
            stream.write_all(answer).await.expect("written");
        }
    }
}

#[tokio::test]
async fn a_mail_is_sent_and_leaves_the_outbox() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("smtp://127.0.0.1:{}", listener.local_addr().expect("bound").port());
    let mail = world.mail(Some(url));
    let alice = world.account(1);
    let stop = CancellationToken::new();
    let task = tokio::spawn(mail.clone().run(stop.clone()));
    let (sender, account) = (mail.clone(), alice.clone());
    tokio::task::spawn_blocking(move || sender.send_code_blocking(&account, MailPurpose::ConfirmEmail, clock::now()))
        .await
        .expect("no panic")
        .expect("queued");
    let text = take_one(&listener, 0).await;
    let code = mail.codes().current_blocking(alice.id(), MailPurpose::ConfirmEmail, clock::now());
    let code = code.expect("reads").expect("there");
    assert!(text.contains("n1@mail.test") && text.contains(&code) && text.contains("angel@host.test"), "{text}");
    let gone = async {
        while !world.store.reader().scan(&MAIL_OUTBOX).page(1).expect("reads").rows.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the outbox empties");
    stop.cancel();
    task.await.expect("no panic").expect("stopped well");
}

#[tokio::test]
async fn a_mail_that_is_refused_waits_and_is_kept() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("smtp://127.0.0.1:{}", listener.local_addr().expect("bound").port());
    let mail = world.mail(Some(url));
    let alice = world.account(1);
    mail.send_code_blocking(&alice, MailPurpose::ConfirmEmail, clock::now()).expect("queued");
    let stop = CancellationToken::new();
    let task = tokio::spawn(mail.clone().run(stop.clone()));
    let server = tokio::spawn(async move { take_one(&listener, 1).await });
    let refused = async {
        loop {
            let rows = world.store.reader().scan(&MAIL_OUTBOX).page(1).expect("reads").rows;
            if rows[0].1.attempts == 1 {
                return rows[0].1.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let row = tokio::time::timeout(Duration::from_secs(30), refused).await.expect("the failure is kept");
    assert!(row.not_before > clock::now(), "and tried again later");
    server.abort();
    stop.cancel();
    task.await.expect("no panic").expect("stopped well");
}

#[test]
fn letters_about_answers_leave_room_for_others() {
    let world = World::new();
    let mail = world.mail(Some("smtp://127.0.0.1:9".to_owned()));
    let alice = world.account(1);
    let answered = Answered { form: "Contact".to_owned(), tenant: "Shop".to_owned(), lines: vec![], template: None };
    let row = MailRow {
        to: "n1@mail.test".to_owned(),
        subject: String::new(),
        text: String::new(),
        created_at: NOW,
        attempts: 0,
        not_before: NOW,
        give_up_at: NOW,
    };
    let waiting = |from: usize, upto: usize| {
        let mut batch = Batch::new();
        for number in from..upto {
            batch.put(&MAIL_OUTBOX, &(1_000_000 + number as u64), &row).expect("fits");
        }
        world.store.writer().commit(batch).expect("commits");
    };
    waiting(0, OUTBOX_FOR_FORMS_MAX - 1);
    mail.send_answers_blocking("desk@shop.example", &answered, NOW).expect("there is room");
    assert!(matches!(mail.send_thanks_blocking("ada@mail.test", &answered, NOW), Err(MailError::OutboxFull)));
    mail.send_text_blocking(&alice, None, "x", NOW).expect("there is room for others");
    assert!(matches!(world.mail(None).send_thanks_blocking("ada@mail.test", &answered, NOW), Err(MailError::NoServer)));
}
