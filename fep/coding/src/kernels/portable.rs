//! The loops themselves, inlined into one compilation for each instruction set. The scalar reference is these loops
//! compiled for the target's baseline.

/// Octets whose eight alignments one call of [`scan`] looks at.
pub(crate) const SCAN_OCTETS: usize = 256;
/// Octets read behind them: a prefix of up to 32 bits that starts in the last octet reaches 4 octets further.
pub(crate) const SCAN_OVERREAD: usize = 4;

/// The first 32 bits of a marker and what counts as seeing them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MarkerPattern {
    /// First 32 bits of the marker as sent.
    pub(crate) prefix: [u8; 4],
    /// Bit errors that are still a match.
    pub(crate) bit_errors: u8,
    /// The same where the marker is expected: [`mark`] alone looks with these too.
    pub(crate) lock_bit_errors: u8,
    /// Whether the marker itself is looked for.
    pub(crate) upright: bool,
    /// Whether its complement is looked for.
    pub(crate) complement: bool,
}

#[inline(always)]
pub(super) fn xor_in_place(data: &mut [u8], mask: &[u8]) {
    for (octet, mask) in data.iter_mut().zip(mask) {
        *octet ^= mask;
    }
}

#[inline(always)]
pub(super) fn xor_to(src: &[u8], mask: &[u8], dst: &mut [u8]) {
    for ((out, octet), mask) in dst.iter_mut().zip(src).zip(mask) {
        *out = octet ^ mask;
    }
}

#[inline(always)]
pub(super) fn shift_to(src: &[u8], shift: u32, flip: u8, dst: &mut [u8]) {
    assert!(shift < 8 && src.len() >= dst.len() + usize::from(shift != 0), "source too short for the copy");
    if shift == 0 {
        for (out, octet) in dst.iter_mut().zip(src) {
            *out = octet ^ flip;
        }
        return;
    }
    let next = &src[1..];
    for ((out, high), low) in dst.iter_mut().zip(src).zip(next) {
        *out = ((high << shift) | (low >> (8 - shift))) ^ flip;
    }
}

#[inline(always)]
pub(super) fn scan(window: &[u8; SCAN_OCTETS + SCAN_OVERREAD], pattern: &MarkerPattern) -> u8 {
    let mut alignments = 0;
    let mut shifted = [0u8; SCAN_OCTETS + 3];
    for shift in 0..8 {
        for (i, out) in shifted.iter_mut().enumerate() {
            let pair = (u16::from(window[i]) << 8) | u16::from(window[i + 1]);
            *out = (pair >> (8 - shift)) as u8;
        }
        if scan_aligned(&shifted, pattern) {
            alignments |= 1 << shift;
        }
    }
    alignments
}

/// Whether any octet position of `shifted` can hold the marker.
#[inline(always)]
fn scan_aligned(shifted: &[u8; SCAN_OCTETS + 3], pattern: &MarkerPattern) -> bool {
    let [p0, p1, p2, p3] = pattern.prefix;
    let mut seen = 0u8;
    if pattern.bit_errors == 0 {
        // Two octets are enough to sort out nearly everything: one position in 65 536 passes by chance.
        for i in 0..SCAN_OCTETS {
            let difference = (shifted[i] ^ p0) | (shifted[i + 1] ^ p1);
            let likeness = (shifted[i] ^ p0) & (shifted[i + 1] ^ p1);
            let upright = u8::from(difference == 0) & u8::from(pattern.upright);
            let complement = u8::from(likeness == 0xFF) & u8::from(pattern.complement);
            seen |= upright | complement;
        }
        return seen != 0;
    }
    for i in 0..SCAN_OCTETS {
        let errors = ((shifted[i] ^ p0).count_ones() as u8)
            + ((shifted[i + 1] ^ p1).count_ones() as u8)
            + ((shifted[i + 2] ^ p2).count_ones() as u8)
            + ((shifted[i + 3] ^ p3).count_ones() as u8);
        let upright = u8::from(errors <= pattern.bit_errors) & u8::from(pattern.upright);
        let complement = u8::from(errors >= 32 - pattern.bit_errors) & u8::from(pattern.complement);
        seen |= upright | complement;
    }
    seen != 0
}

/// Which of the 2048 bit positions of the first [`SCAN_OCTETS`] octets hold the first 32 bits of the marker, position k of
/// an octet in bit k (not counted from the highest): with `bit_errors` in `search`, with `lock_bit_errors` in `lock`.
#[inline(always)]
pub(super) fn mark(
    window: &[u8; SCAN_OCTETS + SCAN_OVERREAD],
    pattern: &MarkerPattern,
    search: &mut [u8; SCAN_OCTETS],
    lock: &mut [u8; SCAN_OCTETS],
) {
    let [p0, p1, p2, p3] = pattern.prefix;
    // Bounds that nothing reaches where a polarity is not looked for: errors are at most 32.
    let bounds = |errors: u8| {
        let upright = if pattern.upright { errors + 1 } else { 0 };
        let complement = if pattern.complement { 32 - errors } else { u8::MAX };
        (upright, complement)
    };
    let ((search_below, search_from), (lock_below, lock_from)) =
        (bounds(pattern.bit_errors), bounds(pattern.lock_bit_errors));
    search.fill(0);
    lock.fill(0);
    let mut shifted = [0u8; SCAN_OCTETS + 3];
    for shift in 0..8 {
        for (i, out) in shifted.iter_mut().enumerate() {
            let pair = (u16::from(window[i]) << 8) | u16::from(window[i + 1]);
            *out = (pair >> (8 - shift)) as u8;
        }
        let here = 1u8 << shift;
        for i in 0..SCAN_OCTETS {
            let errors = ((shifted[i] ^ p0).count_ones() as u8)
                + ((shifted[i + 1] ^ p1).count_ones() as u8)
                + ((shifted[i + 2] ^ p2).count_ones() as u8)
                + ((shifted[i + 3] ^ p3).count_ones() as u8);
            let in_search = (errors < search_below) | (errors >= search_from);
            let in_lock = (errors < lock_below) | (errors >= lock_from);
            search[i] |= if in_search { here } else { 0 };
            lock[i] |= if in_lock { here } else { 0 };
        }
    }
}

/// Positions at which one call of [`correlate`] looks for a marker.
pub(crate) const CORRELATE_POSITIONS: usize = 32;

/// The correlation of `signs` (each 1 or -1, at most 256 of them) with `symbols` from each of the first positions on.
/// Sums stay within 16 bits: 256 x 127 is less than 32 768.
#[inline(always)]
pub(super) fn correlate(symbols: &[i8], signs: &[i8], correlations: &mut [i16; CORRELATE_POSITIONS]) {
    assert!(symbols.len() + 1 >= CORRELATE_POSITIONS + signs.len() && signs.len() <= 256, "too few symbols");
    let mut sums = [0i16; CORRELATE_POSITIONS];
    for (offset, sign) in signs.iter().enumerate() {
        let sign = i16::from(*sign);
        for (sum, symbol) in sums.iter_mut().zip(&symbols[offset..offset + CORRELATE_POSITIONS]) {
            *sum += i16::from(*symbol) * sign;
        }
    }
    *correlations = sums;
}
