//! Pages of spaces, channels, members and messages, each with what whoever asks may see and nothing else. Work per page
//! is bounded: a filter that few messages pass gives a short page and a cursor rather than a long wait.

use std::collections::HashSet;

use angel_protocol::data::cbor;
use angel_protocol::ids::Did;
use angel_protocol::spaces::{Permission, Status, Visibility, query_words, text_of, words};
use angel_storage::codec::Cbor;
use angel_storage::spaces::{
    AUTHORS, Among, BY_THREAD, CHANNELS, ChannelNumber, ChannelRow, MEMBERS, MESSAGES, MessageRow, SPACES, SPACES_OF,
    SpaceId, SpaceRow, message_record, messages_back, search,
};
use serde_json::Value as Json;

use super::announce::is_system;
use super::find::{Found, may_see_message};
use super::reading::Reading;
use super::{SpaceError, Spaces};
use crate::blocking;

/// Messages that are looked at for one page.
const LOOKED_AT_MAX: usize = 2000;

/// Messages that are judged for one page of a search, and lists of words that are read.
const JUDGED_MAX: usize = 1000;
const LISTS_MAX: usize = 4096;

/// Spaces that are looked at for one page.
const SPACES_LOOKED_AT_MAX: usize = 1000;

/// Which messages are wanted (A04): of those that are said, all have to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) department: Option<String>,
    pub(crate) workflow: Option<String>,
    pub(crate) journey: Option<String>,
    pub(crate) priority: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) author: Option<Did>,
}

impl Filter {
    fn passes(&self, row: &MessageRow) -> bool {
        let fits =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| Some(wanted) == found);
        fits(&self.department, row.department.as_deref())
            && fits(&self.workflow, row.workflow.as_deref())
            && fits(&self.journey, row.journey.as_deref())
            && fits(&self.priority, Some(row.priority.as_deref().unwrap_or("normal")))
            && fits(&self.kind, Some(&row.kind))
            && self.author.as_ref().is_none_or(|author| *author == row.author)
    }
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    /// What is on it.
    pub(crate) items: Vec<Json>,
    /// Where the next one begins; `None` on the last.
    pub(crate) cursor: Option<String>,
}

impl Reading {
    /// The channels of a space that somebody may read. Blocks.
    pub(crate) fn channels_of(
        &self,
        id: SpaceId,
        asker: Option<&Did>,
    ) -> Result<Vec<(ChannelNumber, ChannelRow)>, SpaceError> {
        let found = self.found(id, asker)?;
        let mut channels = vec![];
        let mut after = (id, 0);
        loop {
            let page = self.reader.scan(&CHANNELS).prefix(&id).after(&after).page(256)?;
            let last = page.rows.last().map(|(key, _)| *key);
            let open = page
                .rows
                .into_iter()
                .filter(|(_, row)| row.gone_at.is_none() && found.access().may_read(&row.rules, Some(&row.rkey)));
            channels.extend(open.map(|((_, number), row)| (number, row)));
            match last {
                Some(last) if page.more => after = last,
                _ => return Ok(channels),
            }
        }
    }

    /// Messages of a space, or of one of its channels, the newest first. Blocks.
    pub(crate) fn messages(
        &self,
        found: &Found,
        channel: Option<ChannelNumber>,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let readable = self.readable(found)?;
        let among = channel.map_or(Among::Space, Among::Channel);
        let mut before = before.unwrap_or(u64::MAX);
        let (mut items, mut looked_at) = (vec![], 0);
        loop {
            let wanted = (limit - items.len()).max(16);
            let (rows, more) = messages_back(&self.reader, found.id, among, before, wanted)?;
            for (position, row) in &rows {
                before = *position;
                looked_at += 1;
                if filter.passes(row) && readable.contains(&row.channel) && self.is_shown(found, row)? {
                    items.push(self.message_view(found, *position, row)?);
                    if items.len() == limit {
                        break;
                    }
                }
            }
            let ended = !more && rows.last().is_none_or(|(last, _)| *last == before);
            if ended {
                return Ok(Page { items, cursor: None });
            }
            if items.len() == limit || looked_at >= LOOKED_AT_MAX {
                return Ok(Page { items, cursor: Some(before.to_string()) });
            }
        }
    }

