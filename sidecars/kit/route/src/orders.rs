//! Orders of a service over HTTP: asking, looking at them, approving, refusing, withdrawing, and executing them as jobs. What
//! an order is for, and what is done, belongs to the service.

use std::sync::Arc;

use fep_database::{Writing, hex};
use fep_identity::{Caller, Role};
use fep_jobs::{NewJob, Restart, Running};
use fep_kit::Problem;
use fep_orders::{Actor, Filter, NewOrder, Order, OrderState, Rule, Step};
use fep_time::{AsciiForm, LeapSeconds, Tai, tai_now};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::{Json, List};
use crate::jobs::JobView;
use crate::param::{Form, Reach};
use crate::route::{Call, Declared, Route};
use crate::{Base, Failed, Name, Text};

/// Who ends orders.
const SERVICE: &str = "service:executor";
const STATES: &[&str] =
    &["asked", "approved", "refused", "withdrawn", "expired", "executing", "done", "failed"];

/// An order as a caller sees it.
#[derive(Serialize, ToSchema)]
pub struct OrderView {
    id: String,
    kind: String,
    subject: String,
    reason: String,
    /// SHA-256 of what is approved, 64 hexadecimal digits.
    content_sha256: String,
    state: String,
    asker: String,
    approved_by: Vec<String>,
    /// UTC.
    expires_at: String,
    /// How it came to its end; empty before.
    note: String,
}

/// What somebody asks for, the contents aside.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asking {
    /// Name of the order; asking for the same again is no second order.
    pub id: Name,
    /// Why.
    pub reason: Text<1000>,
}

/// What somebody approves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approving {
    /// SHA-256 of what the person has looked at, 64 hexadecimal digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    #[serde(with = "hex")]
    content_sha256: [u8; 32],
}

/// Why somebody does not want it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Noting {
    note: Text<1000>,
}

impl OrderView {
    /// The view of an order at this moment.
    #[must_use]
    pub fn of(order: &Order, now: Tai) -> OrderView {
        let utc = LeapSeconds::builtin().utc(order.expires_at).map(|utc| utc.to_ascii(AsciiForm::A, 3));
        OrderView {
            id: order.id.clone(),
            kind: order.rule.kind.clone(),
            subject: order.subject.clone(),
            reason: order.reason.clone(),
            content_sha256: hex::text(&order.content_sha256),
            state: order.state_at(now).name().to_owned(),
            asker: order.asker.to_string(),
            approved_by: order.approvals.iter().map(|approval| approval.person.to_string()).collect(),
            expires_at: utc.unwrap_or_default(),
            note: order.ending.as_ref().map(|ending| ending.note.clone()).unwrap_or_default(),
        }
    }
}

/// Who acts on an order: the caller, with the roles of this request.
///
/// # Errors
/// [`fep_orders::Error::Field`]: the name of the person or the account cannot be one.
pub fn actor(caller: &Caller) -> Result<Actor, fep_orders::Error> {
    let roles: Vec<&str> = caller.roles.iter().map(Role::name).collect();
    Actor::new(&caller.person.id.0, &caller.person.account, &roles)
}

/// Asks for what has this hash: the handler of a route that takes an [`Asking`].
///
/// # Errors
/// What the rules refuse, as the answer to the caller.
pub async fn ask(
    base: &Base,
    call: &Call<Json<Asking>>,
    rule: &Rule,
    subject: &str,
    content_sha256: [u8; 32],
) -> Result<Json<OrderView>, Problem> {
    let (asking, caller, now) = (&call.body.0, call.caller()?, tai_now());
    let asked = base.change("asking for an order", |mut writing| async move {
        let (id, reason) = (asking.id.to_string(), asking.reason.to_string());
        let new = NewOrder { id, subject: subject.to_owned(), reason, content_sha256 };
        let order = fep_orders::ask(&mut writing, new, rule.clone(), &actor(caller)?, now).await?;
        Ok((writing, order))
    });
    Ok(Json(OrderView::of(&asked.await?, now)))
}

/// Begins the order of the parameter `id`, with a job of the same name and of the kind of its rule, in one transaction.
/// `content_sha256` is of what will be done now: where it is not what was approved, nothing begins.
///
/// # Errors
/// What the rules refuse, as the answer to the caller.
pub async fn begin(base: &Base, call: &Call<()>, content_sha256: [u8; 32]) -> Result<Json<JobView>, Problem> {
    let (id, caller, now) = (call.values.get("id").unwrap_or_default(), call.caller()?, tai_now());
    let begun = base.change("beginning an order", |mut writing| async move {
        let step = Step::Begin { content_sha256 };
        let order = fep_orders::act(&mut writing, id, &step, &actor(caller)?, now).await?;
        let new = NewJob {
            id: order.id,
            kind: order.rule.kind,
            arguments: String::new(),
            person: caller.person.id.to_string(),
            restart: Restart::Resume,
        };
        let job = fep_jobs::add(&mut writing, new, now).await?;
        Ok((writing, job))
    });
    Ok(Json(begun.await?.into()))
}

