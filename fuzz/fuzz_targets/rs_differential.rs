//! Every instruction set gives the scalar reference's octets and verdicts, for any parameters and any received octets.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::isa::Isa;
use fep_coding::rs::{Basis, ReedSolomon, RsE, RsSpec, RsVerdict};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    strong: bool,
    interleave: u8,
    virtual_fill: u8,
    dual: bool,
    codeblocks: u8,
    gap: u8,
    frame: Vec<u8>,
    /// Place (modulo the batch) and what is added there.
    damage: Vec<(u16, u8)>,
}

fuzz_target!(|input: Input| {
    let e = if input.strong { RsE::E16 } else { RsE::E8 };
    let spec = RsSpec {
        e,
        interleave: [1, 2, 3, 4, 5, 8][input.interleave as usize % 6],
        virtual_fill: input.virtual_fill % e.information_symbols() as u8,
        basis: if input.dual { Basis::Dual } else { Basis::Conventional },
    };
    let codec = |isa: Isa| ReedSolomon::with_isa(spec, isa).expect("valid parameters on an available set");
    let (len, count) = (spec.codeblock_len(), input.codeblocks as usize % 40);
    let stride = len + input.gap as usize % 80;

    let mut sent = vec![0; len];
    for (octet, source) in sent[..spec.frame_len()].iter_mut().zip(input.frame.iter().cycle()) {
        *octet = *source;
    }
    let (frame, check) = sent.split_at_mut(spec.frame_len());
    codec(Isa::Scalar).encode(frame, check);
    let mut received = vec![0x5A; count.saturating_sub(1) * stride + if count == 0 { 0 } else { len }];
    for k in 0..count {
        received[k * stride..k * stride + len].copy_from_slice(&sent);
    }
    if !received.is_empty() {
        for (place, octet) in &input.damage {
            let place = *place as usize % received.len();
            received[place] ^= octet;
        }
    }

    let mut reference = received.clone();
    let mut expected = vec![RsVerdict::default(); count];
    codec(Isa::Scalar).decode_batch(&mut reference, stride, &mut expected);
    for &isa in Isa::available().iter().filter(|isa| **isa != Isa::Scalar) {
        let mut codec = codec(isa);
        let mut encoded = vec![0; spec.check_len()];
        codec.encode(&sent[..spec.frame_len()], &mut encoded);
        assert!(encoded == sent[spec.frame_len()..], "{spec:?}: {isa} encodes differently");
        let mut codeblocks = received.clone();
        let mut verdicts = vec![RsVerdict::default(); count];
        codec.decode_batch(&mut codeblocks, stride, &mut verdicts);
        assert_eq!(verdicts, expected, "{spec:?}: {isa} judges differently");
        assert!(codeblocks == reference, "{spec:?}: {isa} corrects differently");
        for (k, expected) in expected.iter().enumerate().take(3) {
            let mut codeblock = received[k * stride..k * stride + len].to_vec();
            assert_eq!(codec.decode(&mut codeblock), *expected, "{spec:?}: {isa} judges differently alone");
            assert!(codeblock == reference[k * stride..k * stride + len]);
        }
    }
});
