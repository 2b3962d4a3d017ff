//! `fepctl login`, `logout`, `whoami`, `token`, `account`, `audit`.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use fep_password::Entry;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::daemon::path_segment;
use crate::failure::{Failure, output};
use crate::service::{answer, ask, refused};
use crate::session::{self, DEFAULT_SERVER, Session};
use crate::terminal;

/// Which service.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// Identity service: unix:PATH or http://LOOPBACK:PORT
    #[arg(long, value_name = "ADDRESS", env = "FEP_IDENTITY", default_value = DEFAULT_SERVER)]
    server: String,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    server: Server,
    /// Name of the account [default: the user's]
    #[arg(long, value_name = "NAME", env = "USER")]
    account: String,
}

#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    #[command(flatten)]
    server: Server,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where roles hold.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Roles, several after commas
    #[arg(long, value_name = "ROLES", value_delimiter = ',', required = true)]
    roles: Vec<String>,
    /// Spacecraft: all, or numbers after commas
    #[arg(long, value_name = "SCIDS", value_delimiter = ',', default_value = "all")]
    spacecraft: Vec<String>,
    /// Colours, after commas
    #[arg(long, value_name = "COLOURS", value_delimiter = ',', default_value = "black")]
    colours: Vec<String>,
    /// Sessions, after commas
    #[arg(long, value_name = "SESSIONS", value_delimiter = ',', default_value = "ops,test,replay")]
    sessions: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make an API token with no more than one has oneself; it is printed this once
    New {
        #[command(flatten)]
        server: Server,
        /// What it is for
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
        /// How many days it is valid
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
    },
    /// List one's own tokens; an administrator sees all
    List(WhoArgs),
    /// End a token now
    Revoke {
        #[command(flatten)]
        server: Server,
        /// Identifier of the token
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Add a local account; its password is read from the terminal or standard input
    Add {
        #[command(flatten)]
        server: Server,
        /// Name of the account
        name: String,
        /// The person it belongs to [default: a person of its own]
        #[arg(long, value_name = "ID")]
        person: Option<String>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// List the local accounts
    List(WhoArgs),
    /// Disable an account; its tickets and tokens end
    Disable {
        #[command(flatten)]
        server: Server,
        /// Name of the account
        name: String,
    },
    /// Enable an account again; its person logs in anew
    Enable {
        #[command(flatten)]
        server: Server,
        /// Name of the account
        name: String,
    },
    /// End a lock after too many wrong passwords before its time
    Unlock {
        #[command(flatten)]
        server: Server,
        /// Name of the account
        name: String,
    },
    /// Set a new password
    Password {
        #[command(flatten)]
        server: Server,
        /// Name of the account
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List entries of a service's audit trail
    List {
        #[command(flatten)]
        which: WhoArgs,
        /// Only after this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Have a service verify its whole audit trail; fails when it does not hold
    Verify(WhoArgs),
    /// Print the whole audit trail as lines of JSON
    Export {
        #[command(flatten)]
        server: Server,
    },
}

/// `fepctl login`
pub(crate) fn login(args: &LoginArgs) -> Result<(), Failure> {
    let password = password(Entry::Known)?;
    let body = json!({"account": args.account, "password": password});
    let answer = ask(&args.server.server, Method::POST, "/v1/login", None, Some(&body))?;
    let session = session::read(&args.server.server, &answer)?;
    session::keep(&session)?;
    let minutes = session.left_s().unwrap_or_default() / 60;
    line(&format!("{} is logged in for {minutes} min", session.account))
}

/// `fepctl logout`. The session is removed in any case: who logs out wants to be logged out here. The exit code says whether
/// the ticket has ended too.
pub(crate) fn logout(server: &Server) -> Result<(), Failure> {
    let session = match session::load() {
        Ok(Some(session)) => session,
        Ok(None) => return line("nobody is logged in"),
        Err(failure) => {
            session::forget()?;
            return Err(Failure::new(format!("{}: it is removed", failure.message()))
                .hint("a ticket that was in it stays valid until its end"));
        }
    };
    let ended = end(&session, &server.server);
    session::forget()?;
    let account = &session.account;
    match ended {
        Ok(StatusCode::UNAUTHORIZED) => {
            line(&format!("{account} is logged out: the service did not know the ticket any more"))
        }
        Ok(_) => line(&format!("{account} is logged out")),
        Err(failure) => {
            let minutes = session.left_s().unwrap_or_default() / 60 + 1;
            Err(failure
                .but(format!("{account} is logged out here, but the ticket did not end at the service"))
                .hint(format!("it stays valid for {minutes} min; whoever does not have it cannot use it")))
        }
    }
}

/// Ends the ticket of a session where it was issued; the status that says that it is no ticket any more.
fn end(session: &Session, server: &str) -> Result<StatusCode, Failure> {
    const PATH: &str = "/v1/logout";
    if session.left_s().is_none() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let place = if session.server.is_empty() { server } else { &session.server };
    let (status, body) = answer(place, Method::POST, PATH, Some(&session.ticket), None)?;
    if status.is_success() || status == StatusCode::UNAUTHORIZED {
        return Ok(status);
    }
    Err(refused(place, PATH, status, &body))
}

/// `fepctl whoami`
pub(crate) fn whoami(args: &WhoArgs) -> Result<(), Failure> {
    let me = call(&args.server.server, Method::GET, "/v1/me", None)?;
    show(args.json, &me, |out| {
        writeln!(out, "account  {}\nperson   {}", text(&me["account"]), text(&me["person"]))?;
        writeln!(out, "roles    {}", words(&me["roles"]))?;
        me["scopes"].as_array().into_iter().flatten().try_for_each(|scope| {
            let spacecraft = match &scope["spacecraft"] {
                Value::String(all) => all.clone(),
                list => words(list),
            };
            writeln!(
                out,
                "scope    spacecraft {spacecraft}; {}; {}",
                words(&scope["colours"]),
                words(&scope["sessions"])
            )
        })
    })
}

/// `fepctl token`
pub(crate) fn token(command: &TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::New { server, name, scope, days } => {
            let body = json!({
                "name": name, "roles": scope.roles, "scopes": [scope_of(scope)?], "lifetime_s": days * 86_400,
            });
            let made = call(&server.server, Method::POST, "/v1/tokens", Some(&body))?;
            line(&format!("{}\n{}", text(&made["id"]), text(&made["token"])))
        }
        TokenCommand::List(args) => {
            let tokens = call(&args.server.server, Method::GET, "/v1/tokens", None)?;
            show(args.json, &tokens, |out| {
                writeln!(out, "{:<16} {:<20} {:<20} {:<8} ROLES", "ID", "ACCOUNT", "NAME", "REVOKED")?;
                tokens.as_array().into_iter().flatten().try_for_each(|token| {
                    let (id, account, name) =
                        (text(&token["id"]), text(&token["account"]), text(&token["name"]));
                    let revoked = if token["revoked"].is_null() { "no" } else { "yes" };
                    writeln!(out, "{id:<16} {account:<20} {name:<20} {revoked:<8} {}", words(&token["roles"]))
                })
            })
        }
        TokenCommand::Revoke { server, id } => {
            call(&server.server, Method::DELETE, &format!("/v1/tokens/{}", path_segment(id)), None)?;
            line(&format!("{id} is revoked"))
        }
    }
}

/// `fepctl account`
pub(crate) fn account(command: &AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add { server, name, person, scope } => {
            let scopes = [scope_of(scope)?];
            let body = json!({
                "name": name, "person": person, "roles": scope.roles, "scopes": scopes, "password": password(Entry::New)?,
            });
            call(&server.server, Method::POST, "/v1/accounts", Some(&body))?;
            line(&format!("{name} is added"))
        }
        AccountCommand::List(args) => {
            let accounts = call(&args.server.server, Method::GET, "/v1/accounts", None)?;
            show(args.json, &accounts, |out| {
                writeln!(out, "{:<20} {:<28} {:<9} ROLES", "ACCOUNT", "PERSON", "STATE")?;
                accounts.as_array().into_iter().flatten().try_for_each(|account| {
                    let state = match (account["disabled"].as_bool(), account["locked_until"].is_null()) {
                        (Some(true), _) => "disabled",
                        (_, false) => "locked",
                        _ => "open",
                    };
                    let (name, person) = (text(&account["name"]), text(&account["person"]));
                    writeln!(out, "{name:<20} {person:<28} {state:<9} {}", words(&account["roles"]))
                })
            })
        }
        AccountCommand::Disable { server, name } => set(server, name, "disable", "disabled"),
        AccountCommand::Enable { server, name } => set(server, name, "enable", "enabled"),
        AccountCommand::Unlock { server, name } => set(server, name, "unlock", "unlocked"),
        AccountCommand::Password { server, name } => {
            let path = format!("/v1/accounts/{}/password", path_segment(name));
            call(&server.server, Method::PUT, &path, Some(&json!({"password": password(Entry::New)?})))?;
            line(&format!("the password of {name} is set"))
        }
    }
}

fn set(server: &Server, name: &str, act: &str, done: &str) -> Result<(), Failure> {
    call(&server.server, Method::POST, &format!("/v1/accounts/{}/{act}", path_segment(name)), None)?;
    line(&format!("{name} is {done}"))
}

/// `fepctl audit`
pub(crate) fn audit(command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { which, after, limit } => {
            let path = format!("/v1/audit?after={after}&limit={limit}");
            let entries = call(&which.server.server, Method::GET, &path, None)?;
            show(which.json, &entries, |out| {
                entries.as_array().into_iter().flatten().try_for_each(|entry| {
                    let (at, account) = (text(&entry["at"]), text(&entry["account"]));
                    let (action, subject) = (text(&entry["action"]), text(&entry["subject"]));
                    let number = entry["number"].as_u64().unwrap_or_default();
                    writeln!(
                        out,
                        "{number:>8} {at} {account:<16} {action} {subject} {}",
                        text(&entry["detail"])
                    )
                })
            })
        }
        AuditCommand::Verify(args) => {
            let report = call(&args.server.server, Method::GET, "/v1/audit/verify", None)?;
            let entries = report["entries"].as_u64().unwrap_or_default();
            show(args.json, &report, |out| {
                report["findings"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .try_for_each(|finding| writeln!(out, "{}", text(finding)))?;
                let holds = if report["holds"] == true { "holds" } else { "is broken" };
                writeln!(out, "the chain of {entries} entries {holds}")
            })?;
            if report["holds"] == true { Ok(()) } else { Err(Failure::new("the audit trail does not hold")) }
        }
        AuditCommand::Export { server } => {
            let bearer = session::bearer(&server.server)?;
            let lines = ask(&server.server, Method::GET, "/v1/audit/export", bearer.as_deref(), None)?;
            let mut out = terminal::out(true);
            out.write_all(&lines).and_then(|()| out.flush()).map_err(output)
        }
    }
}

fn scope_of(args: &ScopeArgs) -> Result<Value, Failure> {
    let spacecraft =
        if args.spacecraft == ["all"] {
            json!("all")
        } else {
            let scids: Result<Vec<u16>, _> = args.spacecraft.iter().map(|scid| scid.parse()).collect();
            json!(scids.map_err(|_| Failure::usage(
                "--spacecraft takes all, or numbers of 0 to 65535 after commas"
            ))?)
        };
    Ok(json!({"spacecraft": spacecraft, "colours": args.colours, "sessions": args.sessions}))
}

/// The JSON answer to a request as who is logged in; null where an answer has no body.
fn call(server: &str, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    let bearer = session::bearer(server)?;
    let answer = ask(server, method, path, bearer.as_deref(), body)?;
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer).map_err(|error| {
        Failure::new(format!("{server} answered {path} with something else than JSON: {error}"))
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(value: &Value) -> String {
    let word = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    value.as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(", ")
}

fn line(text: &str) -> Result<(), Failure> {
    let mut out = terminal::text_out();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(output)
}

fn show(
    as_json: bool,
    answer: &Value,
    plain: impl FnOnce(&mut terminal::Shown<io::StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = terminal::out(as_json);
    let written = if as_json { writeln!(out, "{answer:#}") } else { plain(&mut out) };
    written.and_then(|()| out.flush()).map_err(output)
}

/// A password: from the terminal without echo, or the first line of standard input.
fn password(entry: Entry) -> Result<String, Failure> {
    fep_password::read(entry).map_err(|error| Failure::new(error.to_string()))
}
