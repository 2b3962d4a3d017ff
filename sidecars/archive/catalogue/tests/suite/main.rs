//! The catalogue, its index and its keeping, held to real segments, real databases and a real object store. One program,
//! because each would be linked against the same large libraries.

mod damaged;
mod databases;
mod ingest;
mod keeping;
mod meanwhile;
mod million;
mod objects;
mod red;
mod rows;
#[path = "../support/mod.rs"]
mod support;
