//! What roots, heads and records of removal say of an archive, held against what lies there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use fep_bus::Colour;

use crate::audit;
use crate::error::SegmentError;
use crate::footer::Footer;
use crate::keys::hex;
use crate::name::SegmentName;
use crate::removals::{Act, Recorded};
use crate::roots::{
    FORMAT, Head, HeadEntry, Root, RootEntry, day_of, day_of_file, future_roots, head_file, read_head,
    read_root, root_files, sealing_days,
};
use crate::seal::footer_of;
use crate::settled::{list_settled, read_where_it_is};
use crate::tree::{SegmentState, streams};

/// Days that a recorder may be behind with signing: the one that runs, and the one whose end it has just seen.
const SIGNED_WITHIN_DAYS: i64 = 1;

/// What the verifier knows from elsewhere. What is not known is taken from the archive itself and proves less.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The public key that signs the days.
    pub root_key: Option<[u8; 32]>,
    /// The public key that signs records of removal.
    pub removal_key: Option<[u8; 32]>,
    /// A head that was copied elsewhere.
    pub head: Option<Head>,
    /// How many days are signed at least.
    pub days: Option<u64>,
    /// What time it is, nanoseconds of UTC since 1970. Sealing times that have not come count for nothing.
    pub now_unix_ns: Option<u64>,
}

/// What verifying one root found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootVerdict {
    /// The file.
    pub path: PathBuf,
    /// Its day, if it can be read.
    pub day: Option<String>,
    /// Segments it names.
    pub segments: usize,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// What is found about the archive as a whole.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) roots: Vec<RootVerdict>,
    pub(crate) problems: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) unpinned: Vec<&'static str>,
    pub(crate) unsigned: u64,
}

/// Sealed and removed segments, by stream and name.
struct Present {
    segments: BTreeMap<(String, SegmentName), Footer>,
}

