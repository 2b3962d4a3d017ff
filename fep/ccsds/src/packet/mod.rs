//! Packets: space packets (133.0-B-2), encapsulation packets (133.1-B-3), and what carries them across frames.

mod apid;
mod assembler;
mod encapsulation;
mod space;

pub use apid::{ApidCounters, ApidTracker};
pub use assembler::{AssemblerCounters, AssemblerSpec, DiscardReason, PacketAssembler, PacketEvent};
pub use encapsulation::{EncapsulationHeader, EncapsulationInvalid, LengthOfLength, protocol_id};
pub use space::{
    IDLE_APID, PacketType, SPACE_PACKET_HEADER_LEN, SPACE_PACKET_MAX_LEN, SequenceFlags, SpacePacketHeader,
    SpacePacketInvalid,
};
