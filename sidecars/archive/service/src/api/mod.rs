//! The HTTP interface, version 1: every route, declared with who may call it. `GET /openapi.json` describes it; refusals are
//! problem documents (RFC 9457).

mod catalogue;
mod jobs;
mod keeping;
mod params;
mod reach;
mod replay;
mod retrieve;
mod sql;
mod tail;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use fep_identity::Role;
use fep_kit::Problem;
use fep_route::{Answer, Schemas, status_routes};
use serde_json::Value;

use crate::service::Service;

/// Who sees data.
const READERS: &[Role] = &[Role::Observer];
/// Who sees what is done with data: whoever approves sees what.
const WATCHERS: &[Role] = &[Role::Observer, Role::Operator, Role::Approver];
/// Who acts in orders; the rule of an order says who may take which step.
const ACTORS: &[Role] = &[Role::Operator, Role::Approver];

/// Every route of the service, within its limits; refusals are in the audit trail.
///
/// # Errors
/// When the system gives no random octets for the identifiers of requests.
pub fn routes(service: &Arc<Service>) -> Result<fep_route::Service, String> {
    let limits = service.config.http.limits.clone();
    let authenticator = Arc::clone(&service.authenticator);
    let routes = fep_route::Service::new("fep-archive", env!("CARGO_PKG_VERSION"), authenticator, limits)
        .map_err(|error| error.to_string())?;
    Ok(routes
        .with(retrieve::routes(service))
        .with([tail::route(service), sql::route(service)])
        .with(catalogue::routes(service))
        .with(keeping::routes(service))
        .with(jobs::routes(service))
        .with(replay::routes(service))
        .with(service.trail.routes())
        .with(status_routes(&service.health, &service.metrics))
        .report_refusals_to(service.trail.refusals()))
}

/// An answer in the form that was asked for.
struct InForm(Response);

impl Answer for InForm {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("*/*");

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(self.0)
    }
}

/// A mistake of the catalogue's caller, or a fault of ours.
fn catalogue_problem(doing: &str) -> impl FnOnce(fep_catalogue::Error) -> Problem {
    use fep_catalogue::Error;
    move |error| match &error {
        Error::NotFound { .. } => Problem::not_found(error.to_string()),
        Error::Refused { .. } => Problem::conflict(error.to_string()),
        Error::NotAllowed(fep_orders::Error::Refused {
            refusal: fep_orders::Refusal::OwnOrder { .. },
            ..
        }) => Problem::new(StatusCode::FORBIDDEN, "second-person-needed", error.to_string())
            .hint("another person with the role \"approver\" must"),
        Error::NotAllowed(_) => Problem::new(StatusCode::FORBIDDEN, "not-permitted", error.to_string()).hint(
            "retention.deletion_approvers and retention.release_approvers say which roles an order needs",
        ),
        Error::Name { what, given, allowed } => {
            Problem::bad_parameter(*what, format!("unknown value {given:?}"), allowed.clone())
        }
        Error::Invalid { what, problem } => Problem::bad_parameter(*what, problem.clone(), ""),
        _ => Problem::fault(doing, &error),
    }
}
