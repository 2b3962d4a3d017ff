//! Scopes: which spacecraft, which colour and which session a caller's roles reach.

use std::collections::BTreeSet;

use fep_bus::Colour;
use fep_record::Session;
use serde::{Deserialize, Serialize};

/// Spacecraft that a scope reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spacecraft {
    /// Every spacecraft, also those that are added later. As text: `"all"`.
    All(All),
    /// Those with these spacecraft identifiers (SCID).
    These(BTreeSet<u16>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Everything.
    All,
}

impl Spacecraft {
    /// Every spacecraft.
    pub const ALL: Spacecraft = Spacecraft::All(All::All);

    /// Those with these spacecraft identifiers.
    #[must_use]
    pub fn these(scids: impl IntoIterator<Item = u16>) -> Spacecraft {
        Spacecraft::These(scids.into_iter().collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Spacecraft::These(scids) if scids.is_empty())
    }

    /// Whether the spacecraft with this identifier is one of them.
    #[must_use]
    pub fn has(&self, scid: u16) -> bool {
        match self {
            Spacecraft::All(_) => true,
            Spacecraft::These(scids) => scids.contains(&scid),
        }
    }
}

/// Sets of a few named things, as lists of their names in TOML and JSON.
macro_rules! small_set {
    ($(#[$doc:meta])* $set:ident of $item:ty, $what:literal, $($field:ident = $value:expr, $name:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        #[serde(try_from = "Vec<String>", into = "Vec<String>")]
        pub struct $set {
            $($field: bool,)*
        }

        impl $set {
            /// Everything there is.
            pub const ALL: $set = $set { $($field: true,)* };
            /// Nothing.
            pub const NONE: $set = $set { $($field: false,)* };

            /// Exactly these.
            #[must_use]
            pub fn of(items: &[$item]) -> $set {
                $set { $($field: items.contains(&$value),)* }
            }

            /// Whether this is one of them.
            #[must_use]
            pub fn has(self, item: $item) -> bool {
                $((item == $value && self.$field))||*
            }

            /// The one with this name.
            #[must_use]
            pub fn named(name: &str) -> Option<$item> {
                match name {
                    $($name => Some($value),)*
                    _ => None,
                }
            }

            /// Every name, in the order of their numbers.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];
        }

        impl TryFrom<Vec<String>> for $set {
            type Error = String;

            fn try_from(names: Vec<String>) -> Result<$set, String> {
                let mut set = $set::NONE;
                for name in names {
                    match name.as_str() {
                        $($name => set.$field = true,)*
                        _ => return Err(format!("{name:?} is not a {} (allowed: {})", $what, $set::NAMES.join(", "))),
                    }
                }
                Ok(set)
            }
        }

        impl From<$set> for Vec<String> {
            fn from(set: $set) -> Vec<String> {
                let mut names = Vec::new();
                $(if set.$field {
                    names.push($name.to_owned());
                })*
                names
            }
        }
    };
}

small_set! {
    /// Colours that a scope reaches.
    Colours of Colour, "colour",
    black = Colour::Black, "black";
    red = Colour::Red, "red";
}

small_set! {
    /// Sessions that a scope reaches.
    Sessions of Session, "session",
    ops = Session::Ops, "ops";
    test = Session::Test, "test";
    replay = Session::Replay, "replay";
}

/// A product of spacecraft, colours and sessions. A caller with several scopes reaches what any one of them reaches, and
/// nothing that only a mixture of two would: operations of one spacecraft and tests of another are two scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Which spacecraft.
    pub spacecraft: Spacecraft,
    /// Which colours.
    pub colours: Colours,
    /// Which sessions.
    pub sessions: Sessions,
}

impl Scope {
    /// Everything.
    pub const ALL: Scope =
        Scope { spacecraft: Spacecraft::ALL, colours: Colours::ALL, sessions: Sessions::ALL };

    /// Whether it reaches this target.
    #[must_use]
    pub fn reaches(&self, target: &Target) -> bool {
        let spacecraft = match target.scid {
            Asked::Nothing => true,
            Asked::Any => !self.spacecraft.is_empty(),
            Asked::One(scid) => self.spacecraft.has(scid),
            Asked::Everything => self.spacecraft == Spacecraft::ALL,
        };
        let colour = match target.colour {
            Asked::Nothing => true,
            Asked::Any => self.colours != Colours::NONE,
            Asked::One(colour) => self.colours.has(colour),
            Asked::Everything => self.colours == Colours::ALL,
        };
        let session = match target.session {
            Asked::Nothing => true,
            Asked::Any => self.sessions != Sessions::NONE,
            Asked::One(session) => self.sessions.has(session),
            Asked::Everything => self.sessions == Sessions::ALL,
        };
        spacecraft && colour && session
    }

