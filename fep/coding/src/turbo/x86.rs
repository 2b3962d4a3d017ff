//! The vectors of AVX2 (16 octets for the single kernel, 32 for the batch) and of AVX-512 (64 for the batch), and the
//! kernels compiled for them. Wrappers only.
//!
//! What the widths have in common is written once, with the names of the instructions less their prefix: every module
//! below says which instructions those are.
#![allow(unsafe_code)]

/// One instruction of a set: safe, since a `self` exists only where the set does.
macro_rules! instruction {
    ($call:expr) => {
        // SAFETY: a `Vectors` is made only in `kernel`, on a machine that has the instructions; this touches nothing but
        // its operands.
        unsafe { $call }
    };
}

/// A kernel on the vectors of a module, compiled for its instruction set.
macro_rules! kernel {
    ($kernel:ident on $isa:expr, $features:literal) => {
        use crate::isa::{Isa, IsaUnavailable};
        use crate::turbo::schedule::Code;
        use crate::turbo::siso::{self, Job, Scratch};

        /// Proof that the machine has the instructions.
        #[derive(Debug, Clone, Copy)]
        pub(in crate::turbo) struct Vectors(());

        /// The kernel for a code.
        pub(in crate::turbo) fn kernel(code: &Code) -> Result<$kernel<Vectors>, IsaUnavailable> {
            #[target_feature(enable = $features)]
            fn compiled(code: &Code) -> $kernel<Vectors> {
                $kernel::new(Vectors(()), code)
            }
            $isa.require()?;
            // SAFETY: the machine has these features.
            Ok(unsafe { compiled(code) })
        }

        /// [`siso::decode`], compiled for this set.
        pub(in crate::turbo) fn decode(
            kernel: &mut $kernel<Vectors>,
            code: &Code,
            scratch: &mut Scratch,
            job: Job<'_>,
        ) {
            #[target_feature(enable = $features)]
            fn compiled(kernel: &mut $kernel<Vectors>, code: &Code, scratch: &mut Scratch, job: Job<'_>) {
                siso::decode(kernel, code, scratch, job);
            }
            // SAFETY: the kernel holds a `Vectors`, which exists only on machines with these features.
            unsafe { compiled(kernel, code, scratch, job) }
        }
    };
}

/// What is the same on vectors of all widths, but for [`Lanes::negative`] and how a sign is put back.
macro_rules! lanes {
    ($n:literal, $negative:expr, $with_sign_of:expr) => {
        impl Lanes for Vectors {
            const N: usize = $n;
            type V = V;

            #[inline(always)]
            fn splat(self, value: u8) -> V {
                instruction!(set1_epi8(value as i8))
            }
            #[inline(always)]
            fn add(self, a: V, b: V) -> V {
                instruction!(adds_epu8(a, b))
            }
            #[inline(always)]
            fn add_small(self, a: V, b: V) -> V {
                instruction!(add_epi8(a, b))
            }
            #[inline(always)]
            fn sub(self, a: V, b: V) -> V {
                instruction!(subs_epu8(a, b))
            }
            #[inline(always)]
            fn min(self, a: V, b: V) -> V {
                instruction!(min_epu8(a, b))
            }
            #[inline(always)]
            fn mean(self, a: V, b: V) -> V {
                instruction!(avg_epu8(a, b))
            }
            #[inline(always)]
            fn add_symbols(self, a: V, b: V) -> V {
                instruction!(adds_epi8(a, b))
            }
            #[inline(always)]
            fn penalties(self, symbol: V) -> [V; 2] {
                let zero = self.splat(0);
                instruction!([max_epi8(subs_epi8(zero, symbol), zero), max_epi8(symbol, zero)])
            }
            #[inline(always)]
            fn difference(self, a: V, b: V) -> V {
                let most = self.splat(127);
                let above = self.min(self.sub(a, b), most);
                instruction!(sub_epi8(above, self.min(self.sub(b, a), most)))
            }
            #[inline(always)]
            fn three_quarters(self, symbol: V) -> V {
                let magnitude = instruction!(abs_epi8(symbol));
                let rounded = instruction!(add_epi8(magnitude, self.splat(2)));
                // Shifted by pairs of octets: what comes from the neighbour is masked out.
                let lost = instruction!(and(srli_epi16::<2>(rounded), self.splat(0x3F)));
                let less = instruction!(sub_epi8(magnitude, lost));
                instruction!($with_sign_of(less, symbol))
            }
            #[inline(always)]
            fn negative(self, v: V) -> u64 {
                instruction!($negative(v))
            }
            #[inline(always)]
            fn zip_low(self, a: V, b: V) -> V {
                instruction!(unpacklo_epi8(a, b))
            }
            #[inline(always)]
            fn zip_high(self, a: V, b: V) -> V {
                instruction!(unpackhi_epi8(a, b))
            }
        }
    };
}

