//! What services of the kit answer is what the models say: the real routes of identity and of the audit trail, and a real
//! feed of events.

use std::sync::Arc;
use std::time::Duration;

use fep_client::model::audit::Filter;
use fep_client::model::identity::{All, NewAccount, NewToken, Scope, Spacecraft};
use fep_client::{Bearer, Client, Config, Error, StatusCode, Verbatim, api, model};
use fep_database::Options;
use fep_identity::{Authenticator, Peers, Role};
use fep_route::{Base, DoorConfig, Limits};
use serde_json::Value;

use super::support::{PASSWORD, Running, Site, black_ops};

const PATIENCE: Duration = Duration::from_secs(60);

fn site() -> Site {
    Site::new(Limits { head_timeout_s: 60, ..Limits::default() }, Peers::default())
}

fn client(running: &Running) -> Client {
    let address = format!("http://{}", running.tcp()).parse().expect("an address");
    Client::new(Config::at(address)).expect("a client")
}

fn bearing(client: &Client, ticket: &str) -> Client {
    client.as_bearer(Some(Bearer::new(ticket).expect("a ticket"))).expect("of this machine")
}

fn everywhere() -> Scope {
    Scope {
        spacecraft: Spacecraft::All(All::All),
        colours: vec!["black".to_owned()],
        sessions: vec!["ops".to_owned(), "test".to_owned()],
    }
}

// REQ: FEP-KIT-209
#[tokio::test]
async fn logins_tokens_and_accounts_are_read_by_their_types() {
    let site = site();
    site.account("anna", &[Role::Administrator, Role::Observer]);
    let running = site.on_loopback().await;
    let nobody = client(&running);
    let refused = nobody.call(&api::identity::login("anna", "another one")).await.expect_err("refused");
    let refusal = refused.refusal().expect("a problem");
    assert_eq!((refusal.status, refusal.is("not-authenticated")), (StatusCode::UNAUTHORIZED, true));
    assert!(!refusal.request_id.is_empty() && refused.hint().is_some(), "{refusal:?}");

    let ticket = nobody.call(&api::identity::login("anna", PASSWORD)).await.expect("a login");
    assert_eq!((ticket.account.as_str(), ticket.person.as_str()), ("anna", "local:anna"));
    let anna = bearing(&nobody, &ticket.ticket);
    let me = anna.call(&api::identity::me()).await.expect("an account");
    assert_eq!(me.roles, ["observer", "administrator"]);

    let order = NewToken {
        name: "nightly".to_owned(),
        roles: vec!["observer".to_owned()],
        scopes: vec![everywhere()],
        lifetime_s: 3600,
    };
    let made = anna.call(&api::identity::make_token(&order)).await.expect("a token");
    let tokens = anna.call(&api::identity::tokens()).await.expect("tokens");
    assert_eq!((tokens[0].id.as_str(), &tokens[0].scopes), (made.id.as_str(), &order.scopes));
    let of_token = bearing(&nobody, &made.token).call(&api::identity::ticket()).await.expect("a ticket");
    assert_eq!(of_token.roles, ["observer"]);
    anna.call(&api::identity::revoke_token(&made.id)).await.expect("revoked");
    assert!(anna.call(&api::identity::tokens()).await.expect("tokens")[0].revoked.is_some());

    let new = NewAccount {
        name: "bert".to_owned(),
        password: PASSWORD.to_owned(),
        person: None,
        roles: vec!["observer".to_owned()],
        scopes: vec![everywhere()],
        expires: None,
    };
    anna.call(&api::identity::add_account(&new)).await.expect("added");
    anna.call(&api::identity::set_password("bert", "another long password")).await.expect("set");
    anna.call(&api::identity::disable_account("bert")).await.expect("disabled");
    anna.call(&api::identity::unlock_account("bert")).await.expect("unlocked");
    let call = api::identity::accounts().answering::<Verbatim<Vec<model::identity::Account>>>();
    let accounts = anna.call(&call).await.expect("accounts");
    let bert = accounts.iter().find(|account| account.name == "bert").expect("bert");
    assert!(bert.disabled && bert.scopes == [everywhere()]);
    let names: Vec<&Value> =
        accounts.json.as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert!(names.contains(&&Value::from("bert")), "{names:?}");
    anna.call(&api::identity::logout()).await.expect("logged out");
    let ended = anna.call(&api::identity::me()).await.expect_err("it has ended");
    assert_eq!(ended.refusal().map(|refusal| refusal.status), Some(StatusCode::UNAUTHORIZED));
}

