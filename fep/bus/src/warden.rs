//! The warden: what the control thread does for the consumers of one ring. It reads their cursor files (plain
//! `pread`, nothing is mapped that somebody else may cut short), keeps the gate table, warns, evicts and counts; on
//! rings that wait it moves the producer's limit. It never speaks to the producing thread otherwise.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use fep_time::Monotonic;

use crate::cursor::{self, CursorState};
use crate::directory::{Directory, Owner, Refusal, Use};
use crate::error::BusError;
use crate::file::{self, MappedRing, StaticPage};
use crate::heartbeat;
use crate::layout::{HINT_EVERY, gate, page};
use crate::list::CONSUMERS_MAX;
use crate::lock;
use crate::memory::{Memory, Ordering};
use crate::place;
use crate::reader::Ledger;

/// When a gate is warned of, given up, or taken for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WardenSpec {
    /// Credit (free part of the ring, worst of descriptors and octets) below which a gate is in alarm, in permille.
    pub warn_permille: u32,
    /// Credit below which a gate is evicted, in permille. Not used on rings that wait.
    pub evict_permille: u32,
    /// On rings that wait: a watched consumer whose process has been dead for longer than this, as the warden has seen
    /// it, is evicted. A living one is waited for, however slow.
    pub dead_after_ns: i64,
}

impl Default for WardenSpec {
    fn default() -> WardenSpec {
        WardenSpec { warn_permille: 250, evict_permille: 20, dead_after_ns: 10_000_000_000 }
    }
}

/// What a consumer is to the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// Not in the ring's specification: lossy by nature, only listed.
    Free,
    /// Named, and has not attached yet.
    Absent,
    /// Watched, in time.
    Gated,
    /// Watched, and its credit is under the warning threshold.
    Warned,
    /// Given up at the sequence number it stood at.
    Evicted,
    /// Named, and has detached in an orderly way.
    Detached,
}

/// One consumer as of the last scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateStatus {
    /// Its name.
    pub consumer: String,
    /// What it is to the ring.
    pub state: GateState,
    /// Free part of the ring before it would be lapped, 0 to 1000, worst of descriptors and octets.
    pub credit_permille: u32,
    /// Records published and not yet read.
    pub lag_records: u64,
    /// Octets of log not yet read.
    pub lag_bytes: u64,
    /// What it has consumed and lost, by its own count.
    pub ledger: Ledger,
    /// Log position up to which it has made the data durable.
    pub durable_pos: u64,
    /// Where it stood when it was last evicted; 0 for never.
    pub evicted_at_seq: u64,
    /// Times it was evicted.
    pub evictions: u64,
    /// When it was evicted last, as far as this warden has done it: the count goes back further.
    pub evicted: Option<Monotonic>,
    /// Its last sign of life, `None` before the first. It may be of another boot.
    pub heartbeat: Option<Monotonic>,
    /// Whether a live process holds its cursor file.
    pub alive: bool,
    /// Process that wrote the cursor last.
    pub pid: u64,
    /// Why its cursor file was ignored, if it was.
    pub problem: Option<CursorProblem>,
}

/// Why a cursor file says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorProblem {
    /// It may not be read, is too short, or has no slot with a valid check word.
    Unreadable,
    /// A link, FIFO, device or directory lies under its name, or a file that has other names as well.
    NotARegularFile,
    /// It speaks of another ring file.
    OtherInstance,
    /// It claims to have read what was never published.
    AheadOfHead,
}

/// A change worth an alarm or a line in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WardenEvent {
    /// The gate is watched now.
    Armed {
        /// Its name.
        consumer: String,
    },
    /// Credit fell under the warning threshold.
    Warned {
        /// Its name.
        consumer: String,
        /// Credit left.
        credit_permille: u32,
    },
    /// Credit is back above the warning threshold.
    Recovered {
        /// Its name.
        consumer: String,
    },
    /// The gate was given up; what it misses is counted by the consumer itself when it comes back.
    Evicted {
        /// Its name.
        consumer: String,
        /// Where it stood.
        at_seq: u64,
    },
    /// The cursor file has become unusable.
    CursorIgnored {
        /// Its name.
        consumer: String,
        /// Why.
        problem: CursorProblem,
    },
    /// The cursor directory holds more entries than are looked at: consumers without a gate may be missing in lists. Gates
    /// are watched as ever. Reported once until it has been cleared.
    CursorsLeftOut {
        /// Entries looked at.
        limit: usize,
    },
}

/// How often the cursor directory is counted.
const COUNT_EVERY_NS: i64 = 10_000_000_000;

