use fep_database::hex;
use fep_time::Tai;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// What somebody did, as the caller says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Tai,
    /// The person, by the name that is above accounts; or the program, as `service:NAME`. At most 256 octets.
    pub person: String,
    /// The account that was used. At most 256 octets; empty when there is none.
    pub account: String,
    /// What was done, in few words that do not change: `order approved`. At most 128 octets.
    pub action: String,
    /// To what: the name of an order, a segment, a document. At most 1024 octets.
    pub subject: String,
    /// Everything else, as the action defines it. At most 65 536 octets.
    pub detail: String,
}

impl Event {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fields = [
            ("person", &self.person, 1, 256),
            ("account", &self.account, 0, 256),
            ("action", &self.action, 1, 128),
            ("subject", &self.subject, 0, 1024),
            ("detail", &self.detail, 0, 65_536),
        ];
        for (field, text, least, most) in fields {
            if !(least..=most).contains(&text.len()) {
                let problem = format!("it has {} octets, allowed are {least} to {most}", text.len());
                return Err(Error::Field { field, problem });
            }
            // PostgreSQL has no text with one, and what one engine takes both must take.
            if text.contains('\0') {
                return Err(Error::Field { field, problem: "it holds a character NUL".to_owned() });
            }
        }
        Ok(())
    }
}

/// An entry of the trail. As JSON, hashes are 64 hexadecimal digits and `at` is TAI nanoseconds since 1958.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 1 for the first, and one more for each that follows.
    pub number: u64,
    /// When.
    pub at: Tai,
    /// Who.
    pub person: String,
    /// By which account.
    pub account: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Everything else.
    pub detail: String,
    /// Hash of the entry before; zeros for the first.
    #[serde(with = "hex")]
    pub previous: [u8; 32],
    /// Hash of this entry.
    #[serde(with = "hex")]
    pub hash: [u8; 32],
}

impl Entry {
    pub(crate) fn new(number: u64, previous: [u8; 32], event: Event) -> Entry {
        let Event { at, person, account, action, subject, detail } = event;
        let mut entry =
            Entry { number, at, person, account, action, subject, detail, previous, hash: [0; 32] };
        entry.hash = entry.computed_hash();
        entry
    }

    /// The hash that these contents have: SHA-256 over a fixed mark, the previous hash, number and time as 64 bits with the
    /// highest octet first, and each text as its length in octets (32 bits) and its octets. No two entries have the same
    /// octets.
    #[must_use]
    pub fn computed_hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"fep-audit-entry-1\0");
        hasher.update(self.previous);
        hasher.update(self.number.to_be_bytes());
        hasher.update(self.at.0.to_be_bytes());
        for text in [&self.person, &self.account, &self.action, &self.subject, &self.detail] {
            // Texts of this length are refused long before.
            hasher.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().into()
    }

    /// One line of JSON, as [`crate::export`] writes it.
    #[must_use]
    pub fn to_line(&self) -> String {
        // A struct of numbers and texts always becomes JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            at: Tai(2_000_000_000_000_000_000),
            person: "anna".to_owned(),
            account: "anna@ldap".to_owned(),
            action: "order approved".to_owned(),
            subject: "O-1".to_owned(),
            detail: "{}".to_owned(),
        }
    }

    // REQ: FEP-KIT-220
    #[test]
    fn the_hash_is_that_of_octets_that_another_program_puts_together() {
        // Python's struct and hashlib, from the order that `computed_hash` describes.
        let entry = Entry::new(1, [0; 32], event());
        assert_eq!(
            hex::text(&entry.hash),
            "58427d1663851231f424c77748029a8d7b4ed3215e2f69c442c826fbde6d3a93"
        );
    }

    #[test]
    fn what_moves_from_one_text_into_the_next_changes_the_hash() {
        let one =
            Entry::new(1, [0; 32], Event { person: "ab".to_owned(), account: "c".to_owned(), ..event() });
        let two =
            Entry::new(1, [0; 32], Event { person: "a".to_owned(), account: "bc".to_owned(), ..event() });
        assert_ne!(one.hash, two.hash);
    }

    // REQ: FEP-KIT-220
    #[test]
    fn an_entry_that_the_table_could_not_hold_is_refused_with_its_field() {
        event().check().expect("good");
        for (field, bad) in [
            ("person", Event { person: String::new(), ..event() }),
            ("person", Event { person: "a\0".to_owned(), ..event() }),
            ("account", Event { account: "a".repeat(257), ..event() }),
            ("action", Event { action: String::new(), ..event() }),
            ("subject", Event { subject: "a".repeat(1025), ..event() }),
            ("detail", Event { detail: "a".repeat(65_537), ..event() }),
        ] {
            let refused = bad.check().expect_err("refused").to_string();
            assert!(refused.starts_with(&format!("audit: {field}: ")), "{refused}");
        }
    }

    #[test]
    fn a_line_is_read_as_the_entry_it_was_written_from() {
        let entry = Entry::new(7, [9; 32], event());
        assert_eq!(serde_json::from_str::<Entry>(&entry.to_line()).expect("a line"), entry);
    }
}
