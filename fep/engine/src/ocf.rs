//! The outlet of operational control fields: the newest CLCW of each virtual channel of the way up, in a page of shared
//! memory, for FOP-1 and for people.
//!
//! | | |
//! |---|---|
//! | page | `<role>.ocf`, of the colour of the frame that the field came in |
//! | key | `scid << 8 \| vcid` for a CLCW, with the virtual channel that it reports on; `1 << 31 \| scid << 8 \| vcid` for any other report, with the virtual channel of its frame |
//! | value | octets 0–3: the field as it came; 4: virtual channel of its frame; 5: 1 when a code or a FECF has verified the frame, else 0 |
//!
//! FOP-1 wants the newest report on its own virtual channel, whichever frame and antenna brought it (232.1-B-2 5.1.2 keeps
//! one FOP-1 a virtual channel): so the key is that of the report. A field that was received before the one in the page does
//! not replace it.

use std::collections::BTreeMap;

use fep_bus::{BusError, Colour, LatestPage, LatestReader, LatestSpec};
use fep_ccsds::OcfReport;
use fep_downlink::OcfOut;
use fep_time::{Monotonic, Tai};

use crate::rings::BusSetting;
use fep_control::api::ClcwStatus;

/// Keys of a page: 64 virtual channels of some spacecraft.
const CAPACITY: usize = 1024;
/// Marks the key of a report that is no CLCW.
const OTHER: u64 = 1 << 31;
/// A page without a sign of life for so long is out of date.
const SILENT_AFTER_NS: i64 = 2_000_000_000;

/// What came of the fields.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OcfCounts {
    /// CLCWs.
    clcws: u64,
    /// Other reports.
    others: u64,
    /// Fields for which the page has no room.
    refused: u64,
}

impl OcfCounts {
    /// In the order of their names in the metric page.
    pub(crate) fn values(&self) -> [u64; 3] {
        [self.clcws, self.others, self.refused]
    }
}

/// Name of the page of a role.
fn page_name(role: &str) -> String {
    format!("{role}.ocf")
}

/// The pages of one role.
pub(crate) struct OcfOutlet {
    black: LatestPage,
    red: Option<LatestPage>,
    /// When the field in the page was received, by key.
    newest: BTreeMap<u64, Tai>,
    pub(crate) counts: OcfCounts,
}

impl OcfOutlet {
    /// Makes the pages, without values.
    ///
    /// # Errors
    /// A page that cannot be made.
    pub(crate) fn open(setting: &BusSetting, role: &str, red: bool) -> Result<OcfOutlet, BusError> {
        let page = |colour| {
            let access = setting.access(colour);
            let spec = LatestSpec { colour, access, ..LatestSpec::new(page_name(role), CAPACITY) };
            LatestPage::create(&setting.dir, &spec)
        };
        Ok(OcfOutlet {
            black: page(Colour::Black)?,
            red: if red { Some(page(Colour::Red)?) } else { None },
            newest: BTreeMap::new(),
            counts: OcfCounts::default(),
        })
    }

    /// Takes a field. Neither waits, nor allocates but for a key that is new.
    pub(crate) fn take(&mut self, ocf: &OcfOut) {
        let OcfOut { gvcid, octets, received, colour, verified } = *ocf;
        let scid = u64::from(gvcid.scid) << 8;
        let key = match OcfReport::parse(octets) {
            OcfReport::Clcw(clcw) => {
                self.counts.clcws += 1;
                scid | u64::from(clcw.vcid)
            }
            _ => {
                self.counts.others += 1;
                OTHER | scid | u64::from(gvcid.vcid)
            }
        };
        let page = match (colour, &mut self.red) {
            (Colour::Red, Some(red)) => red,
            // The pages are made for the colours of the channel, as the rings are.
            (Colour::Red, None) => unreachable!("a red field without a red page"),
            (Colour::Black, _) => &mut self.black,
        };
        if self.newest.get(&key).is_some_and(|newest| received < *newest) {
            return;
        }
        let [a, b, c, d] = octets;
        match page.set(key, &[a, b, c, d, gvcid.vcid, u8::from(verified)], received) {
            Ok(_) => {
                self.newest.insert(key, received);
            }
            Err(_) => self.counts.refused += 1,
        }
    }

    pub(crate) fn housekeep(&mut self, now: Monotonic) {
        for page in std::iter::once(&mut self.black).chain(&mut self.red) {
            page.heartbeat(now);
        }
    }

