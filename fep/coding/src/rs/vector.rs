//! The vector kernels: one algorithm over octet lanes (`codec` and what it uses), one thin file an instruction set.
//!
//! Nothing here is a reference: answers are those of the scalar codec, octet by octet, on every set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod codec;
mod dft;
mod lanes;
mod locate;
#[cfg(target_arch = "aarch64")]
mod neon;
mod nibbles;
mod representation;
mod syndromes;

use super::{RsSpec, RsVerdict};
use crate::isa::{Isa, IsaUnavailable};
use codec::VectorCodec;

/// The vector codec of one instruction set.
#[derive(Debug)]
pub(super) struct VectorKernel(Set);

#[derive(Debug)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx2(Box<VectorCodec<avx2::Avx2>>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Box<VectorCodec<avx512::Avx512>>),
    #[cfg(target_arch = "aarch64")]
    Neon(Box<VectorCodec<neon::Neon>>),
}

impl VectorKernel {
    pub(super) fn new(spec: RsSpec, isa: Isa) -> Result<VectorKernel, IsaUnavailable> {
        Ok(VectorKernel(match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Set::Avx2(Box::new(VectorCodec::new(avx2::Avx2::new()?, spec))),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Set::Avx512(Box::new(VectorCodec::new(avx512::Avx512::new()?, spec))),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Set::Neon(Box::new(VectorCodec::new(neon::Neon::new()?, spec))),
            other => return Err(IsaUnavailable(other)),
        }))
    }

    /// See [`super::ReedSolomon::encode`]; the lengths have been checked.
    pub(super) fn encode(&mut self, frame: &[u8], check: &mut [u8]) {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(codec) => avx2::encode(codec, frame, check),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(codec) => avx512::encode(codec, frame, check),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(codec) => neon::encode(codec, frame, check),
        }
    }

    /// See [`super::ReedSolomon::decode_batch`]; the lengths have been checked and the verdicts are all clean.
    pub(super) fn decode_batch(&mut self, codeblocks: &mut [u8], stride: usize, verdicts: &mut [RsVerdict]) {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(codec) => avx2::decode_batch(codec, codeblocks, stride, verdicts),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(codec) => avx512::decode_batch(codec, codeblocks, stride, verdicts),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(codec) => neon::decode_batch(codec, codeblocks, stride, verdicts),
        }
    }
}
