//! Retrieval over HTTP: `/v1/frames`, `/v1/packets` and their manifests, with conditional and range requests.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fep_archive_query::{Colour, Format, Retrieval, Unit};
use fep_kit::Problem;
use fep_route::{Call, Declared, Form, Json, Route};
use serde_json::json;
use tokio::runtime::Handle;

use super::params::{self, TEXT, TIME};
use super::reach::{Of, ROWS, narrow};
use super::{InForm, READERS};
use crate::answer::{self, Manifest};
use crate::places::Place;
use crate::retrieval::{Error, Plan};
use crate::service::Service;

/// A manifest, or the length of a long answer, is made of all that is retrieved before its answer begins.
const MEASURED_WITHIN_S: u16 = 3600;
const FRAMES: Of = ("GET", "/v1/frames");
const FRAMES_MANIFEST: Of = ("GET", "/v1/frames/manifest");
const PACKETS: Of = ("GET", "/v1/packets");
const PACKETS_MANIFEST: Of = ("GET", "/v1/packets/manifest");

pub(super) fn routes(service: &Arc<Service>) -> Vec<Declared> {
    let get = |of: Of, text| {
        conditions(Route::get(of.1, text).roles(READERS).reaches(ROWS).handler_timeout_s(MEASURED_WITHIN_S))
    };
    vec![
        get(FRAMES, "Frames by receive time, spacecraft, channel, link, quality and session, in any form that frames have. Range, If-Range and If-None-Match are answered.")
            .to(service, frames),
        get(FRAMES_MANIFEST, "What /v1/frames with the same parameters yields: SHA-256, counts, how to read it.")
            .to(service, frames_manifest),
        of_packets(get(PACKETS, "Packets, by the keys of frames and by application process, PUS type and subtype, and on-board time."))
            .to(service, packets),
        of_packets(get(PACKETS_MANIFEST, "What /v1/packets with the same parameters yields: SHA-256, counts, how to read it."))
            .to(service, packets_manifest),
    ]
}

/// Parameters of frames and packets alike; `fep_archive_query` reads them.
fn conditions<State>(route: Route<State>) -> Route<State> {
    of_rows(params::span(route))
        .query(
            "merged",
            Form::OneOf(&["yes", "no"]),
            "yes (default): what several antennas received once; no: every copy.",
        )
        .query(
            "format",
            Form::OneOf(&["jsonl", "csv", "parquet", "pcapng", "frames", "cadu", "packets"]),
            "jsonl (default), csv, parquet, pcapng; of frames also frames and cadu, of packets also packets.",
        )
        .query("octets", Form::OneOf(&["yes", "no"]), "With jsonl, csv, parquet: the octets as a column.")
}

/// Parameters of rows, also of those that come.
pub(super) fn of_rows<State>(route: Route<State>) -> Route<State> {
    route
        .query(
            "scid",
            TEXT,
            "Spacecraft: numbers and ranges, as 1,5,10-20; those in scope where none is named.",
        )
        .query("vcid", TEXT, "Virtual channels.")
        .query("link", TEXT, "Station links, by number.")
        .query("ring", TEXT, "Rings that the data came by, as npp.frames.")
        .query("colour", Form::COLOUR, "black (default) or red.")
        .query("session", TEXT, "ops (default), test, replay, or several.")
        .query(
            "quality",
            Form::OneOf(&["good", "clean", "corrected", "bad", "any"]),
            "How good; good (default).",
        )
        .query("idle", Form::OneOf(&["yes", "no", "only"]), "Idle data; yes (default).")
        .query("limit", Form::Integer(0, u64::MAX), "At most so many units.")
}

/// Parameters that only packets have.
pub(super) fn of_packets<State>(route: Route<State>) -> Route<State> {
    of_packet_rows(route).query("onboard_from", TIME, "Stamped on board at or after.").query(
        "onboard_to",
        TIME,
        "Stamped on board before.",
    )
}

/// Parameters that only rows of packets have, also those that come.
pub(super) fn of_packet_rows<State>(route: Route<State>) -> Route<State> {
    route
        .query("apid", TEXT, "Application processes: numbers and ranges.")
        .query("pus_type", TEXT, "PUS service types.")
        .query("pus_subtype", TEXT, "PUS message subtypes.")
}

async fn frames(service: Arc<Service>, call: Call<()>) -> Result<InForm, Problem> {
    answer(service, call, Unit::Frames, FRAMES).await
}

async fn packets(service: Arc<Service>, call: Call<()>) -> Result<InForm, Problem> {
    answer(service, call, Unit::Packets, PACKETS).await
}

async fn frames_manifest(service: Arc<Service>, call: Call<()>) -> Result<Json<Manifest>, Problem> {
    manifest(service, call, Unit::Frames, FRAMES_MANIFEST).await
}

