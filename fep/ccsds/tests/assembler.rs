//! The packet assembler on packets of known content cut into zones: with and without loss, and with wrong headers.

use fep_ccsds::packet::AssemblerCounters;
use fep_ccsds::{AssemblerSpec, Continuity, DiscardReason, Fhp, PacketAssembler, PacketEvent};
use proptest::prelude::*;

/// An event that owns its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Packet(Vec<u8>),
    Idle(usize),
    Discarded(usize, DiscardReason),
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    spanned: usize,
}

impl Log {
    fn push(&mut self, assembler: &mut PacketAssembler, pointer: Fhp, data: &[u8], continuity: Continuity) {
        assembler.push(pointer, data, continuity, &mut |event| match event {
            PacketEvent::Packet { bytes, spanned, .. } => {
                self.spanned += usize::from(spanned);
                // What is whole in the zone is a slice of it; what spans zones cannot be.
                assert_eq!(data.as_ptr_range().contains(&bytes.as_ptr()), !spanned);
                self.seen.push(Seen::Packet(bytes.to_vec()));
            }
            PacketEvent::Idle { len, .. } => self.seen.push(Seen::Idle(len)),
            PacketEvent::Discarded { bytes, reason } => self.seen.push(Seen::Discarded(bytes, reason)),
        });
        assert_balance(assembler.counters(), assembler.held());
    }

    fn packets(&self) -> Vec<&[u8]> {
        self.seen
            .iter()
            .filter_map(|seen| if let Seen::Packet(packet) = seen { Some(packet.as_slice()) } else { None })
            .collect()
    }
}

fn assert_balance(counters: &AssemblerCounters, held: usize) {
    let out = counters.packet_octets + counters.idle_octets + counters.discarded_total();
    assert_eq!(counters.octets_in, out + held as u64, "{counters:?}, {held} held");
}

fn packet(apid: u16, data_len: usize) -> Vec<u8> {
    let mut packet = vec![(apid >> 8) as u8 & 7, apid as u8, 0xC0, 0];
    packet.extend(((data_len - 1) as u16).to_be_bytes());
    packet.extend((0..data_len).map(|octet| octet as u8));
    packet
}

fn encapsulated(data_len: usize) -> Vec<u8> {
    let mut packet = vec![0xFC | 2, 0x12];
    packet.extend(((data_len + 4) as u16).to_be_bytes());
    packet.extend((0..data_len).map(|octet| octet as u8));
    packet
}

/// Cuts packets into zones of `zone_len` octets with their pointers; fills the end with one-octet idle packets.
fn zones(packets: &[Vec<u8>], zone_len: usize) -> Vec<(Fhp, Vec<u8>)> {
    let mut starts = Vec::new();
    let mut octets = Vec::new();
    for packet in packets {
        starts.push(octets.len());
        octets.extend_from_slice(packet);
    }
    while octets.len() % zone_len != 0 {
        starts.push(octets.len());
        octets.push(0xE0);
    }
    octets
        .chunks(zone_len)
        .enumerate()
        .map(|(index, zone)| {
            let first = starts.iter().find(|start| **start >= index * zone_len);
            let pointer = match first.map(|start| start - index * zone_len) {
                Some(offset) if offset < zone_len => Fhp::At(offset as u16),
                _ => Fhp::None,
            };
            (pointer, zone.to_vec())
        })
        .collect()
}

// REQ: FEP-PKT-005
#[test]
fn the_longest_packet_comes_out_whole_and_a_longer_limit_is_kept() {
    let longest = packet(100, 65536);
    let mut assembler = PacketAssembler::default();
    let mut log = Log::default();
    for (pointer, zone) in zones(&[longest.clone(), packet(1, 3)], 884) {
        log.push(&mut assembler, pointer, &zone, Continuity::Next);
    }
    assert_eq!(log.packets(), [&longest[..], &packet(1, 3)[..]]);

    let mut limited = PacketAssembler::new(AssemblerSpec { max_packet_len: 65541 });
    let mut log = Log::default();
    for (pointer, zone) in zones(&[longest, packet(1, 3)], 884) {
        log.push(&mut limited, pointer, &zone, Continuity::Next);
    }
    assert_eq!(log.packets(), [&packet(1, 3)[..]], "it finds its way back by the next pointer");
    assert_eq!(limited.counters().discarded(DiscardReason::PacketTooLong), 884);
    assert_eq!(limited.held(), 0);
}

