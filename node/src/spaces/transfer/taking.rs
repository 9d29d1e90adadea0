//! An account's spaces taken in, line by line. The account lives here by now, and its records are here.

use angel_protocol::ids::Did;
use angel_protocol::permissioned::wire::notice::WriteNotice;
use angel_protocol::permissioned::{Member, SpaceConfig, SpaceUri};
use angel_storage::Batch;
use angel_storage::codec::Present;
use angel_storage::spaces::BLOCKS;

use super::{Known, Line, WrittenError};
use crate::accounts::Account;
use crate::permissioned::PermissionedError;
use crate::spaces::{SpaceError, Spaces};
use crate::{blocking, clock};

/// Lines that are dealt with together.
const TOGETHER: usize = 100;

/// The same of what is known: its spaces are gone through after each.
const KNOWN_TOGETHER: usize = 2000;

/// Why a line is not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakingError {
    /// A room of another account.
    #[error("the room {0} is under another account")]
    OtherAccount(SpaceUri),
    /// What somebody was asked into is no space of somebody else.
    #[error("the account was asked into {0}, which is no space of somebody else")]
    NotAsked(String),
    /// What is known has another name than it should.
    #[error("what is known of a space has another name")]
    Unsound,
    /// A membership that is written as a record means nothing here.
    #[error(transparent)]
    Written(#[from] WrittenError),
    /// Nothing can be written.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

impl From<PermissionedError> for TakingError {
    fn from(error: PermissionedError) -> Self {
        Self::Space(error.into())
    }
}

/// Spaces that are taken in. Rooms come first, then what is known, then who wrote: what comes late is taken when it comes.
pub(crate) struct Taking {
    spaces: Spaces,
    account: Account,
    entrants: Option<(SpaceUri, Vec<(Did, Member)>)>,
    known: Vec<Known>,
    /// Memberships that came as records.
    written: Vec<Known>,
    /// How many rooms there were.
    rooms: u64,
}

impl Spaces {
    /// Begins to take in the spaces of an account that lives here.
    pub(crate) fn taking(&self, account: &Account) -> Taking {
        Taking {
            spaces: self.clone(),
            account: account.clone(),
            entrants: None,
            known: vec![],
            written: vec![],
            rooms: 0,
        }
    }

    /// Makes a room as it was, unless it is here, and lets those in who are on its list.
    ///
    /// # Errors
    /// The settings cannot be enforced, or the store fails.
    pub(crate) async fn take_room(
        &self,
        account: &Account,
        room: &SpaceUri,
        config: SpaceConfig,
        entrants: &[(Did, Member)],
    ) -> Result<(), PermissionedError> {
        let permissioned = &self.0.permissioned;
        let (kind, key) = (room.space_type.clone(), Some(room.key.clone()));
        match permissioned.create_space(account, kind, key, config).await {
            Ok(_) | Err(PermissionedError::SpaceExists) => {}
            Err(error) => return Err(error),
        }
        for some in entrants.chunks(TOGETHER) {
            let members = some.iter().map(|(did, member)| (did.clone(), Some(*member))).collect();
            permissioned.set_members(room, members).await?;
        }
        Ok(())
    }

    /// Takes in that an account takes no messages from somebody.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn take_block(&self, account: &Account, other: Did) -> Result<(), SpaceError> {
        let (this, own) = (self.clone(), account.did().clone());
        blocking::run(move || {
            let mut batch = Batch::new();
            batch.put(&BLOCKS, &(own, other), &Present)?;
            this.0.writer.commit(batch)?;
            Ok(())
        })
        .await
    }

    /// Takes in that somebody wrote in a room: of who lives here what is here, of others what their hosts have.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn take_writer(&self, notice: WriteNotice) -> Result<(), SpaceError> {
        let (room, who) = (notice.space.clone(), notice.repo.clone());
        match self.0.permissioned.heard_write(notice).await {
            Ok(()) => self.take_in_writer(&room, &who).await,
            // Members then, and no more.
            Err(PermissionedError::SpaceNotFound | PermissionedError::FutureRev) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Taking {
    /// Takes the next line.
    ///
    /// # Errors
    /// [`TakingError`]. What was taken in stays so, and the same lines can come again.
    pub(crate) async fn take(&mut self, line: Line) -> Result<(), TakingError> {
        let own = |room: &SpaceUri| match room.authority == *self.account.did() {
            true => Ok(()),
            false => Err(TakingError::OtherAccount(room.clone())),
        };
        match line {
            Line::Room { room, config } => {
                own(&room)?;
                self.spaces.take_room(&self.account, &room, config, &[]).await?;
                // What its holder wrote there came with their repository.
                self.spaces.take_in_writer(&room, self.account.did()).await?;
                self.rooms += 1;
            }
            Line::Entrant { room, did, member } => {
                own(&room)?;
                if self.entrants.as_ref().is_some_and(|(other, some)| *other != room || some.len() >= TOGETHER) {
                    self.let_in().await?;
                }
                self.entrants.get_or_insert_with(|| (room, Vec::new())).1.push((did, member));
            }
            Line::Known(known) => {
                if !known.is_sound() {
                    return Err(TakingError::Unsound);
                }
                self.known.push(*known);
                if self.known.len() >= KNOWN_TOGETHER {
                    self.learn().await?;
                }
            }
            Line::Membership { value } => {
                self.written.push(Known::of_record(self.account.did(), &value, clock::now())?);
                if self.written.len() >= KNOWN_TOGETHER {
                    self.learn().await?;
                }
            }
            Line::Block { did } => {
                self.learn().await?;
                self.spaces.take_block(&self.account, did).await?;
            }
            Line::Asked { space, at, heard_at } => {
                if !self.spaces.take_asked(&self.account, &space, (at, heard_at)).await? {
                    return Err(TakingError::NotAsked(space));
                }
            }
            Line::Writer(notice) => {
                own(&notice.space)?;
                self.let_in().await?;
                self.learn().await?;
                self.spaces.take_writer(*notice).await?;
            }
        }
        Ok(())
    }

    /// There are no more lines; answers how many rooms there were.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) async fn finish(mut self) -> Result<u64, TakingError> {
        self.let_in().await?;
        self.learn().await?;
        Ok(self.rooms)
    }

    async fn let_in(&mut self) -> Result<(), TakingError> {
        let Some((room, entrants)) = self.entrants.take() else { return Ok(()) };
        let members = entrants.into_iter().map(|(did, member)| (did, Some(member))).collect();
        Ok(self.spaces.0.permissioned.set_members(&room, members).await?)
    }

    async fn learn(&mut self) -> Result<(), TakingError> {
        let known = std::mem::take(&mut self.known);
        if !known.is_empty() {
            self.spaces.take_known(self.account.did(), known).await?;
        }
        let written = std::mem::take(&mut self.written);
        if !written.is_empty() {
            self.spaces.take_written(self.account.did(), written).await?;
        }
        Ok(())
    }
}
