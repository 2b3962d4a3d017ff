//! Where the other programs of the set are.

use std::path::PathBuf;

use crate::failure::Failure;

/// A program of the set: beside this one, or on the search path.
pub(crate) fn find_program(name: &str) -> Result<PathBuf, Failure> {
    let beside = beside(name)?;
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file()).ok_or_else(
        || {
            Failure::new(format!("the program {} does not exist", beside.display()))
                .hint(format!("build it beside this one: cargo build --release -p {name} -p fepctl"))
        },
    )
}

/// Where a program of the set would be beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()
        .and_then(|path| path.canonicalize())
        .map_err(|error| Failure::new(format!("cannot find out where this program lies: {error}")))?;
    Ok(own.with_file_name(name))
}
