//! How active the members of a space are (SPC-02, SPC-03).

/// What a member did in the last 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Messages.
    pub messages: u64,
    /// Posts and pages that they wrote.
    pub content: u64,
    /// Events that they came to.
    pub events: u64,
    /// Time spent, in minutes.
    pub minutes: u64,
    /// How long ago they were last active, in whole days.
    pub idle_days: u64,
}

/// How many days of a member's doings count.
pub const ACTIVE_DAYS: u64 = 30;

/// A member's score, from 0 to 100 (SPC-03).
#[must_use]
pub fn member_score(activity: &Activity) -> u64 {
    let Activity { messages, content, events, minutes, idle_days } = *activity;
    let parts = messages.min(40)
        + content.saturating_mul(4).min(20)
        + events.saturating_mul(5).min(20)
        + (minutes / 30).min(20);
    let percent = match idle_days {
        0..=7 => 100,
        8..=14 => 75,
        15..=ACTIVE_DAYS => 50,
        _ => 0,
    };
    parts * percent / 100
}

/// A member's score from which they count as taking part.
const TAKES_PART: u64 = 20;

/// A space's score, from 0 to 100, by the scores of those of its `members` who did anything (SPC-02); `None` without
/// members.
#[must_use]
pub fn space_score(scores: impl IntoIterator<Item = u64>, members: u64) -> Option<u64> {
    let (mut sum, mut active) = (0_u64, 0_u64);
    for score in scores {
        sum = sum.saturating_add(score.min(100));
        active = active.saturating_add(u64::from(score >= TAKES_PART));
    }
    let share = active.min(members).saturating_mul(50).checked_div(members)?;
    // Half of the mean, each rounded down.
    Some(share + sum.checked_div(members)?.min(100) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_score_is_that_of_the_specification() {
        let active = Activity { messages: 30, content: 2, events: 1, minutes: 300, idle_days: 0 };
        assert_eq!(member_score(&active), 53);
        let score = |idle_days| member_score(&Activity { idle_days, ..active });
        assert_eq!(
            [score(7), score(8), score(10), score(14), score(15), score(30), score(31)],
            [53, 39, 39, 39, 26, 26, 0]
        );
        let most =
            Activity { messages: u64::MAX, content: u64::MAX, events: u64::MAX, minutes: u64::MAX, idle_days: 0 };
        assert_eq!(member_score(&most), 100);
        assert_eq!(member_score(&Activity { messages: 41, ..Activity::default() }), 40);
    }

    #[test]
    fn a_space_is_as_active_as_its_members() {
        assert_eq!(space_score([], 0), None);
        assert_eq!(space_score([], 3), Some(0));
        // One of three takes part: 16, and half of the mean of (53 + 19 + 0) / 3.
        assert_eq!(space_score([53, 19], 3), Some(16 + 12));
        assert_eq!(space_score([100, 100], 2), Some(100));
        assert_eq!(space_score([20], 1), Some(60));
        assert_eq!(space_score([19], 1), Some(9));
    }
}
