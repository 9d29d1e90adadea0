//! A blob lives by being named, and goes in two steps.

use angel_protocol::data::Codec;

use super::*;
use crate::accounts::TakedownRow;
use crate::store::Store;
use crate::writer::{CommitError, Conflict};

const ADA: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const START: Timestamp = Timestamp::from_millis(1_763_715_600_000);

struct World {
    store: Store,
    now: Timestamp,
    revs: u64,
}

impl World {
    fn new() -> Self {
        Self { store: Store::in_memory().expect("starts"), now: START, revs: 0 }
    }

    fn reader(&self) -> &Reader {
        self.store.reader()
    }

    fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.store.writer().commit(batch).map(drop)
    }

    fn upload(&self, account: AccountId, blob: &BlobRef) -> BlobRow {
        let mut batch = Batch::new();
        let row = stage_upload(self.reader(), &mut batch, account, blob, self.now).expect("fits");
        self.commit(batch).expect("commits");
        row
    }

    fn staged(
        &mut self,
        account: AccountId,
        path: &str,
        absent: Absent,
        added: &[BlobRef],
        removed: &[BlobRef],
    ) -> Result<Batch, NamingError> {
        self.revs += 1;
        let path = path.parse().expect("valid");
        let rev = Tid::new(START.as_millis() * 1000 + self.revs, 0);
        let naming = Naming { account, path: &path, rev, now: self.now, absent };
        let mut batch = Batch::new();
        stage_refs(self.reader(), &mut batch, naming, added, removed).map(|()| batch)
    }

    fn name(&mut self, path: &str, added: &[BlobRef], removed: &[BlobRef]) {
        let batch = self.staged(ADA, path, Absent::Refuse, added, removed).expect("the blobs are here");
        self.commit(batch).expect("commits");
    }

    /// Looks at everything that is due; answers which files may go.
    fn sweep(&self) -> Vec<Cid> {
        for check in due_checks(self.reader(), self.now, 100).expect("reads") {
            let mut batch = Batch::new();
            stage_check(self.reader(), &mut batch, check, self.now).expect("fits");
            self.commit(batch).expect("nobody interferes");
        }
        let due = due_files(self.reader(), self.now, 100).expect("reads");
        let mut gone = Vec::new();
        for file in due {
            if !is_held(self.reader(), file.cid).expect("reads") {
                gone.push(file.cid);
            }
            let mut batch = Batch::new();
            stage_file_done(&mut batch, file).expect("fits");
            self.commit(batch).expect("commits");
        }
        gone
    }

    fn listed(&self) -> Vec<Cid> {
        list(self.reader(), ADA, None, None, 100).expect("reads")
    }
}

fn blob(n: u32) -> BlobRef {
    let cid = Cid::of(Codec::Raw, &n.to_be_bytes());
    BlobRef { cid, mime_type: "image/png".to_owned(), size: Some(4) }
}

#[test]
fn an_upload_that_nobody_names_goes_after_a_day_and_its_file_an_hour_later() {
    let mut world = World::new();
    world.upload(ADA, &blob(1));
    assert!(!is_named(world.reader(), ADA, blob(1).cid).expect("reads"));
    world.now = START + UNNAMED_FOR - Duration::from_millis(1);
    assert_eq!(world.sweep(), []);
    assert!(get(world.reader(), ADA, blob(1).cid).expect("reads").is_some());
    world.now = START + UNNAMED_FOR;
    assert_eq!(world.sweep(), [], "the row first");
    assert_eq!(get(world.reader(), ADA, blob(1).cid).expect("reads"), None);
    world.now = world.now + FILE_STAYS_FOR;
    assert_eq!(world.sweep(), [blob(1).cid]);
    assert_eq!(world.sweep(), [], "once");
}

#[test]
fn a_named_blob_stays_until_the_last_record_is_gone() {
    let mut world = World::new();
    world.upload(ADA, &blob(1));
    world.name("com.example.a/1", &[blob(1)], &[]);
    world.name("com.example.a/2", &[blob(1)], &[]);
    world.name("com.example.a/1", &[], &[blob(1)]);
    world.now = world.now + UNNAMED_FOR + FILE_STAYS_FOR;
    assert_eq!(world.sweep(), []);
    assert_eq!(world.listed(), [blob(1).cid]);

    world.name("com.example.a/2", &[], &[blob(1)]);
    assert_eq!(world.listed(), [], "at once");
    world.now = world.now + UNNAMED_FOR;
    world.sweep();
    world.now = world.now + FILE_STAYS_FOR;
    assert_eq!(world.sweep(), [blob(1).cid]);
}

