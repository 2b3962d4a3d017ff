//! The archive service as a library: what the daemon `fep-archive` runs, and what its tests and benchmarks call.
//!
//! | what | where |
//! |---|---|
//! | from a query to rows and octets | [`retrieval`] |
//! | the forms of an answer | [`form`] |
//! | answers whole, in part, with manifest | [`answer`] |

pub mod answer;
pub mod form;
pub mod retrieval;
