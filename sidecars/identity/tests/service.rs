//! The real process over its Unix socket: the first administrator, logins, tokens, the audit trail, its health.

mod site;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_database::Options;
use fep_identity::{Cost, Identity, IdentityConfig, NumericDate, Peers};
use fep_route::{Limits, Matrix};
use serde_json::{Value, json};
use site::{PASSWORD, PATIENCE, Running, Site, everything};

fn actions(entries: &Value) -> Vec<String> {
    let entries = entries.as_array().expect("a list").iter();
    entries.map(|entry| entry["action"].as_str().expect("an action").to_owned()).collect()
}

// REQ: FEP-KIT-311
#[test]
fn the_first_administrator_is_added_once_and_only_with_a_good_password() {
    let site = Site::new();
    assert!(site.command(&["--check"]).output().expect("it runs").status.success());
    assert!(!site.path("state").exists(), "a check touches nothing");
    let short = site.add_administrator("root", "short");
    let said = String::from_utf8_lossy(&short.stderr).into_owned();
    assert!(!short.status.success() && said.contains("15 to 256 characters"), "{said}");
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let second = site.add_administrator("bert", PASSWORD);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("anna is an administrator already"), "{said}");
    let running = site.start();
    let me = running.json("GET /v1/me", &running.login("anna"), &Value::Null);
    assert_eq!(me["roles"], json!(["administrator"]));
    running.stop();
}

