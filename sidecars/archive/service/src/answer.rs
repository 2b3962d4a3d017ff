//! From a plan to octets: the whole answer, a part of it, its length, or its account.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use fep_archive_query::time_text;
use fep_catalogue::{Quality, SegmentId};
use fep_record::Session;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::form::{Written, form_of, how_to_read};
use crate::retrieval::{Error, Payload, Plan};

/// Octets handed on at a time.
const CHUNK: usize = 256 << 10;

/// What an answer held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Account {
    /// Units.
    pub units: u64,
    /// Octets of the whole answer.
    pub octets: u64,
    /// Reception of the first unit, TAI nanoseconds since 1958-01-01.
    pub first_rx_tai_ns: Option<i64>,
    /// Reception of the last unit.
    pub last_rx_tai_ns: Option<i64>,
    /// Copies by other antennas that were left out.
    pub copies_left_out: u64,
    /// Units by session.
    pub sessions: BTreeMap<String, u64>,
    /// Units by quality.
    pub qualities: BTreeMap<String, u64>,
    /// Units by ring.
    pub rings: BTreeMap<String, u64>,
    /// Units by `SCID/VCID`, of packets `SCID/VCID/APID`.
    pub channels: BTreeMap<String, u64>,
    /// Segments that were read from their copy in the object store because their file could not be used, and why.
    #[schema(value_type = BTreeMap<String, String>)]
    pub read_from_copy: BTreeMap<SegmentId, String>,
}

/// What a file of this answer is, for whoever finds it in twenty-five years.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Manifest {
    /// Version of this document.
    pub manifest_version: u32,
    /// Name proposed for the file.
    pub file: String,
    /// Form of the file.
    pub format: String,
    /// Its media type.
    pub media_type: String,
    /// SHA-256 of its octets, hexadecimal.
    pub sha256: String,
    /// What it holds.
    #[serde(flatten)]
    pub account: Account,
    /// The query that it answers, in canonical form.
    pub query: String,
    /// Frames or packets.
    pub unit: String,
    /// Entity tag of the answer that this describes.
    pub etag: String,
    /// Reception of the first unit in UTC.
    pub first_rx_utc: Option<String>,
    /// Reception of the last unit in UTC.
    pub last_rx_utc: Option<String>,
    /// Of an empty answer: other sessions, in which there are units that match.
    pub other_sessions: Vec<String>,
    /// Segments that match and are in quarantine: what they hold is missing here.
    #[schema(value_type = Vec<String>)]
    pub quarantined_segments: Vec<SegmentId>,
    /// Whether everything that was recorded and matches is in the answer: nothing is in quarantine, nothing in `incomplete`.
    pub complete: bool,
    /// What is missing and comes once it is indexed, in words.
    pub incomplete: Vec<String>,
    /// Segments that were read record by record because they are in no index yet.
    #[schema(value_type = Vec<String>)]
    pub read_without_index: Vec<SegmentId>,
    /// How to read the file.
    pub how_to_read: String,
    /// Program and version that made it.
    pub made_by: String,
}

/// The part of an answer that is wanted, and where it goes.
struct Cut<'s> {
    at: u64,
    from: u64,
    until: u64,
    buffer: Vec<u8>,
    sink: &'s mut dyn FnMut(&[u8]) -> bool,
    open: bool,
}

impl Cut<'_> {
    /// Hands on what of the buffer is wanted.
    fn flush(&mut self) {
        let (start, end) = (self.at, self.at + self.buffer.len() as u64);
        self.at = end;
        let from = start.max(self.from);
        let until = end.min(self.until);
        if from < until && self.open {
            let part = &self.buffer[(from - start) as usize..(until - start) as usize];
            self.open = (self.sink)(part);
        }
        self.buffer.clear();
    }

    /// Whether the next `len` octets lie before everything that is wanted.
    fn can_skip(&self, len: u64) -> bool {
        self.at + self.buffer.len() as u64 + len <= self.from
    }

    fn skip(&mut self, len: u64) {
        self.flush();
        self.at += len;
    }

    fn is_over(&self) -> bool {
        !self.open || self.at + self.buffer.len() as u64 >= self.until
    }
}

