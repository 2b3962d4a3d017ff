//! A route, declared once: method, path, roles, scope, parameters, bodies.
//!
//! A route without roles, or without a word about its scope, has no [`Route::to`] and does not compile:
//!
//! ```compile_fail
//! # use std::sync::Arc; use fep_kit::Problem; use fep_route::{Call, Route};
//! # async fn list(_: Arc<()>, _: Call<()>) -> Result<(), Problem> { Ok(()) }
//! Route::get("/v1/things", "Every thing.").to(&Arc::new(()), list);
//! ```
//!
//! ```compile_fail
//! # use std::sync::Arc; use fep_identity::Role; use fep_kit::Problem; use fep_route::{Call, Route};
//! # async fn list(_: Arc<()>, _: Call<()>) -> Result<(), Problem> { Ok(()) }
//! Route::get("/v1/things", "Every thing.").role(Role::Observer).to(&Arc::new(()), list);
//! ```
//!
//! With both it does:
//!
//! ```
//! # use std::sync::Arc; use fep_identity::Role; use fep_kit::Problem; use fep_route::{Call, Route};
//! # async fn list(_: Arc<()>, _: Call<()>) -> Result<(), Problem> { Ok(()) }
//! Route::get("/v1/things", "Every thing.").role(Role::Observer).touches_no_data().to(&Arc::new(()), list);
//! ```

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use fep_identity::{Caller, Role, RoleSet};
use fep_kit::Problem;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

use crate::body::{Answer, Body, Schemas};
use crate::param::{Form, Parameter, Place, Reach, Values};

/// Methods that a route can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or does something.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// Its name, e.g. `GET`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Callers with at least one of these roles whose scope reaches this.
    Roles(RoleSet, Reach),
    /// Everybody, without a ticket; and why that is right.
    Everybody(&'static str),
}

/// A request as a handler gets it: the caller is known and allowed, parameters and body are checked.
#[derive(Debug)]
pub struct Call<B> {
    /// Parameters of path and query.
    pub values: Values,
    /// The body.
    pub body: B,
    /// Headers as they came.
    pub headers: HeaderMap,
    /// Whether only the head of the answer is wanted (`HEAD` on a route that reads): its body is not sent, and a handler that
    /// knows the length without it need not make it.
    pub is_head: bool,
    /// Identifier of the request, which stands in the answer, the log and the audit.
    pub request_id: String,
    pub(crate) caller: Option<Arc<Caller>>,
}

impl<B> Call<B> {
    /// Who asks.
    ///
    /// # Errors
    /// On a route that is open to everybody, where nobody is known: a fault of the program.
    pub fn caller(&self) -> Result<&Arc<Caller>, Problem> {
        self.caller
            .as_ref()
            .ok_or_else(|| Problem::fault("finding out who asks", &"the route is open to everybody"))
    }
}

/// A route that does not say yet who may call it.
#[derive(Debug)]
pub struct NeedsRoles;
/// A route that does not say yet what its callers must reach.
#[derive(Debug)]
pub struct NeedsScope;
/// A route that can be given its handler.
#[derive(Debug)]
pub struct Ready;

/// A route that is being declared; `State` is what it still needs.
#[derive(Debug)]
#[must_use = "a route is declared by `to`"]
pub struct Route<State> {
    declaration: Declaration,
    state: PhantomData<State>,
}

/// All that is said of a route but its handler.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// Method.
    pub method: Method,
    /// Path with `{name}` for parameters.
    pub path: &'static str,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// The largest body in octets; the service's limit where nothing is said.
    pub max_body_bytes: Option<usize>,
    /// How long the handler may take until its answer begins; the service's limit where nothing is said.
    pub handler_timeout_s: Option<u16>,
}

pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Call<Bytes>) -> Answering + Send + Sync>;

/// What the types of a handler say of a route's bodies.
#[derive(Clone)]
pub(crate) struct Bodies {
    pub(crate) request_type: Option<&'static str>,
    pub(crate) request_schema: Option<Value>,
    pub(crate) request_is_optional: bool,
    pub(crate) answer_status: StatusCode,
    pub(crate) answer_type: Option<&'static str>,
    pub(crate) answer_schema: Option<Value>,
    pub(crate) schemas: Schemas,
    pub(crate) streams: bool,
}

/// A whole route.
#[derive(Clone)]
pub struct Declared {
    pub(crate) declaration: Declaration,
    pub(crate) bodies: Bodies,
    pub(crate) handler: Handler,
}

impl Declared {
    /// What is said of it.
    #[must_use]
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// Describes a part of its bodies as the running service has it: what of a form only the configuration says.
    pub(crate) fn describing(mut self, name: &str, schema: &RefOr<Schema>) -> Declared {
        for (_, described) in self.bodies.schemas.iter_mut().filter(|(known, _)| known == name) {
            *described = schema.clone();
        }
        self
    }
}