// REQ: FEP-PKT-013
#[test]
fn the_buffer_of_spanning_packets_stays_where_it_is() {
    let mut assembler = PacketAssembler::default();
    let zones = zones(&[packet(1, 5000), packet(2, 300), packet(3, 5000), packet(4, 900)], 700);
    let mut addresses = std::collections::BTreeSet::new();
    for round in 0..50 {
        for (pointer, zone) in &zones {
            assembler.push(*pointer, zone, Continuity::Next, &mut |event| {
                if let PacketEvent::Packet { bytes, spanned: true, .. } = event
                    && round > 0
                {
                    addresses.insert(bytes.as_ptr() as usize);
                }
            });
        }
    }
    assert_eq!(addresses.len(), 1, "a packet put together elsewhere was allocated anew");
}

// REQ: FEP-PKT-006
#[test]
fn after_a_gap_the_packet_in_progress_is_discarded_and_the_pointer_finds_the_next() {
    let packets: Vec<Vec<u8>> = (0..9).map(|index| packet(index, 150)).collect();
    let zones = zones(&packets, 200);
    let mut assembler = PacketAssembler::default();
    let mut log = Log::default();
    for (index, (pointer, zone)) in zones.iter().enumerate() {
        // The third zone is lost: with it the end of packet 2, packet 3 whole or in part.
        let continuity = match index {
            0 => Continuity::First,
            2 => continue,
            3 => Continuity::Gap { lost: 1, at_least: false },
            _ => Continuity::Next,
        };
        log.push(&mut assembler, *pointer, zone, continuity);
    }
    let kept: Vec<&[u8]> =
        [0, 1, 4, 5, 6, 7, 8].iter().map(|index: &usize| packets[*index].as_slice()).collect();
    assert_eq!(log.packets(), kept);
    // Packet 2 starts at 312: 88 octets of it were held. Packet 3 ends at 624: 24 octets of it came after the gap.
    let discarded: Vec<_> = log.seen.iter().filter(|seen| matches!(seen, Seen::Discarded(..))).collect();
    assert_eq!(
        discarded,
        [
            &Seen::Discarded(88, DiscardReason::FrameLost),
            &Seen::Discarded(24, DiscardReason::NotSynchronised)
        ]
    );
    assert_eq!(assembler.counters().packets_given_up, 1);
}

// REQ: FEP-PKT-007
#[test]
fn a_pointer_that_disagrees_with_the_packet_in_progress_is_believed() {
    let mut assembler = PacketAssembler::default();
    let mut log = Log::default();
    let first = packet(1, 100);
    log.push(&mut assembler, Fhp::At(0), &first[..60], Continuity::First);
    // 46 octets are missing, the pointer says 40.
    let zone = [&first[60..100], &packet(2, 10)].concat();
    log.push(&mut assembler, Fhp::At(40), &zone, Continuity::Next);
    assert_eq!(log.seen, [Seen::Discarded(100, DiscardReason::PointerMismatch), Seen::Packet(packet(2, 10))]);
    // Too long before the next start is as wrong as too short.
    log.push(&mut assembler, Fhp::At(0), &first[..60], Continuity::Next);
    log.push(&mut assembler, Fhp::At(50), &[&[0; 50][..], &packet(3, 10)].concat(), Continuity::Next);
    assert_eq!(
        log.seen[2..],
        [Seen::Discarded(110, DiscardReason::PointerMismatch), Seen::Packet(packet(3, 10))]
    );
    // No start in the zone, but the packet in progress would end inside it.
    log.push(&mut assembler, Fhp::At(0), &first[..60], Continuity::Next);
    log.push(&mut assembler, Fhp::None, &[0; 47], Continuity::Next);
    assert_eq!(log.seen[4..], [Seen::Discarded(107, DiscardReason::PointerMismatch)]);
    // A packet ended with the zone; the next zone must start one.
    log.push(&mut assembler, Fhp::At(0), &packet(4, 10), Continuity::Next);
    log.push(&mut assembler, Fhp::At(3), &[&[0; 3][..], &packet(5, 10)].concat(), Continuity::Next);
    assert_eq!(log.seen[6], Seen::Discarded(3, DiscardReason::PointerMismatch));
}

