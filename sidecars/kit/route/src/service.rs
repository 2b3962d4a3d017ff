//! A service: its routes, and what happens to every request before and after a handler runs.
//!
//! In this order: identifier, Host and Origin, path and method, who asks (401), role (403), parameters (400), scope (403),
//! room (429, 503), body (408, 413, 415), handler (503 when it takes too long).

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body as HttpBody;
use axum::extract::{RawPathParams, Request};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use bytes::Bytes;
use fep_identity::{Authenticator, Caller, Credentials, Denied, NumericDate, Person};
use fep_kit::Problem;
use fep_time::Monotonic;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::body::with_type;
use crate::guard::Names;
use crate::limits::{Admission, Limits, seconds};
use crate::param::Values;
use crate::route::{Access, Bodies, Call, Declaration, Declared, Method, Route};
use crate::watched::{Watch, Watched};

/// Kind of a refusal for want of a ticket, a token or a known peer.
pub const NOT_AUTHENTICATED: &str = "not-authenticated";
/// Kind of a refusal for want of a role.
pub const ROLE_MISSING: &str = "role-missing";
/// Kind of a refusal for want of a scope.
pub const OUT_OF_SCOPE: &str = "out-of-scope";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How a request came in: put beside it by the door that it came through.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// What is known of the other end.
    pub credentials: Credentials,
    /// The names of the door.
    pub names: Arc<Names>,
}

/// A refusal, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Identifier of the request.
    pub request_id: &'a str,
    /// Its method and path as declared.
    pub route: (&'static str, &'static str),
    /// Who asked; `None` where nobody is known.
    pub person: Option<&'a Person>,
    /// Status code of the answer.
    pub status: u16,
    /// Why, in words that the caller does not get.
    pub reason: &'a str,
}

