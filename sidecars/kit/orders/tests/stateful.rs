//! Orders in both databases, with kills between every two steps: the change is dropped wherever it waits, its connection is
//! ended there, or the database is closed and opened. What the database then holds is the order before or after the step,
//! whole, with its audit entry or without.
//!
//! The oracle is a map of orders in memory to which steps are applied by the automaton; the automaton itself is held against
//! rules of its own in `automaton.rs`.

use std::collections::BTreeMap;

use fep_audit::{Filter as AuditFilter, page, verify};
use fep_database::testing::{Place, Server, cut, interfere};
use fep_database::{Database, Engine};
use fep_orders::{
    Actor, Error, Filter, NewOrder, Order, OrderState, Rule, Step, act, ask, expire_due, get, list, perform,
};
use fep_time::{NS_PER_SECOND, Tai};
use proptest::prelude::*;

const START: Tai = Tai(2_000_000_000_000_000_000);
const SCHEMAS: [fep_database::Schema; 2] = [fep_audit::SCHEMA, fep_orders::SCHEMA];

fn rule() -> Rule {
    Rule {
        kind: "deletion".to_owned(),
        ask: "operator".to_owned(),
        seats: vec!["approver".to_owned(), "security".to_owned()],
        execute: None,
        valid_s: 60,
    }
}

fn actors() -> Vec<Actor> {
    let actor = |person, account, roles: &[&str]| Actor::new(person, account, roles).unwrap();
    vec![
        actor("anna", "anna", &["operator", "approver"]),
        actor("Anna", "anna-admin", &["approver", "security"]),
        actor("bert", "bert", &["approver", "operator"]),
        actor("carl", "carl", &["approver", "security"]),
        actor("dora", "dora", &["security"]),
        actor("service:archive", "", &[]),
    ]
}

/// What is done.
#[derive(Debug, Clone)]
enum Act {
    Ask { order: u8, actor: usize },
    Step { order: u8, step: Step, actor: usize },
    ExpireDue,
}

/// What comes between.
#[derive(Debug, Clone, Copy)]
enum Kill {
    No,
    /// Dropped when it has waited so often.
    Cut(usize),
    /// Its connection is ended when it has waited so often.
    EndConnections(usize),
    /// The database is closed before, and opened.
    Reopen,
}

fn content(order: u8) -> [u8; 32] {
    [order; 32]
}

fn acts() -> impl Strategy<Value = Vec<(Act, i64, Kill)>> {
    let step = |order: u8| {
        let note = || "a note".to_owned();
        prop_oneof![
            6 => Just(Step::Approve { content_sha256: content(order) }),
            1 => Just(Step::Approve { content_sha256: [99; 32] }),
            1 => Just(Step::Refuse { note: note() }),
            1 => Just(Step::Withdraw { note: note() }),
            1 => Just(Step::Expire),
            4 => Just(Step::Begin { content_sha256: content(order) }),
            2 => Just(Step::Succeed { note: note() }),
            1 => Just(Step::Fail { note: note() }),
        ]
    };
    let act = (0..2_u8).prop_flat_map(move |order| {
        prop_oneof![
            2 => prop_oneof![5 => Just(0_usize), 1 => 1..6_usize].prop_map(move |actor| Act::Ask { order, actor }),
            8 => (step(order), 0..6_usize).prop_map(move |(step, actor)| Act::Step { order, step, actor }),
            1 => Just(Act::ExpireDue),
        ]
    });
    let kill = prop_oneof![
        5 => Just(Kill::No),
        5 => (0..14_usize).prop_map(Kill::Cut),
        3 => (0..14_usize).prop_map(Kill::EndConnections),
        1 => Just(Kill::Reopen),
    ];
    let seconds = prop_oneof![8 => 0..2_i64, 1 => 30..90_i64];
    proptest::collection::vec((act, seconds, kill), 1..24)
}

fn name(order: u8) -> String {
    format!("O-{order}")
}

fn new(order: u8) -> NewOrder {
    NewOrder {
        id: name(order),
        subject: format!("segment {order}"),
        reason: "over its time".to_owned(),
        content_sha256: content(order),
    }
}

type Model = BTreeMap<String, Order>;

/// What the act makes of the model, and how many audit entries it makes; `None` when it is not allowed.
fn expected(model: &Model, act: &Act, now: Tai) -> Option<(Model, u64)> {
    let actors = actors();
    let mut next = model.clone();
    let mut entries = 0;
    match act {
        Act::Ask { order, actor } => {
            let asked = Order::ask(new(*order), rule(), &actors[*actor], now).ok()?;
            match model.get(&name(*order)) {
                Some(known) if known.asker == asked.asker => {}
                Some(_) => return None,
                None => {
                    next.insert(asked.id.clone(), asked);
                    entries = 1;
                }
            }
        }
        Act::Step { order, step, actor } => {
            let changed = model.get(&name(*order))?.step(step, &actors[*actor], now).ok()?;
            next.insert(changed.id.clone(), changed);
            entries = 1;
        }
        Act::ExpireDue => {
            for order in next.values_mut() {
                if let Ok(expired) = order.step(&Step::Expire, &actors[5], now) {
                    *order = expired;
                    entries += 1;
                }
            }
        }
    }
    Some((next, entries))
}

