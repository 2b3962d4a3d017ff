//! Every kernel of both checksums gives what plain division gives, bit by bit, and zero over data with its checksum.
#![no_main]

use fep_coding::Isa;
use fep_coding::crc::{Crc16, Crc32};
use libfuzzer_sys::fuzz_target;

/// The remainder by long division, one bit a step.
fn remainder(width: u32, generator: u32, preset: u32, data: &[u8]) -> u32 {
    let top = 1 << (width - 1);
    let mut register = preset;
    for octet in data {
        for i in (0..8).rev() {
            let feedback = (register & top != 0) != (octet >> i & 1 != 0);
            register = register << 1 ^ if feedback { generator } else { 0 };
        }
    }
    if width == 32 { register } else { register & ((1 << width) - 1) }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (offset, data) = input;
    let data = &data[usize::from(offset).min(data.len())..];
    let fecf = remainder(16, 0x1021, 0xFFFF, data) as u16;
    let uslp = remainder(32, 0x00A0_0805, 0, data);
    for isa in Isa::available() {
        let crc16 = Crc16::with_isa(*isa).expect("an available set");
        let crc32 = Crc32::with_isa(*isa).expect("an available set");
        assert_eq!(crc16.checksum(data), fecf, "{isa}");
        assert_eq!(crc32.checksum(data), uslp, "{isa}");
        assert_eq!(crc16.checksum(&[data, &fecf.to_be_bytes()].concat()), 0, "{isa}");
        assert_eq!(crc32.checksum(&[data, &uslp.to_be_bytes()].concat()), 0, "{isa}");
    }
});
