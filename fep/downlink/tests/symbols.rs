//! The chain on links of soft symbols: every code of the built-in mission `lab`, in every format, above its threshold and
//! below it, decoded on one core and on several.

mod lab;
mod pool;
mod record;

use fep_ccsds::Fecf;
use fep_coding::soft::{FirstSymbol, PositiveMeans, SoftFormat, SymbolBits, SymbolCoding, WordOctets};
use fep_coding::spec::ChannelEncoder;
use fep_downlink::{Chain, ChainEvent, ChainOptions, DecodePool, Decoding, Reception};
use fep_mission::ChannelConfig;
use fep_record::{BadReason, FrameFlags};
use fep_sim::{Modulation, SymbolChannel, SymbolSpec};
use fep_time::{Monotonic, Tai};
use lab::{EIGHT, channel, link, options, spec};
use pool::Pool;
use record::Recorder;

/// An Eb/N0 in dB at which a channel of `lab` loses nothing, and one at which it loses much.
const LEVELS: [(&str, f64, f64); 9] = [
    ("convolutional", 8.0, 4.5),
    ("concatenated", 4.0, 2.0),
    ("turbo-1-2", 2.2, 0.5),
    ("turbo-1-3", 2.0, 0.0),
    ("turbo-1-4", 1.8, -0.3),
    ("turbo-1-6", 1.8, -0.5),
    ("ldpc-1-2", 4.0, 0.8),
    ("ldpc-c2", 5.2, 3.4),
    ("ldpc-stream", 4.6, 2.5),
];

fn decode(channel: &ChannelConfig, options: ChainOptions, octets: &[u8], piece: usize) -> (Chain, Recorder) {
    let pool: Option<Box<dyn DecodePool>> = match options.decoding.threads {
        0 => None,
        count => Some(Box::new(Pool::new(count, &[]))),
    };
    let mut chain = Chain::with_pool(channel, options, pool).expect("a chain");
    let mut recorder = Recorder::default();
    for (time, piece) in octets.chunks(piece).enumerate() {
        chain.receive(&Reception::new(piece, Tai(time as i64)), Monotonic(time as i64), &mut recorder);
    }
    chain.disconnected(&mut recorder);
    assert!(chain.ledger().is_balanced(), "{}: {}", channel.name, chain.ledger());
    assert!(!chain.is_waiting(), "{}", channel.name);
    (chain, recorder)
}

fn good(recorder: &Recorder) -> Vec<&[u8]> {
    let good = recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::None);
    good.map(|frame| &frame.octets[..]).collect()
}

// REQ: FEP-SYM-001
#[test]
fn above_its_threshold_every_frame_of_every_code_arrives_and_is_said_to_be_corrected() {
    for (name, eb_n0_db, _) in LEVELS {
        let channel = channel(name);
        let (sent, octets) = link(&channel, spec(EIGHT, eb_n0_db), 24, 11);
        let (chain, recorder) = decode(&channel, options(EIGHT), &octets, 10_000);
        // Where the first marker is passed over in noise, its frame is; a convolutional decoder first finds its phase.
        let good = good(&recorder);
        assert!(good.len() >= 22, "{name}: {} of 24 frames, {}", good.len(), chain.ledger());
        assert!(sent.ends_with(&good.iter().map(|frame| frame.to_vec()).collect::<Vec<_>>()), "{name}");
        assert_eq!(chain.ledger().counts.lost, 0, "{name}: {}", chain.ledger());
        if channel.code.convolutional().is_none() {
            assert!(chain.ledger().counts.symbols_corrected > 0, "{name}: {}", chain.ledger());
        }
    }
}

// REQ: FEP-CODING-101
#[test]
fn records_of_frames_that_nothing_checks_say_so() {
    for (name, eb_n0_db, _) in LEVELS {
        let mut channel = channel(name);
        for fecf in [Fecf::Crc16, Fecf::None] {
            channel.frame.fecf = fecf;
            let (_, octets) = link(&channel, spec(EIGHT, eb_n0_db), 12, 11);
            let (_, recorder) = decode(&channel, options(EIGHT), &octets, 10_000);
            let good = recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::None);
            let coded: Vec<bool> = good.map(|frame| frame.record.flags.contains(FrameFlags::CODED)).collect();
            let expected = fecf == Fecf::Crc16 || channel.code.detects_errors();
            assert!(
                coded.len() >= 10 && coded.iter().all(|coded| *coded == expected),
                "{name}, {fecf:?}: {coded:?}"
            );
        }
    }
}

