//! Bodies of requests and answers: their types say how they are read, written and described.

use axum::body::Body as HttpBody;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fep_kit::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// Schemas by name, for the components of the OpenAPI document.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// The body of a request.
pub trait Body: Sized + Send + 'static {
    /// Its media type; `None` for a request without a body.
    const MEDIA_TYPE: Option<&'static str>;
    /// Whether a request may also come without it; it then has no media type either.
    const IS_OPTIONAL: bool = false;

    /// Its JSON schema; what that refers to is added to `schemas`.
    fn describe(schemas: &mut Schemas) -> Option<Value>;

    /// Reads it.
    ///
    /// # Errors
    /// A problem document that says what is wrong and where.
    fn read(octets: Bytes) -> Result<Self, Problem>;
}

/// The body of an answer.
pub trait Answer: Send + 'static {
    /// Status code of a success.
    const STATUS: StatusCode;
    /// Its media type; `None` for an answer without a body.
    const MEDIA_TYPE: Option<&'static str>;
    /// Whether it goes on for as long as the caller wants it and may have it.
    const STREAMS: bool = false;

    /// Its JSON schema; what that refers to is added to `schemas`.
    fn describe(schemas: &mut Schemas) -> Option<Value>;

    /// Writes it.
    ///
    /// # Errors
    /// A problem document where it cannot be written.
    fn write(self) -> Result<Response, Problem>;
}

/// JSON of a type that has a schema; members that the type does not know are refused where it says so
/// (`#[serde(deny_unknown_fields)]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// JSON that may be left out, or be `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaybeJson<T>(pub Option<T>);

/// A JSON list of things of a type that has a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

/// Octets without a form of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Octets(pub Bytes);

fn describe<T: ToSchema>(schemas: &mut Schemas) -> Value {
    let name = T::name().into_owned();
    let reference = json!({"$ref": format!("#/components/schemas/{name}")});
    schemas.push((name, T::schema()));
    T::schemas(schemas);
    reference
}

impl<T: DeserializeOwned + ToSchema + Send + 'static> Body for Json<T> {
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");

    fn describe(schemas: &mut Schemas) -> Option<Value> {
        Some(describe::<T>(schemas))
    }

    fn read(octets: Bytes) -> Result<Json<T>, Problem> {
        read_json(&octets).map(Json)
    }
}

fn read_json<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Problem> {
    // Derived code also takes the members of an object as a list, in the order of the type: nobody means that, and what a place
    // in the list says changes with the type.
    if octets.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-body",
            "a list stands in the place of an object",
        )
        .at("body")
        .hint("GET /openapi.json describes the body"));
    }
    serde_json::from_slice(octets).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-body", error.to_string())
            .at(format!("body, line {}, column {}", error.line(), error.column()))
            .hint("GET /openapi.json describes the body")
    })
}

impl<T: DeserializeOwned + ToSchema + Send + 'static> Body for MaybeJson<T> {
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");
    const IS_OPTIONAL: bool = true;

    fn describe(schemas: &mut Schemas) -> Option<Value> {
        Some(json!({"oneOf": [{"type": "null"}, describe::<T>(schemas)]}))
    }

    fn read(octets: Bytes) -> Result<MaybeJson<T>, Problem> {
        if octets.is_empty() {
            return Ok(MaybeJson(None));
        }
        read_json(&octets).map(MaybeJson)
    }
}

impl<T: Serialize + ToSchema + Send + 'static> Answer for Json<T> {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");

    fn describe(schemas: &mut Schemas) -> Option<Value> {
        Some(describe::<T>(schemas))
    }

    fn write(self) -> Result<Response, Problem> {
        json_of(&self.0)
    }
}

impl<T: Serialize + ToSchema + Send + 'static> Answer for List<T> {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");

    fn describe(schemas: &mut Schemas) -> Option<Value> {
        Some(json!({"type": "array", "items": describe::<T>(schemas)}))
    }

    fn write(self) -> Result<Response, Problem> {
        json_of(&self.0)
    }
}

fn json_of(value: &impl Serialize) -> Result<Response, Problem> {
    let octets = serde_json::to_vec(value).map_err(|error| Problem::fault("writing an answer", &error))?;
    Ok(with_type(octets, "application/json"))
}

impl Body for () {
    const MEDIA_TYPE: Option<&'static str> = None;

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn read(octets: Bytes) -> Result<(), Problem> {
        if octets.is_empty() {
            return Ok(());
        }
        Err(Problem::new(StatusCode::BAD_REQUEST, "bad-body", "this request has no body").at("body"))
    }
}

impl Answer for () {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    const MEDIA_TYPE: Option<&'static str> = None;

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

impl Body for Octets {
    const MEDIA_TYPE: Option<&'static str> = Some("application/octet-stream");

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn read(octets: Bytes) -> Result<Octets, Problem> {
        Ok(Octets(octets))
    }
}

impl Answer for Octets {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/octet-stream");

    fn describe(_: &mut Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(with_type(self.0, "application/octet-stream"))
    }
}

/// A response of this media type that nobody keeps or guesses another type for.
pub(crate) fn with_type(body: impl Into<HttpBody>, media_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Note {
        text: String,
        #[serde(default)]
        urgent: bool,
    }

    // REQ: FEP-KIT-279
    #[test]
    fn a_list_is_not_taken_for_the_members_of_an_object() {
        let read = |text: &str| Json::<Note>::read(Bytes::copy_from_slice(text.as_bytes()));
        let wanted = Note { text: "a".to_owned(), urgent: true };
        assert_eq!(read(r#" {"text": "a", "urgent": true}"#).expect("an object"), Json(wanted));
        for list in [r#"["a", true]"#, "\n\t [\"a\"]", "[]"] {
            let refused = read(list).expect_err(list);
            assert_eq!((refused.status, refused.detail.contains("a list")), (400, true), "{list}: {refused}");
        }
        let maybe = MaybeJson::<Note>::read(Bytes::from_static(br#"["a", true]"#));
        assert!(maybe.is_err());
    }
}
