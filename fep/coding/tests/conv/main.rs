//! The convolutional code against vectors of other programs, a plain floating-point decoder, and properties of channels.

mod channel;
mod curves;
#[path = "../golden/mod.rs"]
mod golden;
#[path = "../noise/mod.rs"]
mod noise;
mod places;
mod properties;
mod receiver;
mod ties;
mod vectors;
