//! What the catalogue knows: status, segments, contacts, channels, gaps, completeness.

use std::sync::Arc;

use fep_catalogue::{
    Catalogue, Channel, Completeness, CompletenessQuery, Contact, ContactFilter, Gap, GapFilter, GapState,
    GapStep, Segment, SegmentFilter, SegmentId, SegmentState, Silence, Totals,
};
use fep_identity::Role;
use fep_kit::Problem;
use fep_record::Session;
use fep_route::{Call, Declared, Form, Json, List, Parameter, Place, Reach, Route, Source};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::{APID, ID, LINK, Params, TEXT, TIME, VCID, span};
use super::reach::{self, IN_SCOPE, Of};
use super::{READERS, catalogue_problem};
use crate::service::{Service, now_tai_ns};

const LIST_MAX: u32 = 100_000;
const LIST_DEFAULT: u32 = 1000;
const LIMIT: Form = Form::Integer(1, LIST_MAX as u64);
const GAP: Of = ("GET", "/v1/gaps/{id}");
const SET_GAP: Of = ("POST", "/v1/gaps/{id}/state");

pub(super) fn routes(service: &Arc<Service>) -> Vec<Declared> {
    let get = |path, text| Route::get(path, text).roles(READERS);
    let list = Reach { scid: Source::Selected("scid"), ..IN_SCOPE };
    let of_channels = Reach { session: Source::Selected("session"), ..list };
    let of_colours = Reach { colour: Source::Selected("colour"), ..list };
    let counted = Reach {
        scid: Source::Parameter("scid"),
        colour: reach::colours(&service.config),
        session: Source::Defaulted("session", Session::Ops),
    };
    let needed = |name, form, text| Parameter { name, place: Place::RequiredQuery, form, text };
    let channel = |route: Route<_>| {
        span(route).query("scid", Form::SCID, "Spacecraft.").query("link", LINK, "Station link.").query(
            "session",
            Form::SESSION,
            "Session.",
        )
    };
    vec![
        get("/v1/status", "What the archive holds, in all.").touches_no_data().to(service, status),
        span(get("/v1/segments", "Segments with something in the caller's scopes, in the order of their rings.").reaches(of_colours))
            .query("ring", TEXT, "Ring.")
            .query("colour", Form::COLOUR, "Colour.")
            .query("state", Form::OneOf(&["ok", "quarantined", "deleted"]), "Whether it can be used.")
            .query("scid", Form::SCID, "With units of this spacecraft.")
            .query("vcid", VCID, "With units of this virtual channel.")
            .query("apid", APID, "With units of this application process.")
            .query("link", LINK, "With units by this link.")
            .query("limit", LIMIT, "At most so many; 1000 where nothing is said.")
            .to(service, segments),
        channel(get("/v1/contacts", "Receptions: which link received which spacecraft, and when.").reaches(of_channels))
            .to(service, contacts),
        get("/v1/channels", "Channels that were ever received.").reaches(IN_SCOPE).to(service, channels),
        channel(get("/v1/gaps", "What is missing, and what is done about it, in the order of time.").reaches(of_channels))
            .query("vcid", VCID, "Virtual channel.")
            .query("apid", APID, "Application process: gaps of packets.")
            .query("state", Form::OneOf(&["open", "requested", "filled", "unrecoverable", "accepted"]), "Where it stands.")
            .query("limit", LIMIT, "At most so many; 1000 where nothing is said.")
            .to(service, gaps),
        get(GAP.1, "One gap, with what was done about it.")
            .reaches(IN_SCOPE)
            .path_parameter("id", ID, "Its name.")
            .to(service, gap),
        Route::post(SET_GAP.1, "Says what is done about a gap.")
            .role(Role::Operator)
            .reaches(IN_SCOPE)
            .path_parameter("id", ID, "Its name.")
            .to(service, set_gap),
        get(
            "/v1/completeness",
            "How much of each channel of a spacecraft came in a span of time, by link and over all links, and when nothing came.",
        )
        .reaches(counted)
        .parameter(needed("from", TIME, "At or after: UTC or tai:NANOSECONDS."))
        .parameter(needed("to", TIME, "Before."))
        .parameter(needed("scid", Form::SCID, "Spacecraft."))
        .query("session", Form::SESSION, "Session; ops where nothing is said.")
        .query("link", LINK, "Station link.")
        .query("unit", Form::OneOf(&["frames", "packets"]), "What is counted; frames where nothing is said.")
        .to(service, completeness),
    ]
}

