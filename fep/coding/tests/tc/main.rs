//! Telecommand coding against vectors of other programs, a plain reference, and properties of channels.

mod bch;
mod channel;
mod cltu;
#[path = "../golden/mod.rs"]
mod golden;
mod ldpc;
mod ldpc_cltu;
#[path = "../noise/mod.rs"]
mod noise;
mod plop;
