//! Chance that can be repeated.

/// A sequence of numbers that follows from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    /// A sequence of its own, for one who must not be disturbed by how often others draw.
    pub(super) fn fork(&mut self) -> Self {
        Self::new(self.draw())
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.draw() % (most - least + 1)
    }

    /// Whether something of this likelihood happens.
    pub(super) fn happens(&mut self, percent: u64) -> bool {
        self.between(0, 99) < percent
    }

    /// One of several.
    pub(super) fn one_of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        let last = several.len() as u64 - 1;
        &several[usize::try_from(self.between(0, last)).unwrap()]
    }
}
