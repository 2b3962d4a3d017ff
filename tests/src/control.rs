//! One request to the control socket, as plain as can be: no library that could hide what the daemon answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// `GET path` over the Unix socket; the body of a 200 answer.
///
/// # Errors
/// What went wrong, in words: no socket, no answer, another status.
pub fn get(socket: &Path, path: &str) -> Result<String, String> {
    request(socket, "GET", path)
}

/// `METHOD path` without a body over the Unix socket; the body of a 200 answer.
///
/// # Errors
/// As [`get`].
pub fn request(socket: &Path, method: &str, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP answer: {answer:?}"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("{path}: {head}: {body}"));
    }
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Err(format!("{path}: a chunked answer, which this client does not read"));
    }
    Ok(body.to_owned())
}