/// Writes octets `from..until` of the answer into `sink`, in pieces, until it says `false`. Units before are not read where
/// the form allows. Blocking; not on a thread of the runtime.
///
/// # Errors
/// Of index, segments or form. What was handed on before is right.
pub fn deliver(
    plan: &Plan,
    runtime: &Handle,
    from: u64,
    until: u64,
    sink: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Account, Error> {
    let columns = &plan.columns;
    let mut form = form_of(&plan.retrieval, columns);
    let (mut rows, mut octets) = (plan.rows(runtime), plan.octets(runtime.clone()));
    let mut account = Account::default();
    let mut cut = Cut { at: 0, from, until, buffer: Vec::with_capacity(CHUNK), sink, open: true };
    let mut tally = Tally::default();
    form.begin(&mut cut.buffer)?;
    while account.units < plan.retrieval.limit.unwrap_or(u64::MAX) && !cut.is_over() {
        let Some(found) = rows.next()? else { break };
        let (row, source) = (&found.row, &plan.sources[found.source]);
        account.units += 1;
        let rx = row.number(columns.rx);
        account.first_rx_tai_ns = Some(account.first_rx_tai_ns.map_or(rx, |first| first.min(rx)));
        account.last_rx_tai_ns = Some(account.last_rx_tai_ns.map_or(rx, |last| last.max(rx)));
        tally.add(plan, row, found.source);
        if let Some(len) = form.unit_len(row)
            && cut.can_skip(len)
        {
            cut.skip(len);
            continue;
        }
        let payload = if form.wants_octets() {
            match octets.of(source.colour, &source.ring, columns, row)? {
                Payload::Octets(octets, _) => octets,
                // The plan took only what was on disk: somebody removed it meanwhile.
                Payload::NotYet => {
                    return Err(Error::gone(source.colour, &source.ring, row.number(columns.seq)));
                }
            }
        } else {
            &[]
        };
        form.unit(
            &Written { row, colour: source.colour, ring: &source.ring, octets: payload },
            &mut cut.buffer,
        )?;
        if cut.buffer.len() >= CHUNK {
            cut.flush();
        }
    }
    if !cut.is_over() {
        form.end(&mut cut.buffer)?;
    }
    cut.flush();
    account.octets = cut.at;
    account.copies_left_out = rows.copies;
    account.read_from_copy.clone_from(octets.from_copies());
    tally.into_account(plan, &mut account);
    Ok(account)
}

/// Counts by small keys: cheap for a million rows.
#[derive(Default)]
struct Tally {
    sessions: BTreeMap<i64, u64>,
    qualities: BTreeMap<i64, u64>,
    sources: BTreeMap<usize, u64>,
    channels: BTreeMap<(i64, i64, Option<i64>), u64>,
}

impl Tally {
    fn add(&mut self, plan: &Plan, row: &crate::retrieval::Row, source: usize) {
        let at = &plan.columns;
        *self.sessions.entry(row.number(at.session)).or_default() += 1;
        *self.qualities.entry(row.number(at.quality)).or_default() += 1;
        *self.sources.entry(source).or_default() += 1;
        let apid = at.packet.map(|packet| row.number(packet.apid));
        *self.channels.entry((row.number(at.scid), row.number(at.vcid), apid)).or_default() += 1;
    }

    fn into_account(self, plan: &Plan, account: &mut Account) {
        let name_of = |number: i64, name: Option<String>| name.unwrap_or_else(|| number.to_string());
        account.sessions = named(self.sessions, |number| {
            let session = u8::try_from(number).ok().and_then(Session::from_u8);
            name_of(number, session.map(|session| session.name().to_owned()))
        });
        account.qualities = named(self.qualities, |number| {
            let quality = i32::try_from(number).ok().and_then(Quality::from_number);
            name_of(number, quality.map(|quality| format!("{quality:?}").to_lowercase()))
        });
        account.rings = named(self.sources, |source| plan.sources[source].ring.clone());
        account.channels = named(self.channels, |(scid, vcid, apid)| match apid {
            Some(apid) => format!("{scid}/{vcid}/{apid}"),
            None => format!("{scid}/{vcid}"),
        });
    }
}

fn named<K>(counts: BTreeMap<K, u64>, name: impl Fn(K) -> String) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(key, count)| (name(key), count)).collect()
}

