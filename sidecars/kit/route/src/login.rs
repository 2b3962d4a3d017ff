//! Routes of identity: log in, log out, tokens, accounts. The one process of an installation that has the state directory
//! mounts them; all others verify tickets off-line.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use fep_identity::accounts::AccountError;
use fep_identity::tokens::{NewToken, PREFIX, TokenError};
use fep_identity::{
    Authenticator, Caller, Identity, IdentityError, Issued, LoginRefused, Means, NumericDate, PasswordError,
    PersonId, Profile, Role, RoleSet, Scope,
};
use fep_kit::{Problem, Stop};
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::body::{Json, List};
use crate::forms::{Login, NewAccount, NewPassword, TokenOrder, lifetime, role_names};
pub use crate::journal::{Act, Journal, NoJournal};
use crate::param::Form;
use crate::route::{Call, Declared, Route};
use crate::service::{NOT_AUTHENTICATED, bearer};

/// No body of these routes is larger.
const MAX_BODY_BYTES: usize = 16 << 10;
/// How often the keys are looked after.
const STEP_EVERY: Duration = Duration::from_secs(60);

/// A ticket, for the header `Authorization: Bearer TICKET`.
#[derive(Serialize, ToSchema)]
struct Ticket {
    ticket: String,
    /// Seconds since 1970-01-01T00:00:00 UTC.
    expires: i64,
    account: String,
    person: String,
    roles: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    scopes: Vec<Scope>,
}

/// Who asks, as this service sees it.
#[derive(Serialize, ToSchema)]
struct Me {
    account: String,
    person: String,
    roles: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    scopes: Vec<Scope>,
    /// Seconds since 1970-01-01T00:00:00 UTC.
    until: Option<i64>,
}

/// A new token. It is shown this once.
#[derive(Serialize, ToSchema)]
struct TokenMade {
    id: String,
    token: String,
}

/// A token as it is listed.
#[derive(Serialize, ToSchema)]
struct TokenView {
    id: String,
    name: String,
    account: String,
    person: String,
    roles: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    scopes: Vec<Scope>,
    made: i64,
    expires: i64,
    revoked: Option<i64>,
}

/// A local account as it is listed.
#[derive(Serialize, ToSchema)]
struct AccountView {
    name: String,
    person: String,
    roles: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    scopes: Vec<Scope>,
    expires: Option<i64>,
    disabled: bool,
    locked_until: Option<i64>,
}

/// What the routes work on.
struct Mounted {
    journal: Arc<dyn Journal>,
    identity: Arc<Identity>,
    authenticator: Arc<Authenticator>,
}

type State = Arc<Mounted>;

/// The routes of identity, of which nothing is recorded: for tests.
#[must_use]
pub fn routes(identity: &Arc<Identity>, authenticator: &Arc<Authenticator>) -> Vec<Declared> {
    recorded_routes(identity, authenticator, Arc::new(NoJournal))
}

