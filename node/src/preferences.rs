//! What apps keep for an account (`app.bsky.actor.getPreferences`): a list of JSON objects, told apart by `$type`.
//!
//! Some are for the owner alone: an app with an app password neither sees nor changes them. The rules are those of the
//! reference implementation, because apps were written against it.

use std::sync::{Arc, Mutex, PoisonError};

use angel_protocol::time::Timestamp;
use angel_storage::accounts::PREFERENCES;
use angel_storage::{AccountId, Batch, Committed, Reader, Writer};
use serde_json::{Map, Value, json};

use crate::accounts::AccountError;
use crate::placement::{Fence, Placement};

/// The namespace of preferences.
const NAMESPACE: &str = "app.bsky.";

/// With the owner's birthday: for the owner alone.
const PERSONAL_DETAILS: &str = "app.bsky.actor.defs#personalDetailsPref";

/// Which ages the owner is past: worked out here, never written.
const DECLARED_AGE: &str = "app.bsky.actor.defs#declaredAgePref";

/// Most preferences of an account.
const PREFERENCES_MAX: usize = 1000;

/// Their size together, in bytes: lists of muted words and saved feeds are the largest that apps keep.
const PREFERENCES_BYTES_MAX: usize = 1 << 20;

/// The preferences of this node's accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Preferences(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Reader,
    writer: Writer,
    /// Held while preferences are replaced: an app must not bring back what another has just taken away.
    writing: Mutex<()>,
    fence: Fence,
}

/// Why preferences are not taken.
#[derive(Debug, thiserror::Error)]
pub enum PreferencesError {
    /// Not an object with a `$type`.
    #[error("preferences/{0} must be an object with a $type")]
    Form(usize),
    /// Of another application.
    #[error("Some preferences are not in the app.bsky namespace: {0}")]
    Namespace(String),
    /// For the owner alone.
    #[error("Do not have authorization to set preferences: {0}")]
    OwnerAlone(String),
    /// Too many or too large.
    #[error("an account keeps at most {PREFERENCES_MAX} preferences of {PREFERENCES_BYTES_MAX} bytes together")]
    TooLarge,
    /// What is stored cannot be read.
    #[error("stored preferences cannot be read: {0}")]
    Stored(#[from] serde_json::Error),
    /// The store fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

type Preference = Map<String, Value>;

fn type_of(preference: &Preference) -> &str {
    preference.get("$type").and_then(Value::as_str).unwrap_or_default()
}

impl Preferences {
    /// The preferences in a store.
    #[must_use]
    pub fn new(reader: Reader, writer: Writer) -> Self {
        Self(Arc::new(Shared { reader, writer, writing: Mutex::new(()), fence: Fence::default() }))
    }

    /// From now on `placement` says whose preferences may be changed here.
    pub(crate) fn guard(&self, placement: Placement) {
        self.0.fence.raise(placement);
    }

    /// How many preferences are kept for an account. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn count_blocking(&self, id: AccountId) -> Result<u64, PreferencesError> {
        Ok(self.stored(id)?.len() as u64)
    }

    /// What the owner, or an app, sees of an account's preferences. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn get_blocking(
        &self,
        id: AccountId,
        is_owner: bool,
        now: Timestamp,
    ) -> Result<Vec<Preference>, PreferencesError> {
        let mut known = self.stored(id)?;
        let birthday = known.iter().find(|preference| type_of(preference) == PERSONAL_DETAILS);
        let birthday = birthday.and_then(|details| details.get("birthDate")).and_then(Value::as_str);
        if let Some(age) = birthday.and_then(|text| age(text, now)) {
            let ages = json!({
                "$type": DECLARED_AGE,
                "isOverAge13": age >= 13,
                "isOverAge16": age >= 16,
                "isOverAge18": age >= 18,
            });
            known.extend(ages.as_object().cloned());
        }
        known.retain(|preference| is_owner || type_of(preference) != PERSONAL_DETAILS);
        Ok(known)
    }

