//! Downlinks, and what comes of them in the rings.

use std::path::Path;

use fep_bus::{Consumer, Poll, Record, Resume};
use fep_ccsds::{AosHeader, Fhp, FrameParts, Header};
use fep_mission::ChannelConfig;
use fep_sim::Encoder;
use serde_json::Value;

use crate::process::wait_for;

/// A channel of the built-in mission that most tests receive.
pub(crate) const CHANNEL: &str = "cso/cso-2-payload";

pub(crate) fn channel() -> ChannelConfig {
    fep_mission::load("cso").unwrap_or_else(|errors| panic!("{errors}")).channels["cso-2-payload"].clone()
}

/// One AOS frame of the spacecraft 162, filled with an octet.
pub(crate) fn frame(channel: &ChannelConfig, vcid: u8, count: u32, fill: u8) -> Vec<u8> {
    frame_with(channel, vcid, count, fill, None)
}

/// The same, with an operational control field where the channel has one.
pub(crate) fn frame_with(
    channel: &ChannelConfig,
    vcid: u8,
    count: u32,
    fill: u8,
    ocf: Option<[u8; 4]>,
) -> Vec<u8> {
    let header = AosHeader {
        scid: 162,
        vcid,
        vc_count: count,
        replay: false,
        vc_count_cycle_used: false,
        reserved: 0,
        vc_count_cycle: 0,
    };
    let mut zone = vec![fill; channel.frame.frame_len - 6 - 4 * usize::from(ocf.is_some())];
    zone[..2].copy_from_slice(&Fhp::None.to_11_bits().to_be_bytes());
    let mut frame = Vec::new();
    let parts = FrameParts { ocf, ..FrameParts::new(Header::Aos(header), &zone) };
    parts.build(&channel.frame, &mut frame).expect("a frame");
    frame
}

pub(crate) fn encoder(channel: &ChannelConfig) -> Encoder {
    Encoder::new(channel.sync.marker, &channel.code, channel.randomizer).expect("an encoder")
}

/// CADUs of virtual channel 40 with these counts, and the frames in them.
pub(crate) fn downlink(counts: impl IntoIterator<Item = u32>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let channel = channel();
    let mut encoder = encoder(&channel);
    let (mut cadus, mut frames) = (Vec::new(), Vec::new());
    for count in counts {
        let frame = frame(&channel, 40, count, count as u8);
        encoder.encode(&frame, &mut cadus);
        frames.push(frame);
    }
    (cadus, frames)
}

pub(crate) fn attach(run_dir: &Path, ring: &str) -> Consumer {
    Consumer::attach(&run_dir.join("bus"), ring, "test", Resume::Oldest).expect("a ring")
}

/// Everything that follows in a ring until `count` records were read.
pub(crate) fn read(consumer: &mut Consumer, count: usize) -> Vec<(Record, Vec<u8>)> {
    let mut records = Vec::new();
    wait_for("records", || {
        records.extend(read_present(consumer));
        (records.len() >= count).then_some(())
    });
    records
}

/// Everything that lies in a ring now.
pub(crate) fn read_present(consumer: &mut Consumer) -> Vec<(Record, Vec<u8>)> {
    let mut records = Vec::new();
    let mut octets = Vec::new();
    loop {
        match consumer.poll(&mut octets) {
            Poll::Record(record) => records.push((record, octets.clone())),
            Poll::Gap(gap) => panic!("{gap:?}"),
            Poll::Recreated => consumer.reattach().expect("the new ring"),
            Poll::Restarted { .. } => {}
            Poll::Empty | Poll::Closed => return records,
        }
    }
}

/// The events that are in their ring now, oldest first.
pub(crate) fn events(run_dir: &Path) -> Vec<Value> {
    let mut consumer = attach(run_dir, "events");
    let records = read_present(&mut consumer);
    records.into_iter().map(|(_, octets)| serde_json::from_slice(&octets).expect("JSON")).collect()
}

pub(crate) fn write_config(dir: &Path, text: &str) -> std::path::PathBuf {
    let path = dir.join("fepd.toml");
    std::fs::write(&path, text).expect("written");
    path
}
