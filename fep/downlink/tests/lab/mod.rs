//! The built-in mission `lab` with a simulated spacecraft and radio link, for tests.
#![allow(dead_code)]

use fep_coding::soft::{SoftFormat, SymbolBits};
use fep_coding::spec::ChannelEncoder;
use fep_downlink::ChainOptions;
use fep_mission::ChannelConfig;
use fep_sim::{Content, PacketStreamSpec, Spacecraft, SpacecraftSpec, SymbolChannel, SymbolSpec, VcSpec};

pub(crate) const EIGHT: SoftFormat = SoftFormat::new(SymbolBits::Eight);

pub(crate) fn channel(name: &str) -> ChannelConfig {
    fep_mission::load("lab").unwrap_or_else(|errors| panic!("{errors}")).channels[name].clone()
}

pub(crate) fn spacecraft(channel: &ChannelConfig) -> Spacecraft {
    let packets = PacketStreamSpec {
        apid: 100,
        content: Content::Housekeeping,
        data_len: 60,
        data_len_max: Some(200),
        weight: 1,
    };
    let vc = VcSpec { vcid: channel.vcs[0].id, weight: 1, packets: vec![packets], idle_packets: 0 };
    let spec = SpacecraftSpec {
        scid: channel.spacecraft[0].scid,
        frame: channel.frame.clone(),
        clcw: false,
        vc: vec![vc],
        nominal_rate_bps: 1_000_000,
        epoch_tai_ns: 0,
    };
    Spacecraft::new(spec, 1).expect("a spacecraft")
}

/// Frames, and the octets of a link on which they arrive as symbols.
pub(crate) fn link(
    channel: &ChannelConfig,
    spec: SymbolSpec,
    count: usize,
    seed: u64,
) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut spacecraft = spacecraft(channel);
    let mut encoder =
        ChannelEncoder::new(&channel.code, channel.code.marker(), channel.randomizer).expect("an encoder");
    let mut radio = SymbolChannel::new(spec, channel.code.rate(), seed).expect("a channel");
    let (mut frames, mut symbols, mut octets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let mut frame = Vec::new();
        spacecraft.next_frame(&mut frame);
        symbols.clear();
        encoder.encode(&frame, &mut symbols);
        radio.push(&symbols, &mut octets);
        frames.push(frame);
    }
    symbols.clear();
    encoder.finish(&mut symbols);
    // Something follows the last frame, as on the air.
    symbols.extend((0..4096).map(|i| if i % 3 == 0 { 1 } else { -1 }));
    radio.push(&symbols, &mut octets);
    radio.finish(&mut octets);
    (frames, octets)
}

pub(crate) fn spec(format: SoftFormat, eb_n0_db: f64) -> SymbolSpec {
    SymbolSpec { eb_n0_db: Some(eb_n0_db), ..SymbolSpec::clear(format) }
}

pub(crate) fn options(format: SoftFormat) -> ChainOptions {
    ChainOptions { symbols: Some(format), ..ChainOptions::default() }
}
