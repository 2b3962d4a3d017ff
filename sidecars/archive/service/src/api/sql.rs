//! `POST /v1/sql`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use fep_archive_query::Colour;
use fep_archive_query::sql::{SqlForm, SqlRefusal};
use fep_identity::Role;
use fep_kit::Problem;
use fep_route::{Call, Declared, Json, Reach, Route, Source};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::reach::{self, Of};
use super::retrieve::{INCOMPLETE, incomplete_header};
use super::{InForm, READERS};
use crate::service::Service;
use crate::sql::{SqlAnswer, SqlError};

const SQL: Of = ("POST", "/v1/sql");
/// No query runs for longer, whoever asks.
const LONGEST_S: u64 = 3600;

pub(super) fn route(service: &Arc<Service>) -> Declared {
    // A query sees every row of its colours, so that its caller must reach every spacecraft and session of them.
    let colour =
        if service.config.http.serve_red { Source::InScope } else { reach::colours(&service.config) };
    let text = "SQL over the tables frames and packets, read-only, for callers whose scope has every spacecraft and session; of the \
        colours that it has. JSON answers say in `truncated` whether there were more rows; CSV answers in the header \
        Fep-Truncated. Both limits can be lowered by everybody, and raised by operators.";
    Route::post(SQL.1, text)
        .roles(READERS)
        .reaches(Reach { colour, ..Reach::EVERYTHING })
        .handler_timeout_s(LONGEST_S as u16)
        .to(service, run)
}

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
    /// At most so many rows; `sql.rows_max` where it is not given.
    rows_max: Option<u64>,
    /// At most so long; `sql.timeout_s` where it is not given.
    timeout_s: Option<u64>,
    /// `json` or `csv`.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(json|csv)$")]
    format: SqlForm,
}

async fn run(service: Arc<Service>, call: Call<Json<Query>>) -> Result<InForm, Problem> {
    let (query, caller) = (&call.body.0, call.caller()?);
    let limits = &service.config.sql;
    let unbounded = caller.may_as(Role::Operator).is_ok();
    let limit = |name: &str, asked: Option<u64>, max: u64| match asked {
        Some(0) => Err(Problem::bad_parameter(name, "0", "1 or more")),
        Some(more) if name == "timeout_s" && more > LONGEST_S => Err(Problem::bad_parameter(
            name,
            format!("{more} s is longer than any query may run"),
            format!("1 to {LONGEST_S}"),
        )),
        Some(more) if more > max && !unbounded => Err(Problem::bad_parameter(
            name,
            format!("{more} is more than callers may ask for"),
            format!("1 to {max}"),
        )),
        asked => Ok(asked.unwrap_or(max)),
    };
    let rows_max = limit("rows_max", query.rows_max, limits.rows_max)?;
    let timeout = Duration::from_secs(limit("timeout_s", query.timeout_s, limits.timeout_s)?);
    let _permit = service.query_permit()?;
    let seen = reach::seen(caller);
    let colours: Vec<Colour> =
        Colour::ALL.iter().copied().filter(|colour| seen.has_all_of(*colour)).collect();
    if service.config.http.serve_red && colours.contains(&Colour::Red) {
        service.note(&call, "red data read", SQL.1, json!({"sql": query.sql})).await?;
    }
    let answer = service.engine.run(&query.sql, rows_max, timeout, query.format, &colours).await;
    let SqlAnswer { columns, rows, truncated, took_ms, incomplete } =
        answer.map_err(|error| problem(&error))?;
    let is_truncated = if truncated { "true" } else { "false" };
    match query.format {
        SqlForm::Csv => {
            let truncated = (HeaderName::from_static("fep-truncated"), is_truncated);
            let mut response =
                ([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), truncated], rows).into_response();
            if let Some(missing) = incomplete_header(&incomplete) {
                response.headers_mut().insert(INCOMPLETE, missing);
            }
            Ok(InForm(response))
        }
        SqlForm::Json => {
            let columns =
                serde_json::to_vec(&columns).map_err(|error| Problem::fault("the answer", &error))?;
            // The rows are JSON already.
            let took_ms = took_ms.to_string();
            let incomplete =
                serde_json::to_vec(&incomplete).map_err(|error| Problem::fault("the answer", &error))?;
            let parts: [&[u8]; 11] = [
                b"{\"columns\":",
                &columns,
                b",\"rows\":",
                &rows,
                b",\"truncated\":",
                is_truncated.as_bytes(),
                b",\"incomplete\":",
                &incomplete,
                b",\"took_ms\":",
                took_ms.as_bytes(),
                b"}",
            ];
            Ok(InForm(([(header::CONTENT_TYPE, "application/json")], parts.concat()).into_response()))
        }
    }
}

fn problem(error: &SqlError) -> Problem {
    let bad = |kind| Problem::new(StatusCode::BAD_REQUEST, kind, error.to_string()).at("sql");
    let over = |kind| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, error.to_string());
    let kind = match error {
        SqlError::Refused { kind, .. } => *kind,
        SqlError::TimedOut(_) => {
            return over("query-timed-out").hint(
                "narrow it down by rx_tai_ns, or ask for less; sql.timeout_s in the configuration is the limit",
            );
        }
        SqlError::NotInstalled(_) => {
            return Problem::new(StatusCode::NOT_IMPLEMENTED, "not-installed", error.to_string()).hint(
                "`make sql` builds it; or open the index files with DuckDB: docs/archive.md shows how",
            );
        }
        SqlError::Fault(_) => SqlRefusal::Fault,
    };
    match kind {
        SqlRefusal::Query => {
            bad("bad-query").hint("the tables are frames and packets; `DESCRIBE frames` lists the columns")
        }
        SqlRefusal::NotReadOnly => bad("not-read-only").allowed("SELECT, WITH, EXPLAIN, DESCRIBE, SHOW"),
        SqlRefusal::Memory => over("query-too-large").hint("group by fewer values, or sort less"),
        SqlRefusal::Fault => Problem::fault("the query", error),
    }
}
