//! CCSDS unsegmented time code: a binary count of seconds (301.0-B-4 3.2).
//!
//! A count since an epoch; on a spacecraft it is the reading of a clock, and [`super::Correlation`] makes it a time.

use super::{TimeEpoch, TimeError, need};
use fep_time::{NS_PER_SECOND, Tai};

const CODE: &str = "CUC";

/// What a P-field says of a CUC time code; implicit where the mission agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CucFormat {
    epoch: TimeEpoch,
    coarse_octets: u8,
    fine_octets: u8,
}

impl CucFormat {
    /// 1 to 7 octets of seconds, 0 to 10 octets of binary fractions.
    ///
    /// # Errors
    /// [`TimeError::Format`] for other lengths.
    pub fn new(epoch: TimeEpoch, coarse_octets: u8, fine_octets: u8) -> Result<CucFormat, TimeError> {
        let refuse = |field, value, allowed| Err(TimeError::Format { code: CODE, field, value, allowed });
        match (coarse_octets, fine_octets) {
            (1..=7, 0..=10) => Ok(CucFormat { epoch, coarse_octets, fine_octets }),
            (1..=7, _) => refuse("fine time", fine_octets, "0 to 10"),
            _ => refuse("coarse time", coarse_octets, "1 to 7"),
        }
    }

    /// Reads a P-field of one or two octets; gives the octets after it too.
    ///
    /// # Errors
    /// Too few octets, or the P-field of another time code.
    pub fn parse_p_field(octets: &[u8]) -> Result<(CucFormat, &[u8]), TimeError> {
        let first = need(octets, 1)?[0];
        let epoch = match first >> 4 & 7 {
            0b001 => TimeEpoch::Ccsds,
            0b010 => TimeEpoch::Agency,
            _ => return Err(TimeError::PField { code: CODE, octets: [first, 0] }),
        };
        let (mut coarse_octets, mut fine_octets) = ((first >> 2 & 3) + 1, first & 3);
        let mut p_field_len = 1;
        if first & 0x80 != 0 {
            let second = need(octets, 2)?[1];
            // A third octet is not defined.
            if second & 0x80 != 0 {
                return Err(TimeError::PField { code: CODE, octets: [first, second] });
            }
            coarse_octets += second >> 5 & 3;
            fine_octets += second >> 2 & 7;
            p_field_len = 2;
        }
        Ok((CucFormat { epoch, coarse_octets, fine_octets }, &octets[p_field_len..]))
    }

    /// Appends the P-field: one octet, or two where the lengths need it.
    pub fn emit_p_field(&self, out: &mut Vec<u8>) {
        let more_coarse = self.coarse_octets.saturating_sub(4);
        let more_fine = self.fine_octets.saturating_sub(3);
        let extended = more_coarse > 0 || more_fine > 0;
        let code = if self.epoch == TimeEpoch::Ccsds { 0b001 } else { 0b010 };
        let basic = (self.coarse_octets - more_coarse - 1) << 2 | (self.fine_octets - more_fine);
        out.push(u8::from(extended) << 7 | code << 4 | basic);
        if extended {
            out.push(more_coarse << 5 | more_fine << 2);
        }
    }

    /// Octets of the T-field.
    #[must_use]
    pub const fn t_field_len(&self) -> usize {
        (self.coarse_octets + self.fine_octets) as usize
    }

    /// Epoch that it counts from.
    #[must_use]
    pub const fn epoch(&self) -> TimeEpoch {
        self.epoch
    }

    /// Reads a T-field; gives the octets after it too.
    ///
    /// # Errors
    /// Too few octets.
    pub fn parse_t_field<'a>(&self, octets: &'a [u8]) -> Result<(Cuc, &'a [u8]), TimeError> {
        let t_field = need(octets, self.t_field_len())?;
        let (coarse, fine) = t_field.split_at(usize::from(self.coarse_octets));
        let number =
            |octets: &[u8]| octets.iter().fold(0_u128, |number, &octet| number << 8 | u128::from(octet));
        let cuc = Cuc { format: *self, coarse: number(coarse) as u64, fine: number(fine) };
        Ok((cuc, &octets[t_field.len()..]))
    }
}

