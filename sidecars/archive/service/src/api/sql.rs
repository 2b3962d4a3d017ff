//! `POST /v1/sql`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fep_archive_query::sql::{SqlForm, SqlRefusal};
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use serde::Deserialize;

use super::Body;
use super::retrieve::{INCOMPLETE, incomplete_header};
use crate::service::Service;
use crate::sql::{SqlAnswer, SqlError};

/// A query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    sql: String,
    /// At most so many rows; `sql.rows_max` where it is not given.
    rows_max: Option<u64>,
    /// At most so long; `sql.timeout_s` where it is not given.
    timeout_s: Option<u64>,
    #[serde(default)]
    format: SqlForm,
}

/// SQL over the tables `frames` and `packets`, read-only: `{"sql": "SELECT vcid, count(*) FROM frames GROUP BY vcid",
/// "rows_max": 1000, "timeout_s": 10, "format": "json"}`. JSON answers say in `truncated` whether there were more rows; CSV
/// answers in the header `Fep-Truncated`. `incomplete` (the header `Fep-Incomplete`) says what is in no index yet and missing. Both limits can be lowered by everybody, and raised by callers with the role
/// operate.
#[utoipa::path(post, path = "/v1/sql", tag = "sql",
    responses(
        (status = 200, description = "columns, rows, truncated, incomplete, took_ms"),
        (status = 400, description = "no query, or one that changes something"),
        (status = 422, description = "cancelled: over its time, or more memory than a query has"),
        (status = 501, description = "the program that answers SQL is not installed"),
    ))]
pub(crate) async fn run(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(query): Body<Query>,
) -> Result<Response, Problem> {
    let limits = &service.config.sql;
    let unbounded = caller.may(Role::Operate).is_ok();
    let limit = |name: &str, asked: Option<u64>, max: u64| match asked {
        Some(0) => Err(Problem::bad_parameter(name, "0", "1 or more")),
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
    let answer = service.engine.run(&query.sql, rows_max, timeout, query.format).await;
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
            Ok(response)
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
            Ok(([(header::CONTENT_TYPE, "application/json")], parts.concat()).into_response())
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
