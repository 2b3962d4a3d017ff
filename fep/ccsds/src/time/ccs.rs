//! CCSDS calendar segmented time code: a UTC date and time in binary coded decimals (301.0-B-4 3.4).

use super::{TimeError, need};
use fep_time::Utc;

const CODE: &str = "CCS";

/// What a P-field says of a CCS time code; implicit where the mission agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CcsFormat {
    day_of_year: bool,
    subsecond_octets: u8,
}

/// Date of a CCS time code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CcsDate {
    /// Month and day of month.
    Calendar {
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
    },
    /// Day of year.
    Ordinal {
        /// 1 to 366.
        day_of_year: u16,
    },
}

impl CcsFormat {
    /// Day of year instead of month and day; 0 to 6 octets of two decimals each below the second.
    ///
    /// # Errors
    /// [`TimeError::Format`] for more octets.
    pub fn new(day_of_year: bool, subsecond_octets: u8) -> Result<CcsFormat, TimeError> {
        if subsecond_octets > 6 {
            return Err(TimeError::Format {
                code: CODE,
                field: "subsecond",
                value: subsecond_octets,
                allowed: "0 to 6",
            });
        }
        Ok(CcsFormat { day_of_year, subsecond_octets })
    }

    /// Reads a P-field; gives the octets after it too.
    ///
    /// # Errors
    /// Too few octets, or the P-field of another time code.
    pub fn parse_p_field(octets: &[u8]) -> Result<(CcsFormat, &[u8]), TimeError> {
        let first = need(octets, 1)?[0];
        if first >> 4 != 0b0101 || first & 7 == 7 {
            return Err(TimeError::PField { code: CODE, octets: [first, 0] });
        }
        Ok((CcsFormat { day_of_year: first & 8 != 0, subsecond_octets: first & 7 }, &octets[1..]))
    }

    /// The P-field.
    #[must_use]
    pub fn p_field(&self) -> u8 {
        0x50 | u8::from(self.day_of_year) << 3 | self.subsecond_octets
    }

    /// Octets of the T-field: 7 to 13.
    #[must_use]
    pub const fn t_field_len(&self) -> usize {
        7 + self.subsecond_octets as usize
    }

    /// Reads a T-field; gives the octets after it too.
    ///
    /// # Errors
    /// Too few octets, a digit that is none, or a field outside its range.
    pub fn parse_t_field<'a>(&self, octets: &'a [u8]) -> Result<(Ccs, &'a [u8]), TimeError> {
        let t_field = need(octets, self.t_field_len())?;
        let decimals = |field, octets: &[u8]| {
            octets.iter().try_fold(0_u64, |number, &octet| {
                let (tens, units) = (octet >> 4, octet & 0xF);
                if tens > 9 || units > 9 {
                    return Err(TimeError::Field { field, value: u64::from(octet) });
                }
                Ok(number * 100 + u64::from(tens * 10 + units))
            })
        };
        let year = decimals("year (BCD)", &t_field[..2])? as u16;
        let date = if self.day_of_year {
            CcsDate::Ordinal { day_of_year: decimals("day of year (BCD)", &t_field[2..4])? as u16 }
        } else {
            CcsDate::Calendar {
                month: decimals("month (BCD)", &t_field[2..3])? as u8,
                day: decimals("day (BCD)", &t_field[3..4])? as u8,
            }
        };
        let time = [
            decimals("hour (BCD)", &t_field[4..5])? as u8,
            decimals("minute (BCD)", &t_field[5..6])? as u8,
            decimals("second (BCD)", &t_field[6..7])? as u8,
        ];
        let subsecond = decimals("subsecond (BCD)", &t_field[7..])?;
        Ok((Ccs::new(*self, year, date, time, subsecond)?, &octets[t_field.len()..]))
    }
}

/// A CCS time code.
///
/// ```
/// use fep_ccsds::time::Ccs;
/// let (ccs, _) = Ccs::parse(&[0x51, 0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58, 0x75]).unwrap();
/// assert_eq!(format!("{:.2}", ccs.to_utc()), "2024-02-29T23:59:58.75Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ccs {
    format: CcsFormat,
    year: u16,
    date: CcsDate,
    time: [u8; 3],
    subsecond: u64,
    utc: Utc,
}

