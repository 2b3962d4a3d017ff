//! The chain on frames made here: ledgers under damage, counters across a restart, datagrams, idle policy, bad headers.

mod made;
mod record;

use fep_downlink::{Chain, ChainEvent, ChainOptions, Framing, IdlePolicy, Reception};
use fep_mission::ChannelConfig;
use fep_record::{BadReason, FrameFlags};
use fep_time::{Monotonic, Tai};
use made::{aos_frame, cadus, tm_frame};
use proptest::prelude::*;
use record::Recorder;

const MARKER_LEN: usize = 4;

fn channel(name: &str) -> ChannelConfig {
    fep_mission::load("cso").unwrap_or_else(|errors| panic!("{errors}")).channels[name].clone()
}

fn decode(channel: &ChannelConfig, options: ChainOptions, stream: &[u8]) -> (Chain, Recorder) {
    let mut chain = Chain::with_options(channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(stream, Tai(5)), Monotonic(5), &mut recorder);
    chain.disconnected(&mut recorder);
    assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
    (chain, recorder)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // REQ: FEP-CHN-004
    #[test]
    fn under_any_damage_the_ledger_balances_and_no_wrong_frame_is_called_good(
        damage in prop::collection::vec((0usize..30 * 1279, 1u8..=255), 0..900),
        cut in 1usize..5000,
    ) {
        let channel = channel("cso-2-payload");
        let sent: Vec<Vec<u8>> = (0..30).map(|count| aos_frame(&channel, 162, 40, count)).collect();
        let mut stream = cadus(&channel, &sent);
        for (at, flip) in damage {
            stream[at] ^= flip;
        }
        let mut chain = Chain::new(&channel).expect("a chain");
        let mut recorder = Recorder::default();
        for piece in stream.chunks(cut) {
            chain.receive(&Reception::new(piece, Tai(5)), Monotonic(5), &mut recorder);
            prop_assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
        }
        chain.disconnected(&mut recorder);
        let ledger = *chain.ledger();
        prop_assert!(ledger.is_balanced(), "{}", ledger);
        prop_assert_eq!(recorder.frames.len() as u64, ledger.counts.received);
        let good = recorder.frames.iter().filter(|frame| frame.record.reason == BadReason::None);
        let mut last = None;
        for frame in good {
            let count = frame.record.frame_count as usize;
            prop_assert_eq!(&frame.octets, &sent[count], "every octet of a good frame is the one that was sent");
            let lost = last.map_or(0, |last: usize| count - last - 1);
            prop_assert_eq!(frame.lost as usize, lost, "what is missing is counted");
            last = Some(count);
        }
    }

    // REQ: FEP-CHN-122
    #[test]
    fn lock_is_acquired_and_lost_by_turns_whatever_comes_and_a_reset_in_lock_loses_it(
        damage in prop::collection::vec((0usize..30, 1u8..=255), 0..30),
        cut in 1usize..9000,
        reset_after in 0usize..20,
    ) {
        let channel = channel("cso-2-payload");
        let sent: Vec<Vec<u8>> = (0..30).map(|count| aos_frame(&channel, 162, 40, count)).collect();
        let mut stream = cadus(&channel, &sent);
        for (cadu, flip) in damage {
            stream[1279 * cadu..][..MARKER_LEN].iter_mut().for_each(|octet| *octet ^= flip);
        }
        let mut chain = Chain::new(&channel).expect("a chain");
        let mut recorder = Recorder::default();
        for (number, piece) in stream.chunks(cut).enumerate() {
            if number == reset_after {
                chain.reset(&mut recorder);
                prop_assert_eq!(locks(&recorder).last().copied().unwrap_or(false), false, "lost by the reset");
            }
            chain.receive(&Reception::new(piece, Tai(5)), Monotonic(5), &mut recorder);
        }
        chain.disconnected(&mut recorder);
        let (mut acquired, mut lost) = (0, 0);
        for event in &recorder.events {
            match event {
                ChainEvent::LockAcquired { times } => acquired += times,
                ChainEvent::LockLost { times } => lost += times,
                _ => {}
            }
        }
        let counters = chain.sync_counters().expect("a stream has a synchroniser");
        prop_assert_eq!((acquired, lost), (counters.lock_acquired, counters.lock_lost), "events and counters agree");
        prop_assert_eq!(acquired, lost, "there is no lock behind the end");
        let locks = locks(&recorder);
        prop_assert!(locks.iter().enumerate().all(|(turn, acquired)| *acquired == turn.is_multiple_of(2)), "{:?}", locks);
        prop_assert!(locks.len().is_multiple_of(2), "what was acquired is lost at the end: {:?}", locks);
    }
}

/// Every change of lock that was reported; `true` for acquired.
fn locks(recorder: &Recorder) -> Vec<bool> {
    let change = |event: &ChainEvent| match event {
        ChainEvent::LockAcquired { .. } => Some(true),
        ChainEvent::LockLost { .. } => Some(false),
        _ => None,
    };
    recorder.events.iter().filter_map(change).collect()
}

