//! HEAD, bodies that may be left out, a time limit of one route, and scopes that a handler filters by.

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fep_bus::Colour;
use fep_identity::{Credentials, NumericDate, Peers, Role, Scope};
use fep_kit::Problem;
use fep_record::Session;
use fep_route::{
    Arrival, Call, Form, Limits, Matrix, MaybeJson, Names, Octets, Reach, Route, Service, Source,
};
use http_body_util::BodyExt;
use serde::Deserialize;
use support::Site;
use tower::ServiceExt;
use utoipa::ToSchema;

/// What somebody says, or nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    note: String,
}

async fn read(_: Arc<()>, call: Call<()>) -> Result<Octets, Problem> {
    Ok(Octets(if call.is_head { "nobody sees it" } else { "all of it" }.into()))
}

async fn noted(_: Arc<()>, call: Call<MaybeJson<Note>>) -> Result<Octets, Problem> {
    Ok(Octets(call.body.0.map_or_else(|| "nothing".to_owned(), |note| note.note).into()))
}

async fn slow(_: Arc<()>, _: Call<()>) -> Result<(), Problem> {
    tokio::time::sleep(Duration::from_millis(1500)).await;
    Ok(())
}

fn service(site: &Site) -> Service {
    let limits = Limits { handler_timeout_s: 1, ..Limits::default() };
    let authenticator = fep_identity::Authenticator::new(&site.identity.public_file(), Peers::default());
    let service = Service::new("forms", "1", Arc::new(authenticator.expect("keys")), limits);
    let state = &Arc::new(());
    let rows = Reach {
        scid: Source::Selected("scid"),
        colour: Source::Defaulted("colour", Colour::Black),
        session: Source::Defaulted("session", Session::Ops),
    };
    let listed = Reach { scid: Source::InScope, colour: Source::InScope, session: Source::InScope };
    let get = |path| Route::get(path, "Reads.").role(Role::Observer);
    let with_parameters = |route: Route<_>| {
        route
            .query("scid", Form::Text(100), "Spacecraft, one or several.")
            .query("colour", Form::COLOUR, "Colour.")
            .query("session", Form::Text(100), "Session, one or several.")
    };
    let of_spacecraft =
        Reach { scid: Source::Defaulted("scid", 11), colour: Source::Selected("colour"), ..listed };
    service.expect("a service").with([
        with_parameters(get("/v1/rows").reaches(rows)).to(state, read),
        with_parameters(get("/v1/of").reaches(of_spacecraft)).to(state, read),
        get("/v1/lists").reaches(listed).to(state, read),
        Route::post("/v1/notes", "Notes.").role(Role::Operator).touches_no_data().to(state, noted),
    ])
}

fn slow_ones() -> [fep_route::Declared; 2] {
    let state = &Arc::new(());
    [
        Route::get("/v1/slow", "Takes its time.").role(Role::Planner).touches_no_data().to(state, slow),
        Route::get("/v1/slower", "May.")
            .role(Role::Planner)
            .touches_no_data()
            .handler_timeout_s(60)
            .to(state, slow),
    ]
}

async fn ask(site: &Site, line: &str, role: Role, media_type: &str, body: &'static str) -> (u16, String) {
    let (method, uri) = line.split_once(' ').expect("METHOD URI");
    let ticket = site.identity.ticket_for_test(
        fep_identity::RoleSet::of(&[role]),
        vec![Scope::ALL],
        NumericDate::now(),
    );
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "x")
        .header("authorization", format!("Bearer {}", ticket.expect("a ticket")))
        .extension(Arrival { credentials: Credentials::None, names: Arc::new(Names::new("http", ["x"])) });
    if !media_type.is_empty() {
        request = request.header("content-type", media_type);
    }
    let request = request.body(Body::from(body)).expect("a request");
    let router = service(site).with(slow_ones()).router().expect("a router");
    let answer = router.oneshot(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let octets = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&octets).into_owned())
}

// REQ: FEP-KIT-181
#[tokio::test]
async fn head_is_answered_where_get_is_and_the_handler_knows_it() {
    let site = Site::new(Limits::default(), Peers::default());
    let get = ask(&site, "GET /v1/rows", Role::Observer, "", "").await;
    assert_eq!(get, (200, "all of it".to_owned()));
    assert_eq!(ask(&site, "HEAD /v1/rows", Role::Observer, "", "").await, (200, String::new()));
    assert_eq!(ask(&site, "HEAD /v1/rows", Role::Planner, "", "").await.0, 403);
    assert_eq!(ask(&site, "HEAD /v1/notes", Role::Operator, "", "").await.0, 405);
}

// REQ: FEP-KIT-181
#[tokio::test]
async fn a_body_that_may_be_left_out_has_a_media_type_where_it_is_there() {
    let site = Site::new(Limits::default(), Peers::default());
    let post = async |media_type, body| ask(&site, "POST /v1/notes", Role::Operator, media_type, body).await;
    let (json, nothing) = ("application/json", (200, "nothing".to_owned()));
    assert_eq!(post("", "").await, nothing);
    assert_eq!(post(json, "").await, nothing);
    assert_eq!(post(json, "null").await, nothing);
    assert_eq!(post(json, r#"{"note": "a"}"#).await, (200, "a".to_owned()));
    assert_eq!(post("", r#"{"note": "a"}"#).await.0, 415);
    assert_eq!(post("text/plain", r#"{"note": "a"}"#).await.0, 415);
    assert_eq!(post(json, r#"{"nota": "a"}"#).await.0, 400);
    let document = service(&site).openapi();
    let body = &document["paths"]["/v1/notes"]["post"]["requestBody"];
    assert_eq!(body["required"], false);
    assert_eq!(
        body["content"]["application/json"]["schema"]["oneOf"][1]["$ref"],
        "#/components/schemas/Note"
    );
}

// REQ: FEP-KIT-181
#[tokio::test]
async fn one_route_may_take_longer_than_the_service_lets_the_others() {
    let site = Site::new(Limits::default(), Peers::default());
    assert_eq!(ask(&site, "GET /v1/slow", Role::Planner, "", "").await.0, 503);
    assert_eq!(ask(&site, "GET /v1/slower", Role::Planner, "", "").await.0, StatusCode::NO_CONTENT.as_u16());
}

// REQ: FEP-KIT-112
#[tokio::test]
async fn scopes_that_a_handler_filters_by_let_in_whoever_reaches_something() {
    let site = Site::new(Limits::default(), Peers::default());
    let service = service(&site);
    let matrix = Matrix::of(&service, |roles, scopes| {
        site.identity.ticket_for_test(roles, scopes, NumericDate::now()).expect("a ticket")
    })
    .await;
    assert!(matrix.wrong.is_empty(), "{:#?}", &matrix.wrong[..matrix.wrong.len().min(20)]);
    assert!(matrix.let_in > 100, "{}", matrix.let_in);
}
