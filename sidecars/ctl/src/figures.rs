//! Figures as people read them: three significant digits with a unit, never wider than the column they were made for.

/// `value` with three significant digits and an SI prefix, e.g. `1.23 k`, `999`, `12.4 M`.
fn scaled(value: f64) -> (String, &'static str) {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut value = value.max(0.0);
    let mut prefix = 0;
    // 999.5 would be printed as "1000": it is the next prefix's 1.00.
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let text = if prefix == 0 && value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    (text, PREFIXES[prefix])
}

/// A count in at most five characters: `0`, `999`, `1.23k`, `45.6M`.
pub(crate) fn count(value: u64) -> String {
    let (text, prefix) = scaled(value as f64);
    format!("{text}{prefix}")
}

/// A whole count with its thousands apart: `1 234 567`.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 link`, `2 links`.
pub(crate) fn counted(amount: usize, one: &str, many: &str) -> String {
    format!("{amount} {}", if amount == 1 { one } else { many })
}

/// As [`counted`], with the thousands apart: `1 234 frames`.
pub(crate) fn counted_long(amount: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(amount), if amount == 1 { one } else { many })
}

/// The state of a link's synchroniser; a dash where it has none, because its datagrams are whole frames.
pub(crate) fn lock(sync: &str) -> &str {
    if sync.is_empty() { "–" } else { sync }
}

/// A bit rate: `0 bit/s`, `15.0 Mbit/s`.
pub(crate) fn bit_rate(bits_per_s: f64) -> String {
    let (text, prefix) = scaled(bits_per_s.round());
    format!("{text} {prefix}bit/s")
}

/// A number of events per second in at most five characters.
pub(crate) fn per_second(value: f64) -> String {
    let (text, prefix) = scaled(if value >= 10.0 { value.round() } else { value });
    format!("{text}{prefix}")
}

/// An amount of memory or data in decimal units: `1.50 MB`.
pub(crate) fn octets(value: u64) -> String {
    let (text, prefix) = scaled(value as f64);
    format!("{text} {prefix}B")
}

/// A short time: `850 ns`, `4.20 µs`, `1.35 ms`, `2.00 s`.
pub(crate) fn time_ns(value: u64) -> String {
    let (divisor, unit) = match value {
        0..=999 => return format!("{value} ns"),
        1_000..=999_499 => (1e3, "µs"),
        999_500..=999_499_999 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = value as f64 / divisor;
    if value < 9.995 {
        format!("{value:.2} {unit}")
    } else if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A time of operation: `00:04:09`, `3d 02:00:00`.
pub(crate) fn uptime(seconds: u64) -> String {
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if days > 0 {
        format!("{days}d {hours:02}:{minutes:02}:{rest:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{rest:02}")
    }
}

/// `text` in at most `width` characters, the end cut off with `…`.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_never_rounds_up_into_a_fourth_digit() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1.00k");
        assert_eq!(count(9_994), "9.99k");
        assert_eq!(count(9_996), "10.0k");
        assert_eq!(count(99_960), "100k");
        assert_eq!(count(999_499), "999k");
        assert_eq!(count(999_500), "1.00M");
        assert_eq!(count(u64::MAX), "18447P");
        assert_eq!(bit_rate(15_000_000.0), "15.0 Mbit/s");
        assert_eq!(bit_rate(f64::NAN), "0 bit/s");
        assert_eq!(per_second(0.5), "0.50");
        assert_eq!(per_second(122.4), "122");
    }

    #[test]
    fn times_carry_the_unit_that_leaves_three_digits() {
        assert_eq!(time_ns(0), "0 ns");
        assert_eq!(time_ns(999), "999 ns");
        assert_eq!(time_ns(4_200), "4.20 µs");
        assert_eq!(time_ns(999_499), "999 µs");
        assert_eq!(time_ns(999_500), "1.00 ms");
        assert_eq!(time_ns(12_345_678), "12.3 ms");
        assert_eq!(time_ns(2_000_000_000), "2.00 s");
        assert_eq!(uptime(59), "00:00:59");
        assert_eq!(uptime(266_405), "3d 02:00:05");
    }

    #[test]
    fn grouping_and_cutting_count_characters() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234567), "1 234 567");
        assert_eq!(
            (counted_long(1, "frame", "frames"), counted_long(1000, "frame", "frames")),
            ("1 frame".into(), "1 000 frames".into())
        );
        assert_eq!((lock("search"), lock("")), ("search", "–"));
        assert_eq!(fitted("métop", 5), "métop");
        assert_eq!(fitted("métop-b", 5), "méto…");
        assert_eq!(fitted("x", 0), "…");
    }
}