// REQ: FEP-SYM-002
#[test]
fn below_it_every_frame_is_good_or_bad_with_the_reason_or_counted_as_lost() {
    for (name, _, eb_n0_db) in LEVELS {
        let channel = channel(name);
        let (sent, octets) = link(&channel, spec(EIGHT, eb_n0_db), 60, 3);
        let (chain, recorder) = decode(&channel, options(EIGHT), &octets, 10_000);
        let counts = chain.ledger().counts;
        let good = good(&recorder);
        let places: Vec<usize> = good
            .iter()
            .map(|frame| {
                sent.iter().position(|sent| sent == frame).expect("no frame is wrong and called good")
            })
            .collect();
        assert!(places.is_sorted(), "{name}");
        assert!(good.len() < sent.len(), "{name}: not below its threshold, {}", chain.ledger());
        assert_eq!(counts.received, counts.good + counts.corrected + counts.uncorrectable, "{name}");
        if let (Some(first), Some(last)) = (places.first(), places.last()) {
            // What counters say is missing between the first and the last good frame is missing.
            assert_eq!(
                good.len() as u64 + counts.lost,
                (last - first + 1) as u64,
                "{name}: {}",
                chain.ledger()
            );
        }
        let reasons = recorder.frames.iter().map(|frame| frame.record.reason);
        let expected =
            if channel.code.detects_errors() { BadReason::Uncorrectable } else { BadReason::FecfFailed };
        assert!(
            reasons.filter(|reason| *reason != BadReason::None).all(|reason| reason == expected),
            "{name}"
        );
    }
}

// REQ: FEP-SYM-003
#[test]
fn every_format_feeds_the_chain() {
    let channel = channel("ldpc-1-2");
    for (format, eb_n0_db) in [
        (SoftFormat { coding: SymbolCoding::OffsetBinary, positive: PositiveMeans::One, ..EIGHT }, 4.0),
        (SoftFormat { word_octets: WordOctets::Four, swap_iq: true, ..EIGHT }, 4.0),
        (SoftFormat { first: FirstSymbol::LeastSignificant, ..SoftFormat::new(SymbolBits::Four) }, 4.0),
        (SoftFormat { coding: SymbolCoding::SignMagnitude, ..SoftFormat::new(SymbolBits::Four) }, 4.0),
        (SoftFormat::HARD, 7.0),
    ] {
        let (sent, octets) = link(&channel, spec(format, eb_n0_db), 30, 5);
        let (chain, recorder) = decode(&channel, options(format), &octets, 333);
        assert!(good(&recorder).len() >= 28, "{format:?}: {}", chain.ledger());
        assert!(sent.ends_with(&good(&recorder).iter().map(|frame| frame.to_vec()).collect::<Vec<_>>()));
    }
    // Without a format, symbols are hard.
    let (_, octets) = link(&channel, spec(SoftFormat::HARD, 7.0), 30, 5);
    let (_, recorder) = decode(&channel, ChainOptions::default(), &octets, 333);
    assert!(good(&recorder).len() >= 28);
}

// REQ: FEP-SYM-003
#[test]
fn soft_symbols_of_a_code_of_bits_are_decided() {
    let mission = fep_mission::load("cso").unwrap_or_else(|errors| panic!("{errors}"));
    let channel = mission.channels["cso-2-payload"].clone();
    let header = fep_ccsds::AosHeader {
        scid: 162,
        vcid: 40,
        vc_count: 9,
        replay: false,
        vc_count_cycle_used: false,
        reserved: 0,
        vc_count_cycle: 0,
    };
    let mut zone = vec![7; channel.frame.frame_len - 6];
    zone[..2].copy_from_slice(&fep_ccsds::Fhp::None.to_11_bits().to_be_bytes());
    let mut frame = Vec::new();
    let parts = fep_ccsds::FrameParts::new(fep_ccsds::Header::Aos(header), &zone);
    parts.build(&channel.frame, &mut frame).expect("a frame");
    let mut encoder =
        ChannelEncoder::new(&channel.code, channel.sync.marker, channel.randomizer).expect("an encoder");
    let mut radio = SymbolChannel::new(spec(EIGHT, 8.0), channel.code.rate(), 1).expect("a channel");
    let (mut symbols, mut octets) = (vec![1; 13], Vec::new());
    for _ in 0..3 {
        encoder.encode(&frame, &mut symbols);
    }
    radio.push(&symbols, &mut octets);
    radio.finish(&mut octets);
    let (_, recorder) = decode(&channel, options(EIGHT), &octets, 1000);
    assert!(good(&recorder) == [&frame[..], &frame[..], &frame[..]], "{:?}", recorder.events);
}

