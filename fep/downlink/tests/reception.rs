//! Times of blocks, ends of connections, line codes and the pool of decoders, on streams of every kind.

mod lab;
mod pool;
mod record;

use fep_coding::differential::{DifferentialEncoder, LineCode};
use fep_coding::soft::SoftFormat;
use fep_coding::{SyncSpec, SyncState};
use fep_downlink::{Chain, ChainEvent, ChainOptions, Framing, Quality, Reception};
use fep_mission::ChannelConfig;
use fep_record::{BadReason, FrameFlags};
use fep_sim::{Encoder, SymbolSpec};
use fep_time::{Monotonic, Tai};
use lab::{EIGHT, channel, link, options, spacecraft};
use pool::Pool;
use proptest::prelude::*;
use record::Recorder;

/// Octets of the pieces that a stream is cut into: piece k is received at k.
const PIECE: usize = 100;

fn cso() -> ChannelConfig {
    fep_mission::load("cso").unwrap_or_else(|errors| panic!("{errors}")).channels["cso-2-payload"].clone()
}

/// Frames of the channel, and their channel access data units.
fn cadus(channel: &ChannelConfig, count: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut spacecraft = spacecraft(channel);
    let mut encoder =
        Encoder::new(channel.sync.marker, &channel.code, channel.randomizer).expect("an encoder");
    let (mut frames, mut stream) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut frame = Vec::new();
        spacecraft.next_frame(&mut frame);
        encoder.encode(&frame, &mut stream);
        frames.push(frame);
    }
    (frames, stream)
}

fn feed(chain: &mut Chain, octets: &[u8], from: i64, recorder: &mut Recorder) {
    for (time, piece) in (from..).zip(octets.chunks(PIECE)) {
        chain.receive(&Reception::new(piece, Tai(time)), Monotonic(time), recorder);
    }
}

fn good(recorder: &Recorder) -> Vec<&[u8]> {
    let good = recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::None);
    good.map(|frame| &frame.octets[..]).collect()
}

fn lock_lost(recorder: &Recorder) -> usize {
    recorder.events.iter().filter(|event| matches!(event, ChainEvent::LockLost { .. })).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // REQ: FEP-CHN-121
    #[test]
    fn a_frame_of_a_bit_stream_has_the_time_of_the_piece_with_its_markers_first_bit(
        shift in 0_usize..8, lead in 0_usize..700, inverted in any::<bool>(),
    ) {
        let channel = cso();
        let (frames, stream) = cadus(&channel, 8);
        // `lead` octets and `shift` bits of nothing in front.
        let mut octets = vec![0x33; lead];
        let mut carry = 0x33_u16;
        for octet in stream.iter().chain(&[0; 2]) {
            carry = carry << 8 | u16::from(*octet);
            octets.push((carry >> shift) as u8 ^ if inverted { 0xFF } else { 0 });
        }
        let mut chain = Chain::new(&channel).expect("a chain");
        let mut recorder = Recorder::default();
        feed(&mut chain, &octets, 0, &mut recorder);
        chain.disconnected(&mut recorder);
        prop_assert!(good(&recorder) == frames.iter().map(|frame| &frame[..]).collect::<Vec<_>>());
        let cadu = stream.len() / frames.len();
        for (index, frame) in recorder.frames.iter().enumerate() {
            let first_bit = 8 * lead + shift + 8 * cadu * index;
            prop_assert_eq!(frame.received, Tai((first_bit / 8 / PIECE) as i64), "frame {}", index);
        }
    }
}

// REQ: FEP-CHN-121
#[test]
fn frames_behind_every_decoder_of_symbols_have_the_time_of_the_symbols_that_they_begin_with() {
    for name in ["convolutional", "concatenated", "turbo-1-2", "ldpc-1-2", "ldpc-c2"] {
        let channel = channel(name);
        let count = 12;
        let (sent, octets) = link(&channel, SymbolSpec::clear(EIGHT), count, 4);
        let mut chain = Chain::with_options(&channel, options(EIGHT)).expect("a chain");
        let mut recorder = Recorder::default();
        feed(&mut chain, &octets, 0, &mut recorder);
        chain.disconnected(&mut recorder);
        let marker = channel.soft_sync.as_ref().map_or(channel.sync.marker.bits(), |sync| sync.marker.bits());
        let period = marker as usize + channel.code.block_symbols();
        let mut timed = 0;
        for frame in recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::None) {
            let index = sent.iter().position(|sent| *sent == frame.octets).expect("a frame that was sent");
            // Marker and block follow one another; behind a convolutional encoder they are bits of it.
            let first = period * index;
            let conv = channel.code.convolutional();
            let first_symbol = conv.map_or(first, |spec| spec.first_symbol(first as u64) as usize);
            // On turned axes a bit may be counted from the other symbol of its pair.
            let times = [first_symbol.saturating_sub(1), first_symbol, first_symbol + 1];
            let times = times.map(|symbol| Tai((symbol / PIECE) as i64));
            assert!(
                times.contains(&frame.received),
                "{name}, frame {index}: {:?} of {times:?}",
                frame.received
            );
            timed += 1;
        }
        assert!(timed >= count - 2, "{name}: {timed} of {count} frames");
    }
}

