//! Services that never answer, never end, break off or send what nobody asked for: a clear error each time, and no hang.

use std::time::Duration;

use fep_client::model::identity::Me;
use fep_client::{Bearer, Call, Client, Config, CopyError, Error, Octets, StatusCode, Times, api, blocking};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Nothing takes longer, or the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a service does once it has read a request.
enum Does {
    /// Writes this, and closes.
    Closes(Vec<u8>),
    /// Writes this, and waits.
    Waits(Vec<u8>),
    /// Writes this, then the second again and again without an end, with so long between.
    Repeats(Vec<u8>, Vec<u8>, Duration),
}

/// A service at this address.
async fn serve(does: Does) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            answer(&mut stream, &does).await;
        }
    });
    address
}

async fn answer(stream: &mut TcpStream, does: &Does) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    // Whoever has heard enough closes: the rest cannot be written then.
    match does {
        Does::Closes(octets) => {
            let _ = stream.write_all(octets).await;
            let _ = stream.shutdown().await;
        }
        Does::Waits(octets) => {
            let _ = stream.write_all(octets).await;
            let _ = stream.read_to_end(&mut request).await;
        }
        Does::Repeats(first, then, every) => {
            let _ = stream.write_all(first).await;
            while stream.write_all(then).await.is_ok() {
                tokio::time::sleep(*every).await;
            }
        }
    }
}

fn client(address: &str, times: Times) -> Client {
    let config =
        Config { times, answer_octets_max: 1 << 20, ..Config::at(address.parse().expect("an address")) };
    Client::new(config).expect("a client")
}

/// The error of `GET /v1/me` at a service that does this.
async fn refused(does: Does, times: Times) -> Error {
    let client = client(&serve(does).await, times);
    let asked = tokio::time::timeout(PATIENCE, client.call(&api::identity::me())).await;
    asked.expect("it hangs").expect_err("there is no answer")
}

fn short() -> Times {
    let ms = Duration::from_millis;
    Times { connect: PATIENCE, answer: ms(1500), silence: ms(500) }
}

fn head(rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}").into_bytes()
}

// REQ: FEP-KIT-207
#[tokio::test]
async fn a_service_that_never_answers_is_given_up() {
    let error = refused(Does::Waits(Vec::new()), short()).await;
    assert!(matches!(error, Error::Silent { what: "did not answer", .. }), "{error}");
    assert!(error.is_away() && error.hint().is_some());
    // Half a head, and half a body.
    for begun in ["", "Content-Length: 9\r\n\r\n{\"acc"] {
        let error = refused(Does::Waits(head(begun)), short()).await;
        assert!(matches!(error, Error::Silent { .. }), "{error}");
    }
}

// REQ: FEP-KIT-207
#[tokio::test]
async fn a_body_without_an_end_is_cut_off_by_size_or_by_time() {
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x1_0000], b"\r\n"].concat();
    let fast = Does::Repeats(head("Transfer-Encoding: chunked\r\n\r\n"), chunk, Duration::ZERO);
    let error = refused(fast, Times { answer: PATIENCE, ..short() }).await;
    assert!(matches!(error, Error::TooLong { octets_max: 0x10_0000, .. }), "{error}");
    assert!(error.to_string().contains("/v1/me with more than 1048576 octets"), "{error}");
    let drip = Does::Repeats(
        head("Transfer-Encoding: chunked\r\n\r\n"),
        b"1\r\n \r\n".to_vec(),
        Duration::from_millis(50),
    );
    let error = refused(drip, short()).await;
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    // A refusal is believed by its status, however much it says.
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
    let first = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let error =
        refused(Does::Repeats(first, chunk, Duration::ZERO), Times { answer: PATIENCE, ..short() }).await;
    assert_eq!(error.refusal().map(|refusal| refusal.status), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(error.to_string().len() < 600, "{}", error.to_string().len());
}

// REQ: FEP-KIT-207
#[tokio::test]
async fn a_head_without_an_end_is_cut_off() {
    let error = refused(
        Does::Repeats(head(""), b"X-More: and more\r\n".repeat(1000), Duration::ZERO),
        Times { answer: PATIENCE, ..short() },
    )
    .await;
    assert!(matches!(error, Error::Broken { .. }), "{error}");
}

