//! Codes of events: what a process says to operators, declared once.
//!
//! [`event_codes!`] makes an enumeration of them, and the implementation of [`EventCode`]: number and name in the record, one
//! of the four severities, and a text that says what to do. Two codes of one number or of one name, and an empty text, do not
//! compile.
//!
//! ```
//! fep_events::event_codes! {
//!     /// What the planner says.
//!     pub enum PlanEvent {
//!         /// A plan was made.
//!         Planned = 200, "planned", Normal, "nothing";
//!         /// Two passes want one antenna.
//!         Conflict = 201, "conflict", Distress, "choose one of the two passes before the earlier one begins";
//!     }
//! }
//! use fep_events::{EventCode, Severity};
//! assert_eq!(PlanEvent::Conflict.severity(), Severity::Distress);
//! assert_eq!(PlanEvent::of_number(200), Some(PlanEvent::Planned));
//! ```

use fep_record::{EventRecord, Session};
use serde_json::Value;

/// How bad an event is: the four levels on which the Space Domain Task Force of the OMG agreed (C2MS11-222). The number is
/// the one of the event record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// As it should be.
    Normal = 1,
    /// Somebody should look, when there is time.
    Warning = 2,
    /// Somebody must look soon: data are being lost, or will be.
    Distress = 3,
    /// Somebody must act now.
    Critical = 4,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Normal => "NORMAL",
            Severity::Warning => "WARNING",
            Severity::Distress => "DISTRESS",
            Severity::Critical => "CRITICAL",
        }
    }

    /// That of an event record; `None` for 0 (debugging) and for numbers that are none.
    #[must_use]
    pub const fn of_number(number: u8) -> Option<Severity> {
        match number {
            1 => Some(Severity::Normal),
            2 => Some(Severity::Warning),
            3 => Some(Severity::Distress),
            4 => Some(Severity::Critical),
            _ => None,
        }
    }
}

/// One of the codes of a process. Made by [`event_codes!`].
pub trait EventCode: Copy + Sized + 'static {
    /// All codes of the process, in the order of their declaration.
    const ALL: &'static [Self];

    /// Number in the record. It belongs to the process, and is never given to another event.
    fn number(self) -> u16;

    /// Name in the payload of the record, in `snake_case`.
    fn name(self) -> &'static str;

    /// How bad it is.
    fn severity(self) -> Severity;

    /// What to do about it.
    fn advice(self) -> &'static str;

    /// The code of a number; `None` when the process has none.
    #[must_use]
    fn of_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// Puts name and advice into the object that is the payload of its record: `event`, and `advice` unless nothing needs to be
    /// done. Whoever shows the record need not know the process that made it. What is no object stays as it is.
    fn describe(self, detail: &mut Value) {
        if let Value::Object(fields) = detail {
            fields.insert("event".to_owned(), self.name().into());
            if self.severity() > Severity::Normal {
                fields.insert("advice".to_owned(), self.advice().into());
            }
        }
    }

    /// The record of such an event. `link_id` is `u16::MAX` when it concerns no link.
    #[must_use]
    fn record(self, link_id: u16, session: Session) -> EventRecord {
        EventRecord { code: self.number(), severity: self.severity() as u8, link_id, session }
    }
}

/// Declares the codes of a process: `Name = number, "name", Severity, "what to do";`. See the crate.
#[macro_export]
macro_rules! event_codes {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $codes:ident {
            $($(#[$doc:meta])* $code:ident = $number:literal, $name:literal, $severity:ident, $advice:literal;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        $visibility enum $codes {
            $($(#[$doc])* $code = $number,)+
        }

        // Two of one number are an error of the enumeration itself.
        const _: () = $crate::check(&[$($name),+], &[$($advice),+]);

        impl $crate::EventCode for $codes {
            const ALL: &'static [$codes] = &[$($codes::$code),+];

            fn number(self) -> u16 {
                self as u16
            }

            fn name(self) -> &'static str {
                match self { $($codes::$code => $name,)+ }
            }

            fn severity(self) -> $crate::Severity {
                match self { $($codes::$code => $crate::Severity::$severity,)+ }
            }

            fn advice(self) -> &'static str {
                match self { $($codes::$code => $advice,)+ }
            }
        }
    };
}

/// For [`event_codes!`]: fails the compilation when two names are one, a name is not `snake_case`, or a text is empty.
#[doc(hidden)]
pub const fn check(names: &[&str], advice: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        assert!(
            is_snake_case(names[at].as_bytes()),
            "the name of an event is lower-case letters, digits and _"
        );
        assert!(!advice[at].is_empty(), "an event says what to do about it");
        let mut other = 0;
        while other < at {
            assert!(!is_same(names[at].as_bytes(), names[other].as_bytes()), "two events have one name");
            other += 1;
        }
        at += 1;
    }
}

const fn is_snake_case(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !(name[at].is_ascii_lowercase() || name[at].is_ascii_digit() || name[at] == b'_') {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    event_codes! {
        /// Of this test.
        pub(crate) enum TestEvent {
            /// Good.
            Good = 1, "good", Normal, "nothing";
            /// Bad.
            Bad = 7, "bad_2", Critical, "stop the link";
        }
    }

    // REQ: FEP-KIT-250
    #[test]
    fn a_code_is_declared_once_with_number_name_severity_and_what_to_do() {
        assert_eq!(TestEvent::ALL, [TestEvent::Good, TestEvent::Bad]);
        let said = (
            TestEvent::Bad.number(),
            TestEvent::Bad.name(),
            TestEvent::Bad.severity(),
            TestEvent::Bad.advice(),
        );
        assert_eq!(said, (7, "bad_2", Severity::Critical, "stop the link"));
        assert_eq!(TestEvent::of_number(7), Some(TestEvent::Bad));
        assert_eq!(TestEvent::of_number(2), None);
        let record = TestEvent::Bad.record(3, Session::Ops);
        let (_, words) = record.to_words();
        assert_eq!(
            EventRecord::from_words(words),
            Some(EventRecord { code: 7, severity: 4, link_id: 3, session: Session::Ops })
        );
        let mut detail = serde_json::json!({"link": "npp"});
        TestEvent::Bad.describe(&mut detail);
        assert_eq!(detail, serde_json::json!({"link": "npp", "event": "bad_2", "advice": "stop the link"}));
        let mut detail = serde_json::json!({});
        TestEvent::Good.describe(&mut detail);
        assert_eq!(detail, serde_json::json!({"event": "good"}), "nothing needs to be done");
        for number in 0..=u8::MAX {
            assert_eq!(Severity::of_number(number).map_or(number, |severity| severity as u8), number);
        }
        assert!(Severity::Warning < Severity::Distress);
    }

    // REQ: FEP-KIT-250
    #[test]
    fn two_codes_of_one_name_a_name_of_another_form_and_an_empty_text_do_not_compile() {
        check(&["a", "b_1"], &["x", "y"]);
        for (names, advice) in [
            (["a", "a"], ["x", "y"]),
            (["a", "B"], ["x", "y"]),
            (["a", ""], ["x", "y"]),
            (["a", "b"], ["x", ""]),
        ] {
            // The same function that the macro calls while it compiles.
            let refused = std::panic::catch_unwind(|| check(&names, &advice));
            assert!(refused.is_err(), "{names:?} {advice:?}");
        }
    }
}
