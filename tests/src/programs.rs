//! The programs under test, and waiting for what they do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Only a failing test ever waits so long: generous, because many tests may share few cores.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program `name` beside this test's executable.
///
/// # Panics
/// If it has not been built; the message says how.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this process has an executable");
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not beside {}: build the programs first, with `cargo build --workspace --bins` (and --release \
             for tests in release)",
            own.display()
        )
    })
}

/// Runs a script of Python with the packages that `make tools` installs.
///
/// # Panics
/// If they are missing, or the script fails.
pub fn tool_python(script: &str, arguments: &[&Path]) {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv/bin/python");
    let python = std::env::var_os("FEP_TOOLS_PYTHON").map_or(venv, PathBuf::from);
    let run = Command::new(&python).arg("-c").arg(script).args(arguments).output();
    let run =
        run.unwrap_or_else(|error| panic!("{} is missing ({error}): run `make tools`", python.display()));
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}

/// Waits until `reached` holds.
///
/// # Panics
/// If that takes so long that it will not happen any more; the message says `what` and shows what `reached` told last.
pub fn wait_until<T>(what: &str, mut reached: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match reached() {
            Ok(value) => return value,
            Err(last) if started.elapsed() > PATIENCE => panic!("{what} did not happen: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Sends a signal (`TERM`, `STOP`, `CONT`) to a child that has not been waited for.
pub(crate) fn signal(child: &std::process::Child, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "the child is alive or a zombie, so its number is its own"
    );
}
