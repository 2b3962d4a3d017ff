//! CCSDS data units and protocol machines: transfer frames, packets, control words, time codes.
//!
//! Bytes and time are arguments: no I/O, no clock, no threads.

#![warn(missing_docs)]

mod check;
pub mod clcw;
pub mod counter;
pub mod frame;
mod gvcid;
pub mod packet;
pub mod pus;
pub mod record;
pub mod spec;
pub mod time;

pub use clcw::Clcw;
pub use counter::{Continuity, FrameContinuity, MasterChannel, VcTracker};
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