// REQ: FEP-SYM-004
#[test]
fn slips_and_phase_flips_cost_no_more_than_the_frames_they_happen_in() {
    for (name, eb_n0_db, _) in LEVELS {
        let channel = channel(name);
        let faults = SymbolSpec {
            slip_probability: 0.03,
            slip_symbols: 4,
            phase_flip_probability: 0.03,
            burst_probability: 0.03,
            burst_symbols: 2000,
            ..spec(EIGHT, eb_n0_db + 1.0)
        };
        let count = 120;
        let (sent, octets) = link(&channel, faults, count, 8);
        let (chain, recorder) = decode(&channel, options(EIGHT), &octets, 10_000);
        let good = good(&recorder);
        assert!(good.iter().all(|frame| sent.iter().any(|sent| sent == frame)), "{name}");
        // About eleven faults, each of which can cost the frame it is in and the one behind it; of short frames, those
        // over which a convolutional decoder finds its phase again.
        assert!(good.len() >= count * 2 / 3, "{name}: {} of {count}, {}", good.len(), chain.ledger());
    }
}

// REQ: FEP-SYM-005
#[test]
fn decode_threads_and_batches_change_nothing_but_the_time() {
    for name in ["turbo-1-3", "ldpc-1-2", "ldpc-stream", "concatenated"] {
        let channel = channel(name);
        let below = LEVELS.iter().find(|(other, ..)| *other == name).expect("its level").2;
        let (_, octets) = link(&channel, spec(EIGHT, below + 0.5), 70, 21);
        // A convolutional decoder spreads what comes at once: pieces longer than its windows.
        let piece = if channel.code.convolutional().is_some() { 150_000 } else { 7000 };
        let (alone, expected) = decode(&channel, options(EIGHT), &octets, piece);
        for (threads, batch, wait_us) in [(1, 0, 0), (3, 0, 0), (3, 2, 0), (2, 5, 1), (0, 7, 1), (0, 1, 0)] {
            let decoding = Decoding { threads, batch, wait_us };
            let options = ChainOptions { decoding, ..options(EIGHT) };
            let (chain, recorder) = decode(&channel, options, &octets, piece);
            assert_eq!(chain.ledger(), alone.ledger(), "{name} {decoding:?}");
            let octets = |recorder: &Recorder| {
                recorder.frames.iter().map(|frame| frame.octets.clone()).collect::<Vec<_>>()
            };
            assert_eq!(octets(&recorder), octets(&expected), "{name} {decoding:?}");
        }
    }
}

// REQ: FEP-SYM-006
#[test]
fn a_block_waits_for_others_no_longer_than_configured() {
    let channel = channel("ldpc-1-2");
    let (_, octets) = link(&channel, SymbolSpec::clear(EIGHT), 6, 1);
    // 2112 symbols a period; the markers in front and behind are known after three of them.
    let decoding = Decoding { threads: 0, batch: 100, wait_us: 50 };
    let options = ChainOptions { decoding, ..options(EIGHT) };
    let mut chain = Chain::with_options(&channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(&octets[..3 * 2112], Tai(1_000_000)), Monotonic(1_000_000), &mut recorder);
    assert!(chain.is_waiting() && recorder.frames.is_empty());
    chain.idle(Monotonic(1_049_999), &mut recorder);
    assert!(recorder.frames.is_empty(), "it may wait 50 microseconds");
    chain.idle(Monotonic(1_050_000), &mut recorder);
    assert!(!chain.is_waiting() && recorder.frames.len() >= 2);

    let at_once = ChainOptions { decoding: Decoding { wait_us: 0, ..decoding }, ..options };
    let mut chain = Chain::with_options(&channel, at_once).expect("a chain");
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(&octets[..3 * 2112], Tai(1_000_000)), Monotonic(1_000_000), &mut recorder);
    assert!(!chain.is_waiting() && recorder.frames.len() >= 2, "without leave to wait nothing waits");
}

