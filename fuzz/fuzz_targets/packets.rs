//! Any packet zones with any pointers and continuity, with ends and resets in between: no panic, every octet accounted
//! for in events and counters alike, memory bounded, and every packet one that a header parser agrees with.
#![no_main]

use arbitrary::Arbitrary;
use fep_ccsds::packet::ApidTracker;
use fep_ccsds::{
    AssemblerSpec, Continuity, EncapsulationHeader, Fhp, PacketAssembler, PacketEvent, SpacePacketHeader,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Operation {
    Push {
        pointer: u16,
        continuity: u8,
        zone: Vec<u8>,
    },
    /// Whole packets of one application process, cut into zones with right pointers.
    Packets {
        apid: u16,
        data_lens: Vec<u8>,
        zone_len: u8,
        lose: u8,
    },
    Finish,
    Reset,
}

#[derive(Debug, Arbitrary)]
struct Input {
    max_packet_len: u16,
    operations: Vec<Operation>,
}

struct Machine {
    assembler: PacketAssembler,
    tracker: ApidTracker,
    max_packet_len: usize,
    octets_in: usize,
    octets_out: usize,
}

impl Machine {
    fn push(&mut self, pointer: Fhp, zone: &[u8], continuity: Continuity) {
        self.octets_in += zone.len();
        let (tracker, max_packet_len, octets_out) =
            (&mut self.tracker, self.max_packet_len, &mut self.octets_out);
        self.assembler.push(pointer, zone, continuity, &mut |event| {
            *octets_out += octets_of(&event);
            if let PacketEvent::Packet { bytes, .. } | PacketEvent::Idle { packet: Some(bytes), .. } = event {
                assert!(bytes.len() <= max_packet_len);
                if let Ok(header) = SpacePacketHeader::parse(bytes) {
                    assert_eq!(header.packet_len(), bytes.len());
                    tracker.observe(&header, bytes.len());
                } else {
                    let header = EncapsulationHeader::parse(bytes).expect("neither kind of packet");
                    assert_eq!(header.packet_len as usize, bytes.len());
                }
            }
        });
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.octets_in, self.octets_out + self.assembler.held());
        let counters = self.assembler.counters();
        let out = counters.packet_octets + counters.idle_octets + counters.discarded_total();
        assert_eq!(counters.octets_in, out + self.assembler.held() as u64);
        assert!(self.assembler.held() <= self.max_packet_len.max(8));
    }
}

fn octets_of(event: &PacketEvent<'_>) -> usize {
    match event {
        PacketEvent::Packet { bytes, .. } => bytes.len(),
        PacketEvent::Idle { len, packet } => {
            assert!(packet.is_none_or(|packet| packet.len() == *len));
            *len
        }
        PacketEvent::Discarded { bytes, .. } => {
            assert!(*bytes > 0);
            *bytes
        }
    }
}

fuzz_target!(|input: Input| {
    let max_packet_len = usize::from(input.max_packet_len);
    let mut machine = Machine {
        assembler: PacketAssembler::new(AssemblerSpec { max_packet_len }),
        tracker: ApidTracker::new(),
        max_packet_len,
        octets_in: 0,
        octets_out: 0,
    };
    for operation in &input.operations {
        match operation {
            Operation::Push { pointer, continuity, zone } => {
                let continuity = match continuity % 8 {
                    0 => Continuity::First,
                    1 => Continuity::Gap { lost: 1, at_least: false },
                    2 => Continuity::Duplicate,
                    3 => Continuity::Reset,
                    4 => Continuity::Uncounted,
                    _ => Continuity::Next,
                };
                machine.push(Fhp::from_11_bits(*pointer), zone, continuity);
            }
            Operation::Packets { apid, data_lens, zone_len, lose } => {
                let (mut stream, mut starts) = (Vec::new(), Vec::new());
                for data_len in data_lens {
                    starts.push(stream.len());
                    let [high, low] = (apid & 0x7FF).to_be_bytes();
                    stream.extend([high, low, 0xC0, 0, 0, *data_len]);
                    stream.resize(stream.len() + usize::from(*data_len) + 1, *data_len);
                }
                let zone_len = usize::from(*zone_len).max(1);
                let mut lost = 0;
                for (index, zone) in stream.chunks(zone_len).enumerate() {
                    if *lose > 0 && index % usize::from(*lose) == 1 {
                        lost += 1;
                        continue;
                    }
                    let from = index * zone_len;
                    let first = starts.iter().find(|start| (from..from + zone.len()).contains(start));
                    let pointer = first.map_or(Fhp::None, |start| Fhp::At((start - from) as u16));
                    let continuity = if lost > 0 { Continuity::Gap { lost, at_least: false } } else { Continuity::Next };
                    machine.push(pointer, zone, continuity);
                    lost = 0;
                }
            }
            Operation::Finish => {
                let mut octets = 0;
                machine.assembler.finish(&mut |event| octets += octets_of(&event));
                machine.octets_out += octets;
                assert_eq!(machine.assembler.held(), 0);
                machine.check();
            }
            Operation::Reset => {
                machine.octets_out += machine.assembler.held();
                machine.assembler.reset();
                machine.check();
            }
        }
    }
});
