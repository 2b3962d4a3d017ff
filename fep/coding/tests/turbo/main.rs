//! Turbo codes against vectors of other programs, a plain floating-point reference, and properties of channels.

mod channel;
mod error_rate;
mod golden;
mod properties;
mod reference;
mod vectors;