    /// Puts these in the place of those that whoever asks can see. Blocks until that is durable.
    ///
    /// # Errors
    /// [`PreferencesError`].
    pub fn put_blocking(&self, id: AccountId, is_owner: bool, preferences: Vec<Value>) -> Result<(), PreferencesError> {
        let mut new = checked(preferences, is_owner)?;
        let leave = self.0.fence.enter_blocking(id).map_err(AccountError::from)?;
        let writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_owner {
            new.extend(self.stored(id)?.into_iter().filter(|kept| type_of(kept) == PERSONAL_DETAILS));
        }
        let bytes = serde_json::to_vec(&new)?;
        if bytes.len() > PREFERENCES_BYTES_MAX {
            return Err(PreferencesError::TooLarge);
        }
        let mut batch = Batch::new();
        PREFERENCES.delete(&self.0.reader, &mut batch, &id).map_err(AccountError::from)?;
        PREFERENCES.put(&mut batch, &id, &bytes).map_err(AccountError::from)?;
        let committed = self.0.writer.commit(batch).map_err(AccountError::from)?;
        drop(writing);
        Ok(leave.replicated_blocking(committed).map_err(AccountError::from)?)
    }

    /// Puts what another node kept of an account's preferences in the place of `before`, if that is what is here; answers
    /// whether it was. Whoever asks has leave to write. Blocks until that is durable.
    ///
    /// # Errors
    /// [`PreferencesError`]; nothing has changed.
    pub(crate) fn replace_blocking(
        &self,
        id: AccountId,
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<Option<Committed>, PreferencesError> {
        if let Some(after) = after {
            if after.len() > PREFERENCES_BYTES_MAX {
                return Err(PreferencesError::TooLarge);
            }
            checked(serde_json::from_slice(after)?, true)?;
        }
        let writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let present = PREFERENCES.get(&self.0.reader, &id).map_err(AccountError::from)?;
        if present.as_deref() != before {
            return Ok(None);
        }
        let mut batch = Batch::new();
        PREFERENCES.delete(&self.0.reader, &mut batch, &id).map_err(AccountError::from)?;
        if let Some(after) = after {
            PREFERENCES.put(&mut batch, &id, after).map_err(AccountError::from)?;
        }
        let committed = self.0.writer.commit(batch).map_err(AccountError::from)?;
        drop(writing);
        Ok(Some(committed))
    }

    fn stored(&self, id: AccountId) -> Result<Vec<Preference>, PreferencesError> {
        let bytes = PREFERENCES.get(&self.0.reader, &id).map_err(AccountError::from)?;
        Ok(bytes.map_or(Ok(Vec::new()), |bytes| serde_json::from_slice(&bytes))?)
    }
}

fn checked(preferences: Vec<Value>, is_owner: bool) -> Result<Vec<Preference>, PreferencesError> {
    if preferences.len() > PREFERENCES_MAX {
        return Err(PreferencesError::TooLarge);
    }
    let mut checked = Vec::with_capacity(preferences.len());
    for (index, preference) in preferences.into_iter().enumerate() {
        let Value::Object(preference) = preference else { return Err(PreferencesError::Form(index)) };
        match type_of(&preference) {
            "" => return Err(PreferencesError::Form(index)),
            kind if !kind.starts_with(NAMESPACE) => return Err(PreferencesError::Namespace(kind.to_owned())),
            kind if kind == PERSONAL_DETAILS && !is_owner => {
                return Err(PreferencesError::OwnerAlone(kind.to_owned()));
            }
            kind if kind == DECLARED_AGE => {}
            _ => checked.push(preference),
        }
    }
    Ok(checked)
}

/// Whole years since a birthday, which apps write as a date or as a date with a time.
fn age(birthday: &str, now: Timestamp) -> Option<i64> {
    let date = |text: &str| -> Option<(i64, i64)> {
        let mut parts = text.get(..10)?.split('-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month * 100 + day))
    };
    let (born, birthday) = date(birthday)?;
    let (year, today) = date(&now.to_string())?;
    Some(year - born - i64::from(today < birthday))
}

#[cfg(test)]
mod tests {
    use angel_storage::Store;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000); // 14 November 2023
    const ID: AccountId = AccountId(1);

    fn preferences() -> (Store, Preferences) {
        let store = Store::in_memory().expect("starts");
        let preferences = Preferences::new(store.reader().clone(), store.writer().clone());
        (store, preferences)
    }

    fn types(preferences: &Preferences, is_owner: bool) -> Vec<String> {
        let known = preferences.get_blocking(ID, is_owner, NOW).expect("reads");
        known.iter().map(|preference| type_of(preference).rsplit('#').next().unwrap_or_default().to_owned()).collect()
    }

    fn details() -> Value {
        json!({"$type": PERSONAL_DETAILS, "birthDate": "2007-11-15T00:00:00.000Z"})
    }

    fn tags(tag: &str) -> Value {
        json!({"$type": "app.bsky.actor.defs#interestsPref", "tags": [tag]})
    }

    #[test]
    fn what_was_put_comes_back_and_ages_are_worked_out() {
        let (_store, preferences) = preferences();
        assert_eq!(preferences.get_blocking(ID, true, NOW).expect("reads"), Vec::<Preference>::new());
        let ages = json!({"$type": DECLARED_AGE, "isOverAge18": true});
        preferences.put_blocking(ID, true, vec![tags("Zürich"), details(), ages]).expect("put");
        let known = Value::from_iter(preferences.get_blocking(ID, true, NOW).expect("reads"));
        let ages = json!({"$type": DECLARED_AGE, "isOverAge13": true, "isOverAge16": false, "isOverAge18": false});
        assert_eq!(known, json!([tags("Zürich"), details(), ages]), "fifteen until tomorrow");
    }

    #[test]
    fn what_another_node_kept_is_put_in_the_place_of_what_is_expected_alone() {
        let (_store, preferences) = preferences();
        let bytes = |tag: &str| serde_json::to_vec(&[tags(tag)]).expect("is JSON");
        let (a, b) = (bytes("a"), bytes("b"));
        assert!(preferences.replace_blocking(ID, Some(&a), Some(&b)).expect("reads").is_none(), "there is nothing");
        assert!(preferences.replace_blocking(ID, None, Some(&a)).expect("put").is_some());
        assert!(preferences.replace_blocking(ID, None, Some(&b)).expect("reads").is_none(), "there is something");
        let foreign = br#"[{"$type":"com.example.pref"}]"#;
        let refused = preferences.replace_blocking(ID, Some(&a), Some(foreign));
        assert!(matches!(refused, Err(PreferencesError::Namespace(_))), "no more than the owner could put");
        let refused = preferences.replace_blocking(ID, Some(&a), Some(b"\xff"));
        assert!(matches!(refused, Err(PreferencesError::Stored(_))));
        assert_eq!(types(&preferences, true), ["interestsPref"]);
        assert!(preferences.replace_blocking(ID, Some(&a), None).expect("put").is_some());
        assert!(types(&preferences, true).is_empty());
    }

    #[test]
    fn an_app_neither_sees_nor_changes_what_is_the_owners_alone() {
        let (_store, preferences) = preferences();
        preferences.put_blocking(ID, true, vec![tags("a"), details()]).expect("put");
        assert_eq!(types(&preferences, false), ["interestsPref", "declaredAgePref"]);
        let refused = preferences.put_blocking(ID, false, vec![details()]);
        assert!(matches!(refused, Err(PreferencesError::OwnerAlone(_))));
        preferences.put_blocking(ID, false, vec![]).expect("put");
        assert_eq!(types(&preferences, true), ["personalDetailsPref", "declaredAgePref"], "kept for the owner");
        preferences.put_blocking(ID, true, vec![]).expect("put");
        assert!(types(&preferences, true).is_empty());
    }

    #[test]
    fn what_is_no_preference_is_refused_by_name_and_changes_nothing() {
        let (_store, preferences) = preferences();
        preferences.put_blocking(ID, true, vec![tags("a")]).expect("put");
        let put = |value: Value| preferences.put_blocking(ID, true, vec![tags("b"), value]);
        assert!(matches!(put(json!({"tags": []})), Err(PreferencesError::Form(1))));
        assert!(matches!(put(json!("text")), Err(PreferencesError::Form(1))));
        assert!(matches!(put(json!({"$type": "com.example#x"})), Err(PreferencesError::Namespace(_))));
        assert!(matches!(put(tags(&"x".repeat(PREFERENCES_BYTES_MAX))), Err(PreferencesError::TooLarge)));
        let known = Value::from_iter(preferences.get_blocking(ID, true, NOW).expect("reads"));
        assert_eq!(known, json!([tags("a")]));
        put(tags(&"x".repeat(100_000))).expect("larger than a row");
        put(tags("small")).expect("and smaller again");
        assert_eq!(types(&preferences, true).len(), 2);
    }

    #[test]
    fn ages_change_on_the_birthday() {
        assert_eq!(age("2005-11-14", NOW), Some(18));
        assert_eq!(age("2005-11-15T12:00:00Z", NOW), Some(17));
        for text in ["", "soon", "2005-13-01", "2005-1-1", "20051114"] {
            assert_eq!(age(text, NOW), None, "{text}");
        }
    }
}
