//! Clients of the services: one way to reach a service, and its interface as types.
//!
//! | what | where |
//! |---|---|
//! | where a service is | [`Address`] |
//! | authorities, client certificate | [`Tls`] |
//! | ticket or token | [`Bearer`] |
//! | asking: whole answers, streams | [`Client`], [`Reply`]; without a runtime of one's own: [`blocking`] |
//! | events that resume | [`Follow`], [`Event`] |
//! | what can go wrong | [`Error`], [`Refusal`], [`TlsFault`] |
//! | what can be asked, and what is answered | [`api`], [`model`] |
//! | an answer that is printed as it came | [`Verbatim`] |
//!
//! A request is declared once, as a [`Call`] of the type of its answer; both kinds of client take it:
//!
//! ```no_run
//! # async fn example() -> Result<(), fep_client::Error> {
//! use fep_client::{Client, Config, api};
//! let archive = Client::new(Config::at("unix:/run/fep/archive.sock".parse()?))?;
//! for hold in archive.call(&api::archive::holds()).await? {
//!     println!("{}: {}", hold.id, hold.reason);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every wait has an end and every answer a bound: see [`Times`] and [`Config::answer_octets_max`]. A bearer is sent over
//! Unix sockets, to loopback addresses and over TLS; never in the clear to another machine.

mod address;
pub mod api;
pub mod blocking;
mod call;
mod client;
mod connect;
mod error;
mod follow;
pub mod model;
mod tls;
mod verbatim;

pub use address::Address;
pub use call::{Call, Done, Octets, Query, segment};
pub use client::{Bearer, Client, Config, Reply, Times};
pub use error::{CopyError, Error, Refusal, TlsFault};
pub use follow::{Event, Follow};
pub use hyper::header::{HeaderMap, HeaderName, HeaderValue};
pub use hyper::{Method, StatusCode, header};
pub use tls::Tls;
pub use verbatim::Verbatim;
