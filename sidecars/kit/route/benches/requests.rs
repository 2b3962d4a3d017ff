//! What a request with a ticket costs on one core, and a login. Figures are printed, never asserted.
//!
//! `cargo bench -p fep-route --bench requests` (seconds to spend on each figure may follow after `--`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fep_identity::{
    Authenticator, Identity, IdentityConfig, NumericDate, Peers, PersonId, Profile, Role, RoleSet, Scope,
};
use fep_kit::listen::Address;
use fep_kit::{Problem, Stop};
use fep_route::{Call, Door, DoorConfig, Limits, Route, Service, serve};
use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that ask one request after the other.
const CONNECTIONS: usize = 16;

async fn nothing(_: Arc<()>, _: Call<()>) -> Result<(), Problem> {
    Ok(())
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // On a machine without this core the scheduler decides.
    let _ = sched_setaffinity(None, &set);
}

fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse::<f64>().ok()).next().unwrap_or(3.0);
    let dir = tempfile::tempdir().expect("a directory");
    let now = NumericDate::now();
    let identity = Identity::open(dir.path(), IdentityConfig::default(), now).expect("an identity");
    login(&identity, seconds);
    for (name, tickets) in [("one ticket", 1), ("16 tickets", CONNECTIONS)] {
        let tickets: Vec<String> = (0..tickets)
            .map(|_| {
                identity
                    .ticket_for_test(RoleSet::of(&[Role::Observer]), vec![Scope::ALL], now)
                    .expect("a ticket")
            })
            .collect();
        requests(name, &identity, &tickets, seconds);
    }
    verify(&identity, seconds);
}

fn login(identity: &Identity, seconds: f64) {
    let profile = Profile {
        person: PersonId("local:anna".to_owned()),
        roles: vec!["observer".to_owned()],
        scopes: vec![Scope::ALL],
        expires: None,
        password_expires: None,
        disabled: false,
    };
    identity.add_account("anna", "correct horse battery", profile).expect("an account");
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed().as_secs_f64() < seconds || times.len() < 5 {
        let one = Instant::now();
        identity
            .login_local("anna", "correct horse battery", NumericDate::now())
            .expect("a state")
            .expect("a login");
        times.push(one.elapsed());
    }
    times.sort();
    println!("login/argon2id             {:>9.1} ms (median of {})", ms(times[times.len() / 2]), times.len());
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A ticket that was never seen before: what the signature costs.
fn verify(identity: &Identity, seconds: f64) {
    let now = NumericDate::now();
    let ticket = identity.ticket_for_test(RoleSet::ALL, vec![Scope::ALL], now).expect("a ticket");
    let begun = Instant::now();
    let mut count = 0_u32;
    let text = std::fs::read(identity.public_file()).expect("a file");
    let keys =
        fep_identity::ticket::TicketKeys::new(serde_json::from_slice(&text).expect("keys")).expect("keys");
    while begun.elapsed().as_secs_f64() < seconds {
        for _ in 0..100 {
            keys.verify(&ticket, now).expect("valid");
        }
        count += 100;
    }
    println!("ticket/first seen          {:>9.0} a second", f64::from(count) / begun.elapsed().as_secs_f64());
}

fn requests(name: &str, identity: &Identity, tickets: &[String], seconds: f64) {
    let authenticator = Authenticator::new(&identity.public_file(), Peers::default()).expect("keys");
    let limits = Limits { requests_of_one: 64, ..Limits::default() };
    let service = Service::new("bench", "1", Arc::new(authenticator), limits.clone()).expect("a service");
    let route = Route::get("/v1/nothing", "Nothing.")
        .role(Role::Observer)
        .touches_no_data()
        .to(&Arc::new(()), nothing);
    let router = service.with([route]).router().expect("a router");
    let stop = Stop::default();
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = std::thread::spawn({
        let stop = stop.clone();
        move || {
            pin(0);
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let door = Door::open(&DoorConfig::at("127.0.0.1:0")).await.expect("a door");
                sender.send(door.address().clone()).expect("somebody waits");
                serve(vec![door], router, limits, stop, Duration::from_millis(100)).await.expect("served");
            });
        }
    });
    let Address::Tcp(address) = receiver.recv().expect("an address") else {
        unreachable!("TCP was asked for")
    };
    pin(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (count, times) = runtime.block_on(ask(address, tickets, seconds));
    println!(
        "request/{name:<18} {:>9.0} a second, p50 {} us, p99 {} us",
        count as f64 / seconds,
        times.value_at_quantile(0.5),
        times.value_at_quantile(0.99)
    );
    stop.now();
    server.join().expect("the server ends");
}

async fn ask(address: SocketAddr, tickets: &[String], seconds: f64) -> (u64, Histogram<u64>) {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for number in 0..CONNECTIONS {
        let ticket = &tickets[number % tickets.len()];
        let request =
            format!("GET /v1/nothing HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ticket}\r\n\r\n");
        let over = Arc::clone(&over);
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("set");
            let mut times = Histogram::<u64>::new(3).expect("a histogram");
            let mut answer = vec![0; 4096];
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                stream.write_all(request.as_bytes()).await.expect("sent");
                let mut have = 0;
                while !answer[..have].ends_with(b"\r\n\r\n") {
                    have += stream.read(&mut answer[have..]).await.expect("an answer");
                }
                assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer[..have]));
                times.saturating_record(begun.elapsed().as_micros() as u64);
            }
            times
        }));
    }
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    over.store(true, Ordering::Relaxed);
    let mut all = Histogram::<u64>::new(3).expect("a histogram");
    for task in tasks {
        all.add(task.await.expect("it ends")).expect("one kind");
    }
    (all.len(), all)
}