// REQ: FEP-PKT-008
#[test]
fn a_duplicated_frame_gives_no_packet_twice() {
    let packets: Vec<Vec<u8>> = (0..6).map(|index| packet(index, 90)).collect();
    let mut assembler = PacketAssembler::default();
    let mut log = Log::default();
    for (pointer, zone) in zones(&packets, 144) {
        log.push(&mut assembler, pointer, &zone, Continuity::Next);
        log.push(&mut assembler, pointer, &zone, Continuity::Duplicate);
    }
    assert_eq!(log.packets(), packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(assembler.counters().discarded(DiscardReason::DuplicateFrame), 576);
}

#[test]
fn what_is_no_packet_is_discarded_with_its_reason() {
    let cases = [
        (Fhp::At(0), vec![0x55; 20], DiscardReason::UnknownPacketVersion),
        (Fhp::At(20), vec![0x00; 20], DiscardReason::PointerOutside),
        (Fhp::At(21), vec![0x00; 20], DiscardReason::PointerOutside),
        (Fhp::None, vec![0x00; 20], DiscardReason::NotSynchronised),
        // An encapsulation packet of 1 octet with a header of 2, and one without length that is not idle.
        (Fhp::At(0), [vec![0xF1, 0x01], vec![0; 18]].concat(), DiscardReason::HeaderInvalid),
        (Fhp::At(0), [vec![0xF0], vec![0; 19]].concat(), DiscardReason::HeaderInvalid),
        (
            Fhp::At(0),
            [vec![0xF3, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF], vec![0; 12]].concat(),
            DiscardReason::PacketTooLong,
        ),
    ];
    for (pointer, zone, reason) in cases {
        let mut assembler = PacketAssembler::default();
        let mut log = Log::default();
        log.push(&mut assembler, pointer, &zone, Continuity::First);
        assert_eq!(log.seen, [Seen::Discarded(20, reason)]);
        log.push(&mut assembler, Fhp::At(0), &packet(1, 4), Continuity::Next);
        assert_eq!(log.packets(), [&packet(1, 4)[..]], "the next start is found after {reason:?}");
    }
}

#[test]
fn a_header_that_spans_zones_is_read_when_it_is_whole() {
    let packets = [packet(1, 20), encapsulated(20), packet(2, 20)];
    for zone_len in 1..30 {
        let mut assembler = PacketAssembler::default();
        let mut log = Log::default();
        for (pointer, zone) in zones(&packets, zone_len) {
            log.push(&mut assembler, pointer, &zone, Continuity::Next);
        }
        assert_eq!(
            log.packets(),
            packets.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            "zones of {zone_len}"
        );
        assert_eq!(assembler.counters().discarded_total(), 0);
    }
}

// REQ: FEP-PKT-009
#[test]
fn idle_data_are_counted_apart_and_interrupt_nothing() {
    let idle_packet = packet(0x7FF, 30);
    let long = packet(1, 100);
    let mut assembler = PacketAssembler::default();
    let mut log = Log::default();
    log.push(
        &mut assembler,
        Fhp::At(0),
        &[&idle_packet[..], &[0xE0; 5], &long[..50]].concat(),
        Continuity::First,
    );
    log.push(&mut assembler, Fhp::IdleOnly, &[0x55; 91], Continuity::Next);
    log.push(&mut assembler, Fhp::None, &long[50..], Continuity::Next);
    assert_eq!(log.seen, [Seen::Idle(36), Seen::Idle(5), Seen::Idle(91), Seen::Packet(long)]);
    let counters = assembler.counters();
    assert_eq!((counters.idle_packets, counters.idle_octets), (1, 36 + 5 + 91));
}

#[test]
fn the_end_of_the_stream_accounts_for_what_is_held() {
    let mut assembler = PacketAssembler::default();
    let mut log = Log::default();
    log.push(&mut assembler, Fhp::At(0), &packet(1, 100)[..50], Continuity::First);
    assert_eq!(assembler.held(), 50);
    let mut discarded = Vec::new();
    assembler.finish(&mut |event| discarded.push(format!("{event:?}")));
    assert_eq!(discarded, ["Discarded { bytes: 50, reason: EndOfStream }"]);
    assert_balance(assembler.counters(), 0);
    log.push(&mut assembler, Fhp::At(0), &packet(1, 100)[..50], Continuity::Next);
    assembler.reset();
    assert_balance(assembler.counters(), 0);
    assert_eq!(assembler.counters().discarded(DiscardReason::EndOfStream), 100);
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0_u16..0x800, 1_usize..400).prop_map(|(apid, data_len)| packet(apid, data_len)),
        2 => (0_usize..300).prop_map(encapsulated),
        1 => Just(vec![0xE0]),
    ]
}