impl std::fmt::Debug for Declared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.declaration.fmt(f)
    }
}

impl Route<NeedsRoles> {
    fn new(method: Method, path: &'static str, summary: &'static str) -> Route<NeedsRoles> {
        let access = Access::Roles(RoleSet::NONE, Reach::EVERYTHING);
        let declaration = Declaration {
            method,
            path,
            summary,
            access,
            parameters: Vec::new(),
            max_body_bytes: None,
            handler_timeout_s: None,
        };
        Route { declaration, state: PhantomData }
    }

    /// A route that reads.
    pub fn get(path: &'static str, summary: &'static str) -> Route<NeedsRoles> {
        Route::new(Method::Get, path, summary)
    }

    /// A route that makes or does something.
    pub fn post(path: &'static str, summary: &'static str) -> Route<NeedsRoles> {
        Route::new(Method::Post, path, summary)
    }

    /// A route that replaces something.
    pub fn put(path: &'static str, summary: &'static str) -> Route<NeedsRoles> {
        Route::new(Method::Put, path, summary)
    }

    /// A route that removes something.
    pub fn delete(path: &'static str, summary: &'static str) -> Route<NeedsRoles> {
        Route::new(Method::Delete, path, summary)
    }

    /// For callers with this role.
    pub fn role(self, role: Role) -> Route<NeedsScope> {
        self.roles(&[role])
    }

    /// For callers with at least one of these roles.
    pub fn roles(mut self, roles: &[Role]) -> Route<NeedsScope> {
        self.declaration.access = Access::Roles(RoleSet::of(roles), Reach::EVERYTHING);
        self.become_state()
    }

    /// For everybody, without a ticket, because of `why`.
    pub fn open_to_everybody(mut self, why: &'static str) -> Route<Ready> {
        self.declaration.access = Access::Everybody(why);
        self.become_state()
    }
}

impl Route<NeedsScope> {
    /// Callers need a scope that reaches this.
    pub fn reaches(mut self, reach: Reach) -> Route<Ready> {
        if let Access::Roles(roles, _) = self.declaration.access {
            self.declaration.access = Access::Roles(roles, reach);
        }
        self.become_state()
    }

    /// The route has to do with no spacecraft's data: the role is enough.
    pub fn touches_no_data(self) -> Route<Ready> {
        self.reaches(Reach::default())
    }
}

impl<State> Route<State> {
    fn become_state<Next>(self) -> Route<Next> {
        Route { declaration: self.declaration, state: PhantomData }
    }

    /// A parameter of the path, which must hold `{name}`.
    pub fn path_parameter(self, name: &'static str, form: Form, text: &'static str) -> Route<State> {
        self.parameter(Parameter { name, place: Place::Path, form, text })
    }

    /// A parameter of the query that may be missing.
    pub fn query(self, name: &'static str, form: Form, text: &'static str) -> Route<State> {
        self.parameter(Parameter { name, place: Place::Query, form, text })
    }

    /// A parameter.
    pub fn parameter(mut self, parameter: Parameter) -> Route<State> {
        self.declaration.parameters.push(parameter);
        self
    }

    /// The largest body in octets.
    pub fn max_body_bytes(mut self, octets: usize) -> Route<State> {
        self.declaration.max_body_bytes = Some(octets);
        self
    }

    /// How long the handler may take until its answer begins.
    pub fn handler_timeout_s(mut self, s: u16) -> Route<State> {
        self.declaration.handler_timeout_s = Some(s);
        self
    }
}

impl Route<Ready> {
    /// Declares the route with its handler, whose types say what its bodies are.
    pub fn to<S, B, A, F, R>(self, state: &Arc<S>, handler: F) -> Declared
    where
        S: Send + Sync + 'static,
        B: Body,
        A: Answer,
        F: Fn(Arc<S>, Call<B>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<A, Problem>> + Send + 'static,
    {
        let mut schemas = Schemas::new();
        let bodies = Bodies {
            request_type: B::MEDIA_TYPE,
            request_schema: B::describe(&mut schemas),
            request_is_optional: B::IS_OPTIONAL,
            answer_status: A::STATUS,
            answer_type: A::MEDIA_TYPE,
            answer_schema: A::describe(&mut schemas),
            streams: A::STREAMS,
            schemas,
        };
        let state = Arc::clone(state);
        let handler = move |call: Call<Bytes>| -> Answering {
            let Call { values, body, headers, is_head, request_id, caller } = call;
            let body = match B::read(body) {
                Ok(body) => body,
                Err(problem) => return Box::pin(std::future::ready(Err(problem))),
            };
            let call = Call { values, body, headers, is_head, request_id, caller };
            let answering = handler(Arc::clone(&state), call);
            Box::pin(async move { answering.await?.write() })
        };
        Declared { declaration: self.declaration, bodies, handler: Arc::new(handler) }
    }
}
