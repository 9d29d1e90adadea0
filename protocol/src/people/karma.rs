//! Karma: what a recognition is worth, which ones are not given, what they add up to and who is told (KAR-01 to KAR-04).
//!
//! Whoever gives a recognition has it weighed against all that there are in the business ([`Weighing`]), in any order. No
//! recognition is worth less than nothing, so the sum of some is never more than the sum of all.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::data::{Map, Value};
use crate::ids::Datetime;
use crate::time::Timestamp;

/// From how many points on somebody is a Guardian Angel (KAR-03).
pub const ANGEL_FROM: u64 = 1000;

/// Recognitions that one person gives on one day, as UTC has it (KAR-02). Those that were taken back are among them.
pub const A_DAY_MAX: u32 = 10;

/// How often two people who recognise nobody else may recognise each other within [`MUTUAL_WITHIN`] before it counts
/// nothing (KAR-02): both directions together.
pub const MUTUAL_MAX: u32 = 5;

/// How far back recognitions of each other are looked at.
pub const MUTUAL_WITHIN: Duration = Duration::from_hours(30 * 24);

/// What a recognition says that counts nothing because two people recognised each other alone, and too often.
pub const RECIPROCAL: &str = "reciprocal_recognition";

/// The type of recognition that Guardian Angels alone give (RBC-05).
const ANGELS_OWN: &str = "guardian_angel_action";

const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// What a recognition of a type is worth (KAR-02); `None` for a type that there is not.
#[must_use]
pub fn points(kind: &str) -> Option<u64> {
    Some(match kind {
        "helpful_response" => 20,
        "quality_content" => 10,
        "community_leadership" | "technical_excellence" => 25,
        ANGELS_OWN => 50,
        _ => return None,
    })
}

/// Whether so much karma makes a Guardian Angel (KAR-03).
#[must_use]
pub const fn is_angel(score: u64) -> bool {
    score >= ANGEL_FROM
}

/// A recognition that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognition<'r> {
    /// Who gave it.
    pub by: &'r str,
    /// To whom.
    pub to: &'r str,
    /// What it is about.
    pub content: Option<&'r str>,
    /// What it is worth; nothing once it was taken back.
    pub points: u64,
    /// When.
    pub at: Timestamp,
    /// Whether it was taken back.
    pub revoked: bool,
}

impl<'r> Recognition<'r> {
    /// What a record says; `None` of one that the node has not completed.
    #[must_use]
    pub fn read(record: &'r Value) -> Option<Self> {
        let says = |field: &str| record.get(field).and_then(Value::as_str);
        let revoked = says("revokedAt").is_some();
        let points = record.get("points").and_then(Value::as_integer);
        let points = points.and_then(|points| u64::try_from(points).ok()).unwrap_or(0);
        Some(Self {
            by: says("awardedBy")?,
            to: says("toUser")?,
            content: says("relatedContent"),
            points: if revoked { 0 } else { points },
            at: says("awardedAt")?.parse::<Datetime>().ok()?.timestamp()?,
            revoked,
        })
    }
}

/// A recognition that somebody wants to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'w> {
    /// Who gives it.
    pub by: &'w str,
    /// To whom.
    pub to: &'w str,
    /// Of which type.
    pub kind: &'w str,
    /// What it is about.
    pub content: Option<&'w str>,
    /// Whether whom it is for is an agent of who gives it.
    pub own_agent: bool,
}

/// Why a recognition is not given (KAR-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is for who gives it.
    #[error("nobody recognises themselves")]
    Oneself,
    /// It is for an agent of who gives it.
    #[error("nobody recognises their own agents")]
    OwnAgent,
    /// There is no such type.
    #[error("there is no such type of recognition")]
    Unknown,
    /// There is one from the same person to the same, about the same.
    #[error(
        "you have recognised this person for this already; name something else that it is about, or take it back first"
    )]
    Repeated,
    /// As many as a day has were given.
    #[error("a person gives at most {A_DAY_MAX} recognitions a day; try again tomorrow (UTC)")]
    TooMany,
    /// The type is for Guardian Angels to give.
    #[error("such a recognition is given by Guardian Angels, who have {ANGEL_FROM} points of karma")]
    NotAnAngel,
}

/// A recognition that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Award {
    /// What it is worth.
    pub points: u64,
    /// Whether it counts nothing because the two recognise each other alone, and too often.
    pub reciprocal: bool,
    /// The karma of whom it is for, before.
    pub before: u64,
    /// The same with it.
    pub after: u64,
}

impl Award {
    /// Whether it makes somebody a Guardian Angel who was none.
    #[must_use]
    pub const fn makes_angel(&self) -> bool {
        !is_angel(self.before) && is_angel(self.after)
    }
}

