//! The reference engine: a generator of degree 32 and eight tables of 256 remainders.

/// A generator polynomial of degree 32 with what both kernels need of it.
#[derive(Debug)]
pub(super) struct Polynomial {
    /// `tables[k][v]` = v·x^(32+8k) mod generator.
    tables: [[u32; 256]; 8],
    #[cfg(target_arch = "x86_64")]
    pub(super) folding: Folding,
}

/// Powers of x mod generator, for folding by carry-less multiplication.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub(super) struct Folding {
    /// x^64.
    pub(super) x64: u64,
    /// [x^128, x^192]: moves a 128-bit value up by 128 bits.
    pub(super) by_128: [u64; 2],
    /// [x^512, x^576]: moves a 128-bit value up by 512 bits.
    pub(super) by_512: [u64; 2],
}

impl Polynomial {
    /// `generator`: the coefficients of x³¹..x⁰; x³² is implied.
    pub(super) const fn new(generator: u32) -> Polynomial {
        let mut tables = [[0u32; 256]; 8];
        let mut value = 0;
        while value < 256 {
            tables[0][value] = times_x(generator, (value as u32) << 24, 8);
            let mut k = 1;
            while k < 8 {
                tables[k][value] = times_x(generator, tables[k - 1][value], 8);
                k += 1;
            }
            value += 1;
        }
        Polynomial {
            tables,
            #[cfg(target_arch = "x86_64")]
            folding: Folding {
                x64: power(generator, 64),
                by_128: [power(generator, 128), power(generator, 192)],
                by_512: [power(generator, 512), power(generator, 576)],
            },
        }
    }

    /// Carries `register` on over `data`, eight octets a step.
    pub(super) fn update(&self, register: u32, data: &[u8]) -> u32 {
        let mut register = register;
        let mut chunks = data.chunks_exact(8);
        for chunk in &mut chunks {
            let mut octets = [0; 8];
            octets.copy_from_slice(chunk);
            register = self.reduce(u64::from_be_bytes(octets) ^ (u64::from(register) << 32));
        }
        for octet in chunks.remainder() {
            register = (register << 8) ^ self.tables[0][usize::from((register >> 24) as u8 ^ octet)];
        }
        register
    }

    /// `value`·x³² mod generator.
    #[inline]
    pub(super) fn reduce(&self, value: u64) -> u32 {
        let octets = value.to_le_bytes();
        let mut remainder = 0;
        for (table, octet) in self.tables.iter().zip(octets) {
            remainder ^= table[usize::from(octet)];
        }
        remainder
    }
}

/// `value`·x^`times` mod generator.
const fn times_x(generator: u32, value: u32, times: u32) -> u32 {
    let mut value = value;
    let mut i = 0;
    while i < times {
        value = (value << 1) ^ if value >> 31 == 1 { generator } else { 0 };
        i += 1;
    }
    value
}

/// x^`exponent` mod generator, `exponent` at least 32.
#[cfg(target_arch = "x86_64")]
const fn power(generator: u32, exponent: u32) -> u64 {
    // x^32 mod generator is the generator without its leading term.
    times_x(generator, generator, exponent - 32) as u64
}
