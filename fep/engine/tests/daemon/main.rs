//! The real daemon.

mod basics;
mod clients;
mod downlink;
mod hardship;
mod merge;
mod process;
mod red;
mod roles;
mod stations;
mod takeover;
