//! Memory under what anybody can send without end: wrong logins under ever new names, tickets, tokens and log-outs. A test
//! program of its own, because it looks at the memory of the whole process.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use fep_database::Options;
use fep_identity::{Cost, Credentials, Identity, IdentityConfig, NumericDate, Peers, RoleSet, Scope};
use fep_route::{Arrival, Limits, Names};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const ROUNDS: usize = 800;
/// What allocators and caches may take more after the first half of the rounds, in octets.
const SLACK: u64 = 24 << 20;

/// Resident memory of this process in octets.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kib << 10
}

async fn ask(router: &axum::Router, line: &str, bearer: &str, body: &Value) -> (u16, Value) {
    let (method, path) = line.split_once(' ').expect("method and path");
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "soak");
    if !bearer.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let mut request = request.header(header::CONTENT_TYPE, "application/json").body(body).expect("a request");
    let names = Arc::new(Names::new("http", ["soak"]));
    request.extensions_mut().insert(Arrival { credentials: Credentials::None, names });
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let octets = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&octets).unwrap_or(Value::Null))
}

// REQ: FEP-KIT-197
#[tokio::test]
async fn wrong_logins_tokens_and_sessions_without_end_take_no_more_memory_and_no_larger_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = IdentityConfig { password: Cost { memory_kib: 8, passes: 1 }, ..IdentityConfig::default() };
    let state = dir.path().join("state");
    let identity = Identity::open_unchecked(&state, config, NumericDate::now());
    let identity = Arc::new(identity.expect("an identity"));
    let url = format!("sqlite://{}", dir.path().join("audit.sqlite3").display());
    let base =
        fep_identity_service::open(&identity, Peers::default(), &Options::new(&url)).await.expect("a base");
    let service = fep_identity_service::service(&base, &identity, Limits::default()).expect("a service");
    let router = service.router().expect("routes");
    let everything = json!([Scope::ALL]);
    let ticket = || {
        let ticket = identity.ticket_for_test(RoleSet::ALL, vec![Scope::ALL], NumericDate::now());
        ticket.expect("a ticket")
    };
    let mut half = 0;
    for round in 0..ROUNDS {
        // A name of a kilobyte, another one each time: nothing of it may stay.
        let name = format!("{round:04}{}", "x".repeat(1000));
        let wrong = json!({"account": name, "password": "a wrong password"});
        assert_eq!(ask(&router, "POST /v1/login", "", &wrong).await.0, 401);
        let order = json!({
            "name": format!("token {round}"), "roles": ["observer"], "scopes": everything, "lifetime_s": 86_400,
        });
        let (own, made) = loop {
            let own = ticket();
            match ask(&router, "POST /v1/tokens", &own, &order).await {
                (200, made) => break (own, made),
                // Log-outs of one person end all of the person's tickets at some time, up to the second.
                (status, said) => assert_eq!(status, 401, "{said}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let (id, token) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
        assert_eq!(ask(&router, "POST /v1/ticket", token, &Value::Null).await.0, 200);
        assert_eq!(ask(&router, &format!("DELETE /v1/tokens/{id}"), &own, &Value::Null).await.0, 204);
        assert_eq!(ask(&router, "POST /v1/logout", &own, &Value::Null).await.0, 204);
        if round == ROUNDS / 2 {
            half = resident();
        }
    }
    let end = resident();
    assert!(end < half + SLACK, "{half} octets after half of the rounds, {end} at the end");
    for name in ["accounts.json", "tokens.json", "ticket-keys.json", "ticket-keys.pub.json"] {
        let octets = std::fs::metadata(state.join(name)).map_or(0, |file| file.len());
        assert!(octets < 256 << 10, "{name} has {octets} octets");
    }
    assert!(identity.tokens().list().len() <= 100, "{}", identity.tokens().list().len());
}
