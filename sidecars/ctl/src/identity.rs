//! `fepctl login`, `logout`, `whoami`, `token`, `account`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fep_client::blocking::Client;
use fep_client::model::identity::{Account, All, Me, NewAccount, NewToken, Scope, Spacecraft, Token};
use fep_client::{Times, Verbatim, api};
use fep_password::Entry;

use crate::failure::{Failure, output};
use crate::places;
use crate::service::{self, Reached, TlsArgs};
use crate::session::{self, Session};
use crate::terminal::{self, print};

/// Which service.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// Identity service: unix:PATH, https://HOST:PORT, or http:// on this machine [default: the one that `fepctl up` runs,
    /// else unix:/run/fep/identity/identity.sock]
    #[arg(long, value_name = "ADDRESS", env = "FEP_IDENTITY")]
    server: Option<String>,
    /// Configuration of the daemon that `fepctl up` was started with [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Server {
    fn address(&self) -> Result<String, Failure> {
        places::identity(self.server.as_deref(), self.config.as_deref())
    }
}

impl Reached for Server {
    fn client(&self) -> Result<Client, Failure> {
        // The address first: no token is exchanged for one that is none.
        let server = self.address()?;
        service::address(&server)?;
        let bearer = session::bearer(self.config.as_deref(), &self.tls)?;
        service::client(&server, &self.tls, bearer, Times::default())
    }
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

/// `fepctl login`
pub(crate) fn login(args: &LoginArgs) -> Result<(), Failure> {
    let server = args.server.address()?;
    let client = service::client(&server, &args.server.tls, None, Times::default())?;
    let password = password(Entry::Known)?;
    let session = session::of(&server, client.call(&api::identity::login(&args.account, &password))?);
    session::keep(&session)?;
    let minutes = session.left_s().unwrap_or_default() / 60;
    line(&format!("{} is logged in for {minutes} min", session.account))
}

/// `fepctl logout`. The session is removed in any case: who logs out wants to be logged out here. The exit code says whether
/// the ticket has ended too.
pub(crate) fn logout(args: &Server) -> Result<(), Failure> {
    let session = match session::load() {
        Ok(Some(session)) => session,
        Ok(None) => return line("nobody is logged in"),
        Err(failure) => {
            session::forget()?;
            return Err(Failure::new(format!("{}: it is removed", failure.message()))
                .hint("a ticket that was in it stays valid until its end"));
        }
    };
    let ended = end(&session, args);
    session::forget()?;
    let account = &session.account;
    match ended {
        Ok(Ended::Unknown) => {
            line(&format!("{account} is logged out: the service did not know the ticket any more"))
        }
        Ok(Ended::Now) => line(&format!("{account} is logged out")),
        Err(failure) => {
            let minutes = session.left_s().unwrap_or_default() / 60 + 1;
            Err(failure
                .but(format!("{account} is logged out here, but the ticket did not end at the service"))
                .hint(format!("it stays valid for {minutes} min; whoever does not have it cannot use it")))
        }
    }
}

/// How a ticket is no ticket any more.
enum Ended {
    Now,
    /// The service takes it for none.
    Unknown,
}

/// Ends the ticket of a session where it was issued.
fn end(session: &Session, args: &Server) -> Result<Ended, Failure> {
    if session.left_s().is_none() {
        return Ok(Ended::Now);
    }
    let place = if session.server.is_empty() { args.address()? } else { session.server.clone() };
    let bearer = session::named("the session", &session.ticket)?;
    let client = service::client(&place, &args.tls, Some(bearer), Times::default())?;
    match client.call(&api::identity::logout()) {
        Ok(_) => Ok(Ended::Now),
        Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 401) => Ok(Ended::Unknown),
        Err(error) => Err(error.into()),
    }
}

/// `fepctl whoami`
pub(crate) fn whoami(args: &WhoArgs) -> Result<(), Failure> {
    let me: Verbatim<Me> = args.server.client()?.call(&api::identity::me().answering())?;
    print(args.json, &me, |out| {
        writeln!(out, "account  {}\nperson   {}", me.account, me.person)?;
        writeln!(out, "roles    {}", me.roles.join(", "))?;
        me.scopes.iter().try_for_each(|scope| {
            let Scope { spacecraft, colours, sessions } = scope;
            let (colours, sessions) = (colours.join(", "), sessions.join(", "));
            writeln!(out, "scope    spacecraft {spacecraft}; {colours}; {sessions}")
        })
    })
}

