//! Who has an archive proves it, and nobody else; what is asked costs no more than the bounds say.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

fn read(archive: &[u8]) -> impl FnMut(u64, u64) -> Result<Vec<u8>, Infallible> + '_ {
    |offset, bytes| {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(archive.len());
        let to = from.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX)).min(archive.len());
        Ok(archive[from..to].to_vec())
    }
}

fn answer(challenge: &Challenge, archive: &[u8]) -> [u8; 32] {
    let Ok(answer) = challenge.answer(archive.len() as u64, read(archive));
    answer
}

fn question(archive: &[u8], seed: u64) -> Question {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let offsets = offsets(archive.len() as u64, |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    });
    let nonce = Sha256::digest(seed.to_be_bytes()).into();
    let challenge = Challenge { archive: Sha256::digest(archive).into(), nonce, offsets };
    let answer = answer(&challenge, archive);
    Question { challenge, answer }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A vault that proved at 5 to have what it is asked about.
fn proved(question: &Question) -> Record {
    let mut record = Record::default();
    assert!(!record.said(Some(question.challenge.archive), at(1)));
    assert!(!record.answered(question, Some(question.answer), at(5)));
    record
}

proptest! {
    #[test]
    fn whoever_has_it_proves_it_and_whoever_has_not_does_not(
        archive in proptest::collection::vec(any::<u8>(), 1..40_000), seed in any::<u64>(), flipped in any::<u16>(),
    ) {
        let asked = question(&archive, seed);
        prop_assert!(asked.challenge.offsets.iter().all(|offset| *offset < archive.len() as u64));
        prop_assert_eq!(asked.challenge.check(), Ok(()));
        prop_assert_eq!(answer(&asked.challenge, &archive), asked.answer);
        // Another byte in a range that is asked for, a byte less, another nonce.
        let range = asked.challenge.offsets[0] as usize;
        let within = (archive.len() - range).min(VAULT_RANGE_BYTES as usize);
        let mut altered = archive.clone();
        altered[range + usize::from(flipped) % within] ^= 1;
        prop_assert_ne!(answer(&asked.challenge, &altered), asked.answer);
        prop_assert_ne!(answer(&asked.challenge, &archive[..range]), asked.answer);
        let again = question(&archive, seed.wrapping_add(1));
        prop_assert_ne!(answer(&again.challenge, &archive), asked.answer);
    }

    #[test]
    fn whatever_is_asked_little_is_read_and_nothing_beyond_the_end(
        offsets in proptest::collection::vec(any::<u64>(), 0..100), bytes in 0..100_000_u64,
    ) {
        let challenge = Challenge { archive: [1; 32], nonce: [2; 32], offsets };
        prop_assert_eq!(challenge.check().is_ok(), (1..=VAULT_RANGES_MAX).contains(&challenge.offsets.len()));
        let (mut reads, mut sum) = (0, 0);
        let Ok(_) = challenge.answer(bytes, |offset, wanted| {
            reads += 1;
            sum += wanted;
            assert!(offset.checked_add(wanted).is_some_and(|end| end <= bytes), "{offset} and {wanted} of {bytes}");
            Ok::<_, Infallible>(vec![0; wanted as usize])
        });
        prop_assert!(reads <= VAULT_RANGES_MAX && sum <= VAULT_RANGES_MAX as u64 * VAULT_RANGE_BYTES);
    }

    /// Whatever a vault says and answers: what is counted as lost was lost, and nothing but a right answer is a proof.
    #[test]
    fn a_record_says_what_happened(steps in proptest::collection::vec((0..5_u8, 0..3_u8), 0..40)) {
        let archives: Vec<_> = (0..3_u8).map(|seed| question(&[seed; 5_000], seed.into())).collect();
        let mut record = Record::default();
        let (mut losses, mut newest) = (0, None);
        for (time, (step, which)) in steps.into_iter().enumerate() {
            let (now, asked) = (at(time as u64 + 1), &archives[usize::from(which)]);
            let before = record.clone();
            let lost = match step {
                0 => record.said(Some(asked.challenge.archive), now),
                1 => record.said(None, now),
                2 => {
                    newest = Some(true);
                    record.answered(asked, Some(asked.answer), now)
                }
                3 => record.answered(asked, Some([0; 32]), now),
                _ => record.answered(asked, None, now),
            };
            if lost {
                losses += 1;
                newest = Some(false);
                prop_assert!(record.has.is_none() && record.lost.is_some());
                prop_assert_eq!(record.state(), State::Lost);
            }
            prop_assert_eq!(lost, step >= 3 || (step == 1 && before.has.is_some()));
            prop_assert_eq!(record.losses, losses);
            prop_assert_eq!(record.state() == State::Proved, newest == Some(true));
            // What was lost is not believed to be there again.
            prop_assert!(record.lost.is_none_or(|lost| !record.has(&lost)));
        }
    }
}

