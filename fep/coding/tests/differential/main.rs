//! Differential coding: the state machines against the definition written down plainly, and in front of and behind the
//! other stages of a channel.

#[path = "../noise/mod.rs"]
mod noise;

use fep_coding::conv::{ConvEncoder, ConvRate, ConvReceiver, ConvSpec};
use fep_coding::differential::{DifferentialDecoder, DifferentialEncoder, LineCode, SoftDifferentialDecoder};
use fep_coding::{Block, FrameSync, Isa, Marker, Polarity, SyncSpec};
use noise::Noise;
use proptest::prelude::*;

const DIFFERENTIAL: [LineCode; 2] = [LineCode::NrzM, LineCode::NrzS];

fn bit(octets: &[u8], k: usize) -> u8 {
    octets[k / 8] >> (7 - k % 8) & 1
}

fn pack(bits: &[u8]) -> Vec<u8> {
    bits.chunks(8)
        .map(|eight| eight.iter().enumerate().fold(0, |octet, (i, bit)| octet | bit << (7 - i)))
        .collect()
}

/// The definition: with NRZ-M a 1 is a change of level, with NRZ-S a 0 is; the level before the first is 0.
fn levels_by_definition(code: LineCode, octets: &[u8]) -> Vec<u8> {
    let mut level = 0;
    let levels: Vec<u8> = (0..8 * octets.len())
        .map(|k| match (code, bit(octets, k)) {
            (LineCode::NrzL, bit) => bit,
            (LineCode::NrzM, 1) | (LineCode::NrzS, 0) => {
                level = 1 - level;
                level
            }
            _ => level,
        })
        .collect();
    pack(&levels)
}

