//! Telecommand coding against vectors of other programs, a plain reference, and properties of channels.

mod bch;
mod channel;
mod cltu;
mod golden;
mod ldpc;
mod ldpc_cltu;
mod plop;
