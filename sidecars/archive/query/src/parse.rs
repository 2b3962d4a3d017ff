//! From URL parameters to a retrieval.

use fep_record::Session;

use crate::selection::session_name;
use crate::times::TIME_FORMS;
use crate::{BadParameter, Colour, Format, Idle, Numbers, Quality, Retrieval, Unit, parse_time};

/// A query text longer than this is no query.
pub(crate) const QUERY_MAX: usize = 8 << 10;
/// More rings than a station has.
const RINGS_MAX: usize = 64;
/// Names of rings are at most so long, as the bus has it.
const RING_NAME_MAX: usize = 31;

/// Every parameter, in the order of messages and documentation.
const NAMES: [&str; 19] = [
    "from",
    "to",
    "onboard_from",
    "onboard_to",
    "scid",
    "vcid",
    "apid",
    "link",
    "ring",
    "colour",
    "session",
    "pus_type",
    "pus_subtype",
    "quality",
    "idle",
    "merged",
    "format",
    "octets",
    "limit",
];

/// Parameters that only packets have.
const OF_PACKETS: [&str; 5] = ["onboard_from", "onboard_to", "apid", "pus_type", "pus_subtype"];

impl Retrieval {
    /// Reads the part of a URL after the question mark (percent-encoded as forms are).
    ///
    /// # Errors
    /// The first parameter that is refused.
    pub fn parse(unit: Unit, query: &str) -> Result<Retrieval, BadParameter> {
        if query.len() > QUERY_MAX {
            return Err(bad("", format!("the query is longer than {QUERY_MAX} octets"), ""));
        }
        Self::from_pairs(unit, form_urlencoded::parse(query.as_bytes()))
    }

    /// As [`Retrieval::parse`], from names and values that are decoded already.
    ///
    /// # Errors
    /// The first parameter that is refused.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        unit: Unit,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Retrieval, BadParameter> {
        let mut retrieval = Retrieval::all(unit);
        let mut octets = None;
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            let Some(known) = NAMES.iter().find(|known| **known == name) else {
                return Err(bad(name, "unknown parameter", &NAMES.join(", ")));
            };
            if seen.contains(known) {
                return Err(bad(name, "given twice", "one, with several values after commas"));
            }
            seen.push(known);
            if unit == Unit::Frames && OF_PACKETS.contains(known) {
                return Err(bad(name, "frames have none", "for packets only"));
            }
            if *known == "octets" {
                octets = Some(yes_or_no(name, value)?);
            } else {
                set(&mut retrieval, known, value)?;
            }
        }
        let tabular = matches!(retrieval.format, Format::JsonLines | Format::Csv | Format::Parquet);
        if octets.is_some() && !tabular {
            let detail = format!("the form {} is octets and nothing else", retrieval.format);
            return Err(bad("octets", detail, "with format jsonl, csv or parquet"));
        }
        retrieval.octets = octets.unwrap_or(retrieval.format == Format::Parquet);
        let selection = &retrieval.selection;
        for (from, to, name) in [
            (selection.from_tai_ns, selection.to_tai_ns, "to"),
            (selection.onboard_from_tai_ns, selection.onboard_to_tai_ns, "onboard_to"),
        ] {
            if let (Some(from), Some(to)) = (from, to)
                && from >= to
            {
                return Err(bad(name, "not after the beginning of the span", "a later time"));
            }
        }
        Ok(retrieval)
    }
}

fn set(retrieval: &mut Retrieval, name: &'static str, value: &str) -> Result<(), BadParameter> {
    let selection = &mut retrieval.selection;
    let time = || parse_time(value).map(Some).map_err(|detail| bad(name, detail, TIME_FORMS));
    let numbers = |max: u16| {
        Numbers::parse(value, max)
            .map(Some)
            .map_err(|detail| bad(name, detail, &format!("numbers 0 to {max} and ranges, as 1,5,10-20")))
    };
    match name {
        "from" => selection.from_tai_ns = time()?,
        "to" => selection.to_tai_ns = time()?,
        "onboard_from" => selection.onboard_from_tai_ns = time()?,
        "onboard_to" => selection.onboard_to_tai_ns = time()?,
        "scid" => selection.scid = numbers(u16::MAX)?,
        "vcid" => selection.vcid = numbers(63)?,
        "apid" => selection.apid = numbers(2047)?,
        "link" => selection.link = numbers(u16::MAX)?,
        "pus_type" => selection.pus_type = numbers(255)?,
        "pus_subtype" => selection.pus_subtype = numbers(255)?,
        "ring" => selection.ring = rings(value)?,
        "session" => selection.session = sessions(value)?,
        "colour" => selection.colour = choice(name, value, Colour::ALL, Colour::name)?,
        "quality" => selection.quality = choice(name, value, Quality::ALL, Quality::name)?,
        "idle" => selection.idle = choice(name, value, Idle::ALL, Idle::name)?,
        "merged" => selection.merged = yes_or_no(name, value)?,
        "format" => {
            retrieval.format = choice(name, value, Format::of_unit(retrieval.unit), Format::name)?;
        }
        _ => retrieval.limit = Some(limit(name, value)?),
    }
    Ok(())
}

