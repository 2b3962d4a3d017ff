//! Soft symbols: formats of links, and the synchroniser that works in noise.

mod channel;
mod formats;
#[path = "../noise/mod.rs"]
mod noise;
mod sync;
mod wide;
