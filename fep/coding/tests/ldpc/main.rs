//! The LDPC codes of telemetry, C2 and AR4JA, and sliced frames.

mod channel;
mod curves;
mod golden;
mod permutations;
mod properties;
mod reference;
mod stream;
mod vectors;
