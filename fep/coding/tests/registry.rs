//! What a code is to the crate: one module and one line in a registry. The toy below has both, and is read, built, encoded
//! and decoded like those of the standard.

use fep_coding::spec::{
    BlockDecoder, BlockEncoder, ChannelEncoder, CodeSpecError, DecodeVerdict, SoftBlockDecoder, UncodedFrames,
};
use fep_coding::{CodeSpec, Isa, Marker, Randomizer, codecs};
use serde_json::json;

/// The module of a code: every octet is sent three times, and two of three decide.
mod repetition {
    use fep_coding::Isa;
    use fep_coding::spec::{
        CodeSpecError, Codec, Configured, DecodeOctets, DecodeVerdict, EncodeOctets, Form, FrameShape, Key,
        Refusal, Values,
    };

    #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
    pub(crate) struct Repetition {
        pub(crate) frame_len: usize,
        pub(crate) times: usize,
    }

    #[derive(Debug, PartialEq, Eq, thiserror::Error)]
    #[error("times = {0}: an even number of votes decides nothing")]
    pub(crate) struct EvenVotes(usize);

    impl Codec for Repetition {
        fn name(&self) -> &'static str {
            "repetition"
        }

        fn block_len(&self) -> usize {
            self.times * self.frame_len
        }

        fn frame_len(&self) -> usize {
            self.frame_len
        }

        fn detects_errors(&self) -> bool {
            false
        }

        fn validate(&self) -> Result<(), CodeSpecError> {
            if self.times % 2 == 1 { Ok(()) } else { Err(CodeSpecError::of_codec(EvenVotes(self.times))) }
        }

        fn decoder(&self, _isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
            Ok(Box::new(*self))
        }

        fn encoder(&self, _isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
            Ok(Box::new(*self))
        }
    }

    impl DecodeOctets for Repetition {
        fn decode_batch(&mut self, blocks: &mut [u8], stride: usize, verdicts: &mut [DecodeVerdict]) {
            for (block, verdict) in blocks.chunks_mut(stride).zip(verdicts) {
                *verdict = DecodeVerdict::default();
                for i in 0..self.frame_len {
                    let votes: Vec<u8> = (0..self.times).map(|t| block[t * self.frame_len + i]).collect();
                    let most = |octet: &&u8| votes.iter().filter(|vote| vote == octet).count();
                    let winner = *votes.iter().max_by_key(most).expect("at least one vote");
                    let outvoted = votes.iter().filter(|vote| **vote != winner).count();
                    verdict.symbols_corrected += outvoted as u16;
                    verdict.codewords_corrected += u8::from(outvoted > 0);
                    block[i] = winner;
                }
            }
        }
    }

    impl EncodeOctets for Repetition {
        fn encode(&mut self, frame: &[u8], block: &mut [u8]) {
            block.chunks_exact_mut(frame.len()).for_each(|copy| copy.copy_from_slice(frame));
        }
    }

    impl Configured for Repetition {
        const KEYS: &'static [Key] = &[Key::required("times", Form::Integer { least: 1, most: 9 })];
        const OPEN_FRAME_LEN: bool = true;

        fn from_values(values: &Values, frame: &FrameShape) -> Result<Repetition, Refusal> {
            let times = values.integer("times").ok_or(Refusal::Missing("times"))?;
            Ok(Repetition { frame_len: frame.required_len()?, times })
        }
    }
}

codecs! {
    /// A registry of this test.
    pub enum ToyCode {
        /// No code.
        None(UncodedFrames) = "none",
        /// The line of the toy.
        Repetition(repetition::Repetition) = "repetition",
    }
}

// REQ: FEP-CODING-100
#[test]
fn a_code_of_one_module_and_one_line_is_read_built_encoded_and_decoded() {
    let written = json!({"code": "repetition", "times": 3, "frame_len": 20});
    let code: ToyCode = serde_json::from_value(written.clone()).expect("a code");
    assert_eq!(code, repetition::Repetition { frame_len: 20, times: 3 }.into());
    assert_eq!(serde_json::to_value(code).expect("JSON"), written);
    let refused = |value| serde_json::from_value::<ToyCode>(value).expect_err("a mistake").to_string();
    assert_eq!(
        refused(json!({"code": "repetition", "times": 10, "frame_len": 20})),
        "times: 10 is out of range (allowed: 1 to 9)"
    );
    assert_eq!(
        refused(json!({"code": "repetitions"})),
        "code: \"repetitions\" is not a choice (allowed: none, repetition)"
    );

    let isa = Isa::best();
    let mut encoder = BlockEncoder::new(code.codec(), isa).expect("a code");
    let mut decoder = BlockDecoder::new(code.codec(), isa).expect("a code");
    assert_eq!((decoder.block_len(), decoder.frame_len()), (60, 20));
    let frame: Vec<u8> = (0..20).collect();
    let mut block = vec![0; 60];
    encoder.encode(&frame, &mut block);
    block[5] ^= 0xFF;
    block[47] ^= 0x01;
    let mut verdict = [DecodeVerdict::default()];
    decoder.decode_batch(&mut block, 60, &mut verdict);
    assert_eq!(block[..20], frame);
    assert_eq!((verdict[0].symbols_corrected, verdict[0].is_uncorrectable()), (2, false));

    let mut channel =
        ChannelEncoder::of_codec(code.codec(), Marker::CCSDS_32, Randomizer::None).expect("a code");
    let mut symbols = Vec::new();
    channel.encode(&frame, &mut symbols);
    assert_eq!(symbols.len(), 32 + 8 * 60);
}

// REQ: FEP-CODING-100
#[test]
fn the_errors_of_a_code_of_ones_own_come_back_with_their_type() {
    let even = ToyCode::from(repetition::Repetition { frame_len: 20, times: 2 });
    let refused = BlockDecoder::new(even.codec(), Isa::Scalar).expect_err("two votes");
    assert!(refused.codec::<repetition::EvenVotes>().is_some());
    assert_eq!(refused.to_string(), "times = 2: an even number of votes decides nothing");
    let odd = ToyCode::from(repetition::Repetition { frame_len: 20, times: 3 });
    assert_eq!(SoftBlockDecoder::new(odd.codec(), Isa::Scalar).err(), Some(CodeSpecError::NoSymbols));
}

// REQ: FEP-CODING-100
#[test]
fn every_line_of_the_registry_has_a_name_and_keys_of_its_own() {
    let names: Vec<&str> = CodeSpec::REGISTRY.iter().map(|entry| entry.name).collect();
    let expected = ["none", "reed_solomon", "convolutional", "concatenated", "turbo", "ldpc", "ldpc_stream"];
    assert_eq!(names, expected);
    for entry in CodeSpec::REGISTRY {
        let mut keys: Vec<&str> = entry.keys.iter().map(|key| key.name).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), entry.keys.len(), "{}: a key is listed twice", entry.name);
        assert!(!keys.contains(&"code") && !keys.contains(&"frame_len"), "{}", entry.name);
        let allowed = entry.keys.iter().map(|key| key.allowed());
        assert!(allowed.into_iter().all(|allowed| !allowed.is_empty()), "{}", entry.name);
    }
}
