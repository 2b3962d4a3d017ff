//! A password: typed at a terminal without echo, or the first line of standard input, for programs that ask an operator.

use std::io::{BufRead, IsTerminal, Read, Stdin, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Most octets of a line.
const LINE_MAX: u64 = 4096;

/// What the password is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is known already: a typing mistake is refused by whoever knows it.
    Known,
    /// It becomes the password: at a terminal it is typed twice.
    New,
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The terminal does not take the mode without echo.
    #[error("the terminal cannot be read without echo: {0}")]
    Echo(rustix::io::Errno),
    /// Standard input cannot be read, or is no text.
    #[error("the password cannot be read: {0}")]
    Read(std::io::Error),
    /// Standard input ended before a line.
    #[error("the password cannot be read: the input has ended")]
    Ended,
    /// More than 4096 octets.
    #[error("the password cannot be read: the line is longer than {LINE_MAX} octets")]
    TooLong,
    /// What was typed the second time is not what was typed first.
    #[error("the two passwords differ")]
    Differ,
}

/// Reads a password.
///
/// # Errors
/// [`Error`]; the terminal has its former mode again in every case.
pub fn read(entry: Entry) -> Result<String, Error> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return line();
    }
    let _silent = Silent::begin(&input)?;
    let first = ask("password: ")?;
    if entry == Entry::New && ask("once more: ")? != first {
        return Err(Error::Differ);
    }
    Ok(first)
}

/// The terminal without echo; with echo again once it is dropped.
struct Silent<'a> {
    input: &'a Stdin,
    before: Termios,
}

impl Silent<'_> {
    fn begin(input: &Stdin) -> Result<Silent<'_>, Error> {
        let before = tcgetattr(input).map_err(Error::Echo)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(input, OptionalActions::Flush, &silent).map_err(Error::Echo)?;
        Ok(Silent { input, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that has gone needs no mode.
        let _ = tcsetattr(self.input, OptionalActions::Flush, &self.before);
    }
}

fn ask(prompt: &str) -> Result<String, Error> {
    eprint!("{prompt}");
    // A prompt that cannot be shown is no reason not to read.
    let _ = std::io::stderr().flush();
    let typed = line();
    eprintln!();
    typed
}

/// One line without its end.
fn line() -> Result<String, Error> {
    let mut text = String::new();
    // One more, so that a line that is too long is not taken for a shorter one.
    let mut input = std::io::stdin().lock().take(LINE_MAX + 1);
    match input.read_line(&mut text).map_err(Error::Read)? {
        0 => Err(Error::Ended),
        octets if octets as u64 > LINE_MAX => Err(Error::TooLong),
        _ => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
    }
}
