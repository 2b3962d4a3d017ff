//! What a ring shall be: sizes, names, who may read it. Checked here, once, before any file exists.

use std::fs;
use std::path::Path;

use fep_colour::Colour;

use crate::error::BusError;
use crate::layout;

/// What the producer does when a gated consumer is a whole ring behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Overwrite; the consumer is evicted and counts a gap (downlink).
    Evict,
    /// Refuse the claim (uplink and replay only).
    Wait,
}

/// Who may read a file of the bus beside its owner; nobody but the owner ever writes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Group, by name or number; `None` leaves the process's group.
    pub group: Option<String>,
}

impl Default for Access {
    /// The process's group may read, others may not (0640).
    fn default() -> Access {
        Access { mode: 0o640, group: None }
    }
}

impl Access {
    /// Says what is wrong with the mode, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Access { mode, .. } = *self;
        if mode & !0o777 != 0 || mode & 0o600 != 0o600 || mode & 0o022 != 0 {
            return Err(format!(
                "mode {mode:o} must let the owner read and write and nobody else write (e.g. 640)"
            ));
        }
        Ok(())
    }

    /// Number of the group, looked up in `/etc/group` when it is a name.
    pub(crate) fn group_id(&self) -> Result<Option<u32>, BusError> {
        let Some(group) = &self.group else { return Ok(None) };
        if let Ok(number) = group.parse() {
            return Ok(Some(number));
        }
        let path = Path::new("/etc/group");
        let groups = fs::read_to_string(path).map_err(BusError::io(path, "read"))?;
        let number = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
        });
        number.map(Some).ok_or_else(|| BusError::NoGroup { group: group.clone() })
    }
}

/// Everything needed to lay out one ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSpec {
    /// 1 to 31 characters of `a-z 0-9 - _ .`, not starting with a dot.
    pub name: String,
    /// What the records are, e.g. `ccsds.frame.v1`; at most 31 octets of ASCII. Only carried, never interpreted.
    pub schema: String,
    /// Which directory, hence which readers.
    pub colour: Colour,
    /// Two to this power descriptors (64 octets each), 2..=28.
    pub desc_log2: u32,
    /// Octets of the byte log; a power of two, a multiple of `extent_len`.
    pub data_len: u64,
    /// Records never cross a multiple of this many octets; a power of two.
    pub extent_len: u64,
    /// Longest record in octets.
    pub payload_max: u32,
    /// Consumers with a watched cursor, at most 16.
    pub gates: Vec<String>,
    /// What a full ring does.
    pub on_full: OnFull,
    /// Permission bits of the ring file; directories add search permission where a class may read.
    pub mode: u32,
    /// Group (name or number) that owns the ring's files; `None` leaves the process's group.
    pub group: Option<String>,
    /// Touch every page at creation, so that the hot thread never faults.
    pub prefault: bool,
}

impl RingSpec {
    /// A black ring of 2^16 descriptors and 128 MiB of log in 16 MiB extents, records up to 64 KiB, no gates.
    pub fn new(name: impl Into<String>, schema: impl Into<String>) -> RingSpec {
        RingSpec {
            name: name.into(),
            schema: schema.into(),
            colour: Colour::Black,
            desc_log2: 16,
            data_len: 128 << 20,
            extent_len: 16 << 20,
            payload_max: 64 << 10,
            gates: Vec::new(),
            on_full: OnFull::Evict,
            mode: 0o640,
            group: None,
            prefault: true,
        }
    }

    /// Who may read it.
    pub fn access(&self) -> Access {
        Access { mode: self.mode, group: self.group.clone() }
    }

    /// Octets of shared memory the ring takes.
    pub fn region_len(&self) -> u64 {
        layout::region_len(self.desc_log2.min(32), self.data_len)
    }

    /// Says what is wrong, if anything.
    pub fn validate(&self) -> Result<(), BusError> {
        let fail = |problem: String| Err(BusError::Spec { ring: self.name.clone(), problem });
        if let Err(problem) = check_name(&self.name) {
            return fail(format!("the ring's name {problem}"));
        }
        if !self.schema.is_ascii() || self.schema.len() >= layout::NAME_LEN {
            return fail(format!("schema \"{}\" must be ASCII of at most 31 octets", self.schema));
        }
        if !(2..=28).contains(&self.desc_log2) {
            return fail(format!("desc_log2 = {} must lie in 2..=28", self.desc_log2));
        }
        if !self.extent_len.is_power_of_two() || self.extent_len < 4096 {
            return fail(format!("extent_len = {} must be a power of two of at least 4096", self.extent_len));
        }
        if !self.data_len.is_power_of_two() || self.data_len < 2 * self.extent_len || self.data_len > 1 << 40
        {
            return fail(format!(
                "data_len = {} must be a power of two, at least twice extent_len ({}) and at most 1 TiB",
                self.data_len, self.extent_len
            ));
        }
        let payload_limit = self.extent_len / 4;
        if self.payload_max == 0 || u64::from(self.payload_max) > payload_limit {
            return fail(format!(
                "payload_max = {} must lie in 1..={payload_limit}, a quarter of extent_len",
                self.payload_max
            ));
        }
        if self.gates.len() > layout::GATE_MAX {
            return fail(format!("{} gates are named, at most {} fit", self.gates.len(), layout::GATE_MAX));
        }
        for (index, gate) in self.gates.iter().enumerate() {
            if let Err(problem) = check_name(gate) {
                return fail(format!("the gate \"{gate}\" {problem}"));
            }
            if self.gates[..index].contains(gate) {
                return fail(format!("the gate \"{gate}\" is named twice"));
            }
        }
        if self.on_full == OnFull::Wait && self.gates.is_empty() {
            return fail("on_full = wait needs at least one gate to wait for".to_owned());
        }
        self.access().check().or_else(fail)
    }
}

/// Names become file names: nothing that could leave the directory or hide.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-_.".contains(&octet);
    if name.is_empty() || name.len() >= layout::NAME_LEN {
        return Err(format!("has {} octets, 1 to {} are allowed", name.len(), layout::NAME_LEN - 1));
    }
    if name.starts_with('.') || !name.bytes().all(legal) {
        return Err("may only hold a-z 0-9 - _ . and not start with a dot".to_owned());
    }
    Ok(())
}
