//! CCSDS synchronisation and channel coding (131.0-B-5): bytes in, bytes and verdicts out. No I/O, no clock, no threads.

pub mod isa;
pub mod rs;