#[test]
fn half_an_archive_is_noticed_at_once_and_a_little_soon() {
    let archive: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 251) as u8).collect();
    let caught = |kept: usize| {
        let is_caught = |seed: &u64| {
            let asked = question(&archive, *seed);
            answer(&asked.challenge, &archive[..kept]) != asked.answer
        };
        (0..20).filter(is_caught).count()
    };
    assert_eq!(caught(archive.len()), 0);
    assert_eq!(caught(archive.len() / 2), 20);
    assert!(caught(archive.len() / 20 * 19) > 10);
}

#[test]
fn a_lost_copy_stays_lost_until_another_is_proved() {
    let (old, new) = (question(&[1; 9_000], 1), question(&[2; 9_000], 2));
    let mut record = proved(&old);
    assert_eq!(record.state(), State::Proved);
    assert!(record.answered(&old, Some([9; 32]), at(7)));
    assert!(record.has_lost(&old.challenge.archive));
    // It does not know what is on its disk, and goes on saying that it has it.
    assert!(!record.said(Some(old.challenge.archive), at(8)));
    assert!(!record.has(&old.challenge.archive));
    assert!(!record.said(Some(new.challenge.archive), at(9)));
    assert_eq!((record.state(), record.has(&new.challenge.archive)), (State::Lost, true));
    assert!(!record.answered(&new, Some(new.answer), at(10)));
    assert_eq!((record.state(), record.losses, record.lost_at), (State::Proved, 1, Some(at(7))));
}

#[test]
fn what_it_says_itself_counts_too_and_clocks_do_not() {
    let asked = question(&[1; 9_000], 1);
    let mut record = proved(&asked);
    // A clock that went back makes no proof out of a loss.
    assert!(record.said(None, at(2)));
    assert_eq!((record.state(), record.losses), (State::Lost, 1));
    assert!(!record.said(None, at(11)), "it is lost once");
    assert_eq!(Record::default().state(), State::Waiting);
    let mut new = Record::default();
    assert!(!new.said(None, at(1)), "one that never had it has lost nothing");
    new.said(Some([3; 32]), at(2));
    assert_eq!(new.state(), State::Unproved);
}

#[test]
fn so_many_questions_as_are_asked_and_some_more() {
    const HOUR: u64 = 3_600_000;
    assert_eq!(questions(24 * HOUR, HOUR, 1), 32);
    assert_eq!(questions(24 * HOUR, HOUR, 3), 96);
    assert_eq!(questions(HOUR, 24 * HOUR, 0), 9);
    assert_eq!(questions(u64::MAX, 0, usize::MAX), VAULT_QUESTIONS_MAX);
}

#[test]
fn another_archive_is_due_when_the_newest_is_of_no_more_use() {
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);
    let asked = question(&[1; 9_000], 1);
    let newest = Newest { digest: asked.challenge.archive, age: HOUR, questions: 3, is_there: true };
    let (new, has) = (Record::default(), proved(&asked));
    let mut lost = has.clone();
    lost.answered(&asked, None, at(9));
    let mut older = Record::default();
    older.said(Some([8; 32]), at(1));
    let ages = Ages { min: HOUR, max: DAY };
    let due = |newest: Newest, vaults: &[&Record]| is_due(Some(&newest), ages, vaults.iter().copied());
    assert!(is_due(None, ages, std::iter::once(&new)));
    assert!(!due(newest, &[&new]) && !due(newest, &[&has]) && !due(newest, &[&has, &new]));
    assert!(due(newest, &[&has, &lost]), "it was lost");
    let gone = Newest { is_there: false, ..newest };
    assert!(!due(gone, &[&has]) && due(gone, &[&has, &new]), "somebody lacks what is not there");
    assert!(due(gone, &[&has, &older]) && !due(newest, &[&has, &older]));
    let old = Newest { age: DAY, ..newest };
    assert!(due(old, &[&has, &new]) && !due(old, &[&new]), "one that nobody fetched waits");
    let asked_out = Newest { questions: 0, ..newest };
    assert!(due(asked_out, &[&has]) && !due(asked_out, &[&new]));

    // Nothing that a vault says or forgets has them made one after the other; one that is new does not wait for that.
    let young = |newest: Newest| Newest { age: Duration::from_secs(1), ..newest };
    assert!(!due(young(newest), &[&lost]) && !due(young(gone), &[&older]) && !due(young(asked_out), &[&has]));
    assert!(due(young(gone), &[&has, &new]));
}