/// The same act on the database, in one transaction.
async fn change(database: &Database, what: &Act, now: Tai) -> Result<(), Error> {
    let actors = actors();
    let mut writing = database.begin("changing an order").await?;
    match what {
        Act::Ask { order, actor } => {
            ask(&mut writing, new(*order), rule(), &actors[*actor], now).await?;
        }
        Act::Step { order, step, actor } => {
            act(&mut writing, &name(*order), step, &actors[*actor], now).await?;
        }
        Act::ExpireDue => {
            expire_due(&mut writing, now).await?;
        }
    }
    Ok(writing.commit().await?)
}

/// Orders and the number of audit entries, seen when nobody writes.
async fn seen(database: &Database) -> (Model, u64) {
    database
        .retry("looking", || async {
            let mut writing = database.begin("looking").await?;
            let orders = list(&mut writing, &Filter::default()).await?;
            let head = fep_audit::head(&mut writing).await?;
            // What the audit says of each order is where it stands.
            for order in &orders {
                let filter = AuditFilter { subject: Some(order.id.clone()), ..AuditFilter::default() };
                let entries = page(&mut writing, &filter).await?;
                let last = entries.last().expect("every order was asked for");
                let detail: serde_json::Value = serde_json::from_str(&last.detail).expect("JSON");
                assert_eq!(detail["state"], order.state.name(), "{last:?}");
            }
            Ok::<_, Error>((orders.into_iter().map(|order| (order.id.clone(), order)).collect(), head.number))
        })
        .await
        .expect("the database answers")
}

async fn run(place: &Place, acts: &[(Act, i64, Kill)]) {
    let mut database = place.open(&SCHEMAS).await;
    let (mut model, mut entries) = (Model::new(), 0);
    let mut now = START;
    for (act, seconds, kill) in acts {
        now = now.saturating_add_ns(seconds * NS_PER_SECOND);
        if matches!(kill, Kill::Reopen) {
            database.close().await;
            database = place.open(&SCHEMAS).await;
        }
        let wanted = expected(&model, act, now);
        let ended = match kill {
            Kill::No | Kill::Reopen => Some(change(&database, act, now).await),
            Kill::Cut(polls) => cut(*polls, change(&database, act, now)).await,
            Kill::EndConnections(polls) => {
                Some(interfere(*polls, change(&database, act, now), place.end_connections()).await)
            }
        };
        let (found, found_entries) = seen(&database).await;
        let is_before = found == model && found_entries == entries;
        let is_after =
            wanted.as_ref().is_some_and(|(next, more)| found == *next && found_entries == entries + more);
        let context = || format!("{}: {act:?}, {kill:?}, {ended:?}: {found:#?}", place.engine());
        match &ended {
            Some(Ok(())) => assert!(is_after, "{}", context()),
            Some(Err(Error::Database(error))) => {
                let undisturbed = matches!(kill, Kill::No | Kill::Reopen) || place.engine() == Engine::Sqlite;
                assert!(!undisturbed, "{}", context());
                let unknown = matches!(error, fep_database::Error::CommitUnknown { .. });
                assert!(is_before || (unknown && is_after), "{}", context());
            }
            Some(Err(_)) => assert!(wanted.is_none() && is_before, "{}", context()),
            None => assert!(is_before || is_after, "{}", context()),
        }
        if is_after && let Some((next, more)) = wanted {
            model = next;
            entries += more;
        }
    }
    let report = verify(&database, &[], None).await.expect("the trail is read");
    assert!(report.holds() && report.last == entries, "{report:?}");
    database.close().await;
}

// REQ: FEP-KIT-233
#[test]
fn whatever_is_done_and_killed_both_databases_hold_what_the_automaton_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _server = Server::shared();
    let cases = std::env::var("FEP_ORDER_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(cases)
    };
    proptest!(config, |(acts in acts())| {
        runtime.block_on(async {
            for place in Place::both() {
                run(&place, &acts).await;
            }
        });
    });
}

