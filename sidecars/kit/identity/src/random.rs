//! Random octets of the system.

use std::io;

/// So many octets that nobody can guess.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| io::Error::other(format!("no random octets: {error}")))?;
    Ok(octets)
}