#[test]
fn the_file_stays_while_another_account_has_it() {
    let mut world = World::new();
    world.upload(ADA, &blob(1));
    world.now = world.now + Duration::from_hours(20);
    world.upload(BOB, &blob(1));
    world.now = START + UNNAMED_FOR;
    world.sweep();
    assert_eq!(get(world.reader(), ADA, blob(1).cid).expect("reads"), None);
    world.now = world.now + FILE_STAYS_FOR;
    assert_eq!(world.sweep(), []);
    world.now = START + Duration::from_hours(20) + UNNAMED_FOR;
    world.sweep();
    world.now = world.now + FILE_STAYS_FOR;
    assert_eq!(world.sweep(), [blob(1).cid]);
}

#[test]
fn a_record_that_is_under_way_while_the_blob_goes_keeps_it() {
    let mut world = World::new();
    world.upload(ADA, &blob(1));
    world.now = world.now + UNNAMED_FOR;
    let check = due_checks(world.reader(), world.now, 1).expect("reads")[0];
    let mut going = Batch::new();
    assert!(stage_check(world.reader(), &mut going, check, world.now).expect("fits"));
    let naming = world.staged(ADA, "com.example.a/1", Absent::Refuse, &[blob(1)], &[]).expect("still here");

    // The record first: the check is refused, and finds it named the next time.
    world.commit(naming).expect("commits");
    let refused = world.commit(going.clone()).expect_err("it is named now");
    assert!(matches!(refused, CommitError::Conflict { conflict: Conflict::Differs, .. }));
    world.sweep();
    assert_eq!(world.listed(), [blob(1).cid]);

    // The check first: the record brings the row back, and the file stays.
    let mut world = World::new();
    world.upload(ADA, &blob(1));
    world.now = world.now + UNNAMED_FOR;
    let naming = world.staged(ADA, "com.example.a/1", Absent::Refuse, &[blob(1)], &[]).expect("still here");
    world.sweep();
    world.commit(naming).expect("commits");
    world.now = world.now + FILE_STAYS_FOR;
    assert_eq!(world.sweep(), []);
    assert!(get(world.reader(), ADA, blob(1).cid).expect("reads").is_some());
}

#[test]
fn what_a_record_says_of_an_upload_must_be_true() {
    let mut world = World::new();
    let refused =
        |world: &mut World, blob: BlobRef| world.staged(ADA, "com.example.a/1", Absent::Refuse, &[blob], &[]).err();
    assert!(matches!(refused(&mut world, blob(1)), Some(NamingError::NotFound { .. })));
    world.upload(BOB, &blob(1));
    assert!(matches!(refused(&mut world, blob(1)), Some(NamingError::NotFound { .. })), "Bob's is not Ada's");
    world.upload(ADA, &blob(1));
    let text = BlobRef { mime_type: "text/plain".to_owned(), ..blob(1) };
    assert!(matches!(refused(&mut world, text.clone()), Some(NamingError::MimeType { .. })));
    let short = BlobRef { size: Some(3), ..blob(1) };
    assert!(matches!(refused(&mut world, short), Some(NamingError::Size { .. })));
    world.name("com.example.a/1", &[blob(1)], &[]);
    assert!(refused(&mut world, text.clone()).is_none(), "a record that was there before may be written anew");
    assert_eq!(world.upload(ADA, &text).mime_type, "image/png", "records rely on it");

    let mut batch = Batch::new();
    let row = TakedownRow { reference: None, at: world.now };
    batch.put(&TAKEDOWNS, &(ADA, takedown_of_blob(&blob(1).cid)), &row).expect("fits");
    world.commit(batch).expect("commits");
    assert!(matches!(refused(&mut world, blob(1)), Some(NamingError::NotFound { .. })), "taken down");
}

