//! The primary hands out archives: to the tenant's vaults alone, going on where one broke off, at the pace of copying.

use std::fs::File;

use angel_protocol::ids::Did;
use angel_protocol::replication::wire::{Answer, ArchiveOf, Refusal};
use serde_bytes::ByteArray;

use super::super::{Replication, ReplicationError, stream};
use super::Given;
use super::made::{MadeFiles, range};
use crate::blocking;
use crate::events::Bulk;
use crate::network::Stream;

/// Bytes of an archive in one frame.
const PIECE_BYTES: u64 = 256 * 1024;

impl Replication {
    /// The newest archive, unless the vault has it.
    pub(in super::super) async fn send_archive(
        &self,
        asker: &Did,
        asked: ArchiveOf,
        io: &mut Stream,
    ) -> Result<(), ReplicationError> {
        let not_found = || ReplicationError::Refused(Refusal::NotFound);
        let tenant = self.host(asker, &asked.of.tenant)?;
        if !tenant.is_primary() || tenant.placed.epoch != asked.of.epoch || !tenant.serves() {
            return Err(ReplicationError::Refused(Refusal::NotPrimary));
        }
        if !tenant.placed.vaults.contains(asker) {
            return Err(ReplicationError::Refused(Refusal::NotAHost));
        }
        let account = tenant.account.ok_or_else(not_found)?;
        let vaults = &self.0.vaults;
        let (given, is_changed) = vaults.said(&tenant.did, asker, asked.has.map(ByteArray::into_array));
        if is_changed {
            // It is written down there, and what all have is let go of.
            vaults.wanted.notify_one();
        }
        let (archive, has_it) = match given {
            Given::HasIt(archive) => (archive, true),
            Given::Newest(archive) => (archive, false),
            Given::Nothing => {
                vaults.wanted.notify_one();
                return Err(not_found());
            }
        };
        if has_it {
            if is_changed {
                // It is asked at once.
                vaults.fetched.notify_one();
            }
            let (digest, bytes) = (archive.digest, archive.bytes);
            return Ok(stream::answer(io, &Answer::Archive { digest, bytes, from: bytes }).await?);
        }
        let path = MadeFiles::of(&vaults.settings.dir, account).archive(&archive.digest);
        // It was let go of a moment ago: another one is made.
        let file = blocking::run(move || File::open(path)).await.map_err(|_| not_found())?;
        let (digest, bytes) = (archive.digest, archive.bytes);
        let mut from = asked.part.filter(|(of, at)| *of == digest && *at < bytes).map_or(0, |(_, at)| at);
        stream::answer(io, &Answer::Archive { digest, bytes, from }).await?;
        let _turn = self.0.pace.turn().await;
        let mut file = file;
        while from < bytes {
            let (read, piece) =
                blocking::run(move || range(&file, from, PIECE_BYTES.min(bytes - from)).map(|piece| (file, piece)))
                    .await?;
            file = read;
            if piece.is_empty() {
                return Err(not_found());
            }
            from += piece.len() as u64;
            self.send_piece(io, Bulk::Archives, piece).await?;
        }
        Ok(stream::answer(io, &Answer::End).await?)
    }
}
