//! An account's spaces taken out, page by page: nothing of them is held as a whole but the list of its rooms.

use std::cmp::Reverse;

use angel_protocol::ids::Did;
use angel_protocol::limits::SPACES_ASKED_MAX;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::wire::notice::WriteNotice;
use angel_protocol::spaces::{Invitation, Status};
use angel_storage::permissioned as rows;
use angel_storage::spaces::{BLOCKS, MEMBERS, SPACES, SPACES_OF};

use super::{KnownCursor, Line};
use crate::accounts::Account;
use crate::blocking;
use crate::spaces::asked::AskedInto;
use crate::spaces::told::space_uri;
use crate::spaces::{SpaceError, Spaces};

/// Rows that are read at a time.
const PAGE: usize = 100;

/// Spaces of one person that are looked through for those that they were asked into.
const SPACES_LOOKED_AT_MAX: usize = 10_000;

/// Lines, and where to go on if there may be more.
type Read<C> = Result<(Vec<Line>, Option<C>), SpaceError>;

impl Spaces {
    /// Hands everything that makes an account's spaces to `sink`, also when they are served elsewhere by now: first all rooms
    /// with who may enter them, then what is known of its spaces, whom it blocks, what it was asked into, and who wrote in the
    /// rooms. `false` when `sink` wants
    /// no more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn take_out<F, E>(&self, account: &Account, mut sink: F) -> Result<bool, SpaceError>
    where
        F: FnMut(Vec<Line>) -> E,
        E: Future<Output = bool>,
    {
        let mut rooms: Vec<SpaceUri> = vec![];
        let mut after: Option<SpaceUri> = None;
        loop {
            let page = self.0.permissioned.spaces_of(account, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.uri.clone());
            rooms.extend(page.iter().map(|row| row.uri.clone()));
            let lines = page.into_iter().map(|row| Line::Room { room: row.uri, config: row.config });
            if !sink(lines.collect()).await {
                return Ok(false);
            }
        }
        for room in &rooms {
            let entrants = |after| {
                let (reader, room) = (self.0.reader.clone(), room.clone());
                blocking::run(move || {
                    let page = rows::members(&reader, room.digest(), Option::as_ref(&after), PAGE)?;
                    let last = page.last().filter(|_| page.len() == PAGE).map(|(did, _)| did.clone());
                    let line = |(did, row): (_, rows::MemberRow)| Line::Entrant {
                        room: room.clone(),
                        did,
                        member: row.member,
                    };
                    Ok((page.into_iter().map(line).collect(), last))
                })
            };
            if !pages(entrants, &mut sink).await? {
                return Ok(false);
            }
        }
        let known = |after: Option<KnownCursor>| {
            let (this, did) = (self.clone(), account.did().clone());
            blocking::run(move || {
                let (known, last) = this.known_blocking(&did, after.as_ref(), PAGE)?;
                Ok((known.into_iter().map(|one| Line::Known(Box::new(one))).collect(), last))
            })
        };
        if !pages(known, &mut sink).await? {
            return Ok(false);
        }
        let blocks = |after: Option<Did>| {
            let (reader, own) = (self.0.reader.clone(), account.did().clone());
            blocking::run(move || {
                let mut scan = reader.scan(&BLOCKS).prefix(&own);
                if let Some(after) = after {
                    scan = scan.after(&(own.clone(), after));
                }
                let page = scan.page(PAGE)?;
                let last = page.rows.last().filter(|_| page.more).map(|((_, did), _)| did.clone());
                Ok((page.rows.into_iter().map(|((_, did), _)| Line::Block { did }).collect(), last))
            })
        };
        if !pages(blocks, &mut sink).await? {
            return Ok(false);
        }
        let (this, did) = (self.clone(), account.did().clone());
        let asked = blocking::run(move || this.asked_lines(&did)).await?;
        if !asked.is_empty() && !sink(asked).await {
            return Ok(false);
        }
        for room in &rooms {
            let writers = |after| {
                let (reader, space) = (self.0.reader.clone(), room.clone());
                blocking::run(move || {
                    let page = rows::writers(&reader, space.digest(), after, PAGE)?;
                    let last = page.last().filter(|_| page.len() == PAGE).map(|row| row.space_rev);
                    Ok((page.into_iter().map(|row| wrote(&space, row)).collect(), last))
                })
            };
            if !pages(writers, &mut sink).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Spaces {
    /// The spaces of others that somebody was asked into and those of conversations with them: at the host that they go to,
    /// those that are here are elsewhere, too. Blocks.
    fn asked_lines(&self, user: &Did) -> Result<Vec<Line>, SpaceError> {
        let mut all: Vec<AskedInto> = self.asked_into(user)?;
        let spaces = self.0.reader.scan(&SPACES_OF).prefix(user).page(SPACES_LOOKED_AT_MAX)?;
        for ((_, id), _) in spaces.rows {
            let (row, member) = (self.0.reader.get(&SPACES, &id)?, self.0.reader.get(&MEMBERS, &(id, user.clone()))?);
            let Some((row, member)) = row.filter(|row| row.gone_at.is_none()).zip(member) else { continue };
            let is_invited = member.membership.status == Status::Pending
                && member.membership.invitation == Some(Invitation::Pending);
            let talks = row.rules.direct && matches!(member.membership.status, Status::Active | Status::Pending);
            if row.holder != *user && (is_invited || talks) {
                let space = space_uri(&row);
                all.push(AskedInto { space, at: member.created_at, heard_at: member.changed_at });
            }
        }
        all.sort_by_key(|asked| Reverse(asked.heard_at));
        let line = |AskedInto { space, at, heard_at }| Line::Asked { space, at, heard_at };
        Ok(all.into_iter().take(SPACES_ASKED_MAX).map(line).collect())
    }
}

/// Who has a repository in a room, as their host would tell of it.
fn wrote(room: &SpaceUri, row: rows::WriterRow) -> Line {
    Line::Writer(Box::new(WriteNotice {
        space: room.clone(),
        repo: row.did,
        repo_rev: row.rev,
        hash: row.hash,
        space_rev: None,
        prev_space_rev: None,
    }))
}

/// Hands on page after page; `false` when no more is wanted.
async fn pages<C, R, F, E>(mut read: impl FnMut(Option<C>) -> R, sink: &mut F) -> Result<bool, SpaceError>
where
    R: Future<Output = Read<C>>,
    F: FnMut(Vec<Line>) -> E,
    E: Future<Output = bool>,
{
    let mut after = None;
    loop {
        let (lines, next) = read(after).await?;
        if !lines.is_empty() && !sink(lines).await {
            return Ok(false);
        }
        after = next;
        if after.is_none() {
            return Ok(true);
        }
    }
}
