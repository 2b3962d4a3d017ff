//! `GET /v1/tail`: what comes, as server-sent events.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use fep_archive_query::{Colour as QueryColour, Format, Retrieval, Unit};
use fep_catalogue::Colour;
use fep_kit::Problem;
use futures::Stream;
use tokio::sync::mpsc;

use super::params;
use crate::form::{Written, form_of};
use crate::retrieval::{Columns, Row, RowFilter};
use crate::service::Service;

/// Time between two looks at the open tail.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Events that wait for a slow client; after that it loses some and is told.
const WAITING_MAX: usize = 4096;

/// Rows as they come, one event (`frame` or `packet`, a JSON object) each, with the parameters of `/v1/frames` and
/// `/v1/packets` but times, `merged` and forms: `unit=packets&apid=800`. An event `missed` tells how many rows passed that
/// this client was too slow for. For frames and packets without a loss there are the feeds; this is for looking.
#[utoipa::path(get, path = "/v1/tail", tag = "retrieval",
    params(("unit" = Option<String>, Query, description = "frames (default) or packets"),
        ("scid" = Option<String>, Query, description = "and the other conditions of /v1/frames and /v1/packets")),
    responses((status = 200, description = "text/event-stream that does not end")))]
pub(crate) async fn tail(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let query = query.unwrap_or_default();
    let mut unit = Unit::Frames;
    let mut rest = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (name.as_ref(), value.as_ref()) {
            ("unit", "frames") => unit = Unit::Frames,
            ("unit", "packets") => unit = Unit::Packets,
            ("unit", other) => {
                return Err(Problem::bad_parameter(
                    "unit",
                    format!("unknown value {other:?}"),
                    "frames, packets",
                ));
            }
            ("from" | "to" | "merged" | "format" | "octets", _) => {
                let detail = "a live tail has none: it is what comes now, as it comes";
                return Err(Problem::bad_parameter(name, detail, "none"));
            }
            _ => rest.push((name, value)),
        }
    }
    let retrieval = Retrieval::from_pairs(unit, rest).map_err(params::problem)?;
    if retrieval.selection.colour == QueryColour::Red && !service.config.http.serve_red {
        return Err(Problem::bad_parameter("colour", "this service does not give out red data", "black"));
    }
    let permit = service.tail_permit()?;
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        follow(&service, &retrieval, &sender).await;
        drop(permit);
    });
    let events = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Sends rows that are new since the last look, until the client is gone or the limit is reached.
async fn follow(service: &Service, retrieval: &Retrieval, sender: &mpsc::Sender<Result<Event, Infallible>>) {
    let columns = Columns::of(retrieval.unit);
    let filter = RowFilter::new(&retrieval.selection, &columns);
    let retrieval = retrieval.clone().in_format(Format::JsonLines);
    let mut form = form_of(&retrieval, &columns);
    let name = if retrieval.unit == Unit::Frames { "frame" } else { "packet" };
    let mut seen: BTreeMap<(Colour, String), (i64, i64)> = BTreeMap::new();
    let (mut first, mut missed, mut sent) = (true, 0_u64, 0_u64);
    while !sender.is_closed() {
        for (colour, ring, rows, passed) in new_rows(service, retrieval.unit, &columns, &mut seen, first) {
            missed += passed;
            for row in rows.iter().filter(|row| wanted(&retrieval, &filter, colour, &ring, row)) {
                let mut text = Vec::new();
                if form.unit(&Written { row, colour, ring: &ring, octets: &[] }, &mut text).is_err() {
                    return;
                }
                let event = Event::default().event(name).data(String::from_utf8_lossy(&text).trim_end());
                match sender.try_send(Ok(event)) {
                    Ok(()) => sent += 1,
                    Err(mpsc::error::TrySendError::Full(_)) => missed += 1,
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
                if retrieval.limit.is_some_and(|limit| sent >= limit) {
                    return;
                }
            }
        }
        if missed > 0
            && sender.try_send(Ok(Event::default().event("missed").data(missed.to_string()))).is_ok()
        {
            missed = 0;
        }
        first = false;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn wanted(retrieval: &Retrieval, filter: &RowFilter, colour: Colour, ring: &str, row: &Row) -> bool {
    let selection = &retrieval.selection;
    let of_colour = match selection.colour {
        QueryColour::Black => colour == Colour::Black,
        QueryColour::Red => colour == Colour::Red,
    };
    of_colour
        && (selection.ring.is_empty() || selection.ring.iter().any(|name| name == ring))
        && filter.takes(row)
}

/// Rows of the tail after the last ones seen, by ring, and how many rows passed between two looks unseen (their segment
/// was sealed meanwhile). The first look only takes note of where the tail ends.
fn new_rows(
    service: &Service,
    unit: Unit,
    columns: &Columns,
    seen: &mut BTreeMap<(Colour, String), (i64, i64)>,
    first: bool,
) -> Vec<(Colour, String, Vec<Row>, u64)> {
    let snapshot = service.archive.tail.snapshot();
    let batches: Vec<_> = match unit {
        Unit::Frames => snapshot.frames().collect(),
        Unit::Packets => snapshot.packets().collect(),
    };
    let mut found = Vec::new();
    for (colour, ring, batch) in batches {
        let Ok(mut rows) = columns.rows(batch) else { continue };
        let last = seen.entry((colour, ring.to_owned())).or_insert((i64::MIN, i64::MIN));
        rows.retain(|row| (row.number(columns.series), row.number(columns.seq)) > *last);
        let passed = match rows.first().map(|row| (row.number(columns.series), row.number(columns.seq))) {
            Some((series, seq)) if series == last.0 => (seq - last.1 - 1) as u64,
            _ => 0,
        };
        if let Some(row) = rows.last() {
            *last = (row.number(columns.series), row.number(columns.seq));
            if !first {
                found.push((colour, ring.to_owned(), rows, passed));
            }
        }
    }
    found
}