// REQ: FEP-KIT-312
#[test]
fn logins_refusals_tokens_and_accounts_are_in_the_audit_trail_which_verifies() {
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let wrong = json!({"account": "anna", "password": "another password"});
    assert_eq!(running.ask("POST /v1/login", "", &wrong).0, 401);
    let anna = running.login("anna");
    let all =
        json!([{"spacecraft": "all", "colours": ["black", "red"], "sessions": ["ops", "test", "replay"]}]);
    let bert = json!({"name": "bert", "password": PASSWORD, "roles": ["observer"], "scopes": all});
    running.json("POST /v1/accounts", &anna, &bert);
    let (status, _) = running.ask("POST /v1/accounts", &anna, &bert);
    assert_eq!(status, 409, "there is one of that name");
    let ticket = running.login("bert");
    assert_eq!(running.ask("GET /v1/accounts", &ticket, &Value::Null).0, 403, "bert only observes");
    assert_eq!(running.ask("GET /v1/audit", &ticket, &Value::Null).0, 403, "and reads no trail");
    let order = json!({"name": "script", "roles": ["observer"], "scopes": all, "lifetime_s": 600});
    let made = running.json("POST /v1/tokens", &ticket, &order);
    let (id, token) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    let exchanged = running.json("POST /v1/ticket", token, &Value::Null);
    let stolen = exchanged["ticket"].as_str().expect("a ticket");
    running.json(&format!("DELETE /v1/tokens/{id}"), &ticket, &Value::Null);
    for bearer in [token, stolen] {
        assert_eq!(running.ask("GET /v1/me", bearer, &Value::Null).0, 401, "revoked");
    }
    running.json("POST /v1/accounts/bert/disable", &anna, &Value::Null);
    assert_eq!(running.ask("GET /v1/me", &ticket, &Value::Null).0, 401, "a ticket of a disabled account");

    // Refusals are written by a task of their own.
    let until = Instant::now() + PATIENCE;
    let expected_refusals = ["GET /v1/accounts", "GET /v1/audit", "GET /v1/me"];
    loop {
        let refused = running.json("GET /v1/audit?action=refused", &anna, &Value::Null);
        let subjects: Vec<&str> = refused
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|entry| entry["subject"].as_str())
            .collect();
        if expected_refusals.iter().all(|subject| subjects.contains(subject)) {
            break;
        }
        assert!(Instant::now() < until, "{subjects:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let trail = running.json("GET /v1/audit", &anna, &Value::Null);
    let done: Vec<String> = actions(&trail)
        .into_iter()
        .filter(|action| !matches!(action.as_str(), "refused" | "login refused" | "account not added"))
        .collect();
    assert_eq!(
        done,
        [
            "first administrator added",
            "login",
            "account added",
            "account added",
            "login",
            "token asked",
            "token made",
            "ticket for token",
            "token revoked",
            "account disabled"
        ]
    );
    let not_added = running.json("GET /v1/audit?action=account%20not%20added", &anna, &Value::Null);
    assert_eq!(not_added.as_array().map(Vec::len), Some(1), "what was tried and refused is said to be so");
    let refused = running.json("GET /v1/audit?action=login%20refused", &anna, &Value::Null);
    assert_eq!(
        (refused[0]["account"].as_str(), refused[0]["person"].as_str()),
        (Some("anna"), Some("nobody"))
    );
    assert!(
        !trail.to_string().contains(PASSWORD) && !trail.to_string().contains(token),
        "no secret is in it"
    );
    let report = running.json("GET /v1/audit/verify", &anna, &Value::Null);
    assert_eq!(report["holds"], json!(true), "{report}");
    let (status, lines) = running.ask("GET /v1/audit/export", &anna, &Value::Null);
    assert_eq!(status, 200);
    // Chunked: only what is JSON is a line of the trail.
    let lines: String =
        lines.lines().filter(|line| line.starts_with('{')).map(|line| line.to_owned() + "\n").collect();
    let report = fep_audit::verify_lines(lines.as_bytes(), &[], None).expect("readable");
    assert!(report.holds() && report.entries > 12, "{report:?}");
    running.stop();
}

// REQ: FEP-KIT-187, FEP-KIT-196
#[test]
fn the_last_administrator_is_neither_disabled_nor_given_an_end_and_a_disabled_account_is_enabled_again() {
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let anna = running.login("anna");
    let refused = |line: &str, body: &Value| {
        let (status, text) = running.ask(line, &anna, body);
        assert!(status == 409 && text.contains("/problems/last-administrator"), "{line}: {status} {text}");
    };
    refused("POST /v1/accounts/anna/disable", &Value::Null);
    refused("PUT /v1/accounts/anna/password", &json!({"password": "another horse battery", "expires": 0}));
    assert_eq!(running.ask("GET /v1/accounts", &anna, &Value::Null).0, 200, "anna still administers");
    let bert =
        json!({"name": "bert", "password": PASSWORD, "roles": ["administrator"], "scopes": everything()});
    running.json("POST /v1/accounts", &anna, &bert);
    let ticket = running.login("bert");
    running.json("POST /v1/accounts/anna/disable", &ticket, &Value::Null);
    assert_eq!(running.ask("GET /v1/accounts", &anna, &Value::Null).0, 401);
    assert_eq!(running.ask("POST /v1/accounts/bert/disable", &ticket, &Value::Null).0, 409);
    running.json("POST /v1/accounts/anna/enable", &ticket, &Value::Null);
    assert_eq!(running.ask("POST /v1/accounts/nobody/enable", &ticket, &Value::Null).0, 404);
    let old = running.ask("GET /v1/accounts", &anna, &Value::Null).0;
    assert_eq!(old, 401, "what ended with the account stays ended");
    // What is revoked is revoked up to its second.
    let until = Instant::now() + PATIENCE;
    while running.ask("GET /v1/accounts", &running.login("anna"), &Value::Null).0 != 200 {
        assert!(Instant::now() < until, "anna cannot work again");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Refusals are written by a task of their own.
    loop {
        let trail = running.json("GET /v1/audit", &ticket, &Value::Null);
        let done = actions(&trail);
        let has = |action: &str| done.iter().filter(|done| *done == action).count();
        if has("account not disabled") == 2 {
            assert_eq!((has("account disabled"), has("account enabled")), (1, 2), "{done:?}");
            break;
        }
        assert!(Instant::now() < until, "{done:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    running.stop();
}

// REQ: FEP-KIT-188
#[test]
fn an_installation_without_a_usable_administrator_says_so_and_gets_one_beside_the_running_service() {
    let site = Site::new();
    let running = site.start();
    site.says(&running, 200, "add-administrator");
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    site.says(&running, 200, "\"administrators\"");
    let anna = running.login("anna");
    let bert = json!({"name": "bert", "password": PASSWORD, "roles": ["observer"], "scopes": everything()});
    running.json("POST /v1/accounts", &anna, &bert);
    // As a program of before would have left it: the only administrator is disabled.
    let file = site.path("state/accounts.json");
    let text = std::fs::read_to_string(&file).expect("readable");
    let mut book: Value = serde_json::from_str(&text).expect("JSON");
    book["anna"]["profile"]["disabled"] = json!(true);
    std::fs::write(&file, book.to_string()).expect("written");
    site.says(&running, 200, "no local account can administer");
    let taken = site.add_administrator("anna", PASSWORD);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(!taken.status.success() && said.contains("exists already"), "{said}");
    assert!(site.add_administrator("carl", PASSWORD).status.success());
    let carl = running.login("carl");
    running.json("POST /v1/accounts/anna/enable", &carl, &Value::Null);
    let trail = running.json("GET /v1/audit?action=first%20administrator%20added", &carl, &Value::Null);
    let subjects: Vec<&str> =
        trail.as_array().expect("a list").iter().filter_map(|entry| entry["subject"].as_str()).collect();
    assert_eq!(subjects, ["anna", "carl"]);
    let report = running.json("GET /v1/audit/verify", &carl, &Value::Null);
    assert_eq!(report["holds"], json!(true), "{report}");
    let again = site.add_administrator("dora", PASSWORD);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("is an administrator already"), "{said}");
    running.stop();
}

// REQ: FEP-KIT-189
#[test]
fn a_second_process_on_the_same_state_says_who_has_it_and_ends() {
    let site = Site::new();
    let running = site.start();
    // Another door: nothing but the state is the same.
    let text = std::fs::read_to_string(site.path("identity.toml")).expect("readable");
    std::fs::write(site.path("identity.toml"), text.replace("identity.sock", "other.sock")).expect("written");
    let second = site.command(&[]).output().expect("it ends");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let holder = format!("held by fep-identity, process {}", running.child.id());
    assert!(second.status.code() == Some(1) && said.contains(&holder), "{said}");
    assert!(!site.path("other.sock").exists());
    running.stop();
    std::fs::write(site.path("identity.toml"), text).expect("written");
    site.start().stop();
}

// REQ: FEP-KIT-195
#[test]
fn the_door_is_open_to_every_user_of_the_machine_who_then_has_to_log_in() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let mode = std::fs::metadata(&running.socket).expect("a socket").permissions().mode() & 0o777;
    assert_eq!(mode, 0o666);
    for line in ["GET /v1/me", "GET /v1/accounts", "GET /v1/tokens", "GET /v1/audit", "POST /v1/logout"] {
        assert_eq!(running.ask(line, "", &Value::Null).0, 401, "{line}");
    }
    let anna = running.login("anna");
    let (status, text) = running.ask("POST /v1/ticket", &anna, &Value::Null);
    assert!(status == 401 && text.contains("no API token"), "a ticket is no token: {status} {text}");
    running.stop();
}

// REQ: FEP-KIT-194
#[test]
fn the_document_names_the_sets_of_roles_and_the_longest_token_that_the_configuration_has() {
    let site = Site::new();
    let text = std::fs::read_to_string(site.path("identity.toml")).expect("readable");
    let more = "[identity.role_sets]\nshift-leader = [\"observer\", \"operator\"]\n";
    let text = text
        .replace("[identity.password]", "[identity]\ntoken_lifetime_days = 7\n[identity.password]")
        + more;
    std::fs::write(site.path("identity.toml"), text).expect("written");
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let document = running.json("GET /openapi.json", "", &Value::Null);
    let schemas = &document["components"]["schemas"];
    let names = schemas["RoleNames"]["items"]["enum"].as_array().expect("names");
    assert!(names.contains(&json!("shift-leader")) && names.contains(&json!("administrator")), "{names:?}");
    assert_eq!(schemas["Lifetime"]["maximum"], json!(7 * 86_400));
    let anna = running.login("anna");
    let bert =
        json!({"name": "bert", "password": PASSWORD, "roles": ["shift-leader"], "scopes": everything()});
    running.json("POST /v1/accounts", &anna, &bert);
    let order = |lifetime_s: u32| json!({"name": "x", "roles": ["administrator"], "scopes": everything(), "lifetime_s": lifetime_s});
    assert_eq!(running.ask("POST /v1/tokens", &anna, &order(7 * 86_400)).0, 200);
    assert_eq!(running.ask("POST /v1/tokens", &anna, &order(7 * 86_400 + 1)).0, 400);
    running.stop();
}

async fn alter(site: &Path) {
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&format!("sqlite://{}", site.display())).await.expect("a database");
    let altered =
        sqlx::query("UPDATE kit_audit SET account = 'nobody' WHERE number = 1").execute(&pool).await;
    assert_eq!(altered.expect("altered").rows_affected(), 1);
    pool.close().await;
}

// REQ: FEP-KIT-313
#[test]
fn a_trail_that_somebody_altered_turns_the_health_red() {
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let health = |running: &Running, wanted: u16| {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = site.says(running, wanted, "");
            if !text.contains("first time") {
                return text;
            }
            assert!(Instant::now() < until, "{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let running = site.start();
    health(&running, 200);
    running.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(alter(&site.path("audit.sqlite3")));
    let running = site.start();
    let said = health(&running, 503);
    assert!(said.contains("the chain is broken: entry 1 was altered"), "{said}");
    let metrics = running.ask("GET /metrics", "", &Value::Null).1;
    running.login("anna");
    let after = running.ask("GET /metrics", "", &Value::Null).1;
    assert!(
        !metrics.contains("action=\"login\"")
            && after.contains("fep_identity_acts_total{action=\"login\"} 1")
    );
    running.stop();
}

// REQ: FEP-KIT-314
#[tokio::test]
async fn every_route_lets_in_exactly_those_it_declares() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = IdentityConfig { password: Cost { memory_kib: 8, passes: 1 }, ..IdentityConfig::default() };
    let identity = Identity::open_unchecked(&dir.path().join("state"), config, NumericDate::now());
    let identity = Arc::new(identity.expect("an identity"));
    let url = format!("sqlite://{}", dir.path().join("audit.sqlite3").display());
    let base = fep_identity_service::open(&identity, Peers::default(), &Options::new(&url)).await;
    let base = base.expect("what it stands on");
    let service = fep_identity_service::service(&base, &identity, Limits::default());
    let service = service.expect("a service");
    let ticket =
        |roles, scopes| identity.ticket_for_test(roles, scopes, NumericDate::now()).expect("a ticket");
    let matrix = Matrix::of(&service, ticket).await;
    assert!(matrix.wrong.is_empty(), "{:#?}", matrix.wrong);
    assert!(matrix.calls > 500 && matrix.let_in > 100, "{} {}", matrix.calls, matrix.let_in);
}

// REQ: FEP-KIT-324
#[test]
fn schemathesis_finds_no_difference_between_the_document_and_what_is_answered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = root.join("target/tools/openapi/bin/python");
    let python = std::env::var_os("FEP_OPENAPI_PYTHON").map_or(installed, PathBuf::from);
    if !python.exists() {
        println!("skipped: schemathesis is not installed; `make tools` does that");
        return;
    }
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let output = Command::new(&python)
        .arg(root.join("tests/openapi/check.py"))
        .arg("--socket")
        .arg(&running.socket)
        // It would end the ticket that all other requests come with.
        .args(["--exclude-path", "/v1/logout"])
        .env("FEP_TICKET", running.login("anna"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    running.stop();
}