/// The routes of identity. `authenticator` is that of this very process: what is revoked here holds here at once.
#[must_use]
pub fn recorded_routes(
    identity: &Arc<Identity>,
    authenticator: &Arc<Authenticator>,
    journal: Arc<dyn Journal>,
) -> Vec<Declared> {
    let state = Arc::new(Mounted {
        journal,
        identity: Arc::clone(identity),
        authenticator: Arc::clone(authenticator),
    });
    let name = |route: Route<_>| route.path_parameter("name", Form::Text(64), "Name of the account.");
    let sets: Vec<&str> = identity.role_sets().names().collect();
    let (role_names, lifetime) = (role_names(&sets), lifetime(identity.longest_token_s()));
    vec![
        Route::post("/v1/login", "Logs a person in and answers with a ticket.")
            .open_to_everybody("who logs in has no ticket yet")
            .max_body_bytes(MAX_BODY_BYTES)
            .to(&state, log_in),
        Route::post("/v1/ticket", "A ticket for the API token that the request comes with.")
            .roles(&Role::ALL)
            .touches_no_data()
            .to(&state, to_its_end(ticket_for_token)),
        Route::post("/v1/logout", "Ends the ticket or token that the request comes with.")
            .roles(&Role::ALL)
            .touches_no_data()
            .to(&state, to_its_end(log_out)),
        Route::get("/v1/me", "Who asks, and what they may do.")
            .roles(&Role::ALL)
            .touches_no_data()
            .to(&state, me),
        Route::get("/v1/tokens", "One's own API tokens; an administrator sees all.")
            .roles(&Role::ALL)
            .touches_no_data()
            .to(&state, tokens),
        Route::post("/v1/tokens", "Makes an API token with no more than one has oneself.")
            .roles(&Role::ALL)
            .touches_no_data()
            .max_body_bytes(MAX_BODY_BYTES)
            .to(&state, to_its_end(make_token))
            .describing("Lifetime", &lifetime),
        Route::delete("/v1/tokens/{id}", "Revokes an API token: one's own, or as administrator any.")
            .roles(&Role::ALL)
            .touches_no_data()
            .path_parameter("id", Form::Text(64), "Identifier of the token.")
            .to(&state, to_its_end(revoke_token)),
        Route::get("/v1/accounts", "The local accounts.")
            .role(Role::Administrator)
            .touches_no_data()
            .to(&state, accounts),
        Route::post("/v1/accounts", "Makes a local account.")
            .role(Role::Administrator)
            .touches_no_data()
            .max_body_bytes(MAX_BODY_BYTES)
            .to(&state, to_its_end(make_account))
            .describing("RoleNames", &role_names),
        name(
            Route::post("/v1/accounts/{name}/disable", "Disables an account; ends its tickets and tokens.")
                .role(Role::Administrator)
                .touches_no_data(),
        )
        .to(&state, to_its_end(disable)),
        name(
            Route::post(
                "/v1/accounts/{name}/enable",
                "Enables an account again; who it belongs to logs in anew.",
            )
            .role(Role::Administrator)
            .touches_no_data(),
        )
        .to(&state, to_its_end(enable)),
        name(
            Route::post("/v1/accounts/{name}/unlock", "Ends a lock before its time.")
                .role(Role::Administrator)
                .touches_no_data(),
        )
        .to(&state, to_its_end(unlock)),
        name(
            Route::put("/v1/accounts/{name}/password", "Sets a new password.")
                .role(Role::Administrator)
                .touches_no_data(),
        )
        .max_body_bytes(MAX_BODY_BYTES)
        .to(&state, to_its_end(set_password)),
    ]
}

