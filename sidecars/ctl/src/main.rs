//! `fepctl`, the command line of operators and engineers.
//!
//! Each command is a module; this file only parses, dispatches and turns a failure into a message and an exit code. It
//! decodes nothing and receives nothing itself: that is the daemon's library.

mod archive;
mod audit;
mod ber;
mod captures;
mod clcw;
mod cli;
mod client;
mod config;
mod daemon;
mod decode;
mod encode;
mod events;
mod failure;
mod figures;
mod hashing;
mod identity;
mod input;
mod keys;
mod monitor;
mod output_file;
mod pages;
mod places;
mod programs;
mod refused;
mod report;
mod ring;
mod service;
mod session;
mod sidecars;
mod signals;
mod sim;
mod spacecraft;
mod stations;
mod terminal;
mod times;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use failure::Failure;
use terminal::say;

fn main() -> ExitCode {
    let done = match &Cli::parse().command {
        Command::Up(args) => up::run(args),
        Command::Monitor(args) => monitor::run(args),
        Command::Decode(args) => decode::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Ber(args) => ber::run(args),
        Command::Link(command) => client::link(command),
        Command::Spacecraft(command) => spacecraft::run(command),
        Command::Status(args) => client::status(args),
        Command::Reload(args) => client::reload(args),
        Command::Stop(args) => client::stop(args),
        Command::Events(args) => events::run(args),
        Command::Ring(command) => ring::run(command),
        Command::Config(command) => config::run(command),
        Command::Missions(args) => config::missions(args.json),
        Command::Sim(args) => sim::run(args),
        Command::Metrics(args) => client::metrics(args),
        Command::Captures(args) => captures::run(args.json),
        Command::Archive(command) => archive::run(command),
        Command::Login(args) => identity::login(args),
        Command::Logout(server) => identity::logout(server),
        Command::Whoami(args) => identity::whoami(args),
        Command::Token(command) => identity::token(command),
        Command::Account(command) => identity::account(command),
        Command::Audit(command) => audit::run(command),
        Command::Completions { shell } => completions(*shell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::PipeClosed) {
                say!("fepctl: {failure}");
            }
            ExitCode::from(failure.code())
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    use std::io::Write;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fepctl", &mut script);
    std::io::stdout().write_all(&script).map_err(failure::output)
}
