//! An app that reads a space for a member: asks for a credential, signs its requests, and checks what it gets.

use angel_protocol::crypto::{P256Key, Secp256k1Key, SigningKey, VerifyingKey};
use angel_protocol::data::{Cid, from_json};
use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::repo::Agreement;
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::wire::request::sign;
use angel_protocol::permissioned::wire::token::{Kind, SignedToken, Token};
use angel_protocol::permissioned::{Head, Op, SpaceUri};
use anyhow::{Context, Result, ensure};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Account, Host, answer};

/// A credential and the key that it is bound to.
pub(super) struct Reader {
    pub(super) space: SpaceUri,
    credential: String,
    key: [u8; 32],
}

/// The name of an error.
pub(super) fn name(body: &Value) -> &str {
    body["error"].as_str().unwrap_or_default()
}

/// The signing key of an account, by the directory that `host` keeps.
pub(super) async fn key_of(host: &Host, did: &Did) -> Result<VerifyingKey> {
    let data: Value = host.client.get(format!("{}/{did}/data", host.url)).send().await?.json().await?;
    let key: Did = data["verificationMethods"]["atproto"].as_str().context("a signing key")?.parse()?;
    Ok(VerifyingKey::from_did(&key)?)
}

fn new_key() -> [u8; 32] {
    loop {
        let bytes = rand::random();
        if P256Key::from_bytes(&bytes).is_some() {
            return bytes;
        }
    }
}

fn p256(bytes: &[u8; 32]) -> P256Key {
    P256Key::from_bytes(bytes).expect("tried when it was made")
}

async fn delegation(home: &Host, member: &Account, space: &SpaceUri) -> Result<String> {
    let text = space.to_string();
    let asked = home.get("com.atproto.space.getDelegationToken", &[("space", &text)]).bearer_auth(&member.token);
    let token = home.answer(asked).await?;
    Ok(token["token"].as_str().context("a token")?.to_owned())
}

fn exchange(host: &Host, delegation: &str, key: &[u8; 32], space: &SpaceUri) -> RequestBuilder {
    exchange_for(host, delegation, key, &json!({ "space": space }))
}

fn exchange_for(host: &Host, delegation: &str, key: &[u8; 32], body: &Value) -> RequestBuilder {
    let authorization = format!("Bearer {delegation}");
    let signature = sign(p256(key), &authorization, None);
    host.post("com.atproto.space.getSpaceCredential", body)
        .header("Authorization", authorization)
        .header("Signature-Input", signature.input)
        .header("Signature", signature.signature)
}

impl Reader {
    /// A reader for `member` of `home`, let in by the space's `host`.
    pub(super) async fn admitted(home: &Host, member: &Account, host: &Host, space: &SpaceUri) -> Result<Self> {
        let key = new_key();
        let asked = exchange(host, &delegation(home, member, space).await?, &key, space);
        let answer = host.answer(asked).await?;
        let credential = answer["credential"].as_str().context("a credential")?.to_owned();
        Ok(Self { space: space.clone(), credential, key })
    }

    /// The same with what an app says of itself; or how it is refused.
    pub(super) async fn with_app(
        home: &Host,
        member: &Account,
        host: &Host,
        space: &SpaceUri,
        attestation: &str,
    ) -> Result<Result<Self, (u16, Value)>> {
        let key = new_key();
        let body = json!({ "space": space, "clientAttestation": attestation });
        let asked = exchange_for(host, &delegation(home, member, space).await?, &key, &body);
        let (status, answer) = answer(asked).await?;
        if status != 200 {
            return Ok(Err((status, answer)));
        }
        let credential = answer["credential"].as_str().context("a credential")?.to_owned();
        Ok(Ok(Self { space: space.clone(), credential, key }))
    }

    /// How somebody is refused who is not let in.
    pub(super) async fn refused(home: &Host, member: &Account, host: &Host, space: &SpaceUri) -> Result<(u16, Value)> {
        answer(exchange(host, &delegation(home, member, space).await?, &new_key(), space)).await
    }

    /// What becomes of a delegation token that is brought a second time.
    pub(super) async fn exchanged_twice(
        home: &Host,
        member: &Account,
        host: &Host,
        space: &SpaceUri,
    ) -> Result<(u16, Value)> {
        let token = delegation(home, member, space).await?;
        let (status, body) = answer(exchange(host, &token, &new_key(), space)).await?;
        ensure!(status == 200, "{status}: {body}");
        answer(exchange(host, &token, &new_key(), space)).await
    }

    fn signed(&self, request: RequestBuilder, audience: &Did) -> RequestBuilder {
        present(request, &self.credential, &self.key, audience)
    }

    /// A call of a procedure of the space's own `host`, with the credential.
    pub(super) fn signed_post(&self, host: &Host, method: &str, body: &Value) -> RequestBuilder {
        self.signed(host.post(method, body), &self.space.authority)
    }

    async fn asked(&self, host: &Host, method: &str, repo: &Did, more: &[(&str, &str)]) -> Result<Value> {
        let text = self.space.to_string();
        let query = [&[("space", text.as_str()), ("repo", repo.as_str())], more].concat();
        host.answer(self.signed(host.get(method, &query), repo)).await
    }

    pub(super) async fn list_repos(&self, host: &Host) -> Result<Vec<Value>> {
        let text = self.space.to_string();
        let request = host.get("com.atproto.space.listRepos", &[("space", &text)]);
        let answer = host.answer(self.signed(request, &self.space.authority)).await?;
        Ok(answer["repos"].as_array().context("a list")?.clone())
    }

