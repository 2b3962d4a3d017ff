//! `GET /v1/tail`: what comes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use fep_archive_query::{Colour, Format, Retrieval, Unit};
use fep_catalogue::{Arrival, Arrivals};
use fep_kit::Problem;
use futures::Stream;
use tokio::sync::mpsc;

use super::params;
use crate::form::{Written, form_of};
use crate::retrieval::{Columns, Row, RowFilter};
use crate::service::Service;

/// Events on their way to a client.
const EVENTS_MAX: usize = 1024;

/// Rows as they come, one event (`frame` or `packet`, a JSON object) each, with the parameters of `/v1/frames` and
/// `/v1/packets` but times, `merged` and forms: `unit=packets&apid=800`. Every row comes once. Of a client that takes them too
/// slowly some hundred thousand are kept waiting; then an event `missed` tells how many rows passed it by. For frames and
/// packets without a loss there are the feeds; this is for looking.
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
    if retrieval.selection.colour == Colour::Red && !service.config.http.serve_red {
        return Err(Problem::bad_parameter("colour", "this service does not give out red data", "black"));
    }
    let permit = service.tail_permit()?;
    let arrivals = service.archive.tail.arrivals();
    let (sender, mut receiver) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(async move {
        // Over when the client is gone, wherever it is.
        let _ = follow(arrivals, &retrieval, &sender).await;
        drop(permit);
    });
    let events = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Nobody takes the events any more.
struct Gone;

/// Sends rows as they come, until the client is gone or the limit is reached.
async fn follow(
    mut arrivals: Arrivals,
    retrieval: &Retrieval,
    sender: &mpsc::Sender<Result<Event, Infallible>>,
) -> Result<(), Gone> {
    let columns = Columns::of(retrieval.unit);
    let filter = RowFilter::new(&retrieval.selection, &columns);
    let mut form = form_of(&retrieval.clone().in_format(Format::JsonLines), &columns);
    let name = if retrieval.unit == Unit::Frames { "frame" } else { "packet" };
    let mut left = retrieval.limit.unwrap_or(u64::MAX);
    loop {
        let arrival = tokio::select! {
            arrival = arrivals.next() => arrival.ok_or(Gone)?,
            () = sender.closed() => return Err(Gone),
        };
        let missed = arrivals.take_missed();
        if missed > 0 {
            let event = Event::default().event("missed").data(missed.to_string());
            sender.send(Ok(event)).await.map_err(|_| Gone)?;
        }
        for row in rows_of(&arrival, retrieval, &columns).iter().filter(|row| filter.takes(row)) {
            let mut text = Vec::new();
            let unit = Written { row, colour: arrival.colour, ring: &arrival.ring, octets: &[] };
            form.unit(&unit, &mut text).map_err(|_| Gone)?;
            let event = Event::default().event(name).data(String::from_utf8_lossy(&text).trim_end());
            sender.send(Ok(event)).await.map_err(|_| Gone)?;
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

/// The rows of an arrival that can be wanted: of the unit, colour and ring asked for.
fn rows_of(arrival: &Arrival, retrieval: &Retrieval, columns: &Columns) -> Vec<Row> {
    let selection = &retrieval.selection;
    let of_colour = arrival.colour == selection.colour;
    let of_ring = selection.ring.is_empty() || selection.ring.contains(&arrival.ring);
    let batch = match retrieval.unit {
        Unit::Frames => &arrival.frames,
        Unit::Packets => &arrival.packets,
    };
    match batch {
        Some(batch) if of_colour && of_ring => columns.rows(batch).unwrap_or_default(),
        _ => Vec::new(),
    }
}