fn choice<T: Copy>(
    name: &str,
    value: &str,
    all: &[T],
    spelling: impl Fn(T) -> &'static str,
) -> Result<T, BadParameter> {
    all.iter().copied().find(|each| spelling(*each) == value).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|each| spelling(*each)).collect();
        bad(name, format!("unknown value {value:?}"), &names.join(", "))
    })
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, BadParameter> {
    choice(name, value, &[true, false], |yes| if yes { "yes" } else { "no" })
}

fn limit(name: &str, value: &str) -> Result<u64, BadParameter> {
    let digits = value.bytes().all(|octet| octet.is_ascii_digit());
    match value.parse() {
        Ok(limit) if digits && limit > 0 => Ok(limit),
        _ => Err(bad(name, format!("{value:?} is no number of units"), "a number from 1")),
    }
}

fn rings(value: &str) -> Result<Vec<String>, BadParameter> {
    let allowed = "names of rings after commas, as npp.frames,npp.packets";
    let legal = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-_.".contains(&octet);
    let mut rings: Vec<String> = value.split(',').map(str::to_owned).collect();
    for ring in &rings {
        if ring.is_empty() || ring.len() > RING_NAME_MAX || ring.starts_with('.') || !ring.bytes().all(legal)
        {
            return Err(bad("ring", format!("{ring:?} is no name of a ring"), allowed));
        }
    }
    rings.sort();
    rings.dedup();
    if rings.len() > RINGS_MAX {
        return Err(bad("ring", format!("more than {RINGS_MAX} rings"), allowed));
    }
    Ok(rings)
}

fn sessions(value: &str) -> Result<Vec<Session>, BadParameter> {
    const ALL: [Session; 3] = [Session::Ops, Session::Test, Session::Replay];
    let mut sessions = Vec::new();
    for part in value.split(',') {
        sessions.push(choice("session", part, &ALL, session_name)?);
    }
    sessions.sort_unstable_by_key(|session| *session as u8);
    sessions.dedup();
    Ok(sessions)
}

