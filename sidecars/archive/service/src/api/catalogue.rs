//! What the catalogue knows: status, segments, contacts, channels, gaps, completeness.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use fep_catalogue::{
    Channel, Completeness, CompletenessQuery, Contact, ContactFilter, Gap, GapFilter, GapState, GapStep,
    Segment, SegmentFilter, SegmentId, SegmentState, Silence, Totals,
};
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use fep_record::Session;
use serde::{Deserialize, Serialize};

use super::params::Params;
use super::{Body, catalogue_problem};
use crate::service::{Service, now_tai_ns};

const LIST_MAX: u32 = 100_000;
const LIST_DEFAULT: u32 = 1000;

/// The service at a glance.
#[derive(Serialize)]
pub(crate) struct Status {
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

/// What the archive holds, in all.
#[utoipa::path(get, path = "/v1/status", tag = "catalogue", responses((status = 200, description = "totals")))]
pub(crate) async fn status(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Status>, Problem> {
    Params::parse(query.as_deref(), &[])?;
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
#[derive(Serialize)]
pub(crate) struct NamedSegment {
    id: SegmentId,
    #[serde(flatten)]
    segment: Segment,
}

/// Segments, by what is in them. `id` names a segment wherever one is asked for.
#[utoipa::path(get, path = "/v1/segments", tag = "catalogue",
    params(("from" = Option<String>, Query), ("to" = Option<String>, Query), ("ring" = Option<String>, Query),
        ("colour" = Option<String>, Query), ("state" = Option<String>, Query, description = "ok, quarantined, deleted"),
        ("scid" = Option<u16>, Query), ("vcid" = Option<u8>, Query), ("apid" = Option<u16>, Query),
        ("link" = Option<u16>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, description = "segments in the order of their rings")))]
pub(crate) async fn segments(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<NamedSegment>>, Problem> {
    let known = ["from", "to", "ring", "colour", "state", "scid", "vcid", "apid", "link", "limit"];
    let params = Params::parse(query.as_deref(), &known)?;
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
    let found = service.archive.catalogue.segments(&filter).await;
    let found = found.map_err(catalogue_problem("listing segments"))?;
    Ok(Json(found.into_iter().map(|segment| NamedSegment { id: segment.facts.id(), segment }).collect()))
}

/// Receptions: which link received which spacecraft, and when.
#[utoipa::path(get, path = "/v1/contacts", tag = "catalogue",
    params(("from" = Option<String>, Query), ("to" = Option<String>, Query), ("scid" = Option<u16>, Query),
        ("link" = Option<u16>, Query), ("session" = Option<String>, Query)),
    responses((status = 200, description = "contacts")))]
pub(crate) async fn contacts(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Contact>>, Problem> {
    let params = Params::parse(query.as_deref(), &["from", "to", "scid", "link", "session"])?;
    let filter = ContactFilter {
        from_tai_ns: params.time("from")?,
        to_tai_ns: params.time("to")?,
        session: params.session()?.map(|session| session as u8),
        scid: params.number("scid", u16::MAX)?,
        link: params.number("link", u16::MAX)?,
        by_packets: false,
    };
    service.archive.catalogue.contacts(&filter).await.map(Json).map_err(catalogue_problem("listing contacts"))
}

/// Channels that were ever received.
#[utoipa::path(get, path = "/v1/channels", tag = "catalogue", responses((status = 200, description = "channels")))]
pub(crate) async fn channels(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Channel>>, Problem> {
    Params::parse(query.as_deref(), &[])?;
    service.archive.catalogue.channels().await.map(Json).map_err(catalogue_problem("listing channels"))
}

/// What is missing, and what is done about it.
#[utoipa::path(get, path = "/v1/gaps", tag = "gaps",
    params(("from" = Option<String>, Query), ("to" = Option<String>, Query), ("scid" = Option<u16>, Query),
        ("vcid" = Option<u8>, Query), ("apid" = Option<u16>, Query), ("link" = Option<u16>, Query),
        ("session" = Option<String>, Query),
        ("state" = Option<String>, Query, description = "open, requested, filled, unrecoverable, accepted"),
        ("limit" = Option<u32>, Query)),
    responses((status = 200, description = "gaps in the order of time")))]