/// Rotates the keys of tickets when it is time, until `stop`; a task of the process that mounts the routes.
pub async fn keep_keys(identity: Arc<Identity>, stop: Stop) {
    let mut every = tokio::time::interval(STEP_EVERY);
    loop {
        tokio::select! {
            () = stop.wait() => return,
            _ = every.tick() => {}
        }
        let identity = Arc::clone(&identity);
        match tokio::task::spawn_blocking(move || identity.keys().step(NumericDate::now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the keys of tickets cannot be kept: {error}"),
            Err(error) => tracing::error!("the keys of tickets cannot be kept: {error}"),
        }
    }
}

fn names(roles: RoleSet) -> Vec<String> {
    roles.iter().map(|role| role.name().to_owned()).collect()
}

impl From<Issued> for Json<Ticket> {
    fn from(issued: Issued) -> Json<Ticket> {
        Json(Ticket {
            ticket: issued.ticket,
            expires: issued.expires.0,
            account: issued.person.account,
            person: issued.person.id.0,
            roles: names(issued.roles),
            scopes: issued.scopes,
        })
    }
}

async fn log_in(state: State, call: Call<Json<Login>>) -> Result<Json<Ticket>, Problem> {
    let Json(Login { account, password }) = call.body;
    let now = NumericDate::now();
    let name = account.clone();
    let identity = Arc::clone(&state.identity);
    let local = tokio::task::spawn_blocking(move || {
        // A local account comes first: it must open when the directory is away.
        let exists = identity.accounts().exists(&account)?;
        if !exists && identity.has_directory() {
            return Ok((None, password));
        }
        Ok::<_, IdentityError>((Some(identity.login_local(&account, &password, now)?), password))
    });
    let (local, password) =
        local.await.map_err(|error| Problem::fault("logging in", &error))?.map_err(fault("logging in"))?;
    let answer = match local {
        Some(answer) => answer,
        None => directory(&state, &name, &password, now).await?,
    };
    let shown: String = name.chars().take(64).collect();
    match answer {
        Ok(issued) => {
            let act = Act {
                request_id: &call.request_id,
                person: Some(&issued.person),
                account: &shown,
                action: "login",
                subject: "",
                detail: json!({}),
            };
            state.journal.record(act.clone()).await?;
            state.journal.done(&act);
            tracing::info!(request = %call.request_id, account = %shown, "logged in");
            Ok(issued.into())
        }
        Err(LoginRefused::Busy) => {
            let detail = "too many logins run at the same time";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                .hint("log in again in a second"))
        }
        Err(refused) => {
            tracing::warn!(request = %call.request_id, account = ?shown, "login refused: {refused}");
            state.journal.refused(&Act {
                request_id: &call.request_id,
                person: None,
                account: &shown,
                action: "login refused",
                subject: "",
                detail: json!({"reason": refused.to_string()}),
            });
            let detail = "the account does not exist, is locked or has ended, or its password is another one";
            Err(Problem::new(StatusCode::UNAUTHORIZED, NOT_AUTHENTICATED, detail)
                .hint("an administrator sees the reason in the log and unlocks accounts"))
        }
    }
}

#[cfg(feature = "ldap")]
async fn directory(
    state: &State,
    name: &str,
    password: &str,
    now: NumericDate,
) -> Result<Result<Issued, LoginRefused>, Problem> {
    state.identity.login_ldap(name, password, now).await.map_err(|error| {
        tracing::error!("{error}");
        state.journal.directory_away(&error.to_string());
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "directory-away",
            "the directory of persons does not answer",
        )
        .hint("local accounts can log in meanwhile")
    })
}

#[cfg(not(feature = "ldap"))]
async fn directory(
    _: &State,
    _: &str,
    _: &str,
    _: NumericDate,
) -> Result<Result<Issued, LoginRefused>, Problem> {
    Ok(Err(LoginRefused::Unknown))
}

async fn ticket_for_token(state: State, call: Call<()>) -> Result<Json<Ticket>, Problem> {
    let token = bearer(&call.headers).ok().flatten().filter(|bearer| bearer.starts_with(PREFIX));
    let Some(token) = token.map(str::to_owned) else {
        let detail = "the request comes with no API token";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "no-token", detail)
            .at("Authorization")
            .hint("`Authorization: Bearer fep_…`; who has logged in has a ticket already"));
    };
    let id = match &call.caller()?.means {
        Means::Token(id) => id.clone(),
        _ => String::new(),
    };
    let issue = async {
        let issued = blocking(Arc::clone(&state), move |state| {
            state.identity.ticket_for_token(&token, NumericDate::now())
        });
        issued.await?.map_err(|_| {
            Problem::new(StatusCode::UNAUTHORIZED, NOT_AUTHENTICATED, "this token is not accepted")
                .at("Authorization")
        })
    };
    let act = ["ticket for token", "no ticket for token"];
    Ok(gives(&state, &call, act, &id, json!({}), issue).await?.into())
}

