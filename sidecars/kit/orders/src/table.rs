//! Orders in the database. Every change is one transaction with its entry of the audit trail.

use std::collections::BTreeMap;

use fep_audit::Event;
use fep_database::{Database, Migration, Schema, Writing, hex};
use fep_time::Tai;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::Error;
use crate::automaton::Step;
use crate::order::{Actor, Approval, Ending, Execution, NewOrder, Order, OrderState, PersonId, Rule};

/// The tables of orders: a module of the service's database, beside [`fep_audit::SCHEMA`].
pub const SCHEMA: Schema = Schema::new(
    "orders",
    &[Migration::new(
        1,
        "orders",
        "CREATE TABLE kit_orders (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            reason TEXT NOT NULL,
            content_sha256 TEXT NOT NULL, -- 64 hexadecimal digits
            rule TEXT NOT NULL, -- JSON
            asker TEXT NOT NULL,
            asker_account TEXT NOT NULL,
            asked_at BIGINT NOT NULL, -- TAI nanoseconds since 1958-01-01
            expires_at BIGINT NOT NULL,
            state TEXT NOT NULL,
            execution TEXT, -- JSON
            ending TEXT, -- JSON
            UNIQUE (id, asker),
            CHECK (state IN ('asked', 'approved', 'refused', 'withdrawn', 'expired', 'executing', 'done', 'failed')),
            CHECK ((execution IS NULL) = (state NOT IN ('executing', 'done', 'failed'))),
            CHECK ((ending IS NULL) = (state IN ('asked', 'approved', 'executing')))
        );
        CREATE INDEX kit_orders_by_state ON kit_orders (state, expires_at);
        CREATE TABLE kit_order_approvals (
            order_id TEXT NOT NULL,
            asker TEXT NOT NULL,
            person TEXT NOT NULL,
            account TEXT NOT NULL,
            roles TEXT NOT NULL, -- JSON
            at BIGINT NOT NULL,
            place BIGINT NOT NULL,
            PRIMARY KEY (order_id, person),
            FOREIGN KEY (order_id, asker) REFERENCES kit_orders (id, asker),
            -- The database itself refuses an approval by who asked.
            CHECK (person <> asker)
        );",
    )],
);

/// Most orders of one page.
pub const PAGE_MAX: u32 = 1000;

/// Which orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that stand here. As noted: see [`Order::state_at`].
    pub state: Option<OrderState>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those after this one, for the next page: its time of asking and its name.
    pub after: Option<(Tai, String)>,
    /// At most so many; 0 or more than [`PAGE_MAX`]: [`PAGE_MAX`].
    pub limit: u32,
}