pub(crate) async fn gaps(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Gap>>, Problem> {
    let known = ["from", "to", "scid", "vcid", "apid", "link", "session", "state", "limit"];
    let params = Params::parse(query.as_deref(), &known)?;
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
    service.archive.catalogue.gaps(&filter).await.map(Json).map_err(catalogue_problem("listing gaps"))
}

/// A gap and its history.
#[derive(Serialize)]
pub(crate) struct GapAndSteps {
    #[serde(flatten)]
    gap: Gap,
    steps: Vec<GapStep>,
}

/// One gap, with what was done about it.
#[utoipa::path(get, path = "/v1/gaps/{id}", tag = "gaps", params(("id" = String, Path)),
    responses((status = 200, description = "the gap"), (status = 404, description = "no such gap")))]
pub(crate) async fn gap(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<GapAndSteps>, Problem> {
    let catalogue = &service.archive.catalogue;
    let gap = catalogue.gap(&id).await.map_err(catalogue_problem("looking for a gap"))?;
    let steps = catalogue.gap_steps(&id).await.map_err(catalogue_problem("looking for a gap"))?;
    Ok(Json(GapAndSteps { gap, steps }))
}

/// A new state of a gap.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewState {
    state: GapState,
    #[serde(default)]
    note: String,
}

/// Says what is done about a gap: `{"state": "requested", "note": "order 12"}`. Needs the role operate.
#[utoipa::path(post, path = "/v1/gaps/{id}/state", tag = "gaps", params(("id" = String, Path)),
    responses((status = 200, description = "the gap"), (status = 409, description = "not from its state")))]
pub(crate) async fn set_gap(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
    Body(new): Body<NewState>,
) -> Result<Json<Gap>, Problem> {
    caller.may(Role::Operate)?;
    service
        .archive
        .catalogue
        .set_gap_state(&id, new.state, caller.name(), &new.note, now_tai_ns())
        .await
        .map(Json)
        .map_err(catalogue_problem("changing a gap"))
}

/// How much of one channel came.
#[derive(Serialize)]
pub(crate) struct Share {
    #[serde(flatten)]
    completeness: Completeness,
    share: f64,
}

/// How much of a spacecraft came in a span of time, and when nothing did.
#[derive(Serialize)]
pub(crate) struct Shares {
    channels: Vec<Share>,
    silences: Vec<Silence>,
    /// Where counting ends: `to`, or where the index ends (the first reception that is in no sealed segment yet, or that may not
    /// have been taken in).
    counted_to_tai_ns: i64,
}

/// How much of each channel of a spacecraft came in a span of time, by link and over all links: of a contact, with its times
/// as `from` and `to`. `silences` are stretches of more than ten minutes without any reception (`link` null: by no link), for
/// which counters tell nothing: between two contacts nothing was lost there, within one that was planned it was. Only sealed
/// segments count: `counted_to_tai_ns` is less than `to` where what came later is not in one yet.
#[utoipa::path(get, path = "/v1/completeness", tag = "gaps",
    params(("from" = String, Query), ("to" = String, Query), ("scid" = u16, Query),
        ("session" = Option<String>, Query, description = "ops (default), test, replay"), ("link" = Option<u16>, Query),
        ("unit" = Option<String>, Query, description = "frames (default) or packets")),
    responses((status = 200, description = "channels and silences")))]
pub(crate) async fn completeness(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Shares>, Problem> {
    let params = Params::parse(query.as_deref(), &["from", "to", "scid", "session", "link", "unit"])?;
    let needed = |name: &str, allowed: &str| Problem::bad_parameter(name, "is needed", allowed);
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
