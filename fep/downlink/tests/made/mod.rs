//! Frames and streams for tests, made octet by octet.
#![allow(dead_code)]

use fep_ccsds::{AosHeader, Fhp, FrameParts, Header, TmDataField, TmHeader};
use fep_mission::ChannelConfig;
use fep_sim::Encoder;

/// An AOS frame in which no packet starts, its data field filled from its count.
pub(crate) fn aos_frame(channel: &ChannelConfig, scid: u8, vcid: u8, count: u32) -> Vec<u8> {
    let header = AosHeader {
        scid,
        vcid,
        vc_count: count,
        replay: false,
        vc_count_cycle_used: false,
        reserved: 0,
        vc_count_cycle: 0,
    };
    let mut zone = vec![0; channel.frame.frame_len - 6 - channel.frame.fecf.len()];
    zone[..2].copy_from_slice(&Fhp::None.to_11_bits().to_be_bytes());
    for (index, octet) in zone[2..].iter_mut().enumerate() {
        *octet = (index as u32 * 31 + count * 7 + u32::from(vcid)) as u8;
    }
    let mut frame = Vec::new();
    FrameParts::new(Header::Aos(header), &zone).build(&channel.frame, &mut frame).expect("a frame");
    frame
}

pub(crate) fn tm_frame(channel: &ChannelConfig, vcid: u8, mc_count: u8, vc_count: u8) -> Vec<u8> {
    let header = TmHeader {
        scid: channel.spacecraft[0].scid,
        vcid,
        ocf: true,
        mc_count,
        vc_count,
        secondary_header: false,
        data_field: TmDataField::Packets { first_header_pointer: Fhp::None },
    };
    let zone = vec![vc_count; channel.frame.frame_len - 6 - 4 - 2];
    let mut parts = FrameParts::new(Header::Tm(header), &zone);
    parts.ocf = Some([1, 0, 0, 0]);
    let mut frame = Vec::new();
    parts.build(&channel.frame, &mut frame).expect("a frame");
    frame
}

pub(crate) fn cadus(channel: &ChannelConfig, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder =
        Encoder::new(channel.sync.marker, &channel.code, channel.randomizer).expect("an encoder");
    let mut cadus = Vec::new();
    for frame in frames {
        encoder.encode(frame, &mut cadus);
    }
    cadus
}

/// The channel `link` of a mission file's text.
pub(crate) fn channel_of(text: &str) -> ChannelConfig {
    let mission = fep_mission::load_text("made", "made.toml", text);
    mission.unwrap_or_else(|errors| panic!("{errors}")).channels["link"].clone()
}
