//! What an account wrote in spaces that are not public goes with it: each permissioned repository with the files that its
//! records name. Space by space, and what is at the new host already is not carried again.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::super::super::exit::{Code, Failure};
use super::super::text;
use super::{Asked, FILES_PAGE, Pds, Wizard, with};

/// Spaces that are asked for at a time.
const SPACES_PAGE: &str = "100";

impl Pds {
    /// Whether it says that it keeps private data. Hosts that know nothing of that hand such questions on to other services,
    /// whose answers say nothing.
    async fn keeps_private_data(&self) -> Asked<bool> {
        Ok(self.get("com.atproto.server.describeServer").await?["permissionedData"].is_object())
    }

    /// Where a repository in a space stands: its revision and set hash.
    async fn stands(&self, space: &str, did: &str) -> Asked<Option<(Value, Value)>> {
        let query = [("space", space), ("repo", did)];
        match self.get(&with("com.atproto.space.getLatestCommit", query)).await {
            Ok(answer) => Ok(Some((answer["commit"]["rev"].clone(), answer["commit"]["hash"].clone()))),
            Err(refusal) if matches!(refusal.name.as_str(), "RepoNotFound" | "SpaceNotFound") => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

impl Wizard<'_> {
    /// The account's repositories in spaces.
    pub(super) async fn carry_private(&mut self) -> Result<(), Failure> {
        if self.answers.leave_private {
            self.done("private", "stays at the old host, as asked");
            return Ok(());
        }
        if !self.old.keeps_private_data().await? {
            return Ok(());
        }
        let is_kept = self.new.keeps_private_data().await?;
        let (mut carried, mut there, mut after) = (0_u64, 0_u64, None::<String>);
        loop {
            let query = [("limit", SPACES_PAGE)].into_iter().chain(after.as_deref().map(|after| ("cursor", after)));
            let page = self.old.get(&with("com.atproto.space.listSpaces", query)).await?;
            let spaces: Vec<_> = page["spaces"].as_array().into_iter().flatten().map(|it| text(it, "uri")).collect();
            if !spaces.is_empty() && !is_kept {
                self.done("private", "stays at the old host: the new one keeps no private data");
                return Ok(());
            }
            for space in &spaces {
                if self.carry_space(space).await? { carried += 1 } else { there += 1 }
            }
            after = page["cursor"].as_str().map(ToOwned::to_owned);
            if after.is_none() {
                break;
            }
        }
        self.done("private", format!("carried from {carried} spaces; of {there} it was there before"));
        Ok(())
    }

    /// What makes the account's own spaces, once it is in use at the new host and before the old one is switched off: what
    /// is changed there later is newer than what is here.
    pub(super) async fn carry_spaces(&mut self) -> Result<(), Failure> {
        if !self.old.keeps_private_data().await? {
            return Ok(());
        }
        if !self.new.keeps_private_data().await? {
            self.done("spaces", "its own, if it has any, end here: the new host takes none in");
            return Ok(());
        }
        let asked = "co.kendev.spaces.exportSpaces";
        let lines = match self.old.exchange(Method::GET, asked, |it| it).await {
            Ok(lines) => lines,
            Err(refusal) if refusal.is_of_no_method() => return Ok(()),
            Err(refusal) if refusal.name == "IsTenant" => {
                self.done("spaces", "come with the export of the tenant");
                return Ok(());
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let filled = |request: RequestBuilder| {
            let body = reqwest::Body::wrap_stream(lines.bytes_stream());
            request.header(CONTENT_TYPE, "application/jsonl").body(body)
        };
        match self.new.json(Method::POST, "co.kendev.spaces.importSpaces", filled).await {
            Ok(taken) => self.done("spaces", format!("{} rooms with their members", taken["rooms"])),
            Err(refusal) if refusal.is_of_no_method() => {
                self.done("spaces", "of its own end here: the new host takes none in");
            }
            Err(refusal) => return Err(refusal.into()),
        }
        Ok(())
    }

    /// The repository in one space; `false` when the new host has it already.
    async fn carry_space(&mut self, space: &str) -> Result<bool, Failure> {
        let here = self.old.stands(space, &self.did).await?;
        if here.is_none() || self.new.stands(space, &self.did).await? == here {
            return Ok(false);
        }
        self.copy_private_files(space).await?;
        let query = [("space", space), ("repo", self.did.as_str())];
        let asked = with("com.atproto.space.getRepo", query);
        let car = self.old.exchange(Method::GET, &asked, |it| it).await?;
        let filled = |request: RequestBuilder| {
            let kind = "application/vnd.ipld.car";
            request.header(CONTENT_TYPE, kind).body(reqwest::Body::wrap_stream(car.bytes_stream()))
        };
        let import = with("co.kendev.spaces.importRepo", [("space", space)]);
        match self.new.exchange(Method::POST, &import, filled).await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is_of_no_method() => {
                let words = format!(
                    "{} does not take in what {} wrote in spaces that are not public; to move without it, and leave it at the \
                     old host, add --leave-private",
                    self.new.url, self.did
                );
                Err(Failure::new(Code::Daemon, words))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The files that its records name; those that the old host has lost are told of.
    async fn copy_private_files(&mut self, space: &str) -> Result<(), Failure> {
        let (mut lost, mut after) = (Vec::new(), None::<String>);
        loop {
            let query = [("space", space), ("repo", self.did.as_str()), ("limit", FILES_PAGE)];
            let query = query.into_iter().chain(after.as_deref().map(|after| ("cursor", after)));
            let page = self.old.get(&with("com.atproto.space.listBlobs", query)).await?;
            let cids = page["cids"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for cid in cids {
                let query = [("space", space), ("repo", self.did.as_str()), ("cid", cid)];
                if !self.copy_file_of(&with("com.atproto.space.getBlob", query)).await? {
                    lost.push(cid.to_owned());
                }
            }
            after = page["cursor"].as_str().map(ToOwned::to_owned);
            if after.is_none() {
                break;
            }
        }
        if !lost.is_empty() {
            self.done("files", format!("{} are not at the old host either: {}", lost.len(), lost.join(" ")));
        }
        Ok(())
    }
}
