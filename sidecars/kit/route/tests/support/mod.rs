//! A small service with every kind of route, an identity beside it, and a client that sends what no decent client would.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fep_bus::Colour;
use fep_identity::{
    Authenticator, Cost, Identity, IdentityConfig, NumericDate, Peers, PersonId, Profile, Role, RoleSet,
    Scope, Target,
};
use fep_kit::listen::Address;
use fep_kit::{Problem, Stop};
use fep_record::Session;
use fep_route::{
    Call, Door, DoorConfig, Events, Feed, Form, Json, Limits, Octets, Reach, Route, Service, Source, login,
    serve,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use utoipa::ToSchema;

pub const PASSWORD: &str = "correct horse battery";

/// A link that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    name: String,
    rate: Rate,
}

/// How fast it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    bps: u32,
}

#[derive(Serialize, ToSchema)]
pub struct Said {
    said: String,
}

pub struct Example {
    pub feed: Feed,
    pub calls: AtomicUsize,
}

impl Example {
    fn say(&self, said: &str) -> Json<Said> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Json(Said { said: said.to_owned() })
    }
}

async fn frames(example: Arc<Example>, call: Call<()>) -> Result<Json<Said>, Problem> {
    Ok(example.say(&format!("{:?}", call.values.number::<u16>("scid"))))
}

async fn add_link(example: Arc<Example>, call: Call<Json<NewLink>>) -> Result<Json<Said>, Problem> {
    Ok(example.say(&format!("{} {}", call.body.0.name, call.body.0.rate.bps)))
}

async fn upload(example: Arc<Example>, call: Call<Octets>) -> Result<(), Problem> {
    example.say(&call.body.0.len().to_string());
    Ok(())
}

async fn simple(example: Arc<Example>, _call: Call<()>) -> Result<Json<Said>, Problem> {
    Ok(example.say("yes"))
}

async fn large(_: Arc<Example>, _call: Call<()>) -> Result<Octets, Problem> {
    Ok(Octets(Bytes::from(vec![7; 16 << 20])))
}

async fn sleep(_: Arc<Example>, _call: Call<()>) -> Result<(), Problem> {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(())
}

async fn live(example: Arc<Example>, call: Call<()>) -> Result<Events, Problem> {
    example.feed.follow(&call)
}

pub struct Site {
    pub dir: tempfile::TempDir,
    pub identity: Arc<Identity>,
    pub example: Arc<Example>,
    pub service: Service,
}

impl Site {
    pub fn new(limits: Limits, peers: Peers) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let config =
            IdentityConfig { password: Cost { memory_kib: 8, passes: 1 }, ..IdentityConfig::default() };
        let state = dir.path().join("identity");
        let identity = Identity::open_unchecked(&state, config, NumericDate::now());
        let identity = Arc::new(identity.expect("an identity"));
        let authenticator = Authenticator::new(&identity.public_file(), peers).expect("keys");
        let authenticator = Arc::new(authenticator.with_tokens(Arc::clone(identity.tokens())));
        let example = Arc::new(Example { feed: Feed::new(100).expect("a feed"), calls: AtomicUsize::new(0) });
        let service = Service::new("example", "1", Arc::clone(&authenticator), limits).expect("a service");
        let service = service.with(routes(&example)).with(login::routes(&identity, &authenticator));
        Site { dir, identity, example, service }
    }

    pub fn account(&self, name: &str, roles: &[Role]) {
        let profile = Profile {
            person: PersonId(format!("local:{name}")),
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            scopes: vec![Scope::ALL],
            expires: None,
            password_expires: None,
            disabled: false,
        };
        self.identity.add_account(name, PASSWORD, profile).expect("an account");
    }

    /// A ticket that was issued so many seconds ago; it is valid for 900 s.
    pub fn ticket(&self, role: Role, age_s: i64) -> String {
        let now = NumericDate::now().plus_s(-age_s);
        self.identity.ticket_for_test(RoleSet::of(&[role]), vec![Scope::ALL], now).expect("a ticket")
    }

    /// The routes of the example and of identity, but one.
    pub fn routes_but(&self, path: &str) -> Vec<fep_route::Declared> {
        let authenticator = Authenticator::new(&self.identity.public_file(), Peers::default()).expect("keys");
        let mut all = routes(&self.example);
        all.extend(login::routes(&self.identity, &Arc::new(authenticator)));
        all.into_iter().filter(|route| route.declaration().path != path).collect()
    }

    pub async fn open(&self, config: DoorConfig) -> Running {
        let door = Door::open(&config).await.expect("a door");
        let address = door.address().clone();
        let stop = Stop::default();
        let router = self.service.router().expect("a router");
        let limits = self.service.limits().clone();
        let serving = serve(vec![door], router, limits, stop.clone(), Duration::from_secs(1));
        Running { address, stop, task: tokio::spawn(serving) }
    }

    pub async fn on_loopback(&self) -> Running {
        self.open(DoorConfig::at("127.0.0.1:0")).await
    }
}

