//! The automaton alone: what no sequence of steps by anybody may do, held against the history by rules of its own.

use std::collections::BTreeSet;

use fep_orders::{Actor, Error, NewOrder, Order, OrderState, PersonId, Refusal, Rule, Step};
use fep_time::{NS_PER_SECOND, Tai};
use proptest::prelude::*;

const CONTENT: [u8; 32] = [5; 32];
const START: Tai = Tai(2_000_000_000_000_000_000);

fn rule(seats: &[&str]) -> Rule {
    Rule {
        kind: "deletion".to_owned(),
        ask: "operator".to_owned(),
        seats: seats.iter().map(|role| (*role).to_owned()).collect(),
        execute: Some("service".to_owned()),
        valid_s: 100,
    }
}

fn actor(person: &str, account: &str, roles: &[&str]) -> Actor {
    Actor::new(person, account, roles).expect("an actor")
}

/// Anna has two accounts, of different spelling.
fn actors() -> Vec<Actor> {
    vec![
        actor("anna", "anna", &["operator", "approver"]),
        actor(" ANNA ", "anna-admin", &["approver", "security", "service"]),
        actor("bert", "bert", &["approver"]),
        actor("carl", "carl", &["approver", "security"]),
        actor("dora", "dora", &["security"]),
        actor("eve", "eve", &["observer"]),
        actor("service:archive", "", &["service"]),
    ]
}

fn asked(seats: &[&str]) -> Order {
    let new = NewOrder {
        id: "O-1".to_owned(),
        subject: "three segments".to_owned(),
        reason: "over their time".to_owned(),
        content_sha256: CONTENT,
    };
    Order::ask(new, rule(seats), &actors()[0], START).expect("may ask")
}

fn approve() -> Step {
    Step::Approve { content_sha256: CONTENT }
}

fn after(order: &Order, step: &Step, by: usize) -> Order {
    order.step(step, &actors()[by], START).expect("allowed")
}

// REQ: FEP-KIT-230
#[test]
fn an_order_goes_from_asked_by_approval_and_execution_to_done_or_failed() {
    let order = asked(&["approver"]);
    assert_eq!(order.state, OrderState::Asked);
    let approved = after(&order, &approve(), 2);
    assert_eq!(approved.state, OrderState::Approved);
    let begun = after(&approved, &Step::Begin { content_sha256: CONTENT }, 6);
    assert_eq!(begun.state, OrderState::Executing);
    let done = after(&begun, &Step::Succeed { note: "3 deleted".to_owned() }, 6);
    assert_eq!(
        (done.state, done.ending.map(|ending| ending.note)),
        (OrderState::Done, Some("3 deleted".to_owned()))
    );
    // However long the execution takes.
    let late = START.saturating_add_ns(1000 * NS_PER_SECOND);
    let failed = begun.step(&Step::Fail { note: "disk".to_owned() }, &actors()[6], late).expect("allowed");
    assert_eq!(failed.state, OrderState::Failed);
    assert_eq!(begun.state_at(late), OrderState::Executing);
}

// REQ: FEP-KIT-231
#[test]
fn nobody_approves_his_own_order_not_even_by_a_second_account_or_another_spelling() {
    let order = asked(&["approver", "security"]);
    for account in [0, 1] {
        let refused = order.step(&approve(), &actors()[account], START).expect_err("the asker");
        assert_eq!(refused, Refusal::OwnOrder { person: PersonId::new("anna").expect("a name") });
    }
    // Nor does one person fill two seats.
    let order = after(&order, &approve(), 3);
    let second = actor("Carl", "carl-admin", &["approver", "security"]);
    let refused = order.step(&approve(), &second, START).expect_err("the same person");
    assert!(matches!(refused, Refusal::ApprovedAlready { .. }), "{refused}");
    assert_eq!(order.state, OrderState::Asked);
}

