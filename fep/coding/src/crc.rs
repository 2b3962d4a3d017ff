//! The cyclic redundancy checks of frames: CRC-16 of the FECF (TM 132.0-B 4.1.6, TC 232.0-B, AOS 732.0-B 4.1.6) and
//! CRC-32 of USLP (732.1-B annex B) and Proximity-1 (211.2-B).
//!
//! Both send the highest power first, without reflection and without a final xor. Both run on one engine of 32 bits:
//! a CRC-16 is a CRC-32 whose generator is multiplied by x¹⁶. The reference is eight tables, eight octets a step; where
//! the machine multiplies without carry (PCLMULQDQ), 64 octets are folded a step.
//!
//! Not here: the checksums of files (CFDP), which are other polynomials.

#[cfg(target_arch = "x86_64")]
mod clmul;
mod table;

use std::sync::LazyLock;

use crate::isa::{Isa, IsaUnavailable};
use table::Polynomial;

/// x¹⁶+x¹²+x⁵+1, in the upper half.
static CRC16: Polynomial = Polynomial::new(0x1021 << 16);
/// x³²+x²³+x²¹+x¹¹+x²+1.
static CRC32: Polynomial = Polynomial::new(0x00A0_0805);

/// The FECF of `frame` (without its FECF): preset to ones.
///
/// ```
/// assert_eq!(fep_coding::crc::crc16_fecf(b"123456789"), 0x29B1);
/// ```
pub fn crc16_fecf(frame: &[u8]) -> u16 {
    static BEST: LazyLock<Crc16> = LazyLock::new(Crc16::new);
    BEST.checksum(frame)
}

/// The 4-octet FECF of a USLP `frame` (without its FECF): preset to zeros.
///
/// ```
/// assert_eq!(fep_coding::crc::crc32_uslp(b"123456789"), 0x5169_3C0C);
/// ```
pub fn crc32_uslp(frame: &[u8]) -> u32 {
    static BEST: LazyLock<Crc32> = LazyLock::new(Crc32::new);
    BEST.checksum(frame)
}

/// CRC-16 of frames with its kernel chosen.
#[derive(Debug, Clone, Copy)]
pub struct Crc16 {
    kernel: Kernel,
}

/// CRC-32 of USLP frames with its kernel chosen.
#[derive(Debug, Clone, Copy)]
pub struct Crc32 {
    kernel: Kernel,
}

/// Invariant: `Clmul` only where the machine has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Table,
    #[cfg(target_arch = "x86_64")]
    Clmul,
}

impl Kernel {
    fn for_isa(isa: Isa) -> Kernel {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 if clmul::is_available() => Kernel::Clmul,
            _ => Kernel::Table,
        }
    }

    fn checksum(self, polynomial: &Polynomial, preset: u32, data: &[u8]) -> u32 {
        match self {
            Kernel::Table => polynomial.update(preset, data),
            #[cfg(target_arch = "x86_64")]
            Kernel::Clmul => clmul::checksum(polynomial, preset, data),
        }
    }
}

impl Default for Crc16 {
    fn default() -> Self {
        Crc16::new()
    }
}

impl Crc16 {
    /// With the best kernel of this machine.
    pub fn new() -> Crc16 {
        Crc16 { kernel: Kernel::for_isa(Isa::best()) }
    }

    /// With the kernel that goes with `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(isa: Isa) -> Result<Crc16, IsaUnavailable> {
        Ok(Crc16 { kernel: Kernel::for_isa(isa.require()?) })
    }

    /// The checksum of `data`, preset to ones; zero over a frame *with* its FECF when both agree.
    pub fn checksum(&self, data: &[u8]) -> u16 {
        (self.kernel.checksum(&CRC16, 0xFFFF_0000, data) >> 16) as u16
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Crc32::new()
    }
}

impl Crc32 {
    /// With the best kernel of this machine.
    pub fn new() -> Crc32 {
        Crc32 { kernel: Kernel::for_isa(Isa::best()) }
    }

    /// With the kernel that goes with `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(isa: Isa) -> Result<Crc32, IsaUnavailable> {
        Ok(Crc32 { kernel: Kernel::for_isa(isa.require()?) })
    }

    /// The checksum of `data`, preset to zeros; zero over a frame *with* its FECF when both agree.
    pub fn checksum(&self, data: &[u8]) -> u32 {
        self.kernel.checksum(&CRC32, 0, data)
    }
}
