//! Which messages of a space are asked for, as both methods that list messages are asked.

use angel_protocol::ids::Did;
use atrium_api::types::LimitedNonZeroU8;
use serde::Deserialize;
use serde_json::Value;

use crate::spaces::{Asker, Filter, SpaceError, Spaces};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Messages {
    space: String,
    channel: Option<String>,
    /// For a search: the words.
    q: Option<String>,
    department: Option<String>,
    workflow: Option<String>,
    customer_journey: Option<String>,
    priority: Option<String>,
    message_type: Option<String>,
    author: Option<Did>,
    limit: Option<LimitedNonZeroU8<100>>,
    cursor: Option<String>,
}

impl Messages {
    /// A page of them. Blocks.
    pub(super) fn page(self, spaces: &Spaces, asker: &Asker) -> Result<Value, SpaceError> {
        let reading = spaces.reading_of(&self.space)?;
        let found = reading.find(&self.space, asker.did.as_ref())?;
        let channel = match &self.channel {
            Some(uri) => Some(reading.channel(&found, Some(uri))?.0),
            None => None,
        };
        let filter = Filter {
            department: self.department,
            workflow: self.workflow,
            journey: self.customer_journey,
            priority: self.priority,
            kind: self.message_type,
            author: self.author,
        };
        let (before, limit) = (super::number(self.cursor.as_deref())?, super::limit(self.limit));
        let page = match &self.q {
            Some(query) => reading.search(&found, query, channel, &filter, before, limit)?,
            None => reading.messages(&found, channel, &filter, before, limit)?,
        };
        Ok(super::aged(super::page("messages", page), &reading))
    }

    /// Without the words of a search.
    pub(super) fn without_words(self) -> Self {
        Self { q: None, ..self }
    }

    /// Whether there are words to search for.
    pub(super) const fn has_words(&self) -> bool {
        self.q.is_some()
    }
}
