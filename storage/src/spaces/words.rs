//! Which messages hold a word. Lists of message numbers, each covering a stretch of messages, so that a message costs a
//! few bytes per word and a search of a million messages reads a few hundred rows.
//!
//! New messages wait until [`SEGMENT_MESSAGES`] are together and are written as one stretch; until then a search reads
//! them one by one. A list's key is its first number, and lists of one word never overlap. They say where a word may be:
//! a message that was changed or taken away since is judged again by whoever searches.

use std::collections::BTreeMap;

use angel_protocol::spaces::words;

use super::{MESSAGES, Overlay, SpaceId, SpaceRow, WORDS, message_record};
use crate::codec::Raw;
use crate::events::TrimError;
use crate::reader::{ReadError, Reader};

/// Messages of one stretch.
pub const SEGMENT_MESSAGES: u32 = 1024;

/// Numbers of one list when it is written, and when later ones were put in: with eight bytes each, below what a row holds.
const LIST_MAX: usize = 1400;
const LIST_FULL: usize = 1600;

/// Lists that one search reads per step before it looks whether it has read enough.
const PAGE: usize = 64;

/// Writes the words of the messages that wait, once there are enough of them. `text` says what a record reads.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn index_words(
    overlay: &mut Overlay<'_>,
    space: SpaceId,
    row: &mut SpaceRow,
    waiting: &[u64],
    text: &dyn Fn(&[u8]) -> String,
) -> Result<(), TrimError> {
    let mut lists: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for position in waiting {
        let Some(message) = overlay.get(&MESSAGES, &(space, *position))? else { continue };
        let record = message_record(overlay, space, *position, &message)?;
        for word in words(&text(&record)) {
            lists.entry(word).or_default().push(*position);
        }
    }
    for (word, positions) in lists {
        for list in positions.chunks(LIST_MAX) {
            overlay.put(&WORDS, &(space, word.clone(), list[0]), &Raw(encode(list)))?;
        }
    }
    row.words_upto = waiting.last().copied().unwrap_or(row.words_upto).max(row.words_upto);
    row.words_waiting = 0;
    Ok(())
}

/// Adds one message to the list of a word, for a message whose stretch was written before it was changed.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn stage_word(overlay: &mut Overlay<'_>, space: SpaceId, word: &str, position: u64) -> Result<(), TrimError> {
    let behind = (space, word.to_owned(), position + 1);
    let before = overlay.reader().scan(&WORDS).prefix(&(space, word.to_owned())).until(&behind).reverse().page(1)?;
    if let Some((key, _)) = before.rows.into_iter().next() {
        let Some(Raw(stored)) = overlay.get(&WORDS, &key)? else { return Ok(()) };
        let mut list = decode(&stored);
        match list.binary_search(&position) {
            Ok(_) => return Ok(()),
            Err(place) if list.len() < LIST_FULL => {
                list.insert(place, position);
                return Ok(overlay.put(&WORDS, &key, &Raw(encode(&list)))?);
            }
            Err(place) => {
                // Full: what lies behind the new number goes into a list of its own, so that none overlap.
                let mut tail = list.split_off(place);
                overlay.put(&WORDS, &key, &Raw(encode(&list)))?;
                tail.insert(0, position);
                return put_list(overlay, space, word, &tail);
            }
        }
    }
    put_list(overlay, space, word, &[position])
}

fn put_list(overlay: &mut Overlay<'_>, space: SpaceId, word: &str, list: &[u64]) -> Result<(), TrimError> {
    for list in list.chunks(LIST_MAX) {
        overlay.put(&WORDS, &(space, word.to_owned(), list[0]), &Raw(encode(list)))?;
    }
    Ok(())
}

/// The first number, then the distances, seven bits to a byte.
fn encode(list: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(list.len() * 2 + 8);
    let mut last = 0;
    for position in list {
        let mut distance = position - last;
        last = *position;
        while distance >= 0x80 {
            // The low seven bits, and that more follow.
            out.push((distance & 0x7f) as u8 | 0x80);
            distance >>= 7;
        }
        out.push((distance & 0x7f) as u8);
    }
    out
}