/// The catalogue as the caller may see it.
fn seen<B>(service: &Service, call: &Call<B>) -> Result<Catalogue, Problem> {
    Ok(service.archive.catalogue.seen_by(reach::seen(call.caller()?)))
}

/// The service at a glance.
#[derive(Serialize, ToSchema)]
struct Status {
    version: &'static str,
    now_tai_ns: i64,
    totals: Totals,
    /// Rows that are not in a sealed segment yet.
    tail_rows: usize,
    /// Rows of these that have no room and are not seen by queries.
    tail_rows_left_out: u64,
    /// Sealed segments that are in no index yet, and octets of their files.
    unindexed_segments: usize,
    unindexed_octets: u64,
    /// Whether all that was recorded was looked at since the start.
    has_looked_at_all: bool,
    /// Everything received before this time is in the totals; null until the first round of taking in is over.
    indexed_to_tai_ns: Option<i64>,
    /// Whether SQL is answered.
    sql: bool,
}

async fn status(service: Arc<Service>, _: Call<()>) -> Result<Json<Status>, Problem> {
    let totals =
        service.archive.catalogue.totals().await.map_err(catalogue_problem("counting the archive"))?;
    let backlog = service.archive.tail.backlog();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        now_tai_ns: now_tai_ns(),
        totals,
        tail_rows: service.archive.tail.rows(),
        tail_rows_left_out: service.archive.tail.left_out_rows(),
        unindexed_segments: backlog.segments.len(),
        unindexed_octets: backlog.octets(),
        has_looked_at_all: backlog.has_begun,
        indexed_to_tai_ns: service.archive.tail.indexed_to_tai_ns(),
        sql: service.engine.is_installed(),
    }))
}

/// A segment with its name, which is text: other programs round `series`, which does not fit into a double.
#[derive(Serialize, ToSchema)]
struct NamedSegment {
    id: SegmentId,
    #[serde(flatten)]
    segment: Segment,
}

async fn segments(service: Arc<Service>, call: Call<()>) -> Result<List<NamedSegment>, Problem> {
    let params = Params::of(&call.values)?;
    let filter = SegmentFilter {
        from_tai_ns: params.time("from")?,
        to_tai_ns: params.time("to")?,
        ring: params.text("ring").map(str::to_owned),
        colour: params.colour()?,
        state: params.one_of("state", SegmentState::ALL, SegmentState::name)?,
        scid: params.number("scid", u16::MAX)?,
        link: params.number("link", u16::MAX)?,
        vcid: params.number("vcid", 63)?.map(|vcid| vcid as u8),
        apid: params.number("apid", 2047)?,
        limit: Some(params.limit(LIST_DEFAULT, LIST_MAX)?),
    };
    let found = seen(&service, &call)?.segments(&filter).await;
    let found = found.map_err(catalogue_problem("listing segments"))?;
    Ok(List(found.into_iter().map(|segment| NamedSegment { id: segment.facts.id(), segment }).collect()))
}

async fn contacts(service: Arc<Service>, call: Call<()>) -> Result<List<Contact>, Problem> {
    let params = Params::of(&call.values)?;
    let filter = ContactFilter {
        from_tai_ns: params.time("from")?,
        to_tai_ns: params.time("to")?,
        session: params.session()?.map(|session| session as u8),
        scid: params.number("scid", u16::MAX)?,
        link: params.number("link", u16::MAX)?,
        by_packets: false,
    };
    let found = seen(&service, &call)?.contacts(&filter).await;
    found.map(List).map_err(catalogue_problem("listing contacts"))
}

async fn channels(service: Arc<Service>, call: Call<()>) -> Result<List<Channel>, Problem> {
    let found = seen(&service, &call)?.channels().await;
    found.map(List).map_err(catalogue_problem("listing channels"))
}

async fn gaps(service: Arc<Service>, call: Call<()>) -> Result<List<Gap>, Problem> {
    let params = Params::of(&call.values)?;
    let filter = GapFilter {
        from_tai_ns: params.time("from")?,
        to_tai_ns: params.time("to")?,
        link: params.number("link", u16::MAX)?,
        session: params.session()?.map(|session| session as u8),
        scid: params.number("scid", u16::MAX)?,
        vcid: params.number("vcid", 63)?.map(|vcid| vcid as u8),
        apid: params.number("apid", 2047)?.map(Some),
        state: params.one_of("state", GapState::ALL, GapState::name)?,
        limit: Some(params.limit(LIST_DEFAULT, LIST_MAX)?),
    };
    let found = seen(&service, &call)?.gaps(&filter).await;
    found.map(List).map_err(catalogue_problem("listing gaps"))
}

