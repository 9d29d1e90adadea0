//! Many Ed25519 signatures checked together, at less than half the price of each alone.
//!
//! One equation over a random combination stands for all. That is only as good as each check alone where both ask the
//! same question, so a signature that may come in a batch is checked by the cofactored equation everywhere, as ZIP 215
//! has it: `8·(s·B − R − k·A) = 0`. [`NodePublicKey::verify`] asks a stricter one, and what it accepts holds here too.
//!
//! The factors of the combination come from a hash over everything that is checked, so this is a pure function;
//! whoever wants to be believed falsely has to find a hash of 128 bits.

use std::collections::HashMap;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256, Sha512};

use super::ed25519::{Domain, NodePublicKey, Signature};

/// Signatures in one equation. Beyond some hundreds the price of each hardly falls.
const TOGETHER_MAX: usize = 512;

/// When an equation does not hold, it is asked again for so many at a time, and where it does not hold then, of each
/// alone: somebody who slips in bad signatures costs us at most about twice what each check alone would.
const FEW: usize = 16;

/// A signature to be checked. The key comes as the point it is: finding that takes a quarter of a check, and who checks
/// many of one signer finds it once.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Whose it is said to be.
    pub key: &'a NodePublicKey,
    /// What for.
    pub domain: Domain,
    /// Over what.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

/// A claim whose parts could be read: what is left is the equation.
struct Terms<'a> {
    key: &'a NodePublicKey,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

impl<'a> Claim<'a> {
    fn terms(&self) -> Option<Terms<'a>> {
        let (r_bytes, s_bytes) = self.signature.split_first_chunk::<32>()?;
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s_bytes.try_into().ok()?))?;
        let r = CompressedEdwardsY(*r_bytes).decompress()?;
        let mut hash = Sha512::new_with_prefix(r_bytes);
        hash.update(self.key.to_bytes());
        self.domain.feed(&mut hash);
        hash.update(self.message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        Some(Terms { key: self.key, r, s, k })
    }
}

impl Terms<'_> {
    /// The equation for one signature.
    fn hold(&self) -> bool {
        let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.k, &-self.key.point(), &self.s);
        (sum - self.r).mul_by_cofactor().is_identity()
    }
}

/// Whether one signature holds.
#[must_use]
pub fn holds(claim: &Claim<'_>) -> bool {
    claim.terms().is_some_and(|terms| terms.hold())
}

