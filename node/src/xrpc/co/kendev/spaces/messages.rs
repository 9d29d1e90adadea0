//! Which messages of a space are asked for, as both methods that list messages are asked.

use serde_json::Value;

use crate::spaces::{Asker, Filter, SpaceError, Spaces};
use crate::xrpc::types::spaces::{ListMessagesParameters, SearchMessagesParameters};

/// What is asked for.
pub(super) struct Messages {
    space: String,
    channel: Option<String>,
    /// For a search: the words.
    words: Option<String>,
    filter: Filter,
    limit: u8,
    cursor: Option<String>,
}

impl From<ListMessagesParameters> for Messages {
    fn from(asked: ListMessagesParameters) -> Self {
        let filter = Filter {
            department: asked.department,
            workflow: asked.workflow,
            journey: asked.customer_journey,
            priority: asked.priority,
            kind: asked.message_type,
            author: asked.author,
        };
        let ListMessagesParameters { space, channel, limit, cursor, .. } = asked;
        Self { space, channel, words: None, filter, limit, cursor }
    }
}

impl From<SearchMessagesParameters> for Messages {
    fn from(asked: SearchMessagesParameters) -> Self {
        let filter = Filter {
            department: asked.department,
            workflow: asked.workflow,
            journey: asked.customer_journey,
            priority: asked.priority,
            kind: asked.message_type,
            author: asked.author,
        };
        let SearchMessagesParameters { space, channel, q, limit, cursor, .. } = asked;
        Self { space, channel, words: Some(q), filter, limit, cursor }
    }
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
        let (before, limit) = (super::number(self.cursor.as_deref())?, usize::from(self.limit));
        let page = match &self.words {
            Some(query) => reading.search(&found, query, channel, &self.filter, before, limit)?,
            None => reading.messages(&found, channel, &self.filter, before, limit)?,
        };
        Ok(super::aged(super::page("messages", page), &reading))
    }
}
