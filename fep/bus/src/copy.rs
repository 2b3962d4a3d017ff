#![allow(unsafe_code)]
//! Copies between private octets and shared words, a whole line at a time, without a data race.
//!
//! Every access to shared memory here is, in the language's terms, a *relaxed atomic load or store of one aligned
//! u64*. The compiler never joins such accesses into vector instructions, so on x86-64 the same sequence of accesses
//! is also written as inline assembly with vector moves. That is sound because an assembly block may do what Rust code
//! could have done in its place, and the portable loop is that code: the vector registers move aligned lines,
//! hence each aligned u64 in them is read or written in one piece. `rustc` sees no plain access, the protocol needs no
//! order among the words (its fences stand outside), and Miri and loom run the portable loop.

use crate::memory::{AtomicU64, Ordering};

const LINE: usize = 64;
const WORDS: usize = 8;

/// Which instructions move the lines; chosen once when a ring is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copier {
    /// Portable u64 loop.
    Words,
    /// 32-octet moves.
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    Avx,
    /// 64-octet moves.
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    Avx512,
}

impl Copier {
    /// The widest this processor has.
    pub(crate) fn best() -> Copier {
        *Copier::available().last().expect("the portable loop is always there")
    }

    /// All this processor has, the portable one first.
    pub(crate) fn available() -> Vec<Copier> {
        #[allow(unused_mut)]
        let mut available = vec![Copier::Words];
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
        {
            if is_x86_feature_detected!("avx") {
                available.push(Copier::Avx);
            }
            if is_x86_feature_detected!("avx512bw") {
                available.push(Copier::Avx512);
            }
        }
        available
    }

    /// Copies `out.len()` octets from the start of `from`, which must hold that many, rounded up to whole lines.
    #[inline]
    pub(crate) fn read(self, from: &[AtomicU64], out: &mut [u8]) {
        let whole = out.len() / LINE;
        let lines = out.len().div_ceil(LINE);
        let from = &from[..lines * WORDS];
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
        if self == Copier::Avx512 {
            // SAFETY: the variant only exists where `available` saw the features; `from` covers `out.len()` octets
            // rounded up to lines, of which only `out.len()` are touched; `out` is exclusively ours.
            return unsafe { x86::avx512_read(from.as_ptr().cast(), out.as_mut_ptr(), out.len()) };
        }
        let (body, tail) = out.split_at_mut(whole * LINE);
        self.read_lines(&from[..whole * WORDS], body);
        if !tail.is_empty() {
            let mut line = [0_u8; LINE];
            self.read_lines(&from[whole * WORDS..], &mut line);
            tail.copy_from_slice(&line[..tail.len()]);
        }
    }

    /// Copies all of `bytes` to the start of `to`; the rest of the last line becomes zero.
    #[inline]
    pub(crate) fn write(self, bytes: &[u8], to: &[AtomicU64]) {
        let whole = bytes.len() / LINE;
        let lines = bytes.len().div_ceil(LINE);
        let to = &to[..lines * WORDS];
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
        if self == Copier::Avx512 {
            // SAFETY: as in `read`; `to` covers the whole lines that are written and is made of atomics, which may be
            // written through a shared reference.
            return unsafe { x86::avx512_write(bytes.as_ptr(), to.as_ptr().cast_mut().cast(), bytes.len()) };
        }
        let (body, tail) = bytes.split_at(whole * LINE);
        self.write_lines(body, &to[..whole * WORDS]);
        if !tail.is_empty() {
            let mut line = [0_u8; LINE];
            line[..tail.len()].copy_from_slice(tail);
            self.write_lines(&line, &to[whole * WORDS..]);
        }
    }

    /// Whole lines, for the copiers that do not mask the last one.
    #[inline]
    fn read_lines(self, from: &[AtomicU64], out: &mut [u8]) {
        assert!(from.len() * 8 == out.len() && out.len().is_multiple_of(LINE));
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
        if self == Copier::Avx {
            // SAFETY: the variant only exists where `available` saw the feature; both pointers cover `out.len()`
            // octets, a multiple of 64; `from` is read, `out` is exclusively ours.
            return unsafe { x86::avx(from.as_ptr().cast(), out.as_mut_ptr(), out.len()) };
        }
        for (word, octets) in from.iter().zip(out.chunks_exact_mut(8)) {
            octets.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
    }

    /// As `read_lines`, the other way.
    #[inline]
    fn write_lines(self, bytes: &[u8], to: &[AtomicU64]) {
        assert!(to.len() * 8 == bytes.len() && bytes.len().is_multiple_of(LINE));
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
        if self == Copier::Avx {
            // SAFETY: the variant only exists where `available` saw the feature; both pointers cover `bytes.len()`
            // octets, a multiple of 64; `to` is made of atomics, which may be written through a shared reference.
            return unsafe { x86::avx(bytes.as_ptr(), to.as_ptr().cast_mut().cast(), bytes.len()) };
        }
        for (word, octets) in to.iter().zip(bytes.chunks_exact(8)) {
            word.store(u64::from_le_bytes(octets.try_into().expect("eight octets")), Ordering::Relaxed);
        }
    }
}

/// Hints that a word will soon be read; no access in the language's terms.
#[inline]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and changes nothing but caches.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(word).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
    let _ = word;
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
mod x86 {
    use std::arch::asm;

