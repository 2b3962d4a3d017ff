//! The frame synchroniser: its rules one by one, its properties against a naive oracle, and real and synthetic streams
//! made by other programs, through to decoded frames.

mod captures;
mod chains;
#[path = "../golden/mod.rs"]
mod golden;
mod oracle;
mod positions;
mod properties;
mod rules;
mod stream;
mod worst;
