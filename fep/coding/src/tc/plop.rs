//! Physical layer operations procedures (231.0-B 7, 8): what a station sends, and in which order.
//!
//! A pure state machine: it says which carrier modulation mode comes next and what its octets are; it neither sends nor
//! keeps time. A step is as long as the caller makes it, but an acquisition sequence is never shorter than the
//! standard's 128 bits.

use serde::{Deserialize, Serialize};

use super::FILL_OCTET;

/// Octets of the shortest acquisition sequence: 128 bits.
pub const ACQUISITION_LEN_MIN: usize = 16;

/// Which procedure a channel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plop {
    /// PLOP-1: the carrier is unmodulated, and acquired again, for every CLTU.
    #[serde(rename = "plop_1")]
    One,
    /// PLOP-2: the carrier stays modulated through a session of many CLTUs.
    #[serde(rename = "plop_2")]
    Two,
}

/// Carrier modulation modes with what is modulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cmm {
    /// CMM-1: nothing.
    Unmodulated,
    /// CMM-2: so many octets of the acquisition sequence.
    Acquisition {
        /// Octets of alternating bits.
        octets: usize,
    },
    /// CMM-3: one CLTU.
    Cltu,
    /// CMM-4: so many octets of the idle sequence.
    Idle {
        /// Octets of alternating bits.
        octets: usize,
    },
}

/// What the caller has in hand when it asks for the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pending {
    /// A CLTU is ready to be sent.
    Cltu,
    /// None is, but the session goes on.
    Nothing,
    /// The session shall end.
    EndOfSession,
}

/// Lengths that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlopError {
    /// Acquisition too short.
    #[error("an acquisition sequence of {0} octets: at least 16 (128 bits, CCSDS 231.0-B)")]
    Acquisition(usize),
    /// PLOP-2 without idle octets would have nothing to send.
    #[error("an idle sequence of 0 octets: PLOP-2 sends at least one between CLTUs")]
    Idle,
}

/// Says what is sent next.
///
/// ```
/// use fep_coding::tc::plop::{Cmm, Pending, Plop, PlopSequencer};
/// let mut plop = PlopSequencer::new(Plop::Two, 16, 1)?;
/// assert_eq!(plop.next(Pending::Cltu), Cmm::Acquisition { octets: 16 });
/// assert_eq!(plop.next(Pending::Cltu), Cmm::Cltu);
/// assert_eq!(plop.next(Pending::Cltu), Cmm::Idle { octets: 1 });
/// assert_eq!(plop.next(Pending::Cltu), Cmm::Cltu);
/// assert_eq!(plop.next(Pending::EndOfSession), Cmm::Idle { octets: 1 });
/// assert_eq!(plop.next(Pending::EndOfSession), Cmm::Unmodulated);
/// # Ok::<(), fep_coding::tc::plop::PlopError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PlopSequencer {
    plop: Plop,
    acquisition_octets: usize,
    idle_octets: usize,
    /// What was asked for last.
    last: Cmm,
}

impl PlopSequencer {
    /// Starts with the carrier unmodulated. `idle_octets` are sent behind every CLTU and, by PLOP-2, while there is none;
    /// with PLOP-1 they may be 0.
    ///
    /// # Errors
    /// [`PlopError`] for lengths that the standard does not allow.
    pub fn new(
        plop: Plop,
        acquisition_octets: usize,
        idle_octets: usize,
    ) -> Result<PlopSequencer, PlopError> {
        if acquisition_octets < ACQUISITION_LEN_MIN {
            return Err(PlopError::Acquisition(acquisition_octets));
        }
        if plop == Plop::Two && idle_octets == 0 {
            return Err(PlopError::Idle);
        }
        Ok(PlopSequencer { plop, acquisition_octets, idle_octets, last: Cmm::Unmodulated })
    }

    /// The next step. [`Cmm::Cltu`] is only answered to [`Pending::Cltu`]: that CLTU is to be sent now.
    ///
    /// PLOP-2 puts idle octets between CLTUs, so that a CLTU whose tail was missed does not hide the next start sequence.
    pub fn next(&mut self, pending: Pending) -> Cmm {
        let idle = Cmm::Idle { octets: self.idle_octets };
        self.last = match (self.last, pending, self.plop) {
            (Cmm::Unmodulated, Pending::Cltu, _) => Cmm::Acquisition { octets: self.acquisition_octets },
            (Cmm::Unmodulated, _, _) => Cmm::Unmodulated,
            (Cmm::Cltu, _, _) if self.idle_octets > 0 => idle,
            (Cmm::Cltu, _, _) | (Cmm::Idle { .. }, _, Plop::One) => Cmm::Unmodulated,
            (_, Pending::Cltu, _) => Cmm::Cltu,
            (_, Pending::EndOfSession, _) | (_, Pending::Nothing, Plop::One) => Cmm::Unmodulated,
            (_, Pending::Nothing, Plop::Two) => idle,
        };
        self.last
    }
}

/// Appends `octets` octets of alternating bits, starting with 0: acquisition (CMM-2) and idle (CMM-4) sequences alike.
pub fn append_alternating(octets: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + octets, FILL_OCTET);
}
