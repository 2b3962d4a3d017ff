//! A small service: who may call what, and how it is described.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fep_bus::Colour;
use fep_identity::{
    Authenticator, Colours, Credentials, NumericDate, Peers, Role, RoleSet, Scope, Sessions, Spacecraft,
};
use fep_kit::Problem;
use fep_record::Session;
use fep_route::{Arrival, Call, Form, Limits, Matrix, Names, Reach, Route, Service};
use support::Site;
use tower::ServiceExt;

fn site() -> Site {
    // The approver's route never answers: let its time end soon.
    Site::new(Limits { handler_timeout_s: 1, ..Limits::default() }, Peers::default())
}

// REQ: FEP-KIT-112
#[tokio::test]
async fn every_route_called_as_every_role_scope_and_session_lets_in_exactly_those_it_declares() {
    let site = site();
    let mut service =
        Service::new("example", "1", authenticator(&site), Limits::default()).expect("a service");
    // All but the route that never answers, which would be called a hundred times.
    let routes = site.routes_but("/v1/sleep");
    service = service.with(routes);
    let matrix = Matrix::of(&service, |roles, scopes| {
        site.identity.ticket_for_test(roles, scopes, NumericDate::now()).expect("a ticket")
    })
    .await;
    assert!(matrix.wrong.is_empty(), "{:#?}", &matrix.wrong[..matrix.wrong.len().min(20)]);
    println!("{} calls, {} let in", matrix.calls, matrix.let_in);
    assert!(matrix.let_in > 100 && matrix.calls > matrix.let_in * 2, "{} of {}", matrix.let_in, matrix.calls);
}

fn authenticator(site: &Site) -> Arc<Authenticator> {
    Arc::new(Authenticator::new(&site.identity.public_file(), Peers::default()).expect("keys"))
}

// REQ: FEP-KIT-112
#[tokio::test]
async fn the_generated_test_finds_a_route_that_lets_in_others_than_it_declares() {
    let site = site();
    let service = Service::new("example", "1", authenticator(&site), Limits::default()).expect("a service");
    async fn refuses(_: Arc<()>, _: Call<()>) -> Result<(), Problem> {
        Err(Problem::new(StatusCode::FORBIDDEN, fep_route::ROLE_MISSING, "not you"))
    }
    let route =
        Route::get("/v1/x", "Refuses all.").role(Role::Observer).touches_no_data().to(&Arc::new(()), refuses);
    let matrix = Matrix::of(&service.with([route]), |roles, scopes| {
        site.identity.ticket_for_test(roles, scopes, NumericDate::now()).expect("a ticket")
    })
    .await;
    assert!(!matrix.wrong.is_empty());
    assert!(matrix.wrong.iter().all(|wrong| wrong.contains("as observer of") && wrong.contains("let in")));
}

async fn call(site: &Site, line: &str, roles: &[Role], scope: Scope) -> u16 {
    let (method, uri) = line.split_once(' ').expect("METHOD URI");
    let ticket = site.identity.ticket_for_test(RoleSet::of(roles), vec![scope], NumericDate::now());
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "x")
        .header("authorization", format!("Bearer {}", ticket.expect("a ticket")))
        .extension(Arrival { credentials: Credentials::None, names: Arc::new(Names::new("http", ["x"])) })
        .body(Body::empty())
        .expect("a request");
    site.service.router().expect("a router").oneshot(request).await.expect("an answer").status().as_u16()
}

