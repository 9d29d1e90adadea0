//! Who publishes the lexicons of a group of names: the account that the texts at `_lexicon.` and the group's domain name.
//! Nobody above or below it is asked (AT Protocol "Lexicon", resolution).

use angel_protocol::ids::{Did, Nsid};

use super::{ResolveError, Resolver};

impl Resolver {
    /// The account that publishes the lexicons beside `nsid`; `None` when the domain names none, or more than one.
    ///
    /// # Errors
    /// The domain name system does not answer.
    pub async fn lexicon_authority(&self, nsid: &Nsid) -> Result<Option<Did>, ResolveError> {
        let name = authority_name(nsid);
        let texts = {
            let _turn = self.0.questions.acquire().await;
            self.0.parts.dns.texts(&name).await
        };
        let texts = texts.map_err(|error| ResolveError::Unreachable { what: name.clone(), why: error.to_string() })?;
        Ok(only_did(&texts))
    }
}

/// `a.b.c.name` is published by whom `_lexicon.c.b.a` says.
fn authority_name(nsid: &Nsid) -> String {
    let parts: Vec<_> = nsid.as_str().split('.').collect();
    let (_, group) = parts.split_last().expect("an NSID has at least three parts");
    let domain: Vec<_> = group.iter().rev().copied().collect();
    format!("_lexicon.{}", domain.join("."))
}

fn only_did(texts: &[String]) -> Option<Did> {
    let mut dids = texts.iter().filter_map(|text| text.strip_prefix("did=")).map(str::parse);
    match (dids.next(), dids.next()) {
        (Some(Ok(did)), None) => Some(did),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_a_name_is_its_group_backwards() {
        let name = |nsid: &str| authority_name(&nsid.parse().expect("valid"));
        assert_eq!(name("co.kendev.spaces.message"), "_lexicon.spaces.kendev.co");
        assert_eq!(name("com.example.note"), "_lexicon.example.com");
    }

    #[test]
    fn one_text_with_a_did_counts() {
        let did = |texts: &[&str]| only_did(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            did(&["v=spf1", "did=did:web:a.example"]).map(|did| did.to_string()).as_deref(),
            Some("did:web:a.example")
        );
        assert_eq!(did(&["did=did:web:a.example", "did=did:web:b.example"]), None);
        assert_eq!(did(&["did=nobody"]), None);
        assert_eq!(did(&[]), None);
    }
}
