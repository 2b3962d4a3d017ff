//! What a caller's scopes reach: for lists, for what a request does not name, and for single things.

use axum::http::StatusCode;
use fep_archive_query::{Numbers, Retrieval, Selection};
use fep_catalogue::{Colour, Seen, Spacecraft};
use fep_identity::{Asked, Caller, Denied, Target};
use fep_kit::Problem;
use fep_record::Session;
use fep_route::{Call, OUT_OF_SCOPE, Reach, Refusal, Source};

use crate::config::Config;
use crate::service::Service;

/// Method and path of a route, as it is declared.
pub(super) type Of = (&'static str, &'static str);

/// Rows of frames or packets: what is not named is what is in the caller's scopes, but for the colour and the session, which
/// have defaults.
pub(super) const ROWS: Reach = Reach {
    scid: Source::Selected("scid"),
    colour: Source::Defaulted("colour", Colour::Black),
    session: Source::Defaulted("session", Session::Ops),
};

/// Something in the caller's scopes; the handler answers with nothing else.
pub(super) const IN_SCOPE: Reach =
    Reach { scid: Source::InScope, colour: Source::InScope, session: Source::InScope };

/// Every colour that this service has.
pub(super) const fn colours(config: &Config) -> Source<Colour> {
    if config.http.serve_red { Source::Everything } else { Source::Always(Colour::Black) }
}

/// Everything that this service has.
pub(super) const fn everything(config: &Config) -> Reach {
    Reach { colour: colours(config), ..Reach::EVERYTHING }
}

/// All that the caller's scopes reach.
pub(super) fn seen(caller: &Caller) -> Seen {
    let mut seen = Seen::default();
    for scope in &caller.scopes {
        let spacecraft = match &scope.spacecraft {
            fep_identity::Spacecraft::All(_) => Spacecraft::All,
            fep_identity::Spacecraft::These(these) => Spacecraft::These(these.clone()),
        };
        for colour in Colour::ALL.iter().filter(|colour| scope.colours.has(**colour)) {
            for session in [Session::Ops, Session::Test, Session::Replay] {
                if scope.sessions.has(session) {
                    seen.add(*colour, session, &spacecraft);
                }
            }
        }
    }
    seen
}

/// Holds a selection to the caller's scopes, and narrows one that names no spacecraft down to them: the query that an answer
/// names is what it really holds.
///
/// # Errors
/// 403, in the audit trail too: something named is out of scope, nothing is in it, or what is cannot be one selection.
pub(super) fn narrow<B>(
    service: &Service,
    call: &Call<B>,
    of: Of,
    retrieval: Retrieval,
) -> Result<Retrieval, Problem> {
    let caller = call.caller()?;
    narrowed(&seen(caller), retrieval).map_err(|why| {
        let problem = out_of_scope(service, call, of, caller);
        match why {
            Narrow::OutOfScope => problem,
            Narrow::Several => problem.at("session").hint(
                "your scopes reach other spacecraft in each of these sessions: ask for one session at a time",
            ),
            Narrow::TooMany(why) => problem.at("scid").hint(format!("name the spacecraft: {why}")),
        }
    })
}

/// Why a selection cannot be held to scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Narrow {
    OutOfScope,
    Several,
    TooMany(String),
}

fn narrowed(seen: &Seen, mut retrieval: Retrieval) -> Result<Retrieval, Narrow> {
    let Selection { colour, session, scid, .. } = &mut retrieval.selection;
    let mut reached = Vec::new();
    for session in session.iter() {
        reached.push(seen.spacecraft(*colour, *session).ok_or(Narrow::OutOfScope)?);
    }
    if let Some(asked) = scid {
        let has = |scid: u16| reached.iter().all(|spacecraft| spacecraft.has(Some(scid)));
        return if asked.ranges().flatten().all(has) { Ok(retrieval) } else { Err(Narrow::OutOfScope) };
    }
    let first = *reached.first().ok_or(Narrow::OutOfScope)?;
    if reached.iter().any(|other| *other != first) {
        return Err(Narrow::Several);
    }
    if let Spacecraft::These(these) = first {
        *scid = Some(Numbers::parse(&ranges(these.iter().copied()), u16::MAX).map_err(Narrow::TooMany)?);
    }
    Ok(retrieval)
}

/// Numbers in ascending order, neighbours joined: a query takes a limited number of ranges.
fn ranges(numbers: impl Iterator<Item = u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(",")
}

/// Holds a caller to one thing of a colour, session and spacecraft; of several or none where `scid` is `None`.
///
/// # Errors
/// 403, in the audit trail too.
pub(super) fn reach<B>(
    service: &Service,
    call: &Call<B>,
    of: Of,
    colour: Colour,
    session: u8,
    scid: Option<u16>,
) -> Result<(), Problem> {
    let target = Target {
        scid: scid.map_or(Asked::Everything, Asked::One),
        colour: Asked::One(colour),
        session: Session::from_u8(session).map_or(Asked::Everything, Asked::One),
    };
    reach_target(service, call, of, &target)
}

/// As [`reach`], any target.
///
/// # Errors
/// 403, in the audit trail too.
pub(super) fn reach_target<B>(
    service: &Service,
    call: &Call<B>,
    of: Of,
    target: &Target,
) -> Result<(), Problem> {
    let caller = call.caller()?;
    caller.may_reach(target).map_err(|denied| refused(service, call, of, caller, &denied))
}