/// Everything up to the end of the last frame but `tail` octets, then the end of the connection: the frames that were
/// received wholly are out, with their own times, and the synchroniser searches.
fn cut(channel: &ChannelConfig, options: ChainOptions, octets: &[u8], sent: &[Vec<u8>], least: usize) {
    let mut chain = Chain::with_options(channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    feed(&mut chain, octets, 0, &mut recorder);
    let before = recorder.frames.len();
    chain.disconnected(&mut recorder);
    let name = &channel.name;
    let out = good(&recorder);
    assert!(out.len() >= least, "{name}: {} of {} frames, {before} before the end", out.len(), sent.len());
    assert!(sent.iter().any(|frame| frame[..] == out[out.len() - 1][..]), "{name}");
    let last = Tai((octets.len() / PIECE) as i64);
    assert!(recorder.frames.iter().all(|frame| frame.received <= last), "{name}: nothing is stamped later");
    assert!(lock_lost(&recorder) >= 1, "{name}: the loss of lock is reported");
    assert_eq!(chain.sync_state(), Some(SyncState::Search), "{name}");
    assert!(!chain.is_waiting(), "{name}");
    assert!(chain.ledger().is_balanced(), "{name}: {}", chain.ledger());
    // The same pass again on a new connection, a day later: nothing of the old one is in it.
    let (frames, day) = (recorder.frames.len(), 86_400_000_000_000);
    feed(&mut chain, octets, day, &mut recorder);
    chain.disconnected(&mut recorder);
    assert!(recorder.frames[frames..].iter().all(|frame| frame.received >= Tai(day)), "{name}");
}

// REQ: FEP-CHN-122
#[test]
fn the_end_of_a_connection_in_the_middle_of_a_frame_hands_on_what_was_received_with_its_own_times() {
    for name in ["convolutional", "concatenated"] {
        let channel = channel(name);
        let (sent, octets) = link(&channel, SymbolSpec::clear(EIGHT), 10, 4);
        // In the middle of the eighth frame: seven are whole.
        let bits = 7 * (32 + 8 * channel.block_len()) + 4 * channel.block_len();
        let symbols = channel.code.convolutional().expect("an inner code").first_symbol(bits as u64);
        cut(&channel, options(EIGHT), &octets[..symbols as usize], &sent, 6);
    }
    let channel = cso();
    let (sent, stream) = cadus(&channel, 10);
    let period = stream.len() / 10;
    cut(&channel, ChainOptions::default(), &stream[..7 * period + 500], &sent, 7);
    // A synchroniser in check, whose markers are not proved yet.
    cut_in_check(&channel, &stream[..2 * period + 10], 2);
    // In flywheel: the last markers are missing.
    let mut broken = stream[..8 * period].to_vec();
    broken[7 * period..7 * period + 4].fill(0);
    let flywheel = ChannelConfig { sync: SyncSpec { flywheel_blocks: 4, ..channel.sync.clone() }, ..channel };
    cut(&flywheel, ChainOptions::default(), &broken, &sent, 7);
}

fn cut_in_check(channel: &ChannelConfig, stream: &[u8], frames: usize) {
    let mut slow = channel.clone();
    slow.sync.check_markers = 8;
    let mut chain = Chain::new(&slow).expect("a chain");
    let mut recorder = Recorder::default();
    feed(&mut chain, stream, 0, &mut recorder);
    chain.disconnected(&mut recorder);
    assert_eq!(good(&recorder).len(), frames, "{:?}", recorder.events);
    assert_eq!(chain.sync_state(), Some(SyncState::Search));
}

// REQ: FEP-CHN-123
#[test]
fn a_pool_changes_nothing_of_codes_of_octets_either() {
    let channel = cso();
    let (_, mut stream) = cadus(&channel, 300);
    // Errors of all sizes: corrected, uncorrectable.
    for (index, octet) in stream.iter_mut().enumerate() {
        if index % 97 == 0 || (200_000..202_000).contains(&index) {
            *octet ^= 0x5A;
        }
    }
    let run = |pool: Option<usize>, wait_us| {
        let mut options = ChainOptions::default();
        options.decoding.wait_us = wait_us;
        let pool = pool.map(|count| Box::new(Pool::new(count, &[])) as _);
        let mut chain = Chain::with_pool(&channel, options, pool).expect("a chain");
        let mut recorder = Recorder::default();
        feed(&mut chain, &stream, 0, &mut recorder);
        chain.disconnected(&mut recorder);
        (recorder.frames, recorder.packets, *chain.ledger())
    };
    let alone = run(None, 0);
    assert!(alone.2.counts.uncorrectable > 0 && alone.2.counts.corrected > 0, "{}", alone.2);
    for (count, wait_us) in [(1, 0), (3, 0), (1, 1_000_000), (4, 1_000_000)] {
        assert!(run(Some(count), wait_us) == alone, "{count} jobs, {wait_us} us");
    }
}

// REQ: FEP-CHN-123
#[test]
fn a_job_that_fails_costs_its_own_blocks_which_are_published_as_uncorrectable() {
    for (channel, options, octets) in [
        (cso(), ChainOptions::default(), cadus(&cso(), 40).1),
        (channel("ldpc-c2"), options(EIGHT), link(&channel("ldpc-c2"), SymbolSpec::clear(EIGHT), 10, 4).1),
    ] {
        let pool = Box::new(Pool::new(2, &[1]));
        let mut chain = Chain::with_pool(&channel, options, Some(pool)).expect("a chain");
        let mut recorder = Recorder::default();
        for (time, piece) in octets.chunks(20_000).enumerate() {
            chain.receive(&Reception::new(piece, Tai(time as i64)), Monotonic(time as i64), &mut recorder);
        }
        assert!(chain.pool_failed());
        chain.disconnected(&mut recorder);
        let counts = chain.ledger().counts;
        assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
        assert!(counts.uncorrectable > 0 && counts.good > 0, "{}: {}", channel.name, chain.ledger());
        let bad = recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::Uncorrectable);
        assert_eq!(bad.count() as u64, counts.uncorrectable);
        assert_eq!(counts.lost, counts.uncorrectable, "{}: they are missing in the counts", channel.name);
    }
}

