//! What may be shown on a terminal: whatever a file, a record or a daemon holds, it cannot command the terminal.
//!
//! Everything that commands print passes here. Line feeds and tabs are the commands' own; every other control character
//! (C0, DEL, C1) and those that turn the direction of the text around are written as escapes: `\u{1b}` in text, `\u001b` in
//! JSON, where they can only stand inside strings.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use crate::failure::{Failure, output};

/// How an escape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Text,
    Json,
}

/// Standard output for text.
pub(crate) fn text_out() -> Shown<StdoutLock<'static>> {
    Shown { inner: io::stdout().lock(), style: Style::Text }
}

/// Standard output for text or, if `json`, for JSON.
pub(crate) fn out(json: bool) -> Shown<StdoutLock<'static>> {
    Shown { inner: io::stdout().lock(), style: if json { Style::Json } else { Style::Text } }
}

/// Standard output for data in a form of its own, such as CSV: escaped where a terminal shows it, and as it is in a file or
/// a pipe.
pub(crate) fn data_out() -> Box<dyn Write> {
    if io::stdout().is_terminal() { Box::new(text_out()) } else { Box::new(io::stdout().lock()) }
}

/// An answer as JSON or as text.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print<T: Serialize + ?Sized>(
    as_json: bool,
    answer: &T,
    text: impl FnOnce(&mut Shown<StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = out(as_json);
    let written = if as_json {
        serde_json::to_writer_pretty(&mut out, answer).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        text(&mut out)
    };
    written.and_then(|()| out.flush()).map_err(output)
}

/// A line on standard error, as `eprintln!`.
macro_rules! say {
    ($($message:tt)*) => {
        eprintln!("{}", $crate::terminal::shown(&format!($($message)*)))
    };
}
pub(crate) use say;

/// The text as it may be shown.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(text, Style::Text, &mut out);
    out
}

/// A writer that escapes what could command a terminal. Each write holds whole characters, as `write!` makes them; octets
/// that are no UTF-8 become U+FFFD.
pub(crate) struct Shown<W> {
    inner: W,
    style: Style,
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let plain = |octet: &u8| matches!(octet, b'\n' | b'\t' | b' '..=b'~');
        if octets.iter().all(plain) {
            return self.inner.write(octets);
        }
        let mut out = String::with_capacity(octets.len() + 16);
        for chunk in octets.utf8_chunks() {
            escape_into(chunk.valid(), self.style, &mut out);
            if !chunk.invalid().is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.inner.write_all(out.as_bytes())?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn escape_into(text: &str, style: Style, out: &mut String) {
    for character in text.chars() {
        if !commands(character) {
            out.push(character);
            continue;
        }
        // Writing to a string does not fail. None of these characters needs a surrogate pair.
        let _ = match style {
            Style::Text => write!(out, "{}", character.escape_unicode()),
            Style::Json => write!(out, "\\u{:04x}", u32::from(character)),
        };
    }
}

/// Control characters, and those that turn the direction of the text around.
fn commands(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(style: Style, octets: &[u8]) -> String {
        let mut out = Shown { inner: Vec::new(), style };
        out.write_all(octets).expect("a vector takes everything");
        String::from_utf8(out.inner).expect("text")
    }

    // REQ: FEP-CTL-106
    #[test]
    fn nothing_that_commands_a_terminal_passes_and_everything_else_does() {
        assert_eq!(shown("a\u{1b}[2J\u{7f}\u{9b}\u{202e}é\n\t…"), "a\\u{1b}[2J\\u{7f}\\u{9b}\\u{202e}é\n\t…");
        assert_eq!(written(Style::Text, b"a\x1bb\xff\n"), "a\\u{1b}b\u{fffd}\n");
        let json = serde_json::to_string(&"\u{1b}\u{7f}\u{9b}\u{2066}x").expect("JSON");
        let safe = written(Style::Json, json.as_bytes());
        assert!(safe.is_ascii(), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), "\u{1b}\u{7f}\u{9b}\u{2066}x");
    }
}
