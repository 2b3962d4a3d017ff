//! Retrieval over HTTP: `/v1/frames`, `/v1/packets` and their manifests, with conditional and range requests.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fep_archive_query::{Colour, Retrieval, Unit};
use fep_kit::Problem;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::params;
use crate::answer::{self, Manifest};
use crate::retrieval::{Error, Plan};
use crate::service::Service;

/// Parameters of frames and packets alike, for the description of the interface; `fep_archive_query` reads them.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes, is never made")]
pub(crate) struct Conditions {
    /// Received at or after: UTC (2024-12-06T17:38:15Z) or tai:NANOSECONDS.
    from: Option<String>,
    /// Received before.
    to: Option<String>,
    /// Spacecraft: numbers and ranges, as 1,5,10-20.
    scid: Option<String>,
    /// Virtual channels.
    vcid: Option<String>,
    /// Station links, by number.
    link: Option<String>,
    /// Rings that the data came by, as npp.frames.
    ring: Option<String>,
    /// black (default) or red.
    colour: Option<String>,
    /// ops (default), test, replay, or several.
    session: Option<String>,
    /// good (default), clean, corrected, bad, any.
    quality: Option<String>,
    /// yes (default), no, only.
    idle: Option<String>,
    /// yes (default): what several antennas received once; no: every copy.
    merged: Option<String>,
    /// jsonl (default), csv, parquet, pcapng; of frames also frames and cadu, of packets also packets.
    format: Option<String>,
    /// With jsonl, csv, parquet: the octets as a column.
    octets: Option<String>,
    /// At most so many units.
    limit: Option<u64>,
}

/// Parameters that only packets have, for the description of the interface.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes, is never made")]
pub(crate) struct PacketConditions {
    /// Application processes: numbers and ranges.
    apid: Option<String>,
    /// PUS service types.
    pus_type: Option<String>,
    /// PUS message subtypes.
    pus_subtype: Option<String>,
    /// Stamped on board at or after.
    onboard_from: Option<String>,
    /// Stamped on board before.
    onboard_to: Option<String>,
}

/// What may come of asking, for the description of the interface.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes, is never made")]
pub(crate) enum Outcome {
    /// The whole answer, streamed.
    #[response(status = 200)]
    Whole,
    /// The part that Range asked for.
    #[response(status = 206)]
    Part,
    /// If-None-Match names this very answer.
    #[response(status = 304)]
    Known,
    /// A parameter is refused: problem document.
    #[response(status = 400)]
    Refused,
    /// The answer is shorter than Range begins.
    #[response(status = 416)]
    Beyond,
}

/// Frames by receive time, spacecraft, channel, link, quality and session, in any form that frames have.
#[utoipa::path(get, path = "/v1/frames", tag = "retrieval", params(Conditions), responses(Outcome))]
pub(crate) async fn frames(
    service: State<Arc<Service>>,
    method: Method,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    answer(service, Unit::Frames, method, headers, query).await
}

/// Packets, by the keys of frames and by application process, PUS type and subtype, and on-board time.
#[utoipa::path(
    get,
    path = "/v1/packets",
    tag = "retrieval",
    params(Conditions, PacketConditions),
    responses(Outcome)
)]
pub(crate) async fn packets(
    service: State<Arc<Service>>,
    method: Method,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    answer(service, Unit::Packets, method, headers, query).await
}

/// What `/v1/frames` with the same parameters yields: SHA-256, counts, how to read it.
#[utoipa::path(get, path = "/v1/frames/manifest", tag = "retrieval", params(Conditions),
    responses((status = 200, description = "the manifest", body = Manifest)))]
pub(crate) async fn frames_manifest(
    service: State<Arc<Service>>,
    query: RawQuery,
) -> Result<Json<Manifest>, Problem> {
    manifest(service, Unit::Frames, query).await
}

