//! Arbitrary text as a channel code, as TOML and as JSON: read or refused; what is read has sizes, survives being written,
//! and builds if it is valid: no panic, and one block through encoder and decoder comes back.
#![no_main]

use fep_coding::spec::DecodeVerdict;
use fep_coding::{CodeSpec, Isa};
use libfuzzer_sys::fuzz_target;

/// Larger blocks only cost time.
const BLOCK_LEN_MAX: usize = 8192;

fuzz_target!(|text: &str| {
    if let Ok(code) = toml::from_str::<CodeSpec>(text) {
        check(&code);
    }
    if let Ok(code) = serde_json::from_str::<CodeSpec>(text) {
        check(&code);
    }
});

fn check(code: &CodeSpec) {
    let text = serde_json::to_string(code).expect("a code can be written");
    assert_eq!(&serde_json::from_str::<CodeSpec>(&text).expect("and read back"), code);
    if let Err(error) = code.validate() {
        assert!(!error.to_string().is_empty());
        assert!(code.build(Isa::best()).is_err() && code.build_encoder(Isa::best()).is_err());
        return;
    }
    let (frame_len, block_len) = (code.frame_len(), code.block_len());
    assert!(frame_len > 0 && block_len >= 1 && code.block_symbols().div_ceil(8) == block_len);
    assert!(code.rate() > 0.0 && code.rate() <= 1.0);
    assert!(code.check_frame(frame_len).is_ok() && code.check_frame(frame_len + 1).is_err());
    let (Ok(mut encoder), Ok(mut decoder)) = (code.build_encoder(Isa::best()), code.build(Isa::best())) else {
        assert!(code.slicing().is_some());
        return;
    };
    if block_len > BLOCK_LEN_MAX {
        return;
    }
    let frame: Vec<u8> = (0..frame_len).map(|i| (i * 151) as u8).collect();
    let mut block = vec![0; block_len];
    encoder.encode(&frame, &mut block);
    let mut verdict = [DecodeVerdict::default()];
    decoder.decode_batch(&mut block, block_len, &mut verdict);
    // One iteration need not be enough for a turbo or LDPC decoder to be sure, but a clean block stays what it is.
    assert_eq!(block[..frame_len], frame);
}