    /// Moves `len` octets (a multiple of 64) from `from` to `to`.
    ///
    /// # Safety
    /// * AVX is there; both ranges are valid for `len` octets and do not overlap.
    /// * A range that is shared is aligned to 8 and only accessed as relaxed atomic u64 elsewhere.
    #[target_feature(enable = "avx")]
    pub(super) unsafe fn avx(from: *const u8, to: *mut u8, len: usize) {
        if len == 0 {
            return;
        }
        // SAFETY: the loop moves exactly `len` octets, `offset` running from 0 in steps of 64. `vzeroupper` changes
        // upper halves only, which nobody outside an AVX function relies on; without it every later SSE instruction
        // of the caller would wait for them.
        unsafe {
            asm!(
                "2:",
                "vmovdqu ymm0, ymmword ptr [{from} + {offset}]",
                "vmovdqu ymm1, ymmword ptr [{from} + {offset} + 32]",
                "vmovdqu ymmword ptr [{to} + {offset}], ymm0",
                "vmovdqu ymmword ptr [{to} + {offset} + 32], ymm1",
                "add {offset}, 64",
                "cmp {offset}, {len}",
                "jb 2b",
                "vzeroupper",
                from = in(reg) from,
                to = in(reg) to,
                len = in(reg) len,
                offset = inout(reg) 0_usize => _,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nostack),
            );
        }
    }

    /// Moves `len` octets out of shared memory, a line a move, the last one masked.
    ///
    /// # Safety
    /// As [`avx`], with AVX-512BW; any `len`, `from` valid for it rounded up to whole lines.
    #[target_feature(enable = "avx512bw")]
    pub(super) unsafe fn avx512_read(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: whole lines are moved for `len / 64 * 64` octets; the mask has one bit for each octet left, and a
        // masked store touches no octet whose bit is clear. zmm16 needs no `vzeroupper`.
        unsafe {
            asm!(
                "test {whole}, {whole}",
                "jz 3f",
                "2:",
                "vmovdqu64 zmm16, zmmword ptr [{from} + {offset}]",
                "vmovdqu64 zmmword ptr [{to} + {offset}], zmm16",
                "add {offset}, 64",
                "cmp {offset}, {whole}",
                "jb 2b",
                "3:",
                "test {mask}, {mask}",
                "jz 4f",
                "kmovq {left}, {mask}",
                "vmovdqu64 zmm16, zmmword ptr [{from} + {offset}]",
                "vmovdqu8 zmmword ptr [{to} + {offset}] {{{left}}}, zmm16",
                "4:",
                from = in(reg) from,
                to = in(reg) to,
                whole = in(reg) len / 64 * 64,
                mask = in(reg) (1_u64 << (len % 64)) - 1,
                offset = inout(reg) 0_usize => _,
                left = out(kreg) _,
                out("zmm16") _,
                options(nostack),
            );
        }
    }

    /// Moves `len` octets into shared memory, a line a move; the rest of the last line becomes zero.
    ///
    /// # Safety
    /// As [`avx`], with AVX-512BW; any `len`, `to` valid for it rounded up to whole lines.
    #[target_feature(enable = "avx512bw")]
    pub(super) unsafe fn avx512_write(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: as in `avx512_read`, with a masked load: octets whose bit is clear are not read and become zero.
        unsafe {
            asm!(
                "test {whole}, {whole}",
                "jz 3f",
                "2:",
                "vmovdqu64 zmm16, zmmword ptr [{from} + {offset}]",
                "vmovdqu64 zmmword ptr [{to} + {offset}], zmm16",
                "add {offset}, 64",
                "cmp {offset}, {whole}",
                "jb 2b",
                "3:",
                "test {mask}, {mask}",
                "jz 4f",
                "kmovq {left}, {mask}",
                "vmovdqu8 zmm16 {{{left}}} {{z}}, zmmword ptr [{from} + {offset}]",
                "vmovdqu64 zmmword ptr [{to} + {offset}], zmm16",
                "4:",
                from = in(reg) from,
                to = in(reg) to,
                whole = in(reg) len / 64 * 64,
                mask = in(reg) (1_u64 << (len % 64)) - 1,
                offset = inout(reg) 0_usize => _,
                left = out(kreg) _,
                out("zmm16") _,
                options(nostack),
            );
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Miri interprets every octet: a sample of lengths has to do.
    const STEP: usize = if cfg!(miri) { 41 } else { 1 };

    fn shared(words: usize) -> Vec<AtomicU64> {
        (0..words as u64).map(|word| AtomicU64::new(word.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect()
    }

    #[test]
    fn every_copier_reads_the_same_octets_at_every_length() {
        let from = shared(40);
        for copier in Copier::available() {
            for len in (0..=320).step_by(STEP) {
                let (mut expected, mut found) = (vec![0xAA_u8; len], vec![0x55_u8; len]);
                Copier::Words.read(&from, &mut expected);
                copier.read(&from, &mut found);
                assert_eq!(expected, found, "{copier:?} at {len}");
                let first = from[0].load(Ordering::Relaxed).to_le_bytes();
                assert!(found.iter().zip(first).all(|(found, first)| *found == first), "octet order");
            }
        }
    }

    #[test]
    fn every_copier_writes_the_octets_then_zeros_to_the_line_and_nothing_after() {
        let bytes: Vec<u8> = (0..320).map(|octet| (octet * 7 + 1) as u8).collect();
        for copier in Copier::available() {
            for len in (0..=bytes.len()).step_by(STEP) {
                let to: Vec<AtomicU64> = (0..48).map(|_| AtomicU64::new(u64::MAX)).collect();
                copier.write(&bytes[..len], &to);
                let found: Vec<u8> =
                    to.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
                let line_end = len.div_ceil(64) * 64;
                assert_eq!(&found[..len], &bytes[..len], "{copier:?} at {len}");
                assert!(found[len..line_end].iter().all(|octet| *octet == 0), "{copier:?} at {len}");
                assert!(found[line_end..].iter().all(|octet| *octet == 0xFF), "{copier:?} at {len}");
            }
        }
    }
}
