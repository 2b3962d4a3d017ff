//! Any octets as a TM frame of any channel: no panic, and what parses builds to the same octets again.
#![no_main]

mod channel;

use fep_ccsds::FrameKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (channel::Channel, &[u8])| {
    let (channel, octets) = input;
    channel::round_trip(&channel.spec(FrameKind::Tm), octets);
});
