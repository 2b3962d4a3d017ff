//! From the command line's conditions to the query of the service, checked before anything is sent.

use fep_archive_query::{Format, Retrieval, Unit, time_text};

use super::args::{Selection, UnitName};
use crate::failure::Failure;
use crate::times;

impl From<UnitName> for Unit {
    fn from(name: UnitName) -> Unit {
        match name {
            UnitName::Frames => Unit::Frames,
            UnitName::Packets => Unit::Packets,
        }
    }
}

/// By then what was received is in the index or the open tail.
const SETTLED_AFTER_NS: i64 = 2_000_000_000;

/// The retrieval that is asked for.
pub(crate) fn retrieval(
    unit: UnitName,
    selection: &Selection,
    format: Option<&str>,
    octets: bool,
    limit: Option<u64>,
) -> Result<Retrieval, Failure> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let given = [
        ("from", &selection.from),
        ("to", &selection.to),
        ("onboard_from", &selection.onboard_from),
        ("onboard_to", &selection.onboard_to),
        ("scid", &selection.scid),
        ("vcid", &selection.vcid),
        ("apid", &selection.apid),
        ("link", &selection.link),
        ("ring", &selection.ring),
        ("colour", &selection.colour),
        ("session", &selection.session),
        ("pus_type", &selection.pus_type),
        ("pus_subtype", &selection.pus_subtype),
        ("quality", &selection.quality),
        ("idle", &selection.idle),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            pairs.push((name, value.clone()));
        }
    }
    if let Some(last) = &selection.last {
        let (now, last) = (fep_time::tai_now().0, duration_ns(last)?);
        pairs.push(("from", time_text(now.saturating_sub(last))));
        if selection.to.is_none() && last > SETTLED_AFTER_NS {
            // An end, so that the answer stays what it is while it is fetched.
            pairs.push(("to", time_text(now.saturating_sub(SETTLED_AFTER_NS))));
        }
    }
    if selection.every_copy {
        pairs.push(("merged", "no".to_owned()));
    }
    if let Some(format) = format {
        pairs.push(("format", format.to_owned()));
    }
    if octets {
        pairs.push(("octets", "yes".to_owned()));
    }
    if let Some(limit) = limit {
        pairs.push(("limit", limit.to_string()));
    }
    Retrieval::from_pairs(unit.into(), pairs).map_err(|refused| {
        let option = refused.name.replace('_', "-");
        let mut message = format!("--{option}: {}", refused.detail);
        if !refused.allowed.is_empty() {
            message.push_str(&format!(" (allowed: {})", refused.allowed));
        }
        let failure = Failure::usage(message);
        match refused.name.as_str() {
            "from" | "to" => failure.hint("the last day is --last 1d"),
            _ => failure,
        }
    })
}

/// The beginning and the end of `--last`, as the service reads them: the end is now.
pub(crate) fn last_span(last: &str) -> Result<(String, String), Failure> {
    let (now, last) = (fep_time::tai_now().0, duration_ns(last)?);
    Ok((time_text(now.saturating_sub(last)), time_text(now)))
}

/// Whether the length of this form is known before it is made.
pub(crate) fn length_is_known(format: Format) -> bool {
    matches!(format, Format::Frames | Format::Packets | Format::Cadu | Format::Pcapng)
}

/// `90s`, `10m`, `2h`, `1d`.
fn duration_ns(text: &str) -> Result<i64, Failure> {
    times::duration_ns(text).ok_or_else(|| {
        Failure::usage(format!("--last: {text:?} is no length of time (allowed: {})", times::AGO_FORMS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_back_from_now_have_a_number_and_a_unit() {
        assert_eq!(duration_ns("90s").ok(), Some(90_000_000_000));
        assert_eq!(duration_ns("0.5h").ok(), Some(1_800_000_000_000));
        for wrong in ["", "m", "10", "10x", "-5m", "1e300d", "10µ"] {
            assert!(duration_ns(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_condition_that_the_service_would_refuse_is_refused_by_its_option() {
        let selection = Selection { apid: Some("9999".to_owned()), ..Selection::default() };
        let failure = retrieval(UnitName::Packets, &selection, None, false, None).expect_err("no such APID");
        assert!(failure.to_string().starts_with("--apid: 9999 is above 2047"), "{failure}");
        let selection = Selection { onboard_from: Some("2024-01-01".to_owned()), ..Selection::default() };
        let failure =
            retrieval(UnitName::Frames, &selection, None, false, None).expect_err("frames have none");
        assert!(failure.to_string().starts_with("--onboard-from: frames have none"), "{failure}");
    }

    // REQ: FEP-CTL-175
    #[test]
    fn what_is_no_time_is_quoted_with_the_forms_that_are_and_how_to_say_a_time_until_now() {
        let selection = Selection { from: Some("yesterday".to_owned()), ..Selection::default() };
        let failure = retrieval(UnitName::Frames, &selection, None, false, None).expect_err("no time");
        let said = failure.to_string();
        assert!(said.starts_with("--from: \"yesterday\" is no time (allowed: UTC as 2024-12-06, "), "{said}");
        assert!(said.ends_with("--last 1d") && said.matches("allowed").count() == 1, "{said}");
    }
}
