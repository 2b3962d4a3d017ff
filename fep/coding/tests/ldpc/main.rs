//! The LDPC codes of telemetry, C2 and AR4JA, and sliced frames.

mod channel;
mod checks;
mod curves;
#[path = "../golden/mod.rs"]
mod golden;
#[path = "../noise/mod.rs"]
mod noise;
mod permutations;
mod properties;
mod reference;
mod stream;
mod vectors;
