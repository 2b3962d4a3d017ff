//! ASCII time codes A and B: a UTC date and time as text (301.0-B-4 3.5).

use crate::{TimeError, Utc};

/// Which ASCII time code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsciiForm {
    /// `YYYY-MM-DDThh:mm:ss.d→dZ`
    A,
    /// `YYYY-DDDThh:mm:ss.d→dZ`
    B,
}

impl Utc {
    /// The ASCII time code with `decimals` (at most 9) below the second, cut, not rounded.
    ///
    /// ```
    /// use fep_time::{AsciiForm, Utc};
    /// let (utc, form) = Utc::parse_ascii("1988-018T17:20:43.123456Z").unwrap();
    /// assert_eq!(form, AsciiForm::B);
    /// assert_eq!(utc.to_ascii(AsciiForm::A, 3), "1988-01-18T17:20:43.123Z");
    /// ```
    #[must_use]
    pub fn to_ascii(&self, form: AsciiForm, decimals: usize) -> String {
        let date = match form {
            AsciiForm::A => {
                let (year, month, day) = self.date();
                format!("{year:04}-{month:02}-{day:02}")
            }
            AsciiForm::B => {
                let (year, day_of_year) = self.ordinal_date();
                format!("{year:04}-{day_of_year:03}")
            }
        };
        let (hour, minute, second, nanosecond) = self.time();
        let mut text = format!("{date}T{hour:02}:{minute:02}:{second:02}.{nanosecond:09}");
        let decimals = decimals.min(9);
        text.truncate(text.len() - (9 - decimals) - usize::from(decimals == 0));
        text.push('Z');
        text
    }

    /// Reads ASCII time code A or B. The fraction and the terminator Z may be missing; decimals after the ninth are cut.
    ///
    /// # Errors
    /// [`TimeError::Syntax`] for text of another form, [`TimeError::Field`] for a field outside its range.
    pub fn parse_ascii(text: &str) -> Result<(Utc, AsciiForm), TimeError> {
        let refuse = |why| TimeError::Syntax { text: text.chars().take(64).collect(), why };
        let (date, time) = text.split_once('T').ok_or(refuse("no T between date and time"))?;
        let time = time.strip_suffix('Z').unwrap_or(time);
        let (time, fraction) = match time.split_once('.') {
            Some((time, fraction)) if !fraction.is_empty() => (time, fraction),
            Some(_) => return Err(refuse("no digit after the decimal point")),
            None => (time, ""),
        };
        let number = |digits: &str, len: usize| {
            let well_formed = digits.len() == len && digits.bytes().all(|byte| byte.is_ascii_digit());
            // At most 9 digits: they fit.
            if well_formed {
                Ok(digits.bytes().fold(0, |n, byte| n * 10 + u32::from(byte - b'0')))
            } else {
                Err(())
            }
        };
        let part = |digits: Option<&str>, len| {
            digits.and_then(|digits| number(digits, len).ok()).ok_or(refuse("a field has not its digits"))
        };
        let mut times = time.split(':');
        let hour = part(times.next(), 2)? as u8;
        let minute = part(times.next(), 2)? as u8;
        let second = part(times.next(), 2)? as u8;
        if times.next().is_some() {
            return Err(refuse("more than hours, minutes and seconds"));
        }
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse("the fraction is not digits"));
        }
        let nanosecond = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanosecond = nanosecond.fold(0, |n, byte| n * 10 + u32::from(byte - b'0'));
        let mut dates = date.split('-');
        let year = part(dates.next(), 4)? as u16;
        let (second_part, third_part) = (dates.next(), dates.next());
        if dates.next().is_some() {
            return Err(refuse("more than year, month and day"));
        }
        if third_part.is_some() {
            let (month, day) = (part(second_part, 2)? as u8, part(third_part, 2)? as u8);
            Ok((Utc::new(year, month, day, hour, minute, second, nanosecond)?, AsciiForm::A))
        } else {
            let day_of_year = part(second_part, 3)? as u16;
            Ok((Utc::from_day_of_year(year, day_of_year, hour, minute, second, nanosecond)?, AsciiForm::B))
        }
    }
}
