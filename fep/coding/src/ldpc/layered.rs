//! The vector kernels: the checks of a layer side by side in octet lanes, one thin file an instruction set.
//!
//! N consecutive checks of a layer look, along an edge, at N consecutive bits of a column, turned around its end. Beliefs
//! of a column therefore lie in a row with its first N repeated behind it, so that any N are one unaligned load; what is
//! stored near either end is stored at the other end too. Within 64 consecutive checks of a layer no bit is looked at
//! twice (a test of `super::code` holds this), so that taking N checks at once is what the scalar reference does one by
//! one, bit for bit.

mod avx2;
mod avx512;
mod kernel;
mod lanes;

use super::code::ParityChecks;
use super::gang::Job;
use crate::isa::{Isa, IsaUnavailable};
use kernel::LayeredKernel;

/// The vector kernel of one instruction set.
#[derive(Debug, Clone)]
pub(super) struct VectorKernel(Set);

#[derive(Debug, Clone)]
enum Set {
    Avx2(Box<LayeredKernel<avx2::Avx2>>),
    Avx512(Box<LayeredKernel<avx512::Avx512>>),
}

impl VectorKernel {
    /// `None` where `isa` has no vector kernel.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub(super) fn new(checks: &ParityChecks, isa: Isa) -> Result<Option<VectorKernel>, IsaUnavailable> {
        let set = match isa.require()? {
            // Circulants of 32 do not fill a vector of 64 lanes.
            Isa::Avx512 if checks.circulant >= 64 => {
                Set::Avx512(Box::new(LayeredKernel::new(avx512::Avx512::new()?, checks)))
            }
            Isa::Avx2 | Isa::Avx512 => Set::Avx2(Box::new(LayeredKernel::new(avx2::Avx2::new()?, checks))),
            _ => return Ok(None),
        };
        Ok(Some(VectorKernel(set)))
    }

    /// [`super::gang::decode`].
    pub(super) fn decode(&mut self, job: Job<'_>) {
        match &mut self.0 {
            Set::Avx2(kernel) => avx2::decode(kernel, job),
            Set::Avx512(kernel) => avx512::decode(kernel, job),
        }
    }
}