/// 403, in the audit trail too.
pub(super) fn out_of_scope<B>(service: &Service, call: &Call<B>, of: Of, caller: &Caller) -> Problem {
    refused(service, call, of, caller, &Denied::Scope { account: caller.person.account.clone() })
}

fn refused<B>(service: &Service, call: &Call<B>, of: Of, caller: &Caller, denied: &Denied) -> Problem {
    let reason = denied.to_string();
    (service.refusals)(&Refusal {
        request_id: &call.request_id,
        route: of,
        person: Some(&caller.person),
        status: StatusCode::FORBIDDEN.as_u16(),
        reason: &reason,
    });
    Problem::new(StatusCode::FORBIDDEN, OUT_OF_SCOPE, reason).hint("an administrator gives roles and scopes")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fep_archive_query::Unit;
    use proptest::prelude::*;

    use super::*;

    const SESSIONS: [Session; 3] = [Session::Ops, Session::Test, Session::Replay];

    fn query(text: &str) -> Retrieval {
        Retrieval::parse(Unit::Frames, text).expect("a query")
    }

    fn these(scids: &[u16]) -> Spacecraft {
        Spacecraft::These(scids.iter().copied().collect())
    }

    // REQ: FEP-ARC-170
    #[test]
    fn a_query_that_names_no_spacecraft_is_narrowed_to_those_in_scope_and_says_so() {
        let mut seen = Seen::default();
        seen.add(Colour::Black, Session::Ops, &these(&[7, 8, 9, 40]));
        seen.add(Colour::Black, Session::Test, &Spacecraft::All);
        let narrowed = |text: &str| narrowed(&seen, query(text)).map(|retrieval| retrieval.to_string());
        assert_eq!(narrowed("vcid=1"), Ok("scid=7-9,40&vcid=1&format=jsonl".to_owned()));
        assert_eq!(narrowed("session=test"), Ok("session=test&format=jsonl".to_owned()), "all is all");
        assert_eq!(narrowed("scid=8"), Ok("scid=8&format=jsonl".to_owned()));
        assert_eq!(narrowed("scid=8-10"), Err(Narrow::OutOfScope), "one of them is out of scope");
        assert_eq!(narrowed("session=replay"), Err(Narrow::OutOfScope));
        assert_eq!(narrowed("colour=red"), Err(Narrow::OutOfScope));
        assert_eq!(narrowed("session=ops,test"), Err(Narrow::Several));
        assert_eq!(
            narrowed("session=ops,test&scid=7"),
            Ok("scid=7&session=ops,test&format=jsonl".to_owned())
        );
        assert_eq!(narrowed("session=ops,test&scid=1"), Err(Narrow::OutOfScope), "not in both");
    }

    proptest! {
        // REQ: FEP-ARC-170
        #[test]
        fn a_narrowed_query_takes_no_row_out_of_scope_and_every_row_in_it(
            ops in proptest::collection::btree_set(0_u16..40, 1..20),
            asked in proptest::option::of(proptest::collection::vec(0_u16..40, 1..5)),
        ) {
            let mut seen = Seen::default();
            seen.add(Colour::Black, Session::Ops, &Spacecraft::These(ops.clone()));
            let text = asked.as_ref().map_or_else(String::new, |asked| {
                format!("scid={}", asked.iter().map(u16::to_string).collect::<Vec<_>>().join(","))
            });
            match narrowed(&seen, query(&text)) {
                Err(why) => {
                    prop_assert_eq!(why, Narrow::OutOfScope);
                    prop_assert!(asked.is_some_and(|asked| asked.iter().any(|scid| !ops.contains(scid))));
                }
                Ok(retrieval) => {
                    let takes = retrieval.selection.scid.expect("it is narrow");
                    let taken: BTreeSet<u16> = (0..=u16::MAX).filter(|scid| takes.contains(*scid)).collect();
                    let wanted = asked.map_or(ops.clone(), |asked| asked.into_iter().collect());
                    prop_assert_eq!(&taken, &wanted);
                    prop_assert!(taken.is_subset(&ops));
                }
            }
        }
    }

    #[test]
    fn scopes_of_one_caller_add_up() {
        use fep_identity::{Colours, Means, Person, RoleSet, Scope, Sessions};
        let scope = |scids: &[u16], colours: &[Colour]| Scope {
            spacecraft: fep_identity::Spacecraft::these(scids.iter().copied()),
            colours: Colours::of(colours),
            sessions: Sessions::of(&[Session::Ops]),
        };
        let caller = Caller {
            person: Person::service("x"),
            roles: RoleSet::NONE,
            scopes: vec![scope(&[1], &[Colour::Black]), scope(&[2], &[Colour::Black, Colour::Red])],
            means: Means::Peer(1),
            until: None,
        };
        let seen = seen(&caller);
        assert_eq!(seen.spacecraft(Colour::Black, Session::Ops), Some(&these(&[1, 2])));
        assert_eq!(seen.spacecraft(Colour::Red, Session::Ops), Some(&these(&[2])));
        for session in SESSIONS.into_iter().filter(|session| *session != Session::Ops) {
            assert_eq!(seen.spacecraft(Colour::Black, session), None);
        }
    }
}
