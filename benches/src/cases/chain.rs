//! The whole chain in memory on one core (synchronise, derandomise, Reed-Solomon, AOS frames, packets), beside the
//! `ccsds` package's pipeline over the same stream.
//!
//! `chain/npp` and `chain/noaa21` are real captures, repeated; `chain/i5/...` is made: AOS frames of 1115 octets full of
//! packets, interleaving 5, clean or with one wrong symbol in every codeword. Figures are bits of CADUs, marker
//! included, a second. Our chain gets 128 KiB at a time, as from a socket, and hands every frame and packet to a sink
//! that counts them.
//!
//! The peer runs as its documentation shows, with `with_integrity_threads(1)`: it always has a thread for
//! synchronisation and one for Reed-Solomon besides the caller's; all are pinned to the same core, so both sides have
//! one core. It skips Reed-Solomon on fill frames; we do not. Time is processor time of all threads concerned, so that
//! what else runs on the machine changes little.

use std::time::Instant;

use fep_ccsds::{AosHeader, SpacePacketHeader};
use fep_coding::{Derandomizer, Isa, Randomizer};
use fep_downlink::{Chain, ChainEvent, FrameOut, PacketOut, Reception, Sink};
use fep_mission::ChannelConfig;
use fep_time::{Monotonic, Tai};
use fepd::realtime;

use crate::peers::ccsds_pipeline;
use crate::{Case, Measured};

/// What one receive from a socket brings.
const CHUNK: usize = 128 << 10;
/// Frames of a made stream: more than the caches hold.
pub(crate) const MADE_FRAMES: usize = 8192;

/// `chain/...`
pub fn cases() -> Vec<Case> {
    vec![
        case("npp", || capture("npp")),
        case("noaa21", || capture("noaa21")),
        case("i5/clean", || made(0)),
        case("i5/errors1", || made(1)),
    ]
}

/// A stream, the channel it is of, and what the peer needs to know of it.
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    channel: ChannelConfig,
    interleave: u8,
}

fn case(name: &str, stream: fn() -> Result<Stream, String>) -> Case {
    let run = Box::new(move |budget_s: f64| match stream() {
        Ok(stream) => measure(&stream, budget_s),
        Err(reason) => Measured { note: format!("not measured: {reason}"), ..Measured::default() },
    });
    Case { name: format!("chain/{name}"), unit: "Gbit/s", peer_name: "ccsds", run }
}

fn measure(stream: &Stream, budget_s: f64) -> Measured {
    let core = realtime::allowed_cores().last().copied().unwrap_or(0);
    // Pinned in a thread of its own, so that later cases are not.
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            let pinned = realtime::pin_to(core).is_ok();
            let (ours, counted) = ours(stream, budget_s);
            let peer = peer_rate(stream, budget_s);
            let note = format!(
                "{} on core {core}{}, {} frames and {} packets a pass, {} corrected; peer: all its threads on the same core",
                Isa::best(),
                if pinned { "" } else { " (not pinned)" },
                counted.frames,
                counted.packets,
                counted.corrected,
            );
            Measured { ours, peer: Some(peer), note }
        });
        measured
            .join()
            .unwrap_or_else(|_| Measured { note: "the case panicked".to_owned(), ..Measured::default() })
    })
}

/// Counts, and looks at every octet's neighbourhood no more than a ring would.
#[derive(Debug, Default, Clone, Copy)]
struct Counting {
    frames: u64,
    corrected: u64,
    packets: u64,
    octets: u64,
}

impl Sink for Counting {
    fn frame(&mut self, frame: &FrameOut<'_>) {
        self.frames += 1;
        self.corrected += u64::from(frame.record.symbols_corrected > 0);
        self.octets += frame.octets.len() as u64;
    }
    fn packet(&mut self, packet: &PacketOut<'_>) {
        self.packets += 1;
        self.octets += packet.octets.len() as u64;
    }
    fn event(&mut self, _event: ChainEvent) {}
}

fn ours(stream: &Stream, budget_s: f64) -> (f64, Counting) {
    let mut chain = Chain::new(&stream.channel).expect("a configured channel");
    let mut pass = Counting::default();
    let mut rates = Vec::new();
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < budget_s || rates.len() < 3 {
        let window = realtime::thread_cpu_ns();
        let mut bits = 0.0;
        // Windows of 50 ms or more: the best of short ones would flatter, the median of these does not.
        while realtime::thread_cpu_ns() - window < 50_000_000 {
            pass = Counting::default();
            for chunk in stream.bytes.chunks(CHUNK) {
                chain.receive(&Reception::new(chunk, Tai(1)), Monotonic(1), &mut pass);
            }
            bits += 8.0 * stream.bytes.len() as f64;
        }
        rates.push(bits / (realtime::thread_cpu_ns() - window) as f64);
    }
    assert!(chain.ledger().is_balanced() && chain.ledger().counts.good + chain.ledger().counts.corrected > 0);
    rates.sort_by(f64::total_cmp);
    (rates[rates.len() / 2], pass)
}

