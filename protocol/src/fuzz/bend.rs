//! Bending what is valid.

/// What one change takes from the input: what to do, where, with what.
const CHANGE_BYTES: usize = 6;

/// `valid`, changed as `input` says: bytes replaced, bits flipped, stretches removed, doubled or moved, the end cut
/// off, integers at their limits. Without input it stays as it is.
pub(super) fn bend(valid: &[u8], input: &[u8]) -> Vec<u8> {
    let mut bent = valid.to_vec();
    for change in input.chunks_exact(CHANGE_BYTES) {
        let [what, high, low, other_high, other_low, with] = *change else { unreachable!("chunks are exact") };
        if bent.is_empty() {
            break;
        }
        let length = bent.len();
        let at = usize::from(u16::from_be_bytes([high, low])) % length;
        let other = usize::from(u16::from_be_bytes([other_high, other_low])) % length;
        let stretch = at.min(other)..(at.max(other) + 1).min(at.min(other) + 64);
        match what % 8 {
            0 => bent[at] = with,
            1 => bent[at] ^= 1 << (with % 8),
            2 => drop(bent.drain(stretch)),
            3 => {
                let copy = bent[stretch].to_vec();
                bent.splice(at..at, copy);
            }
            4 => bent.swap(at, other),
            5 => bent.truncate(at),
            6 => bent.insert(at, with),
            _ => bent[stretch].fill(if with % 2 == 0 { 0xFF } else { 0x00 }),
        }
    }
    bent
}

#[test]
fn nothing_changes_without_input() {
    assert_eq!(bend(b"whole", b""), b"whole");
    assert_eq!(bend(b"whole", &[0, 0, 1, 0, 0, b'_']), b"w_ole");
    assert_eq!(bend(b"whole", &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), b"");
}
