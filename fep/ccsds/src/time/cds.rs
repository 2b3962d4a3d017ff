//! CCSDS day segmented time code: day, millisecond of day, and a part of a millisecond (301.0-B-4 3.3).
//!
//! A calendar code of UTC: the millisecond runs beyond 86 399 999 in a leap second.

use super::{TimeEpoch, TimeError, need};
use fep_time::Utc;

const CODE: &str = "CDS";
const NS_PER_MS: i64 = 1_000_000;

/// The segment below the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubMillisecond {
    /// None.
    None,
    /// 16 bits: microsecond of the millisecond.
    Microseconds,
    /// 32 bits: picosecond of the millisecond.
    Picoseconds,
}

impl SubMillisecond {
    const fn octets(self) -> usize {
        match self {
            SubMillisecond::None => 0,
            SubMillisecond::Microseconds => 2,
            SubMillisecond::Picoseconds => 4,
        }
    }

    /// Units in a millisecond.
    const fn units(self) -> u32 {
        match self {
            SubMillisecond::None => 1,
            SubMillisecond::Microseconds => 1_000,
            SubMillisecond::Picoseconds => 1_000_000_000,
        }
    }
}

/// What a P-field says of a CDS time code; implicit where the mission agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CdsFormat {
    /// Epoch of the day count.
    pub epoch: TimeEpoch,
    /// Whether the day has 24 bits instead of 16.
    pub long_day: bool,
    /// Segment below the millisecond.
    pub sub_millisecond: SubMillisecond,
}

impl CdsFormat {
    /// 16-bit day since 1958, no microseconds: the usual short code, P-field 40.
    pub const SHORT: CdsFormat =
        CdsFormat { epoch: TimeEpoch::Ccsds, long_day: false, sub_millisecond: SubMillisecond::None };

    /// Reads a P-field; gives the octets after it too.
    ///
    /// # Errors
    /// Too few octets, or the P-field of another time code.
    pub fn parse_p_field(octets: &[u8]) -> Result<(CdsFormat, &[u8]), TimeError> {
        let first = need(octets, 1)?[0];
        let sub_millisecond = match first & 3 {
            0 => SubMillisecond::None,
            1 => SubMillisecond::Microseconds,
            2 => SubMillisecond::Picoseconds,
            _ => return Err(TimeError::PField { code: CODE, octets: [first, 0] }),
        };
        // No second octet is defined for this code.
        if first >> 4 != 0b0100 {
            return Err(TimeError::PField { code: CODE, octets: [first, 0] });
        }
        let epoch = if first & 8 != 0 { TimeEpoch::Agency } else { TimeEpoch::Ccsds };
        Ok((CdsFormat { epoch, long_day: first & 4 != 0, sub_millisecond }, &octets[1..]))
    }

    /// The P-field.
    #[must_use]
    pub fn p_field(&self) -> u8 {
        let sub_millisecond = match self.sub_millisecond {
            SubMillisecond::None => 0,
            SubMillisecond::Microseconds => 1,
            SubMillisecond::Picoseconds => 2,
        };
        0x40 | u8::from(self.epoch == TimeEpoch::Agency) << 3 | u8::from(self.long_day) << 2 | sub_millisecond
    }

    /// Octets of the T-field: 6 to 11.
    #[must_use]
    pub const fn t_field_len(&self) -> usize {
        self.day_octets() + 4 + self.sub_millisecond.octets()
    }

    const fn day_octets(&self) -> usize {
        if self.long_day { 3 } else { 2 }
    }

    /// Reads a T-field; gives the octets after it too.
    ///
    /// # Errors
    /// Too few octets, or a field outside its range.
    pub fn parse_t_field<'a>(&self, octets: &'a [u8]) -> Result<(Cds, &'a [u8]), TimeError> {
        let t_field = need(octets, self.t_field_len())?;
        let number = |octets: &[u8]| octets.iter().fold(0, |number, &octet| number << 8 | u32::from(octet));
        let (day, rest) = t_field.split_at(self.day_octets());
        let (millisecond, sub_millisecond) = rest.split_at(4);
        let cds = Cds::new(*self, number(day), number(millisecond), number(sub_millisecond))?;
        Ok((cds, &octets[t_field.len()..]))
    }
}

