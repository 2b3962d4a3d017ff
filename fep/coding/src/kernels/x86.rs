//! The loops of `portable.rs` compiled for AVX2 and for AVX-512. Nothing else: no intrinsics.
#![allow(unsafe_code)]

macro_rules! compiled_for {
    ($name:ident, $features:literal) => {
        pub(crate) mod $name {
            use crate::kernels::portable::{
                self, CORRELATE_POSITIONS, MarkerPattern, SCAN_OCTETS, SCAN_OVERREAD,
            };

            pub(crate) fn xor_in_place(data: &mut [u8], mask: &[u8]) {
                #[target_feature(enable = $features)]
                fn kernel(data: &mut [u8], mask: &[u8]) {
                    portable::xor_in_place(data, mask);
                }
                // SAFETY: only reached through a `Bitwise`, whose `isa` was found on this machine.
                unsafe { kernel(data, mask) }
            }

            pub(crate) fn xor_to(src: &[u8], mask: &[u8], dst: &mut [u8]) {
                #[target_feature(enable = $features)]
                fn kernel(src: &[u8], mask: &[u8], dst: &mut [u8]) {
                    portable::xor_to(src, mask, dst);
                }
                // SAFETY: only reached through a `Bitwise`, whose `isa` was found on this machine.
                unsafe { kernel(src, mask, dst) }
            }

            pub(crate) fn shift_to(src: &[u8], shift: u32, flip: u8, dst: &mut [u8]) {
                #[target_feature(enable = $features)]
                fn kernel(src: &[u8], shift: u32, flip: u8, dst: &mut [u8]) {
                    portable::shift_to(src, shift, flip, dst);
                }
                // SAFETY: only reached through a `Bitwise`, whose `isa` was found on this machine.
                unsafe { kernel(src, shift, flip, dst) }
            }

            pub(crate) fn scan(window: &[u8; SCAN_OCTETS + SCAN_OVERREAD], pattern: &MarkerPattern) -> u8 {
                #[target_feature(enable = $features)]
                fn kernel(window: &[u8; SCAN_OCTETS + SCAN_OVERREAD], pattern: &MarkerPattern) -> u8 {
                    portable::scan(window, pattern)
                }
                // SAFETY: only reached through a `Bitwise`, whose `isa` was found on this machine.
                unsafe { kernel(window, pattern) }
            }

            pub(crate) fn mark(
                window: &[u8; SCAN_OCTETS + SCAN_OVERREAD],
                pattern: &MarkerPattern,
                search: &mut [u8; SCAN_OCTETS],
                lock: &mut [u8; SCAN_OCTETS],
            ) {
                #[target_feature(enable = $features)]
                fn kernel(
                    window: &[u8; SCAN_OCTETS + SCAN_OVERREAD],
                    pattern: &MarkerPattern,
                    search: &mut [u8; SCAN_OCTETS],
                    lock: &mut [u8; SCAN_OCTETS],
                ) {
                    portable::mark(window, pattern, search, lock);
                }
                // SAFETY: only reached through a `Bitwise`, whose `isa` was found on this machine.
                unsafe { kernel(window, pattern, search, lock) }
            }

            pub(crate) fn correlate(
                symbols: &[i8],
                signs: &[i8],
                correlations: &mut [i16; CORRELATE_POSITIONS],
            ) {
                #[target_feature(enable = $features)]
                fn kernel(symbols: &[i8], signs: &[i8], correlations: &mut [i16; CORRELATE_POSITIONS]) {
                    portable::correlate(symbols, signs, correlations);
                }
                // SAFETY: only reached through a `Bitwise`, whose `isa` was found on this machine.
                unsafe { kernel(symbols, signs, correlations) }
            }
        }
    };
}

compiled_for!(avx2, "avx2,bmi1,bmi2,popcnt");
compiled_for!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni,avx2,bmi1,bmi2,popcnt");