/// Which of the signatures hold: the same answers that [`holds`] gives for each.
#[must_use]
pub fn which_hold(claims: &[Claim<'_>]) -> Vec<bool> {
    let terms: Vec<_> = claims.iter().map(Claim::terms).collect();
    let mut answers = vec![false; claims.len()];
    let readable: Vec<_> =
        terms.iter().enumerate().filter_map(|(place, terms)| Some((place, terms.as_ref()?))).collect();
    for many in readable.chunks(TOGETHER_MAX) {
        let all = all_hold(many);
        for few in many.chunks(FEW) {
            let these = all || all_hold(few);
            for (place, terms) in few {
                answers[*place] = these || terms.hold();
            }
        }
    }
    answers
}

/// One equation for all of them.
fn all_hold(terms: &[(usize, &Terms<'_>)]) -> bool {
    let mut seed = Sha256::new_with_prefix(b"angel/signatures-together/1\0");
    for (_, terms) in terms {
        // The hash in `k` covers key, commitment and message.
        seed.update(terms.k.as_bytes());
        seed.update(terms.s.as_bytes());
    }
    let mut random = ChaCha20Rng::from_seed(seed.finalize().into());
    let mut base = Scalar::ZERO;
    let mut keys: HashMap<[u8; 32], (Scalar, EdwardsPoint)> = HashMap::with_capacity(terms.len());
    let mut scalars = Vec::with_capacity(2 * terms.len() + 1);
    let mut points = Vec::with_capacity(2 * terms.len() + 1);
    for (_, terms) in terms {
        let mut bytes = [0; 32];
        random.fill_bytes(&mut bytes[..16]);
        let factor = Scalar::from_bytes_mod_order(bytes);
        base -= factor * terms.s;
        scalars.push(factor);
        points.push(terms.r);
        keys.entry(terms.key.to_bytes()).or_insert_with(|| (Scalar::ZERO, terms.key.point())).0 += factor * terms.k;
    }
    for (factor, key) in keys.into_values() {
        scalars.push(factor);
        points.push(key);
    }
    scalars.push(base);
    points.push(curve25519_dalek::constants::ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;

    use super::super::ed25519::NodeKey;
    use super::*;

    const DOMAIN: Domain = Domain::new("angel/test/1");

    fn claims<'a>(signed: &'a [(NodePublicKey, Vec<u8>, Signature)]) -> Vec<Claim<'a>> {
        let claim = |(key, message, signature): &'a (NodePublicKey, Vec<u8>, Signature)| Claim {
            key,
            domain: DOMAIN,
            message,
            signature,
        };
        signed.iter().map(claim).collect()
    }

    fn signed(count: u8) -> Vec<(NodePublicKey, Vec<u8>, Signature)> {
        let sign = |number: u8| {
            let key = NodeKey::from_seed(&[number % 7; 32]);
            let message = vec![number; usize::from(number)];
            let signature = key.sign(DOMAIN, &message);
            (key.public(), message, signature)
        };
        (0..count).map(sign).collect()
    }

    #[test]
    fn good_ones_hold_together_as_each_alone() {
        for count in [0, 1, 2, 15, 16, 17, 100] {
            let signed = signed(count);
            assert!(which_hold(&claims(&signed)).iter().all(|holds| *holds));
            assert!(claims(&signed).iter().all(holds));
            for claim in claims(&signed) {
                assert_eq!(claim.key.verify(DOMAIN, claim.message, claim.signature), Ok(()));
            }
        }
    }

    #[test]
    fn bad_ones_are_found_wherever_they_lie() {
        for bad in [vec![0], vec![63], vec![5, 6], vec![0, 16, 32, 48], (0..64).collect()] {
            let mut signed = signed(64);
            for place in &bad {
                signed[*place].1.push(1);
            }
            let found = which_hold(&claims(&signed));
            for (place, holds) in found.into_iter().enumerate() {
                assert_eq!(holds, !bad.contains(&place), "{place}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_does_not_hold() {
        let mut signed = signed(3);
        // A commitment that is no point, and a number that is none of the group's.
        signed[0].2[..32].fill(2);
        signed[1].2[32..].fill(0xff);
        let expected = claims(&signed).iter().map(holds).collect::<Vec<_>>();
        assert_eq!(which_hold(&claims(&signed)), expected);
        assert_eq!(expected, [false, false, true]);
    }

    /// A signature whose commitment carries a component of small order: strict checking refuses it, a batch without
    /// the cofactor would accept it or not, depending on its neighbours. Here the answer is the same in any company.
    #[test]
    fn a_component_of_small_order_gets_one_answer_in_any_company() {
        let secret = Scalar::from_bytes_mod_order([5; 32]);
        let key = EdwardsPoint::mul_base(&secret).compress().to_bytes();
        let strict = NodePublicKey::from_bytes(&key).expect("a key");
        let nonce = Scalar::from_bytes_mod_order([6; 32]);
        let mut crafted = Vec::new();
        for torsion in &EIGHT_TORSION[1..] {
            let r = (EdwardsPoint::mul_base(&nonce) + torsion).compress().to_bytes();
            let mut hash = Sha512::new_with_prefix(r);
            hash.update(key);
            DOMAIN.feed(&mut hash);
            hash.update(b"crafted");
            let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
            let s = nonce + k * secret;
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            signature[32..].copy_from_slice(s.as_bytes());
            crafted.push((strict, b"crafted".to_vec(), signature));
        }
        for (_, message, signature) in &crafted {
            assert!(strict.verify(DOMAIN, message, signature).is_err(), "the strict rule is another");
        }
        for company in 0..40 {
            let mut all = signed(company);
            all.extend(crafted.iter().take(1 + usize::from(company) % 7).cloned());
            assert!(which_hold(&claims(&all)).into_iter().all(|holds| holds), "among {company}");
            assert!(claims(&all).iter().all(holds));
        }
    }
}