/// Makes of `work` the handler of jobs that [`begin`] adds. `work` gets the order, and ends it by [`succeed`] in the
/// transaction of what it does; when it fails, the order has failed with that text. An order that is over already, because
/// the process was killed between its end and the end of its job, is not worked on again.
pub fn executor<S, F>(
    base: &Base,
    state: &Arc<S>,
    work: impl Fn(Arc<S>, Order) -> F + Send + Sync + 'static,
) -> impl Fn(Running) -> BoxFuture<'static, Result<String, String>> + Send + Sync + 'static
where
    S: Send + Sync + 'static,
    F: Future<Output = Result<String, Problem>> + Send + 'static,
{
    let (base, state, work) = (base.clone(), Arc::clone(state), Arc::new(work));
    move |running| {
        let (base, state, work) = (base.clone(), Arc::clone(&state), Arc::clone(&work));
        Box::pin(async move {
            let id = &running.job().id;
            let order = read(&base, id).await.map_err(|problem| problem.to_string())?;
            match order.ending {
                Some(ending) if order.state == OrderState::Done => return Ok(ending.note),
                Some(ending) => return Err(ending.note),
                None => {}
            }
            let failed = match work(state, order).await {
                Ok(outcome) => return Ok(outcome),
                Err(problem) => problem.to_string(),
            };
            let step = Step::Fail { note: failed.clone() };
            let service = Actor::new(SERVICE, "", &[]).map_err(|error| error.to_string())?;
            match fep_orders::perform(&base.database, id, &step, &service, tai_now()).await {
                Ok(_) => Err(failed),
                Err(error) => Err(format!("{failed}; the order is not noted as failed: {error}")),
            }
        })
    }
}

/// Holds what is about to be done to what was approved.
///
/// # Errors
/// 409: it is something else by now.
pub fn unchanged(order: &Order, content_sha256: [u8; 32]) -> Result<(), Problem> {
    if order.content_sha256 == content_sha256 {
        return Ok(());
    }
    Err(Problem::conflict("what would be done is not what was approved").hint("ask for a new order"))
}

/// Ends an order whose work is done, in the transaction of that work; `note` is what came of it.
///
/// # Errors
/// What the rules refuse; the database.
pub async fn succeed(writing: &mut Writing, id: &str, note: &str) -> Result<(), Failed> {
    let step = Step::Succeed { note: note.to_owned() };
    fep_orders::act(writing, id, &step, &Actor::new(SERVICE, "", &[])?, tai_now()).await?;
    Ok(())
}

/// `GET /v1/orders`, `GET /v1/orders/{id}`, and `POST /v1/orders/{id}/approve`, `refuse` and `withdraw`, for callers with one
/// of these roles and this reach. Which of them may take which step is decided by the rule of the order.
#[must_use]
pub fn routes(base: &Base, roles: &[Role], reach: Reach) -> Vec<Declared> {
    let base = &Arc::new(base.clone());
    let get = |path, text| Route::get(path, text).roles(roles).reaches(reach);
    let post = |path, text| {
        let route = Route::post(path, text).roles(roles).reaches(reach);
        route.path_parameter("id", Form::Name, "Name of the order.")
    };
    vec![
        get("/v1/orders", "Orders by the time of asking, the oldest first, at most 1000.")
            .query("state", Form::OneOf(STATES), "Only those that stand here, as noted.")
            .to(base, list),
        get("/v1/orders/{id}", "One order.").path_parameter("id", Form::Name, "Its name.").to(base, one),
        post("/v1/orders/{id}/approve", "Approves what has this hash.").to(base, approve),
        post("/v1/orders/{id}/refuse", "Refuses an order, or takes an approval back.").to(base, refuse),
        post("/v1/orders/{id}/withdraw", "Takes one's own order back.").to(base, withdraw),
    ]
}

async fn list(base: Arc<Base>, call: Call<()>) -> Result<List<OrderView>, Problem> {
    const DOING: &str = "listing orders";
    let state =
        call.values.get("state").and_then(|name| OrderState::ALL.into_iter().find(|one| one.name() == name));
    let found = base.attempt(DOING, || async {
        let mut reading = base.database.read(DOING).await?;
        Ok(fep_orders::list(&mut reading, &Filter { state, ..Filter::default() }).await?)
    });
    let (orders, now) = (found.await?, tai_now());
    Ok(List(orders.iter().map(|order| OrderView::of(order, now)).collect()))
}

async fn one(base: Arc<Base>, call: Call<()>) -> Result<Json<OrderView>, Problem> {
    let order = read(&base, call.values.get("id").unwrap_or_default()).await?;
    Ok(Json(OrderView::of(&order, tai_now())))
}

async fn read(base: &Base, id: &str) -> Result<Order, Problem> {
    const DOING: &str = "reading an order";
    let found = base.attempt(DOING, || async {
        let mut reading = base.database.read(DOING).await?;
        Ok(fep_orders::get(&mut reading, id).await?)
    });
    found.await
}

async fn approve(base: Arc<Base>, call: Call<Json<Approving>>) -> Result<Json<OrderView>, Problem> {
    let content_sha256 = call.body.0.content_sha256;
    perform(&base, &call, Step::Approve { content_sha256 }).await
}

async fn refuse(base: Arc<Base>, call: Call<Json<Noting>>) -> Result<Json<OrderView>, Problem> {
    let note = call.body.0.note.to_string();
    perform(&base, &call, Step::Refuse { note }).await
}

async fn withdraw(base: Arc<Base>, call: Call<Json<Noting>>) -> Result<Json<OrderView>, Problem> {
    let note = call.body.0.note.to_string();
    perform(&base, &call, Step::Withdraw { note }).await
}

async fn perform<B>(base: &Base, call: &Call<B>, step: Step) -> Result<Json<OrderView>, Problem> {
    let (id, now) = (call.values.get("id").unwrap_or_default(), tai_now());
    let caller = call.caller()?;
    let done = async {
        Ok::<_, Failed>(fep_orders::perform(&base.database, id, &step, &actor(caller)?, now).await?)
    };
    let order = done.await.map_err(|failed| failed.problem("changing an order"))?;
    Ok(Json(OrderView::of(&order, now)))
}