// REQ: FEP-CHN-124
#[test]
fn differentially_coded_bits_are_decoded_whatever_their_polarity_hard_soft_and_behind_viterbi() {
    for line_code in [LineCode::NrzM, LineCode::NrzS] {
        let channel = ChannelConfig { line_code, ..cso() };
        let (frames, stream) = cadus(&channel, 6);
        let mut levels = Vec::new();
        DifferentialEncoder::new(line_code).push(&stream, &mut levels);
        let expected: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
        for turned in [0, 0xFF] {
            let octets: Vec<u8> = levels.iter().map(|octet| octet ^ turned).collect();
            let soft = ChainOptions { symbols: Some(SoftFormat::HARD), ..ChainOptions::default() };
            for options in [ChainOptions::default(), soft] {
                let mut chain = Chain::with_options(&channel, options).expect("a chain");
                let mut recorder = Recorder::default();
                feed(&mut chain, &octets, 0, &mut recorder);
                chain.disconnected(&mut recorder);
                assert!(good(&recorder) == expected, "{line_code:?}, turned {turned}: {}", chain.ledger());
                let inverted =
                    recorder.frames.iter().filter(|f| f.record.flags.contains(FrameFlags::INVERTED));
                assert_eq!(inverted.count(), 0, "the line code leaves no polarity to resolve");
            }
        }
        // Behind Viterbi: the convolutional encoder takes levels.
        let channel = ChannelConfig { line_code, ..lab::channel("concatenated") };
        let plain = ChannelConfig { line_code: LineCode::NrzL, ..channel.clone() };
        let (frames, stream) = cadus(&plain, 8);
        let mut levels = Vec::new();
        DifferentialEncoder::new(line_code).push(&stream, &mut levels);
        let spec = channel.code.convolutional().expect("an inner code");
        let mut symbols = Vec::new();
        let mut encoder = fep_coding::conv::ConvEncoder::new(spec).expect("an encoder");
        encoder.push(&levels, &mut symbols);
        encoder.finish(&mut symbols);
        let mut chain = Chain::with_options(
            &channel,
            ChainOptions { symbols: Some(SoftFormat::HARD), ..ChainOptions::default() },
        )
        .expect("a chain");
        let mut recorder = Recorder::default();
        feed(&mut chain, &symbols, 0, &mut recorder);
        chain.disconnected(&mut recorder);
        let good = good(&recorder);
        assert!(good.len() >= frames.len() - 1, "{line_code:?}: {} of {}", good.len(), frames.len());
        assert!(good.iter().all(|frame| frames.iter().any(|sent| sent[..] == **frame)));
    }
}

#[test]
fn a_unit_that_its_station_calls_erred_is_bad_unless_something_verifies_it() {
    let mut channel = cso();
    let (frames, stream) = cadus(&channel, 2);
    let coded = &stream[4..stream.len() / 2];
    let receive = |channel: &ChannelConfig, octets: &[u8]| {
        let options = ChainOptions { framing: Framing::DatagramFrame, ..ChainOptions::default() };
        let mut chain = Chain::with_options(channel, options).expect("a chain");
        let mut recorder = Recorder::default();
        let reception = Reception { quality: Quality::Erred, ..Reception::new(octets, Tai(1)) };
        chain.receive(&reception, Monotonic(1), &mut recorder);
        recorder.frames[0].record.reason
    };
    assert_eq!(receive(&channel, coded), BadReason::None, "the code says that it is good");
    // Decoded by the station, without a FECF: nothing but the station knows.
    channel.frame.fecf = fep_ccsds::Fecf::None;
    assert_eq!(receive(&channel, &frames[0]), BadReason::Uncorrectable);
}