/// Octets of the whole answer. Where the form allows, no segment is read for it. Blocking.
///
/// # Errors
/// As [`deliver`].
pub fn length(plan: &Plan, runtime: &Handle) -> Result<u64, Error> {
    // Everything lies before the end of the world: units whose length is known are skipped.
    Ok(deliver(plan, runtime, u64::MAX, u64::MAX, &mut |_| true)?.octets)
}

/// The manifest of the whole answer: makes it once and hashes it. Blocking.
///
/// # Errors
/// As [`deliver`].
pub fn manifest(plan: &Plan, runtime: &Handle) -> Result<Manifest, Error> {
    let mut digest = Sha256::new();
    let account = deliver(plan, runtime, 0, u64::MAX, &mut |octets| {
        digest.update(octets);
        true
    })?;
    let format = plan.retrieval.format;
    Ok(Manifest {
        manifest_version: 1,
        file: file_name(plan),
        format: format.name().to_owned(),
        media_type: format.media_type().to_owned(),
        sha256: digest.finalize().iter().map(|octet| format!("{octet:02x}")).collect(),
        query: plan.retrieval.to_string(),
        unit: plan.retrieval.unit.name().to_owned(),
        etag: plan.tag().to_owned(),
        first_rx_utc: account.first_rx_tai_ns.map(time_text),
        last_rx_utc: account.last_rx_tai_ns.map(time_text),
        other_sessions: if account.units == 0 { other_sessions(plan, runtime)? } else { Vec::new() },
        account,
        complete: plan.missing.is_empty() && plan.incomplete.is_empty(),
        incomplete: plan.incomplete.clone(),
        read_without_index: plan.read_without_index().cloned().collect(),
        quarantined_segments: plan.missing.clone(),
        how_to_read: how_to_read(format),
        made_by: concat!("fep-archive ", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// Names of the sessions that a plan leaves out and that hold units of its selection, as queries name them. Blocking.
fn other_sessions(plan: &Plan, runtime: &Handle) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for session in [Session::Ops, Session::Test, Session::Replay] {
        if !plan.retrieval.selection.session.contains(&session)
            && plan.in_session(session).rows(runtime).next()?.is_some()
        {
            names.push(session.name().to_lowercase());
        }
    }
    Ok(names)
}

/// Name proposed for a file of this answer: the same answer, the same name.
#[must_use]
pub fn file_name(plan: &Plan) -> String {
    let short: String = plan.tag().chars().take(12).collect();
    format!("{}-{short}.{}", plan.retrieval.unit, plan.retrieval.format.extension())
}

/// The answer as a stream of pieces, made on a thread of its own that waits for whoever takes them. At the end, what it
/// held or why it broke off goes to `over`.
pub fn stream(
    plan: Plan,
    from: u64,
    until: u64,
    over: impl FnOnce(Result<Account, Error>) + Send + 'static,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let result = deliver(&plan, &runtime, from, until, &mut |octets| {
            sender.blocking_send(Ok(Bytes::copy_from_slice(octets))).is_ok()
        });
        if let Err(error) = &result {
            // The connection breaks off: a short answer must not look whole.
            let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        over(result);
    });
    receiver
}