// REQ: FEP-KIT-232
#[test]
fn who_has_two_roles_leaves_the_seat_that_another_needs_and_an_approval_that_fills_none_is_refused() {
    // Carl could fill both; whoever comes after him, one of each is found.
    for second in [2, 4] {
        let order = after(&asked(&["approver", "security"]), &approve(), 3);
        assert_eq!(after(&order, &approve(), second).state, OrderState::Approved, "{second}");
    }
    let order = after(&asked(&["approver", "security"]), &approve(), 2);
    let other = actor("bruno", "bruno", &["approver"]);
    let refused = order.step(&approve(), &other, START).expect_err("two of one role");
    assert!(matches!(refused, Refusal::NoSeat { .. }), "{refused}");
    let refused = order.step(&approve(), &actors()[5], START).expect_err("no role");
    assert!(matches!(refused, Refusal::Role { .. }), "{refused}");
}

// REQ: FEP-KIT-230
#[test]
fn an_order_is_bound_to_what_is_approved_at_every_step_that_counts() {
    let order = asked(&["approver"]);
    let other =
        order.step(&Step::Approve { content_sha256: [6; 32] }, &actors()[2], START).expect_err("another");
    assert_eq!(other, Refusal::OtherContent { bound: CONTENT, given: [6; 32] });
    let approved = after(&order, &approve(), 2);
    let other =
        approved.step(&Step::Begin { content_sha256: [6; 32] }, &actors()[6], START).expect_err("another");
    assert!(matches!(other, Refusal::OtherContent { .. }), "{other}");
    let not_its_role = approved.step(&Step::Begin { content_sha256: CONTENT }, &actors()[2], START);
    assert!(matches!(not_its_role, Err(Refusal::Role { .. })), "{not_its_role:?}");
}

// REQ: FEP-KIT-230
#[test]
fn an_order_can_be_taken_back_or_refused_before_it_is_begun_and_by_whom_alone() {
    let (withdraw, refuse) =
        (Step::Withdraw { note: "not needed".to_owned() }, Step::Refuse { note: "needed".to_owned() });
    let asked = asked(&["approver"]);
    let approved = after(&asked, &approve(), 2);
    let begun = after(&approved, &Step::Begin { content_sha256: CONTENT }, 6);
    for order in [&asked, &approved] {
        assert_eq!(after(order, &withdraw, 1).state, OrderState::Withdrawn, "by her other account");
        assert_eq!(after(order, &refuse, 3).state, OrderState::Refused);
        for (step, by) in [(&withdraw, 2), (&refuse, 5)] {
            order.step(step, &actors()[by], START).expect_err("not this person");
        }
    }
    for (step, by) in [(&withdraw, 0), (&refuse, 3)] {
        let refused = begun.step(step, &actors()[by], START).expect_err("begun");
        assert!(matches!(refused, Refusal::State { state: OrderState::Executing, .. }), "{refused}");
    }
}

// REQ: FEP-KIT-230
#[test]
fn an_order_whose_time_is_over_is_neither_approved_nor_begun() {
    let asked = asked(&["approver"]);
    let approved = after(&asked, &approve(), 2);
    let (before, over) = (Tai(asked.expires_at.0 - 1), asked.expires_at);
    approved.step(&Step::Begin { content_sha256: CONTENT }, &actors()[6], before).expect("in time");
    for (order, step, by) in [(&asked, approve(), 2), (&approved, Step::Begin { content_sha256: CONTENT }, 6)]
    {
        let refused = order.step(&step, &actors()[by], over).expect_err("over");
        assert!(matches!(refused, Refusal::Expired { .. }), "{refused}");
        assert!(matches!(
            order.step(&Step::Expire, &actors()[6], before),
            Err(Refusal::NotYetExpired { .. })
        ));
        assert_eq!(order.step(&Step::Expire, &actors()[6], over).expect("over").state, OrderState::Expired);
        assert_eq!(order.state_at(over), OrderState::Expired);
    }
}

