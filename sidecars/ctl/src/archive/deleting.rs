//! `fepctl archive segments`, `delete`, `deletions`: what is recorded, and what is asked to be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::Args;
use fep_client::blocking::Client;
use fep_client::model::archive::{Colour, Deletion, DeletionState, Due, NewDeletion, Segment};
use fep_client::{Query, Verbatim, api};
use sha2::{Digest, Sha256};

use super::args::PlainArgs;
use super::holding::print_those;
use super::{archive, select};
use crate::failure::{Failure, output};
use crate::service::Reached;
use crate::terminal::{self, print, say};
use crate::{figures, times};

/// Most segments that the service lists at once.
const LIST_MAX: usize = 100_000;
/// Segments that a page lists one by one; the SHA-256 covers all.
const LISTED: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct SegmentsArgs {
    /// With records received at or after, in UTC
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    from: Option<String>,
    /// With records received before
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// With records of the last so many seconds (s), minutes (m), hours (h) or days (d), as 10m
    #[arg(long, value_name = "TIME")]
    last: Option<String>,
    /// With records of this spacecraft
    #[arg(long)]
    scid: Option<u16>,
    /// Recorded from this ring, as npp.frames
    #[arg(long)]
    ring: Option<String>,
    /// black or red
    #[arg(long)]
    colour: Option<Colour>,
    /// ok, quarantined or deleted
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Those that the rules of keeping do not keep any longer, with the holds that keep them nevertheless
    #[arg(long, conflicts_with_all = ["from", "to", "last", "scid", "ring", "colour", "state", "limit"])]
    due: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Names of segments (`fepctl archive segments`)
    #[arg(required_unless_present = "due")]
    segments: Vec<String>,
    /// Those that the rules of keeping do not keep any longer and that no hold covers
    #[arg(long, conflicts_with = "segments")]
    due: bool,
    /// Why; the approver reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeletionsArgs {
    /// Only this one, with all that an approver looks at
    id: Option<String>,
    /// Also those that are over
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

/// `fepctl archive segments`
pub(crate) fn segments(args: &SegmentsArgs) -> Result<(), Failure> {
    let client = args.plain.target.client()?;
    if args.due {
        let due: Verbatim<Vec<Due>> = client.call(&api::archive::retention().answering()).map_err(archive)?;
        return print(args.plain.json, &due, |out| due_list(out, &due));
    }
    let from = match &args.last {
        Some(last) => Some(select::last_span(last)?.0),
        None => args.from.clone(),
    };
    let query = Query::new()
        .with("from", from)
        .with("to", args.to.as_ref())
        .with("scid", args.scid)
        .with("ring", args.ring.as_ref())
        .with("colour", args.colour)
        .with("state", args.state.as_ref())
        .with("limit", Some(args.limit));
    let call = api::archive::segments(&query).answering();
    let found: Verbatim<Vec<Segment>> = client.call(&call).map_err(archive)?;
    print(args.plain.json, &found, |out| {
        if found.is_empty() {
            return writeln!(out, "no segment");
        }
        segment_list(out, "", found.iter())
    })?;
    if found.len() == args.limit as usize && !args.plain.json {
        say!("fepctl: the first {}; --limit gives more", found.len());
    }
    Ok(())
}

fn segment_list<'s>(
    out: &mut impl Write,
    indent: &str,
    segments: impl Iterator<Item = &'s Segment>,
) -> io::Result<()> {
    writeln!(
        out,
        "{indent}{:<20} {:<20} {:>9} {:>11} STATE",
        "FIRST (UTC)", "LAST (UTC)", "RECORDS", "OCTETS"
    )?;
    for segment in segments {
        let time = |at: Option<fep_time::Tai>| at.map_or_else(|| "-".to_owned(), |at| times::utc(at.0, 0));
        writeln!(
            out,
            "{indent}{:<20} {:<20} {:>9} {:>11} {}",
            time(segment.first_rx_tai_ns),
            time(segment.last_rx_tai_ns),
            figures::grouped(segment.records),
            figures::octets(segment.file_octets),
            segment.state
        )?;
        writeln!(out, "{indent}  {}", segment.id)?;
    }
    Ok(())
}