// REQ: FEP-CHN-005
#[test]
fn frames_of_another_spacecraft_or_an_unknown_virtual_channel_are_published_with_the_reason() {
    let channel = channel("cso-2-payload");
    let frames = [
        aos_frame(&channel, 162, 40, 1),
        aos_frame(&channel, 77, 40, 2),
        aos_frame(&channel, 162, 12, 3),
        aos_frame(&channel, 162, 40, 2),
    ];
    let (chain, recorder) = decode(&channel, ChainOptions::default(), &cadus(&channel, &frames));
    let reasons: Vec<BadReason> = recorder.frames.iter().map(|frame| frame.record.reason).collect();
    assert_eq!(
        reasons,
        [BadReason::None, BadReason::UnknownSpacecraft, BadReason::UnknownVc, BadReason::None]
    );
    assert_eq!(recorder.frames[1].octets, frames[1]);
    assert_eq!(recorder.frames[1].record.gvcid.scid, 77);
    assert_eq!(chain.ledger().counts.good, 4, "their octets are good");
    assert_eq!(chain.ledger().accepted(), 2);
    assert_eq!(chain.ledger().counts.gaps, 0, "they do not disturb the counters");
}

// REQ: FEP-CHN-005
#[test]
fn a_frame_whose_fecf_fails_is_not_vouched_for_and_its_header_is_not_believed() {
    let channel = channel("cso-1");
    let mut frames: Vec<Vec<u8>> = (0..4).map(|count| tm_frame(&channel, 0, count, count)).collect();
    // Damaged before it was encoded: the code has nothing to say against it.
    frames[2][500] ^= 1;
    let (chain, recorder) = decode(&channel, ChainOptions::default(), &cadus(&channel, &frames));
    assert_eq!(recorder.frames[2].record.reason, BadReason::FecfFailed);
    assert_eq!(recorder.frames[2].record.gvcid, fep_ccsds::Gvcid::default());
    assert!(recorder.frames[2].record.flags.contains(FrameFlags::FECF_FAILED));
    assert!(!recorder.frames[2].record.flags.contains(FrameFlags::CODED));
    assert_eq!(chain.ledger().counts.uncorrectable, 1);
    assert_eq!(recorder.frames[3].lost, 1, "it counts as lost on its virtual channel");
}

// REQ: FEP-CHN-006
#[test]
fn idle_frames_are_counted_and_by_configuration_dropped() {
    let channel = channel("cso-2-payload");
    let frames =
        [aos_frame(&channel, 162, 40, 1), aos_frame(&channel, 162, 63, 9), aos_frame(&channel, 162, 40, 2)];
    let stream = cadus(&channel, &frames);
    let (published, recorder) = decode(&channel, ChainOptions::default(), &stream);
    assert_eq!((published.ledger().counts.idle, recorder.frames.len()), (1, 3));
    assert!(recorder.frames[1].record.flags.contains(FrameFlags::IDLE));
    let options = ChainOptions { idle: IdlePolicy::Drop, ..ChainOptions::default() };
    let (dropped, recorder) = decode(&channel, options, &stream);
    let counts = dropped.ledger().counts;
    assert_eq!((counts.idle, counts.dropped_idle, counts.published, recorder.frames.len()), (1, 1, 2, 2));
}

// REQ: FEP-CHN-007
#[test]
fn what_was_lost_during_a_restart_is_a_gap_of_the_first_frame_of_each_channel() {
    let channel = channel("cso-2-payload");
    let before: Vec<Vec<u8>> = [(40, 0xFF_FFF0), (41, 7), (40, 0xFF_FFF1)]
        .map(|(vc, count)| aos_frame(&channel, 162, vc, count))
        .to_vec();
    let (chain, _) = decode(&channel, ChainOptions::default(), &cadus(&channel, &before));
    let point = chain.resume_point();
    drop(chain);
    let after: Vec<Vec<u8>> =
        [(40, 5), (40, 6), (41, 8)].map(|(vc, count)| aos_frame(&channel, 162, vc, count)).to_vec();
    let mut chain = Chain::new(&channel).expect("a chain");
    chain.resume(&point);
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(&cadus(&channel, &after), Tai(1)), Monotonic(1), &mut recorder);
    chain.disconnected(&mut recorder);
    let lost: Vec<u64> = recorder.frames.iter().map(|frame| frame.lost).collect();
    assert_eq!(
        lost,
        [0xF - 1 + 5, 0, 0],
        "14 up to the wrap of 24 bits and 5 after it; channel 41 lost none"
    );
}