fn peer_rate(stream: &Stream, budget_s: f64) -> f64 {
    // The peer is slow: it gets a piece of the stream at a time, so that a pass fits the budget.
    let piece = &stream.bytes[..stream.bytes.len().min(1 << 20)];
    let spec = &stream.channel.frame;
    let channel = ccsds_pipeline::Channel {
        interleave: stream.interleave,
        block_len: stream.channel.block_len(),
        insert_zone_len: spec.insert_zone_len,
        trailer_len: spec.trailer_len,
    };
    let (start, mut bits) = (Instant::now(), 0.0);
    let used = realtime::process_cpu_ns();
    while start.elapsed().as_secs_f64() < budget_s {
        let found = ccsds_pipeline::decode(piece.to_vec(), channel);
        assert!(found.packets > 0, "the peer found packets");
        bits += 8.0 * piece.len() as f64;
    }
    bits / (realtime::process_cpu_ns() - used) as f64
}

fn channel(mission: &str, channel: &str) -> ChannelConfig {
    let mission = fep_mission::load(mission).expect("a built-in mission");
    mission.channels[channel].clone()
}

fn capture(mission: &str) -> Result<Stream, String> {
    let capture = fep_sim::captures::find_one(mission).map_err(|error| error.to_string())?;
    let bytes =
        std::fs::read(&capture.path).map_err(|error| format!("{}: {error}", capture.path.display()))?;
    let channel = channel(mission, "hrd");
    Ok(Stream { bytes, channel, interleave: capture.facts.interleave })
}

/// A stream of CADUs full of packets of 500 octets on one virtual channel.
pub(crate) fn made(errors: usize) -> Result<Stream, String> {
    made_frames(errors, MADE_FRAMES)
}

/// The same, of so many frames.
pub(crate) fn made_frames(errors: usize, frames: usize) -> Result<Stream, String> {
    let channel = channel("cso", "cso-2-payload");
    let mut encoder = channel.code.build_encoder(Isa::best()).map_err(|error| error.to_string())?;
    let randomizer = Derandomizer::new(Randomizer::Legacy255, channel.block_len());
    let mut packets = Packets::default();
    let mut bytes = Vec::with_capacity(frames * (4 + channel.block_len()));
    let mut frame = vec![0; channel.frame.frame_len];
    let mut block = vec![0; channel.block_len()];
    for count in 0..frames {
        let header = AosHeader {
            scid: channel.spacecraft[0].scid as u8,
            vcid: 40,
            vc_count: count as u32,
            replay: false,
            vc_count_cycle_used: false,
            reserved: 0,
            vc_count_cycle: 0,
        };
        frame[..6].copy_from_slice(&header.emit());
        let first_header_pointer = packets.fill(&mut frame[8..]);
        frame[6..8].copy_from_slice(&first_header_pointer.to_be_bytes());
        encoder.encode(&frame, &mut block);
        randomizer.apply(&mut block);
        for codeword in 0..errors * 5 {
            // One symbol of every codeword, at a place that moves through all of them.
            let symbol = (count * 7 + codeword * 31) % 255;
            block[symbol * 5 + codeword % 5] ^= 1 + (count % 255) as u8;
        }
        bytes.extend_from_slice(&[0x1A, 0xCF, 0xFC, 0x1D]);
        bytes.extend_from_slice(&block);
    }
    Ok(Stream { bytes, channel, interleave: 5 })
}

/// An endless run of packets.
#[derive(Default)]
struct Packets {
    sequence: u16,
    packet: Vec<u8>,
    at: usize,
}

impl Packets {
    const LEN: usize = 500;

    /// Fills a packet zone and says where the first packet starts in it.
    fn fill(&mut self, zone: &mut [u8]) -> u16 {
        let first = self.packet.len() - self.at;
        let mut filled = 0;
        while filled < zone.len() {
            if self.at == self.packet.len() {
                self.next();
            }
            let len = (zone.len() - filled).min(self.packet.len() - self.at);
            zone[filled..filled + len].copy_from_slice(&self.packet[self.at..self.at + len]);
            self.at += len;
            filled += len;
        }
        first as u16
    }

    fn next(&mut self) {
        let header = SpacePacketHeader {
            packet_type: fep_ccsds::PacketType::Telemetry,
            secondary_header: false,
            apid: 100,
            sequence_flags: fep_ccsds::SequenceFlags::Unsegmented,
            sequence_count: self.sequence,
            data_len: Packets::LEN as u32 - 6,
        };
        self.packet.clear();
        self.packet.extend_from_slice(&header.emit());
        self.packet.extend((6..Packets::LEN).map(|index| (index * usize::from(self.sequence)) as u8));
        self.sequence = (self.sequence + 1) & 0x3FFF;
        self.at = 0;
    }
}