    /// Whether it reaches all that another one reaches.
    #[must_use]
    pub fn covers(&self, other: &Scope) -> bool {
        let spacecraft = match (&self.spacecraft, &other.spacecraft) {
            (Spacecraft::All(_), _) => true,
            (Spacecraft::These(_), Spacecraft::All(_)) => false,
            (Spacecraft::These(own), Spacecraft::These(theirs)) => theirs.is_subset(own),
        };
        let colours = [Colour::Black, Colour::Red];
        let sessions = [Session::Ops, Session::Test, Session::Replay];
        spacecraft
            && colours.into_iter().all(|colour| self.colours.has(colour) || !other.colours.has(colour))
            && sessions.into_iter().all(|session| self.sessions.has(session) || !other.sessions.has(session))
    }
}

/// How a request touches one dimension of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked<T> {
    /// Not at all: the request has nothing to do with it.
    #[default]
    Nothing,
    /// What of it the scope has, and that is not nothing: the answer is made of what is in scope.
    Any,
    /// One value.
    One(T),
    /// All values, known and unknown.
    Everything,
}

/// What a request reaches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// Spacecraft identifier.
    pub scid: Asked<u16>,
    /// Colour.
    pub colour: Asked<Colour>,
    /// Session.
    pub session: Asked<Session>,
}

impl Target {
    /// Everything there is.
    pub const EVERYTHING: Target =
        Target { scid: Asked::Everything, colour: Asked::Everything, session: Asked::Everything };

    /// One spacecraft, colour and session.
    #[must_use]
    pub const fn of(scid: u16, colour: Colour, session: Session) -> Target {
        Target { scid: Asked::One(scid), colour: Asked::One(colour), session: Asked::One(session) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOURS: [Colour; 2] = [Colour::Black, Colour::Red];
    const SESSIONS: [Session; 3] = [Session::Ops, Session::Test, Session::Replay];

    // REQ: FEP-KIT-102
    #[test]
    fn a_scope_reaches_exactly_the_product_of_its_spacecraft_colours_and_sessions() {
        let scope = Scope {
            spacecraft: Spacecraft::these([157]),
            colours: Colours::of(&[Colour::Black]),
            sessions: Sessions::of(&[Session::Test, Session::Replay]),
        };
        let mut reached = Vec::new();
        for scid in [157, 158] {
            for colour in COLOURS {
                for session in SESSIONS {
                    if scope.reaches(&Target::of(scid, colour, session)) {
                        reached.push((scid, colour, session));
                    }
                }
            }
        }
        let expected = vec![(157, Colour::Black, Session::Test), (157, Colour::Black, Session::Replay)];
        assert_eq!(reached, expected);
        assert!(!scope.reaches(&Target::EVERYTHING));
        assert!(scope.reaches(&Target::default()), "a request that touches no data is in every scope");
        let any = Target { scid: Asked::Any, colour: Asked::Any, session: Asked::Any };
        assert!(scope.reaches(&any) && Scope::ALL.reaches(&any));
        for empty in [
            Scope { spacecraft: Spacecraft::these([]), ..Scope::ALL },
            Scope { colours: Colours::NONE, ..Scope::ALL },
            Scope { sessions: Sessions::NONE, ..Scope::ALL },
        ] {
            assert!(!empty.reaches(&any), "{empty:?} has nothing that could be answered");
        }
        let all_but_later = Scope { spacecraft: Spacecraft::these(0..=u16::MAX), ..Scope::ALL };
        assert!(!all_but_later.reaches(&Target::EVERYTHING), "a list is not everything");
    }

    #[test]
    fn a_scope_is_written_as_lists_of_names_and_misspellings_are_refused() {
        let text = r#"{"spacecraft":"all","colours":["black"],"sessions":["ops","replay"]}"#;
        let scope: Scope = serde_json::from_str(text).expect("a scope");
        assert_eq!(serde_json::to_string(&scope).expect("JSON"), text);
        for wrong in [
            r#"{"spacecraft":"most","colours":["black"],"sessions":["ops"]}"#,
            r#"{"spacecraft":[70000],"colours":["black"],"sessions":["ops"]}"#,
            r#"{"spacecraft":"all","colours":["green"],"sessions":["ops"]}"#,
            r#"{"spacecraft":"all","colours":["black"]}"#,
            r#"{"spacecraft":"all","colours":["black"],"sessions":["ops"],"more":1}"#,
        ] {
            assert!(serde_json::from_str::<Scope>(wrong).is_err(), "{wrong}");
        }
    }

    // REQ: FEP-KIT-102
    #[test]
    fn a_scope_covers_another_only_when_it_reaches_all_of_it() {
        let small = Scope {
            spacecraft: Spacecraft::these([1]),
            colours: Colours::of(&[Colour::Red]),
            sessions: Sessions::of(&[Session::Ops]),
        };
        assert!(Scope::ALL.covers(&small) && small.covers(&small) && !small.covers(&Scope::ALL));
        assert!(!small.covers(&Scope { colours: Colours::ALL, ..small.clone() }));
        assert!(!small.covers(&Scope { spacecraft: Spacecraft::these([1, 2]), ..small.clone() }));
        assert!(!small.covers(&Scope { sessions: Sessions::ALL, ..small.clone() }));
    }
}