// REQ: FEP-CHN-007
#[test]
fn after_a_restart_the_master_channel_counter_of_tm_settles_what_eight_bits_leave_open() {
    let channel = channel("cso-1");
    let before: Vec<Vec<u8>> = (0..10).map(|count| tm_frame(&channel, 0, count, count)).collect();
    let (chain, _) = decode(&channel, ChainOptions::default(), &cadus(&channel, &before));
    let point = chain.resume_point();
    let mut chain = Chain::new(&channel).expect("a chain");
    chain.resume(&point);
    let mut recorder = Recorder::default();
    // Three frames of channel 0 and two of channel 1 were lost.
    let after = cadus(&channel, &[tm_frame(&channel, 0, 15, 13), tm_frame(&channel, 0, 16, 14)]);
    chain.receive(&Reception::new(&after, Tai(1)), Monotonic(1), &mut recorder);
    chain.disconnected(&mut recorder);
    assert_eq!(recorder.frames.iter().map(|frame| frame.lost).collect::<Vec<_>>(), [3, 0]);
    assert!(recorder.events.iter().any(|event| matches!(event, ChainEvent::Gap { lost: 3, .. })));
}

// REQ: FEP-CHN-008
#[test]
fn a_new_connection_resets_the_synchroniser_and_keeps_the_counters() {
    let channel = channel("cso-2-payload");
    let stream =
        cadus(&channel, &(0..6).map(|count| aos_frame(&channel, 162, 40, count)).collect::<Vec<_>>());
    let mut chain = Chain::new(&channel).expect("a chain");
    let mut recorder = Recorder::default();
    // The connection breaks within the fourth CADU; the next begins within the sixth of a stream that went on.
    chain.receive(&Reception::new(&stream[..3 * 1279 + 700], Tai(1)), Monotonic(1), &mut recorder);
    chain.disconnected(&mut recorder);
    let later = cadus(&channel, &(5..9).map(|count| aos_frame(&channel, 162, 40, count)).collect::<Vec<_>>());
    chain.receive(&Reception::new(&later[600..], Tai(3)), Monotonic(3), &mut recorder);
    chain.disconnected(&mut recorder);
    let counts: Vec<(u32, u64)> = recorder.frames.iter().map(|f| (f.record.frame_count, f.lost)).collect();
    assert_eq!(counts, [(0, 0), (1, 0), (2, 0), (6, 3), (7, 0), (8, 0)]);
    assert!(chain.ledger().is_balanced());
}

// REQ: FEP-CHN-009
#[test]
fn datagrams_with_a_marker_are_checked_for_length_and_polarity() {
    let channel = channel("cso-2-payload");
    let frames: Vec<Vec<u8>> = (0..4).map(|count| aos_frame(&channel, 162, 40, count)).collect();
    let mut datagrams: Vec<Vec<u8>> = cadus(&channel, &frames).chunks(1279).map(<[u8]>::to_vec).collect();
    datagrams[1][0] ^= 0x10;
    datagrams[2].iter_mut().for_each(|octet| *octet = !*octet);
    datagrams[3].pop();
    let options = ChainOptions { framing: Framing::DatagramCadu, ..ChainOptions::default() };
    let mut chain = Chain::with_options(&channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    for datagram in &datagrams {
        chain.receive(&Reception::new(datagram, Tai(1)), Monotonic(1), &mut recorder);
    }
    let records: Vec<_> = recorder.frames.iter().map(|frame| frame.record).collect();
    assert_eq!(records[0].reason, BadReason::None);
    assert_eq!((records[1].reason, records[1].marker_bit_errors), (BadReason::None, 1));
    assert!(records[2].reason == BadReason::None && records[2].flags.contains(FrameFlags::INVERTED));
    assert_eq!(records[3].reason, BadReason::LengthInvalid);
    assert_eq!(recorder.frames[2].octets, frames[2]);
    assert_eq!(recorder.frames[3].octets.len(), MARKER_LEN + 1275 - 1, "as it came");
    assert!(chain.ledger().is_balanced());
}

// REQ: FEP-CHN-009
#[test]
fn datagrams_without_a_marker_are_taken_coded_or_decoded_by_their_length() {
    let channel = channel("cso-2-payload");
    let frames: Vec<Vec<u8>> = (0..3).map(|count| aos_frame(&channel, 162, 40, count)).collect();
    let coded = cadus(&channel, &frames[..1]);
    let options = ChainOptions { framing: Framing::DatagramFrame, ..ChainOptions::default() };
    let mut chain = Chain::with_options(&channel, options).expect("a chain");
    let mut recorder = Recorder::default();
    chain.receive(&Reception::new(&coded[MARKER_LEN..], Tai(1)), Monotonic(1), &mut recorder);
    chain.receive(&Reception::new(&frames[1], Tai(1)), Monotonic(1), &mut recorder);
    chain.receive(&Reception::new(&frames[2][..700], Tai(1)), Monotonic(1), &mut recorder);
    let records: Vec<_> =
        recorder.frames.iter().map(|frame| (frame.record.reason, frame.record.flags)).collect();
    assert_eq!(records[0], (BadReason::None, FrameFlags::CODED));
    assert_eq!(records[1], (BadReason::None, FrameFlags::empty()), "nobody here vouches for it");
    assert_eq!(records[2].0, BadReason::LengthInvalid);
    assert_eq!(recorder.frames[1].octets, frames[1]);
}
