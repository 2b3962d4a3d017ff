//! A stretch of the stream that lies in memory, addressed by stream positions.

/// What a stream is delivered in.
pub(super) trait Unit: Copy + Default + std::fmt::Debug {
    /// Positions (bits, or soft symbols) of one unit.
    const POSITIONS: u64;
}

/// Octets of eight hard bits.
impl Unit for u8 {
    const POSITIONS: u64 = 8;
}

/// Soft symbols.
impl Unit for i8 {
    const POSITIONS: u64 = 1;
}

/// Units of the stream from unit `from` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a, U> {
    pub(super) units: &'a [U],
    from: u64,
}

impl<'a, U: Unit> Window<'a, U> {
    pub(super) fn new(units: &'a [U], from_unit: u64) -> Window<'a, U> {
        Window { units, from: U::POSITIONS * from_unit }
    }

    /// The first position.
    #[inline]
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// The position behind the last one.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.from + U::POSITIONS * self.units.len() as u64
    }

    /// Where `position` lies in `units`, in positions. Positions before the window are a broken invariant of the tracker,
    /// which says what it keeps.
    #[inline]
    pub(super) fn offset(&self, position: u64) -> usize {
        debug_assert!(position >= self.from, "position {position} was dropped, window from {}", self.from);
        (position - self.from) as usize
    }

    /// The position at this offset.
    pub(super) fn position(&self, offset: usize) -> u64 {
        self.from + offset as u64
    }
}