/// Vectors of 16 octets for the single kernel.
pub(super) mod avx2_single {
    use std::arch::x86_64::{
        __m128i as V, _mm_abs_epi8 as abs_epi8, _mm_add_epi8 as add_epi8, _mm_adds_epi8 as adds_epi8,
        _mm_adds_epu8 as adds_epu8, _mm_and_si128 as and, _mm_avg_epu8 as avg_epu8, _mm_blendv_epi8,
        _mm_loadu_si128, _mm_max_epi8 as max_epi8, _mm_min_epu8 as min_epu8, _mm_movemask_epi8,
        _mm_set1_epi8 as set1_epi8, _mm_shuffle_epi8, _mm_sign_epi8, _mm_srli_epi16 as srli_epi16,
        _mm_storeu_si128, _mm_sub_epi8 as sub_epi8, _mm_subs_epi8 as subs_epi8, _mm_subs_epu8 as subs_epu8,
        _mm_unpackhi_epi8 as unpackhi_epi8, _mm_unpacklo_epi8 as unpacklo_epi8,
    };

    use crate::turbo::lanes::{Lanes, States};
    use crate::turbo::single::Single;

    kernel!(Single on Isa::Avx2, "avx2,bmi1,bmi2,popcnt");
    lanes!(16, |v| u64::from(_mm_movemask_epi8(v) as u16), _mm_sign_epi8);

    impl States for Vectors {
        #[inline(always)]
        fn load(self, from: &[u8; 16]) -> V {
            // SAFETY: 16 octets are there.
            unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
        }
        #[inline(always)]
        fn lanes(self, v: V) -> [u8; 16] {
            let mut lanes = [0; 16];
            // SAFETY: 16 octets of room are there.
            unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), v) };
            lanes
        }
        #[inline(always)]
        fn pick(self, v: V, places: V) -> V {
            instruction!(_mm_shuffle_epi8(v, places))
        }
        #[inline(always)]
        fn choose(self, choice: V, zero: V, one: V) -> V {
            instruction!(_mm_blendv_epi8(zero, one, choice))
        }
    }
}

/// Vectors of 32 octets for the batch kernel.
pub(super) mod avx2 {
    use std::arch::x86_64::{
        __m256i as V, _mm_loadu_si128, _mm256_abs_epi8 as abs_epi8, _mm256_add_epi8 as add_epi8,
        _mm256_adds_epi8 as adds_epi8, _mm256_adds_epu8 as adds_epu8, _mm256_and_si256 as and,
        _mm256_avg_epu8 as avg_epu8, _mm256_blendv_epi8, _mm256_castsi128_si256, _mm256_cmpeq_epi8,
        _mm256_cmpgt_epi8, _mm256_inserti128_si256, _mm256_max_epi8 as max_epi8, _mm256_min_epu8 as min_epu8,
        _mm256_movemask_epi8, _mm256_set_epi64x, _mm256_set1_epi8 as set1_epi8, _mm256_set1_epi32,
        _mm256_set1_epi64x, _mm256_shuffle_epi8, _mm256_sign_epi8, _mm256_srli_epi16 as srli_epi16,
        _mm256_storeu_si256, _mm256_sub_epi8 as sub_epi8, _mm256_subs_epi8 as subs_epi8,
        _mm256_subs_epu8 as subs_epu8, _mm256_unpackhi_epi8 as unpackhi_epi8,
        _mm256_unpacklo_epi8 as unpacklo_epi8,
    };

    use crate::turbo::batch::Batch;
    use crate::turbo::lanes::{Codewords, Lanes};