/// A CDS time code.
///
/// ```
/// use fep_ccsds::time::Cds;
/// let (cds, _) = Cds::parse(&[0x40, 0x3B, 0xEC, 0x02, 0x93, 0x2F, 0xF4]).unwrap();
/// assert_eq!(format!("{:.3}", cds.to_utc(0).unwrap()), "2000-01-01T12:00:00.500Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cds {
    format: CdsFormat,
    day: u32,
    millisecond: u32,
    sub_millisecond: u32,
}

impl Cds {
    /// Day since the epoch, millisecond of day, and microsecond or picosecond of the millisecond (0 without one).
    ///
    /// # Errors
    /// [`TimeError::Field`] for a field outside its range: the millisecond runs to 86 400 999 for a leap second.
    pub fn new(
        format: CdsFormat,
        day: u32,
        millisecond: u32,
        sub_millisecond: u32,
    ) -> Result<Cds, TimeError> {
        let refuse = |field, value| Err(TimeError::Field { field, value: u64::from(value) });
        if day >> (8 * format.day_octets()) != 0 {
            return refuse("day", day);
        }
        if millisecond > 86_400_999 {
            return refuse("millisecond of day", millisecond);
        }
        if sub_millisecond >= format.sub_millisecond.units() {
            return refuse("sub-millisecond", sub_millisecond);
        }
        Ok(Cds { format, day, millisecond, sub_millisecond })
    }

    /// Reads P-field and T-field; gives the octets after them too.
    ///
    /// # Errors
    /// As [`CdsFormat::parse_p_field`] and [`CdsFormat::parse_t_field`].
    pub fn parse(octets: &[u8]) -> Result<(Cds, &[u8]), TimeError> {
        let (format, after) = CdsFormat::parse_p_field(octets)?;
        format.parse_t_field(after)
    }

    /// Appends the P-field.
    pub fn emit_p_field(&self, out: &mut Vec<u8>) {
        out.push(self.format.p_field());
    }

    /// Appends the T-field.
    pub fn emit_t_field(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.day.to_be_bytes()[4 - self.format.day_octets()..]);
        out.extend_from_slice(&self.millisecond.to_be_bytes());
        out.extend_from_slice(
            &self.sub_millisecond.to_be_bytes()[4 - self.format.sub_millisecond.octets()..],
        );
    }

    /// Format.
    #[must_use]
    pub const fn format(&self) -> CdsFormat {
        self.format
    }

    /// Day since the epoch.
    #[must_use]
    pub const fn day(&self) -> u32 {
        self.day
    }

    /// Millisecond of day.
    #[must_use]
    pub const fn millisecond(&self) -> u32 {
        self.millisecond
    }

    /// Microsecond or picosecond of the millisecond; 0 without one.
    #[must_use]
    pub const fn sub_millisecond(&self) -> u32 {
        self.sub_millisecond
    }

    /// The UTC of the code. `epoch_day` is day 0 in days since 1958-01-01: 0 for the CCSDS epoch. Picoseconds are cut to
    /// nanoseconds.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] for a day beyond the calendar.
    pub fn to_utc(&self, epoch_day: i32) -> Result<Utc, TimeError> {
        let ns = i64::from(self.sub_millisecond) * NS_PER_MS / i64::from(self.format.sub_millisecond.units());
        let day = i32::try_from(i64::from(epoch_day) + i64::from(self.day));
        let day = day.map_err(|_| TimeError::OutOfRange("UTC"))?;
        Ok(Utc::from_day_and_ns(day, i64::from(self.millisecond) * NS_PER_MS + ns)?)
    }

    /// The code of a UTC, cut to its resolution. `epoch_day` as for [`Cds::to_utc`].
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] for a day before the epoch or beyond the day field.
    pub fn from_utc(format: CdsFormat, epoch_day: i32, utc: Utc) -> Result<Cds, TimeError> {
        let day = i64::from(utc.day_since_1958()) - i64::from(epoch_day);
        let day = u32::try_from(day)
            .ok()
            .filter(|day| day >> (8 * format.day_octets()) == 0)
            .ok_or(TimeError::OutOfRange(CODE))?;
        let (millisecond, ns) = (utc.ns_of_day() / NS_PER_MS, utc.ns_of_day() % NS_PER_MS);
        let sub_millisecond = ns * i64::from(format.sub_millisecond.units()) / NS_PER_MS;
        Cds::new(format, day, millisecond as u32, sub_millisecond as u32)
    }
}