/// A recognition that somebody wants to give, beside those that were seen.
#[derive(Clone, Debug)]
pub struct Weighing<'w> {
    wish: Wish<'w>,
    worth: u64,
    now: Timestamp,
    /// The karma of who gives it, and of whom it is for.
    own: Karma<'w>,
    theirs: Karma<'w>,
    repeated: bool,
    today: u32,
    /// Within the last thirty days.
    to_them: u32,
    to_me: u32,
    others: bool,
}

impl<'w> Weighing<'w> {
    /// Begins with none seen.
    ///
    /// # Errors
    /// [`Refused`], by what the wish says by itself.
    pub fn new(wish: Wish<'w>, now: Timestamp) -> Result<Self, Refused> {
        if wish.by == wish.to {
            return Err(Refused::Oneself);
        }
        if wish.own_agent {
            return Err(Refused::OwnAgent);
        }
        let worth = points(wish.kind).ok_or(Refused::Unknown)?;
        let (own, theirs) = (Karma::of(wish.by), Karma::of(wish.to));
        Ok(Self { wish, worth, now, own, theirs, repeated: false, today: 0, to_them: 0, to_me: 0, others: false })
    }

    /// Takes one into account that was given.
    pub fn add(&mut self, given: &Recognition<'_>) {
        let Wish { by, to, content, .. } = self.wish;
        self.own.add(given);
        self.theirs.add(given);
        let day = |at: Timestamp| at.as_millis() / DAY_MILLIS;
        if given.by == by && day(given.at) == day(self.now) {
            self.today = self.today.saturating_add(1);
        }
        if given.revoked {
            return;
        }
        self.repeated |= given.by == by && given.to == to && given.content == content;
        if self.now.since(given.at) >= MUTUAL_WITHIN {
            return;
        }
        match (given.by == by, given.by == to) {
            (true, _) if given.to == to => self.to_them = self.to_them.saturating_add(1),
            (_, true) if given.to == by => self.to_me = self.to_me.saturating_add(1),
            (true, _) | (_, true) => self.others = true,
            (false, false) => {}
        }
    }

    /// Whether it is given, and what it is worth beside those that were seen.
    ///
    /// # Errors
    /// [`Refused`], by the first limit that it is beyond.
    pub fn decide(self) -> Result<Award, Refused> {
        if self.repeated {
            return Err(Refused::Repeated);
        }
        if self.today >= A_DAY_MAX {
            return Err(Refused::TooMany);
        }
        if self.wish.kind == ANGELS_OWN && !is_angel(self.own.score()) {
            return Err(Refused::NotAnAngel);
        }
        let together = self.to_them.saturating_add(self.to_me).saturating_add(1);
        let reciprocal = self.to_me > 0 && !self.others && together > MUTUAL_MAX;
        let points = if reciprocal { 0 } else { self.worth };
        let before = self.theirs.score();
        Ok(Award { points, reciprocal, before, after: before.saturating_add(points) })
    }
}

/// What one person earned (KAR-01).
#[derive(Clone, Debug)]
pub struct Karma<'k> {
    person: &'k str,
    score: u64,
}

impl<'k> Karma<'k> {
    /// Of somebody, with none seen.
    #[must_use]
    pub const fn of(person: &'k str) -> Self {
        Self { person, score: 0 }
    }

    /// Takes a recognition into account, whomever it is for.
    pub fn add(&mut self, given: &Recognition<'_>) {
        if given.to == self.person {
            self.score = self.score.saturating_add(given.points);
        }
    }

    /// The sum of the points.
    #[must_use]
    pub const fn score(&self) -> u64 {
        self.score
    }
}

/// What others of the business are told of somebody's karma (KAR-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// The score.
    pub score: bool,
    /// Whether they are a Guardian Angel.
    pub mark: bool,
}

impl Privacy {
    /// Of somebody who has said nothing.
    pub const OPEN: Self = Self { score: true, mark: true };

    /// Of somebody of whom it cannot be found out what they said.
    pub const CLOSED: Self = Self { score: false, mark: false };

    /// What a person's account says. A profile for members is seen by those who are told of karma at all.
    #[must_use]
    pub fn read(account: &Value) -> Self {
        let says = |field: &str| account.get("preferences")?.get("privacy")?.get(field);
        Self {
            score: says("karmaScoreVisible") != Some(&Value::Bool(false)),
            mark: says("profileVisibility").and_then(Value::as_str) != Some("private"),
        }
    }

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { score: self.score && other.score, mark: self.mark && other.mark }
    }

    /// Takes out of the figures of a person what others are not told.
    pub fn hide(self, figures: &mut Map) {
        if let Some(Value::Map(karma)) = figures.get_mut("karma") {
            karma.retain(|name, _| match name.as_str() {
                "score" => self.score,
                "guardianAngelStatus" => self.mark,
                _ => true,
            });
        }
    }
}
