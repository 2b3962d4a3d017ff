//! Which instruction set a kernel runs on. Detection and names only: no kernel lives here.
//!
//! Every kernel of this crate is chosen once, in its constructor: the best set of the machine, or the one that a test
//! or a benchmark asks for. Nothing is promised at compile time beyond the target's baseline.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// An instruction set for which this crate has kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isa {
    /// Portable Rust, always there: the reference that every other set is held against.
    Scalar,
    /// x86-64 with AVX2, BMI1, BMI2 and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VBMI, VBMI2 and GFNI (Intel since Ice Lake, AMD since Zen 4).
    Avx512,
    /// AArch64 with Advanced SIMD.
    Neon,
}

/// A kernel was asked for an instruction set that this machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine has no {0} kernels (it has: {list})", list = names(Isa::available()))]
pub struct IsaUnavailable(pub Isa);

/// A name that is none of `scalar`, `avx2`, `avx512`, `neon`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no instruction set; the names are scalar, avx2, avx512, neon")]
pub struct IsaUnknown(pub String);

impl Isa {
    /// All names, slowest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// The fastest set of this machine.
    pub fn best() -> Isa {
        *Isa::available().last().unwrap_or(&Isa::Scalar)
    }

    /// The sets of this machine, slowest first; `Scalar` is always among them.
    pub fn available() -> &'static [Isa] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| Isa::ALL.into_iter().filter(|isa| isa.detect()).collect())
    }

    /// Whether this machine has the set.
    pub fn is_available(self) -> bool {
        Isa::available().contains(&self)
    }

    /// The set itself if this machine has it.
    ///
    /// # Errors
    /// [`IsaUnavailable`] if it has not.
    pub fn require(self) -> Result<Isa, IsaUnavailable> {
        if self.is_available() { Ok(self) } else { Err(IsaUnavailable(self)) }
    }

    /// The lower-case name, as in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn detect(self) -> bool {
        let avx2 = || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
        };
        match self {
            Isa::Scalar => true,
            Isa::Neon => false,
            Isa::Avx2 => avx2(),
            Isa::Avx512 => {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vbmi2")
                    && is_x86_feature_detected!("gfni")
            }
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn detect(self) -> bool {
        match self {
            Isa::Scalar => true,
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn detect(self) -> bool {
        self == Isa::Scalar
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaUnknown;

    fn from_str(name: &str) -> Result<Isa, IsaUnknown> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name).ok_or_else(|| IsaUnknown(name.to_owned()))
    }
}

fn names(sets: &[Isa]) -> String {
    sets.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scalar_set_is_on_every_machine_and_the_best_set_is_available() {
        assert!(Isa::Scalar.is_available());
        assert_eq!(Isa::available()[0], Isa::Scalar);
        assert!(Isa::best().is_available());
    }

    #[test]
    fn a_set_prints_and_parses_under_the_same_name() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse::<Isa>(), Ok(isa));
        }
        assert_eq!("sse9".parse::<Isa>(), Err(IsaUnknown("sse9".to_owned())));
    }

    #[test]
    fn an_unavailable_set_is_refused_and_named() {
        let foreign = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
        let refusal = foreign.require().expect_err("the set of another architecture");
        assert!(refusal.to_string().contains(foreign.name()));
    }
}
