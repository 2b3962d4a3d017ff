//! The LDPC codes of telemetry, C2 and AR4JA, and sliced frames.

mod channel;
mod golden;
mod properties;
mod stream;
mod vectors;