async fn log_out(state: State, call: Call<()>) -> Result<(), Problem> {
    let caller = Arc::clone(call.caller()?);
    let ticket = bearer(&call.headers).ok().flatten().filter(|bearer| !bearer.starts_with(PREFIX));
    let now = NumericDate::now();
    let jti = ticket.and_then(|ticket| state.authenticator.verifier().claims(ticket, now).ok());
    blocking(Arc::clone(&state), move |state| {
        state.identity.log_out(&caller, jti.as_ref().map(|claims| claims.jti.as_str()), now)?;
        state.authenticator.look_now();
        Ok(())
    })
    .await?;
    took(&state, &call, "log-out", "").await;
    Ok(())
}

async fn me(_: State, call: Call<()>) -> Result<Json<Me>, Problem> {
    let caller = call.caller()?;
    Ok(Json(Me {
        account: caller.person.account.clone(),
        person: caller.person.id.0.clone(),
        roles: names(caller.roles),
        scopes: caller.scopes.clone(),
        until: caller.until.map(|until| until.0),
    }))
}

fn sees(caller: &Caller, person: &PersonId) -> bool {
    caller.is_same_person(person) || caller.roles.has(Role::Administrator)
}

async fn tokens(state: State, call: Call<()>) -> Result<List<TokenView>, Problem> {
    let caller = call.caller()?;
    let listed = state.identity.tokens().list().into_iter();
    let own = listed.filter(|(_, token)| sees(caller, &token.person.id));
    Ok(List(
        own.map(|(id, token)| TokenView {
            id,
            name: token.name,
            account: token.person.account,
            person: token.person.id.0,
            roles: names(token.roles),
            scopes: token.scopes,
            made: token.made.0,
            expires: token.expires.0,
            revoked: token.revoked.map(|revoked| revoked.0),
        })
        .collect(),
    ))
}

async fn make_token(state: State, call: Call<Json<TokenOrder>>) -> Result<Json<TokenMade>, Problem> {
    let caller = Arc::clone(call.caller()?);
    let maker = caller.person.clone();
    if caller.means != Means::Ticket {
        // A stolen token must not make itself another one that outlives it.
        let detail = "a token is made by a person who has logged in, not by a token";
        return Err(Problem::new(StatusCode::FORBIDDEN, "login-needed", detail).hint("POST /v1/login"));
    }
    let order = &call.body.0;
    let detail = json!({
        "name": order.name, "roles": names(order.roles.0), "scopes": order.scopes.0, "lifetime_s": order.lifetime_s.0,
    });
    state.journal.record(act(&call, "token asked", "", detail)?).await?;
    let TokenOrder { name, roles, scopes, lifetime_s } = call.body.0;
    let made = blocking(Arc::clone(&state), move |state| {
        let now = NumericDate::now();
        let new = NewToken {
            name: name.into(),
            person: caller.person.clone(),
            roles: roles.0,
            scopes: scopes.0,
            expires: now.plus_s(i64::from(lifetime_s.0)),
        };
        state.identity.make_token(&caller, new, now)
    })
    .await?;
    let made =
        made.map_err(|excess| Problem::new(StatusCode::FORBIDDEN, "more-than-own", excess.to_string()))?;
    let act = Act {
        request_id: &call.request_id,
        person: Some(&maker),
        account: "",
        action: "token made",
        subject: &made.id,
        detail: json!({}),
    };
    if let Err(problem) = state.journal.record(act.clone()).await {
        // Nobody has seen it: it is ended again.
        let id = made.id;
        blocking(state, move |state| state.identity.revoke_token(&id, NumericDate::now())).await?;
        return Err(problem);
    }
    state.journal.done(&act);
    Ok(Json(TokenMade { id: made.id, token: made.text }))
}

async fn revoke_token(state: State, call: Call<()>) -> Result<(), Problem> {
    let caller = call.caller()?;
    let id = call.values.get("id").unwrap_or("").to_owned();
    let found = state.identity.tokens().list().into_iter().find(|(other, _)| *other == id);
    // Somebody else's token is answered like one that does not exist.
    if found.is_none_or(|(_, token)| !sees(caller, &token.person.id)) {
        return Err(Problem::not_found(format!("you have no token with the identifier {id:?}")));
    }
    let token = id.clone();
    blocking(Arc::clone(&state), move |state| {
        state.identity.revoke_token(&token, NumericDate::now())?;
        state.authenticator.look_now();
        Ok(())
    })
    .await?;
    took(&state, &call, "token revoked", &id).await;
    Ok(())
}

