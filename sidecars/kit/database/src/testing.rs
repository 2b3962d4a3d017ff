//! For tests of this crate and of those that use it: both engines, ways to break an operation anywhere, and migrations from
//! every older version.
//!
//! What fails here panics: it is part of a test.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use crate::{Database, Engine, Error, Options, Schema};

/// A place for one database, empty at first. It goes when it is dropped.
pub struct Place {
    engine: Engine,
    url: String,
    directory: tempfile::TempDir,
    server: Option<Arc<Server>>,
}

impl Place {
    /// A file in a directory of its own.
    #[must_use]
    pub fn sqlite() -> Place {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", directory.path().join("database.sqlite3").display());
        Place { engine: Engine::Sqlite, url, directory, server: None }
    }

    /// A database of a server that the tests of a program share.
    #[must_use]
    pub fn postgres() -> Place {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = Server::shared();
        let url = server.database(&format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let directory = tempfile::tempdir().expect("a temporary directory");
        Place { engine: Engine::Postgres, url, directory, server: Some(server) }
    }

    /// One of each engine.
    #[must_use]
    pub fn both() -> [Place; 2] {
        [Place::sqlite(), Place::postgres()]
    }

    /// Another empty place of the same engine.
    #[must_use]
    pub fn another(&self) -> Place {
        match self.engine {
            Engine::Sqlite => Place::sqlite(),
            Engine::Postgres => Place::postgres(),
        }
    }

    /// Which engine it is of.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Options of the database, less patient than usual.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { connections: 4, ..Options::new(&self.url) }
    }

    /// A directory for files of the test.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Opens the database.
    pub async fn open(&self, schemas: &[Schema]) -> Database {
        Database::open(&self.options(), schemas).await.expect("the database opens")
    }

    /// Ends every connection to the database that somebody else has, as a server that dies does. SQLite has no connections
    /// to end: there it does nothing.
    pub async fn end_connections(&self) {
        if self.server.is_none() {
            return;
        }
        let mut connection = self.connect().await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(sql).execute(&mut connection).await.expect("connections are ended");
        connection.close().await.expect("closed");
    }

    /// A connection past the handle, as somebody has who can change the database.
    pub async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.url).await.expect("a connection")
    }
}

/// Lets a future run until it has waited `polls` times, and drops it then; `None` when it was dropped. Called with 0, 1, 2 …
/// until it is `Some`, it drops the future at every place where it waits.
pub async fn cut<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut left = polls;
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Lets a future run until it has waited `polls` times, runs `interference` then, and lets the future go on to its end.
pub async fn interfere<F: Future>(
    polls: usize,
    future: F,
    interference: impl Future<Output = ()>,
) -> F::Output {
    let mut left = polls;
    let mut future = pin!(future);
    let early = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await;
    match early {
        Some(output) => output,
        None => {
            interference.await;
            future.await
        }
    }
}

/// Opens a place with every older version of a module, lets `fill` put rows there (it gets the version), opens it with the
/// latest, and holds the result against a place that was made with the latest: the same tables and columns, and, where a table
/// was not touched by a later version, the same rows.
pub async fn migrates_from_every_older_version<F>(
    place: &Place,
    schema: Schema,
    mut fill: impl FnMut(Database, i64) -> F,
) where
    F: Future<Output = Result<(), Error>>,
{
    let fresh = place.another();
    let latest = fresh.open(&[schema]).await;
    let expected = layout(&fresh).await;
    for version in 1..schema.version() {
        let place = place.another();
        let old = place.open(&[schema.up_to(version)]).await;
        fill(old.clone(), version).await.expect("rows of the old version");
        let (old_layout, old_rows) = (layout(&place).await, old.rows().await.expect("counted"));
        old.close().await;
        let new = place.open(&[schema]).await;
        assert_eq!(layout(&place).await, expected, "tables that came from version {version}");
        let new_rows = new.rows().await.expect("counted");
        for (table, columns) in &old_layout {
            if table != "fep_schema" && expected.get(table) == Some(columns) {
                assert_eq!(old_rows[table], new_rows[table], "rows of {table}, from version {version}");
            }
        }
        new.close().await;
    }
    latest.close().await;
}

