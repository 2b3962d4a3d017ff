//! What somebody may see: a catalogue that lists nothing else.

use std::collections::{BTreeMap, BTreeSet};

use fep_record::Session;

use crate::model::Colour;

const SESSIONS: [Session; 3] = [Session::Ops, Session::Test, Session::Replay];

/// Which spacecraft (SCID) somebody may see, for each colour and session. New: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(BTreeMap<(Colour, u8), Spacecraft>);

/// Spacecraft of one colour and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spacecraft {
    /// All, and units whose header was not believed, and what is of no spacecraft.
    All,
    /// Those with these identifiers.
    These(BTreeSet<u16>),
}

impl Spacecraft {
    /// Whether this one is among them; `None`: a header that was not believed.
    #[must_use]
    pub fn has(&self, scid: Option<u16>) -> bool {
        match (self, scid) {
            (Spacecraft::All, _) => true,
            (Spacecraft::These(these), Some(scid)) => these.contains(&scid),
            (Spacecraft::These(_), None) => false,
        }
    }
}

impl Seen {
    /// Adds spacecraft of a colour and session.
    pub fn add(&mut self, colour: Colour, session: Session, spacecraft: &Spacecraft) {
        if matches!(spacecraft, Spacecraft::These(these) if these.is_empty()) {
            return;
        }
        let before = self.0.entry((colour, session as u8));
        let seen = before.or_insert_with(|| Spacecraft::These(BTreeSet::new()));
        match (&mut *seen, spacecraft) {
            (Spacecraft::All, _) => {}
            (Spacecraft::These(these), Spacecraft::These(more)) => these.extend(more),
            (Spacecraft::These(_), Spacecraft::All) => *seen = Spacecraft::All,
        }
    }

    /// Spacecraft of a colour and session; `None`: none.
    #[must_use]
    pub fn spacecraft(&self, colour: Colour, session: Session) -> Option<&Spacecraft> {
        self.0.get(&(colour, session as u8))
    }

    /// Whether a unit is seen; `session` by its number.
    #[must_use]
    pub fn has(&self, colour: Colour, session: u8, scid: Option<u16>) -> bool {
        self.0.get(&(colour, session)).is_some_and(|spacecraft| spacecraft.has(scid))
    }

    /// Whether everything of a colour is seen.
    #[must_use]
    pub fn has_all_of(&self, colour: Colour) -> bool {
        SESSIONS.iter().all(|session| self.spacecraft(colour, *session) == Some(&Spacecraft::All))
    }

    /// The condition for a row with these columns; one for a colour of which all is seen does not name the other columns.
    pub(super) fn condition(&self, colour: &str, session: &str, scid: &str) -> String {
        self.terms(colour, |of| {
            let parts = of.iter().map(|(number, spacecraft)| match spacecraft {
                Spacecraft::All => format!("{session} = {number}"),
                Spacecraft::These(these) => {
                    let these: Vec<String> = these.iter().map(u16::to_string).collect();
                    format!("({session} = {number} AND {scid} IN ({}))", these.join(", "))
                }
            });
            parts.collect::<Vec<_>>().join(" OR ")
        })
    }

    /// The condition for a segment `s`: something in it is seen.
    pub(super) fn segment_condition(&self) -> String {
        let rows = self.condition("s.colour", "p.session", "p.scid");
        let whole: Vec<String> = Colour::ALL
            .iter()
            .filter(|colour| self.has_all_of(**colour))
            .map(|colour| format!("s.colour || '' = '{colour}' OR "))
            .collect();
        format!("({}EXISTS (SELECT 1 FROM presences p WHERE p.segment_id = s.id AND {rows}))", whole.concat())
    }

    fn terms(&self, column: &str, of_colour: impl Fn(&[(u8, &Spacecraft)]) -> String) -> String {
        let mut terms = Vec::new();
        for colour in Colour::ALL {
            let of: Vec<(u8, &Spacecraft)> = self
                .0
                .iter()
                .filter(|((of, _), _)| of == colour)
                .map(|((_, session), spacecraft)| (*session, spacecraft))
                .collect();
            if self.has_all_of(*colour) {
                // No column alone: an index that begins with the colour would lead through everything.
                terms.push(format!("{column} || '' = '{colour}'"));
            } else if !of.is_empty() {
                terms.push(format!("({column} || '' = '{colour}' AND ({}))", of_colour(&of)));
            }
        }
        if terms.is_empty() { "1 = 0".to_owned() } else { format!("({})", terms.join(" OR ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ARC-171
    #[test]
    fn a_condition_names_what_is_seen_and_nothing_else() {
        let mut seen = Seen::default();
        assert_eq!(seen.condition("c", "s", "n"), "1 = 0");
        seen.add(Colour::Red, Session::Ops, &Spacecraft::These(BTreeSet::new()));
        assert_eq!(seen.condition("c", "s", "n"), "1 = 0", "no spacecraft is nothing");
        seen.add(Colour::Black, Session::Test, &Spacecraft::These(BTreeSet::from([7])));
        seen.add(Colour::Black, Session::Test, &Spacecraft::These(BTreeSet::from([9])));
        assert_eq!(seen.condition("c", "s", "n"), "((c || '' = 'black' AND ((s = 1 AND n IN (7, 9)))))");
        assert!(seen.has(Colour::Black, 1, Some(9)) && !seen.has(Colour::Black, 1, None));
        assert!(!seen.has(Colour::Black, 0, Some(9)) && !seen.has(Colour::Red, 1, Some(9)));
        for session in SESSIONS {
            assert!(!seen.has_all_of(Colour::Black));
            seen.add(Colour::Black, session, &Spacecraft::All);
        }
        assert!(seen.has_all_of(Colour::Black) && seen.has(Colour::Black, 2, None));
        assert_eq!(seen.condition("c", "s", "n"), "(c || '' = 'black')");
    }
}
