//! All cases, area by area: one module an area, each with `pub fn cases() -> Vec<Case>`.

use crate::Case;

pub mod antennas;
pub mod archive_query;
pub mod bus;
pub mod chain;
pub mod conv;
pub mod engine;
pub mod index;
pub mod ldpc;
pub mod merge;
pub mod net;
pub mod recorder;
pub mod replay;
pub mod rs;
pub mod soft;
pub mod sync;
pub mod tc;
pub mod turbo;

/// Every case, in the order of printing.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(archive_query::cases());
    cases.extend(bus::cases());
    cases.extend(chain::cases());
    cases.extend(conv::cases());
    cases.extend(engine::cases());
    cases.extend(index::cases());
    cases.extend(ldpc::cases());
    cases.extend(merge::cases());
    cases.extend(antennas::cases());
    cases.extend(net::cases());
    cases.extend(recorder::cases());
    cases.extend(replay::cases());
    cases.extend(rs::cases());
    cases.extend(soft::cases());
    cases.extend(sync::cases());
    cases.extend(tc::cases());
    cases.extend(turbo::cases());
    cases
}
