//! Time codes built by another program, and leap seconds as published.

mod golden;

use fep_ccsds::time::{Cds, CdsFormat, Cuc, CucFormat, SubMillisecond, TimeEpoch};
use fep_time::{LeapSeconds, Tai, Utc};
use golden::{cases, hex, number};
use serde_json::Value;

fn utc_of(case: &Value) -> Utc {
    Utc::parse_ascii(case["utc"].as_str().expect("a date")).expect("an ASCII time code").0
}

/// Midnight of the epoch that a case names.
fn epoch_of(case: &Value) -> (TimeEpoch, Utc) {
    let text = case["epoch"].as_str().expect("an epoch");
    if text.starts_with("1958-01-01") {
        return (TimeEpoch::Ccsds, Utc::new(1958, 1, 1, 0, 0, 0, 0).expect("a date"));
    }
    let (date, _) = text.split_once(' ').expect("a date and a remark");
    (TimeEpoch::Agency, Utc::parse_ascii(date).expect("an ASCII time code").0)
}

// REQ: FEP-TIME-001
#[test]
fn unsegmented_codes_of_another_encoder_parse_and_build_again() {
    let leap_seconds = LeapSeconds::builtin();
    let (mut compared, mut carries) = (0, 0);
    for case in cases("packets/time_codes.json").iter().filter(|case| case["code"] == "CUC") {
        let octets = hex(&case["p_and_t_field"]);
        let (cuc, rest) = Cuc::parse(&octets).expect("a CUC");
        assert!(rest.is_empty());
        let (epoch, epoch_utc) = epoch_of(case);
        let fine_octets = number(&case["fine_octets"]) as u8;
        let format =
            CucFormat::new(epoch, number(&case["coarse_octets"]) as u8, fine_octets).expect("a format");
        assert_eq!(cuc.format(), format);
        let epoch_tai = match epoch {
            TimeEpoch::Ccsds => Tai::EPOCH,
            TimeEpoch::Agency => leap_seconds.tai(epoch_utc).expect("a date"),
        };
        let tai = leap_seconds.tai(utc_of(case)).expect("in range");
        let mut built = Vec::new();
        cuc.emit_p_field(&mut built);
        cuc.emit_t_field(&mut built);
        assert_eq!(built, octets);
        let ours = Cuc::from_tai(format, epoch_tai, tai).expect("in range");
        // The other encoder rounds the fraction too, but where it rounds up to a whole second it forgets the carry (and
        // so, without fine octets, cuts).
        let fraction = (utc_of(case).ns_of_day() % 1_000_000_000) as u128;
        let bits = 8 * u32::from(fine_octets);
        let carry = ((((fraction << bits) + 500_000_000) / 1_000_000_000) >> bits) as u64;
        assert_eq!((ours.coarse(), ours.fine()), (cuc.coarse() + carry, cuc.fine()), "{case}");
        carries += carry;
        // Ours gives the time back to half a unit.
        let unit = 1e9 / 256_f64.powi(i32::from(fine_octets));
        let error = (ours.to_tai(epoch_tai).expect("in range").0 - tai.0) as f64;
        assert!(error.abs() <= unit / 2.0 + 1.0, "{case}: {error} ns");
        compared += 1;
    }
    assert!(compared > 70 && carries < 20, "{compared} codes, {carries} of them wrong by a second");
}

// REQ: FEP-TIME-002
#[test]
fn day_segmented_codes_of_another_encoder_parse_and_build_again() {
    let mut compared = 0;
    for case in cases("packets/time_codes.json").iter().filter(|case| case["code"] == "CDS") {
        let octets = hex(&case["p_and_t_field"]);
        let (cds, rest) = Cds::parse(&octets).expect("a CDS");
        assert!(rest.is_empty());
        let (epoch, epoch_utc) = epoch_of(case);
        let sub_millisecond = match number(&case["submillisecond_octets"]) {
            0 => SubMillisecond::None,
            2 => SubMillisecond::Microseconds,
            4 => SubMillisecond::Picoseconds,
            other => panic!("{other} octets below the millisecond"),
        };
        let format = CdsFormat { epoch, long_day: number(&case["day_bits"]) == 24, sub_millisecond };
        assert_eq!(cds.format(), format);
        let epoch_day = epoch_utc.day_since_1958();
        assert_eq!(Cds::from_utc(format, epoch_day, utc_of(case)), Ok(cds), "{case}");
        let mut built = Vec::new();
        cds.emit_p_field(&mut built);
        cds.emit_t_field(&mut built);
        assert_eq!(built, octets);
        let cut = utc_of(case).ns_of_day() - cds.to_utc(epoch_day).expect("a date").ns_of_day();
        assert!((0..1_000_000).contains(&cut), "{case}: {cut} ns");
        compared += 1;
    }
    assert!(compared > 50, "{compared} codes");
}

