//! CCSDS data units and protocol machines: transfer frames, packets, control words, time codes.
//!
//! Bytes and time are arguments: no I/O, no clock, no threads, no unsafe code. Below it stand
//! `fep-coding`, from which it takes the checksums, and `fep-time`.
//!
//! | what | where | standard |
//! |---|---|---|
//! | TM, AOS and USLP transfer frames, parsed without a copy and built | [`frame`], [`FrameSpec`] | 132.0-B-3, 732.0-B-4, 732.1-B-2 |
//! | master and virtual channel counters: gaps, duplicates, resets | [`counter`] | the same |
//! | operational control field, CLCW | [`clcw`] | 232.0-B-4 |
//! | space and encapsulation packets, assembled across frames | [`packet`] | 133.0-B-2, 133.1-B-3 |
//! | secondary headers and error control of the packet utilisation standard | [`pus`] | ECSS-E-ST-70-41C |
//! | CUC, CDS and CCS time codes | [`time`] | 301.0-B-4 |
//! | correlation of an on-board clock with the ground | [`time::Correlator`] | |
//!
//! # Verdicts are data
//!
//! What comes from the wire never panics and never ends anything. A frame that cannot be right is a [`FrameInvalid`] with
//! the figures, a packet that cannot be right is a discarded number of octets with a [`DiscardReason`]; `Err` of other
//! functions means that the caller gave parameters that cannot be.
//!
//! # A frame
//!
//! The managed parameters of a physical channel are a [`FrameSpec`]; with it any octets are a [`Frame`] or a reason.
//!
//! ```
//! use fep_ccsds::{Continuity, Fecf, Frame, FrameInvalid, FrameSpec, MasterChannel};
//! use fep_time::Tai;
//!
//! let spec = FrameSpec { fecf: Fecf::Crc16, ..FrameSpec::aos(16) };
//! spec.validate()?;
//! // Spacecraft 157, virtual channel 16, count 2; an M_PDU of six octets in which a packet starts at 1.
//! let octets = [0x67, 0x50, 0, 0, 2, 0, 0x00, 0x01, 0xAA, 0x01, 0x02, 0xC0, 0x00, 0x00, 0x43, 0x77];
//! let frame = Frame::parse(&spec, &octets).map_err(|invalid| invalid.to_string())?;
//! assert_eq!(frame.gvcid.to_string(), "157/16");
//! assert_eq!(frame.frame_count, 2);
//!
//! let mut spacecraft = MasterChannel::default();
//! assert_eq!(spacecraft.observe(&frame, Tai(0)).virtual_channel, Continuity::First);
//!
//! let mut damaged = octets;
//! damaged[9] ^= 1;
//! assert!(matches!(Frame::parse(&spec, &damaged), Err(FrameInvalid::Fecf { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Packets
//!
//! One [`PacketAssembler`] for each virtual channel that carries packets. It takes packet zones with their first header
//! pointer and the verdict of the counter, and accounts for every octet.
//!
//! ```
//! use fep_ccsds::{
//!     AosHeader, Fhp, Frame, FrameParts, FrameSpec, Header, MasterChannel, Mpdu, PacketAssembler, PacketEvent,
//!     SpacePacketHeader,
//! };
//! use fep_time::Tai;
//!
//! // A packet of 16 octets over two frames with packet zones of 12.
//! let packet = [0x00, 0x64, 0xC0, 0x00, 0x00, 0x09, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
//! let spec = FrameSpec::aos(6 + 2 + 12);
//! let mut stream = Vec::new();
//! for (vc_count, pointer, zone) in [(0, Fhp::At(0), &packet[..12]), (1, Fhp::At(4), &[&packet[12..], &[0xE0; 8]].concat())] {
//!     let header = AosHeader {
//!         scid: 157, vcid: 16, vc_count, replay: false, vc_count_cycle_used: false, reserved: 0, vc_count_cycle: 0,
//!     };
//!     let mpdu = Mpdu { reserved: 0, first_header_pointer: pointer, packet_zone: zone };
//!     let data_zone = [&mpdu.emit_header()[..], zone].concat();
//!     FrameParts::new(Header::Aos(header), &data_zone).build(&spec, &mut stream)?;
//! }
//!
//! let (mut spacecraft, mut assembler) = (MasterChannel::default(), PacketAssembler::default());
//! let mut packets = Vec::new();
//! for octets in stream.chunks(spec.frame_len) {
//!     let frame = Frame::parse(&spec, octets)?;
//!     let continuity = spacecraft.observe(&frame, Tai(0)).virtual_channel;
//!     if let Some(zone) = frame.packet_zone()? {
//!         assembler.push(zone.first_header_pointer, zone.data, continuity, &mut |event| {
//!             if let PacketEvent::Packet { bytes, .. } = event {
//!                 packets.push(bytes.to_vec());
//!             }
//!         });
//!     }
//! }
//! assert_eq!(packets, [packet]);
//! assert_eq!(SpacePacketHeader::parse(&packets[0])?.apid, 100);
//! // The second zone ended with eight one-octet idle packets.
//! assert_eq!(assembler.counters().idle_octets, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time
//!
//! ```
//! use fep_ccsds::time::Cds;
//! use fep_time::LeapSeconds;
//!
//! let (cds, _) = Cds::parse(&[0x41, 0x5E, 0xA8, 0x01, 0x87, 0xFC, 0x0B, 0x00, 0x00])?;
//! let utc = cds.to_utc(0)?;
//! assert_eq!(format!("{utc:.3}"), "2024-05-06T07:08:09.099Z");
//! let tai = LeapSeconds::builtin().tai(utc)?;
//! assert_eq!(LeapSeconds::builtin().tai_minus_utc(tai), 37);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

mod check;
pub mod clcw;
pub mod counter;
pub mod frame;
mod gvcid;
pub mod packet;
pub mod pus;
pub mod spec;
pub mod time;

pub use clcw::{Clcw, OcfReport};
pub use counter::{
    Continuity, CounterSpec, CounterState, Delivery, FrameContinuity, MasterChannel, MasterChannelState,
    MasterChannels, Mcid, RateBounds, VcTracker,
};
pub use fep_time::Tai;
pub use frame::{
    AosHeader, Bpdu, BuildError, Fhp, Frame, FrameInvalid, FrameParts, Header, Mpdu, PacketZone, Payload,
    Tfdf, TmDataField, TmHeader, UslpHeader, UslpHeaderRest, VcService,
};
pub use gvcid::Gvcid;
pub use packet::{
    ApidTracker, AssemblerSpec, DiscardReason, EncapsulationHeader, PacketAssembler, PacketEvent, PacketType,
    SequenceFlags, SpacePacketHeader,
};
pub use spec::{Fecf, FrameKind, FrameSpec, FrameSpecError, Ocf};