/// Watches the consumers of one ring; lives in the producer's process, on another thread.
pub struct Warden {
    ring: Arc<MappedRing>,
    cursors: Directory,
    fixed_page: StaticPage,
    spec: WardenSpec,
    gates: Vec<Gate>,
    /// When the cursor directory is counted next.
    count_at: Monotonic,
    crowded: bool,
}

struct Gate {
    name: String,
    file: Option<File>,
    warned: bool,
    problem: Option<CursorProblem>,
    /// Since when no live process holds the cursor file.
    dead_since: Option<Monotonic>,
    /// When this warden evicted it last.
    evicted: Option<Monotonic>,
}

impl Warden {
    /// Opens an existing ring for writing its gate table. One warden a ring.
    pub fn open(dir: &Path, ring: &str, spec: WardenSpec) -> Result<Warden, BusError> {
        let (place, directory) = place::find(dir, ring)?;
        let path = directory.path_of("ring");
        let (file, fixed_page) = file::open(&directory, &place, Use::ReadWrite)?;
        let ring = MappedRing::new(&file, &path, &fixed_page, true, false)?;
        let gates = (0..fixed_page.gate_count)
            .map(|index| {
                let name = file::gate_name(&ring, index)
                    .ok_or_else(|| BusError::layout(&path, format!("gate {index} has no name")))?;
                Ok(Gate { name, file: None, warned: false, problem: None, dead_since: None, evicted: None })
            })
            .collect::<Result<_, BusError>>()?;
        Ok(Warden {
            ring: Arc::new(ring),
            cursors: directory.enter("cursors")?,
            fixed_page,
            spec,
            gates,
            count_at: Monotonic::PAST,
            crowded: false,
        })
    }

    /// Reads the cursors of the gates and acts on them; to be called about every millisecond. Reports what changed.
    ///
    /// Never waits, whatever lies in the cursor directory: some system calls a gate, and every ten seconds a bounded look
    /// at the directory.
    pub fn scan(&mut self, now: Monotonic, sink: &mut impl FnMut(WardenEvent)) {
        for index in 0..self.gates.len() {
            self.scan_gate(index, now, sink);
        }
        if now >= self.count_at {
            self.count_at = now.plus_ns(COUNT_EVERY_NS);
            let crowded = self.cursors.names(CONSUMERS_MAX).is_ok_and(|found| found.more);
            if crowded && !self.crowded {
                sink(WardenEvent::CursorsLeftOut { limit: CONSUMERS_MAX });
            }
            self.crowded = crowded;
        }
        if self.fixed_page.shape.wait {
            self.move_limit();
        }
    }

    /// Whether some consumer is watched now, so that scans must stay frequent.
    pub fn is_watching(&self) -> bool {
        (0..self.gates.len()).any(|index| self.gate_word(index, gate::STATE) == gate::GATED)
    }

    fn scan_gate(&mut self, index: usize, now: Monotonic, sink: &mut impl FnMut(WardenEvent)) {
        let read = self.read_gate(index);
        let problem = read.err().flatten();
        let gate_entry = &mut self.gates[index];
        if let Some(problem) = problem
            && gate_entry.problem != Some(problem)
        {
            sink(WardenEvent::CursorIgnored { consumer: gate_entry.name.clone(), problem });
        }
        gate_entry.problem = problem;
        let consumer = gate_entry.name.clone();
        let was = self.gate_word(index, gate::STATE);
        // Without a readable cursor the last known position counts on: the ring still fills up behind it.
        if let Ok(state) = read {
            if state.want_gen != self.gate_word(index, gate::ACK_GEN) {
                self.acknowledge(index, &state, now, sink);
            }
            if self.gate_word(index, gate::STATE) == gate::GATED {
                self.set_gate_word(index, gate::CURSOR_SEQ, state.next.seq);
                self.set_gate_word(index, gate::CURSOR_POS, state.next.pos);
            }
            self.set_gate_word(index, gate::LOST_RECORDS, state.ledger.lost_records);
        }
        if self.gate_word(index, gate::STATE) != gate::GATED {
            self.gates[index].warned = false;
            return;
        }
        let cursor = (self.gate_word(index, gate::CURSOR_SEQ), self.gate_word(index, gate::CURSOR_POS));
        let credit = self.credit_permille(cursor.0, cursor.1);
        self.set_gate_word(index, gate::CREDIT_PERMILLE, credit.into());
        let evict = if self.fixed_page.shape.wait {
            was == gate::GATED
                && self.dead_for_ns(index, now).is_some_and(|dead_ns| dead_ns > self.spec.dead_after_ns)
        } else {
            credit < self.spec.evict_permille
        };
        if evict {
            self.evict(index, cursor.0, now, sink);
        } else if credit < self.spec.warn_permille && !self.gates[index].warned {
            self.gates[index].warned = true;
            sink(WardenEvent::Warned { consumer, credit_permille: credit });
        } else if credit >= self.spec.warn_permille && self.gates[index].warned {
            self.gates[index].warned = false;
            sink(WardenEvent::Recovered { consumer });
        }
    }