impl Ccs {
    /// A date, hour, minute and second, and units of 10^(−2 × subsecond octets) s.
    ///
    /// # Errors
    /// [`TimeError::Field`] for a field outside its range or a date form that is not the format's.
    pub fn new(
        format: CcsFormat,
        year: u16,
        date: CcsDate,
        time: [u8; 3],
        subsecond: u64,
    ) -> Result<Ccs, TimeError> {
        let units = 100_u64.pow(u32::from(format.subsecond_octets));
        if subsecond >= units {
            return Err(TimeError::Field { field: "subsecond", value: subsecond });
        }
        // Twelve digits and a billion leave 64 bits behind.
        let nanosecond = (u128::from(subsecond) * 1_000_000_000 / u128::from(units)) as u32;
        let [hour, minute, second] = time;
        let utc = match date {
            CcsDate::Calendar { month, day } if !format.day_of_year => {
                Utc::new(year, month, day, hour, minute, second, nanosecond)
            }
            CcsDate::Ordinal { day_of_year } if format.day_of_year => {
                Utc::from_day_of_year(year, day_of_year, hour, minute, second, nanosecond)
            }
            CcsDate::Calendar { month, .. } => {
                return Err(TimeError::Field { field: "month", value: u64::from(month) });
            }
            CcsDate::Ordinal { day_of_year } => {
                return Err(TimeError::Field { field: "day of year", value: u64::from(day_of_year) });
            }
        }?;
        Ok(Ccs { format, year, date, time, subsecond, utc })
    }

    /// Reads P-field and T-field; gives the octets after them too.
    ///
    /// # Errors
    /// As [`CcsFormat::parse_p_field`] and [`CcsFormat::parse_t_field`].
    pub fn parse(octets: &[u8]) -> Result<(Ccs, &[u8]), TimeError> {
        let (format, after) = CcsFormat::parse_p_field(octets)?;
        format.parse_t_field(after)
    }

    /// Appends the P-field.
    pub fn emit_p_field(&self, out: &mut Vec<u8>) {
        out.push(self.format.p_field());
    }

    /// Appends the T-field.
    pub fn emit_t_field(&self, out: &mut Vec<u8>) {
        let bcd = |number: u64| (number / 10 % 10) as u8 * 16 + (number % 10) as u8;
        let year = u64::from(self.year);
        out.extend([bcd(year / 100), bcd(year)]);
        match self.date {
            CcsDate::Calendar { month, day } => out.extend([bcd(u64::from(month)), bcd(u64::from(day))]),
            CcsDate::Ordinal { day_of_year } => {
                let day_of_year = u64::from(day_of_year);
                out.extend([bcd(day_of_year / 100), bcd(day_of_year)]);
            }
        }
        out.extend(self.time.map(|number| bcd(u64::from(number))));
        let octets = u32::from(self.format.subsecond_octets);
        out.extend((0..octets).map(|place| bcd(self.subsecond / 100_u64.pow(octets - 1 - place))));
    }

    /// Format.
    #[must_use]
    pub const fn format(&self) -> CcsFormat {
        self.format
    }

    /// The UTC of the code, cut to nanoseconds.
    #[must_use]
    pub const fn to_utc(&self) -> Utc {
        self.utc
    }

    /// The code of a UTC, cut to its resolution.
    ///
    /// # Errors
    /// None for a [`Utc`], whose years have four digits; kept because the fields are checked again.
    pub fn from_utc(format: CcsFormat, utc: Utc) -> Result<Ccs, TimeError> {
        let (year, month, day) = utc.date();
        let date = if format.day_of_year {
            CcsDate::Ordinal { day_of_year: utc.ordinal_date().1 }
        } else {
            CcsDate::Calendar { month, day }
        };
        let (hour, minute, second, nanosecond) = utc.time();
        let units = 100_u128.pow(u32::from(format.subsecond_octets));
        let subsecond = (u128::from(nanosecond) * units / 1_000_000_000) as u64;
        Ccs::new(format, year, date, [hour, minute, second], subsecond)
    }
}
