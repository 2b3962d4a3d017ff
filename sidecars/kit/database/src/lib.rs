//! One database handle for every service: SQLite in a file, or a PostgreSQL server, chosen by one URL.
//!
//! | what | where |
//! |---|---|
//! | open, begin, read, retry, health | [`Database`], [`Options`] |
//! | numbered migrations, up only, of several modules in one database | [`Schema`], [`Migration`] |
//! | how many rows a table has, and a digest of them | [`Database::rows`], [`TableRows`] |
//! | hashes as text | [`hex`] |
//! | a copy of one moment, and back | [`Database::backup`], [`verify_backup`], [`restore`] |
//!
//! One text of SQL serves both engines: `$1` parameters, columns of `BIGINT`, `TEXT`, `DOUBLE PRECISION` (and `BLOB` or
//! `BYTEA` by a migration of two texts), `ON CONFLICT`, sums cast to `BIGINT`. Statements are those of [`sqlx::Any`].
//!
//! One writes at a time. A [`Writing`] is got by waiting for one's turn, in this process by a fair lock and among processes
//! by a lock of the engine that ends with the transaction; so a transaction does not fail half-way because another one was
//! faster. What still may pass by itself (a deadlock with a stranger, a server that restarts) is tried again by
//! [`Database::retry`].

mod address;
mod alone;
mod backup;
mod error;
mod handle;
pub mod hex;
mod migrating;
mod postgres;
mod rows;
mod schema;
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;

pub use address::Engine;
pub use alone::Alone;
pub use backup::{Manifest, TableCopy, restore, verify_backup};
pub use error::{Error, Transient};
pub use handle::{Database, Health, Options, Reading, Writing};
pub use rows::{TableRows, difference};
pub use schema::{Migration, Schema};