// REQ: FEP-KIT-207
#[tokio::test]
async fn a_connection_that_closes_in_the_middle_is_an_error_and_never_a_short_answer() {
    for (octets, during) in [
        (Vec::new(), "the connection"),
        (b"HTTP/1.1 200".to_vec(), "the connection"),
        (head("Content-Length: 400\r\n\r\n{}"), "its answer"),
        (head("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), "its answer"),
        (b"220 mail.example ESMTP\r\n".to_vec(), "the connection"),
    ] {
        let shown = String::from_utf8_lossy(&octets).into_owned();
        let error = refused(Does::Closes(octets), short()).await;
        assert!(error.to_string().contains(&format!("broke off {during}")), "{shown:?}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("https://")), "{error}");
    }
}

// REQ: FEP-KIT-207
#[tokio::test]
async fn a_success_that_is_something_else_than_agreed_names_the_request_and_not_its_query() {
    for body in ["", "{", "[]", "{\"account\": 7}", "<html>"] {
        let answer = head(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let client = client(&serve(Does::Closes(answer)).await, short());
        let call: Call<Me> = Call::get("/v1/me?secret=1");
        let error = client.call(&call).await.expect_err("no account");
        assert!(matches!(error, Error::Malformed { .. }), "{body}: {error}");
        let text = error.to_string();
        assert!(text.contains("answered /v1/me with") && !text.contains("secret"), "{text}");
    }
}

// REQ: FEP-KIT-206
#[tokio::test]
async fn a_malformed_problem_is_still_a_refusal_with_its_status() {
    for body in ["", "{", "not here", "[1, 2]", "{\"detail\": [1]}", "\u{0}\u{1b}[31m"] {
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let error = refused(Does::Closes(answer.into_bytes()), short()).await;
        let text = error.to_string();
        assert!(text.contains("refused /v1/me: it answered 403 Forbidden"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    // One that breaks off too.
    let cut = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 900\r\n\r\n{\"detail\":".to_vec();
    let error = refused(Does::Closes(cut), short()).await;
    assert_eq!(error.refusal().map(|refusal| refusal.status), Some(StatusCode::FORBIDDEN), "{error}");
}

// REQ: FEP-KIT-207
#[tokio::test]
async fn a_stream_that_falls_silent_or_breaks_off_is_an_error_after_what_came() {
    let begun = head("Content-Length: 10\r\n\r\nabcd");
    for (does, is_silent) in [(Does::Waits(begun.clone()), true), (Does::Closes(begun), false)] {
        let client = client(&serve(does).await, Times { answer: PATIENCE, ..short() });
        let call: Call<Octets> = Call::get("/v1/frames");
        let reply = client.begin(&call).await.expect("a head");
        let mut written = Vec::new();
        let copied = tokio::time::timeout(PATIENCE, reply.copy_to(&mut written)).await.expect("it hangs");
        let Err(CopyError::Service(error)) = copied else { panic!("{copied:?}") };
        assert_eq!(matches!(error, Error::Silent { .. }), is_silent, "{error}");
        assert_eq!(written, b"abcd");
    }
}

// REQ: FEP-KIT-204
#[tokio::test]
async fn a_service_that_is_not_there_is_reported_with_its_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = format!("unix:{}", dir.path().join("none.sock").display());
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    for address in [socket, format!("http://{free}")] {
        let error = client(&address, short()).call(&api::identity::me()).await.expect_err("nobody");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("no service at {address}: ")), "{error}");
    }
}

// REQ: FEP-KIT-205
#[test]
fn a_bearer_is_never_sent_in_the_clear_to_another_machine_and_never_shown() {
    let bearer = Bearer::new("a.secret.ticket").expect("a ticket");
    assert!(!format!("{bearer:?}").contains("secret"));
    for (address, is_sent) in [
        ("http://fep.example:80", false),
        ("http://10.0.0.1:80", false),
        ("http://127.0.0.1:80", true),
        ("unix:/run/x.sock", true),
    ] {
        let config =
            Config { bearer: Some(bearer.clone()), ..Config::at(address.parse().expect("an address")) };
        let made = Client::new(config);
        assert_eq!(made.is_ok(), is_sent, "{address}");
        if let Err(error) = made {
            let text = error.to_string();
            assert!(text.contains("no ticket is sent to") && !text.contains("secret"), "{text}");
        }
    }
    let unauthenticated = Client::new(Config::at("http://10.0.0.1:80".parse().expect("an address")));
    assert!(unauthenticated.expect("a client").as_bearer(Some(bearer)).is_err());
    for wrong in ["", "a b", "a\r\nX: y", "é"] {
        assert!(Bearer::new(wrong).is_err(), "{wrong:?}");
    }
}

// REQ: FEP-KIT-207
#[test]
fn the_blocking_client_gives_up_as_the_other_one_does_and_streams_into_a_writer() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let silent = runtime.block_on(serve(Does::Waits(Vec::new())));
    let config = Config { times: short(), ..Config::at(silent.parse().expect("an address")) };
    let error = blocking::Client::new(config).expect("a client").call(&api::identity::me());
    assert!(matches!(error, Err(Error::Silent { .. })), "{error:?}");
    let body = vec![7; 3 << 20];
    let mut answer = head(&format!("Content-Length: {}\r\n\r\n", body.len()));
    answer.extend(&body);
    let large = runtime.block_on(serve(Does::Closes(answer)));
    let config = Config { answer_octets_max: 10, ..Config::at(large.parse().expect("an address")) };
    let client = blocking::Client::new(config).expect("a client");
    let call: Call<Octets> = Call::get("/v1/frames");
    let mut written = Vec::new();
    let copied = client.begin(&call).expect("a head").copy_to(&mut written).expect("the body");
    assert!((copied, written) == (3 << 20, body), "the whole body, whatever a whole answer may have");
    assert!(matches!(client.octets(&call), Err(Error::TooLong { octets_max: 10, .. })));
}