impl Present {
    fn read(archive: &Path) -> Result<Present, SegmentError> {
        let mut segments = BTreeMap::new();
        for stream in streams(archive)? {
            for entry in list_settled(archive, &stream)? {
                match read_where_it_is(archive, &stream, &entry, footer_of) {
                    Ok(Some((_, Some(footer)))) => {
                        segments.insert((stream.to_string(), entry.name), footer);
                    }
                    Ok(Some((_, None)) | None) => {}
                    // Verification of the segment itself reports it.
                    Err(error) if error.condemned().is_some() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Present { segments })
    }

    /// On which day each counts as sealed.
    fn days(&self) -> Vec<NaiveDate> {
        sealing_days(self.segments.values())
    }

    /// What is wrong with a segment that somebody signed for.
    fn problem(&self, stream: &str, segment: SegmentName, chain: &str) -> Option<String> {
        match self.segments.get(&(stream.to_owned(), segment)) {
            Some(footer) if hex(&footer.chain) == chain => None,
            Some(_) => Some(format!("segment {segment} of {stream} has another chain hash")),
            None => Some(format!("segment {segment} of {stream} is gone")),
        }
    }
}

/// Judges the whole, and returns the records of removal too. That removed segments have their records is judged segment by segment
/// ([`is_accounted_for`]).
///
/// Recorder and service may go on meanwhile. So everything is read before what it speaks of: the head before the roots, the roots
/// before the records of removal and the segments. A root that is signed afterwards is not judged, what it names is unsigned.
pub(crate) fn judge(archive: &Path, expected: &Expected) -> Result<(Judged, Recorded), SegmentError> {
    let head = read_head(&head_file(archive));
    let files = root_files(archive)?;
    let read: Vec<_> = files.iter().map(|path| read_root(path)).collect();
    let recorded = Recorded::read(archive, expected.removal_key.as_ref())?;
    let present = Present::read(archive)?;
    let mut judged = Judged::default();
    let mut roots: Vec<Root> = Vec::new();
    for (path, read) in files.iter().zip(read) {
        let mut verdict = RootVerdict { path: path.clone(), day: None, segments: 0, problems: Vec::new() };
        match read {
            Ok(root) => {
                verdict.problems = judge_root(&root, path, expected, roots.last(), &present, &recorded);
                let before = roots.last().and_then(|root| root.audit.as_ref());
                verdict.problems.extend(audit::problem(archive, root.audit.as_ref(), before));
                if root.number.is_some_and(|number| number != judged.roots.len() as u64 + 1) {
                    let problem = format!("it is not day number {}", judged.roots.len() + 1);
                    verdict.problems.push(problem);
                }
                verdict.segments = root.segments.len();
                verdict.day = Some(root.day.clone());
                roots.push(root);
            }
            Err(error) => match error.condemned() {
                Some((_, problem)) => verdict.problems.push(problem),
                None => return Err(error),
            },
        }
        judged.roots.push(verdict);
    }
    judge_unnamed(&roots, &present, &mut judged);
    judge_last_day(&roots, &present, expected, &mut judged);
    judge_heads(archive, head, expected, &roots, &present, &mut judged)?;
    for path in future_roots(archive)? {
        judged.notes.push(format!("{}: a root of a day that had not come; it says nothing", path.display()));
    }
    for verdict in &recorded.verdicts {
        let lines = verdict.problems.iter();
        judged
            .problems
            .extend(lines.map(|problem| format!("record of removal {}: {problem}", verdict.path.display())));
    }
    if !roots.is_empty() && expected.root_key.is_none() {
        judged.unpinned.push("the key of the daily roots");
    }
    if recorded.count > 0 && expected.removal_key.is_none() {
        judged.unpinned.push("the key of the records of removal");
    }
    if expected.head.is_none() && expected.days.is_none() {
        judged.unpinned.push("the head");
    }
    Ok((judged, recorded))
}

fn judge_root(
    root: &Root,
    path: &Path,
    expected: &Expected,
    previous: Option<&Root>,
    present: &Present,
    recorded: &Recorded,
) -> Vec<String> {
    let mut problems = Vec::new();
    match root.format {
        1 if root.number.is_none() && root.removals.is_none() && root.audit.is_none() => {}
        2 if root.number.is_some() && root.removals.is_some() && root.audit.is_none() => {}
        FORMAT if root.number.is_some() && root.removals.is_some() => {}
        _ => problems.push(format!("format {} is not known; 1 to {FORMAT} are", root.format)),
    }
    if previous.is_some_and(|previous| previous.format > root.format) {
        problems.push("it is of an older format than the root before it".to_owned());
    }
    if day_of_file(path) != root.date() || root.date().is_none() {
        problems.push(format!("the file is named for another day than {}", root.day));
    }
    if root.previous != previous.map(|root| root.root.as_str()).unwrap_or_default() {
        problems.push("it does not continue the root before it".to_owned());
    }
    if let Some(before) = previous.and_then(Root::date)
        && before.checked_add_days(Days::new(1)) != root.date()
    {
        problems.push(format!("the day after {before} is missing before it"));
    }
    problems.extend(root.seal().problems(&root.text(), "root", expected.root_key.as_ref()));
    for RootEntry { stream, segment, chain } in &root.segments {
        problems.extend(present.problem(stream, *segment, chain));
    }
    if let Some(ends) = &root.removals {
        for (colour, end) in [(Colour::Black, &ends.black), (Colour::Red, &ends.red)] {
            if !recorded.reaches(colour, end) {
                problems.push(format!(
                    "{} {} records of removal existed when it was signed; they are not here any more, or others are",
                    end.count,
                    colour.directory()
                ));
            }
        }
    }
    problems
}

/// Segments that no root names: those behind the last signed day are not signed yet; others were added.
fn judge_unnamed(roots: &[Root], present: &Present, judged: &mut Judged) {
    let Some(last_day) = roots.iter().filter_map(Root::date).max() else {
        judged.unsigned = present.segments.len() as u64;
        return;
    };
    let mut named: HashSet<(&str, SegmentName)> = HashSet::new();
    let mut newest: HashMap<&str, SegmentName> = HashMap::new();
    for entry in roots.iter().flat_map(|root| &root.segments) {
        named.insert((&entry.stream, entry.segment));
        let newest = newest.entry(&entry.stream).or_insert(entry.segment);
        *newest = (*newest).max(entry.segment);
    }
    for (day, (stream, name)) in present.days().into_iter().zip(present.segments.keys()) {
        if named.contains(&(stream.as_str(), *name)) {
            continue;
        }
        if day <= last_day {
            let problem = format!(
                "segment {name} of {stream} was sealed on {day}, which is signed, and no root names it"
            );
            judged.problems.push(problem);
        } else if newest.get(stream.as_str()).is_some_and(|newest| name < newest) {
            let problem =
                format!("segment {name} of {stream} lies between signed ones, and no root names it");
            judged.problems.push(problem);
        } else {
            judged.unsigned += 1;
        }
    }
}

/// Whether days are signed up to about the newest sealed segment: the recorder signs a day soon after its end, at the latest
/// when it starts again.
fn judge_last_day(roots: &[Root], present: &Present, expected: &Expected, judged: &mut Judged) {
    let mut days = present.days();
    days.retain(|day| expected.now_unix_ns.is_none_or(|now_unix_ns| *day <= day_of(now_unix_ns)));
    let Some((first, newest)) = days.iter().min().copied().zip(days.iter().max().copied()) else { return };
    let last = roots.iter().filter_map(Root::date).max();
    if last.is_none() && expected.root_key.is_none() {
        judged.notes.push("no day is signed".to_owned());
        return;
    }
    let due_from = last.map_or(Some(first), |last| last.checked_add_days(Days::new(1)));
    if due_from.is_some_and(|due| (newest - due).num_days() > SIGNED_WITHIN_DAYS) {
        let last = last.map_or("none".to_owned(), |last| last.to_string());
        judged.problems.push(format!(
            "segments were sealed up to {newest}, and the last signed day is {last}: newer roots were taken away, or the \
             recorder could not sign (its events say so)"
        ));
    }
}

fn judge_heads(
    archive: &Path,
    read: Result<Head, SegmentError>,
    expected: &Expected,
    roots: &[Root],
    present: &Present,
    judged: &mut Judged,
) -> Result<(), SegmentError> {
    let mut heads: Vec<(&str, Head)> = Vec::new();
    if let Some(head) = &expected.head {
        heads.push(("the head that was given", head.clone()));
    }
    let path = head_file(archive);
    match read {
        Ok(head) => heads.push(("the head in the archive", head)),
        Err(error) if error.is_not_found() => {
            // The first root may have come out before its head, and it may have come out after it was looked for.
            let has_come = read_head(&path).is_ok();
            if !has_come && roots.iter().filter(|root| root.format > 1).count() > 1 {
                judged.problems.push(format!("{}: the head is missing", path.display()));
            }
        }
        Err(error) => match error.condemned() {
            Some((_, problem)) => judged.problems.push(format!("{}: {problem}", path.display())),
            None => return Err(error),
        },
    }
    for (what, head) in heads {
        let mut problems = head.problems(expected.root_key.as_ref());
        let index = head.days.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| roots.get(index)) {
            Some(root) if root.root == head.root && root.day == head.day => {}
            Some(root) => problems.push(format!(
                "day number {} was {} with another root; it is {} now",
                head.days, head.day, root.day
            )),
            None => problems.push(format!(
                "{} days were signed, up to {}; {} are left",
                head.days,
                head.day,
                roots.len()
            )),
        }
        for HeadEntry { stream, segment, chain, .. } in &head.streams {
            problems.extend(present.problem(stream, *segment, chain));
        }
        judged.problems.extend(problems.into_iter().map(|problem| format!("{what}: {problem}")));
    }
    if let Some(days) = expected.days.filter(|days| *days > roots.len() as u64) {
        judged.problems.push(format!("{days} days were signed at least; {} are left", roots.len()));
    }
    Ok(())
}

/// What is wrong with the state of a sealed or removed segment, and what is worth a note, given the last act on it.
pub(crate) fn is_accounted_for(
    state: SegmentState,
    act: Option<Act>,
) -> (Option<&'static str>, Option<&'static str>) {
    match (state, act) {
        (SegmentState::Removed, None) => {
            (Some("its octets are gone, and no signed record says who removed them"), None)
        }
        (SegmentState::Removed, Some(Act::Recalled)) => {
            (Some("its octets are gone, though they were brought back after their removal"), None)
        }
        (SegmentState::Removed, Some(Act::Found)) => {
            (None, Some("removed before records of removal were kept"))
        }
        (SegmentState::Sealed, Some(Act::Deleted)) => {
            (None, Some("deleted according to its record, and its octets are here (still, or again)"))
        }
        _ => (None, None),
    }
}
