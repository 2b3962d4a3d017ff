//! `fepctl archive approve`, `refuse`, `withdraw`: the second person of a deletion and of the lifting of a hold.
//!
//! Who approves is shown what is approved, and sends the SHA-256 of that. It is computed here from what is shown and held
//! against the one that the order is bound to, so that a page that shows something else approves nothing.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use fep_client::blocking::Client;
use fep_client::model::archive::{Deletion, DeletionState, Hold, HoldRelease, OrderState};
use fep_client::{Verbatim, api};

use super::archive;
use super::args::PlainArgs;
use super::deleting::{Known, content_of as content_of_segments, deletion_page};
use super::holding::{content_of as content_of_hold, release_page};
use crate::failure::{Failure, output};
use crate::service::Reached;
use crate::terminal::{self, print};

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Name of a deletion or of a release, as deletion-4
    id: String,
    /// SHA-256 of what you have looked at; anything else is not approved
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Do not ask: for scripts
    #[arg(long, requires = "sha256")]
    yes: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeclineArgs {
    /// Name of a deletion or of a release, as deletion-4
    id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    plain: PlainArgs,
}

/// Which of the two ways an order ends without an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declining {
    Refuse,
    Withdraw,
}

/// Which kind of order a name is of.
enum Kind {
    Deletion(Box<Deletion>),
    Release(Box<HoldRelease>),
}

impl Kind {
    fn find(client: &Client, id: &str) -> Result<Kind, Failure> {
        let deletions = client.call(&api::archive::deletions()).map_err(archive)?;
        if let Some(deletion) = deletions.into_iter().find(|deletion| deletion.id == id) {
            return Ok(Kind::Deletion(Box::new(deletion)));
        }
        let releases = client.call(&api::archive::releases()).map_err(archive)?;
        if let Some(release) = releases.into_iter().find(|release| release.order.id == id) {
            return Ok(Kind::Release(Box::new(release)));
        }
        Err(Failure::new(format!("there is no deletion and no release called {id}"))
            .hint("`fepctl archive deletions` and `fepctl archive releases` list what waits"))
    }
}

/// What somebody approves, with all that is shown of it.
enum Subject {
    Deletion(Box<Deletion>, Known),
    Release(Box<HoldRelease>, Option<Hold>),
}

impl Subject {
    fn find(client: &Client, id: &str) -> Result<Subject, Failure> {
        match Kind::find(client, id)? {
            Kind::Deletion(deletion) => {
                let known = Known::of(client, &deletion)?;
                Ok(Subject::Deletion(deletion, known))
            }
            Kind::Release(release) => {
                let holds = client.call(&api::archive::holds()).map_err(archive)?;
                let hold = holds.into_iter().find(|hold| hold.id == release.hold);
                Ok(Subject::Release(release, hold))
            }
        }
    }

    /// Whether it waits for an approval, and if not, where it stands.
    fn waits(&self) -> Result<(), &'static str> {
        match self {
            Subject::Deletion(deletion, _) if deletion.state == DeletionState::Requested => Ok(()),
            Subject::Deletion(deletion, _) => Err(deletion.state.name()),
            Subject::Release(release, _) if release.order.state == OrderState::Asked => Ok(()),
            Subject::Release(release, _) => Err(release.order.state.name()),
        }
    }

    /// SHA-256 that the order is bound to.
    fn bound(&self) -> Option<&str> {
        match self {
            Subject::Deletion(deletion, _) => deletion.content_sha256.as_deref(),
            Subject::Release(release, _) => Some(&release.order.content_sha256),
        }
    }

    /// SHA-256 of what is shown; `None` where it is not known.
    fn shown(&self) -> Option<String> {
        match self {
            Subject::Deletion(deletion, _) => Some(content_of_segments(&deletion.segments)),
            Subject::Release(_, hold) => hold.as_ref().and_then(content_of_hold),
        }
    }

    fn page(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Subject::Deletion(deletion, known) => deletion_page(out, deletion, known),
            Subject::Release(release, hold) => release_page(out, release, hold.as_ref()),
        }
    }
}

