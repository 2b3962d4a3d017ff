//! The catalogue, its index and its keeping, held to real segments, real databases and a real object store. One program,
//! because each would be linked against the same large libraries.

mod backup;
mod damaged;
mod databases;
#[path = "../support/dump.rs"]
mod dump;
mod earlier;
mod extraction;
mod ingest;
mod keeping;
mod meanwhile;
mod million;
mod objects;
mod orders;
mod places;
mod red;
mod rows;
#[path = "../support/mod.rs"]
mod support;