/// Makes an order in the caller's transaction. One of the same name, contents and asker that is there already is the answer
/// to the same question: so a question whose answer was lost may be asked again.
///
/// # Errors
/// [`Error::Field`], [`Error::MayNotAsk`], [`Error::Taken`]; the database.
pub async fn ask(
    writing: &mut Writing,
    new: NewOrder,
    rule: Rule,
    asker: &Actor,
    now: Tai,
) -> Result<Order, Error> {
    let order = Order::ask(new, rule, asker, now)?;
    if let Some(known) = find(writing, &order.id).await? {
        let same = known.asker == order.asker
            && known.content_sha256 == order.content_sha256
            && known.rule.kind == order.rule.kind
            && known.subject == order.subject;
        return if same { Ok(known) } else { Err(Error::Taken { id: order.id }) };
    }
    sqlx::query(
        "INSERT INTO kit_orders (id, kind, subject, reason, content_sha256, rule, asker, asker_account, asked_at, \
         expires_at, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&order.id)
    .bind(&order.rule.kind)
    .bind(&order.subject)
    .bind(&order.reason)
    .bind(hex::text(&order.content_sha256))
    .bind(json(&order.rule))
    .bind(order.asker.as_str())
    .bind(&order.asker_account)
    .bind(order.asked_at.0)
    .bind(order.expires_at.0)
    .bind(order.state.name())
    .execute(&mut **writing)
    .await
    .map_err(Error::sql("making an order"))?;
    audit(writing, &order, "order asked", Some(asker), &order.reason, now).await?;
    Ok(order)
}

/// Does a step in the caller's transaction, where what the step is for may be done as well.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Refused`]; the database. Give up the transaction then: nothing was changed.
pub async fn act(
    writing: &mut Writing,
    id: &str,
    step: &Step,
    actor: &Actor,
    now: Tai,
) -> Result<Order, Error> {
    let order = get(writing, id).await?;
    let next =
        order.step(step, actor, now).map_err(|refusal| Error::Refused { id: id.to_owned(), refusal })?;
    if let Some(approval) = next.approvals.get(order.approvals.len()) {
        sqlx::query(
            "INSERT INTO kit_order_approvals (order_id, asker, person, account, roles, at, place) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(order.asker.as_str())
        .bind(approval.person.as_str())
        .bind(&approval.account)
        .bind(json(&approval.roles))
        .bind(approval.at.0)
        .bind(next.approvals.len() as i64)
        .execute(&mut **writing)
        .await
        .map_err(Error::sql("noting an approval"))?;
    }
    sqlx::query("UPDATE kit_orders SET state = $2, execution = $3, ending = $4 WHERE id = $1")
        .bind(id)
        .bind(next.state.name())
        .bind(next.execution.as_ref().map(json))
        .bind(next.ending.as_ref().map(json))
        .execute(&mut **writing)
        .await
        .map_err(Error::sql("changing an order"))?;
    let action = match step {
        Step::Approve { .. } => "order approved",
        Step::Refuse { .. } => "order refused",
        Step::Withdraw { .. } => "order withdrawn",
        Step::Expire => "order expired",
        Step::Begin { .. } => "order begun",
        Step::Succeed { .. } => "order done",
        Step::Fail { .. } => "order failed",
    };
    let by = if matches!(step, Step::Expire) { None } else { Some(actor) };
    audit(writing, &next, action, by, step.note(), now).await?;
    Ok(next)
}

/// Does a step in a transaction of its own, and tries again what may pass by itself. What the rules do not allow is noted in
/// the audit trail as well.
///
/// # Errors
/// As [`act`].
pub async fn perform(
    database: &Database,
    id: &str,
    step: &Step,
    actor: &Actor,
    now: Tai,
) -> Result<Order, Error> {
    const DOING: &str = "changing an order";
    let result = database
        .retry(DOING, || async {
            let mut writing = database.begin(DOING).await?;
            let order = act(&mut writing, id, step, actor, now).await?;
            writing.commit().await?;
            Ok(order)
        })
        .await;
    if let Err(Error::Refused { refusal, .. }) = &result {
        let detail = serde_json::json!({"step": step.name(), "refusal": refusal.to_string()}).to_string();
        let event = Event {
            at: now,
            person: actor.person.to_string(),
            account: actor.account.clone(),
            action: "order step not allowed".to_owned(),
            subject: id.to_owned(),
            detail,
        };
        fep_audit::note(database, event).await?;
    }
    result
}

/// Notes of all orders whose time is over that it is; their number.
///
/// # Errors
/// The database.
pub async fn expire_due(writing: &mut Writing, now: Tai) -> Result<u64, Error> {
    let due = sqlx::query(
        "SELECT id FROM kit_orders WHERE state IN ('asked', 'approved') AND expires_at <= $1 ORDER BY expires_at, id",
    )
    .bind(now.0)
    .fetch_all(&mut **writing)
    .await
    .map_err(Error::sql("looking for orders whose time is over"))?;
    let clock = Actor::new("service:clock", "", &[])?;
    for row in &due {
        let id: String = row.try_get(0).map_err(Error::sql("looking for orders whose time is over"))?;
        act(writing, &id, &Step::Expire, &clock, now).await?;
    }
    Ok(due.len() as u64)
}

/// One order.
///
/// # Errors
/// [`Error::NotFound`]; the database.
pub async fn get(connection: &mut AnyConnection, id: &str) -> Result<Order, Error> {
    find(connection, id).await?.ok_or_else(|| Error::NotFound { id: id.to_owned() })
}

/// Orders by the time of asking, the oldest first.
///
/// # Errors
/// The database.
pub async fn list(connection: &mut AnyConnection, filter: &Filter) -> Result<Vec<Order>, Error> {
    let (after_at, after_id) = filter.after.clone().unwrap_or((Tai(i64::MIN), String::new()));
    let limit = if filter.limit == 0 { PAGE_MAX } else { filter.limit.min(PAGE_MAX) };
    let mut sql = "SELECT * FROM kit_orders WHERE (asked_at > $1 OR (asked_at = $1 AND id > $2))".to_owned();
    let mut texts = Vec::new();
    if let Some(state) = filter.state {
        texts.push(state.name().to_owned());
        sql.push_str(" AND state = $3");
    }
    if let Some(kind) = &filter.kind {
        texts.push(kind.clone());
        sql.push_str(&format!(" AND kind = ${}", texts.len() + 2));
    }
    sql.push_str(&format!(" ORDER BY asked_at, id LIMIT {limit}"));
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(after_at.0).bind(after_id);
    for text in texts {
        query = query.bind(text);
    }
    let rows = query.fetch_all(&mut *connection).await.map_err(Error::sql("listing orders"))?;
    let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>();
    let mut approvals = approvals_of(connection, &ids.map_err(Error::sql("listing orders"))?).await?;
    rows.iter().map(|row| order_of(row, &mut approvals)).collect()
}

async fn find(connection: &mut AnyConnection, id: &str) -> Result<Option<Order>, Error> {
    let row = sqlx::query("SELECT * FROM kit_orders WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(Error::sql("looking for an order"))?;
    let Some(row) = row else { return Ok(None) };
    let mut approvals = approvals_of(connection, &[id.to_owned()]).await?;
    order_of(&row, &mut approvals).map(Some)
}

/// The approvals of some orders, at most [`PAGE_MAX`], each list in its order.
async fn approvals_of(
    connection: &mut AnyConnection,
    orders: &[String],
) -> Result<BTreeMap<String, Vec<Approval>>, Error> {
    const DOING: &str = "reading approvals";
    let mut approvals: BTreeMap<String, Vec<Approval>> = BTreeMap::new();
    if orders.is_empty() {
        return Ok(approvals);
    }
    let places: Vec<String> = (1..=orders.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "SELECT order_id, person, account, roles, at FROM kit_order_approvals WHERE order_id IN ({}) \
         ORDER BY order_id, place",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for order in orders {
        query = query.bind(order);
    }
    for row in query.fetch_all(connection).await.map_err(Error::sql(DOING))? {
        let text = |column: &str| row.try_get::<String, _>(column).map_err(Error::sql(DOING));
        let order = text("order_id")?;
        let approval = Approval {
            person: PersonId::new(&text("person")?)?,
            account: text("account")?,
            roles: from_json(&order, &text("roles")?)?,
            at: Tai(row.try_get("at").map_err(Error::sql(DOING))?),
        };
        approvals.entry(order).or_default().push(approval);
    }
    Ok(approvals)
}

fn order_of(row: &AnyRow, approvals: &mut BTreeMap<String, Vec<Approval>>) -> Result<Order, Error> {
    const DOING: &str = "reading an order";
    let text = |column: &str| row.try_get::<String, _>(column).map_err(Error::sql(DOING));
    let optional = |column: &str| row.try_get::<Option<String>, _>(column).map_err(Error::sql(DOING));
    let time = |column: &str| row.try_get::<i64, _>(column).map(Tai).map_err(Error::sql(DOING));
    let id = text("id")?;
    let bad = |problem: String| Error::Row { id: id.clone(), problem };
    let state = text("state")?;
    let state = OrderState::ALL
        .into_iter()
        .find(|known| known.name() == state)
        .ok_or_else(|| bad(format!("the state \"{state}\"")))?;
    let hash = text("content_sha256")?;
    let content_sha256 = hex::octets(&hash).ok_or_else(|| bad(format!("\"{hash}\", which is no SHA-256")))?;
    let execution: Option<Execution> =
        optional("execution")?.map(|text| from_json(&id, &text)).transpose()?;
    let ending: Option<Ending> = optional("ending")?.map(|text| from_json(&id, &text)).transpose()?;
    Ok(Order {
        subject: text("subject")?,
        reason: text("reason")?,
        content_sha256,
        rule: from_json(&id, &text("rule")?)?,
        asker: PersonId::new(&text("asker")?)?,
        asker_account: text("asker_account")?,
        asked_at: time("asked_at")?,
        expires_at: time("expires_at")?,
        state,
        approvals: approvals.remove(&id).unwrap_or_default(),
        execution,
        ending,
        id,
    })
}

async fn audit(
    writing: &mut Writing,
    order: &Order,
    action: &str,
    actor: Option<&Actor>,
    note: &str,
    now: Tai,
) -> Result<(), Error> {
    let detail = BTreeMap::from([
        ("kind", order.rule.kind.clone()),
        ("state", order.state.name().to_owned()),
        ("content_sha256", hex::text(&order.content_sha256)),
        ("note", note.to_owned()),
    ]);
    let event = Event {
        at: now,
        person: actor.map_or_else(|| "service:clock".to_owned(), |actor| actor.person.to_string()),
        account: actor.map_or_else(String::new, |actor| actor.account.clone()),
        action: action.to_owned(),
        subject: order.id.clone(),
        detail: json(&detail),
    };
    fep_audit::append(writing, event).await?;
    Ok(())
}

/// Structs and maps of numbers and texts always become JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn from_json<T: DeserializeOwned>(id: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::Row { id: id.to_owned(), problem: format!("{text:?}: {error}") })
}