/// One whole life of an order, each of its changes cut at every place where it waits.
// REQ: FEP-KIT-233
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_life_of_an_order_is_cut_between_every_two_statements() {
    let step = |step, actor| Act::Step { order: 1, step, actor };
    let life = [
        Act::Ask { order: 1, actor: 0 },
        step(Step::Approve { content_sha256: content(1) }, 2),
        step(Step::Approve { content_sha256: content(1) }, 4),
        step(Step::Begin { content_sha256: content(1) }, 5),
        step(Step::Succeed { note: "done".to_owned() }, 5),
    ];
    for place in Place::both() {
        let database = place.open(&SCHEMAS).await;
        let (mut model, mut entries, mut cuts) = (Model::new(), 0, 0);
        for act in &life {
            let (next, more) = expected(&model, act, START).expect("allowed");
            for polls in 0.. {
                let ended = cut(polls, change(&database, act, START)).await;
                let (found, found_entries) = seen(&database).await;
                let is_after = found == next && found_entries == entries + more;
                assert!(
                    is_after || (ended.is_none() && found == model && found_entries == entries),
                    "{act:?} at {polls}"
                );
                cuts += u32::from(ended.is_none());
                if is_after {
                    break;
                }
            }
            (model, entries) = (next, entries + more);
        }
        assert_eq!(model[&name(1)].state, OrderState::Done);
        // How often a change waits depends on how fast the engine answers.
        assert!(cuts > 4, "{}: only {cuts} cuts", place.engine());
    }
}

// REQ: FEP-KIT-231
#[tokio::test]
async fn the_database_itself_refuses_an_approval_by_who_asked_and_a_state_that_cannot_be() {
    use sqlx::Executor;
    for place in Place::both() {
        let database = place.open(&SCHEMAS).await;
        change(&database, &Act::Ask { order: 1, actor: 0 }, START).await.unwrap();
        for attack in [
            "INSERT INTO kit_order_approvals VALUES ('O-1', 'anna', 'anna', '', '[]', 0, 1)",
            // With another asker than the order has.
            "INSERT INTO kit_order_approvals VALUES ('O-1', 'bert', 'anna', '', '[]', 0, 1)",
            "INSERT INTO kit_order_approvals VALUES ('O-9', 'anna', 'bert', '', '[]', 0, 1)",
            "UPDATE kit_orders SET state = 'executing' WHERE id = 'O-1'",
            "UPDATE kit_orders SET state = 'done' WHERE id = 'O-1'",
            "UPDATE kit_orders SET state = 'anything' WHERE id = 'O-1'",
        ] {
            database.pool().execute(attack).await.expect_err(attack);
        }
    }
}

// REQ: FEP-KIT-234
#[tokio::test]
async fn what_was_not_allowed_is_in_the_audit_and_the_order_is_as_before() {
    for place in Place::both() {
        let database = place.open(&SCHEMAS).await;
        change(&database, &Act::Ask { order: 1, actor: 0 }, START).await.unwrap();
        let own = Step::Approve { content_sha256: content(1) };
        let refused = perform(&database, "O-1", &own, &actors()[1], START).await.expect_err("her own order");
        assert!(refused.to_string().contains("anna asked for it"), "{refused}");
        perform(&database, "O-1", &own, &actors()[2], START).await.expect("allowed");
        let missing = perform(&database, "O-7", &own, &actors()[2], START).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        let mut reading = database.read("looking").await.unwrap();
        let entries = page(&mut reading, &AuditFilter::default()).await.unwrap();
        let said: Vec<(&str, &str)> =
            entries.iter().map(|entry| (entry.action.as_str(), entry.account.as_str())).collect();
        let expected =
            [("order asked", "anna"), ("order step not allowed", "anna-admin"), ("order approved", "bert")];
        assert_eq!(said, expected);
        assert_eq!(get(&mut reading, "O-1").await.unwrap().approvals.len(), 1);
    }
}

// REQ: FEP-KIT-233
#[tokio::test]
async fn pages_give_every_order_once_and_an_order_of_another_is_not_taken_for_ones_own() {
    for place in Place::both() {
        let database = place.open(&SCHEMAS).await;
        let mut writing = database.begin("asking").await.unwrap();
        for number in 0..25_u8 {
            let asked_at = Tai(START.0 + i64::from(number / 4));
            ask(&mut writing, new(number), rule(), &actors()[0], asked_at).await.unwrap();
        }
        writing.commit().await.unwrap();
        let mut reading = database.read("paging").await.unwrap();
        let mut filter = Filter { limit: 7, kind: Some("deletion".to_owned()), ..Filter::default() };
        filter.state = Some(OrderState::Asked);
        let mut names = Vec::new();
        loop {
            let orders = list(&mut reading, &filter).await.unwrap();
            let Some(last) = orders.last() else { break };
            filter.after = Some((last.asked_at, last.id.clone()));
            names.extend(orders.into_iter().map(|order| order.id));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 25);
        let other = Filter { kind: Some("upload".to_owned()), ..Filter::default() };
        assert!(list(&mut reading, &other).await.unwrap().is_empty());
        drop(reading);
        let mut writing = database.begin("asking").await.unwrap();
        let taken = ask(&mut writing, new(3), rule(), &actors()[2], START).await;
        assert!(matches!(taken, Err(Error::Taken { .. })), "{taken:?}");
        let changed = NewOrder { content_sha256: [77; 32], ..new(3) };
        let taken = ask(&mut writing, changed, rule(), &actors()[0], START).await;
        assert!(matches!(taken, Err(Error::Taken { .. })), "{taken:?}");
    }
}
