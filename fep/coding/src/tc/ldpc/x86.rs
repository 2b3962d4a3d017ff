//! The loops of `kernel.rs` compiled for AVX2 and for AVX-512. Nothing else: no intrinsics.
#![allow(unsafe_code)]

macro_rules! compiled_for {
    ($name:ident, $features:literal) => {
        pub(super) mod $name {
            use crate::tc::ldpc::Layer;
            use crate::tc::ldpc::kernel::{self, Outcome, Work};

            pub(crate) fn decode<const M: usize, const LANES: usize>(
                layers: &[Layer; 4],
                symbols: &[i8],
                iterations_max: u8,
                work: &mut Work<LANES>,
            ) -> Outcome {
                #[target_feature(enable = $features)]
                fn compiled<const M: usize, const LANES: usize>(
                    layers: &[Layer; 4],
                    symbols: &[i8],
                    iterations_max: u8,
                    work: &mut Work<LANES>,
                ) -> Outcome {
                    kernel::decode::<M, LANES>(layers, symbols, iterations_max, work)
                }
                // SAFETY: only reached through a `Kernels`, whose `isa` was found on this machine.
                unsafe { compiled::<M, LANES>(layers, symbols, iterations_max, work) }
            }

            pub(crate) fn find_start(
                symbols: &[i8],
                from: usize,
                pattern: &[i8; 64],
                percent: u32,
            ) -> Option<usize> {
                #[target_feature(enable = $features)]
                fn compiled(symbols: &[i8], from: usize, pattern: &[i8; 64], percent: u32) -> Option<usize> {
                    kernel::find_start(symbols, from, pattern, percent)
                }
                // SAFETY: only reached through a `Kernels`, whose `isa` was found on this machine.
                unsafe { compiled(symbols, from, pattern, percent) }
            }
        }
    };
}

compiled_for!(avx2, "avx2,bmi1,bmi2,popcnt");
compiled_for!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,gfni,avx2,bmi1,bmi2,popcnt");