/// A gap and its history.
#[derive(Serialize, ToSchema)]
struct GapAndSteps {
    #[serde(flatten)]
    gap: Gap,
    steps: Vec<GapStep>,
}

/// The gap of a request, when it is in the caller's scopes.
async fn own_gap<B>(service: &Service, call: &Call<B>, of: Of) -> Result<Gap, Problem> {
    let id = call.values.get("id").unwrap_or_default();
    let gap = service.archive.catalogue.gap(id).await.map_err(catalogue_problem("looking for a gap"))?;
    reach::reach(service, call, of, gap.colour, gap.channel.session, Some(gap.channel.scid))?;
    Ok(gap)
}

async fn gap(service: Arc<Service>, call: Call<()>) -> Result<Json<GapAndSteps>, Problem> {
    let gap = own_gap(&service, &call, GAP).await?;
    let steps = service.archive.catalogue.gap_steps(&gap.id).await;
    let steps = steps.map_err(catalogue_problem("looking for a gap"))?;
    Ok(Json(GapAndSteps { gap, steps }))
}

/// A new state of a gap: `{"state": "requested", "note": "order 12"}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewState {
    state: GapState,
    #[serde(default)]
    note: String,
}

async fn set_gap(service: Arc<Service>, call: Call<Json<NewState>>) -> Result<Json<Gap>, Problem> {
    let gap = own_gap(&service, &call, SET_GAP).await?;
    let (person, NewState { state, note }) = (&call.caller()?.person, &call.body.0);
    let set = service.archive.catalogue.set_gap_state(&gap.id, *state, &person.id.0, note, now_tai_ns());
    set.await.map(Json).map_err(catalogue_problem("changing a gap"))
}

/// How much of one channel came.
#[derive(Serialize, ToSchema)]
struct Share {
    #[serde(flatten)]
    completeness: Completeness,
    share: f64,
}

/// How much of a spacecraft came in a span of time, and when nothing did. `silences` are stretches of more than ten minutes
/// without any reception (`link` null: by no link), for which counters say nothing: between two contacts nothing was lost
/// there, within one that was planned it was.
#[derive(Serialize, ToSchema)]
struct Shares {
    channels: Vec<Share>,
    silences: Vec<Silence>,
    /// Where counting ends: `to`, or where the index ends (the first reception that is in no sealed segment yet, or that may not
    /// have been taken in).
    counted_to_tai_ns: i64,
}

async fn completeness(service: Arc<Service>, call: Call<()>) -> Result<Json<Shares>, Problem> {
    let params = Params::of(&call.values)?;
    let needed = |name: &str, allowed: &str| Problem::bad_parameter(name, "is missing", allowed);
    let mut query = CompletenessQuery {
        from_tai_ns: params.time("from")?.ok_or_else(|| needed("from", "a time in UTC"))?,
        to_tai_ns: params.time("to")?.ok_or_else(|| needed("to", "a time in UTC"))?,
        session: params.session()?.unwrap_or(Session::Ops) as u8,
        scid: params.number("scid", u16::MAX)?.ok_or_else(|| needed("scid", "one number"))?,
        link: params.number("link", u16::MAX)?,
        packets: params.one_of(
            "unit",
            &[false, true],
            |packets| if packets { "packets" } else { "frames" },
        )? == Some(true),
    };
    // Before the catalogue is asked: what is sealed meanwhile is not counted, and nothing is missed.
    let indexed_to = service.archive.tail.indexed_to_tai_ns().unwrap_or(query.from_tai_ns);
    query.to_tai_ns = query.to_tai_ns.min(indexed_to);
    let counted_to_tai_ns = query.to_tai_ns;
    if counted_to_tai_ns <= query.from_tai_ns {
        return Ok(Json(Shares { channels: Vec::new(), silences: Vec::new(), counted_to_tai_ns }));
    }
    let catalogue = &service.archive.catalogue;
    let found = catalogue.completeness(&query).await.map_err(catalogue_problem("counting what came"))?;
    let silences = catalogue.silences(&query).await.map_err(catalogue_problem("looking for silences"))?;
    let channels =
        found.into_iter().map(|completeness| Share { share: completeness.share(), completeness }).collect();
    Ok(Json(Shares { channels, silences, counted_to_tai_ns }))
}
