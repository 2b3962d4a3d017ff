//! Communications link control words (232.0-B-4 4.2) in words: what the receiver on board says of the telecommands it gets.

use std::io::{self, Write};

use fep_control::api::{ClcwStatus, Status};
use serde::Serialize;

use crate::figures;

/// One report, as the monitor and `link show` print it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ClcwRow {
    /// The link, or the spacecraft whose links are merged, that it came by.
    pub(crate) source: String,
    /// `SCID/VCID`, the virtual channel of the way up that it reports on.
    pub(crate) gvcid: String,
    /// V(R), the next frame sequence number that FARM-1 expects.
    pub(crate) report_value: u8,
    /// Counter of FARM-B.
    pub(crate) farm_b_counter: u8,
    /// Status field: of the mission.
    pub(crate) status: u8,
    /// The flags that are set, and what else to know; empty when all is well.
    pub(crate) remarks: Vec<&'static str>,
    /// Whether telecommands are not taken: lockout, wait, or no signal.
    pub(crate) blocked: bool,
    /// How long ago it was received.
    pub(crate) age_ms: i64,
}

impl ClcwRow {
    /// A report that came by this link or spacecraft.
    pub(crate) fn new(source: &str, clcw: &ClcwStatus) -> ClcwRow {
        let remarks = [
            (clcw.no_rf_available, "no RF"),
            (clcw.no_bit_lock, "no bit lock"),
            (clcw.lockout, "lockout"),
            (clcw.wait, "wait"),
            (clcw.retransmit, "retransmit"),
            (!clcw.verified, "unchecked frame"),
            (!clcw.live, "stale"),
        ];
        ClcwRow {
            source: source.to_owned(),
            gvcid: format!("{}/{}", clcw.scid, clcw.vcid),
            report_value: clcw.report_value,
            farm_b_counter: clcw.farm_b_counter,
            status: clcw.status,
            remarks: remarks.into_iter().filter(|(set, _)| *set).map(|(_, words)| words).collect(),
            blocked: clcw.no_rf_available || clcw.no_bit_lock || clcw.lockout || clcw.wait,
            age_ms: clcw.age_ms,
        }
    }

    /// Its flags in words.
    pub(crate) fn flags(&self) -> String {
        if self.remarks.is_empty() { "no flag".to_owned() } else { self.remarks.join(", ") }
    }

    /// How long ago it was received. A wall clock that was set back makes ages negative.
    pub(crate) fn age(&self) -> String {
        match u64::try_from(self.age_ms) {
            Err(_) => "in the future".to_owned(),
            Ok(ms) if ms < 60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
            Ok(ms) => figures::uptime(ms / 1000),
        }
    }
}

/// Every report that the daemon has: of links, and of spacecraft whose links are merged.
pub(crate) fn rows(status: &Status) -> Vec<ClcwRow> {
    let links = status.links.iter().map(|link| (&link.name, &link.clcws));
    let spacecraft = status.spacecraft.iter().map(|spacecraft| (&spacecraft.name, &spacecraft.clcws));
    links
        .chain(spacecraft)
        .flat_map(|(name, clcws)| clcws.iter().map(|clcw| ClcwRow::new(name, clcw)))
        .collect()
}

/// Writes them as a table; nothing when there are none.
pub(crate) fn table<'r>(
    out: &mut impl Write,
    rows: impl ExactSizeIterator<Item = &'r ClcwRow>,
) -> io::Result<()> {
    if rows.len() == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<16} {:<10} {:>5} {:>7} {:>7} {:>14}  FLAGS",
        "CLCW BY", "SCID/VCID", "V(R)", "FARM-B", "STATUS", "AGE"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16} {:<10} {:>5} {:>7} {:>7} {:>14}  {}",
            figures::fitted(&row.source, 16),
            row.gvcid,
            row.report_value,
            row.farm_b_counter,
            row.status,
            row.age(),
            row.flags()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-108
    #[test]
    fn every_flag_of_a_report_is_named_and_says_whether_telecommands_are_taken() {
        let quiet = ClcwStatus {
            scid: 157,
            vcid: 3,
            frame_vcid: 0,
            verified: true,
            live: true,
            received_tai_ns: 0,
            age_ms: 1_250,
            status: 0,
            no_rf_available: false,
            no_bit_lock: false,
            lockout: false,
            wait: false,
            retransmit: false,
            farm_b_counter: 2,
            report_value: 41,
        };
        let row = ClcwRow::new("npp", &quiet);
        assert_eq!((row.report_value, row.farm_b_counter, row.flags().as_str()), (41, 2, "no flag"));
        assert_eq!((row.gvcid.as_str(), row.age().as_str()), ("157/3", "1.2 s"));
        assert!(!row.blocked);
        type Set = fn(&mut ClcwStatus);
        let flags: [(Set, &str, bool); 7] = [
            (|clcw| clcw.no_rf_available = true, "no RF", true),
            (|clcw| clcw.no_bit_lock = true, "no bit lock", true),
            (|clcw| clcw.lockout = true, "lockout", true),
            (|clcw| clcw.wait = true, "wait", true),
            (|clcw| clcw.retransmit = true, "retransmit", false),
            (|clcw| clcw.verified = false, "unchecked frame", false),
            (|clcw| clcw.live = false, "stale", false),
        ];
        for (set, words, blocked) in flags {
            let mut clcw = quiet.clone();
            set(&mut clcw);
            let row = ClcwRow::new("npp", &clcw);
            assert_eq!((row.flags().as_str(), row.blocked), (words, blocked));
        }
        let of_age = |age_ms| ClcwRow::new("npp", &ClcwStatus { age_ms, ..quiet.clone() }).age();
        assert_eq!((of_age(-5).as_str(), of_age(0).as_str()), ("in the future", "0.0 s"));
    }
}