    pub(super) async fn list(&self, host: &Host, repo: &Did) -> Result<Vec<Value>> {
        let answer = self.asked(host, "com.atproto.space.listRecords", repo, &[("limit", "100")]).await?;
        Ok(answer["records"].as_array().context("a list")?.clone())
    }

    pub(super) async fn try_list(&self, host: &Host, repo: &Did) -> Result<(u16, Value)> {
        let text = self.space.to_string();
        let query = [("space", text.as_str()), ("repo", repo.as_str())];
        answer(self.signed(host.get("com.atproto.space.listRecords", &query), repo)).await
    }

    pub(super) async fn commit(&self, host: &Host, repo: &Did) -> Result<SignedCommit> {
        commit_of(&self.asked(host, "com.atproto.space.getLatestCommit", repo, &[]).await?["commit"])
    }

    pub(super) async fn repo(&self, host: &Host, repo: &Did) -> Result<Vec<u8>> {
        let text = self.space.to_string();
        let query = [("space", text.as_str()), ("repo", repo.as_str())];
        let answer = self.signed(host.get("com.atproto.space.getRepo", &query), repo).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    pub(super) async fn blob(&self, host: &Host, repo: &Did, cid: &str) -> Result<Vec<u8>> {
        let text = self.space.to_string();
        let query = [("space", text.as_str()), ("repo", repo.as_str()), ("cid", cid)];
        let answer = self.signed(host.get("com.atproto.space.getBlob", &query), repo).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    /// Brings a copy up to date by operations, and checks that it is what the author says. Answers how many there were.
    pub(super) async fn catch_up(&self, host: &Host, repo: &Did, copy: &mut Head) -> Result<usize> {
        let mut count = 0;
        loop {
            let since = copy.rev.to_string();
            let mut query = vec![("limit", "7")];
            if copy.rev > Tid::MIN {
                query.push(("since", &since));
            }
            let answer = self.asked(host, "com.atproto.space.listRepoOps", repo, &query).await?;
            let ops = answer["ops"].as_array().context("a list")?;
            count += ops.len();
            for batch in ops.chunk_by(|a, b| a["rev"] == b["rev"]) {
                let rev = batch[0]["rev"].as_str().context("a revision")?.parse()?;
                let ops = batch.iter().map(op_of).collect::<Result<Vec<_>>>()?;
                copy.advance(rev, &ops)?;
            }
            if let Some(commit) = answer.get("commit") {
                let commit = commit_of(commit)?;
                ensure!(copy.agrees(&commit) == Agreement::Same, "the copy is the same as the original");
                return Ok(count);
            }
        }
    }

    /// All the ways in which the credential may not be used for `repo` on `host`, and how each is refused.
    pub(super) async fn misuse(
        &self,
        host: &Host,
        repo: &Did,
        somebody: &Did,
        other: &SpaceUri,
    ) -> Result<Vec<(&'static str, (u16, Value))>> {
        let list = |space: &SpaceUri| {
            let text = space.to_string();
            host.get("com.atproto.space.listRecords", &[("space", text.as_str()), ("repo", repo.as_str())])
        };
        let unsigned = list(&self.space)
            .header("Authorization", format!("Atproto-Space {}", self.credential))
            .header("Atproto-Space-Audience", repo.as_str());
        let stranger: SigningKey = Secp256k1Key::from_bytes(&[3; 32]).context("a scalar")?.into();
        let real = SignedToken::read(Kind::Credential, &self.credential)?.token;
        let old = Token { issued_at: real.issued_at - 3000, expires_at: real.issued_at - 2400, ..real.clone() };
        let made = |token: &Token| present(list(&self.space), &token.sign(&stranger), &self.key, repo);
        let cases = [
            ("no signature", unsigned),
            ("another key", present(list(&self.space), &self.credential, &new_key(), repo)),
            ("another audience", present(list(&self.space), &self.credential, &self.key, somebody)),
            ("another space", present(list(other), &self.credential, &self.key, repo)),
            ("as bearer", list(&self.space).bearer_auth(&self.credential)),
            ("expired", made(&old)),
            ("forged", made(&real)),
        ];
        let mut found = Vec::new();
        for (case, request) in cases {
            found.push((case, answer(request).await?));
        }
        Ok(found)
    }
}

fn present(request: RequestBuilder, credential: &str, key: &[u8; 32], audience: &Did) -> RequestBuilder {
    let authorization = format!("Atproto-Space {credential}");
    let signature = sign(p256(key), &authorization, Some(audience));
    request
        .header("Authorization", authorization)
        .header("Atproto-Space-Audience", audience.as_str())
        .header("Signature-Input", signature.input)
        .header("Signature", signature.signature)
}

fn commit_of(json: &Value) -> Result<SignedCommit> {
    Ok(SignedCommit::from_value(&from_json(json)?)?)
}

fn op_of(json: &Value) -> Result<Op> {
    let cid = |field: &str| json[field].as_str().map(str::parse::<Cid>).transpose();
    let text = |field: &str| json[field].as_str().context("an operation");
    let path = format!("{}/{}", text("collection")?, text("rkey")?).parse()?;
    Ok(Op { path, cid: cid("cid")?, prev: cid("prev")? })
}
