//! One part of a measurement: some frames coded, received in noise, decoded and compared.

use fep_coding::conv::{ConvEncoder, ConvSpec, ViterbiDecoder};
use fep_coding::soft::{SoftVerdict, from_hard};
use fep_coding::spec::{DecodeVerdict, SoftBlockDecoder, SyncDomain};
use fep_coding::{BlockDecoder, BlockEncoder, CodeSpecError, Isa};
use fep_sim::awgn::{Awgn, es_n0_db};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::curve::{Plan, Tally};

/// Symbols of a part, about: enough for the decoders to fill their lanes, little enough to stop soon.
const PART_SYMBOLS: usize = 1 << 19;
/// Most frames of a part.
const PART_FRAMES: usize = 64;
/// Octets behind the last frame in front of a convolutional decoder: no frame ends where the trellis does.
const TRAIL: usize = 64;

enum Decoder {
    /// Hard decisions in front of a code of octets.
    Bits(BlockDecoder),
    /// A convolutional decoder in front of that.
    Stream(Box<ConvSpec>, BlockDecoder),
    Symbols(SoftBlockDecoder),
}

/// Simulates parts; every thread has its own.
pub(super) struct Trial {
    plan: Plan,
    encoder: BlockEncoder,
    decoder: Decoder,
    frames: usize,
}

impl Trial {
    pub(super) fn new(plan: &Plan) -> Result<Trial, CodeSpecError> {
        let (code, isa) = (&plan.code, Isa::best());
        let decoder = match (code.domain(), code.convolutional()) {
            (SyncDomain::Symbols, _) => Decoder::Symbols(code.build_soft(isa)?),
            (SyncDomain::Bits, Some(conv)) => Decoder::Stream(Box::new(*conv), code.build(isa)?),
            (SyncDomain::Bits, None) => Decoder::Bits(code.build(isa)?),
        };
        let frames = (PART_SYMBOLS / code.block_symbols()).clamp(1, PART_FRAMES);
        Ok(Trial { plan: plan.clone(), encoder: code.build_encoder(isa)?, decoder, frames })
    }

    /// The part of this number, at this Eb/N0: always the same.
    pub(super) fn run(&mut self, point: usize, eb_n0_db: f64, part: u64) -> Result<Tally, CodeSpecError> {
        let code = self.plan.code;
        let seed = self.plan.seed.wrapping_add((point as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        dice.set_stream(2 * part + 1);
        let noise = es_n0_db(eb_n0_db, code.rate());
        let mut awgn = Awgn::new(Some(noise), &self.plan.format, seed, 2 * part);

        let (frame_len, block_len) = (code.frame_len(), code.block_len());
        let mut sent = vec![0; self.frames * frame_len];
        dice.fill(&mut sent[..]);
        let mut blocks = vec![0; self.frames * block_len];
        for (frame, block) in sent.chunks_exact(frame_len).zip(blocks.chunks_exact_mut(block_len)) {
            self.encoder.encode(frame, block);
        }
        let mut tally = Tally::default();
        match &mut self.decoder {
            Decoder::Symbols(decoder) => {
                let mut symbols = Vec::new();
                for block in blocks.chunks_exact(block_len) {
                    from_hard(block, code.block_symbols(), 1, &mut symbols);
                }
                receive(&mut awgn, &mut symbols, &mut tally);
                let mut frames = vec![0; sent.len()];
                let mut verdicts = vec![SoftVerdict::default(); self.frames];
                decoder.decode_batch(&symbols, &mut frames, &mut verdicts);
                for ((sent, frame), verdict) in
                    sent.chunks_exact(frame_len).zip(frames.chunks_exact(frame_len)).zip(&verdicts)
                {
                    tally.iterations += u64::from(verdict.iterations);
                    tally.count(sent, frame, !code.detects_errors() || verdict.converged);
                }
            }
            Decoder::Bits(decoder) => {
                let mut symbols = Vec::new();
                from_hard(&blocks, 8 * blocks.len(), 1, &mut symbols);
                receive(&mut awgn, &mut symbols, &mut tally);
                let (eights, _) = symbols.as_chunks::<8>();
                for (octet, eight) in blocks.iter_mut().zip(eights) {
                    *octet = eight.iter().fold(0, |octet, symbol| (octet << 1) | u8::from(*symbol < 0));
                }
                decode_blocks(decoder, &mut blocks, &sent, &mut tally);
            }
            Decoder::Stream(conv, decoder) => {
                let mut trail = [0; TRAIL];
                dice.fill(&mut trail[..]);
                let mut symbols = Vec::new();
                let mut encoder = ConvEncoder::new(conv)?;
                encoder.push_soft(&blocks, 1, &mut symbols);
                encoder.push_soft(&trail, 1, &mut symbols);
                encoder.finish_soft(1, &mut symbols);
                receive(&mut awgn, &mut symbols, &mut tally);
                let mut viterbi = ViterbiDecoder::new(conv)?;
                let mut decoded = Vec::with_capacity(blocks.len() + TRAIL);
                viterbi.push(&symbols, &mut decoded);
                viterbi.finish(&mut decoded);
                decoded.truncate(blocks.len());
                decode_blocks(decoder, &mut decoded, &sent, &mut tally);
            }
        }
        Ok(tally)
    }
}

/// Sends the symbols through the channel, and counts hard decisions.
fn receive(awgn: &mut Awgn, symbols: &mut [i8], tally: &mut Tally) {
    let sent: Vec<i8> = symbols.to_vec();
    awgn.receive(symbols);
    tally.symbols += symbols.len() as u64;
    tally.symbol_errors +=
        symbols.iter().zip(&sent).filter(|(symbol, sent)| (**symbol < 0) != (**sent < 0)).count() as u64;
}

fn decode_blocks(decoder: &mut BlockDecoder, blocks: &mut [u8], sent: &[u8], tally: &mut Tally) {
    let (frame_len, block_len) = (decoder.frame_len(), decoder.block_len());
    let mut verdicts = vec![DecodeVerdict::default(); sent.len() / frame_len];
    decoder.decode_batch(blocks, block_len, &mut verdicts);
    for ((sent, block), verdict) in
        sent.chunks_exact(frame_len).zip(blocks.chunks_exact(block_len)).zip(&verdicts)
    {
        tally.count(sent, &block[..frame_len], !verdict.is_uncorrectable());
    }
}
