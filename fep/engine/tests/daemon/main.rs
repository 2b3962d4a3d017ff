//! The real daemon.

mod basics;
mod downlink;
mod hardship;
mod merge;
mod process;
mod roles;
