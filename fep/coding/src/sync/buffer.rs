//! A stretch of the stream that lies in memory, addressed by stream positions.

/// Octets of the stream from octet `from` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) octets: &'a [u8],
    from_bit: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(octets: &'a [u8], from_octet: u64) -> Window<'a> {
        Window { octets, from_bit: 8 * from_octet }
    }

    /// Position behind the last bit.
    #[inline]
    pub(super) fn end_bit(&self) -> u64 {
        self.from_bit + 8 * self.octets.len() as u64
    }

    /// Where `position` lies in `octets`, in bits. Positions before the window are a broken invariant of the tracker,
    /// which says what it keeps.
    #[inline]
    pub(super) fn bit(&self, position: u64) -> usize {
        debug_assert!(position >= self.from_bit, "bit {position} was let go, window from {}", self.from_bit);
        (position - self.from_bit) as usize
    }

    /// The position of bit `bit` of `octets`.
    pub(super) fn position(&self, bit: usize) -> u64 {
        self.from_bit + bit as u64
    }
}