fn due_list(out: &mut impl Write, due: &[Due]) -> io::Result<()> {
    if due.is_empty() {
        return writeln!(out, "the rules keep every segment");
    }
    writeln!(out, "{:<20} {:<20} HOLDS", "LAST (UTC)", "CLASS")?;
    for one in due {
        let holds = if one.holds.is_empty() { "none".to_owned() } else { one.holds.join(", ") };
        writeln!(out, "{:<20} {:<20} {holds}", times::utc(one.last_rx_tai_ns.0, 0), one.class)?;
        writeln!(out, "  {}", one.segment)?;
    }
    Ok(())
}

/// `fepctl archive delete`
pub(crate) fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    let client = args.plain.target.client()?;
    let segments = if args.due {
        let due = client.call(&api::archive::retention()).map_err(archive)?;
        due.into_iter().filter(|one| one.holds.is_empty()).map(|one| one.segment).collect()
    } else {
        args.segments.clone()
    };
    if segments.is_empty() {
        return Err(Failure::new("no segment is due that no hold covers"));
    }
    let new = NewDeletion { segments, reason: args.reason.clone() };
    let call = api::archive::request_deletion(&new).answering();
    let asked: Verbatim<Deletion> = client.call(&call).map_err(archive)?;
    print(args.plain.json, &asked, |out| {
        let (id, count) = (&asked.id, asked.segments.len());
        writeln!(out, "{id} asks for the deletion of {}", figures::counted(count, "segment", "segments"))?;
        writeln!(out, "another person approves it: fepctl archive approve {id}")
    })
}

/// `fepctl archive deletions`
pub(crate) fn deletions(args: &DeletionsArgs) -> Result<(), Failure> {
    let client = args.plain.target.client()?;
    let call = api::archive::deletions().answering();
    let deletions: Verbatim<Vec<Deletion>> = client.call(&call).map_err(archive)?;
    if let Some(id) = &args.id {
        let at = deletions.iter().position(|deletion| deletion.id == *id);
        let at = at.ok_or_else(|| Failure::new(format!("there is no deletion called {id}")))?;
        let known = Known::of(&client, &deletions[at])?;
        return print(args.plain.json, &deletions.json[at], |out| deletion_page(out, &deletions[at], &known));
    }
    let is_open = |state: DeletionState| state.is_open() || state == DeletionState::Executing;
    let shown = |deletion: &Deletion| args.all || is_open(deletion.state);
    if args.plain.json {
        return print_those(&deletions.json, deletions.iter().map(shown));
    }
    let mut out = terminal::text_out();
    let written = deletion_list(&mut out, deletions.iter().filter(|deletion| shown(deletion)));
    written.and_then(|()| out.flush()).map_err(output)
}

fn deletion_list<'d>(out: &mut impl Write, deletions: impl Iterator<Item = &'d Deletion>) -> io::Result<()> {
    let mut deletions = deletions.peekable();
    if deletions.peek().is_none() {
        return writeln!(out, "no deletion waits");
    }
    writeln!(
        out,
        "{:<12} {:<20} {:<9} {:>8} ASKED BY, REASON",
        "DELETION", "ASKED (UTC)", "STATE", "SEGMENTS"
    )?;
    for deletion in deletions {
        let Deletion { id, state, requester, reason, .. } = deletion;
        let asked = times::utc(deletion.requested_tai_ns.0, 0);
        writeln!(out, "{id:<12} {asked:<20} {state:<9} {:>8} {requester}", deletion.segments.len())?;
        writeln!(out, "{:<12} {reason}", "")?;
    }
    Ok(())
}

/// What the catalogue knows of the segments of a deletion.
pub(crate) struct Known {
    segments: BTreeMap<String, Segment>,
    /// Spacecraft of which they hold something.
    scids: BTreeSet<u16>,
}

impl Known {
    /// Asks the service: one list for each ring, and one for each ring and spacecraft.
    pub(crate) fn of(client: &Client, deletion: &Deletion) -> Result<Known, Failure> {
        let wanted: BTreeSet<&str> = deletion.segments.iter().map(String::as_str).collect();
        // A segment is called COLOUR/RING/SERIES-POSITION.
        let rings: BTreeSet<(&str, &str)> = wanted
            .iter()
            .filter_map(|id| {
                let mut parts = id.split('/');
                Some((parts.next()?, parts.next()?))
            })
            .collect();
        let list = |colour: &str, ring: &str, scid: Option<u16>| {
            let query = Query::new()
                .with("colour", Some(colour))
                .with("ring", Some(ring))
                .with("scid", scid)
                .with("limit", Some(LIST_MAX));
            let found = client.call(&api::archive::segments(&query)).map_err(archive)?;
            Ok::<_, Failure>(found.into_iter().filter(|one| wanted.contains(one.id.as_str())))
        };
        let channels = client.call(&api::archive::channels()).map_err(archive)?;
        let all: BTreeSet<u16> = channels.iter().map(|channel| channel.scid).collect();
        let (mut segments, mut scids) = (BTreeMap::new(), BTreeSet::new());
        for (colour, ring) in rings {
            segments.extend(list(colour, ring, None)?.map(|one| (one.id.clone(), one)));
            for scid in &all {
                if list(colour, ring, Some(*scid))?.next().is_some() {
                    scids.insert(*scid);
                }
            }
        }
        Ok(Known { segments, scids })
    }
}