type Report = Arc<dyn Fn(&Refusal<'_>) + Send + Sync>;

/// A mistake in a declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path}: {what}")]
pub struct Mistake {
    /// Method of the route.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// What is wrong.
    pub what: String,
}

/// The routes of a process.
#[derive(Clone)]
pub struct Service {
    title: &'static str,
    version: &'static str,
    routes: Vec<Declared>,
    shared: Arc<Shared>,
    report: Option<Report>,
}

struct Shared {
    authenticator: Arc<Authenticator>,
    limits: Limits,
    admission: Admission,
    boot: u32,
    requests: AtomicU64,
}

/// Identifier of a request, beside it.
#[derive(Debug, Clone)]
struct RequestId(String);

impl Service {
    /// A service without routes.
    ///
    /// # Errors
    /// When the system gives no random octets for the identifiers of requests.
    pub fn new(
        title: &'static str,
        version: &'static str,
        authenticator: Arc<Authenticator>,
        limits: Limits,
    ) -> io::Result<Service> {
        let mut boot = [0; 4];
        getrandom::fill(&mut boot).map_err(|error| io::Error::other(format!("no random octets: {error}")))?;
        let shared = Shared {
            authenticator,
            admission: Admission::new(&limits),
            limits,
            boot: u32::from_be_bytes(boot),
            requests: AtomicU64::new(0),
        };
        Ok(Service { title, version, routes: Vec::new(), shared: Arc::new(shared), report: None })
    }

    /// With these routes too.
    #[must_use]
    pub fn with(mut self, routes: impl IntoIterator<Item = Declared>) -> Service {
        self.routes.extend(routes);
        self
    }

    /// Reports every 401 and 403 that is answered for want of identity, role or scope.
    #[must_use]
    pub fn report_refusals_to(mut self, report: impl Fn(&Refusal<'_>) + Send + Sync + 'static) -> Service {
        self.report = Some(Arc::new(report));
        self
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// What is declared.
    pub fn declarations(&self) -> impl Iterator<Item = &Declaration> {
        self.routes.iter().map(|route| &route.declaration)
    }

    /// The OpenAPI 3.1 document.
    #[must_use]
    pub fn openapi(&self) -> Value {
        crate::openapi::document(self.title, self.version, &self.routes)
    }

    /// The router of all routes and of `GET /openapi.json`.
    ///
    /// # Errors
    /// Declarations that contradict one another or themselves.
    pub fn router(&self) -> Result<Router, Mistake> {
        let document = Arc::new(Bytes::from(self.openapi().to_string()));
        let described = Route::get("/openapi.json", "This document.")
            .open_to_everybody("it describes the interface and no data")
            .to(&document, describe);
        let mut seen = BTreeSet::new();
        let mut schemas = BTreeMap::new();
        let mut router = Router::new();
        for route in self.routes.iter().chain([&described]) {
            check(&route.declaration)?;
            let (method, path) = (route.declaration.method, route.declaration.path);
            if !seen.insert((path, method)) {
                return Err(mistake(&route.declaration, "declared twice"));
            }
            for (name, schema) in &route.bodies.schemas {
                let schema = serde_json::to_value(schema).unwrap_or_default();
                if schemas.insert(name, schema.clone()).is_some_and(|other| other != schema) {
                    return Err(mistake(
                        &route.declaration,
                        format!("another type has the schema name {name}"),
                    ));
                }
            }
            router = router.route(path, self.method_router(route.clone()));
        }
        let shared = Arc::clone(&self.shared);
        Ok(router.fallback(no_such_path).method_not_allowed_fallback(no_such_method).layer(
            middleware::from_fn(move |request: Request, next: Next| {
                around(Arc::clone(&shared), request, next)
            }),
        ))
    }

    fn method_router(&self, route: Declared) -> MethodRouter<(), Infallible> {
        let filter = match route.declaration.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        };
        let (shared, report) = (Arc::clone(&self.shared), self.report.clone());
        let route = Arc::new(route);
        on(filter, move |path: RawPathParams, request: Request| {
            let (shared, report, route) = (Arc::clone(&shared), report.clone(), Arc::clone(&route));
            async move {
                let id = id_of(request.extensions());
                match answer(&shared, report.as_ref(), &route, &path, request).await {
                    Ok(response) => response,
                    Err(problem) => refuse(problem, &id),
                }
            }
        })
    }
}

fn mistake(declaration: &Declaration, what: impl Into<String>) -> Mistake {
    Mistake { method: declaration.method.name(), path: declaration.path, what: what.into() }
}

/// Holds a declaration to itself.
fn check(declaration: &Declaration) -> Result<(), Mistake> {
    let wrong = |what: String| Err(mistake(declaration, what));
    if !declaration.path.starts_with('/') {
        return wrong("a path begins with /".to_owned());
    }
    let in_path: Vec<&str> =
        declaration.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let declared = |name: &str| declaration.parameters.iter().any(|parameter| parameter.name == name);
    if let Some(name) = in_path.iter().find(|name| !declared(name)) {
        return wrong(format!("the parameter {name} of the path is not declared"));
    }
    for parameter in &declaration.parameters {
        if (parameter.place == crate::Place::Path) != in_path.contains(&parameter.name) {
            return wrong(format!("the parameter {} does not stand where it is declared", parameter.name));
        }
        if declaration.parameters.iter().filter(|other| other.name == parameter.name).count() > 1 {
            return wrong(format!("the parameter {} is declared twice", parameter.name));
        }
    }
    match declaration.access {
        Access::Everybody(_) => Ok(()),
        Access::Roles(roles, _) if roles.is_empty() => wrong("no role may call it".to_owned()),
        Access::Roles(_, reach) => match reach.names().into_iter().flatten().find(|name| !declared(name)) {
            Some(name) => wrong(format!("its scope comes from the parameter {name}, which is not declared")),
            None => Ok(()),
        },
    }
}

/// What happens around every request, also one without a route.
async fn around(shared: Arc<Shared>, mut request: Request, next: Next) -> Response {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-{number:x}", shared.boot);
    let checked = match request.extensions().get::<Arrival>() {
        Some(arrival) => arrival.names.check(request.uri(), request.headers()),
        None => Err(Problem::fault("finding out how a request came", &"it came through no door")),
    };
    if let Err(problem) = checked {
        return with_id(refuse(problem, &id), &id);
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    with_id(next.run(request).await, &id)
}

fn with_id(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn id_of(extensions: &Extensions) -> String {
    extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// The answer to a refused request. A client whose body was not read whole is not heard any further.
fn refuse(mut problem: Problem, id: &str) -> Response {
    problem.instance = format!("/requests/{id}");
    let status = problem.status();
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn describe(document: Arc<Bytes>, _call: Call<()>) -> Result<Document, Problem> {
    Ok(Document((*document).clone()))
}

/// The OpenAPI document.
struct Document(Bytes);

impl crate::Answer for Document {
    const STATUS: StatusCode = StatusCode::OK;
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");

    fn describe(_: &mut crate::Schemas) -> Option<Value> {
        None
    }

    fn write(self) -> Result<Response, Problem> {
        Ok(with_type(self.0, "application/json"))
    }
}

async fn no_such_path(Extension(id): Extension<RequestId>, uri: Uri) -> Response {
    let problem = Problem::not_found(format!("there is nothing at {}", uri.path()));
    refuse(problem.hint("GET /openapi.json describes what is"), &id.0)
}

async fn no_such_method(
    Extension(id): Extension<RequestId>,
    method: axum::http::Method,
    uri: Uri,
) -> Response {
    let detail = format!("{} does not take {method}", uri.path());
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
    refuse(problem.hint("GET /openapi.json describes what it takes"), &id.0)
}

async fn answer(
    shared: &Arc<Shared>,
    report: Option<&Report>,
    route: &Declared,
    path: &RawPathParams,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let request_id = id_of(&parts.extensions);
    let declaration = &route.declaration;
    let refused = |status: StatusCode, person: Option<&Person>, reason: &str| {
        let route = (declaration.method.name(), declaration.path);
        tracing::info!(request = %request_id, method = route.0, path = route.1, "refused: {reason}");
        if let Some(report) = report {
            report(&Refusal { request_id: &request_id, route, person, status: status.as_u16(), reason });
        }
    };
    let caller = match declaration.access {
        Access::Everybody(_) => None,
        Access::Roles(..) => match who(shared, &parts.headers, &parts.extensions) {
            Ok(caller) => Some(caller),
            Err((problem, reason)) => {
                refused(StatusCode::UNAUTHORIZED, None, &reason);
                return Err(problem);
            }
        },
    };
    let denied = |caller: &Caller, denied: Denied| {
        refused(StatusCode::FORBIDDEN, Some(&caller.person), &denied.to_string());
        let kind = match denied {
            Denied::Role { .. } => ROLE_MISSING,
            Denied::Scope { .. } => OUT_OF_SCOPE,
        };
        Problem::new(StatusCode::FORBIDDEN, kind, denied.to_string())
            .hint("an administrator gives roles and scopes")
    };
    if let (Some(caller), Access::Roles(roles, _)) = (&caller, declaration.access) {
        caller.may(roles).map_err(|error| denied(caller, error))?;
    }
    let query = parts.uri.query().unwrap_or("");
    let values = Values::read(&declaration.parameters, path.iter(), query)?;
    if let (Some(caller), Access::Roles(_, reach)) = (&caller, declaration.access) {
        caller.may_reach(&reach.target(&values)).map_err(|error| denied(caller, error))?;
    }
    let streams = route.bodies.streams;
    let person = caller.as_ref().map(|caller| &caller.person.id);
    let admitted = shared.admission.admit(person, streams)?;
    let most = declaration.max_body_bytes.unwrap_or(shared.limits.body_bytes);
    let octets = read_body(shared, &route.bodies, most, &parts.headers, body).await?;
    let watch = streams.then(|| watch(shared, &parts.headers, &parts.extensions, caller.clone()));
    let is_head = parts.method == axum::http::Method::HEAD;
    let call = Call { values, body: octets, headers: parts.headers, is_head, request_id, caller };
    let limit = seconds(declaration.handler_timeout_s.unwrap_or(shared.limits.handler_timeout_s));
    let answered = tokio::time::timeout(limit, (route.handler)(call)).await.map_err(|_| {
        let detail = format!("the answer did not begin within {} s", limit.as_secs());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "took-too-long", detail).hint("ask for less, or later")
    })?;
    Ok(answered?.map(|body| HttpBody::new(Watched::new(body, admitted, watch.flatten()))))
}

/// Who asks; what the caller gets to know of a refusal, and why it really is.
fn who(
    shared: &Shared,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Arc<Caller>, (Problem, String)> {
    shared.authenticator.look(Monotonic::now());
    let refuse = |detail: &str, reason: String| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, NOT_AUTHENTICATED, detail)
            .at("Authorization")
            .allowed("Bearer TICKET")
            .hint("POST /v1/login answers with a ticket; an API token is taken where the service accepts tokens");
        (problem, reason)
    };
    let bearer = bearer(headers).map_err(|detail| refuse(detail, detail.to_owned()))?;
    let credentials =
        extensions.get::<Arrival>().map_or(Credentials::None, |arrival| arrival.credentials.clone());
    shared.authenticator.caller(bearer, credentials, NumericDate::now()).map_err(|reason| {
        let detail = match bearer {
            Some(_) => "this ticket or token is not accepted",
            None => "a ticket or a token is needed",
        };
        refuse(detail, reason.to_string())
    })
}

/// The ticket or token of a request; `None` where there is no header `Authorization`.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("the header Authorization stands twice");
    }
    let value = value.to_str().ok().and_then(|text| text.split_once(' '));
    match value {
        Some((scheme, bearer)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(bearer.trim())),
        _ => Err("the header Authorization is not `Bearer TICKET`"),
    }
}

/// What ends a stream: its caller is not who they were any more.
fn watch(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    extensions: &Extensions,
    caller: Option<Arc<Caller>>,
) -> Option<Watch> {
    let caller = caller?;
    let bearer = bearer(headers).ok().flatten().map(str::to_owned);
    let credentials =
        extensions.get::<Arrival>().map_or(Credentials::None, |arrival| arrival.credentials.clone());
    let shared = Arc::clone(shared);
    Some(Watch::new(move || {
        shared.authenticator.look(Monotonic::now());
        let now = shared.authenticator.caller(bearer.as_deref(), credentials.clone(), NumericDate::now());
        now.is_ok_and(|now| now.roles == caller.roles && now.scopes == caller.scopes)
    }))
}

/// Reads a body whole, within its limit and time.
async fn read_body(
    shared: &Shared,
    bodies: &Bodies,
    most: usize,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<Bytes, Problem> {
    let may_be_missing = bodies.request_is_optional && !headers.contains_key(CONTENT_TYPE);
    if let Some(wanted) = bodies.request_type.filter(|_| !may_be_missing) {
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let given = given.split(';').next().unwrap_or("").trim();
        if !given.eq_ignore_ascii_case(wanted) {
            let detail = "the body is of another media type";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
                .at("Content-Type")
                .allowed(wanted));
        }
    }
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "the body is larger than this route takes",
        )
        .at("body")
        .allowed(format!("{most} octets"))
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|octets| octets > most as u64) {
        return Err(too_large());
    }
    let limit = seconds(shared.limits.body_timeout_s);
    match tokio::time::timeout(limit, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => {
            let octets = collected.to_bytes();
            if may_be_missing && !octets.is_empty() {
                let detail = "the body has no media type";
                let allowed = bodies.request_type.unwrap_or_default();
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
                    .at("Content-Type")
                    .allowed(allowed));
            }
            Ok(octets)
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-body",
            format!("the body cannot be read: {error}"),
        )
        .at("body")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", limit.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail).at("body"))
        }
    }
}