// REQ: FEP-KIT-209
#[tokio::test]
async fn an_audit_trail_is_listed_verified_and_exported_by_its_types() {
    let site = site();
    let authenticator = Authenticator::new(&site.identity.public_file(), Peers::default()).expect("keys");
    let options: Options = serde_json::from_value(serde_json::json!({
        "url": format!("sqlite://{}", site.dir.path().join("audit.sqlite3").display()),
    }))
    .expect("options");
    let base = Base::open("example", "1", &options, &[], Arc::new(authenticator)).await.expect("a base");
    for number in 0..3 {
        let detail = serde_json::json!({"number": number});
        base.trail.note(None, "started", "pass-7", detail).await.expect("written");
    }
    let service = base.service(Limits { head_timeout_s: 60, ..Limits::default() }).expect("a service");
    let site = Site { service, ..site };
    let running = site.open(DoorConfig::at("127.0.0.1:0")).await;
    let officer = bearing(&client(&running), &site.ticket(Role::SecurityOfficer, 0));
    let entries = officer
        .call(&api::audit::list(&Filter {
            after: 1,
            limit: 1,
            subject: Some("pass-7".to_owned()),
            ..Filter::all()
        }))
        .await
        .expect("entries");
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.number, entry.action.as_str(), entry.subject.as_str()), (2, "started", "pass-7"));
    let text = serde_json::to_value(entry).expect("JSON");
    assert_eq!(text["at_tai_ns"], entry.at_tai_ns.0.to_string());
    let report = officer.call(&api::audit::verify()).await.expect("a report");
    assert!(report.holds && report.entries == 3 && report.findings.is_empty(), "{report:?}");
    let mut lines = Vec::new();
    let reply = officer.begin(&api::audit::export()).await.expect("lines");
    reply.copy_to(&mut lines).await.expect("all of them");
    assert_eq!(lines.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()).count(), 4);
    let observer = bearing(&client(&running), &site.ticket(Role::Observer, 0));
    let refused = observer.call(&api::audit::list(&Filter::all())).await.expect_err("no officer");
    assert_eq!(refused.refusal().map(|refusal| refusal.status), Some(StatusCode::FORBIDDEN), "{refused}");
}

// REQ: FEP-KIT-209
#[test]
fn an_order_of_two_persons_is_read_as_the_kit_writes_it() {
    use fep_client::model::archive::{HoldRelease, OrderState};
    use fep_orders::{Actor, NewOrder, Order, Rule, Step};
    let at = fep_time::Tai(2_000_000_000_000_000_000);
    let new = NewOrder {
        id: "release-1".to_owned(),
        subject: "lift hold-1".to_owned(),
        reason: "it is over".to_owned(),
        content_sha256: [0xab; 32],
    };
    let actor = |name: &str, role: &str| Actor::new(name, name, &[role]).expect("an actor");
    let rule = Rule::new("archive.release-hold", "operator", &["approver"], 3600);
    let mut order = Order::ask(new, rule, &actor("anna", "operator"), at).expect("an order");
    let read = |order: &Order| {
        let release: HoldRelease =
            serde_json::from_value(serde_json::json!({"hold": "hold-1", "order": order})).expect("a release");
        release.order
    };
    let asked = read(&order);
    assert_eq!((asked.state, asked.asker.as_str(), asked.asked_at), (OrderState::Asked, "anna", at));
    assert_eq!((asked.content_sha256, asked.rule.seats), ("ab".repeat(32), vec!["approver".to_owned()]));
    let approve = Step::Approve { content_sha256: [0xab; 32] };
    order = order.step(&approve, &actor("bert", "approver"), at).expect("approved");
    let approved = read(&order);
    assert_eq!((approved.state, approved.approvals[0].person.as_str()), (OrderState::Approved, "bert"));
}

// REQ: FEP-KIT-208
#[tokio::test]
async fn events_go_on_where_they_were_after_the_service_was_away_and_gaps_are_reported() {
    let site = site();
    let running = site.on_loopback().await;
    let port = running.tcp().port();
    let observer = bearing(&client(&running), &site.ticket(Role::Observer, 0));
    let mut follow = observer.follow("/v1/live").patience(PATIENCE);
    let feed = site.example.feed.clone();
    let publish = |number: u64| feed.publish("pass", black_ops(1), &number).expect("published");
    // The follower begins with the next event: one is published until it has come.
    let first = loop {
        publish(0);
        match tokio::time::timeout(Duration::from_millis(200), follow.event()).await {
            Ok(event) => break event.expect("an event"),
            Err(_) => continue,
        }
    };
    assert_eq!((first.kind.as_str(), first.data.as_str()), ("pass", "0"));
    publish(1);
    loop {
        let event =
            tokio::time::timeout(PATIENCE, follow.event()).await.expect("it hangs").expect("an event");
        if event.data == "1" {
            break;
        }
    }
    running.stop.now();
    running.task.await.expect("a task").expect("it ends");
    publish(2);
    let again = site.open(DoorConfig::at(&format!("127.0.0.1:{port}"))).await;
    publish(3);
    for expected in ["2", "3"] {
        let event =
            tokio::time::timeout(PATIENCE, follow.event()).await.expect("it hangs").expect("an event");
        assert_eq!(event.data, expected);
    }
    // Another follower resumes by name; one that was away for more than the feed keeps is told so.
    let last = follow.last_id().to_owned();
    for number in 4..4 + 200 {
        publish(number);
    }
    let mut late = observer.follow("/v1/live").after(&last);
    let gap = tokio::time::timeout(PATIENCE, late.event()).await.expect("it hangs").expect("an event");
    assert_eq!(gap.kind, "gap", "{gap:?}");
    let refused = observer.follow("/v1/live").after("no-event").event().await.expect_err("refused");
    assert_eq!(refused.refusal().map(|refusal| refusal.place.as_str()), Some("Last-Event-ID"), "{refused}");
    let wrong = observer.follow("/v1/me").event().await.expect_err("no events");
    assert!(matches!(wrong, Error::Malformed { .. }), "{wrong}");
    again.stop.now();
    again.task.await.expect("a task").expect("it ends");
    let mut away = observer.follow("/v1/live").patience(Duration::from_millis(100));
    let error = tokio::time::timeout(PATIENCE, away.event()).await.expect("it hangs").expect_err("away");
    assert!(error.is_away(), "{error}");
}