// REQ: FEP-SYM-004
#[test]
fn qpsk_with_any_turn_of_the_phase_is_received_where_the_code_can_tell() {
    // The convolutional receiver finds the turn itself; nothing else resolves a quarter.
    let text = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "lab").expect("lab").1;
    let text =
        text.replace(r#"{ rate = "1/2" }"#, r#"{ rate = "1/2", node_sync = { quadrature = "turns" } }"#);
    let mission =
        fep_mission::load_text("lab", "lab.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let channel = &mission.channels["concatenated"];
    let faults = SymbolSpec { modulation: Modulation::Qpsk, phase_flip_probability: 0.1, ..spec(EIGHT, 6.0) };
    let count = 80;
    let (sent, octets) = link(channel, faults, count, 5);
    let (chain, recorder) = decode(channel, options(EIGHT), &octets, 10_000);
    let good = good(&recorder);
    assert!(good.iter().all(|frame| sent.iter().any(|sent| sent == frame)));
    assert!(good.len() >= count / 2, "{} of {count}, {}", good.len(), chain.ledger());
    assert!(recorder.frames.iter().any(|frame| frame.record.flags.contains(FrameFlags::INVERTED)));
}

// REQ: FEP-SYM-007
#[test]
fn what_decoding_by_iteration_takes_is_counted_and_is_more_in_more_noise() {
    for (name, above, below) in LEVELS {
        let channel = channel(name);
        let counts = |eb_n0_db| {
            let (_, octets) = link(&channel, spec(EIGHT, eb_n0_db), 24, 11);
            let (chain, _) = decode(&channel, options(EIGHT), &octets, 10_000);
            chain.ledger().counts
        };
        let quiet = counts(above);
        if channel.code.convolutional().is_some() {
            assert_eq!((quiet.codewords, quiet.iterations), (0, 0), "{name}");
            continue;
        }
        if name != "ldpc-stream" {
            assert_eq!(quiet.codewords, quiet.received, "{name}: a frame is a codeword");
        }
        assert!(quiet.codewords > 0 && quiet.iterations >= quiet.codewords, "{name}: {quiet:?}");
        let noisy = counts(below);
        assert!(
            noisy.iterations * quiet.codewords > 2 * quiet.iterations * noisy.codewords,
            "{name}: {noisy:?} after {quiet:?}"
        );
    }
}

// REQ: FEP-SYM-008
#[test]
fn a_convolutional_phase_is_told_when_it_is_found_when_it_is_lost_and_when_the_connection_ends() {
    let channel = channel("concatenated");
    let faults = SymbolSpec {
        slip_probability: 0.2,
        slip_symbols: 1,
        ..SymbolSpec::clear(SoftFormat::new(SymbolBits::Eight))
    };
    let (_, octets) = link(&channel, faults, 60, 8);
    let mut chain = Chain::with_options(&channel, options(EIGHT)).expect("a chain");
    let mut recorder = Recorder::default();
    octets
        .chunks(1000)
        .for_each(|piece| chain.receive(&Reception::new(piece, Tai(1)), Monotonic(1), &mut recorder));
    let phases = |recorder: &Recorder| {
        let told = recorder.events.iter().filter_map(|event| match event {
            ChainEvent::PhaseFound { errors, .. } => Some((true, errors.compared)),
            ChainEvent::PhaseLost { errors } => Some((false, errors.compared)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let told = phases(&recorder);
    assert!(told.len() >= 7, "a slip of one symbol turns the phase of rate 1/2: {told:?}");
    assert!(told.iter().enumerate().all(|(i, (found, _))| *found == (i % 2 == 0)), "{told:?}");
    assert!(told.iter().all(|(_, compared)| *compared > 0), "{told:?}");

    // With a phase in hand the connection ends, and begins again.
    if told.len() % 2 == 0 {
        let (_, clear) = link(&channel, SymbolSpec::clear(EIGHT), 4, 1);
        chain.receive(&Reception::new(&clear, Tai(2)), Monotonic(2), &mut recorder);
    }
    let before = phases(&recorder).len();
    assert_eq!(before % 2, 1, "a phase in hand");
    chain.disconnected(&mut recorder);
    assert_eq!(phases(&recorder)[before..], [(false, 0)]);
    chain.disconnected(&mut recorder);
    assert_eq!(phases(&recorder).len(), before + 1, "what is not there is not lost");
}
