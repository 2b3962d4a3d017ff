//! `POST /v1/sql`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use fep_kit::Problem;
use fep_kit::access::Caller;
use serde::Deserialize;

use super::Body;
use crate::service::Service;

/// A query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "sql"), allow(dead_code))]
pub(crate) struct Query {
    sql: String,
    /// At most so many rows; `sql.rows_max` where it is not given.
    rows_max: Option<u64>,
    /// At most so long; `sql.timeout_s` where it is not given.
    timeout_s: Option<u64>,
    #[serde(default)]
    format: Form,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Json,
    Csv,
}

/// SQL over the tables `frames` and `packets`, read-only: `{"sql": "SELECT vcid, count(*) FROM frames GROUP BY vcid",
/// "rows_max": 1000, "timeout_s": 10, "format": "json"}`. JSON answers tell in `truncated` whether there were more rows; CSV
/// answers in the header `Fep-Truncated`. Both limits can be lowered by everybody, and raised by callers with the role
/// operate.
#[utoipa::path(post, path = "/v1/sql", tag = "sql",
    responses(
        (status = 200, description = "columns, rows, truncated, took_ms"),
        (status = 400, description = "no query, or one that changes something"),
        (status = 422, description = "cancelled: over its time, or more memory than all queries have"),
        (status = 501, description = "built without SQL"),
    ))]
pub(crate) async fn run(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(query): Body<Query>,
) -> Result<Response, Problem> {
    answer(&service, &caller, query).await
}

#[cfg(not(feature = "sql"))]
async fn answer(_service: &Service, _caller: &Caller, _query: Query) -> Result<Response, Problem> {
    let detail = "this fep-archive was built without SQL";
    Err(Problem::new(axum::http::StatusCode::NOT_IMPLEMENTED, "not-built-in", detail).hint(
        "build it with the feature \"sql\", or open the index files with DuckDB: docs/archive.md tells how",
    ))
}

#[cfg(feature = "sql")]
async fn answer(service: &Service, caller: &Caller, query: Query) -> Result<Response, Problem> {
    use std::time::Duration;

    use axum::Json;
    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse;
    use fep_kit::access::Role;

    use crate::sql::{SqlAnswer, SqlError};

    let limits = service.config.sql;
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
    let answer = service.engine.run(&query.sql, rows_max, timeout).await.map_err(|error| {
        let bad = |kind| Problem::new(StatusCode::BAD_REQUEST, kind, error.to_string()).at("sql");
        let over = |kind| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, error.to_string());
        match &error {
            SqlError::Query(_) => bad("bad-query").hint("the tables are frames and packets; `DESCRIBE frames` tells the columns"),
            SqlError::NotReadOnly(_) => bad("not-read-only").allowed("SELECT, WITH, EXPLAIN, DESCRIBE, SHOW"),
            SqlError::TimedOut(_) => over("query-timed-out")
                .hint("narrow it down by rx_tai_ns, or ask for less; sql.timeout_s in the configuration is the limit"),
            SqlError::Memory(_) => over("query-too-large").hint("group by fewer values, or sort less"),
            SqlError::Fault(_) => Problem::fault("the query", &error),
        }
    })?;
    let SqlAnswer { schema, batches, truncated, took } = &answer;
    let fault = |error: &dyn std::fmt::Display| Problem::fault("writing the answer", error);
    match query.format {
        Form::Csv => {
            let mut text = Vec::new();
            let mut writer = datafusion::arrow::csv::Writer::new(&mut text);
            if batches.is_empty() {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], names.join(",") + "\n")
                    .into_response());
            }
            for batch in batches {
                writer.write(batch).map_err(|error| fault(&error))?;
            }
            drop(writer);
            let truncated = axum::http::HeaderName::from_static("fep-truncated");
            let told = if answer.truncated { "true" } else { "false" };
            Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (truncated, told)], text).into_response())
        }
        Form::Json => {
            let mut rows = Vec::new();
            let mut writer = datafusion::arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, datafusion::arrow::json::writer::JsonArray>(&mut rows);
            for batch in batches {
                writer.write(batch).map_err(|error| fault(&error))?;
            }
            writer.finish().map_err(|error| fault(&error))?;
            drop(writer);
            let rows: serde_json::Value = if rows.is_empty() {
                serde_json::json!([])
            } else {
                serde_json::from_slice(&rows).map_err(|error| fault(&error))?
            };
            let columns: Vec<serde_json::Value> = schema
                .fields()
                .iter()
                .map(|field| serde_json::json!({"name": field.name(), "type": field.data_type().to_string()}))
                .collect();
            Ok(Json(serde_json::json!({
                "columns": columns, "rows": rows, "truncated": truncated, "took_ms": took.as_millis() as u64,
            }))
            .into_response())
        }
    }
}
