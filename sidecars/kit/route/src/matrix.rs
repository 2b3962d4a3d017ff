//! The test that a service generates of itself: every route, called as every role × scope × session, answers exactly those
//! who may call it.
//!
//! What is expected is worked out here from the declarations and plain lists, not by the code that decides at run time.
//! Every call goes through the whole router with a ticket of its own. A route whose body is needed is called with one that
//! is refused as a body, after the caller was let in.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use fep_bus::Colour;
use fep_identity::{Colours, Credentials, Role, RoleSet, Scope, Sessions, Spacecraft};
use fep_kit::Problem;
use fep_record::Session;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::guard::Names;
use crate::param::{Place, Source};
use crate::route::{Access, Declaration};
use crate::service::{Arrival, NOT_AUTHENTICATED, OUT_OF_SCOPE, ROLE_MISSING, Service};

/// Spacecraft that targets and scopes are made of: one in the narrow scopes, one outside.
const SCIDS: [u16; 2] = [11, 12];

/// What the generated test found.
#[derive(Debug, Default)]
pub struct Matrix {
    /// Calls made.
    pub calls: usize,
    /// Calls of them that were let in.
    pub let_in: usize,
    /// Calls that were answered otherwise than the declarations say.
    pub wrong: Vec<String>,
}

/// A scope as plain lists; `None` is everything.
#[derive(Debug, Clone)]
struct Plain {
    name: &'static str,
    scids: Option<Vec<u16>>,
    colours: Vec<&'static str>,
    sessions: Vec<&'static str>,
}

/// Values of the parameters that a route's scope comes from.
type Target = BTreeMap<&'static str, Option<String>>;

impl Matrix {
    /// Calls every route of a service as everybody. `ticket` makes a ticket with these roles and scopes that the service
    /// accepts.
    pub async fn of(service: &Service, ticket: impl Fn(RoleSet, Vec<Scope>) -> String) -> Matrix {
        let mut matrix = Matrix::default();
        let router = match service.router() {
            Ok(router) => router,
            Err(mistake) => {
                matrix.wrong.push(mistake.to_string());
                return matrix;
            }
        };
        let mut callers = Vec::new();
        for scope in scopes() {
            for role in Role::ALL {
                callers.push((role, scope.clone(), ticket(RoleSet::of(&[role]), vec![scope.scope()])));
            }
        }
        for declaration in service.declarations() {
            for target in targets(declaration) {
                let uri = uri(declaration, &target);
                for bearer in [None, Some("a.b.c"), Some("fep_0123456789abcdef_x")] {
                    let response = call(&router, declaration, &uri, bearer).await;
                    let open = matches!(declaration.access, Access::Everybody(_));
                    matrix.judge(declaration, &uri, "nobody", open, response).await;
                }
                for (role, scope, ticket) in &callers {
                    let expected = may(declaration, *role, scope, &target);
                    let response = call(&router, declaration, &uri, Some(ticket)).await;
                    let who = format!("{role} of {}", scope.name);
                    matrix.judge(declaration, &uri, &who, expected, response).await;
                }
            }
        }
        matrix
    }

    async fn judge(
        &mut self,
        declaration: &Declaration,
        uri: &str,
        who: &str,
        expected: bool,
        response: Response,
    ) {
        let status = response.status();
        let kind = match status {
            // Streams of those who are let in do not end: only refusals are read.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
                let problem = body.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
                problem.map_or_else(|| "unreadable".to_owned(), |problem| problem.kind)
            }
            _ => String::new(),
        };
        let open = matches!(declaration.access, Access::Everybody(_));
        let refusals = [NOT_AUTHENTICATED, ROLE_MISSING, OUT_OF_SCOPE];
        // What is open to everybody may refuse a password; nobody is held back at its door.
        let let_in = open || !refusals.iter().any(|refusal| kind.ends_with(refusal)) && kind != "unreadable";
        let fault =
            status.is_server_error() || status == StatusCode::NOT_FOUND && !declaration.path.contains('{');
        self.calls += 1;
        self.let_in += usize::from(let_in);
        if let_in != expected || fault {
            let said = if expected { "should be let in" } else { "should be refused" };
            let method = declaration.method.name();
            self.wrong.push(format!("{method} {uri} as {who} {said} and was answered {status} {kind}"));
        }
    }
}

fn scopes() -> Vec<Plain> {
    let (colours, sessions) = (Colours::NAMES.to_vec(), Sessions::NAMES.to_vec());
    let all = Plain { name: "everything", scids: None, colours: colours.clone(), sessions: sessions.clone() };
    let mut scopes = vec![
        Plain { name: "one spacecraft", scids: Some(vec![SCIDS[0]]), ..all.clone() },
        Plain { name: "no spacecraft", scids: Some(vec![]), ..all.clone() },
    ];
    scopes.extend(colours.iter().map(|one| Plain { name: one, colours: vec![one], ..all.clone() }));
    scopes.extend(sessions.iter().map(|one| Plain { name: one, sessions: vec![one], ..all.clone() }));
    scopes.push(Plain {
        name: "black operations of one spacecraft",
        scids: Some(vec![SCIDS[0]]),
        colours: vec!["black"],
        sessions: vec!["ops"],
    });
    scopes.push(all);
    scopes
}

impl Plain {
    fn scope(&self) -> Scope {
        let colours: Vec<Colour> = self.colours.iter().filter_map(|name| Colours::named(name)).collect();
        let sessions: Vec<Session> = self.sessions.iter().filter_map(|name| Sessions::named(name)).collect();
        Scope {
            spacecraft: self.scids.clone().map_or(Spacecraft::ALL, Spacecraft::these),
            colours: Colours::of(&colours),
            sessions: Sessions::of(&sessions),
        }
    }
}

