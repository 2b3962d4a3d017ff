//! Acts that need several persons: what destroys data, gives keys, or goes to a spacecraft.
//!
//! ```text
//!            approve (the last seat)        begin            succeed
//!   asked ───────────────────────> approved ─────> executing ──────> done
//!     │ │                            │  │              │ fail
//!     │ └── withdraw, refuse, expire ┘  │              └───────────> failed
//!     └────> withdrawn, refused, expired <─┘
//! ```
//!
//! | what | where |
//! |---|---|
//! | who acts, what a kind of act needs | [`Actor`], [`PersonId`], [`Rule`] |
//! | an order, and the one function that changes it | [`Order`], [`Step`], [`Order::step`]; no clock, no database |
//! | orders in the database, each step with its audit entry in one transaction | [`SCHEMA`], [`ask`], [`act`], [`perform`], [`get`], [`list`], [`expire_due`] |
//!
//! * An order is bound to the SHA-256 of what is approved: who approves, and who executes, names that hash.
//! * Nobody approves his own order, also not through a second account: persons are told apart by a [`PersonId`] that stands
//!   above accounts. The database refuses it as well.
//! * Every seat of the rule is filled by another person who has its role. The rule is the one of the moment of asking.
//! * An order that was begun is executed once. What a service finds in `executing` after a kill it looks at, and says
//!   whether it succeeded or failed: [`list`] with that state.

mod automaton;
mod error;
mod order;
mod seats;
mod table;

pub use automaton::{Refusal, Step};
pub use error::Error;
pub use order::{Actor, Approval, Ending, Execution, NewOrder, Order, OrderState, PersonId, Rule};
pub use table::{Filter, PAGE_MAX, SCHEMA, act, ask, expire_due, get, list, perform};