pub(crate) fn bad(name: &str, detail: impl Into<String>, allowed: &str) -> BadParameter {
    // What a stranger sent comes back in messages and logs: short.
    BadParameter {
        name: name.chars().take(64).collect(),
        detail: detail.into().chars().take(200).collect(),
        allowed: allowed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Selection;
    use proptest::prelude::*;

    fn refusal(unit: Unit, query: &str) -> String {
        Retrieval::parse(unit, query).expect_err(query).to_string()
    }

    // REQ: FEP-DACQ-001
    #[test]
    fn every_parameter_sets_its_condition() {
        let query = "from=2024-12-06T17:38:15Z&to=2024-341T17:39:00Z&onboard_from=tai:5&onboard_to=tai:6&scid=157&vcid=0,16-18\
            &apid=800&link=3&ring=npp.packets,aqua.packets&colour=red&session=replay,ops&pus_type=3&pus_subtype=25,26\
            &quality=any&idle=no&merged=no&format=csv&octets=yes&limit=10";
        let retrieval = Retrieval::parse(Unit::Packets, query).expect("all known");
        let selection = &retrieval.selection;
        assert_eq!(
            selection.to_tai_ns.map(|to| to - selection.from_tai_ns.unwrap_or(0)),
            Some(45_000_000_000)
        );
        assert_eq!((selection.onboard_from_tai_ns, selection.onboard_to_tai_ns), (Some(5), Some(6)));
        assert_eq!(selection.scid, Some(Numbers::one(157)));
        assert_eq!(selection.vcid.as_ref().map(ToString::to_string).as_deref(), Some("0,16-18"));
        assert_eq!(selection.apid, Some(Numbers::one(800)));
        assert_eq!(selection.link, Some(Numbers::one(3)));
        assert_eq!(selection.ring, ["aqua.packets", "npp.packets"]);
        assert_eq!(selection.colour, Colour::Red);
        assert_eq!(selection.session, [Session::Ops, Session::Replay]);
        assert_eq!(selection.pus_type, Some(Numbers::one(3)));
        assert_eq!(selection.pus_subtype.as_ref().map(ToString::to_string).as_deref(), Some("25-26"));
        assert_eq!((selection.quality, selection.idle, selection.merged), (Quality::Any, Idle::No, false));
        assert_eq!((retrieval.format, retrieval.octets, retrieval.limit), (Format::Csv, true, Some(10)));
        assert_eq!(Retrieval::parse(Unit::Frames, ""), Ok(Retrieval::all(Unit::Frames)));
    }

    // REQ: FEP-DACQ-002
    #[test]
    fn what_is_unknown_or_wrong_is_refused_by_name_with_what_is_allowed() {
        for (unit, query, told) in [
            (
                Unit::Frames,
                "vcid=64",
                "vcid: 64 is above 63 (allowed: numbers 0 to 63 and ranges, as 1,5,10-20)",
            ),
            (Unit::Frames, "apid=5", "apid: frames have none (allowed: for packets only)"),
            (
                Unit::Frames,
                "vcid=1&vcid=2",
                "vcid: given twice (allowed: one, with several values after commas)",
            ),
            (
                Unit::Frames,
                "format=packets",
                "format: unknown value \"packets\" (allowed: jsonl, csv, parquet, frames, cadu, pcapng)",
            ),
            (
                Unit::Packets,
                "format=pcapng&octets=yes",
                "octets: the form pcapng is octets and nothing else (allowed: with format jsonl, csv or parquet)",
            ),
            (
                Unit::Packets,
                "from=2024-01-02&to=2024-01-01",
                "to: not after the beginning of the span (allowed: a later time)",
            ),
            (Unit::Packets, "limit=0", "limit: \"0\" is no number of units (allowed: a number from 1)"),
            (Unit::Packets, "session=live", "session: unknown value \"live\" (allowed: ops, test, replay)"),
            (
                Unit::Packets,
                "quality",
                "quality: unknown value \"\" (allowed: good, clean, corrected, bad, any)",
            ),
        ] {
            assert_eq!(refusal(unit, query), told);
        }
        assert!(refusal(Unit::Frames, "VCID=1").starts_with("VCID: unknown parameter (allowed: from, to"));
        assert!(refusal(Unit::Frames, "ring=../x").starts_with("ring: \"../x\" is no name of a ring"));
        assert!(refusal(Unit::Frames, "from=yesterday").contains("allowed: UTC as 2024-12-06"));
        let long = format!("scid={}", "1,".repeat(5000));
        assert!(refusal(Unit::Frames, &long).contains("longer than"));
    }

    fn numbers(max: u16) -> impl Strategy<Value = Option<Numbers>> {
        prop::option::of(prop::collection::vec((0..=max, 0..=max), 1..5).prop_map(move |pairs| {
            let text: Vec<String> = pairs.iter().map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))).collect();
            Numbers::parse(&text.join(","), max).expect("well formed")
        }))
    }

    prop_compose! {
        fn selections()(
            times in (any::<i64>(), 1..i64::MAX), timed in any::<[bool; 4]>(),
            scid in numbers(u16::MAX), vcid in numbers(63), apid in numbers(2047), link in numbers(u16::MAX),
            pus in (numbers(255), numbers(255)), rings in prop::collection::btree_set("[a-z][a-z.]{0,8}", 0..3),
            sessions in prop::collection::btree_set(0_u8..3, 1..4),
            pick in (0..5_usize, 0..3_usize, 0..2_usize, any::<bool>()),
        ) -> Selection {
            let (from, length) = times;
            let from = from.min(i64::MAX - length);
            let packed = |on: bool, value| if on { Some(value) } else { None };
            Selection {
                from_tai_ns: packed(timed[0], from),
                to_tai_ns: packed(timed[1], from + length),
                onboard_from_tai_ns: packed(timed[2], from),
                onboard_to_tai_ns: packed(timed[3], from + length),
                scid, vcid, apid, link,
                ring: rings.into_iter().collect(),
                colour: Colour::ALL[pick.2],
                session: sessions.into_iter().filter_map(Session::from_u8).collect(),
                pus_type: pus.0,
                pus_subtype: pus.1,
                quality: Quality::ALL[pick.0],
                idle: Idle::ALL[pick.1],
                merged: pick.3,
            }
        }
    }

    proptest! {
        // REQ: FEP-DACQ-003
        #[test]
        fn the_canonical_text_of_any_retrieval_parses_to_the_same_retrieval(
            selection in selections(), form in 0..5_usize, octets in any::<bool>(), limit in prop::option::of(1..u64::MAX),
        ) {
            let format = Format::of_unit(Unit::Packets)[form];
            let octets = octets && form < 3;
            let retrieval = Retrieval { unit: Unit::Packets, selection, format, octets, limit };
            prop_assert_eq!(Retrieval::parse(Unit::Packets, &retrieval.to_string()), Ok(retrieval));
        }

        #[test]
        fn no_text_panics_and_what_is_taken_is_taken_again_in_its_canonical_form(text in ".{0,200}") {
            for unit in [Unit::Frames, Unit::Packets] {
                if let Ok(retrieval) = Retrieval::parse(unit, &text) {
                    prop_assert_eq!(Retrieval::parse(unit, &retrieval.to_string()), Ok(retrieval));
                }
            }
        }
    }
}