/// Whether a caller with this role and scope may call a route for this target, by the declaration alone.
fn may(declaration: &Declaration, role: Role, scope: &Plain, target: &Target) -> bool {
    let Access::Roles(roles, reach) = declaration.access else { return true };
    let given = |name: &str| target.get(name).cloned().flatten();
    let scid = match reach.scid {
        Source::Nothing => true,
        Source::Everything => scope.scids.is_none(),
        Source::Always(scid) => scope.scids.as_ref().is_none_or(|scids| scids.contains(&scid)),
        Source::InScope => scope.scids.as_ref().is_none_or(|scids| !scids.is_empty()),
        Source::Parameter(name) | Source::Selected(name) | Source::Defaulted(name, _) => {
            let default = match reach.scid {
                Source::Defaulted(_, default) => Some(default.to_string()),
                _ => None,
            };
            match (given(name).or(default), reach.scid) {
                (None, Source::Selected(_)) => scope.scids.as_ref().is_none_or(|scids| !scids.is_empty()),
                (None, _) => scope.scids.is_none(),
                (Some(text), _) => {
                    scope.scids.as_ref().is_none_or(|scids| scids.iter().any(|scid| scid.to_string() == text))
                }
            }
        }
    };
    let named = |own: &[&str], asked: Option<String>, all: usize| match asked {
        None => own.len() == all,
        Some(name) => own.iter().any(|one| *one == name),
    };
    let session_name = |session: Session| session.name().to_ascii_lowercase();
    let colour = match reach.colour {
        Source::Nothing => true,
        Source::Everything => scope.colours.len() == Colours::NAMES.len(),
        Source::Always(colour) => scope.colours.contains(&colour.directory()),
        Source::InScope => !scope.colours.is_empty(),
        Source::Parameter(name) => named(&scope.colours, given(name), Colours::NAMES.len()),
        Source::Selected(name) => named(&scope.colours, given(name), scope.colours.len()),
        Source::Defaulted(name, default) => {
            named(&scope.colours, given(name).or(Some(default.directory().to_owned())), 0)
        }
    };
    let session = match reach.session {
        Source::Nothing => true,
        Source::Everything => scope.sessions.len() == Sessions::NAMES.len(),
        Source::Always(session) => scope.sessions.contains(&session_name(session).as_str()),
        Source::InScope => !scope.sessions.is_empty(),
        Source::Parameter(name) => named(&scope.sessions, given(name), Sessions::NAMES.len()),
        Source::Selected(name) => named(&scope.sessions, given(name), scope.sessions.len()),
        Source::Defaulted(name, default) => {
            named(&scope.sessions, given(name).or(Some(session_name(default))), 0)
        }
    };
    roles.iter().any(|one| one == role) && scid && colour && session
}

/// Every combination of values of the parameters that the route's scope comes from; a parameter that may be missing is
/// also missing.
fn targets(declaration: &Declaration) -> Vec<Target> {
    let Access::Roles(_, reach) = declaration.access else { return vec![Target::new()] };
    let [scid, colour, session] = reach.names();
    let scids: Vec<String> = SCIDS.iter().map(u16::to_string).collect();
    let words = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut targets = vec![Target::new()];
    for (name, values) in [(scid, scids), (colour, words(Colours::NAMES)), (session, words(Sessions::NAMES))]
    {
        let Some(name) = name else { continue };
        let optional = declaration.parameters.iter().any(|one| one.name == name && one.place == Place::Query);
        let mut choices: Vec<Option<String>> = values.into_iter().map(Some).collect();
        if optional {
            choices.push(None);
        }
        targets = targets
            .into_iter()
            .flat_map(|target| {
                choices.iter().map(move |choice| {
                    let mut target = target.clone();
                    target.insert(name, choice.clone());
                    target
                })
            })
            .collect();
    }
    targets
}

/// The path and query of a call; parameters that the scope does not come from have some value of their form.
fn uri(declaration: &Declaration, target: &Target) -> String {
    let mut path = declaration.path.to_owned();
    let mut query = form_urlencoded::Serializer::new(String::new());
    for parameter in &declaration.parameters {
        let value = match (target.get(parameter.name), parameter.place) {
            (Some(value), _) => value.clone(),
            (None, Place::Query) => None,
            (None, Place::Path | Place::RequiredQuery) => Some(parameter.form.sample()),
        };
        match (value, parameter.place) {
            (Some(value), Place::Path) => path = path.replace(&format!("{{{}}}", parameter.name), &value),
            (Some(value), _) => {
                query.append_pair(parameter.name, &value);
            }
            (None, _) => {}
        }
    }
    let query = query.finish();
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

async fn call(router: &axum::Router, declaration: &Declaration, uri: &str, bearer: Option<&str>) -> Response {
    let mut request = Request::builder()
        .method(declaration.method.name())
        .uri(uri)
        .header(header::HOST, "matrix")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(bearer) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let mut request = match request.body(Body::from("not JSON")) {
        Ok(request) => request,
        Err(error) => return refused_here(&error),
    };
    if declaration.method == crate::Method::Get || declaration.method == crate::Method::Delete {
        *request.body_mut() = Body::empty();
    }
    let names = std::sync::Arc::new(Names::new("http", ["matrix"]));
    request.extensions_mut().insert(Arrival { credentials: Credentials::None, names });
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn refused_here(error: &axum::http::Error) -> Response {
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