fn is_idle(packet: &[u8]) -> bool {
    packet[0] == 0xE0 || packet[0] >> 5 == 0 && packet[..2] == [0x07, 0xFF]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // REQ: FEP-PKT-001
    #[test]
    fn packets_cut_into_zones_of_any_length_come_out_as_they_were(
        packets in prop::collection::vec(any_packet(), 1..40), zone_len in 1_usize..600,
    ) {
        let mut assembler = PacketAssembler::default();
        let mut log = Log::default();
        for (pointer, zone) in zones(&packets, zone_len) {
            log.push(&mut assembler, pointer, &zone, Continuity::Next);
        }
        let expected: Vec<&[u8]> = packets.iter().filter(|packet| !is_idle(packet)).map(Vec::as_slice).collect();
        prop_assert_eq!(log.packets(), expected);
        prop_assert_eq!(assembler.counters().discarded_total(), 0);
        prop_assert_eq!(assembler.held(), 0);
    }

    // REQ: FEP-PKT-006
    #[test]
    fn whatever_zones_are_lost_every_packet_whole_in_the_others_comes_out_and_nothing_else(
        packets in prop::collection::vec(any_packet(), 1..40),
        zone_len in 20_usize..400,
        lost in prop::collection::vec(prop::bool::weighted(0.2), 200),
    ) {
        let zones = zones(&packets, zone_len);
        let is_lost = |index: usize| lost[index % lost.len()];
        let mut assembler = PacketAssembler::default();
        let mut log = Log::default();
        let mut missing = 0;
        for (index, (pointer, zone)) in zones.iter().enumerate() {
            if is_lost(index) {
                missing += 1;
                continue;
            }
            let continuity = if missing > 0 { Continuity::Gap { lost: missing, at_least: false } } else { Continuity::Next };
            missing = 0;
            log.push(&mut assembler, *pointer, zone, continuity);
        }
        let mut start = 0;
        let mut expected: Vec<&[u8]> = Vec::new();
        for packet in &packets {
            let end = start + packet.len();
            if !is_idle(packet) && !(start / zone_len..=(end - 1) / zone_len).any(is_lost) {
                expected.push(packet);
            }
            start = end;
        }
        prop_assert_eq!(log.packets(), expected);
    }

    // REQ: FEP-PKT-010
    #[test]
    fn every_octet_of_any_zones_is_accounted_for_and_memory_is_bounded(
        pushes in prop::collection::vec(
            (0_u16..80, prop::collection::vec(prop_oneof![Just(0_u8), Just(0xE0), any::<u8>()], 0..70), 0_u8..8), 0..60),
        max_packet_len in 1_usize..200,
    ) {
        let mut assembler = PacketAssembler::new(AssemblerSpec { max_packet_len });
        let mut log = Log::default();
        for (pointer, zone, continuity) in &pushes {
            let pointer = match pointer {
                78 => Fhp::None,
                79 => Fhp::IdleOnly,
                offset => Fhp::At(*offset),
            };
            let continuity = match continuity {
                0 => Continuity::Gap { lost: 3, at_least: false },
                1 => Continuity::Duplicate,
                2 => Continuity::Reset,
                3 => Continuity::First,
                _ => Continuity::Next,
            };
            log.push(&mut assembler, pointer, zone, continuity);
            prop_assert!(assembler.held() <= max_packet_len.max(8));
        }
        prop_assert!(log.packets().iter().all(|packet| packet.len() <= max_packet_len));
    }
}
