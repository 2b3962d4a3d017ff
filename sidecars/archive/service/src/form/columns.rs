//! The columns of the index as text: JSON lines and CSV. Numbers that stand for names are written as names.

use std::io::Write;

use fep_catalogue::Quality;
use fep_record::{BadReason, FrameFlags, Session};
use fep_time::{AsciiForm, LeapSeconds, Tai};

use super::{Form, Written};
use crate::retrieval::{Columns, Error, Kind, Row};

/// What a column's number is called in text.
enum Text {
    Number(i64),
    Truth(bool),
    Word(String),
    Nothing,
}

/// The columns of a row as text.
pub(super) struct Texts {
    columns: Columns,
    octets: bool,
    leap_seconds: LeapSeconds,
}

impl Texts {
    pub(super) fn new(columns: &Columns, octets: bool) -> Texts {
        Texts { columns: columns.clone(), octets, leap_seconds: LeapSeconds::builtin() }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let octets = self.octets.then_some("octets");
        ["colour", "ring"].into_iter().chain(self.columns.names.iter().copied()).chain(octets)
    }

    fn text(&self, row: &Row, column: usize) -> Text {
        let Some(number) = row.get(column) else { return Text::Nothing };
        match (self.columns.names[column], self.columns.kinds[column]) {
            ("session", _) => {
                let session = u8::try_from(number).ok().and_then(Session::from_u8);
                Text::Word(session.map_or_else(|| number.to_string(), |session| session.name().to_owned()))
            }
            ("quality", _) => {
                let quality = i32::try_from(number).ok().and_then(Quality::from_number);
                Text::Word(
                    quality
                        .map_or_else(|| number.to_string(), |quality| format!("{quality:?}").to_lowercase()),
                )
            }
            ("reason", _) => {
                let reason = u8::try_from(number).ok().and_then(BadReason::from_u8);
                Text::Word(reason.map_or_else(|| number.to_string(), |reason| reason.name().to_owned()))
            }
            ("flags", _) => Text::Word(FrameFlags(number as u16).names().collect::<Vec<_>>().join(" ")),
            // From the nanoseconds: the column of the index is cut to microseconds.
            ("rx_utc", _) => match self.leap_seconds.utc(Tai(row.number(self.columns.rx))) {
                Ok(utc) => Text::Word(utc.to_ascii(AsciiForm::A, 9)),
                Err(_) => Text::Nothing,
            },
            // XXH3 is a bit pattern: as a signed decimal nobody would know it again.
            ("digest", _) => Text::Word(format!("{number:016x}")),
            (_, Kind::Bool) => Text::Truth(number != 0),
            _ => Text::Number(number),
        }
    }
}

fn hexadecimal(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for octet in octets {
        out.push(DIGITS[usize::from(octet >> 4)]);
        out.push(DIGITS[usize::from(octet & 15)]);
    }
}

/// JSON lines.
pub(super) struct JsonLines(pub(super) Texts);

impl Form for JsonLines {
    fn unit(&mut self, unit: &Written<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let form = |error: std::io::Error| Error::Form { form: "jsonl", problem: error.to_string() };
        // Words are names of this program and of rings: nothing in them needs escaping.
        write!(out, "{{\"colour\":\"{}\",\"ring\":\"{}\"", unit.colour, unit.ring).map_err(form)?;
        for (column, name) in self.0.columns.names.iter().enumerate() {
            match self.0.text(unit.row, column) {
                Text::Number(number) => write!(out, ",\"{name}\":{number}"),
                Text::Truth(truth) => write!(out, ",\"{name}\":{truth}"),
                Text::Word(word) => write!(out, ",\"{name}\":\"{word}\""),
                Text::Nothing => write!(out, ",\"{name}\":null"),
            }
            .map_err(form)?;
        }
        if self.0.octets {
            out.extend_from_slice(b",\"octets\":\"");
            hexadecimal(unit.octets, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn wants_octets(&self) -> bool {
        self.0.octets
    }
}

/// Comma-separated values (RFC 4180).
pub(super) struct Csv(pub(super) Texts);

impl Form for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(self.0.names().collect::<Vec<_>>().join(",").as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn unit(&mut self, unit: &Written<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let form = |error: std::io::Error| Error::Form { form: "csv", problem: error.to_string() };
        write!(out, "{},{}", unit.colour, unit.ring).map_err(form)?;
        for column in 0..self.0.columns.names.len() {
            match self.0.text(unit.row, column) {
                Text::Number(number) => write!(out, ",{number}"),
                Text::Truth(truth) => write!(out, ",{truth}"),
                Text::Word(word) => write!(out, ",{word}"),
                Text::Nothing => write!(out, ","),
            }
            .map_err(form)?;
        }
        if self.0.octets {
            out.push(b',');
            hexadecimal(unit.octets, out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn wants_octets(&self) -> bool {
        self.0.octets
    }
}
