//! `GET /v1/tail`: what comes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use fep_archive_query::{Colour, Format, Retrieval, Unit};
use fep_catalogue::{Arrival, Arrivals};
use fep_kit::Problem;
use fep_route::{Answer, Call, Declared, Form, Route, Schemas};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::reach::{self, Of, ROWS};
use super::retrieve::{of_packet_rows, of_rows};
use super::{READERS, params};
use crate::form::{Written, form_of};
use crate::retrieval::{Columns, Row, RowFilter};
use crate::service::Service;

/// Events on their way to a client.
const EVENTS_MAX: usize = 1024;
const TAIL: Of = ("GET", "/v1/tail");

pub(super) fn route(service: &Arc<Service>) -> Declared {
    let text = "Rows as they come, one event (frame or packet, a JSON object) each. Every row comes once. Of a client that takes \
        them too slowly some hundred thousand are kept waiting; then an event `missed` says how many rows passed it by. For \
        frames and packets without a loss there are the feeds; this is for looking.";
    let route = Route::get(TAIL.1, text).roles(READERS).reaches(ROWS).query(
        "unit",
        Form::OneOf(&["frames", "packets"]),
        "What comes; frames where nothing is said.",
    );
    of_packet_rows(of_rows(route)).to(service, tail)
}

/// Events without an end.
struct Coming(Response);

impl Answer for Coming {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("text/event-stream");
    const STREAMS: bool = true;

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(self.0)
    }
}

async fn tail(service: Arc<Service>, call: Call<()>) -> Result<Coming, Problem> {
    let unit = if call.values.get("unit") == Some("packets") { Unit::Packets } else { Unit::Frames };
    let conditions = call.values.pairs().filter(|(name, _)| *name != "unit");
    let retrieval = Retrieval::from_pairs(unit, conditions).map_err(params::problem)?;
    service.may_serve(retrieval.selection.colour)?;
    let retrieval = reach::narrow(&service, &call, TAIL, retrieval)?;
    let place = service.tail_place(call.caller()?)?;
    if retrieval.selection.colour == Colour::Red {
        service.note(&call, "red data read", TAIL.1, json!({"query": retrieval.to_string()})).await?;
    }
    let arrivals = service.archive.tail.arrivals();
    let (sender, mut receiver) = mpsc::channel::<Result<Event, Infallible>>(EVENTS_MAX);
    tokio::spawn(async move {
        // Over when the client is gone, wherever it is.
        let _ = follow(arrivals, &retrieval, &sender).await;
        drop(place);
    });
    let events = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(Coming(Sse::new(events).keep_alive(KeepAlive::default()).into_response()))
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
