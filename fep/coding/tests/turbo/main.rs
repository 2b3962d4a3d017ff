//! Turbo codes against vectors of other programs, a plain floating-point reference, and properties of channels.

mod channel;
mod error_rate;
#[path = "../golden/mod.rs"]
mod golden;
#[path = "../noise/mod.rs"]
mod noise;
mod properties;
mod reference;
mod undetected;
mod vectors;