async fn accounts(state: State, _call: Call<()>) -> Result<List<AccountView>, Problem> {
    let listed = blocking(state, |state| Ok(state.identity.accounts().list()?)).await?;
    let view = |account: fep_identity::accounts::AccountView| AccountView {
        name: account.name,
        person: account.profile.person.0,
        roles: account.profile.roles,
        scopes: account.profile.scopes,
        expires: account.profile.expires.map(|at| at.0),
        disabled: account.profile.disabled,
        locked_until: account.locked_until.map(|at| at.0),
    };
    Ok(List(listed.into_iter().map(view).collect()))
}

async fn make_account(state: State, call: Call<Json<NewAccount>>) -> Result<(), Problem> {
    let NewAccount { name, password, person, roles, scopes, expires } = &call.body.0;
    let profile = Profile {
        person: person.clone().map_or_else(|| PersonId(format!("local:{}", name.0)), |whose| whose.0),
        roles: roles.0.clone(),
        scopes: scopes.0.clone(),
        expires: expires.map(|at| at.0),
        password_expires: None,
        disabled: false,
    };
    let detail = json!({
        "person": profile.person, "roles": profile.roles, "scopes": profile.scopes, "expires": profile.expires,
    });
    let (name, password) = (name.0.clone(), password.0.clone());
    let subject = name.clone();
    let add =
        blocking(Arc::clone(&state), move |state| state.identity.add_account(&name, &password, profile));
    gives(&state, &call, ["account added", "account not added"], &subject, detail, add).await
}

async fn disable(state: State, call: Call<()>) -> Result<(), Problem> {
    let name = call.values.get("name").unwrap_or("").to_owned();
    let account = name.clone();
    let done = blocking(Arc::clone(&state), move |state| {
        state.identity.disable(&account, NumericDate::now())?;
        state.authenticator.look_now();
        Ok(())
    })
    .await;
    if let Err(problem) = done {
        state.journal.refused(&act(&call, "account not disabled", &name, reason(&problem))?);
        return Err(problem);
    }
    took(&state, &call, "account disabled", &name).await;
    Ok(())
}

async fn enable(state: State, call: Call<()>) -> Result<(), Problem> {
    let name = call.values.get("name").unwrap_or("").to_owned();
    let account = name.clone();
    let enable =
        blocking(Arc::clone(&state), move |state| state.identity.enable(&account, NumericDate::now()));
    gives(&state, &call, ["account enabled", "account not enabled"], &name, json!({}), enable).await
}

async fn unlock(state: State, call: Call<()>) -> Result<(), Problem> {
    let name = call.values.get("name").unwrap_or("").to_owned();
    let account = name.clone();
    let unlock = blocking(Arc::clone(&state), move |state| {
        Ok(state.identity.accounts().unlock(&account, NumericDate::now())?)
    });
    gives(&state, &call, ["account unlocked", "account not unlocked"], &name, json!({}), unlock).await
}

async fn set_password(state: State, call: Call<Json<NewPassword>>) -> Result<(), Problem> {
    let name = call.values.get("name").unwrap_or("").to_owned();
    let expires = call.body.0.expires.map(|at| at.0);
    let (account, password) = (name.clone(), call.body.0.password.0.clone());
    let set = blocking(Arc::clone(&state), move |state| {
        Ok(state.identity.accounts().set_password(&account, &password, expires, NumericDate::now())?)
    });
    let detail = json!({"expires": expires});
    gives(&state, &call, ["password set", "password not set"], &name, detail, set).await
}

