//! Every spacecraft of one physical channel.

use std::fmt;

use fep_time::Tai;
use serde::{Deserialize, Serialize};

use super::{CounterSpec, FrameContinuity, MasterChannel};
use crate::frame::Frame;
use crate::gvcid::Gvcid;

/// Master channel identifier: transfer frame version and spacecraft (132.0-B-3 2.1.3, 732.0-B-4 2.1.3, 732.1-B-2 2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mcid {
    /// Transfer frame version number as on the wire: 0 TM, 1 AOS (2 bits), 12 USLP (4 bits).
    pub tfvn: u8,
    /// Spacecraft identifier: 10 bits TM, 8 bits AOS, 16 bits USLP.
    pub scid: u16,
}

impl Gvcid {
    /// The master channel that this virtual channel belongs to.
    #[must_use]
    pub const fn mcid(self) -> Mcid {
        Mcid { tfvn: self.tfvn, scid: self.scid }
    }
}

impl fmt::Display for Mcid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scid)
    }
}

/// Follows the counters of every master channel that one physical channel carries (132.0-B-3 2.1.3, 732.0-B-4 2.1.3).
///
/// Spacecraft are taken as they come, up to a number: octets of noise that pass for frames, or a hostile sender, cannot
/// make it grow, nor push out one that was seen before.
#[derive(Debug, Clone)]
pub struct MasterChannels {
    spec: CounterSpec,
    capacity: usize,
    masters: Vec<(Mcid, MasterChannel)>,
    /// The one that the last frame belonged to.
    recent: usize,
}

impl MasterChannels {
    /// Nothing seen yet; at most `capacity` spacecraft.
    #[must_use]
    pub const fn new(spec: CounterSpec, capacity: usize) -> MasterChannels {
        MasterChannels { spec, capacity, masters: Vec::new(), recent: 0 }
    }

    /// Takes the next frame: see [`MasterChannel::observe`]. `None`: it is of a spacecraft beyond the capacity.
    #[inline]
    pub fn observe(&mut self, frame: &Frame<'_>, received: Tai) -> Option<FrameContinuity> {
        Some(self.entry(frame.gvcid.mcid())?.observe(frame, received))
    }

    /// Lock was lost, or the connection: see [`MasterChannel::interrupted`].
    pub fn interrupted(&mut self) {
        self.masters.iter_mut().for_each(|(_, master)| master.interrupted());
    }

    /// Blocks of which no frame could be had, so that nobody knows whose they were: see [`MasterChannel::unreadable`].
    pub fn unreadable(&mut self, blocks: u64) {
        self.masters.iter_mut().for_each(|(_, master)| master.unreadable(blocks));
    }

    /// The counters of one spacecraft, from nothing when it was not seen yet. `None`: it is beyond the capacity.
    #[inline]
    pub fn entry(&mut self, mcid: Mcid) -> Option<&mut MasterChannel> {
        if self.masters.get(self.recent).is_none_or(|(known, _)| *known != mcid) {
            self.recent = self.place(mcid)?;
        }
        self.masters.get_mut(self.recent).map(|(_, master)| master)
    }

    /// Where the counters of a spacecraft are, or from now on shall be.
    #[cold]
    fn place(&mut self, mcid: Mcid) -> Option<usize> {
        let known = self.masters.iter().position(|(known, _)| *known == mcid);
        if known.is_none() && self.masters.len() < self.capacity {
            self.masters.push((mcid, MasterChannel::new(self.spec)));
            return Some(self.masters.len() - 1);
        }
        known
    }

    /// The counters of a spacecraft that was seen.
    #[inline]
    #[must_use]
    pub fn get(&self, mcid: Mcid) -> Option<&MasterChannel> {
        self.masters.iter().find(|(known, _)| *known == mcid).map(|(_, master)| master)
    }

    /// Every spacecraft seen, in order of first sight.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Mcid, &MasterChannel)> {
        self.masters.iter().map(|(mcid, master)| (*mcid, master))
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.masters.clear();
    }
}