/// Tables with their columns and types.
async fn layout(place: &Place) -> std::collections::BTreeMap<String, Vec<(String, String)>> {
    let mut connection = place.connect().await;
    let tables = match place.engine {
        Engine::Sqlite => crate::sqlite::tables(&mut connection).await,
        Engine::Postgres => crate::postgres::tables_any(&mut connection).await,
    };
    connection.close().await.expect("closed");
    let tables = tables.expect("the engine describes its tables");
    tables
        .into_iter()
        .map(|table| {
            let mut columns = table.columns;
            columns.sort();
            (table.name, columns)
        })
        .collect()
}

/// A PostgreSQL server of the test's own: Debian's programs, a fresh directory, a Unix socket, no port.
pub struct Server {
    directory: tempfile::TempDir,
    process: Child,
}

/// How a server takes connections.
pub struct ServerPort {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Certificate and key of the server.
    pub certificate: PathBuf,
    /// See there.
    pub key: PathBuf,
}

impl Server {
    /// The server that the tests of this program share; the last one who drops it ends it.
    #[must_use]
    pub fn shared() -> Arc<Server> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Server::start(None));
        *shared = Arc::downgrade(&server);
        server
    }

    /// Starts a server; with a port it takes connections by TLS there.
    ///
    /// # Panics
    /// When PostgreSQL is not installed (`apt-get install postgresql`; `make test` does it) or does not start.
    #[must_use]
    pub fn start(port: Option<&ServerPort>) -> Server {
        let programs = programs();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        let mut own = Vec::new();
        if let Some(port) = port {
            for (from, name) in [(&port.certificate, "server.crt"), (&port.key, "server.key")] {
                let to = directory.path().join(name);
                let octets = fep_file::read(from, 1 << 20).expect("a certificate");
                fep_file::create_new(&to, 0o600, &octets).expect("written");
                own.push(to);
            }
        }
        // The server refuses to run as root: then it runs as the user that the package made.
        let as_root = rustix::process::geteuid().is_root();
        if as_root {
            let status = Command::new("chown")
                .args(["-R", "postgres"])
                .arg(directory.path())
                .status()
                .expect("chown is part of every system");
            assert!(status.success(), "the package postgresql makes a user \"postgres\"; it is missing");
        }
        let run = |program: &str| {
            let program = programs.join(program);
            if as_root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
                command
            } else {
                Command::new(program)
            }
        };
        let made = run("initdb")
            .args(["--auth=trust", "--username=fep", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = run("postgres");
        command.arg("-D").arg(&data).args(["-c", "fsync=off", "-c", "max_connections=200"]);
        match port {
            None => {
                command.args(["-c", "listen_addresses="]);
            }
            Some(port) => {
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"]);
                command.args(["-c", &format!("port={}", port.port)]);
                command.args(["-c", &format!("ssl_cert_file={}", own[0].display())]);
                command.args(["-c", &format!("ssl_key_file={}", own[1].display())]);
            }
        }
        let process = command
            .arg("-k")
            .arg(directory.path())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log")).expect("a log"))
            .spawn()
            .expect("postgres starts");
        let server = Server { directory, process };
        server.wait(&programs, port.map_or(5432, |port| port.port));
        server
    }

    fn wait(&self, programs: &Path, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = Command::new(programs.join("pg_isready"))
                .arg("-h")
                .arg(self.directory.path())
                .args(["-p", &port.to_string()])
                .stdout(Stdio::null())
                .status()
                .expect("pg_isready starts");
            if ready.success() {
                return;
            }
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL did not answer within a minute:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// URL of a new, empty database, by the Unix socket.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        let made = Command::new(programs().join("createdb"))
            .arg("-h")
            .arg(self.directory.path())
            .args(["-U", "fep", name])
            .output()
            .expect("createdb starts");
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        let host = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://fep@{host}/{name}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is the server's fast shutdown: its children end with it.
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = self.process.wait();
    }
}

/// Runs statements past the handle.
pub async fn run(place: &Place, sql: &str) {
    let mut connection = place.connect().await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("it runs");
    connection.close().await.expect("closed");
}

fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is not installed: apt-get install postgresql (make test does it)")
}
