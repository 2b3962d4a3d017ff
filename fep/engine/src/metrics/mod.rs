//! The metric page of a role: which numbers there are, how its thread writes them, how anybody reads them back.
//!
//! Counters are kept where they arise (chain, link, synchroniser, merge) and copied into the page in housekeeping; only
//! latencies are recorded as they happen.

mod page;
mod reading;

pub(crate) use page::{MetricPlan, RoleMetrics, Stage, ThreadFigures};
pub(crate) use reading::{CounterReading, Reading};

/// Names of the states of a transport, by number in the page.
const LINK_STATES: [&str; 7] =
    ["idle", "connecting", "connected", "listening", "ended", "failed", "disabled"];
pub(crate) const STATE_FAILED: u64 = 5;
pub(crate) const STATE_DISABLED: u64 = 6;
/// Names of the states of the synchroniser; the first for links without one.
const SYNC_STATES: [&str; 5] = ["", "search", "check", "lock", "flywheel"];
/// Stages whose latency from the socket is measured.
const STAGES: [&str; 2] = ["decoded", "published"];
/// Counters of an antenna of a merge: those of [`fep_downlink::AntennaCounts`], and what the bus lost.
const ANTENNA_NAMES: [&str; 7] =
    ["received", "served", "duplicates", "late", "bad", "pending", "lost_on_bus"];
/// What an antenna of a merge is at the moment.
const ANTENNA_GAUGES: [&str; 2] = ["heard", "waited_for"];
/// Counters of a merge as a whole.
const MERGE_NAMES: [&str; 5] = ["strangers", "waits_over", "overflowed", "placed_by_time", "unplaced"];
/// Counters of the operational control fields.
const OCF_NAMES: [&str; 3] = ["clcws", "others", "refused"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_a_merge_stands_in_the_operations_manual() {
        let manual = include_str!("../../../../docs/operations.md");
        for name in MERGE_NAMES {
            assert_eq!(manual.matches(&format!("\n| `{name}` | ")).count(), 1, "{name}");
        }
    }

    // REQ: FEP-ENG-350
    #[test]
    fn every_metric_of_a_page_has_a_help_text() {
        let groups: [(&str, &[&str]); 9] = [
            ("sync", page::SYNC_NAMES),
            ("sync", &["state"]),
            ("link", &["state", "up", "restarts"]),
            ("spacecraft", &["up", "restarts"]),
            ("antenna", &ANTENNA_NAMES),
            ("antenna", &ANTENNA_GAUGES),
            ("merge", &MERGE_NAMES),
            ("ocf", &OCF_NAMES),
            ("thread", &ThreadFigures::NAMES),
        ];
        for (group, names) in groups {
            for name in names {
                assert!(fep_control::metrics::help(&format!("{group}_{name}")).is_some(), "{group}_{name}");
            }
        }
        for stage in STAGES {
            assert!(fep_control::metrics::help(&format!("latency_{stage}_max_ns")).is_some(), "{stage}");
        }
        for family in ["latency", "bad_frames", "antenna_heard"] {
            assert!(fep_control::metrics::help(family).is_some(), "{family}");
        }
    }
}
