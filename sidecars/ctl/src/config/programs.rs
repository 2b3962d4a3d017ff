//! Files that other programs of the set read: each of these programs checks what it would start with, by `--check`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fep_config::Source;
use serde_json::json;

use super::kind::{self, ReadAs};
use crate::cli::ConfigKind;
use crate::failure::{Failure, output};
use crate::programs::find_program;
use crate::terminal;

/// What of the file of the archive belongs to one program alone.
const OWN_TABLES: [(&str, &[&str]); 3] = [
    ("fep-recorder", &["recorder"]),
    ("fep-archive", &["http", "store", "sql", "replay", "retention"]),
    ("fep-feeds", &["feeding", "feeds"]),
];

/// What a program says of a file.
enum Said {
    /// What it says of a file without mistakes.
    Good(String),
    /// Why its start would end.
    Refused(String),
    /// It does not exist on this machine, or cannot be started: why.
    Missing(String),
}

/// Has every program that reads the file check it.
///
/// # Errors
/// One refuses it, or cannot be asked.
pub(super) fn check(file: &Path, read_as: ReadAs, as_json: bool) -> Result<(), Failure> {
    let name = file.display();
    // Before others are asked: what cannot be read is no matter of any of them.
    let text = Source::read(file).map_err(|errors| Failure::new(errors.to_string()))?.text;
    let readers = match read_as.kind {
        ConfigKind::Identity => vec!["fep-identity"],
        _ => archive_readers(&text),
    };
    let said: Vec<(&str, Said)> = readers.into_iter().map(|program| (program, ask(program, file))).collect();
    let mut out = terminal::out(as_json);
    let written = if as_json {
        let checks = said.iter().map(|(program, said)| match said {
            Said::Good(text) => json!({"program": program, "state": "good", "text": text}),
            Said::Refused(text) => json!({"program": program, "state": "refused", "text": text}),
            Said::Missing(text) => json!({"program": program, "state": "missing", "text": text}),
        });
        let answer = json!({"file": name.to_string(), "kind": kind::name(read_as.kind), "checks": checks.collect::<Vec<_>>()});
        writeln!(out, "{answer}")
    } else {
        said.iter().try_for_each(|(program, said)| match said {
            Said::Good(text) | Said::Refused(text) => writeln!(out, "{program}: {text}"),
            Said::Missing(_) => Ok(()),
        })
    };
    written.and_then(|()| out.flush()).map_err(output)?;
    drop(out);
    verdict(file, read_as, &said)
}

/// What all of them together say.
fn verdict(file: &Path, read_as: ReadAs, said: &[(&str, Said)]) -> Result<(), Failure> {
    let name = file.display();
    let those = |is_meant: fn(&Said) -> bool| -> Vec<&str> {
        said.iter().filter(|(_, said)| is_meant(said)).map(|(program, _)| *program).collect()
    };
    let refused = those(|said| matches!(said, Said::Refused(_)));
    if !refused.is_empty() {
        let (by, as_what) = (refused.join(" and "), kind::in_words(read_as.kind));
        let failure = Failure::new(format!("{name} is refused by {by}, read as {as_what}"));
        return Err(match read_as.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
    let missing: Vec<&str> = said
        .iter()
        .filter_map(|(_, said)| match said {
            Said::Missing(why) => Some(why.as_str()),
            _ => None,
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let checks: Vec<String> = those(|said| matches!(said, Said::Missing(_)))
        .iter()
        .map(|program| format!("`{program} --config {name} --check`"))
        .collect();
    Err(Failure::new(format!("{name} is not checked: {}", missing.join("; ")))
        .hint(format!("where it is installed: {}", checks.join(", then "))))
}

/// The programs that read this file of the archive. One with shared sections alone is read by those that always run.
fn archive_readers(text: &str) -> Vec<&'static str> {
    let tables = kind::tables(text);
    let has = |own: &&[&str]| own.iter().any(|own| tables.contains(own));
    let readers: Vec<&str> =
        OWN_TABLES.iter().filter(|(_, own)| has(own)).map(|(program, _)| *program).collect();
    if readers.is_empty() { vec!["fep-recorder", "fep-archive"] } else { readers }
}

fn ask(program: &str, file: &Path) -> Said {
    let found = match find_program(program) {
        Ok(found) => found,
        Err(failure) => return Said::Missing(failure.message()),
    };
    match answer(&found, file) {
        Ok((true, said, _)) => Said::Good(said),
        // It begins with its name, as every message of a program does.
        Ok((false, _, said)) => {
            Said::Refused(said.strip_prefix(&format!("{program}: ")).unwrap_or(&said).to_owned())
        }
        Err(error) => Said::Missing(format!("{} cannot be started: {error}", found.display())),
    }
}

/// Whether the program takes the file, what it prints, and what it reports.
fn answer(program: &PathBuf, file: &Path) -> io::Result<(bool, String, String)> {
    let mut command = Command::new(program);
    command.arg("--config").arg(file).arg("--check").stdin(Stdio::null());
    let answer = command.output()?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end().to_owned();
    Ok((answer.status.success(), text(&answer.stdout), text(&answer.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-173
    #[test]
    fn a_file_of_the_archive_is_checked_by_the_programs_whose_sections_it_has() {
        for (text, readers) in [
            (
                include_str!("../../../../config/archive.toml"),
                &["fep-recorder", "fep-archive", "fep-feeds"][..],
            ),
            ("[archive]\nsegments = \"/x\"\n", &["fep-recorder", "fep-archive"]),
            ("[archive]\n[http]\nserve_red = true\n", &["fep-archive"]),
            ("[[retention.rules]]\n", &["fep-archive"]),
            ("[archive]\n[recorder]\n", &["fep-recorder"]),
            ("[feeds.one]\nform = \"raw\"\n", &["fep-feeds"]),
        ] {
            assert_eq!(archive_readers(text), readers, "{text}");
        }
    }
}