#[test]
fn missing_blobs_are_named_until_they_are_uploaded() {
    let mut world = World::new();
    let blobs: Vec<_> = (0..5).map(blob).collect();
    for (n, blob) in blobs.iter().enumerate() {
        for copy in ["a", "b"] {
            let path = format!("com.example.{copy}/{n}");
            let batch = world.staged(ADA, &path, Absent::Note, std::slice::from_ref(blob), &[]).expect("noted");
            world.commit(batch).expect("commits");
        }
    }
    let missing = |world: &World, after| missing(world.reader(), ADA, after, 2).expect("reads");
    let mut seen = Vec::new();
    loop {
        let page = missing(&world, seen.last().copied());
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|(_, path)| path.starts_with("com.example.a/")));
        seen.extend(page.iter().map(|(cid, _)| *cid));
    }
    let mut all: Vec<_> = blobs.iter().map(|blob| blob.cid).collect();
    all.sort();
    assert_eq!(seen, all);
    assert_eq!(counts(world.reader(), ADA).expect("reads"), Counts { named: 5, present: 0 });

    for blob in &blobs[..4] {
        assert_eq!(world.upload(ADA, blob).named_at, Some(START));
    }
    assert_eq!(missing(&world, None).iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), [blobs[4].cid]);
    assert_eq!(counts(world.reader(), ADA).expect("reads"), Counts { named: 5, present: 4 });
    for copy in ["a", "b"] {
        let path = format!("com.example.{copy}/4");
        let batch = world.staged(ADA, &path, Absent::Refuse, &[], &blobs[4..]).expect("removed");
        world.commit(batch).expect("commits");
    }
    assert_eq!(missing(&world, None), [], "no record names it any more");
    world.now = world.now + UNNAMED_FOR;
    world.sweep();
    assert_eq!(counts(world.reader(), ADA).expect("reads"), Counts { named: 4, present: 4 });
}

#[test]
fn lists_name_each_blob_once_however_many_records_do() {
    let mut world = World::new();
    let blobs: Vec<_> = (0..4).map(blob).collect();
    blobs.iter().for_each(|blob| drop(world.upload(ADA, blob)));
    world.upload(BOB, &blob(9));
    for n in 0..BULK_ROWS + 10 {
        world.name(&format!("com.example.a/{n}"), &blobs[1..2], &[]);
    }
    let middle = Tid::new(START.as_millis() * 1000 + world.revs, 0);
    for n in 0..4 {
        world.name(&format!("com.example.b/{n}"), &blobs[n..=n], &[]);
    }
    let mut all: Vec<_> = blobs.iter().map(|blob| blob.cid).collect();
    all.sort();
    assert_eq!(world.listed(), all);
    let mut paged = Vec::new();
    while let page = list(world.reader(), ADA, None, paged.last().copied(), 3).expect("reads")
        && !page.is_empty()
    {
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(list(world.reader(), ADA, Some(middle), None, 100).expect("reads"), all, "each was named later too");
    let last = Tid::new(START.as_millis() * 1000 + world.revs - 1, 0);
    assert_eq!(list(world.reader(), ADA, Some(last), None, 100).expect("reads"), [blobs[3].cid]);
    assert_eq!(list(world.reader(), BOB, None, None, 100).expect("reads"), [], "an upload alone is not listed");
}

#[test]
fn an_account_that_goes_takes_its_rows_and_leaves_those_of_others() {
    let mut world = World::new();
    for n in 0..10 {
        world.upload(ADA, &blob(n));
        world.name(&format!("com.example.a/{n}"), &[blob(n)], &[]);
    }
    world.upload(BOB, &blob(0));
    let batch = world.staged(ADA, "com.example.a/99", Absent::Note, &[blob(77)], &[]).expect("noted");
    world.commit(batch).expect("commits");
    loop {
        let mut batch = Batch::new();
        if stage_removal(world.reader(), &mut batch, ADA, world.now, 4).expect("fits") == 0 {
            break;
        }
        world.commit(batch).expect("commits");
    }
    assert_eq!(world.listed(), []);
    assert_eq!(counts(world.reader(), ADA).expect("reads"), Counts::default());
    world.now = world.now + FILE_STAYS_FOR;
    assert_eq!(world.sweep().len(), 9, "Bob has the tenth");
    assert!(get(world.reader(), BOB, blob(0).cid).expect("reads").is_some());
}