#[test]
fn rules_and_names_that_cannot_be_are_refused_with_their_field() {
    let good = rule(&["approver"]);
    good.check().expect("good");
    for (field, bad) in [
        ("seats", Rule { seats: Vec::new(), ..good.clone() }),
        ("seats", Rule { seats: vec!["approver".to_owned(); 9], ..good.clone() }),
        ("role", Rule { seats: vec![String::new()], ..good.clone() }),
        ("kind", Rule { kind: String::new(), ..good.clone() }),
        ("valid_s", Rule { valid_s: 0, ..good.clone() }),
        ("valid_s", Rule { valid_s: u64::MAX, ..good.clone() }),
    ] {
        let refused = bad.check().expect_err("refused").to_string();
        assert!(refused.starts_with(&format!("order: {field}: ")), "{refused}");
    }
    for name in ["", "  ", "a\nb", &"a".repeat(257)] {
        assert!(PersonId::new(name).is_err(), "{name:?}");
    }
    let new = NewOrder {
        id: "O".to_owned(),
        subject: "x".to_owned(),
        reason: String::new(),
        content_sha256: CONTENT,
    };
    let refused = Order::ask(new, good, &actors()[2], START).expect_err("not an operator");
    assert!(matches!(refused, Error::MayNotAsk { .. }), "{refused}");
}

fn step() -> impl Strategy<Value = Step> {
    let content = prop_oneof![5 => Just(CONTENT), 1 => Just([6; 32])];
    let note = Just("note".to_owned());
    prop_oneof![
        6 => content.clone().prop_map(|content_sha256| Step::Approve { content_sha256 }),
        1 => note.clone().prop_map(|note| Step::Refuse { note }),
        1 => note.clone().prop_map(|note| Step::Withdraw { note }),
        1 => Just(Step::Expire),
        3 => content.prop_map(|content_sha256| Step::Begin { content_sha256 }),
        2 => note.clone().prop_map(|note| Step::Succeed { note }),
        1 => note.prop_map(|note| Step::Fail { note }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    // REQ: FEP-KIT-230, FEP-KIT-231, FEP-KIT-232
    #[test]
    fn no_sequence_of_steps_executes_what_other_persons_did_not_approve_in_time(
        seats in proptest::collection::vec(prop_oneof![Just("approver"), Just("security")], 1..4),
        steps in proptest::collection::vec((step(), 0..7_usize, 0..30_i64), 1..30),
    ) {
        let actors = actors();
        let mut order = asked(&seats);
        let mut now = START;
        // The history, as a stranger would write it down.
        let mut approvers: Vec<(String, BTreeSet<String>)> = Vec::new();
        let mut begun = 0;
        for (step, by, seconds) in steps {
            now = now.saturating_add_ns(seconds * NS_PER_SECOND);
            let actor = &actors[by];
            let person = actor.person.as_str().to_owned();
            let before = order.clone();
            let Ok(next) = order.step(&step, actor, now) else { continue };
            prop_assert!(!before.state.is_final(), "{} was over", before.state);
            // What was asked never changes.
            prop_assert_eq!(
                (&next.rule, &next.asker, next.content_sha256, next.expires_at),
                (&before.rule, &before.asker, before.content_sha256, before.expires_at)
            );
            match &step {
                Step::Approve { content_sha256 } => {
                    prop_assert!(person != "anna" && *content_sha256 == CONTENT && now < order.expires_at);
                    prop_assert!(approvers.iter().all(|(other, _)| *other != person));
                    approvers.push((person, actor.roles.clone()));
                }
                Step::Begin { content_sha256 } => {
                    begun += 1;
                    prop_assert!(*content_sha256 == CONTENT && now < order.expires_at);
                    prop_assert!(seated(&seats, &approvers), "{seats:?} by {approvers:?}");
                    prop_assert_eq!(approvers.len(), seats.len());
                }
                Step::Withdraw { .. } => prop_assert!(person == "anna" && begun == 0),
                Step::Refuse { .. } => prop_assert!(begun == 0),
                Step::Expire => prop_assert!(begun == 0 && now >= order.expires_at),
                Step::Succeed { .. } | Step::Fail { .. } => prop_assert!(begun == 1),
            }
            prop_assert!(begun <= 1);
            prop_assert_eq!(next.approvals.len(), approvers.len());
            order = next;
        }
    }
}

/// Whether every seat can have another person, by trying every way.
fn seated(seats: &[&str], persons: &[(String, BTreeSet<String>)]) -> bool {
    let Some((first, rest)) = seats.split_first() else { return true };
    (0..persons.len()).any(|at| {
        let mut left = persons.to_vec();
        let (_, roles) = left.remove(at);
        roles.contains(*first) && seated(rest, &left)
    })
}
