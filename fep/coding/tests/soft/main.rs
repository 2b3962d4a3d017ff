//! Soft symbols: formats of links, and the synchroniser that works in noise.

mod formats;
mod noise;
mod sync;