/// A handler whose work goes on when its caller goes away: what is done is recorded and reported, whoever waits for the answer.
fn to_its_end<B, T, F>(
    handler: impl Fn(State, Call<B>) -> F + Send + Sync + 'static,
) -> impl Fn(State, Call<B>) -> BoxFuture<'static, Result<T, Problem>> + Send + Sync + 'static
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    move |state, call| {
        let work = tokio::spawn(handler(state, call));
        Box::pin(async { work.await.map_err(|error| Problem::fault("working on accounts", &error))? })
    }
}

/// Does what gives something, and records it before: what cannot be recorded is not done. An act that fails after that has a
/// second entry with the same request identifier, `not_done`.
async fn gives<B: Sync, T>(
    state: &State,
    call: &Call<B>,
    [action, not_done]: [&str; 2],
    subject: &str,
    detail: Value,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let act = act(call, action, subject, detail)?;
    state.journal.record(act.clone()).await?;
    let given = work.await;
    match &given {
        Ok(_) => state.journal.done(&act),
        Err(problem) => state.journal.refused(&Act { action: not_done, detail: reason(problem), ..act }),
    }
    given
}

/// Records what was taken away. It is taken away whether or not that can be recorded: the journal's health says what cannot.
async fn took<B: Sync>(state: &State, call: &Call<B>, action: &str, subject: &str) {
    let recorded = match act(call, action, subject, json!({})) {
        Ok(act) => {
            state.journal.done(&act);
            state.journal.record(act).await
        }
        Err(problem) => Err(problem),
    };
    if let Err(problem) = recorded {
        tracing::error!(request = %call.request_id, "{action} {subject}: not recorded: {problem}");
    }
}

/// What a caller does.
fn act<'a, B>(
    call: &'a Call<B>,
    action: &'a str,
    subject: &'a str,
    detail: Value,
) -> Result<Act<'a>, Problem> {
    let person = Some(&call.caller()?.person);
    Ok(Act { request_id: &call.request_id, person, account: "", action, subject, detail })
}

/// Why an act was not done.
fn reason(problem: &Problem) -> Value {
    json!({"reason": problem.detail})
}

/// Runs what reads and writes files beside the tasks of the runtime.
async fn blocking<T: Send + 'static>(
    state: State,
    work: impl FnOnce(&Mounted) -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(move || work(&state)).await;
    done.map_err(|error| Problem::fault("working on the state of identity", &error))?
        .map_err(fault("working on the state of identity"))
}

/// What the caller did wrong, as such; all else is a fault of the service.
fn fault(what: &'static str) -> impl Fn(IdentityError) -> Problem {
    move |error| {
        let refused = |status, kind| Problem::new(status, kind, error.to_string());
        match &error {
            IdentityError::Account(AccountError::Unknown(_))
            | IdentityError::Token(TokenError::Unknown(_)) => refused(StatusCode::NOT_FOUND, "not-found"),
            IdentityError::Account(AccountError::Exists(_)) => refused(StatusCode::CONFLICT, "exists"),
            IdentityError::Account(AccountError::LastAdministrator { .. }) => {
                refused(StatusCode::CONFLICT, "last-administrator")
            }
            // What two parts of a request, or a request and an account, are to one another: no schema says that.
            IdentityError::Account(AccountError::Password(PasswordError::HoldsName)) => {
                refused(StatusCode::CONFLICT, "password-holds-name")
            }
            IdentityError::Account(AccountError::TooMany)
            | IdentityError::Token(TokenError::TooMany | TokenError::TooManyOfOne) => {
                refused(StatusCode::CONFLICT, "too-many")
            }
            IdentityError::Role(_)
            | IdentityError::Account(AccountError::Name(_) | AccountError::Password(_))
            | IdentityError::Token(TokenError::Name | TokenError::Empty | TokenError::Expiry { .. }) => {
                refused(StatusCode::BAD_REQUEST, "bad-body")
            }
            _ => Problem::fault(what, &error),
        }
    }
}