/// What `/v1/packets` with the same parameters yields: SHA-256, counts, how to read it.
#[utoipa::path(get, path = "/v1/packets/manifest", tag = "retrieval", params(Conditions, PacketConditions),
    responses((status = 200, description = "the manifest", body = Manifest)))]
pub(crate) async fn packets_manifest(
    service: State<Arc<Service>>,
    query: RawQuery,
) -> Result<Json<Manifest>, Problem> {
    manifest(service, Unit::Packets, query).await
}

async fn plan(service: &Service, unit: Unit, query: Option<&str>) -> Result<Plan, Problem> {
    let retrieval = Retrieval::parse(unit, query.unwrap_or_default()).map_err(params::problem)?;
    service.may_serve(retrieval.selection.colour)?;
    Plan::make(&service.archive, retrieval)
        .await
        .map_err(|error| Problem::fault("planning the retrieval", &error))
}

async fn manifest(
    State(service): State<Arc<Service>>,
    unit: Unit,
    RawQuery(query): RawQuery,
) -> Result<Json<Manifest>, Problem> {
    let plan = plan(&service, unit, query.as_deref()).await?;
    let permit = service.retrieval_permit()?;
    let made = blocking(permit, move |runtime| answer::manifest(&plan, runtime)).await?;
    made.map(Json).map_err(|error| service.retrieval_failed(error))
}

/// Runs on a thread that may wait for disks.
async fn blocking<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce(&Handle) -> Result<T, Error> + Send + 'static,
) -> Result<Result<T, Error>, Problem> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let result = work(&runtime);
        drop(permit);
        result
    })
    .await
    .map_err(|error| Problem::fault("retrieving", &error))
}

async fn answer(
    State(service): State<Arc<Service>>,
    unit: Unit,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let plan = plan(&service, unit, query.as_deref()).await?;
    let etag = format!("\"{}\"", plan.tag());
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut response = if text(header::IF_NONE_MATCH).is_some_and(|list| matches(list, &etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // A range of another version of the answer would not fit what the client has (RFC 9110 section 13.1.5).
        let fresh = text(header::IF_RANGE).is_none_or(|condition| condition == etag);
        let range = text(header::RANGE).filter(|_| fresh).and_then(Range::parse);
        match (range, method == Method::HEAD) {
            (None, false) => whole(&service, plan.clone()).await?,
            (range, head) => part(&service, plan.clone(), range, head).await?,
        }
    };
    let headers = response.headers_mut();
    let name = answer::file_name(&plan);
    let manifest = format!("</v1/{unit}/manifest?{}>; rel=\"describedby\"", plan.retrieval);
    for (header, value) in [
        (header::ETAG, etag),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_TYPE, plan.retrieval.format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::LINK, manifest),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
    if let Some(missing) = incomplete_header(&plan.incomplete) {
        headers.insert(INCOMPLETE, missing);
    }
    Ok(response)
}

async fn whole(service: &Arc<Service>, plan: Plan) -> Result<Response, Problem> {
    Ok(Body::from_stream(begun(service, plan, 0, u64::MAX).await?).into_response())
}

/// A part, or only the length.
async fn part(
    service: &Arc<Service>,
    plan: Plan,
    range: Option<Range>,
    head: bool,
) -> Result<Response, Problem> {
    let permit = service.retrieval_permit()?;
    let measured = plan.clone();
    let length = blocking(permit, move |runtime| answer::length(&measured, runtime))
        .await?
        .map_err(|error| service.retrieval_failed(error))?;
    let Some(range) = range else {
        return Ok(([(header::CONTENT_LENGTH, length)], Body::empty()).into_response());
    };
    let Some((from, until)) = range.within(length) else {
        let problem = Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            format!("the answer has {length} octets"),
        );
        return Ok(
            ([(header::CONTENT_RANGE, format!("bytes */{length}"))], problem.at("Range")).into_response()
        );
    };
    let headers = [
        (header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", until - 1)),
        (header::CONTENT_LENGTH, (until - from).to_string()),
    ];
    let body = if head { Body::empty() } else { Body::from_stream(begun(service, plan, from, until).await?) };
    Ok((StatusCode::PARTIAL_CONTENT, headers, body).into_response())
}

/// The stream of an answer, once its first piece is there: what fails before is a problem document, not a broken connection.
async fn begun(
    service: &Arc<Service>,
    plan: Plan,
    from: u64,
    until: u64,
) -> Result<impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static, Problem> {
    let permit = service.retrieval_permit()?;
    let counted = Arc::clone(service);
    let mut receiver = answer::stream(plan, from, until, move |result| {
        drop(permit);
        match result {
            Ok(account) => counted.count_retrieval(&account),
            Err(error) => drop(counted.retrieval_failed(error)),
        }
    });
    let first = receiver.recv().await;
    if let Some(Err(error)) = &first {
        return Err(Problem::fault("retrieving", error));
    }
    let mut first = first;
    Ok(futures::stream::poll_fn(move |context| match first.take() {
        Some(piece) => std::task::Poll::Ready(Some(piece)),
        None => receiver.poll_recv(context),
    }))
}

/// Header of an answer that is not whole: what is missing.
pub(super) const INCOMPLETE: HeaderName = HeaderName::from_static("fep-incomplete");

/// What is missing, for [`INCOMPLETE`]; `None` where nothing is.
pub(super) fn incomplete_header(missing: &[String]) -> Option<HeaderValue> {
    let first = missing.first()?;
    let more = missing.len() - 1;
    let text = if more > 0 { format!("{first} (and {more} more)") } else { first.clone() };
    // Reasons of the system may hold anything.
    let text: String = text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    Some(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("something")))
}

