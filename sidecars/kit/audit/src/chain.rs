//! Verification: entries come one by one, from wherever; findings are data.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use serde::Serialize;

use crate::entry::Entry;
use crate::signing::SignedHead;

/// Findings that a report lists; more are only counted.
const FINDINGS_LISTED: usize = 100;
/// A line of an export is no longer than this.
const LINE_LIMIT_OCTETS: u64 = 1 << 20;

/// Something that is wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The contents of an entry are not those that it was written with.
    Altered {
        /// Its number.
        number: u64,
    },
    /// Entries are not there.
    Missing {
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
    /// An entry does not stand where its number says: it was exchanged, doubled or put in.
    OutOfOrder {
        /// The number expected.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// An entry is not bound to the one before it: that one was exchanged, or this one.
    NotBound {
        /// Its number.
        number: u64,
    },
    /// The trail ends before an entry that was signed as its head.
    CutEnd {
        /// Number of the signed head.
        signed: u64,
        /// Number of the last entry.
        last: u64,
    },
    /// The entry that was signed as the head is another one now: the trail was written anew.
    HeadDiffers {
        /// Its number.
        number: u64,
    },
    /// A signed head is not signed with the key that was given.
    HeadNotSigned {
        /// Its number.
        number: u64,
    },
    /// A line of an export is no entry.
    NotAnEntry {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::Altered { number } => write!(f, "entry {number} was altered"),
            Finding::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Finding::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Finding::OutOfOrder { expected, found } => {
                write!(f, "entry {found} stands where entry {expected} belongs")
            }
            Finding::NotBound { number } => write!(f, "entry {number} is not bound to the one before it"),
            Finding::CutEnd { signed, last } => {
                write!(
                    f,
                    "the trail ends with entry {last}, and entry {signed} was signed: its end was cut off"
                )
            }
            Finding::HeadDiffers { number } => {
                write!(f, "entry {number} is not the one that was signed: the trail was written anew")
            }
            Finding::HeadNotSigned { number } => {
                write!(f, "the signed head {number} is not signed with the key given")
            }
            Finding::NotAnEntry { line, problem } => write!(f, "line {line} is no entry: {problem}"),
        }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entries looked at.
    pub entries: u64,
    /// Number of the last of them; 0 when there is none.
    pub last: u64,
    /// Up to which entry a signed head with the key given stands for the trail. `None`: no head and key were given, or none
    /// holds; then a trail written anew as a whole would not be found.
    pub signed_up_to: Option<u64>,
    /// What is wrong, at most the first hundred.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub findings_in_all: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings_in_all == 0
    }
}

/// Verifies a trail entry by entry.
#[derive(Debug)]
pub struct Verifier {
    number: u64,
    hash: [u8; 32],
    entries: u64,
    /// Heads that are signed well and were not met yet.
    heads: BTreeMap<u64, [u8; 32]>,
    signed_up_to: Option<u64>,
    findings: Vec<Finding>,
    findings_in_all: u64,
}

impl Verifier {
    /// Begins with the first entry. `heads` are held against `key`, the Ed25519 public key that is known by another way than
    /// the heads; without a key they are not looked at.
    #[must_use]
    pub fn new(heads: &[SignedHead], key: Option<&[u8; 32]>) -> Verifier {
        let mut verifier = Verifier {
            number: 0,
            hash: [0; 32],
            entries: 0,
            heads: BTreeMap::new(),
            signed_up_to: None,
            findings: Vec::new(),
            findings_in_all: 0,
        };
        let Some(key) = key else { return verifier };
        for head in heads {
            let number = head.head.number;
            if !head.is_signed_with(key) {
                verifier.find(Finding::HeadNotSigned { number });
            } else if verifier
                .heads
                .insert(number, head.head.hash)
                .is_some_and(|other| other != head.head.hash)
            {
                // Two signed heads of one number: at least one of them is of another trail.
                verifier.find(Finding::HeadDiffers { number });
            }
        }
        if verifier.heads.remove(&0).is_some() {
            verifier.signed_up_to = Some(0);
        }
        verifier
    }

    /// The next entry.
    pub fn entry(&mut self, entry: &Entry) {
        let expected = self.number + 1;
        self.entries += 1;
        if entry.number > expected {
            self.find(Finding::Missing { from: expected, to: entry.number - 1 });
        } else if entry.number < expected {
            self.find(Finding::OutOfOrder { expected, found: entry.number });
        } else if entry.previous != self.hash {
            self.find(Finding::NotBound { number: entry.number });
        }
        if entry.computed_hash() != entry.hash {
            self.find(Finding::Altered { number: entry.number });
        }
        // From what is there: one fault is one finding, and what follows is still held against itself.
        self.number = self.number.max(entry.number);
        self.hash = entry.hash;
        match self.heads.remove(&entry.number) {
            Some(hash) if hash == entry.computed_hash() => self.signed_up_to = Some(entry.number),
            Some(_) => self.find(Finding::HeadDiffers { number: entry.number }),
            None => {}
        }
    }

    /// What is wrong so far, at most the first hundred.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The end of the trail.
    #[must_use]
    pub fn end(mut self) -> Report {
        // Signed heads that were passed over stand for entries that are missing, which was found; those beyond the end are not.
        let beyond = self.heads.keys().copied().filter(|number| *number > self.number).max();
        if let Some(signed) = beyond {
            self.find(Finding::CutEnd { signed, last: self.number });
        }
        Report {
            entries: self.entries,
            last: self.number,
            signed_up_to: self.signed_up_to,
            findings: self.findings,
            findings_in_all: self.findings_in_all,
        }
    }

    pub(crate) fn find(&mut self, finding: Finding) {
        self.findings_in_all += 1;
        if self.findings.len() < FINDINGS_LISTED {
            self.findings.push(finding);
        }
    }
}

/// Verifies an export, as [`crate::export`] writes it. `heads` and `key` as for [`Verifier::new`].
///
/// # Errors
/// What the system says to reading. A line that is no entry is a finding.
pub fn verify_lines(
    mut lines: impl BufRead,
    heads: &[SignedHead],
    key: Option<&[u8; 32]>,
) -> std::io::Result<Report> {
    let mut verifier = Verifier::new(heads, key);
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let read = (&mut lines).take(LINE_LIMIT_OCTETS).read_until(b'\n', &mut text)?;
        if read == 0 {
            break;
        }
        match serde_json::from_slice::<Entry>(&text) {
            Ok(entry) => verifier.entry(&entry),
            Err(error) => verifier.find(Finding::NotAnEntry { line, problem: error.to_string() }),
        }
    }
    Ok(verifier.end())
}
