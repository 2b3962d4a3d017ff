//! What attackers try, over real sockets: stolen, old and forged tickets, names of others, slow and endless clients.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fep_identity::{Identity, IdentityConfig, NumericDate, PeerService, Peers, Role, RoleSet, Scope};
use fep_route::{DoorConfig, DoorError, Limits};
use support::{PASSWORD, Site, ask_on, black_ops, body, ends, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const FRAMES: &str = "/v1/spacecraft/157/frames";

fn site() -> Site {
    Site::new(Limits::default(), Peers::default())
}

/// Limits at which a slow client is noticed within a test.
fn short() -> Limits {
    Limits { head_timeout_s: 1, body_timeout_s: 1, write_timeout_s: 1, ..Limits::default() }
}

async fn log_in(running: &support::Running, account: &str, password: &str) -> String {
    let text = serde_json::json!({"account": account, "password": password}).to_string();
    running.ask("POST /v1/login", &["Content-Type: application/json"], &text).await
}

// REQ: FEP-KIT-114
#[tokio::test]
async fn a_login_gives_a_ticket_and_says_nothing_of_which_part_was_wrong() {
    let site = site();
    site.account("anna", &[Role::Observer]);
    let running = site.on_loopback().await;
    let good = body(&log_in(&running, "anna", PASSWORD).await);
    let ticket = good["ticket"].as_str().expect("a ticket");
    assert_eq!(running.get(FRAMES, ticket).await, 200);
    assert_eq!((&good["person"], &good["roles"][0]), (&"local:anna".into(), &"observer".into()));
    let mut answers = Vec::new();
    for (account, password) in
        [("anna", "wrong"), ("bert", PASSWORD), ("", ""), ("anna'--", "x"), ("anna", "")]
    {
        let answer = log_in(&running, account, password).await;
        assert_eq!(status(&answer), 401, "{answer}");
        let mut problem = body(&answer);
        problem["instance"] = "".into();
        answers.push(problem);
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:#?}");
}

// REQ: FEP-KIT-114
#[tokio::test]
async fn a_stolen_token_and_its_tickets_are_refused_after_the_token_is_revoked() {
    let site = site();
    site.account("anna", &[Role::Observer]);
    let running = site.on_loopback().await;
    let ticket =
        body(&log_in(&running, "anna", PASSWORD).await)["ticket"].as_str().expect("a ticket").to_owned();
    let own = format!("Authorization: Bearer {ticket}");
    let json = "Content-Type: application/json";
    let order = r#"{"name":"x","roles":["observer"],"scopes":[{"spacecraft":"all","colours":["black","red"],"sessions":["ops","test","replay"]}],"lifetime_s":3600}"#;
    let made = body(&running.ask("POST /v1/tokens", &[&own, json], order).await);
    let (id, token) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    // The thief uses the token, makes a ticket of it, and tries to make another token.
    assert_eq!(running.get(FRAMES, token).await, 200);
    let by_token = format!("Authorization: Bearer {token}");
    let stolen = body(&running.ask("POST /v1/ticket", &[&by_token], "").await);
    let stolen = stolen["ticket"].as_str().expect("a ticket");
    assert_eq!(running.get(FRAMES, stolen).await, 200);
    for thief in [&by_token, &format!("Authorization: Bearer {stolen}")] {
        assert_eq!(status(&running.ask("POST /v1/tokens", &[thief, json], order).await), 403);
    }
    let revoked = running.ask(&format!("DELETE /v1/tokens/{id}"), &[&own], "").await;
    assert_eq!(status(&revoked), 204, "{revoked}");
    for _ in 0..3 {
        assert_eq!(running.get(FRAMES, token).await, 401);
        assert_eq!(running.get(FRAMES, stolen).await, 401);
    }
    assert_eq!(running.get(FRAMES, &ticket).await, 200, "anna's own ticket stays");
}

// REQ: FEP-KIT-114
#[tokio::test]
async fn a_ticket_is_refused_after_log_out_and_nobody_gives_more_than_they_have() {
    let site = site();
    site.account("anna", &[Role::Observer]);
    site.account("bert", &[Role::Administrator]);
    let running = site.on_loopback().await;
    let anna =
        body(&log_in(&running, "anna", PASSWORD).await)["ticket"].as_str().expect("a ticket").to_owned();
    let bert =
        body(&log_in(&running, "bert", PASSWORD).await)["ticket"].as_str().expect("a ticket").to_owned();
    let own = format!("Authorization: Bearer {anna}");
    let order = r#"{"name":"x","roles":["administrator"],"scopes":[{"spacecraft":[1],"colours":[],"sessions":[]}],"lifetime_s":60}"#;
    let refused = running.ask("POST /v1/tokens", &[&own, "Content-Type: application/json"], order).await;
    assert_eq!((status(&refused), &body(&refused)["type"]), (403, &"/problems/more-than-own".into()));
    assert_eq!(running.get("/v1/accounts", &anna).await, 403);
    assert_eq!(running.get("/v1/accounts", &bert).await, 200);
    assert_eq!(status(&running.ask("POST /v1/logout", &[&own], "").await), 204);
    assert_eq!(running.get(FRAMES, &anna).await, 401);
    // An administrator ends what somebody else has.
    let again =
        body(&log_in(&running, "anna", PASSWORD).await)["ticket"].as_str().expect("a ticket").to_owned();
    let admin = format!("Authorization: Bearer {bert}");
    assert_eq!(status(&running.ask("POST /v1/accounts/anna/disable", &[&admin], "").await), 204);
    assert_eq!(running.get(FRAMES, &again).await, 401);
    assert_eq!(status(&log_in(&running, "anna", PASSWORD).await), 401);
}

// REQ: FEP-KIT-114
#[tokio::test]
async fn a_ticket_that_has_ended_and_a_ticket_of_another_key_are_refused() {
    let site = site();
    let running = site.on_loopback().await;
    assert_eq!(running.get(FRAMES, &site.ticket(Role::Observer, 0)).await, 200);
    assert_eq!(running.get(FRAMES, &site.ticket(Role::Observer, 901)).await, 401);
    assert_eq!(running.get(FRAMES, &site.ticket(Role::Observer, -3600)).await, 401, "of the future");
    let dir = tempfile::tempdir().expect("a directory");
    let now = NumericDate::now();
    let other =
        Identity::open_unchecked(dir.path(), IdentityConfig::default(), now).expect("another identity");
    let forged = other.ticket_for_test(RoleSet::ALL, vec![Scope::ALL], now).expect("a ticket");
    assert_eq!(running.get(FRAMES, &forged).await, 401);
    for bearer in ["", "a", "a.b.c", "..", "fep_", &"x".repeat(7000)] {
        assert_eq!(running.get(FRAMES, bearer).await, 401, "{bearer}");
    }
    let twice = format!("Authorization: Bearer {}", site.ticket(Role::Observer, 0));
    assert_eq!(status(&running.ask(&format!("GET {FRAMES}"), &[&twice, &twice], "").await), 401);
    let basic = twice.replace("Bearer", "Basic");
    assert_eq!(status(&running.ask(&format!("GET {FRAMES}"), &[&basic], "").await), 401);
}

// REQ: FEP-KIT-113
#[tokio::test]
async fn requests_under_the_name_of_somebody_else_or_from_their_web_pages_are_refused_before_anything_else() {
    let site = site();
    let running = site.on_loopback().await;
    let ticket = site.ticket(Role::Observer, 0);
    let bearer = format!("Authorization: Bearer {ticket}");
    let own = running.tcp().to_string();
    let line = format!("GET {FRAMES}");
    let ask = async |host: &str, headers: &[&str]| {
        status(&ask_on(running.connect().await, host, &line, headers, "").await)
    };
    assert_eq!(ask(&own, &[&bearer]).await, 200);
    assert_eq!(ask(&format!("localhost:{}", running.tcp().port()), &[&bearer]).await, 200);
    assert_eq!(ask(&own, &[&bearer, &format!("Origin: http://{own}")]).await, 200);
    for host in ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example", "0.0.0.0"] {
        assert_eq!(ask(host, &[&bearer]).await, 421, "{host}");
    }
    for origin in ["http://evil.example", "null", &format!("https://{own}")] {
        assert_eq!(ask(&own, &[&bearer, &format!("Origin: {origin}")]).await, 403, "{origin}");
    }
    assert_eq!(ask(&own, &[&bearer, "Host: evil.example"]).await, 400, "two Hosts");
    let absolute = ask_on(running.connect().await, &own, "GET http://evil.example/v1/hello", &[], "").await;
    assert_eq!(status(&absolute), 421, "{absolute}");
    let unknown = ask_on(running.connect().await, "evil.example", "GET /nothing/here", &[], "").await;
    assert_eq!(status(&unknown), 421, "also where there is no route");
    let mut old = running.connect().await;
    old.write_all(b"GET /v1/hello HTTP/1.0\r\n\r\n").await.expect("sent");
    assert_eq!(status(&String::from_utf8_lossy(&ends(old).await)), 400, "no Host at all");
}

// REQ: FEP-KIT-115
#[tokio::test]
async fn a_body_that_comes_slowly_is_not_waited_for() {
    let site = Site::new(short(), Peers::default());
    let running = site.on_loopback().await;
    let ticket = site.ticket(Role::FlightSoftware, 0);
    let host = running.tcp();
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut stream = running.connect().await;
        let head = format!(
            "POST /v1/uploads HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ticket}\r\n\
             Content-Type: application/octet-stream\r\n{framing}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let (mut reader, mut writer) = stream.into_split();
        let trickle = tokio::spawn(async move {
            while writer.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let answer = ends(&mut reader).await;
        trickle.abort();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status(&answer), 408, "{framing}: {answer}");
        assert_eq!(body(&answer)["type"], "/problems/slow-body");
    }
    assert_eq!(site.example.calls.load(Ordering::Relaxed), 0, "no handler saw a part of a body");
}

// REQ: FEP-KIT-115
#[tokio::test]
async fn bodies_and_heads_that_are_too_large_are_refused_and_nothing_is_read_before_the_caller_is_known() {
    let site = Site::new(Limits { body_bytes: 1000, headers: 20, ..short() }, Peers::default());
    let running = site.on_loopback().await;
    let bearer = format!("Authorization: Bearer {}", site.ticket(Role::FlightSoftware, 0));
    let octets = "Content-Type: application/octet-stream";
    let post =
        async |headers: &[&str], body: &str| status(&running.ask("POST /v1/uploads", headers, body).await);
    assert_eq!(post(&[&bearer, octets], &"x".repeat(1000)).await, 204);
    assert_eq!(post(&[&bearer, octets], &"x".repeat(1001)).await, 413);
    assert_eq!(post(&[&bearer, "Content-Type: application/json"], "x").await, 415);
    assert_eq!(post(&[octets], "x").await, 401);
    // Chunked bodies say no length: they are counted.
    let mut stream = running.connect().await;
    let host = running.tcp();
    let head = format!(
        "POST /v1/uploads HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n{octets}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    stream.write_all(chunk.repeat(2).as_bytes()).await.expect("sent");
    assert_eq!(status(&String::from_utf8_lossy(&ends(stream).await)), 413);
    let many: Vec<String> = (0..30).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(status(&running.ask("GET /v1/hello", &many, "").await), 431);
    let long = format!("X-Long: {}", "x".repeat(100_000));
    assert_eq!(status(&running.ask("GET /v1/hello", &[&long], "").await), 431);
    // A request with two lengths could be read as two requests by somebody before us.
    let smuggled =
        "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde";
    let mut stream = running.connect().await;
    stream.write_all(smuggled.as_bytes()).await.expect("sent");
    assert_eq!(status(&String::from_utf8_lossy(&ends(stream).await)), 400);
}

// REQ: FEP-KIT-115
#[tokio::test]
async fn connections_that_are_idle_send_half_a_head_or_speak_http_2_end() {
    let site = Site::new(short(), Peers::default());
    let running = site.on_loopback().await;
    let idle = running.connect().await;
    let mut half = running.connect().await;
    half.write_all(b"GET /v1/hello HTT").await.expect("sent");
    let mut preface = running.connect().await;
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    let mut kept = running.connect().await;
    let host = running.tcp();
    kept.write_all(format!("GET /v1/hello HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.expect("sent");
    let mut trickle = running.connect().await;
    trickle.write_all(b"GET /v1/hello HTTP/1.1\r\n").await.expect("sent");
    let (mut reader, mut writer) = trickle.into_split();
    let slow = tokio::spawn(async move {
        while writer.write_all(b"X: 1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert_eq!(ends(idle).await, b"");
    ends(half).await;
    ends(preface).await;
    ends(&mut reader).await;
    slow.abort();
    let answer = String::from_utf8_lossy(&ends(kept).await).into_owned();
    assert_eq!(status(&answer), 200, "answered, then idle, then ended: {answer}");
}

// REQ: FEP-KIT-115
#[tokio::test]
async fn clients_that_never_read_lose_their_place_and_others_are_answered() {
    let limits = Limits { requests: 8, requests_of_one: 8, ..short() };
    let site = Site::new(limits, Peers::default());
    let running = site.on_loopback().await;
    let host = running.tcp();
    let ticket = site.ticket(Role::Observer, 0);
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut stream = running.connect().await;
        let request =
            format!("GET /v1/large HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ticket}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        deaf.push(stream);
    }
    // While they sit there every place is taken; they lose it without reading an octet.
    let mut answered = 0;
    for _ in 0..600 {
        answered = running.get(FRAMES, &ticket).await;
        if answered == 200 {
            break;
        }
        assert!(answered == 503 || answered == 429, "{answered}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(answered, 200);
    drop(deaf);
}

// REQ: FEP-KIT-115
#[tokio::test]
async fn one_address_does_not_take_every_connection() {
    let site = Site::new(Limits { connections_of_one: 2, ..Limits::default() }, Peers::default());
    let running = site.on_loopback().await;
    let hello = format!("GET /v1/hello HTTP/1.1\r\nHost: {}\r\n\r\n", running.tcp());
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = running.connect().await;
        stream.write_all(hello.as_bytes()).await.expect("sent");
        let mut octet = [0];
        stream.read_exact(&mut octet).await.expect("answered");
        open.push(stream);
    }
    assert_eq!(ends(running.connect().await).await, b"", "the third is closed");
    drop(open);
    for _ in 0..600 {
        if status(&running.ask("GET /v1/hello", &[], "").await) == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no place was given back");
}

// REQ: FEP-KIT-109
#[tokio::test]
async fn the_peer_of_a_unix_socket_is_known_by_its_user_but_not_behind_a_proxy() {
    let uid = rustix::process::getuid().as_raw();
    let peer = PeerService {
        uid: Some(uid),
        certificate: None,
        roles: RoleSet::of(&[Role::Observer]),
        scopes: vec![Scope::ALL],
    };
    let peers = Peers::new(BTreeMap::from([("tester".to_owned(), peer)]));
    let site = Site::new(Limits::default(), peers);
    let line = format!("GET {FRAMES}");
    for (proxied, expected) in [(false, 200), (true, 401)] {
        let path = site.dir.path().join(format!("{proxied}.sock"));
        let config = DoorConfig { proxied, ..DoorConfig::at(&format!("unix:{}", path.display())) };
        let running = site.open(config).await;
        let connect = async || UnixStream::connect(running.unix()).await.expect("a connection");
        let answer = ask_on(connect().await, "localhost", &line, &[], "").await;
        assert_eq!(status(&answer), expected, "{answer}");
        // A wrong ticket is not made good by the peer.
        let wrong = ask_on(connect().await, "localhost", &line, &["Authorization: Bearer a.b.c"], "").await;
        assert_eq!(status(&wrong), 401);
        let ticket = format!("Authorization: Bearer {}", site.ticket(Role::Observer, 0));
        assert_eq!(status(&ask_on(connect().await, "localhost", &line, &[&ticket], "").await), 200);
        assert_eq!(status(&ask_on(connect().await, "evil.example", &line, &[&ticket], "").await), 421);
    }
}

// REQ: FEP-KIT-117
#[tokio::test]
async fn a_stream_of_events_ends_with_the_ticket_of_its_caller() {
    let site = site();
    let running = site.on_loopback().await;
    let host = running.tcp();
    let follow = async |ticket: &str| {
        let mut stream = running.connect().await;
        let head = format!("GET /v1/live HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ticket}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut head = vec![0; 4096];
        let octets = stream.read(&mut head).await.expect("an answer");
        let head = String::from_utf8_lossy(&head[..octets]).into_owned();
        assert!(status(&head) == 200 && head.contains("text/event-stream"), "{head}");
        stream
    };
    // Valid for 900 s, issued 897 s ago.
    let ending = follow(&site.ticket(Role::Observer, 897)).await;
    let mut lasting = follow(&site.ticket(Role::Observer, 0)).await;
    site.example.feed.publish("pass", black_ops(1), &"begun").expect("published");
    let mut octets = vec![0; 4096];
    let read = lasting.read(&mut octets).await.expect("an event");
    assert!(String::from_utf8_lossy(&octets[..read]).contains("data: \"begun\""));
    let rest = String::from_utf8_lossy(&ends(ending).await).into_owned();
    assert!(rest.contains("begun") && rest.ends_with("0\r\n\r\n"), "it ends in order: {rest}");
    // And with the right of its caller: an administrator revokes them.
    let person = fep_identity::PersonId("local:test".to_owned());
    site.identity.revoke_person(&person, NumericDate::now()).expect("revoked");
    ends(lasting).await;
}

// REQ: FEP-KIT-116
#[tokio::test]
async fn plain_http_is_for_this_machine_alone() {
    for listen in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let refused = fep_route::Door::open(&DoorConfig::at(listen)).await;
        assert!(matches!(refused, Err(DoorError::Plain(_))), "{listen}: {refused:?}");
    }
    let half = DoorConfig { certificate: Some("x.pem".into()), ..DoorConfig::at("127.0.0.1:0") };
    assert!(matches!(fep_route::Door::open(&half).await, Err(DoorError::Half(_))));
}

// REQ: FEP-KIT-118
#[tokio::test]
async fn a_refusal_carries_the_identifier_of_its_request_and_is_reported() {
    let site = site();
    let reported = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let list = std::sync::Arc::clone(&reported);
    let service = site.service.clone().report_refusals_to(move |refusal| {
        let person = refusal.person.map(|person| person.account.clone());
        list.lock().expect("whole").push((
            refusal.request_id.to_owned(),
            refusal.status,
            refusal.route.1,
            person,
        ));
    });
    let site = Site { service, ..site };
    let running = site.on_loopback().await;
    let nobody = running.ask(&format!("GET {FRAMES}"), &[], "").await;
    let planner = format!("Authorization: Bearer {}", site.ticket(Role::Planner, 0));
    let denied = running.ask(&format!("GET {FRAMES}"), &[&planner], "").await;
    let ids: Vec<String> = [&nobody, &denied]
        .map(|answer| {
            let id =
                answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an identifier");
            assert_eq!(body(answer)["instance"], format!("/requests/{id}"));
            id.to_owned()
        })
        .to_vec();
    assert_ne!(ids[0], ids[1]);
    let route = "/v1/spacecraft/{scid}/frames";
    let expected =
        [(ids[0].clone(), 401, route, None), (ids[1].clone(), 403, route, Some("test".to_owned()))];
    assert_eq!(*reported.lock().expect("whole"), expected);
}