/// Whether a list of entity tags names this one (weak comparison, RFC 9110 section 8.8.3.2).
fn matches(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// One range of octets, as `Range` gives it (RFC 9110 section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Range {
    /// `None` for what is no single range of octets: then the whole is answered, as the standard allows.
    fn parse(text: &str) -> Option<Range> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| {
            if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse::<u64>().ok() } else { None }
        };
        match (first.trim(), last.trim()) {
            ("", last) => number(last).map(Range::Last),
            (first, "") => number(first).map(Range::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Range::Between(first, last))
            }
        }
    }

    /// First octet and the one after the last, in an answer of this length.
    fn within(self, length: u64) -> Option<(u64, u64)> {
        let (from, until) = match self {
            Range::From(first) => (first, length),
            Range::Between(first, last) => (first, last.saturating_add(1).min(length)),
            Range::Last(count) => (length.saturating_sub(count), length),
        };
        (from < until).then_some((from, until))
    }
}

/// Red data goes to those only whom the configuration gives it.
impl Service {
    pub(crate) fn may_serve(&self, colour: Colour) -> Result<(), Problem> {
        if colour == Colour::Red && !self.config.http.serve_red {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "not-permitted",
                "this service does not give out red data",
            )
            .at("colour")
            .allowed("black")
            .hint(
                "http.serve_red in the configuration of a service of its own, with its own group, allows it",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says_and_anything_else_is_no_range() {
        for (text, within) in [
            ("bytes=0-99", Some((0, 100))),
            ("bytes=900-", Some((900, 1000))),
            ("bytes=-1", Some((999, 1000))),
            ("bytes=-5000", Some((0, 1000))),
            ("bytes=990-2000", Some((990, 1000))),
            ("bytes=1000-", None),
            ("bytes=-0", None),
        ] {
            assert_eq!(Range::parse(text).and_then(|range| range.within(1000)), within, "{text}");
        }
        for text in ["bytes=5-1", "bytes=1-2,5-6", "units=1-2", "bytes=a-b", "bytes=--1", "bytes="] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list_weak_or_not() {
        assert!(matches("\"a\", W/\"b\"", "\"b\""));
        assert!(matches("*", "\"b\""));
        assert!(!matches("\"a\"", "\"b\""));
    }
}