// REQ: FEP-TIME-003
#[test]
fn a_leap_second_has_a_time_of_its_own_in_every_direction() {
    let leap_seconds = LeapSeconds::builtin();
    let tai_of = |text: &str| leap_seconds.tai(Utc::parse_ascii(text).expect("an ASCII time code").0);
    let before = tai_of("2016-12-31T23:59:59Z").expect("a time");
    for (text, seconds) in [("2016-12-31T23:59:60Z", 1), ("2017-01-01T00:00:00Z", 2)] {
        let tai = tai_of(text).expect("a time");
        assert_eq!(tai.0 - before.0, seconds * 1_000_000_000, "{text}");
        assert_eq!(format!("{:.0}", leap_seconds.utc(tai).expect("a date")), text);
    }
    assert!(tai_of("2017-06-30T23:59:60Z").is_err(), "that day had none");
    // The day segmented code counts through it.
    let (utc, _) = Utc::parse_ascii("2016-12-31T23:59:60.5Z").expect("a time");
    let cds = Cds::from_utc(CdsFormat::SHORT, 0, utc).expect("in range");
    assert_eq!(cds.millisecond(), 86_400_500);
    assert_eq!(cds.to_utc(0), Ok(utc));
}

// REQ: FEP-TIME-004
#[test]
fn a_published_list_of_leap_seconds_replaces_and_extends_the_built_in_one() {
    // The published form, with the first and last two lines of the list, and one second that was never announced.
    let list = "#\n#$ 3945196800\n#@ 3991593600\n2272060800 10 # 1 Jan 1972\n2287785600 11 # 1 Jul 1972\n";
    let read = LeapSeconds::from_list(list).expect("a list");
    assert_eq!(read.table(), &LeapSeconds::builtin().table()[..2]);
    assert_eq!(read.valid_until(), LeapSeconds::builtin().valid_until());

    let mut extended = LeapSeconds::builtin();
    let (midnight, _) = Utc::parse_ascii("2029-01-01T00:00:00Z").expect("a date");
    let (inside, _) = Utc::parse_ascii("2028-12-31T23:59:60Z").expect("a date");
    assert!(extended.tai(inside).is_err());
    extended.extend(midnight.day_since_1958(), 38).expect("later, and one more");
    assert_eq!(extended.utc(extended.tai(inside).expect("now it exists")), Ok(inside));
    // A negative one: second 59 does not exist.
    let (midnight, _) = Utc::parse_ascii("2031-01-01T00:00:00Z").expect("a date");
    extended.extend(midnight.day_since_1958(), 37).expect("later, and one less");
    let (missing, _) = Utc::parse_ascii("2030-12-31T23:59:59Z").expect("a date");
    assert!(extended.tai(missing).is_err());
    let after = extended.tai(midnight).expect("a time");
    let last = extended.utc(Tai(after.0 - 1)).expect("a date");
    assert_eq!(format!("{last:.9}"), "2030-12-31T23:59:58.999999999Z");

    for (wrong, line) in [
        ("2272060800\n", 1),
        ("2272060800 ten\n", 1),
        ("2272060801 10\n", 1),
        ("2272060800 10\n2272060800 11\n", 2),
        ("2272060800 10\n2287785600 12\n", 2),
        ("# nothing\n", 0),
        ("99999999999999999999 10\n", 1),
        ("9223372036854720000 10\n", 1),
    ] {
        let error = LeapSeconds::from_list(wrong).expect_err(wrong).to_string();
        assert!(error.contains(&format!("line {line}:")), "{wrong:?}: {error}");
    }
    assert!(extended.extend(midnight.day_since_1958(), 38).is_err(), "not later than the last");
}

#[test]
fn the_built_in_leap_seconds_are_those_of_the_bulletin() {
    // Days and differences as the bulletin prints them: the sum of all and a few by name.
    let leap_seconds = LeapSeconds::builtin();
    assert_eq!(leap_seconds.table().len(), 28);
    for (index, leap) in leap_seconds.table().iter().enumerate() {
        assert_eq!(leap.tai_minus_utc, 10 + index as i32);
        let (_, month, day) = Utc::from_day_and_ns(leap.day, 0).expect("a date").date();
        assert!(day == 1 && (month == 1 || month == 7));
    }
    // Sum of the NTP seconds of the published list, line by line, in days since 1900.
    let days: i64 = leap_seconds.table().iter().map(|leap| i64::from(leap.day) + 21_184).sum();
    assert_eq!(days, PUBLISHED_SUM_OF_DAYS);
}

const PUBLISHED_SUM_OF_DAYS: i64 = 909_988;
