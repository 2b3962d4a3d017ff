//! Bit error rate tests: pseudo-random sequences of ITU-T O.150 and a checker that needs nothing but the received bits.
//!
//! | sequence | recurrence | sent | O.150 |
//! |---|---|---|---|
//! | PN9 | s(t) = s(t-5) + s(t-9), x⁹+x⁵+1 | as it is | 5.1 (O.153) |
//! | PN15 | s(t) = s(t-14) + s(t-15), x¹⁵+x¹⁴+1 | inverted | 5.3 (O.151) |
//! | PN20 | s(t) = s(t-3) + s(t-20), x²⁰+x³+1 | as it is | 5.4 (O.153) |
//! | PN23 | s(t) = s(t-18) + s(t-23), x²³+x¹⁸+1 | inverted | 5.6 (O.151) |
//!
//! Polynomials and inversions as two public sources state them alike: the documentation of Keysight's 89600 vector signal
//! analysis software ("About PN Sequence Generation") and that of the `comnum-mapping` crate, which cites the clauses of
//! O.150 (05/96).
//!
//! Not here: error performance by seconds (G.821, G.826), which needs a clock, and the zero-suppressed PN20 of O.150 5.5.

mod checker;
mod interval;
mod sequence;

pub use checker::{BertChecker, BertCounters, BertEvent, Resync};
pub use interval::{BerInterval, Confidence, ber_interval};
pub use sequence::{Pn, PnGenerator};
