//! The words of a text, as the search index knows them: in lower case, without signs, each once. Scripts that put no
//! space between words are cut into pairs of characters, so that any two that stand together are found.

use std::collections::BTreeSet;

/// Most words of one text that are kept: more than a message of the largest kind has different ones, in practice.
pub const WORDS_MAX: usize = 1024;

/// Longest word that is kept, in bytes; of a longer one, the beginning.
const WORD_BYTES_MAX: usize = 48;

/// Most words of one query.
const QUERY_WORDS_MAX: usize = 8;

/// The words of a text, each once, in their order.
#[must_use]
pub fn words(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        for part in parts(word) {
            if found.len() >= WORDS_MAX {
                return found;
            }
            found.insert(part);
        }
    }
    found
}

/// The words that a text has to hold to be found by `query`; none when the query has none.
#[must_use]
pub fn query_words(query: &str) -> Vec<String> {
    words(query).into_iter().take(QUERY_WORDS_MAX).collect()
}

/// A run of letters and digits as it is kept: one word, or the pairs of a script without spaces.
fn parts(run: &str) -> Vec<String> {
    let lower: Vec<char> = run.chars().flat_map(char::to_lowercase).collect();
    let mut parts = Vec::new();
    let mut begin = 0;
    while begin < lower.len() {
        let dense = is_dense(lower[begin]);
        let end = lower[begin..].iter().position(|c| is_dense(*c) != dense).map_or(lower.len(), |n| begin + n);
        let stretch = &lower[begin..end];
        if dense && stretch.len() > 1 {
            parts.extend(stretch.windows(2).map(|pair| pair.iter().collect()));
        } else {
            parts.push(shortened(stretch));
        }
        begin = end;
    }
    parts
}

fn shortened(word: &[char]) -> String {
    let mut out = String::new();
    for c in word {
        if out.len() + c.len_utf8() > WORD_BYTES_MAX {
            break;
        }
        out.push(*c);
    }
    out
}

/// Whether a character is of a script that puts no space between words.
fn is_dense(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0x20000..=0x323AF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        words(text).into_iter().collect()
    }

    #[test]
    fn words_are_told_apart_in_any_script() {
        assert_eq!(of("The bay, the BAY: 9am!"), ["9am", "bay", "the"]);
        assert_eq!(of("Straße ÄRGER naïve"), ["naïve", "straße", "ärger"]);
        assert_eq!(of("新宿駅 Shinjuku2丁目"), ["shinjuku2", "丁目", "宿駅", "新宿"]);
        assert_eq!(of("駅"), ["駅"]);
        assert_eq!(of(" -- "), Vec::<String>::new());
    }

    #[test]
    fn both_bounds_hold() {
        let many: String = (0..3000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words(&many).len(), WORDS_MAX);
        assert!(of(&"é".repeat(500))[0].len() <= WORD_BYTES_MAX);
        assert_eq!(query_words(&many).len(), QUERY_WORDS_MAX);
    }
}