    /// The consumer's wish has changed: watched (odd) or not (even).
    fn acknowledge(
        &mut self,
        index: usize,
        state: &CursorState,
        now: Monotonic,
        sink: &mut impl FnMut(WardenEvent),
    ) {
        let consumer = self.gates[index].name.clone();
        self.set_gate_word(index, gate::CURSOR_SEQ, state.next.seq);
        self.set_gate_word(index, gate::CURSOR_POS, state.next.pos);
        let credit = self.credit_permille(state.next.seq, state.next.pos);
        let next = if state.want_gen.is_multiple_of(2) {
            gate::DETACHED
        } else if credit > 0 {
            gate::GATED
        } else {
            gate::EVICTED
        };
        let was = self.gate_word(index, gate::STATE);
        self.set_gate_word(index, gate::STATE, next);
        self.set_gate_word(index, gate::ACK_GEN, state.want_gen);
        match next {
            gate::GATED => sink(WardenEvent::Armed { consumer }),
            gate::EVICTED if was != gate::EVICTED => self.evict(index, state.next.seq, now, sink),
            _ => {}
        }
    }

    fn evict(&mut self, index: usize, at_seq: u64, now: Monotonic, sink: &mut impl FnMut(WardenEvent)) {
        self.set_gate_word(index, gate::EVICTED_AT_SEQ, at_seq);
        self.set_gate_word(index, gate::EVICTIONS, self.gate_word(index, gate::EVICTIONS).wrapping_add(1));
        self.set_gate_word(index, gate::STATE, gate::EVICTED);
        self.gates[index].warned = false;
        self.gates[index].evicted = Some(now);
        sink(WardenEvent::Evicted { consumer: self.gates[index].name.clone(), at_seq });
    }

    /// On rings that wait: nothing that a gate has not read may be overwritten. A gate that has not come yet holds the
    /// ring from its start; evicted and detached ones hold nothing.
    fn move_limit(&mut self) {
        let shape = &self.fixed_page.shape;
        let (mut seq, mut pos) = (u64::MAX / 4, u64::MAX / 4);
        for index in 0..self.gates.len() {
            let (held_seq, held_pos) = match self.gate_word(index, gate::STATE) {
                gate::EVICTED | gate::DETACHED => continue,
                gate::NONE => (shape.seq0, shape.pos0),
                _ => (self.gate_word(index, gate::CURSOR_SEQ), self.gate_word(index, gate::CURSOR_POS)),
            };
            seq = seq.min(held_seq);
            pos = pos.min(held_pos);
        }
        let words = self.ring.page();
        words[page::LIMIT_SEQ / 8].store(seq.saturating_add(shape.slots()), Ordering::Release);
        words[page::LIMIT_POS / 8].store(pos.saturating_add(shape.data_len), Ordering::Release);
    }

    /// The gates, and the other consumers with a cursor file as far as the directory is looked at (256 entries), with what
    /// their files say now. For status pages; opens files.
    pub fn status(&self) -> Result<Vec<GateStatus>, BusError> {
        let mut names = self.cursors.names(CONSUMERS_MAX)?.names;
        for gate in &self.gates {
            if !names.contains(&gate.name) {
                names.push(gate.name.clone());
            }
        }
        Ok(names.into_iter().map(|name| self.status_of(name)).collect())
    }

