//! The audit trail: who did what, written in the transaction of what was done, each entry bound to the one before it.
//!
//! | what | where |
//! |---|---|
//! | the table | [`SCHEMA`], for [`fep_database::Database::open`] |
//! | write | [`append`] in a transaction of the caller, [`note`] in one of its own (refusals, reads, logins) |
//! | read | [`page`], [`head`], [`export`] |
//! | sign the end | [`Head::sign`] with a [`Signer`]; keep the [`SignedHead`] where whoever can change the database cannot |
//! | verify | [`verify`], [`verify_lines`] for an export, [`Verifier`] for any other source |
//!
//! # What it proves
//! Every entry holds the hash of the one before it and its own: SHA-256 over all of that. Whoever changes, removes or
//! exchanges rows breaks the chain where he does it. Whoever can write the whole table can make a chain that holds: only a
//! head that was signed before, kept elsewhere, and verified with a key that is known by another way finds that, and finds an
//! end that was cut off. Entries after the last signed head are as good as the table.

mod chain;
mod entry;
mod error;
mod signing;
mod table;

pub use chain::{Finding, Report, Verifier, verify_lines};
pub use entry::{Entry, Event};
pub use error::Error;
pub use signing::{Head, SignedHead, Signer};
pub use table::{Filter, PAGE_MAX, SCHEMA, append, export, head, note, page, verify};