    /// Whether the pages still lie under their names.
    pub(crate) fn is_still_linked(&self) -> bool {
        std::iter::once(&self.black).chain(&self.red).all(LatestPage::is_still_linked)
    }
}

/// Opens the black page of a role for reading: what is shown to everybody who may ask for the status.
pub(crate) fn open_reader(setting: &BusSetting, role: &str) -> Option<LatestReader> {
    LatestReader::open(&setting.dir, &format!("black/{}", page_name(role))).ok()
}

/// The CLCWs of a page, by spacecraft and virtual channel.
pub(crate) fn clcws(reader: &LatestReader) -> Vec<ClcwStatus> {
    let live = reader.is_live(Monotonic::now(), SILENT_AFTER_NS);
    let now = fep_time::tai_now();
    let mut statuses: Vec<ClcwStatus> = reader
        .iter()
        // One that is replaced faster than it can be read is shown by the next answer.
        .filter_map(Result::ok)
        .filter_map(|latest| {
            let [a, b, c, d, frame_vcid, verified] = *latest.value() else { return None };
            let OcfReport::Clcw(clcw) = OcfReport::parse([a, b, c, d]) else { return None };
            Some(ClcwStatus {
                scid: (latest.key >> 8) as u16,
                vcid: clcw.vcid,
                frame_vcid,
                verified: verified == 1,
                live,
                received_tai_ns: latest.received.0,
                age_ms: now.ns_since(latest.received) / 1_000_000,
                status: clcw.status,
                no_rf_available: clcw.no_rf_available,
                no_bit_lock: clcw.no_bit_lock,
                lockout: clcw.lockout,
                wait: clcw.wait,
                retransmit: clcw.retransmit,
                farm_b_counter: clcw.farm_b_counter,
                report_value: clcw.report_value,
            })
        })
        .collect();
    statuses.sort_by_key(|clcw| (clcw.scid, clcw.vcid));
    statuses
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_ccsds::{Clcw, Gvcid};

    fn setting(dir: &std::path::Path) -> BusSetting {
        BusSetting { dir: dir.to_owned(), rings: fep_control::config::load(None).unwrap().rings }
    }

    fn ocf(frame_vcid: u8, report_vcid: u8, report_value: u8, at: i64, colour: Colour) -> OcfOut {
        let clcw =
            Clcw { vcid: report_vcid, report_value, lockout: true, ..Clcw::parse([1, 0, 0, 0]).unwrap() };
        let gvcid = Gvcid { tfvn: 0, scid: 171, vcid: frame_vcid };
        OcfOut { gvcid, octets: clcw.emit(), received: Tai(at), colour, verified: true }
    }

    // REQ: FEP-ENG-108
    #[test]
    fn the_newest_report_on_each_virtual_channel_is_kept_whichever_frame_brought_it() {
        let dir = tempfile::tempdir().unwrap();
        let setting = setting(dir.path());
        let mut outlet = OcfOutlet::open(&setting, "leo", false).unwrap();
        outlet.take(&ocf(0, 1, 10, 100, Colour::Black));
        outlet.take(&ocf(3, 1, 12, 300, Colour::Black));
        outlet.take(&ocf(0, 1, 11, 200, Colour::Black));
        outlet.take(&ocf(0, 2, 77, 250, Colour::Black));
        let type_2 = OcfOut { octets: [0x80, 1, 2, 3], ..ocf(0, 0, 0, 400, Colour::Black) };
        outlet.take(&type_2);
        outlet.housekeep(Monotonic::now());
        let shown = clcws(&open_reader(&setting, "leo").unwrap());
        let brief: Vec<_> =
            shown.iter().map(|c| (c.scid, c.vcid, c.frame_vcid, c.report_value, c.lockout)).collect();
        assert_eq!(brief, [(171, 1, 3, 12, true), (171, 2, 0, 77, true)]);
        assert!(shown.iter().all(|clcw| clcw.live && clcw.verified));
        assert_eq!(outlet.counts.values(), [4, 1, 0]);
    }

    // REQ: FEP-ENG-108
    #[test]
    fn fields_of_red_frames_stay_in_the_red_page() {
        let dir = tempfile::tempdir().unwrap();
        let setting = setting(dir.path());
        let mut outlet = OcfOutlet::open(&setting, "leo", true).unwrap();
        outlet.take(&ocf(5, 1, 10, 100, Colour::Red));
        assert!(clcws(&open_reader(&setting, "leo").unwrap()).is_empty());
        let red = LatestReader::open(dir.path(), "red/leo.ocf").unwrap();
        assert_eq!(clcws(&red).len(), 1);
    }
}