pub struct Running {
    pub address: Address,
    pub stop: Stop,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub fn tcp(&self) -> SocketAddr {
        match self.address {
            Address::Tcp(address) => address,
            Address::Unix(_) => panic!("a Unix socket"),
        }
    }

    pub fn unix(&self) -> &Path {
        match &self.address {
            Address::Tcp(_) => panic!("TCP"),
            Address::Unix(path) => path,
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.tcp()).await.expect("a connection")
    }

    /// Sends a request of this head (without Host) and body on a connection of its own; the whole answer.
    pub async fn ask(&self, line: &str, headers: &[&str], body: &str) -> String {
        ask_on(self.connect().await, &self.tcp().to_string(), line, headers, body).await
    }

    pub async fn get(&self, path: &str, bearer: &str) -> u16 {
        status(&self.ask(&format!("GET {path}"), &[&format!("Authorization: Bearer {bearer}")], "").await)
    }
}

pub async fn ask_on<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    host: &str,
    line: &str,
    headers: &[&str],
    body: &str,
) -> String {
    let mut request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{body}"));
    // A server that has read enough may close before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    // A server that closes early may reset; what arrived before counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

pub fn body(answer: &str) -> serde_json::Value {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Waits until the server ends the connection; a test that hangs fails instead.
pub async fn ends<S: AsyncRead + Unpin>(mut stream: S) -> Vec<u8> {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open after a minute");
    rest
}

pub fn black_ops(scid: u16) -> Target {
    Target::of(scid, Colour::Black, Session::Ops)
}

fn routes(example: &Arc<Example>) -> Vec<fep_route::Declared> {
    let scid = |route: Route<_>| route.path_parameter("scid", Form::SCID, "Spacecraft.");
    vec![
        scid(
            Route::get("/v1/spacecraft/{scid}/frames", "Frames of a spacecraft.")
                .roles(&[Role::Observer, Role::Operator])
                .reaches(Reach::PARAMETERS),
        )
        .query("colour", Form::COLOUR, "Black or red.")
        .query("session", Form::SESSION, "Which session.")
        .to(example, frames),
        scid(Route::post("/v1/spacecraft/{scid}/links", "Adds a link.").role(Role::Operator).reaches(
            Reach {
                scid: Source::Parameter("scid"),
                session: Source::Always(Session::Ops),
                ..Reach::default()
            },
        ))
        .to(example, add_link),
        Route::post("/v1/uploads", "Takes an image of flight software.")
            .role(Role::FlightSoftware)
            .reaches(Reach::EVERYTHING)
            .to(example, upload),
        Route::get("/v1/keys", "Keys by name.")
            .role(Role::SecurityOfficer)
            .reaches(Reach { colour: Source::Always(Colour::Red), ..Reach::default() })
            .to(example, simple),
        Route::delete("/v1/plans/{plan}", "Removes a plan.")
            .role(Role::Planner)
            .touches_no_data()
            .path_parameter("plan", Form::Text(20), "Name of the plan.")
            .to(example, simple),
        Route::get("/v1/live", "What happens.").role(Role::Observer).touches_no_data().to(example, live),
        Route::get("/v1/large", "Much.").role(Role::Observer).touches_no_data().to(example, large),
        Route::get("/v1/sleep", "Nothing.").role(Role::Approver).touches_no_data().to(example, sleep),
        Route::get("/v1/hello", "Says yes.").open_to_everybody("it says the same to all").to(example, simple),
    ]
}