// REQ: FEP-KIT-112
#[tokio::test]
async fn who_may_read_what_agrees_with_a_table_written_by_hand() {
    let site = site();
    let narrow = Scope {
        spacecraft: Spacecraft::these([157]),
        colours: Colours::of(&[Colour::Black]),
        sessions: Sessions::of(&[Session::Ops, Session::Replay]),
    };
    let own = "GET /v1/spacecraft/157/frames?colour=black&session=ops";
    for (line, roles, scope, expected) in [
        (own, &[Role::Observer][..], Scope::ALL, 200),
        (own, &[Role::Operator], narrow.clone(), 200),
        (own, &[Role::Administrator], Scope::ALL, 403),
        (own, &[Role::Administrator, Role::Observer], narrow.clone(), 200),
        ("GET /v1/spacecraft/157/frames?colour=black&session=replay", &[Role::Observer], narrow.clone(), 200),
        ("GET /v1/spacecraft/158/frames?colour=black&session=ops", &[Role::Observer], narrow.clone(), 403),
        ("GET /v1/spacecraft/157/frames?colour=red&session=ops", &[Role::Observer], narrow.clone(), 403),
        ("GET /v1/spacecraft/157/frames?colour=black&session=test", &[Role::Observer], narrow.clone(), 403),
        ("GET /v1/spacecraft/157/frames?colour=black", &[Role::Observer], narrow.clone(), 403),
        ("GET /v1/spacecraft/157/frames", &[Role::Observer], Scope::ALL, 200),
        (
            "GET /v1/spacecraft/157/frames?colour=black&colour=red&session=ops",
            &[Role::Observer],
            narrow.clone(),
            400,
        ),
        ("GET /v1/spacecraft/157/frames?Colour=black", &[Role::Observer], Scope::ALL, 400),
        ("GET /v1/spacecraft/65536/frames", &[Role::Observer], Scope::ALL, 400),
        ("GET /v1/spacecraft/0157/frames?colour=black&session=ops", &[Role::Observer], narrow.clone(), 200),
        ("GET /v1/keys", &[Role::SecurityOfficer], narrow.clone(), 403),
        ("GET /v1/keys", &[Role::SecurityOfficer], Scope::ALL, 200),
        ("DELETE /v1/plans/a", &[Role::Planner], narrow.clone(), 200),
        ("DELETE /v1/plans/a", &[Role::Observer, Role::Operator, Role::Approver], Scope::ALL, 403),
        ("POST /v1/plans/a", &[Role::Planner], Scope::ALL, 405),
        ("GET /v1/plans", &[Role::Planner], Scope::ALL, 404),
        ("GET /v1/sleep", &[Role::Approver], Scope::ALL, 503),
        ("POST /v1/uploads", &[Role::FlightSoftware], Scope::ALL, 415),
    ] {
        assert_eq!(
            call(&site, line, roles, scope.clone()).await,
            expected,
            "{line} as {roles:?} of {scope:?}"
        );
    }
    assert!(site.example.calls.load(Ordering::Relaxed) > 0);
}

// REQ: FEP-KIT-111
#[test]
fn the_document_describes_every_route_with_its_bodies_parameters_and_roles() {
    let site = site();
    let document = site.service.openapi();
    assert_eq!(document["openapi"], "3.1.0");
    for declaration in site.service.declarations() {
        let operation = &document["paths"][declaration.path][declaration.method.name().to_ascii_lowercase()];
        assert_eq!(operation["summary"], declaration.summary, "{declaration:?}");
        assert!(operation["security"].is_array(), "{declaration:?}");
    }
    let add = &document["paths"]["/v1/spacecraft/{scid}/links"]["post"];
    assert_eq!(
        add["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/NewLink"
    );
    assert_eq!(add["parameters"][0]["schema"]["maximum"], 65535);
    assert_eq!(add["description"], "Roles, one of which is needed: operator.");
    // Every reference of the document leads somewhere.
    let text = document.to_string();
    let mut references = 0;
    for part in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().expect("a name");
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
        references += 1;
    }
    assert!(references > 20);
    assert!(document["components"]["schemas"]["Rate"].is_object(), "also what a body refers to");
    // What a browser or an operator must know: no route is described as open that is not.
    let open = text.matches("\"security\":[]").count();
    assert_eq!(open, 2, "/v1/hello and /v1/login");
}

#[test]
fn declarations_that_contradict_themselves_are_refused_by_route_and_parameter() {
    let site = site();
    async fn nothing(_: Arc<()>, _: Call<()>) -> Result<(), Problem> {
        Ok(())
    }
    let state = Arc::new(());
    let mistake = |route: fep_route::Declared| {
        let service = Service::new("x", "1", authenticator(&site), Limits::default()).expect("a service");
        service.with([route]).router().expect_err("refused").to_string()
    };
    let get = |path| Route::get(path, "x").role(Role::Observer).touches_no_data();
    assert_eq!(mistake(get("x").to(&state, nothing)), "GET x: a path begins with /");
    assert!(mistake(get("/{id}").to(&state, nothing)).contains("parameter id of the path is not declared"));
    assert!(
        mistake(get("/x").path_parameter("id", Form::SCID, "").to(&state, nothing))
            .contains("does not stand")
    );
    let nobody = Route::get("/x", "x").roles(&[]).touches_no_data().to(&state, nothing);
    assert!(mistake(nobody).contains("no role may call it"));
    let scope = Route::get("/x", "x").role(Role::Observer).reaches(Reach::PARAMETERS).to(&state, nothing);
    assert!(mistake(scope).contains("scope comes from the parameter scid, which is not declared"));
    /// Another thing that is called as the example's own.
    #[derive(serde::Deserialize, utoipa::ToSchema)]
    struct Rate {
        _fast: bool,
    }
    async fn rate(_: Arc<()>, _: Call<fep_route::Json<Rate>>) -> Result<(), Problem> {
        Ok(())
    }
    let twice = Route::post("/x", "x").role(Role::Observer).touches_no_data().to(&state, rate);
    let service = site.service.clone().with([twice]);
    assert!(service.router().expect_err("refused").what.contains("another type has the schema name Rate"));
    assert!(mistake(get("/openapi.json").to(&state, nothing)).contains("declared twice"));
}
