//! libfec is LGPL and therefore a program of its own: small drivers (`peers/NAME.c` of this package), compiled when a
//! case runs, that print one figure.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What driver `name` prints when called with `arguments` and the budget, or why it cannot.
pub fn figure(name: &str, arguments: &[&str], budget_s: f64) -> Result<f64, String> {
    let output = Command::new(driver(name)?)
        .args(arguments)
        .arg(budget_s.to_string())
        .output()
        .map_err(|error| format!("the driver does not start: {error}"))?;
    let (figure, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    figure.trim().parse().map_err(|_| format!("the driver failed ({}): {}", output.status, complaint.trim()))
}

/// Compiles the driver beside this program, once a run.
fn driver(name: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let source = folder.join(name).with_extension("c");
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let driver = this.with_file_name(name);
    let newer =
        |a: &Path, b: &Path| Some(a.metadata().ok()?.modified().ok()? > b.metadata().ok()?.modified().ok()?);
    if [&source, &folder.join("timing.h")].iter().all(|source| newer(&driver, source) == Some(true)) {
        return Ok(driver);
    }
    let output = Command::new("cc")
        .args(["-O3", "-march=native", "-o"])
        .args([&driver, &source])
        .arg("-lfec")
        .output()
        .map_err(|error| format!("no C compiler: {error}"))?;
    let first_line =
        |text: &[u8]| String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned();
    if output.status.success() {
        Ok(driver)
    } else {
        Err(format!("cc failed, is libfec-dev installed? {}", first_line(&output.stderr)))
    }
}