    fn status_of(&self, consumer: String) -> GateStatus {
        let index = self.gates.iter().position(|gate| gate.name == consumer);
        let file = self.open_cursor(&consumer);
        let alive = file.as_ref().is_ok_and(|file| lock::is_held(file).unwrap_or(false));
        let read = file.and_then(|file| self.believable(cursor::read_state(&file).ok().flatten()));
        let known = read.unwrap_or_default();
        let (next_seq, next_pos) = match (read, index) {
            (Ok(state), _) => (state.next.seq, state.next.pos),
            (Err(_), Some(index)) => {
                (self.gate_word(index, gate::CURSOR_SEQ), self.gate_word(index, gate::CURSOR_POS))
            }
            (Err(_), None) => self.head(),
        };
        let credit_permille = self.credit_permille(next_seq, next_pos);
        let word = |offset: usize| index.map_or(0, |index| self.gate_word(index, offset));
        let state = match index {
            None => GateState::Free,
            Some(index) => match word(gate::STATE) {
                gate::GATED if self.gates[index].warned => GateState::Warned,
                gate::GATED => GateState::Gated,
                gate::EVICTED => GateState::Evicted,
                gate::DETACHED => GateState::Detached,
                _ => GateState::Absent,
            },
        };
        let head = self.head();
        GateStatus {
            state,
            credit_permille,
            lag_records: if state == GateState::Absent { 0 } else { head.0.saturating_sub(next_seq) },
            lag_bytes: if state == GateState::Absent { 0 } else { head.1.saturating_sub(next_pos) },
            ledger: known.ledger,
            durable_pos: known.durable_pos,
            evicted_at_seq: word(gate::EVICTED_AT_SEQ),
            evictions: word(gate::EVICTIONS),
            evicted: index.and_then(|index| self.gates[index].evicted),
            heartbeat: heartbeat::instant(known.heartbeat),
            alive,
            pid: known.pid,
            problem: read.err().flatten(),
            consumer,
        }
    }

    /// `Err(None)`: no cursor file exists.
    fn open_cursor(&self, consumer: &str) -> Result<File, Option<CursorProblem>> {
        self.cursors.open(consumer, Use::Read, Owner::Anybody).map_err(|refusal| match refusal {
            _ if refusal.is_not_found() => None,
            Refusal::Foreign(_) => Some(CursorProblem::NotARegularFile),
            Refusal::Io(_) => Some(CursorProblem::Unreadable),
        })
    }

    /// `Err(None)`: no cursor file exists.
    fn read_gate(&mut self, index: usize) -> Result<CursorState, Option<CursorProblem>> {
        let file = match self.gates[index].file.take() {
            // It may have been deleted and made anew: then the name leads to another file.
            Some(file) if has_one_name(&file) => file,
            _ => self.open_cursor(&self.gates[index].name)?,
        };
        let state = cursor::read_state(&file).ok().flatten();
        self.gates[index].file = Some(file);
        self.believable(state)
    }

    fn believable(&self, state: Option<CursorState>) -> Result<CursorState, Option<CursorProblem>> {
        let state = state.ok_or(Some(CursorProblem::Unreadable))?;
        if state.instance != self.fixed_page.instance {
            return Err(Some(CursorProblem::OtherInstance));
        }
        // The head hints may be 64 records old; the byte log cannot be further than what is reserved.
        let (head_seq, _) = self.head();
        let reserve = self.ring.page()[page::RESERVE_POS / 8].load(Ordering::Acquire);
        if state.next.seq > head_seq.saturating_add(HINT_EVERY) || state.next.pos > reserve {
            return Err(Some(CursorProblem::AheadOfHead));
        }
        Ok(state)
    }

    /// For how long no live process has held the cursor file, as far as this warden has seen; `None` while one does.
    fn dead_for_ns(&mut self, index: usize, now: Monotonic) -> Option<i64> {
        let gate = &mut self.gates[index];
        let alive = gate.file.as_ref().is_some_and(|file| lock::is_held(file).unwrap_or(true));
        gate.dead_since = (!alive).then(|| gate.dead_since.unwrap_or(now));
        Some(now.ns_since(gate.dead_since?))
    }

    fn head(&self) -> (u64, u64) {
        let words = self.ring.page();
        let seq = words[page::HEAD_SEQ / 8].load(Ordering::Acquire);
        (seq, words[page::HEAD_POS / 8].load(Ordering::Acquire))
    }

    /// Free part of the ring before a reader standing there is lapped, worst of descriptors and octets.
    fn credit_permille(&self, seq: u64, pos: u64) -> u32 {
        let shape = &self.fixed_page.shape;
        let (head_seq, head_pos) = self.head();
        let free =
            |lag: u64, size: u64| (u128::from(size.saturating_sub(lag)) * 1000 / u128::from(size)) as u32;
        free(head_seq.saturating_sub(seq), shape.slots())
            .min(free(head_pos.saturating_sub(pos), shape.data_len))
    }

    fn gate_word(&self, index: usize, offset: usize) -> u64 {
        self.ring.gate(index, offset).load(Ordering::Relaxed)
    }

    fn set_gate_word(&self, index: usize, offset: usize, value: u64) {
        self.ring.gate(index, offset).store(value, Ordering::Release);
    }
}

fn has_one_name(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|found| found.st_nlink == 1)
}
