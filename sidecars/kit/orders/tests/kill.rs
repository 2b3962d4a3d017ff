//! A process that works on orders, killed (SIGKILL) at random moments, on both engines: every order stands where its audit
//! entries say, and the trail holds.
//!
//! Not under the usual harness, because this very program is also the process that is killed: `kill work URL`.

use std::process::{Command, Stdio};
use std::time::Duration;

use fep_audit::{Filter as AuditFilter, page, verify};
use fep_database::testing::Place;
use fep_database::{Database, Options};
use fep_orders::{Actor, Filter, NewOrder, Order, OrderState, Rule, Step, ask, list, perform};
use fep_time::tai_now;
use sqlx::Row;

const SCHEMAS: [fep_database::Schema; 2] = [fep_audit::SCHEMA, fep_orders::SCHEMA];
const CONTENT: [u8; 32] = [3; 32];
const ROUNDS: u64 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["work", url] => runtime.block_on(work(url)),
        _ => runtime.block_on(orders_of_a_killed_process_stand_where_their_audit_says()),
    }
}

/// One order after the other, through its whole life, for ever.
async fn work(url: &str) {
    let database = Database::open(&Options::new(url), &SCHEMAS).await.unwrap();
    let actor = |person, role| Actor::new(person, person, &[role]).unwrap();
    let (anna, bert) = (actor("anna", "operator"), actor("bert", "approver"));
    for number in 0_u64.. {
        let id = format!("O-{}-{number}", std::process::id());
        let new = NewOrder {
            id: id.clone(),
            subject: "a segment".to_owned(),
            reason: String::new(),
            content_sha256: CONTENT,
        };
        let rule = Rule {
            kind: "deletion".to_owned(),
            ask: "operator".to_owned(),
            seats: vec!["approver".to_owned()],
            execute: None,
            valid_s: 3600,
        };
        let mut writing = database.begin("asking").await.unwrap();
        ask(&mut writing, new, rule, &anna, tai_now()).await.unwrap();
        writing.commit().await.unwrap();
        for (step, by) in [
            (Step::Approve { content_sha256: CONTENT }, &bert),
            (Step::Begin { content_sha256: CONTENT }, &anna),
            (Step::Succeed { note: String::new() }, &anna),
        ] {
            perform(&database, &id, &step, by, tai_now()).await.unwrap();
        }
    }
}

// REQ: FEP-KIT-233
async fn orders_of_a_killed_process_stand_where_their_audit_says() {
    for place in Place::both() {
        place.open(&SCHEMAS).await.close().await;
        let (mut killed_inside, mut orders_before) = (0, 0);
        for round in 0..ROUNDS {
            let mut worker = Command::new(std::env::current_exe().unwrap())
                .args(["work", &place.options().url])
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // It needs some time to open the database; on a slow machine it is waited for.
            let database = place.open(&SCHEMAS).await;
            while count(&database).await <= orders_before {
                assert!(worker.try_wait().unwrap().is_none(), "the worker ended by itself");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_micros(round * 7919 % 30_000)).await;
            worker.kill().unwrap();
            worker.wait().unwrap();
            let orders = orders(&database).await;
            killed_inside += u64::from(orders.iter().any(|order| !order.state.is_final()));
            orders_before = orders.len() as i64;
            check(&database, &orders).await;
            // What was begun and not ended is left: the next process does not know of it.
            end_open_orders(&database, &orders).await;
            database.close().await;
        }
        assert!(killed_inside > 0, "{}: no kill fell into the life of an order", place.engine());
        println!("{}: {orders_before} orders, {killed_inside} of {ROUNDS} kills within one", place.engine());
    }
}

async fn count(database: &Database) -> i64 {
    sqlx::query("SELECT count(*) FROM kit_orders").fetch_one(database.pool()).await.unwrap().get(0)
}

async fn orders(database: &Database) -> Vec<Order> {
    // When nobody writes: what the killed process has begun is over then.
    let mut writing = database.begin("looking").await.unwrap();
    let mut filter = Filter::default();
    let mut orders: Vec<Order> = Vec::new();
    loop {
        let page = list(&mut writing, &filter).await.unwrap();
        let Some(last) = page.last() else { return orders };
        filter.after = Some((last.asked_at, last.id.clone()));
        orders.extend(page);
    }
}

async fn check(database: &Database, orders: &[Order]) {
    let report = verify(database, &[], None).await.unwrap();
    assert!(report.holds(), "{report:?}");
    let mut reading = database.read("looking").await.unwrap();
    for order in orders {
        let filter = AuditFilter { subject: Some(order.id.clone()), ..AuditFilter::default() };
        let said: Vec<String> =
            page(&mut reading, &filter).await.unwrap().into_iter().map(|entry| entry.action).collect();
        let expected: &[&str] = match order.state {
            OrderState::Asked => &["order asked"],
            OrderState::Approved => &["order asked", "order approved"],
            OrderState::Executing => &["order asked", "order approved", "order begun"],
            OrderState::Done => &["order asked", "order approved", "order begun", "order done"],
            OrderState::Failed => &["order asked", "order approved", "order begun", "order failed"],
            OrderState::Withdrawn if order.approvals.is_empty() => &["order asked", "order withdrawn"],
            OrderState::Withdrawn => &["order asked", "order approved", "order withdrawn"],
            OrderState::Refused | OrderState::Expired => panic!("nobody refused {order:?}"),
        };
        assert_eq!(said, expected, "{order:?}");
    }
}

/// As a service does at its start: what was begun has failed, what was not is taken back.
async fn end_open_orders(database: &Database, orders: &[Order]) {
    let anna = Actor::new("anna", "anna", &[]).unwrap();
    for order in orders.iter().filter(|order| !order.state.is_final()) {
        let note = "the process was killed".to_owned();
        let step = match order.state {
            OrderState::Executing => Step::Fail { note },
            _ => Step::Withdraw { note },
        };
        perform(database, &order.id, &step, &anna, tai_now()).await.unwrap();
    }
}