/// `fepctl token`
pub(crate) fn token(command: &TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::New { server, name, scope, days } => {
            let new = NewToken {
                name: name.clone(),
                roles: scope.roles.clone(),
                scopes: vec![scope_of(scope)?],
                lifetime_s: days * 86_400,
            };
            let made = server.client()?.call(&api::identity::make_token(&new))?;
            line(&format!("{}\n{}", made.id, made.token))
        }
        TokenCommand::List(args) => {
            let tokens: Verbatim<Vec<Token>> =
                args.server.client()?.call(&api::identity::tokens().answering())?;
            print(args.json, &tokens, |out| {
                writeln!(out, "{:<16} {:<16} {:<20} {:<8} ROLES", "ID", "ACCOUNT", "NAME", "REVOKED")?;
                tokens.iter().try_for_each(|token| {
                    let Token { id, account, name, roles, .. } = token;
                    let revoked = if token.revoked.is_some() { "yes" } else { "no" };
                    writeln!(out, "{id:<16} {account:<16} {name:<20} {revoked:<8} {}", roles.join(", "))
                })
            })
        }
        TokenCommand::Revoke { server, id } => {
            server.client()?.call(&api::identity::revoke_token(id))?;
            line(&format!("{id} is revoked"))
        }
    }
}

/// `fepctl account`
pub(crate) fn account(command: &AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add { server, name, person, scope } => {
            let client = server.client()?;
            let new = NewAccount {
                name: name.clone(),
                person: person.clone(),
                roles: scope.roles.clone(),
                scopes: vec![scope_of(scope)?],
                expires: None,
                password: password(Entry::New)?,
            };
            client.call(&api::identity::add_account(&new))?;
            line(&format!("{name} is added"))
        }
        AccountCommand::List(args) => {
            let accounts: Verbatim<Vec<Account>> =
                args.server.client()?.call(&api::identity::accounts().answering())?;
            print(args.json, &accounts, |out| {
                writeln!(out, "{:<16} {:<24} {:<9} ROLES", "ACCOUNT", "PERSON", "STATE")?;
                accounts.iter().try_for_each(|account| {
                    let state = match (account.disabled, account.locked_until) {
                        (true, _) => "disabled",
                        (false, Some(_)) => "locked",
                        (false, None) => "open",
                    };
                    let Account { name, person, roles, .. } = account;
                    writeln!(out, "{name:<16} {person:<24} {state:<9} {}", roles.join(", "))
                })
            })
        }
        AccountCommand::Disable { server, name } => {
            server.client()?.call(&api::identity::disable_account(name))?;
            line(&format!("{name} is disabled"))
        }
        AccountCommand::Enable { server, name } => {
            server.client()?.call(&api::identity::enable_account(name))?;
            line(&format!("{name} is enabled"))
        }
        AccountCommand::Unlock { server, name } => {
            server.client()?.call(&api::identity::unlock_account(name))?;
            line(&format!("{name} is unlocked"))
        }
        AccountCommand::Password { server, name } => {
            let client = server.client()?;
            client.call(&api::identity::set_password(name, &password(Entry::New)?))?;
            line(&format!("the password of {name} is set"))
        }
    }
}

fn scope_of(args: &ScopeArgs) -> Result<Scope, Failure> {
    let spacecraft = if args.spacecraft == ["all"] {
        Spacecraft::All(All::All)
    } else {
        let scids: Result<Vec<u16>, _> = args.spacecraft.iter().map(|scid| scid.parse()).collect();
        let scids = scids
            .map_err(|_| Failure::usage("--spacecraft takes all, or numbers of 0 to 65535 after commas"))?;
        Spacecraft::These(scids)
    };
    Ok(Scope { spacecraft, colours: args.colours.clone(), sessions: args.sessions.clone() })
}

fn line(text: &str) -> Result<(), Failure> {
    let mut out = terminal::text_out();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(output)
}

/// A password: from the terminal without echo, or the first line of standard input.
fn password(entry: Entry) -> Result<String, Failure> {
    fep_password::read(entry).map_err(|error| Failure::new(error.to_string()))
}
