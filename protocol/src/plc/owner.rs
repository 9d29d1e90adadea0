//! An owner's key in an identity that names none.

use super::data::PlcData;
use crate::crypto::VerifyingKey;
use crate::ids::Did;

/// From when an owner's key that was added counts as the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The key that added it was the first: nobody can take it back.
    AtOnce,
    /// A more powerful key can take it back until the recovery window is over.
    AfterRecoveryWindow,
}

/// Why a key is not added as the owner's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// It is no `did:key` of a curve that did:plc takes.
    #[error("{0} is no key of an identity: it has to be a did:key on K-256 or P-256")]
    NoKey(Did),
    /// The host or its operator holds it.
    #[error("{0} is a key of this host, not of an owner")]
    OfHost(Did),
    /// The host has no key in the identity to add it with.
    #[error("this host's rotation key is not among those of the identity")]
    NoPower,
    /// Somebody else has a key in it already.
    #[error(
        "the identity has a key already that is not this host's ({0}): only an operation that this key itself has signed \
         puts another in its place"
    )]
    HasOwner(Did),
}

impl PlcData {
    /// Puts `key` before all rotation keys, if none of them is an owner's. `host` is the key of the host that signs,
    /// `operator` the host's operator's own; any other key counts as an owner's, since nothing tells them apart.
    ///
    /// A host may do this for an owner who has no key. It may not where there is one: the host would make itself
    /// the judge of who owns the identity.
    ///
    /// # Errors
    /// [`NotAdded`]; the state is as it was.
    pub fn put_owner_first(&mut self, key: &Did, host: &Did, operator: Option<&Did>) -> Result<Counts, NotAdded> {
        if VerifyingKey::from_did(key).is_err() {
            return Err(NotAdded::NoKey(key.clone()));
        }
        if key == host || Some(key) == operator {
            return Err(NotAdded::OfHost(key.clone()));
        }
        let owners = self.rotation_keys.iter().find(|it| *it != host && Some(*it) != operator);
        if let Some(owners) = owners {
            return Err(NotAdded::HasOwner(owners.clone()));
        }
        let place = self.rotation_keys.iter().position(|it| it == host).ok_or(NotAdded::NoPower)?;
        self.rotation_keys.insert(0, key.clone());
        Ok(if place == 0 { Counts::AtOnce } else { Counts::AfterRecoveryWindow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{P256Key, Secp256k1Key, SigningKey};
    use crate::plc::{LogError, PlcLog, PlcOperation, PlcStatement};
    use crate::time::Timestamp;

    fn key(number: u8) -> SigningKey {
        Secp256k1Key::from_bytes(&[number; 32]).expect("a scalar").into()
    }

    fn data(keys: &[&SigningKey]) -> PlcData {
        let handle = "cafe.example".parse().expect("a handle");
        let keys = keys.iter().map(|key| key.did()).collect();
        PlcData::account(keys, key(9).did(), &handle, "https://host.example".to_owned())
    }

    fn following(data: PlcData, prev: &PlcOperation, signer: &SigningKey) -> PlcOperation {
        PlcStatement::State { data, prev: Some(prev.cid()) }.sign(signer)
    }

    #[test]
    fn an_owner_without_a_key_gets_the_first_place_and_nobody_takes_it_back() {
        let (host, owner) = (key(1), key(2));
        let first = PlcStatement::State { data: data(&[&host]), prev: None }.sign(&host);
        let mut log = PlcLog::create(first.clone(), Timestamp::from_millis(0)).expect("made");
        let mut state = log.data().expect("alive");
        assert_eq!(state.put_owner_first(&owner.did(), &host.did(), None), Ok(Counts::AtOnce));
        assert_eq!(state.rotation_keys, [owner.did(), host.did()]);
        let added = following(state, &first, &host);
        log.append(added.clone(), Timestamp::from_millis(1)).expect("the host may");
        // The host cannot go back before it, nor can it take its place from it for good: the owner takes that back.
        let back = following(data(&[&host]), &first, &host);
        assert_eq!(log.append(back, Timestamp::from_millis(2)), Err(LogError::Signature));
        let without = following(data(&[&host]), &added, &host);
        log.append(without, Timestamp::from_millis(2)).expect("a weaker key may change an identity");
        let again = following(data(&[&owner, &host]), &added, &owner);
        assert_eq!(log.append(again, Timestamp::from_millis(3)).map(|taken| taken.len()), Ok(1));
        assert_eq!(log.data().expect("alive").rotation_keys[0], owner.did());
    }

    #[test]
    fn where_the_operators_key_comes_first_it_can_take_the_owners_back_for_a_while() {
        let (operator, host, owner) = (key(1), key(2), key(3));
        let mut state = data(&[&operator, &host]);
        let put = state.put_owner_first(&owner.did(), &host.did(), Some(&operator.did()));
        assert_eq!(put, Ok(Counts::AfterRecoveryWindow));
        assert_eq!(state.rotation_keys, [owner.did(), operator.did(), host.did()]);
        let first = PlcStatement::State { data: data(&[&operator, &host]), prev: None }.sign(&host);
        let mut log = PlcLog::create(first.clone(), Timestamp::from_millis(0)).expect("made");
        log.append(following(state, &first, &host), Timestamp::from_millis(1)).expect("the host may");
        let back = following(data(&[&operator, &host]), &first, &operator);
        assert_eq!(log.append(back, Timestamp::from_millis(2)).map(|taken| taken.len()), Ok(1));
    }

    #[test]
    fn an_owners_key_is_never_pushed_aside_and_no_other_thing_is_a_key() {
        let (host, operator, owner, other) = (key(1), key(4), key(2), key(3));
        let p256 = SigningKey::from(P256Key::from_bytes(&[5; 32]).expect("a scalar"));
        let refused = |keys: &[&SigningKey], wanted: &Did| {
            let (mut state, before) = (data(keys), data(keys));
            let refused = state.put_owner_first(wanted, &host.did(), Some(&operator.did())).expect_err("refused");
            assert_eq!(state, before, "nothing has changed");
            refused
        };
        // In whatever place, and also if it is the same one.
        assert_eq!(refused(&[&owner, &host], &other.did()), NotAdded::HasOwner(owner.did()));
        assert_eq!(refused(&[&host, &owner], &other.did()), NotAdded::HasOwner(owner.did()));
        assert_eq!(refused(&[&owner, &host], &owner.did()), NotAdded::HasOwner(owner.did()));
        assert_eq!(refused(&[&p256, &host], &other.did()), NotAdded::HasOwner(p256.did()));
        assert_eq!(refused(&[&host], &host.did()), NotAdded::OfHost(host.did()));
        assert_eq!(refused(&[&host], &operator.did()), NotAdded::OfHost(operator.did()));
        assert_eq!(refused(&[&operator], &other.did()), NotAdded::NoPower);
        for text in ["did:web:cafe.example", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"] {
            let wanted: Did = text.parse().expect("a DID");
            assert_eq!(refused(&[&host], &wanted), NotAdded::NoKey(wanted.clone()), "Ed25519 has no place there");
        }
        assert!(data(&[&host]).put_owner_first(&p256.did(), &host.did(), None).is_ok(), "either curve");
    }
}
