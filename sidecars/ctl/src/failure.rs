//! How a command fails: one message that says what, where and what to do, and the exit code of the process.

use std::fmt;
use std::io;
use std::path::Path;

/// Exit code: it could not be done.
const CODE_FAILED: u8 = 1;
/// Exit code: wrong usage of the command line (clap uses the same one).
const CODE_USAGE: u8 = 2;
/// Exit code: the daemon does not answer.
const CODE_NO_DAEMON: u8 = 3;
/// Exit code: the whole input was read and reported, but frames of it were refused, or none decoded.
const CODE_REFUSED: u8 = 4;

/// Why a command ended without having done its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be reported to the operator.
    Reported {
        /// What happened and where.
        message: String,
        /// What to do about it, if we know.
        hint: Option<String>,
        /// Exit code.
        code: u8,
    },
    /// The reader of our standard output went away (`fepctl ... | head`): nothing to report, and nobody to report it to.
    PipeClosed,
}

impl Failure {
    /// It could not be done.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Reported { message: message.into(), hint: None, code: CODE_FAILED }
    }

    /// The arguments make no sense together, or name something that does not exist.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Reported { message: message.into(), hint: None, code: CODE_USAGE }
    }

    /// The daemon does not answer.
    pub(crate) fn no_daemon(message: impl Into<String>) -> Failure {
        Failure::Reported { message: message.into(), hint: None, code: CODE_NO_DAEMON }
    }

    /// The input was read and reported, but frames of it were refused, or none decoded.
    pub(crate) fn refused(message: impl Into<String>) -> Failure {
        Failure::Reported { message: message.into(), hint: None, code: CODE_REFUSED }
    }

    /// An operation on a file failed.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::new(format!("cannot {doing} {}: {}", path.display(), plain(error)))
    }

    /// Says what to do about it.
    pub(crate) fn hint(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Reported { message, code, .. } => {
                Failure::Reported { message, hint: Some(text.into()), code }
            }
            Failure::PipeClosed => Failure::PipeClosed,
        }
    }

    /// Says first what was done all the same; the exit code stays.
    pub(crate) fn but(self, done: impl fmt::Display) -> Failure {
        match self {
            Failure::Reported { message, hint, code } => {
                Failure::Reported { message: format!("{done}: {message}"), hint, code }
            }
            Failure::PipeClosed => Failure::PipeClosed,
        }
    }

    /// What happened, without the hint.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Reported { message, .. } => message.clone(),
            Failure::PipeClosed => self.to_string(),
        }
    }

    /// The exit code of the process.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Reported { code, .. } => *code,
            Failure::PipeClosed => 0,
        }
    }

    /// Whether no daemon answered (another source of the same facts may be).
    pub(crate) fn is_no_daemon(&self) -> bool {
        self.code() == CODE_NO_DAEMON
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Reported { message, hint: None, .. } => f.write_str(message),
            Failure::Reported { message, hint: Some(hint), .. } => write!(f, "{message}\n  {hint}"),
            Failure::PipeClosed => f.write_str("standard output was closed"),
        }
    }
}

/// The text of an I/O error without the number that Rust appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

/// Turns an error of writing to standard output into a failure, quietly when the reader has gone.
pub(crate) fn output(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::PipeClosed
    } else {
        Failure::new(format!("cannot write to standard output: {}", plain(&error)))
    }
}