    /// Messages that hold all words of `query`, the newest first. Blocks.
    pub(crate) fn search(
        &self,
        found: &Found,
        query: &str,
        channel: Option<ChannelNumber>,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let query = query_words(query);
        let mut items = vec![];
        if query.is_empty() {
            return Ok(Page { items, cursor: None });
        }
        let readable = self.readable(found)?;
        let judge = |row: &MessageRow, position| -> Result<bool, SpaceError> {
            let fits = filter.passes(row) && channel.is_none_or(|channel| channel == row.channel);
            if !fits || !readable.contains(&row.channel) || !self.is_shown(found, row)? {
                return Ok(false);
            }
            let record = message_record(&self.reader, found.id, position, row)?;
            let said = cbor::decode(&record).map(|record| words(&text_of(&record))).unwrap_or_default();
            Ok(query.iter().all(|word| said.contains(word)))
        };
        let mut before = before.unwrap_or(u64::MAX);
        let upto = self.reader.get(&SPACES, &found.id)?.map_or(0, |row| row.words_upto);
        // The newest, whose words are not in lists yet.
        while before > upto + 1 {
            let (rows, more) = messages_back(&self.reader, found.id, Among::Space, before, 256)?;
            for (position, row) in &rows {
                if *position <= upto {
                    before = upto + 1;
                    break;
                }
                before = *position;
                if judge(row, *position)? {
                    items.push(self.message_view(found, *position, row)?);
                    if items.len() == limit {
                        return Ok(Page { items, cursor: Some(before.to_string()) });
                    }
                }
            }
            if !more {
                before = before.min(upto + 1);
            }
        }
        let mut candidates = search(&self.reader, found.id, query.clone(), before);
        let mut judged = 0;
        while let Some(position) = candidates.next_candidate()? {
            before = position;
            judged += 1;
            if let Some(row) = self.reader.get(&MESSAGES, &(found.id, position))?
                && judge(&row, position)?
            {
                items.push(self.message_view(found, position, &row)?);
            }
            if items.len() == limit || judged >= JUDGED_MAX || candidates.spent() >= LISTS_MAX {
                return Ok(Page { items, cursor: Some(before.to_string()) });
            }
        }
        Ok(Page { items, cursor: None })
    }

    /// The answers in a thread, the oldest first. Blocks.
    pub(crate) fn thread(
        &self,
        found: &Found,
        root: u64,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let readable = self.readable(found)?;
        let from = (found.id, root, after.unwrap_or(0));
        let page = self.reader.scan(&BY_THREAD).prefix(&(found.id, root)).after(&from).page(limit)?;
        let mut items = vec![];
        for ((_, _, position), _) in &page.rows {
            let Some(row) = self.reader.get(&MESSAGES, &(found.id, *position))? else { continue };
            if readable.contains(&row.channel) && self.is_shown(found, &row)? {
                items.push(self.message_view(found, *position, &row)?);
            }
        }
        let last = page.rows.last().filter(|_| page.more);
        Ok(Page { items, cursor: last.map(|((_, _, position), _)| position.to_string()) })
    }

    /// A message by its number, if whoever asks may see it. Blocks.
    pub(crate) fn message_at(&self, found: &Found, position: u64) -> Result<Option<Json>, SpaceError> {
        let Some(row) = self.reader.get(&MESSAGES, &(found.id, position))? else { return Ok(None) };
        if !self.may_read_number(found, row.channel)? || !self.is_shown(found, &row)? {
            return Ok(None);
        }
        self.message_view(found, position, &row).map(Some)
    }

    /// Members of a space, by DID. Others than members do not learn who is in it; who is not active is for those who
    /// manage members. Blocks.
    pub(crate) fn members(
        &self,
        found: &Found,
        status: Option<Status>,
        after: Option<Did>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let access = found.access();
        if !access.is_member() {
            return Err(SpaceError::Forbidden("only members see who is in a space"));
        }
        let manages = access.allows(Permission::ManageMembers);
        let wanted = status.unwrap_or(Status::Active);
        if wanted != Status::Active && !manages {
            return Err(SpaceError::Forbidden("you may not manage members"));
        }
        let mut items = vec![];
        let mut last = after;
        loop {
            let mut scan = self.reader.scan(&MEMBERS).prefix(&found.id);
            if let Some(last) = &last {
                scan = scan.after(&(found.id, last.clone()));
            }
            let page = scan.page(limit.max(64))?;
            for ((_, did), row) in page.rows {
                if row.membership.status == wanted {
                    items.push(self.member_view(found, &did, &row));
                }
                last = Some(did);
                if items.len() == limit {
                    return Ok(Page { items, cursor: last.map(|did| did.to_string()) });
                }
            }
            if !page.more {
                return Ok(Page { items, cursor: None });
            }
        }
    }

