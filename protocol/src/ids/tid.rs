//! Timestamp identifiers: AT Protocol "TID" specification.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A moment in microseconds and the clock that saw it, 64 bits with the top one zero: 53 bits of time, 10 of clock.
///
/// Its text, 13 characters of sortable base 32, sorts as the number does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tid(u64);

/// Why a string is no TID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTid {
    /// Not 13 characters.
    #[error("a TID has 13 characters")]
    Length,
    /// A character outside the alphabet.
    #[error("a TID holds only 2-7 and a-z")]
    Character,
    /// The top bit is set.
    #[error("a TID starts with one of 2-7 and a-j")]
    HighBit,
}

/// There is no TID greater than the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no greater TID is left: the last one claims to be of the year 2255")]
pub struct TidsExhausted;

const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 13;
const CLOCK_BITS: u32 = 10;
const MICROS_MAX: u64 = (1 << 53) - 1;

impl Tid {
    /// The smallest TID, `2222222222222`.
    pub const MIN: Self = Self(0);

    /// From microseconds since 1970 and a clock id. Bits beyond 53 and 10 are cut off.
    #[must_use]
    pub const fn new(micros: u64, clock_id: u16) -> Self {
        Self(((micros & MICROS_MAX) << CLOCK_BITS) | (clock_id & 0x3ff) as u64)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0 >> CLOCK_BITS
    }

    /// The clock that made it.
    #[must_use]
    pub const fn clock_id(self) -> u16 {
        (self.0 & 0x3ff) as u16
    }

    /// The moment, to the millisecond.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        Timestamp::from_millis(self.micros() / 1000)
    }

    fn text(self) -> [u8; LENGTH] {
        let mut text = [0; LENGTH];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        text
    }
}

impl FromStr for Tid {
    type Err = InvalidTid;

    fn from_str(text: &str) -> Result<Self, InvalidTid> {
        if text.len() != LENGTH {
            return Err(InvalidTid::Length);
        }
        if text.as_bytes()[0] > b'j' && text.as_bytes()[0].is_ascii_lowercase() {
            return Err(InvalidTid::HighBit);
        }
        text.bytes().try_fold(Self(0), |tid, byte| {
            let digit = match byte {
                b'2'..=b'7' => byte - b'2',
                b'a'..=b'z' => byte - b'a' + 6,
                _ => return Err(InvalidTid::Character),
            };
            Ok(Self((tid.0 << 5) | u64::from(digit)))
        })
    }
}

impl TryFrom<String> for Tid {
    type Error = InvalidTid;

    fn try_from(text: String) -> Result<Self, InvalidTid> {
        text.parse()
    }
}

impl From<Tid> for String {
    fn from(tid: Tid) -> Self {
        tid.to_string()
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes TIDs that only ever grow, whatever the wall clock does.
#[derive(Clone, Debug)]
pub struct TidClock {
    clock_id: u16,
    last: Tid,
}

impl TidClock {
    /// A clock with an id, of which 10 bits count. Clocks that may run at once need different ids.
    #[must_use]
    pub const fn new(clock_id: u16) -> Self {
        Self { clock_id: clock_id & 0x3ff, last: Tid::MIN }
    }

    /// The next TID: the time given, or the least one greater than every TID made or [seen](Self::observe) before.
    ///
    /// # Errors
    /// [`TidsExhausted`] when there is no greater one: only a TID from elsewhere that claims to be of the year 2255
    /// leads there, and whoever takes it in is to refuse it.
    pub fn next(&mut self, now: Timestamp) -> Result<Tid, TidsExhausted> {
        let now = now.as_millis().saturating_mul(1000);
        let least = self.last.micros() + u64::from(Tid::new(self.last.micros(), self.clock_id) <= self.last);
        let micros = now.max(least);
        if micros > MICROS_MAX {
            return Err(TidsExhausted);
        }
        self.last = Tid::new(micros, self.clock_id);
        Ok(self.last)
    }

    /// Makes every later TID greater than `seen`, for example the revision of a repository's head.
    pub fn observe(&mut self, seen: Tid) {
        self.last = self.last.max(seen);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::interop::assert_syntax;

    #[test]
    fn follows_the_published_vectors() {
        assert_syntax("tid", str::parse::<Tid>);
    }

    #[test]
    fn reads_and_writes_the_example_of_the_specification() {
        let tid: Tid = "3jzfcijpj2z2a".parse().expect("valid");
        assert_eq!(tid.to_string(), "3jzfcijpj2z2a");
        assert_eq!((tid.micros(), tid.clock_id()), (1_688_137_381_887_007, 6));
        assert_eq!(Tid::MIN.to_string(), "2222222222222");
    }

    #[test]
    fn refuses_by_reason() {
        assert_eq!("3jzfcijpj2z2aa".parse::<Tid>(), Err(InvalidTid::Length));
        assert_eq!("3jzfcijpj2z21".parse::<Tid>(), Err(InvalidTid::Character));
        assert_eq!("3JZFCIJPJ2Z2A".parse::<Tid>(), Err(InvalidTid::Character));
        assert_eq!("kjzfcijpj2z2a".parse::<Tid>(), Err(InvalidTid::HighBit));
    }

    #[test]
    fn the_clock_only_ever_grows() {
        let mut clock = TidClock::new(7);
        let mut next = |millis| clock.next(Timestamp::from_millis(millis)).expect("far from the end");
        let (first, second) = (next(1_700_000_000_000), next(1_700_000_000_000));
        let back = next(1_600_000_000_000);
        assert!(first < second && second < back, "{first} {second} {back}");
        assert_eq!(first.timestamp(), Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(back.clock_id(), 7);
    }

    #[test]
    fn the_clock_passes_what_it_has_seen_and_stops_at_the_end() {
        let now = Timestamp::from_millis(1_700_000_000_001);
        for clock_id in [0, 7, 1023] {
            let mut clock = TidClock::new(clock_id);
            let ahead = Tid::new(1_800_000_000_000_000, 500);
            clock.observe(ahead);
            let next = clock.next(now).expect("far from the end");
            assert!(next > ahead && next.micros() - ahead.micros() <= 1, "{next} {ahead}");
            clock.observe(Tid::new(MICROS_MAX, 1023));
            assert_eq!(clock.next(now), Err(TidsExhausted));
        }
    }

    proptest! {
        #[test]
        fn text_sorts_as_the_number_does(a in 0..1_u64 << 63, b in 0..1_u64 << 63) {
            let (a, b) = (Tid(a), Tid(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
        }
    }
}