/// `fepctl archive approve`
pub(crate) fn approve(args: &ApproveArgs) -> Result<(), Failure> {
    let id = &args.id;
    if !args.yes && !io::stdin().is_terminal() {
        let what = "an approval is confirmed at a terminal, or given with --yes and --sha256";
        return Err(Failure::usage(what).hint(format!(
            "look at it first: `fepctl archive deletions {id}` or `fepctl archive releases {id}`"
        )));
    }
    let client = args.plain.target.client()?;
    let subject = Subject::find(&client, id)?;
    subject.waits().map_err(|state| Failure::new(format!("{id} is {state}: there is nothing to approve")))?;
    let sha256 = agreed(id, &subject, args.sha256.as_deref())?;
    if !args.yes {
        let mut out = terminal::text_out();
        subject.page(&mut out).and_then(|()| out.flush()).map_err(output)?;
        drop(out);
        if !confirmed(id, &mut io::stdin().lock(), &mut io::stderr())? {
            return Err(Failure::new(format!("{id} is not approved: you did not confirm it")));
        }
    }
    match subject {
        Subject::Deletion(..) => {
            let call = api::archive::approve_deletion(id, &sha256).answering();
            let done: Verbatim<Deletion> = client.call(&call).map_err(archive)?;
            print(args.plain.json, &done, |out| match done.state {
                DeletionState::Requested => writeln!(out, "{id} has your approval, and needs that of others"),
                DeletionState::Approved => {
                    writeln!(out, "{id} is approved: the octets go with the next round of keeping")
                }
                state => writeln!(out, "{id} is {state}"),
            })
        }
        Subject::Release(release, _) => {
            let call = api::archive::approve_release(id, &sha256).answering();
            let done: Verbatim<HoldRelease> = client.call(&call).map_err(archive)?;
            print(args.plain.json, &done, |out| match done.order.state {
                OrderState::Asked => writeln!(out, "{id} has your approval, and needs that of others"),
                OrderState::Done => writeln!(out, "{id} is done: {} is lifted", release.hold),
                state => writeln!(out, "{id} is {state}"),
            })
        }
    }
}

/// The one SHA-256 of what was looked at, what is shown and what the order is bound to.
fn agreed(id: &str, subject: &Subject, looked_at: Option<&str>) -> Result<String, Failure> {
    let Some(bound) = subject.bound() else {
        return Err(Failure::new(format!("{id} was asked for under a release without orders"))
            .hint("have it asked for again: then it can be approved"));
    };
    if subject.shown().as_deref() != Some(bound) {
        return Err(Failure::new(format!(
            "{id} is bound to something else than the archive shows: nothing is approved"
        ))
        .hint("refuse it, and look at the audit trail: `fepctl archive audit verify`"));
    }
    match looked_at {
        Some(looked_at) if !looked_at.eq_ignore_ascii_case(bound) => {
            Err(Failure::new(format!("{id} has the SHA-256 {bound}, not {looked_at}: nothing is approved"))
                .hint("it is something else than what you looked at: look again"))
        }
        _ => Ok(bound.to_owned()),
    }
}

/// Whether who is asked types the name of what they approve.
fn confirmed(id: &str, input: &mut impl BufRead, ask: &mut impl Write) -> Result<bool, Failure> {
    let asked = write!(ask, "Type {id} to approve it: ").and_then(|()| ask.flush());
    asked.map_err(|error| Failure::new(format!("cannot ask: {error}")))?;
    let mut line = String::new();
    let read = io::Read::take(input, 4096).read_line(&mut line);
    read.map_err(|error| Failure::new(format!("the answer cannot be read: {error}")))?;
    Ok(line.trim() == id)
}

/// `fepctl archive refuse` and `withdraw`
pub(crate) fn decline(args: &DeclineArgs, how: Declining) -> Result<(), Failure> {
    let (id, reason) = (&args.id, &args.reason);
    let client = args.plain.target.client()?;
    match Kind::find(&client, id)? {
        Kind::Deletion(_) => {
            let call = match how {
                Declining::Refuse => api::archive::refuse_deletion(id, reason),
                Declining::Withdraw => api::archive::withdraw_deletion(id, reason),
            };
            let done: Verbatim<Deletion> = client.call(&call.answering()).map_err(archive)?;
            print(args.plain.json, &done, |out| writeln!(out, "{id} is {}", done.state))
        }
        Kind::Release(_) => {
            // Who asked withdraws by this, anybody else refuses.
            let call = api::archive::refuse_release(id, reason);
            let done: Verbatim<HoldRelease> = client.call(&call.answering()).map_err(archive)?;
            print(args.plain.json, &done, |out| writeln!(out, "{id} is {}", done.order.state))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-156
    #[test]
    fn only_the_name_of_what_is_approved_confirms_it() {
        for (typed, expected) in [
            ("deletion-4\n", true),
            (" deletion-4 \n", true),
            ("", false),
            ("\n", false),
            ("y\n", false),
            ("yes\n", false),
            ("deletion-40\n", false),
        ] {
            let mut asked = Vec::new();
            let answer = confirmed("deletion-4", &mut typed.as_bytes(), &mut asked).expect("an answer");
            assert_eq!(answer, expected, "{typed:?}");
            assert_eq!(asked, b"Type deletion-4 to approve it: ");
        }
    }
}
