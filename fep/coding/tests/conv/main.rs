//! The convolutional code against vectors of other programs, a plain floating-point decoder, and properties of channels.

mod channel;
mod curves;
mod properties;
mod receiver;
mod vectors;