/// What an approver of a deletion looks at.
pub(crate) fn deletion_page(out: &mut impl Write, deletion: &Deletion, known: &Known) -> io::Result<()> {
    let found = known.segments.values();
    let octets: u64 = found.clone().map(|segment| segment.file_octets).sum();
    let records: u64 = found.clone().map(|segment| segment.records).sum();
    let first = found.clone().filter_map(|segment| segment.first_rx_tai_ns).min();
    let last = found.clone().filter_map(|segment| segment.last_rx_tai_ns).max();
    let scids: Vec<String> = known.scids.iter().map(u16::to_string).collect();
    let time = |at: Option<fep_time::Tai>| at.map_or_else(|| "-".to_owned(), |at| times::utc(at.0, 0));
    let count = deletion.segments.len();
    writeln!(out, "{}: delete {}", deletion.id, figures::counted(count, "segment", "segments"))?;
    writeln!(out, "  on disk     {} in {} records", figures::octets(octets), figures::grouped(records))?;
    let scids = if scids.is_empty() { "none that is known".to_owned() } else { scids.join(", ") };
    writeln!(out, "  spacecraft  {scids}")?;
    writeln!(out, "  received    {} to {}", time(first), time(last))?;
    writeln!(out, "  asked by    {}, {}", deletion.requester, times::utc(deletion.requested_tai_ns.0, 0))?;
    writeln!(out, "  reason      {}", deletion.reason)?;
    let valid = deletion.expires_tai_ns.map(|at| format!(", valid until {}", times::utc(at.0, 0)));
    writeln!(out, "  state       {}{}", deletion.state, valid.unwrap_or_default())?;
    if let Some((at, person)) = &deletion.decided {
        writeln!(out, "  decided by  {person}, {}", times::utc(at.0, 0))?;
    }
    if !deletion.note.is_empty() {
        writeln!(out, "  note        {}", deletion.note)?;
    }
    if !known.segments.is_empty() {
        segment_list(out, "  ", known.segments.values().take(LISTED))?;
        more(out, deletion, known.segments.len())?;
    }
    let unknown = deletion.segments.iter().filter(|id| !known.segments.contains_key(*id));
    let not_listed = unknown.clone().count();
    if not_listed > 0 {
        writeln!(out, "  of these the catalogue knows nothing but the names:")?;
        for id in unknown.take(LISTED) {
            writeln!(out, "    {id}")?;
        }
        more(out, deletion, not_listed)?;
    }
    match &deletion.content_sha256 {
        Some(sha256) => writeln!(out, "  sha256      {sha256}"),
        None => writeln!(out, "  of a release without orders: it cannot be approved, ask again"),
    }
}

/// How many segments are not listed, and where they are.
fn more(out: &mut impl Write, deletion: &Deletion, count: usize) -> io::Result<()> {
    match count.saturating_sub(LISTED) {
        0 => Ok(()),
        more => {
            writeln!(out, "    and {more} more: fepctl archive deletions {} --json names all", deletion.id)
        }
    }
}

/// SHA-256 of the names of segments as a deletion is bound to them.
pub(crate) fn content_of(segments: &[String]) -> String {
    let mut hasher = Sha256::new();
    for segment in segments {
        hasher.update(segment.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-157
    #[test]
    fn a_deletion_is_bound_to_the_names_of_its_segments_one_a_line() {
        // printf 'black/a.frames/1-0\nblack/a.frames/1-1\n' | sha256sum
        let expected = "a9b8bf48754f0f876e7e83a23d7902abc9eb37dd7ddac315ab00460459a7eb00";
        assert_eq!(content_of(&["black/a.frames/1-0".to_owned(), "black/a.frames/1-1".to_owned()]), expected);
    }
}
