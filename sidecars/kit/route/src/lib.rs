//! Routes of services: declared once, served within limits, described, and tested from the declaration.
//!
//! | what | where |
//! |---|---|
//! | a route: method, path, roles, scope, parameters, bodies | [`Route`], [`Reach`], [`Form`] |
//! | bodies of requests and answers | [`Body`], [`Answer`], [`Json`], [`MaybeJson`], [`List`], [`Octets`] |
//! | all routes of a process: router, OpenAPI 3.1 document | [`Service`] |
//! | sizes, times and numbers | [`Limits`] |
//! | doors: loopback, Unix sockets, TLS 1.3; Host and Origin | [`Door`], [`DoorConfig`], [`serve`], [`Certificates`] |
//! | live data as events that resume | [`Feed`], [`Events`] |
//! | the section `[http]`, health, metrics | [`HttpConfig`], [`status_routes`] |
//! | names and texts in bodies | [`Name`], [`Text`] |
//! | the audit trail of a service (feature `audit`) | `audit::Trail` |
//! | what every service with a database stands on (feature `audit`) | `Base`, `BaseConfig`, `Failed` |
//! | orders and jobs of a service (features `orders`, `jobs`) | `orders::routes`, `jobs::routes` |
//! | log in, log out, tokens, accounts | [`login`] |
//! | the generated test of who may call what | [`Matrix`] |
//!
//! Whoever is not named by a declaration is refused: see [`Route`]'s module for what does not compile.

#[cfg(feature = "audit")]
pub mod audit;
#[cfg(feature = "audit")]
mod base;
mod body;
mod events;
#[cfg(feature = "audit")]
mod failed;
mod forms;
mod guard;
mod http;
#[cfg(feature = "jobs")]
pub mod jobs;
mod journal;
mod limits;
pub mod login;
mod matrix;
mod openapi;
#[cfg(feature = "orders")]
pub mod orders;
mod param;
pub mod route;
mod serve;
mod service;
mod text;
mod timed;
mod tls;
mod watched;

#[cfg(feature = "audit")]
pub use base::{Base, BaseConfig};
pub use body::{Answer, Body, Json, List, MaybeJson, Octets, Schemas};
pub use events::{EventError, Events, Feed, GAP, MAX_EVENT_BYTES};
#[cfg(feature = "audit")]
pub use failed::Failed;
pub use guard::Names;
pub use http::{HttpConfig, status_routes};
pub use limits::Limits;
pub use matrix::Matrix;
pub use param::{Form, Parameter, Place, Reach, Source, Values};
pub use route::{Access, Call, Declaration, Declared, Method, Route};
pub use serve::{ClientCertificate, Door, DoorConfig, DoorError, serve};
pub use service::{Arrival, Mistake, NOT_AUTHENTICATED, OUT_OF_SCOPE, ROLE_MISSING, Refusal, Service};
pub use text::{Name, Text};
pub use tls::{Certificates, ClientAuthority, TlsError, peer_of};