fn decode(bytes: &[u8]) -> Vec<u64> {
    let (mut list, mut last, mut distance, mut shift) = (Vec::with_capacity(bytes.len()), 0_u64, 0_u64, 0_u32);
    for byte in bytes {
        distance |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            last = last.saturating_add(distance);
            list.push(last);
            (distance, shift) = (0, 0);
        }
    }
    list
}

/// One word's messages from a number down, list by list.
struct Lists<'r> {
    reader: &'r Reader,
    space: SpaceId,
    word: String,
    /// The lists read ahead, the next one last.
    ahead: Vec<Vec<u64>>,
    /// Where the next page ends; `None` when there is none.
    before: Option<u64>,
}

impl<'r> Lists<'r> {
    fn new(reader: &'r Reader, space: SpaceId, word: String, before: u64) -> Self {
        Self { reader, space, word, ahead: vec![], before: Some(before) }
    }

    /// The greatest number below `bound`.
    fn below(&mut self, bound: u64, spent: &mut usize) -> Result<Option<u64>, ReadError> {
        loop {
            while let Some(list) = self.ahead.last_mut() {
                let place = list.partition_point(|position| *position < bound);
                list.truncate(place);
                if let Some(position) = list.last() {
                    return Ok(Some(*position));
                }
                self.ahead.pop();
            }
            let Some(before) = self.before else { return Ok(None) };
            // Everything from `bound` on is of no interest any more: its lists need not be read.
            let end = (self.space, self.word.clone(), before.min(bound));
            let page = self.reader.scan(&WORDS).prefix(&(self.space, self.word.clone())).until(&end).reverse();
            let page = page.page(PAGE)?;
            *spent += page.rows.len().max(1);
            self.before = page.rows.last().map(|((_, _, first), _)| *first).filter(|_| page.more);
            self.ahead = page.rows.into_iter().rev().map(|(_, Raw(stored))| decode(&stored)).collect();
            if self.ahead.is_empty() && self.before.is_none() {
                return Ok(None);
            }
        }
    }
}

/// A search of the lists, from the newest message down. Gives candidates; each has to be judged.
pub struct Search<'r> {
    words: Vec<Lists<'r>>,
    bound: u64,
    spent: usize,
}

/// Begins a search for messages below `before` that hold all of `query`.
#[must_use]
pub fn search(reader: &Reader, space: SpaceId, query: Vec<String>, before: u64) -> Search<'_> {
    let words = query.into_iter().map(|word| Lists::new(reader, space, word, before)).collect();
    Search { words, bound: before, spent: 0 }
}

impl Search<'_> {
    /// The next candidate; `None` when there is none.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read.
    pub fn next_candidate(&mut self) -> Result<Option<u64>, ReadError> {
        if self.words.is_empty() {
            return Ok(None);
        }
        let mut bound = self.bound;
        'again: loop {
            let Some(candidate) = self.words[0].below(bound, &mut self.spent)? else { return Ok(None) };
            for lists in &mut self.words[1..] {
                match lists.below(candidate + 1, &mut self.spent)? {
                    None => return Ok(None),
                    Some(found) if found == candidate => {}
                    Some(found) => {
                        // No message between the two holds both.
                        bound = found + 1;
                        continue 'again;
                    }
                }
            }
            self.bound = candidate;
            return Ok(Some(candidate));
        }
    }

    /// How many lists were read so far.
    #[must_use]
    pub const fn spent(&self) -> usize {
        self.spent
    }
}

impl std::fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("bound", &self.bound).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_encoding() {
        for list in [vec![], vec![1], vec![0, 127, 128, 129, 1 << 40, (1 << 53) - 1]] {
            assert_eq!(decode(&encode(&list)), list);
        }
    }
}
