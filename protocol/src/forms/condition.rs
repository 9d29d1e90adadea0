//! Conditions of a form: `<name> = <value>` or `<name> != <value>`, several joined by `and` (`records.md` 8.5). Nothing else
//! is evaluated.
//!
//! A name ends before the first `=` or `!=`, and a value at the next word `and`. Space around both does not count. Texts
//! are compared as they are, letter for letter.

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition<'c>(Vec<Clause<'c>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause<'c> {
    name: &'c str,
    value: &'c str,
    /// Whether the answer has to be this value, or any other.
    is: bool,
}

impl<'c> Condition<'c> {
    /// Reads a condition; `None` for anything else.
    #[must_use]
    pub fn read(text: &'c str) -> Option<Self> {
        clauses(text).into_iter().map(Clause::read).collect::<Option<_>>().map(Self)
    }

    /// The names that it looks at.
    pub fn names(&self) -> impl Iterator<Item = &'c str> + '_ {
        self.0.iter().map(|clause| clause.name)
    }

    /// Whether all of it holds, for answers by their names. No answer is an empty one.
    pub fn holds<'a>(&self, mut answer: impl FnMut(&'c str) -> &'a str) -> bool {
        self.0.iter().all(|clause| (answer(clause.name) == clause.value) == clause.is)
    }
}

impl<'c> Clause<'c> {
    fn read(text: &'c str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let (name, is) = name.strip_suffix('!').map_or((name, true), |name| (name, false));
        let (name, value) = (name.trim(), value.trim());
        (!name.is_empty() && !value.is_empty()).then_some(Self { name, value, is })
    }
}

/// The pieces between the words `and`.
fn clauses(text: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut word) = (vec![], 0, None);
    let ends = text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, c)| (at, at + c.len_utf8()));
    for (end, next) in ends.chain([(text.len(), text.len())]) {
        let begin = word.unwrap_or(0);
        if &text[begin..end] == "and" {
            pieces.push(&text[from..begin]);
            from = end;
        }
        word = Some(next);
    }
    pieces.push(&text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str, answers: &[(&str, &str)]) -> Option<bool> {
        let answer = |name: &str| answers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        Condition::read(condition).map(|condition| condition.holds(answer))
    }

    #[test]
    fn a_condition_compares_and_joins() {
        let answers = [("plan", "large one"), ("country", "DE"), ("command", "x=y")];
        for (condition, expected) in [
            ("plan = large one", true),
            ("plan=large one", true),
            ("  plan  !=  small ", true),
            ("plan != large one", false),
            ("plan = Large one", false),
            ("plan = large one and country = DE", true),
            ("plan = large one and country != DE", false),
            ("plan = large one\tand\ncountry = DE", true),
            ("nothing != x", true),
            ("nothing = x", false),
            ("command = x=y", true),
            ("command != candy", true),
        ] {
            assert_eq!(holds(condition, &answers), Some(expected), "{condition}");
        }
    }

    #[test]
    fn whatever_else_is_no_condition() {
        for text in [
            "",
            " ",
            "plan",
            "= x",
            "!= x",
            "plan =",
            "plan = large and",
            "and plan = large",
            "plan = a and b",
            "plan = a and and x = b",
            "plan > 3",
        ] {
            assert_eq!(Condition::read(text), None, "{text}");
        }
        // There is no `or`: it is part of the value.
        assert_eq!(holds("a = 1 or b = 2", &[("a", "1")]), Some(false));
    }

    #[test]
    fn fuzz_any_text_is_a_condition_or_none() {
        bolero::check!().for_each(|input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            if let Some(condition) = Condition::read(&text) {
                assert!(condition.names().count() > 0 && condition.names().all(|name| !name.is_empty()));
                assert!(condition.names().all(|name| text.contains(name)));
            }
        });
    }
}
