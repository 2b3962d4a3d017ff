//! Refusals over HTTP: RFC 9457 problem documents that say what, where, what is allowed and what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Media type of a problem document (RFC 9457 section 6.1).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One refusal. `type`, `title`, `status` and `detail` are RFC 9457's members, the rest are extension members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which kind of problem, as a relative reference that does not change between versions: `/problems/bad-parameter`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// Status code of the answer.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Which request this was, as a relative reference: `/requests/ID`. Empty where requests have no identifiers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Where in the request: the name of a parameter, a header, a field.
    #[serde(default, rename = "where", skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What would be accepted there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub allowed: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Problem {
    /// A problem of this kind (the last part of the reference, in kebab-case; the title is made of it).
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Problem {
        let mut title = kind.replace('-', " ");
        if let Some(first) = title.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        Problem {
            kind: format!("/problems/{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            instance: String::new(),
            place: String::new(),
            allowed: String::new(),
            hint: String::new(),
        }
    }

    /// A parameter that is unknown, wrong, or makes no sense here.
    #[must_use]
    pub fn bad_parameter(
        name: impl Into<String>,
        detail: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", detail).at(name).allowed(allowed)
    }

    /// Nothing of this name.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// Not in this state, or not while something else holds.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// A fault of the service. The cause goes to the log, not to the caller.
    #[must_use]
    pub fn fault(doing: &str, cause: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%cause, "{doing} failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", format!("{doing} failed"))
            .hint("the log of the service tells the cause")
    }

    /// Says where in the request.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Problem {
        self.place = place.into();
        self
    }

    /// Says what would be accepted.
    #[must_use]
    pub fn allowed(mut self, allowed: impl Into<String>) -> Problem {
        self.allowed = allowed.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = hint.into();
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.detail)?;
        if !self.allowed.is_empty() {
            write!(f, " (allowed: {})", self.allowed)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The answer to a path that does not exist.
pub async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path())).hint("GET /openapi.json tells what is")
}

/// The answer to a method that a path does not have.
pub async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("{} does not take {method}", uri.path()),
    )
    .hint("GET /openapi.json tells what it takes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    // REQ: FEP-KIT-002
    #[tokio::test]
    async fn a_refusal_is_a_problem_document_with_what_where_and_what_is_allowed() {
        let problem = Problem::bad_parameter("vcid", "\"x\" is no number", "0 to 63").hint("see docs");
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let body = response.into_body().collect().await.expect("in memory").to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "/problems/bad-parameter", "title": "Bad parameter", "status": 400,
                "detail": "\"x\" is no number", "where": "vcid", "allowed": "0 to 63", "hint": "see docs",
            })
        );
    }

    #[test]
    fn a_fault_does_not_tell_its_cause_to_the_caller() {
        let problem = Problem::fault("reading a segment", &"/secret/path: permission denied");
        assert!(!format!("{problem:?}").contains("secret"));
        assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
