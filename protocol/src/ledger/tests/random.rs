//! A small seeded generator, so that a failure can be repeated from its seed.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `ANGEL_TEST_SEED`, or a fixed seed; printed, and shown when the test fails.
    pub(crate) fn seed_from_env() -> u64 {
        let seed = std::env::var("ANGEL_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        println!("seed {seed}; repeat with ANGEL_TEST_SEED={seed}");
        seed
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
