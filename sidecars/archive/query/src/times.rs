//! Times in queries: UTC as people write it, or TAI nanoseconds as records carry it.

use fep_time::{AsciiForm, LeapSeconds, Tai, TimeError, Utc};

/// Forms of a time, for messages.
pub const TIME_FORMS: &str =
    "UTC as 2024-12-06, 2024-12-06T17:38:15.25Z or 2024-341T17:38:15Z, or tai:NANOSECONDS since 1958-01-01";
/// What is repeated in a message of a text that is no time.
const SHOWN_CHARS: usize = 64;

/// A time as nanoseconds of TAI since 1958-01-01: ASCII time code A or B (301.0-B-4 section 3.5), where a missing time
/// of day is midnight, or `tai:` and the number itself.
///
/// # Errors
/// What is wrong, in words that quote what was given; [`TIME_FORMS`] is what is allowed.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let shown = || text.chars().take(SHOWN_CHARS).collect::<String>();
    if let Some(number) = text.strip_prefix("tai:") {
        return number.parse().map_err(|_| format!("{:?} is no time: not a number of nanoseconds", shown()));
    }
    let wrong = |error: TimeError| match error {
        // It speaks of what the text was made into; the forms say the rest.
        TimeError::Syntax { .. } => format!("{:?} is no time", shown()),
        error => format!("{:?} is no time: {error}", shown()),
    };
    let dated = if text.contains('T') {
        text.to_owned()
    } else {
        format!("{}T00:00:00Z", text.trim_end_matches('Z'))
    };
    let (utc, _) = Utc::parse_ascii(&dated).map_err(wrong)?;
    LeapSeconds::builtin().tai(utc).map(|tai| tai.0).map_err(wrong)
}

/// A time as the canonical query has it: UTC with nine decimals; the number where UTC cannot express it.
#[must_use]
pub fn time_text(tai_ns: i64) -> String {
    match LeapSeconds::builtin().utc(Tai(tai_ns)) {
        // Only what reads back as the same nanosecond.
        Ok(utc) if LeapSeconds::builtin().tai(utc) == Ok(Tai(tai_ns)) => utc.to_ascii(AsciiForm::A, 9),
        _ => format!("tai:{tai_ns}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_read_in_every_form_that_is_promised() {
        let tai = parse_time("2017-01-01T00:00:00Z").expect("form A");
        assert_eq!(tai, Tai::UNIX_EPOCH.0 + (1_483_228_800 + 37) * 1_000_000_000);
        assert_eq!(parse_time("2017-001T00:00:00Z"), Ok(tai));
        assert_eq!(parse_time("2017-01-01"), Ok(tai));
        assert_eq!(parse_time(&format!("tai:{tai}")), Ok(tai));
        assert_eq!(parse_time("2016-12-31T23:59:60Z"), Ok(tai - 1_000_000_000));
        for wrong in
            ["", "now", "2017-13-01", "tai:", "tai:1.5", "2017-01-01T25:00:00Z", "2017-01-01T00:00:00+01:00"]
        {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    // REQ: FEP-CTL-175
    #[test]
    fn what_is_no_time_is_quoted_as_it_was_given_and_what_is_out_of_range_is_named() {
        for (text, said) in [
            ("yesterday", "\"yesterday\" is no time"),
            ("", "\"\" is no time"),
            ("2024-13-01", "\"2024-13-01\" is no time: month is 13"),
            ("2024-12-06T25:00:00Z", "\"2024-12-06T25:00:00Z\" is no time: hour is 25"),
            ("tai:x", "\"tai:x\" is no time: not a number of nanoseconds"),
        ] {
            assert_eq!(parse_time(text), Err(said.to_owned()));
        }
        let long = parse_time(&"x".repeat(5000)).expect_err("no time");
        assert!(long.len() < 100, "{long}");
        // Each form that messages promise is one.
        for form in ["2024-12-06", "2024-12-06T17:38:15.25Z", "2024-341T17:38:15Z"] {
            assert!(TIME_FORMS.contains(form) && parse_time(form).is_ok(), "{form}");
        }
    }

    proptest! {
        #[test]
        fn the_text_of_any_time_reads_back_as_the_same_nanosecond(tai in any::<i64>()) {
            prop_assert_eq!(parse_time(&time_text(tai)), Ok(tai));
        }
    }
}