fn pieces<'a>(octets: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = octets;
    cuts.iter().cycle().map_while(move |cut| {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

fn encoded(code: LineCode, isa: Isa, octets: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut encoder = DifferentialEncoder::with_isa(code, isa).expect("an available set");
    let mut levels = Vec::new();
    pieces(octets, cuts).for_each(|piece| encoder.push(piece, &mut levels));
    levels
}

fn decoded(code: LineCode, isa: Isa, levels: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut decoder = DifferentialDecoder::with_isa(code, isa).expect("an available set");
    let mut octets = Vec::new();
    pieces(levels, cuts).for_each(|piece| decoder.push(piece, &mut octets));
    octets
}

fn any_code() -> impl Strategy<Value = LineCode> {
    prop::sample::select(LineCode::ALL.to_vec())
}

proptest! {
    // REQ: FEP-DIFF-101
    // REQ: FEP-DIFF-104
    #[test]
    fn levels_follow_the_definition_and_decode_to_the_bits_on_every_instruction_set_however_they_are_cut(
        code in any_code(), octets in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(1usize..40, 1..5), other_cuts in prop::collection::vec(1usize..40, 1..5),
    ) {
        let levels = levels_by_definition(code, &octets);
        for isa in Isa::available() {
            prop_assert_eq!(&encoded(code, *isa, &octets, &cuts), &levels, "{}", isa);
            prop_assert_eq!(&decoded(code, *isa, &levels, &other_cuts), &octets, "{}", isa);
        }
    }

    // REQ: FEP-DIFF-101
    #[test]
    fn a_stream_may_be_cut_at_any_bit(
        code in any_code(), octets in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::vec(1usize..150, 1..5), scalar: bool,
    ) {
        let isa = if scalar { Isa::Scalar } else { Isa::best() };
        let bits: Vec<u8> = (0..8 * octets.len()).map(|k| bit(&octets, k)).collect();
        let mut encoder = DifferentialEncoder::with_isa(code, isa).expect("an available set");
        let mut decoder = DifferentialDecoder::with_isa(code, isa).expect("an available set");
        let (mut levels, mut back) = (Vec::new(), Vec::new());
        for piece in pieces(&bits, &cuts) {
            // What lies behind the piece is not touched.
            let mut packed = pack(&[piece, &[1, 0, 1]].concat());
            let before = packed.clone();
            encoder.apply_bits(&mut packed, piece.len());
            prop_assert!((piece.len()..8 * packed.len()).all(|k| bit(&packed, k) == bit(&before, k)));
            levels.extend((0..piece.len()).map(|k| bit(&packed, k)));
            decoder.apply_bits(&mut packed, piece.len());
            back.extend((0..piece.len()).map(|k| bit(&packed, k)));
        }
        prop_assert_eq!(pack(&levels), levels_by_definition(code, &octets));
        prop_assert_eq!(pack(&back), octets);
    }

    // REQ: FEP-DIFF-102
    #[test]
    fn an_inverted_stream_decodes_to_the_same_bits_behind_the_first(
        code in prop::sample::select(DIFFERENTIAL.to_vec()), levels in prop::collection::vec(any::<u8>(), 1..100),
        symbols in prop::collection::vec(any::<i8>(), 1..300),
    ) {
        let inverted: Vec<u8> = levels.iter().map(|octet| !octet).collect();
        let (upright, inverted) =
            (decoded(code, Isa::best(), &levels, &[7]), decoded(code, Isa::best(), &inverted, &[100]));
        prop_assert_eq!(upright[0] ^ inverted[0], 0x80);
        prop_assert_eq!(&upright[1..], &inverted[1..]);

        let inverted: Vec<i8> = symbols.iter().map(|symbol| symbol.saturating_neg()).collect();
        prop_assert_eq!(soft(code, &symbols, 300), soft(code, &inverted, 300));
    }

    // REQ: FEP-DIFF-101
    #[test]
    fn one_wrong_level_makes_two_wrong_bits_next_to_one_another(
        code in prop::sample::select(DIFFERENTIAL.to_vec()), levels in prop::collection::vec(any::<u8>(), 1..60), at: usize,
    ) {
        let at = at % (8 * levels.len());
        let mut wrong = levels.clone();
        wrong[at / 8] ^= 0x80 >> (at % 8);
        let (right, wrong) = (decoded(code, Isa::best(), &levels, &[60]), decoded(code, Isa::best(), &wrong, &[3]));
        let differing: Vec<usize> = (0..8 * levels.len()).filter(|k| bit(&right, *k) != bit(&wrong, *k)).collect();
        let expected: Vec<usize> = (at..8 * levels.len()).take(2).collect();
        prop_assert_eq!(differing, expected);
    }

    // REQ: FEP-DIFF-103
    #[test]
    fn a_soft_bit_has_the_sign_of_the_hard_one_and_the_weaker_levels_magnitude(
        code in any_code(), symbols in prop::collection::vec(any::<i8>(), 0..400), cut in 1usize..50,
    ) {
        let whole = soft(code, &symbols, 400);
        prop_assert_eq!(&soft(code, &symbols, cut), &whole);
        let mut in_place = symbols.clone();
        let mut decoder = SoftDifferentialDecoder::new(code);
        in_place.chunks_mut(cut).for_each(|piece| decoder.apply(piece));
        prop_assert_eq!(&in_place, &whole);
        if code == LineCode::NrzL {
            prop_assert_eq!(whole, symbols);
            return Ok(());
        }
        let mut before = 0i32;
        for (symbol, bit) in symbols.iter().zip(&whole) {
            let level = i32::from(*symbol).max(-127);
            prop_assert_eq!(i32::from(bit.abs()), level.abs().min(before.abs()));
            let changed = level * before < 0;
            let one = if code == LineCode::NrzM { changed } else { !changed };
            prop_assert!(*bit == 0 || (*bit < 0) == one);
            before = level;
        }
    }
}

fn soft(code: LineCode, symbols: &[i8], cut: usize) -> Vec<i8> {
    let mut decoder = SoftDifferentialDecoder::new(code);
    let mut bits = Vec::new();
    symbols.chunks(cut).for_each(|piece| decoder.push(piece, &mut bits));
    bits
}

// REQ: FEP-DIFF-101
#[test]
fn the_waveforms_of_the_textbook_come_out() {
    // 1 0 1 1 0 0 1 0: NRZ-M changes at every 1, NRZ-S at every 0.
    let levels = |code| encoded(code, Isa::best(), &[0b1011_0010], &[1])[0];
    assert_eq!(levels(LineCode::NrzL), 0b1011_0010);
    assert_eq!(levels(LineCode::NrzM), 0b1101_1100);
    assert_eq!(levels(LineCode::NrzS), 0b0111_0110);
}

// REQ: FEP-DIFF-101
#[test]
fn a_reset_begins_a_stream_anew() {
    for code in LineCode::ALL {
        let (mut encoder, mut decoder) = (DifferentialEncoder::new(code), DifferentialDecoder::new(code));
        let mut softly = SoftDifferentialDecoder::new(code);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encoder.push(&[0x01, 0xFE], &mut first);
        encoder.reset();
        encoder.push(&[0x01, 0xFE], &mut second);
        assert_eq!(first, second);
        let mut octets = Vec::new();
        decoder.push(&[0xFF], &mut octets);
        decoder.reset();
        octets.clear();
        decoder.push(&first, &mut octets);
        assert_eq!(octets, [0x01, 0xFE]);
        let mut bits = Vec::new();
        softly.push(&[9], &mut bits);
        softly.reset();
        softly.push(&[9], &mut bits);
        assert_eq!(bits[0], bits[1]);
    }
}

// REQ: FEP-DIFF-105
#[test]
fn line_codes_are_named_in_configuration_and_an_unknown_name_is_refused_with_the_names_there_are() {
    for (code, name) in LineCode::ALL.into_iter().zip(["nrz_l", "nrz_m", "nrz_s"]) {
        assert_eq!(serde_json::to_value(code).expect("a name"), name);
        assert_eq!(serde_json::from_value::<LineCode>(name.into()).expect("a code"), code);
        assert_eq!((name.parse(), code.to_string().as_str()), (Ok(code), name));
        assert_eq!(code.is_differential(), name != "nrz_l");
    }
    let message = "nrz".parse::<LineCode>().expect_err("no code").to_string();
    assert_eq!(message, "`nrz` is no line code; the names are nrz_l, nrz_m, nrz_s");
    let message = serde_json::from_str::<LineCode>("\"nrz_i\"").expect_err("no code").to_string();
    assert!(message.contains("nrz_i") && message.contains("nrz_m"), "{message}");
}

const BLOCK_LEN: usize = 200;

/// Frames behind their markers, behind some bits.
fn frames(count: usize, noise: &mut Noise) -> (Vec<u8>, Vec<Vec<u8>>) {
    let blocks: Vec<Vec<u8>> = (0..count).map(|_| noise.octets(BLOCK_LEN)).collect();
    let mut octets = noise.octets(40);
    blocks.iter().for_each(|block| octets.extend([Marker::CCSDS_32.as_bytes(), block].concat()));
    octets.extend(noise.octets(40));
    (octets, blocks)
}

fn found(octets: &[u8]) -> Vec<Vec<u8>> {
    // The polarity is fixed: the line code alone resolves it.
    let spec = SyncSpec { polarity: Polarity::Normal, ..SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN) };
    let mut sync = FrameSync::new(spec).expect("a valid specification");
    let mut blocks = Vec::new();
    sync.push(octets, &mut |block: Block<'_>| blocks.push(block.data.to_vec()));
    sync.finish(&mut |block: Block<'_>| blocks.push(block.data.to_vec()));
    blocks
}

// REQ: FEP-DIFF-102
#[test]
fn frames_of_bits_are_found_at_every_alignment_in_either_polarity() {
    let mut noise = Noise(1);
    for code in DIFFERENTIAL {
        let (octets, blocks) = frames(4, &mut noise);
        let levels = encoded(code, Isa::best(), &octets, &[1000]);
        for shift in 0..8 {
            for flip in [0, 0xFF] {
                let pairs = levels.windows(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                let received: Vec<u8> = pairs.map(|pair| (pair >> (8 - shift)) as u8 ^ flip).collect();
                assert_eq!(
                    found(&decoded(code, Isa::best(), &received, &[33])),
                    blocks,
                    "{code}, {shift}, {flip}"
                );
            }
        }
    }
}

// REQ: FEP-DIFF-102
#[test]
fn behind_a_viterbi_decoder_the_polarity_no_longer_matters_also_when_it_turns_in_mid_stream() {
    for (rate, code) in [(ConvRate::R1_2, LineCode::NrzM), (ConvRate::R3_4, LineCode::NrzS)] {
        let mut noise = Noise(2);
        let (octets, blocks) = frames(12, &mut noise);
        let levels = encoded(code, Isa::best(), &octets, &[1000]);
        let spec = ConvSpec::ccsds(rate);
        let mut symbols = Vec::new();
        let mut encoder = ConvEncoder::new(&spec).expect("a valid specification");
        encoder.push_soft(&levels, 30, &mut symbols);
        encoder.finish_soft(30, &mut symbols);
        // In the middle of a frame the carrier slips by half a turn.
        let turn = spec.first_symbol(8 * (40 + 6 * (BLOCK_LEN + 4) as u64 + 100)) as usize;
        symbols[turn..].iter_mut().for_each(|symbol| *symbol = -*symbol);
        let mut receiver = ConvReceiver::new(&spec).expect("a valid specification");
        let (mut decoder, mut received) = (DifferentialDecoder::new(code), Vec::new());
        let mut bits = Vec::new();
        for piece in symbols.chunks(777) {
            bits.clear();
            receiver.push(piece, &mut bits, &mut |_| {});
            decoder.push(&bits, &mut received);
        }
        bits.clear();
        receiver.finish(&mut bits);
        decoder.push(&bits, &mut received);
        // The frame in which the polarity turns is damaged, no other.
        let found = found(&received);
        let right = blocks.iter().filter(|block| found.contains(block)).count();
        assert_eq!((found.len(), right), (12, 11), "rate {rate}, {code}");
        assert!(!found.contains(&blocks[6]));
    }
}