/// A CUC time code: whole seconds and a binary fraction.
///
/// ```
/// use fep_ccsds::time::{Cuc, CucFormat, TimeEpoch};
/// use fep_time::Tai;
/// let (cuc, _) = Cuc::parse(&[0x1E, 0x4F, 0x00, 0x4A, 0xE0, 0x80, 0x00]).unwrap();
/// assert_eq!(cuc.to_tai(Tai::EPOCH).unwrap(), Tai(1_325_419_232_500_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cuc {
    format: CucFormat,
    coarse: u64,
    fine: u128,
}

impl Cuc {
    /// A count of seconds and of units of 2^(−8 × fine octets) s.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] when a count does not fit its octets.
    pub fn new(format: CucFormat, coarse: u64, fine: u128) -> Result<Cuc, TimeError> {
        if coarse >> (8 * format.coarse_octets) != 0 || fine >> (8 * format.fine_octets) != 0 {
            return Err(TimeError::OutOfRange(CODE));
        }
        Ok(Cuc { format, coarse, fine })
    }

    /// Reads P-field and T-field; gives the octets after them too.
    ///
    /// # Errors
    /// As [`CucFormat::parse_p_field`] and [`CucFormat::parse_t_field`].
    pub fn parse(octets: &[u8]) -> Result<(Cuc, &[u8]), TimeError> {
        let (format, after) = CucFormat::parse_p_field(octets)?;
        format.parse_t_field(after)
    }

    /// Appends the P-field.
    pub fn emit_p_field(&self, out: &mut Vec<u8>) {
        self.format.emit_p_field(out);
    }

    /// Appends the T-field.
    pub fn emit_t_field(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.coarse.to_be_bytes()[8 - usize::from(self.format.coarse_octets)..]);
        out.extend_from_slice(&self.fine.to_be_bytes()[16 - usize::from(self.format.fine_octets)..]);
    }

    /// Format.
    #[must_use]
    pub const fn format(&self) -> CucFormat {
        self.format
    }

    /// Whole seconds.
    #[must_use]
    pub const fn coarse(&self) -> u64 {
        self.coarse
    }

    /// Units of 2^(−8 × fine octets) s.
    #[must_use]
    pub const fn fine(&self) -> u128 {
        self.fine
    }

    /// Time since the epoch in nanoseconds, to the nearest.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] beyond 292 years.
    pub fn elapsed_ns(&self) -> Result<i64, TimeError> {
        let bits = 8 * u32::from(self.format.fine_octets);
        let half = if bits > 0 { 1_u128 << (bits - 1) } else { 0 };
        // 80 bits of fraction and 30 of a billion leave room in 128.
        let fraction = (self.fine * NS_PER_SECOND as u128 + half) >> bits;
        let elapsed = u128::from(self.coarse) * NS_PER_SECOND as u128 + fraction;
        i64::try_from(elapsed).map_err(|_| TimeError::OutOfRange("i64 nanoseconds"))
    }

    /// The code of a time since the epoch, to the nearest unit of the fraction.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] for a negative time, or more seconds than the coarse octets hold.
    pub fn from_elapsed_ns(format: CucFormat, elapsed_ns: i64) -> Result<Cuc, TimeError> {
        let elapsed = u128::try_from(elapsed_ns).map_err(|_| TimeError::OutOfRange(CODE))?;
        let billion = NS_PER_SECOND as u128;
        let bits = 8 * u32::from(format.fine_octets);
        let (mut coarse, fraction) = (elapsed / billion, elapsed % billion);
        let mut fine = ((fraction << bits) + billion / 2) / billion;
        if fine >> bits != 0 {
            coarse += 1;
            fine = 0;
        }
        Cuc::new(format, coarse as u64, fine)
    }

    /// The time, when the code counts TAI seconds since `epoch`.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] beyond 2250.
    pub fn to_tai(&self, epoch: Tai) -> Result<Tai, TimeError> {
        epoch.checked_add_ns(self.elapsed_ns()?).ok_or(TimeError::OutOfRange("TAI in nanoseconds"))
    }

    /// The code of a time, counted in TAI seconds since `epoch`.
    ///
    /// # Errors
    /// As [`Cuc::from_elapsed_ns`].
    pub fn from_tai(format: CucFormat, epoch: Tai, tai: Tai) -> Result<Cuc, TimeError> {
        let elapsed = tai.0.checked_sub(epoch.0).ok_or(TimeError::OutOfRange(CODE))?;
        Cuc::from_elapsed_ns(format, elapsed)
    }
}