async fn packets_manifest(service: Arc<Service>, call: Call<()>) -> Result<Json<Manifest>, Problem> {
    manifest(service, call, Unit::Packets, PACKETS_MANIFEST).await
}

async fn plan(service: &Service, call: &Call<()>, unit: Unit, of: Of) -> Result<Plan, Problem> {
    let retrieval = Retrieval::from_pairs(unit, call.values.pairs()).map_err(params::problem)?;
    service.may_serve(retrieval.selection.colour)?;
    let retrieval = narrow(service, call, of, retrieval)?;
    Plan::make(&service.archive, retrieval)
        .await
        .map_err(|error| Problem::fault("planning the retrieval", &error))
}

/// What is taken away, and every read of red data, is in the audit trail before it goes. Rows to look at are not.
async fn note(service: &Service, call: &Call<()>, of: Of, retrieval: &Retrieval) -> Result<(), Problem> {
    let is_to_look_at = matches!(retrieval.format, Format::JsonLines | Format::Csv) && !retrieval.octets;
    let action = match retrieval.selection.colour {
        Colour::Red => "red data read",
        Colour::Black if is_to_look_at => return Ok(()),
        Colour::Black => "data exported",
    };
    service.note(call, action, of.1, json!({"query": retrieval.to_string()})).await
}

async fn manifest(
    service: Arc<Service>,
    call: Call<()>,
    unit: Unit,
    of: Of,
) -> Result<Json<Manifest>, Problem> {
    let plan = plan(&service, &call, unit, of).await?;
    let place = service.retrieval_place(call.caller()?)?;
    note(&service, &call, of, &plan.retrieval).await?;
    let made = blocking(place, move |runtime| answer::manifest(&plan, runtime)).await?;
    made.map(Json).map_err(|error| service.retrieval_failed(error))
}

/// Runs on a thread that may wait for disks.
async fn blocking<T: Send + 'static>(
    place: Place,
    work: impl FnOnce(&Handle) -> Result<T, Error> + Send + 'static,
) -> Result<Result<T, Error>, Problem> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let result = work(&runtime);
        drop(place);
        result
    })
    .await
    .map_err(|error| Problem::fault("retrieving", &error))
}

async fn answer(service: Arc<Service>, call: Call<()>, unit: Unit, of: Of) -> Result<InForm, Problem> {
    let plan = plan(&service, &call, unit, of).await?;
    let caller = call.caller()?;
    let etag = format!("\"{}\"", plan.tag());
    let text = |name| call.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut response = if text(header::IF_NONE_MATCH).is_some_and(|list| matches(list, &etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        if !call.is_head {
            note(&service, &call, of, &plan.retrieval).await?;
        }
        // A range of another version of the answer would not fit what the client has (RFC 9110 section 13.1.5).
        let fresh = text(header::IF_RANGE).is_none_or(|condition| condition == etag);
        let range = text(header::RANGE).filter(|_| fresh).and_then(Range::parse);
        match (range, call.is_head) {
            (None, false) => whole(&service, caller, plan.clone()).await?,
            (range, head) => part(&service, caller, plan.clone(), range, head).await?,
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
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
    if let Some(missing) = incomplete_header(&plan.incomplete) {
        headers.insert(INCOMPLETE, missing);
    }
    Ok(InForm(response))
}

async fn whole(
    service: &Arc<Service>,
    caller: &fep_identity::Caller,
    plan: Plan,
) -> Result<Response, Problem> {
    Ok(Body::from_stream(begun(service, caller, plan, 0, u64::MAX).await?).into_response())
}

/// A part, or only the length.
async fn part(
    service: &Arc<Service>,
    caller: &fep_identity::Caller,
    plan: Plan,
    range: Option<Range>,
    head: bool,
) -> Result<Response, Problem> {
    let place = service.retrieval_place(caller)?;
    let measured = plan.clone();
    let length = blocking(place, move |runtime| answer::length(&measured, runtime))
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
    let body = if head {
        Body::empty()
    } else {
        Body::from_stream(begun(service, caller, plan, from, until).await?)
    };
    Ok((StatusCode::PARTIAL_CONTENT, headers, body).into_response())
}

/// The stream of an answer, once its first piece is there: what fails before is a problem document, not a broken connection.
async fn begun(
    service: &Arc<Service>,
    caller: &fep_identity::Caller,
    plan: Plan,
    from: u64,
    until: u64,
) -> Result<impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static, Problem> {
    // Taken until the answer is made and sent: what is made and waits in memory for a client counts.
    let place = Arc::new(service.retrieval_place(caller)?);
    let sending = Arc::clone(&place);
    let counted = Arc::clone(service);
    let mut receiver = answer::stream(plan, from, until, move |result| {
        drop(place);
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
    Ok(futures::stream::poll_fn(move |context| {
        let _held = &sending;
        match first.take() {
            Some(piece) => std::task::Poll::Ready(Some(piece)),
            None => receiver.poll_recv(context),
        }
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
