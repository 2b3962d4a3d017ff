//! Configuration in TOML, for every program of `fep`: what is read knows where it was written, and a mistake is reported with
//! file, line, column, key and what is allowed. It knows no key of anybody.
//!
//! There are two ways to read, for two kinds of files:
//!
//! * [`Document`]: sections that types of serde read. For processes that share one file.
//! * [`Section`]: tables walked by hand, through layers (a user's file over a built-in one).
//!   For a configuration whose parts depend on each other.
//!
//! Either way every mistake is reported at once.
//!
//! ```
//! let source = fep_config::Source::new("mine.toml", "[link]\nport = 70000\ncolour = 1\n");
//! let mut found = fep_config::Diagnostics::default();
//! let table = fep_config::parse(&source, &mut found);
//! let root = fep_config::Section::root(&source, &table);
//! let link = root.table("link", &mut found);
//! assert_eq!(link.integer("port", 1..=65535u16, &mut found), None);
//! link.finish(&mut found);
//! root.finish(&mut found);
//! assert_eq!(
//!     found.into_result().unwrap_err().to_string(),
//!     "mine.toml:2:8: link.port: 70000 is out of range (allowed: 1 to 65535)\n\
//!      mine.toml:3:1: link.colour: unknown key (allowed: port)"
//! );
//! ```

mod diagnostics;
mod digest;
mod document;
mod every;
mod near;
mod section;
mod source;
mod syntax;
mod words;

pub use diagnostics::{ConfigError, ConfigErrors, Diagnostics, SHOWN_MAX};
pub use digest::digest_of_hex;
pub use document::Document;
pub use near::{distance, nearest};
pub use section::{Place, Section, parse};
pub use source::{FILE_MAX, Source};
pub use words::plain_mistake;