    kernel!(Batch on Isa::Avx2, "avx2,bmi1,bmi2,popcnt");
    lanes!(32, |v| u64::from(_mm256_movemask_epi8(v) as u32), _mm256_sign_epi8);

    impl Codewords for Vectors {
        #[inline(always)]
        fn load_sixteens(self, from: &[i8], at: usize, pitch: usize) -> V {
            let sixteen = |k: usize| {
                let octets = &from[at + k * pitch..][..16];
                // SAFETY: 16 octets are there.
                unsafe { _mm_loadu_si128(octets.as_ptr().cast()) }
            };
            instruction!(_mm256_inserti128_si256::<1>(_mm256_castsi128_si256(sixteen(0)), sixteen(1)))
        }
        #[inline(always)]
        fn contradicted(self, symbols: V, ones: u64) -> V {
            instruction!({
                // Octet k of the word to the lanes 8k to 8k+7, and of each its own bit.
                let octet =
                    _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
                let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
                let word = _mm256_shuffle_epi8(_mm256_set1_epi32(ones as u32 as i32), octet);
                let ones = _mm256_cmpeq_epi8(and(word, bit), bit);
                let zeros_said = _mm256_cmpgt_epi8(symbols, self.splat(0));
                let ones_said = _mm256_cmpgt_epi8(self.splat(0), symbols);
                _mm256_blendv_epi8(ones_said, zeros_said, ones)
            })
        }
        #[inline(always)]
        fn lanes(self, v: V) -> [u8; 64] {
            let mut lanes = [0; 64];
            // SAFETY: `self` proves the instructions; 32 octets of room are there.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), v) };
            lanes
        }
    }
}

/// Vectors of 64 octets for the batch kernel.
pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m512i as V, _mm_loadu_si128, _mm512_abs_epi8 as abs_epi8, _mm512_add_epi8 as add_epi8,
        _mm512_adds_epi8 as adds_epi8, _mm512_adds_epu8 as adds_epu8, _mm512_and_si512 as and,
        _mm512_avg_epu8 as avg_epu8, _mm512_castsi128_si512, _mm512_cmpgt_epi8_mask, _mm512_inserti32x4,
        _mm512_mask_sub_epi8, _mm512_max_epi8 as max_epi8, _mm512_min_epu8 as min_epu8, _mm512_movepi8_mask,
        _mm512_movm_epi8, _mm512_set1_epi8 as set1_epi8, _mm512_setzero_si512,
        _mm512_srli_epi16 as srli_epi16, _mm512_storeu_si512, _mm512_sub_epi8 as sub_epi8,
        _mm512_subs_epi8 as subs_epi8, _mm512_subs_epu8 as subs_epu8, _mm512_unpackhi_epi8 as unpackhi_epi8,
        _mm512_unpacklo_epi8 as unpacklo_epi8,
    };

    use crate::turbo::batch::Batch;
    use crate::turbo::lanes::{Codewords, Lanes};

    kernel!(Batch on Isa::Avx512, "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl");
    lanes!(64, _mm512_movepi8_mask, |less, symbol| {
        _mm512_mask_sub_epi8(less, _mm512_movepi8_mask(symbol), _mm512_setzero_si512(), less)
    });

    impl Codewords for Vectors {
        #[inline(always)]
        fn load_sixteens(self, from: &[i8], at: usize, pitch: usize) -> V {
            let sixteen = |k: usize| {
                let octets = &from[at + k * pitch..][..16];
                // SAFETY: 16 octets are there.
                unsafe { _mm_loadu_si128(octets.as_ptr().cast()) }
            };
            instruction!({
                let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(sixteen(0)), sixteen(1));
                _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, sixteen(2)), sixteen(3))
            })
        }
        #[inline(always)]
        fn contradicted(self, symbols: V, ones: u64) -> V {
            instruction!({
                let zeros_said = _mm512_cmpgt_epi8_mask(symbols, self.splat(0));
                let ones_said = _mm512_movepi8_mask(symbols);
                _mm512_movm_epi8(zeros_said & ones | ones_said & !ones)
            })
        }
        #[inline(always)]
        fn lanes(self, v: V) -> [u8; 64] {
            let mut lanes = [0; 64];
            // SAFETY: `self` proves the instructions; 64 octets of room are there.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), v) };
            lanes
        }
    }
}
