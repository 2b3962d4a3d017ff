//! `fepctl archive get`: a file and its manifest, resumed where it broke off, checked at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_client::blocking::Client;
use fep_client::header::{CONTENT_LENGTH, ETAG, IF_RANGE, RANGE};
use fep_client::model::archive::Manifest;
use fep_client::{Call, Error, Method, Octets, StatusCode, Verbatim, api};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::archive;
use super::args::GetArgs;
use super::select::{length_is_known, retrieval};
use crate::failure::{Failure, output};
use crate::service::Reached;
use crate::terminal::{self, say};
use crate::{figures, output_file};

/// Runs the command.
pub(crate) fn run(args: &GetArgs) -> Result<(), Failure> {
    let wanted = retrieval(args.unit, &args.selection, Some(&args.format), args.octets, args.limit)?;
    let unit = wanted.unit;
    let (unit_name, query) = (unit.to_string(), wanted.to_string());
    let call = api::archive::retrieve(&unit_name, &query);
    if args.out.exists() && !args.force {
        return Err(Failure::usage(format!("{} exists", args.out.display())).hint("--force writes over it"));
    }
    crate::signals::end_at_once()?;
    let client = args.target.client()?;
    let part = Part::of(&args.out);
    let length = if length_is_known(wanted.format) { length(&client, &call)? } else { None };
    let bar = bar(length);
    fetch(&client, call, &part, &bar)?;
    bar.set_message("checking");
    let manifest: Verbatim<Manifest> =
        client.call(&api::archive::manifest(&unit_name, &query).answering()).map_err(archive)?;
    let found = sha256_of(&part.file)?;
    bar.finish_and_clear();
    let promised = &manifest.sha256;
    if found != *promised {
        return Err(Failure::new(format!("{} is not what the manifest says: its SHA-256 is {found}, not {promised}", part.file.display()))
            .hint("what matches the query may have grown meanwhile (give --to), or it was damaged on the way: fetch it again"));
    }
    part.finish(&args.out)?;
    let beside = with_end(&args.out, ".manifest.json");
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
    output_file::write(&beside, text.as_bytes())?;
    let mut out = terminal::text_out();
    writeln!(
        out,
        "{} {unit}, {} to {}\nsha256 {found}, manifest {}",
        figures::grouped(manifest.units),
        figures::octets(manifest.octets),
        args.out.display(),
        beside.display()
    )
    .map_err(output)?;
    if !manifest.quarantined_segments.is_empty() {
        say!(
            "fepctl: {} segments that match are in quarantine: what they hold is missing here",
            manifest.quarantined_segments.len()
        );
    }
    if manifest.units == 0 {
        super::hint_of_nothing(&manifest);
    }
    super::whole(&manifest.incomplete)
}

/// A file that is being fetched, and the entity tag of what it is a part of.
struct Part {
    file: PathBuf,
    tag: PathBuf,
}

impl Part {
    fn of(out: &Path) -> Part {
        Part { file: with_end(out, ".part"), tag: with_end(out, ".part.etag") }
    }

    /// Octets that are here, and of which answer.
    fn here(&self) -> Option<(u64, String)> {
        // Only a file of its own is continued, never a link to another.
        let octets = fs::symlink_metadata(&self.file).ok().filter(fs::Metadata::is_file)?.len();
        let tag = fs::read_to_string(&self.tag).ok()?;
        (octets > 0 && !tag.is_empty()).then_some((octets, tag))
    }

    /// Begins the part anew. What stood in its place is removed, so that nothing that somebody planted there is opened.
    fn begin(&self) -> io::Result<File> {
        for old in [&self.file, &self.tag] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        OpenOptions::new().write(true).create_new(true).open(&self.file)
    }

    fn finish(&self, out: &Path) -> Result<(), Failure> {
        fs::rename(&self.file, out).map_err(|error| Failure::file("write", out, &error))?;
        // Of no more use; one that stays does no harm.
        let _ = fs::remove_file(&self.tag);
        Ok(())
    }
}

/// A part that is continued. It has been looked at: it is a file, no link.
fn append_to(part: &Path) -> io::Result<File> {
    let before = fs::symlink_metadata(part)?;
    let file = OpenOptions::new().append(true).open(part)?;
    let opened = file.metadata()?;
    if !before.is_file() || (before.dev(), before.ino()) != (opened.dev(), opened.ino()) {
        return Err(io::Error::other("it was replaced while it was opened"));
    }
    Ok(file)
}

/// How many octets will come, where the service says so beforehand.
fn length(client: &Client, call: &Call<Octets>) -> Result<Option<u64>, Failure> {
    match client.begin(&Call::<Octets>::new(Method::HEAD, call.path())) {
        Ok(reply) => {
            let headers = reply.headers();
            Ok(headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()))
        }
        // A HEAD has no body to say why: the GET has.
        Err(Error::Refused(_)) => client.begin(call).map(|_| None).map_err(archive),
        Err(error) => Err(archive(error)),
    }
}

fn fetch(client: &Client, call: Call<Octets>, part: &Part, bar: &ProgressBar) -> Result<(), Failure> {
    let (here, mut call) = (part.here(), call);
    if let Some((octets, tag)) = &here {
        call = call.header(RANGE, &format!("bytes={octets}-"))?.header(IF_RANGE, tag)?;
    }
    let mut reply = match client.begin(&call) {
        // Everything was here already: there is no octet after the last.
        Err(Error::Refused(refused))
            if here.is_some() && refused.status == StatusCode::RANGE_NOT_SATISFIABLE =>
        {
            return Ok(());
        }
        answered => answered.map_err(archive)?,
    };
    let write = |error: io::Error| Failure::file("write", &part.file, &error);
    let resumed = reply.status() == StatusCode::PARTIAL_CONTENT;
    let mut file = if resumed { append_to(&part.file) } else { part.begin() }.map_err(write)?;
    if let Some(tag) = reply.headers().get(ETAG).and_then(|tag| tag.to_str().ok()) {
        output_file::write(&part.tag, tag.as_bytes())?;
    }
    bar.set_position(if resumed { here.map_or(0, |(octets, _)| octets) } else { 0 });
    loop {
        let octets = reply.chunk().map_err(|error| {
            Failure::from(error)
                .hint("ask again: what was fetched is kept and resumed; the log of fep-archive says why")
        })?;
        let Some(octets) = octets else { return Ok(()) };
        file.write_all(&octets).map_err(write)?;
        bar.inc(octets.len() as u64);
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match length {
        Some(_) => "{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}",
        None => "{spinner} {bytes} {binary_bytes_per_sec} {msg}",
    };
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn sha256_of(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::file("read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(digest.finalize().iter().map(|octet| format!("{octet:02x}")).collect());
        }
        digest.update(&buffer[..read]);
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
