//! Sets of numbers, written as `1,5,10-20`.

use std::fmt;
use std::ops::RangeInclusive;

/// A set of numbers: ranges in ascending order that do not touch. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Numbers(Vec<(u16, u16)>);

/// More ranges than anybody writes by hand; every row is compared with all of them.
const RANGES_MAX: usize = 64;

impl Numbers {
    /// The numbers that are written in `text`, none of them above `max`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, max: u16) -> Result<Numbers, String> {
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first, max)?, number(last, max)?);
            if first > last {
                return Err(format!("{part:?} runs backwards"));
            }
            ranges.push((first, last));
            if ranges.len() > RANGES_MAX {
                return Err(format!("more than {RANGES_MAX} numbers and ranges"));
            }
        }
        Ok(Numbers::from_ranges(ranges))
    }

    /// One number.
    #[must_use]
    pub fn one(number: u16) -> Numbers {
        Numbers(vec![(number, number)])
    }

    fn from_ranges(mut ranges: Vec<(u16, u16)>) -> Numbers {
        ranges.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if u32::from(first) <= u32::from(before.1) + 1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Numbers(joined)
    }

    /// Whether the number is one of them.
    #[must_use]
    pub fn contains(&self, number: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        self.0.iter().map(|(first, last)| *first..=*last)
    }

    /// The number, if it is only one.
    #[must_use]
    pub fn single(&self) -> Option<u16> {
        match self.0.as_slice() {
            [(first, last)] if first == last => Some(*first),
            _ => None,
        }
    }
}

fn number(text: &str, max: u16) -> Result<u16, String> {
    // Signs, blanks and empty text are not digits: "+5" would parse as a number.
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(format!("{text:?} is not a number"));
    }
    text.parse().ok().filter(|number| *number <= max).ok_or_else(|| format!("{text} is above {max}"))
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_or_overlap_become_one_and_print_shortest() {
        let numbers = Numbers::parse("9,1-3,2-5,6,65535", u16::MAX).expect("well formed");
        assert_eq!(numbers.to_string(), "1-6,9,65535");
        assert!(numbers.contains(6) && numbers.contains(65535) && !numbers.contains(7));
        assert_eq!(Numbers::parse("7", 63).expect("well formed").single(), Some(7));
    }

    #[test]
    fn what_is_no_set_of_numbers_is_refused_in_words() {
        for (text, why) in [
            ("", "\"\" is not a number"),
            ("1,", "\"\" is not a number"),
            ("+1", "\"+1\" is not a number"),
            ("5-1", "\"5-1\" runs backwards"),
            ("64", "64 is above 63"),
            ("99999999999999999999", "99999999999999999999 is above 63"),
            ("1-2-3", "\"2-3\" is not a number"),
        ] {
            assert_eq!(Numbers::parse(text, 63), Err(why.to_owned()), "{text}");
        }
        let many = (0..130).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(Numbers::parse(&many, 2047).is_err());
    }
}