    /// Spaces: those of the caller, or those that everybody may see; of one holder if one is named. Blocks.
    pub(crate) fn list_spaces(
        &self,
        asker: Option<&Did>,
        own: bool,
        holder: Option<&Did>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page, SpaceError> {
        let mut items = vec![];
        let mut looked_at = 0;
        let mut last = after.unwrap_or(0);
        loop {
            // Of a copy there is no list by person: all of its spaces are one account's.
            let (ids, more): (Vec<SpaceId>, bool) = match asker.filter(|_| own && self.as_of().is_none()) {
                Some(did) => {
                    let from = (did.clone(), SpaceId(last));
                    let page = self.reader.scan(&SPACES_OF).prefix(did).after(&from).page(64)?;
                    (page.rows.into_iter().map(|((_, id), _)| id).collect(), page.more)
                }
                None => {
                    let page = self.reader.scan(&SPACES).after(&SpaceId(last)).page(64)?;
                    (page.rows.into_iter().map(|(id, _)| id).collect(), page.more)
                }
            };
            for id in ids {
                last = id.0;
                looked_at += 1;
                let found = match self.found(id, asker) {
                    Err(SpaceError::SpaceNotFound) => continue,
                    found => found?,
                };
                let is_left = |status| matches!(status, Status::Left | Status::Banned);
                let is_in = found.membership.as_ref().is_some_and(|membership| !is_left(membership.status));
                let is_asked_for = (is_in || !own) && holder.is_none_or(|holder| *holder == found.row.holder);
                if is_asked_for && found.access().may_see() {
                    items.push(self.space_view(&found)?);
                }
                if items.len() == limit || looked_at >= SPACES_LOOKED_AT_MAX {
                    return Ok(Page { items, cursor: Some(last.to_string()) });
                }
            }
            if !more {
                return Ok(Page { items, cursor: None });
            }
        }
    }

    /// The numbers of the channels that somebody may read, the space's own stream among them. Blocks.
    fn readable(&self, found: &Found) -> Result<HashSet<ChannelNumber>, SpaceError> {
        let mut readable: HashSet<_> =
            self.channels_of(found.id, found.did.as_ref())?.into_iter().map(|(number, _)| number).collect();
        if self.may_read_number(found, angel_storage::spaces::OWN_STREAM)? {
            readable.insert(angel_storage::spaces::OWN_STREAM);
        }
        Ok(readable)
    }

    /// Whether a message is shown: not when it is hidden, and not while its author's account is switched off or taken
    /// down.
    fn is_shown(&self, found: &Found, row: &MessageRow) -> Result<bool, SpaceError> {
        if !may_see_message(found, row) {
            return Ok(false);
        }
        if let Some(account) = self.spaces.0.accounts.resident_blocking(&row.author)? {
            return Ok(account.is_active());
        }
        // What this node heard of an author elsewhere; of one at the node that a copy comes from it hears nothing.
        Ok(self.reader.get(&AUTHORS, &row.author)?.is_none_or(|Cbor(author)| author.active))
    }
}

impl Spaces {
    /// How many spaces that are not public an account holds, without its system space.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn private_spaces_held(&self, holder: &Did) -> Result<u64, SpaceError> {
        let (this, holder) = (self.clone(), holder.clone());
        blocking::run(move || this.spaces_held_of(&holder, |row| row.rules.visibility != Visibility::Public)).await
    }

    /// Whether somebody is an active member of a space that `holder` holds. Of somebody in a thousand spaces, that many are
    /// looked at.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn is_member_of_any(&self, holder: &Did, person: &Did) -> Result<bool, SpaceError> {
        let (this, holder, person) = (self.clone(), holder.clone(), person.clone());
        blocking::run(move || {
            let reader = &this.0.reader;
            for ((_, id), _) in reader.scan(&SPACES_OF).prefix(&person).page(SPACES_LOOKED_AT_MAX)?.rows {
                let is_held = |row: SpaceRow| row.holder == holder && row.gone_at.is_none();
                if reader.get(&SPACES, &id)?.is_some_and(is_held)
                    && reader.get(&MEMBERS, &(id, person.clone()))?.is_some_and(|row| row.membership.is_active())
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// How many spaces an account holds, without its system space. Blocks.
    pub(super) fn spaces_held(&self, holder: &Did) -> Result<u64, SpaceError> {
        self.spaces_held_of(holder, |_| true)
    }

    fn spaces_held_of(&self, holder: &Did, wanted: impl Fn(&SpaceRow) -> bool) -> Result<u64, SpaceError> {
        let (mut held, mut last) = (0, None);
        loop {
            let mut scan = self.0.reader.scan(&SPACES_OF).prefix(holder);
            if let Some(last) = &last {
                scan = scan.after(last);
            }
            let page = scan.page(256)?;
            for ((_, id), _) in &page.rows {
                let row = self.0.reader.get(&SPACES, id)?;
                let counts = row.is_some_and(|row| {
                    row.holder == *holder && row.gone_at.is_none() && !is_system(&row) && wanted(&row)
                });
                held += u64::from(counts);
            }
            last = page.rows.into_iter().next_back().map(|(key, _)| key);
            if !page.more {
                return Ok(held);
            }
        }
    }
}
