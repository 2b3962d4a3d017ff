//! `fepctl archive hold`, `holds`, `release`, `releases`: what must not be deleted, and the orders that lift it.

use std::io::{self, Write};

use clap::Args;
use fep_client::model::archive::{Colour, Hold, HoldRelease, NewHold, OrderState, Scope};
use fep_client::{Verbatim, api};
use fep_time::Tai;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::archive;
use super::args::PlainArgs;
use crate::failure::{Failure, output};
use crate::service::Reached;
use crate::terminal::{self, print};
use crate::times;

/// What a hold covers: everything that all of these say.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// Why; it stands in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Received at or after, in UTC
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Received before
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Of this spacecraft
    #[arg(long)]
    scid: Option<u16>,
    /// Received by this station link
    #[arg(long)]
    link: Option<u16>,
    /// Recorded from this ring, as npp.frames
    #[arg(long)]
    ring: Option<String>,
    /// black or red
    #[arg(long)]
    colour: Option<Colour>,
    /// All that the archive holds and will hold
    #[arg(long, conflicts_with_all = ["from", "to", "scid", "link", "ring", "colour"])]
    everything: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HoldsArgs {
    /// Also those that were lifted
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Name of the hold, as hold-3
    hold: String,
    /// Why; the approver reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReleasesArgs {
    /// Only this one, with all that an approver looks at
    id: Option<String>,
    /// Also those that are over
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

/// `fepctl archive hold`
pub(crate) fn hold(args: &HoldArgs) -> Result<(), Failure> {
    let time = |option: &str, text: &Option<String>| {
        text.as_ref().map(|text| times::at(option, text).map(Tai)).transpose()
    };
    let scope = Scope {
        from_tai_ns: time("--from", &args.from)?,
        to_tai_ns: time("--to", &args.to)?,
        ring: args.ring.clone(),
        colour: args.colour,
        scid: args.scid,
        link: args.link,
    };
    if scope == Scope::default() && !args.everything {
        return Err(Failure::usage("nothing says what to hold")
            .hint("one or more of --from, --to, --scid, --link, --ring, --colour; or --everything"));
    }
    let new = NewHold { scope, reason: args.reason.clone(), everything: args.everything };
    let call = api::archive::hold(&new).answering();
    let hold: Verbatim<Hold> = args.plain.target.client()?.call(&call).map_err(archive)?;
    print(args.plain.json, &hold, |out| {
        writeln!(out, "{} holds {}", hold.id, covers(&hold.scope))?;
        writeln!(out, "`fepctl archive release {}` asks for its lifting", hold.id)
    })
}

/// What a hold covers, in words.
pub(crate) fn covers(scope: &Scope) -> String {
    let time = |at: Option<Tai>| at.map(|at| times::utc(at.0, 0));
    let parts = [
        scope.scid.map(|scid| format!("spacecraft {scid}")),
        scope.link.map(|link| format!("link {link}")),
        scope.ring.as_ref().map(|ring| format!("ring {ring}")),
        scope.colour.map(|colour| format!("{colour} data")),
        time(scope.from_tai_ns).map(|at| format!("from {at}")),
        time(scope.to_tai_ns).map(|at| format!("to {at}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

/// `fepctl archive holds`
pub(crate) fn holds(args: &HoldsArgs) -> Result<(), Failure> {
    let call = api::archive::holds().answering();
    let holds: Verbatim<Vec<Hold>> = args.plain.target.client()?.call(&call).map_err(archive)?;
    let shown = |hold: &Hold| args.all || hold.released.is_none();
    if args.plain.json {
        return print_those(&holds.json, holds.iter().map(shown));
    }
    let mut out = terminal::text_out();
    let written = hold_list(&mut out, holds.iter().filter(|hold| shown(hold)));
    written.and_then(|()| out.flush()).map_err(output)
}

/// The elements of a list of JSON that are marked.
pub(crate) fn print_those(list: &Value, marked: impl Iterator<Item = bool>) -> Result<(), Failure> {
    let elements = list.as_array().into_iter().flatten();
    let those: Vec<&Value> = elements.zip(marked).filter_map(|(one, marked)| marked.then_some(one)).collect();
    print(true, &those, |_| Ok(()))
}

fn hold_list<'h>(out: &mut impl Write, holds: impl Iterator<Item = &'h Hold>) -> io::Result<()> {
    let mut holds = holds.peekable();
    if holds.peek().is_none() {
        return writeln!(out, "no hold");
    }
    writeln!(out, "{:<10} {:<20} BY; COVERS; REASON", "HOLD", "SINCE (UTC)")?;
    for hold in holds {
        writeln!(out, "{:<10} {:<20} {}", hold.id, times::utc(hold.at_tai_ns.0, 0), hold.person)?;
        writeln!(out, "  {}", covers(&hold.scope))?;
        writeln!(out, "  {}", hold.reason)?;
        if let Some((at, person)) = &hold.released {
            writeln!(out, "  lifted {} by {person}", times::utc(at.0, 0))?;
        }
    }
    Ok(())
}

/// `fepctl archive release`
pub(crate) fn release(args: &ReleaseArgs) -> Result<(), Failure> {
    let call = api::archive::release(&args.hold, &args.reason).answering();
    let release: Verbatim<HoldRelease> = args.plain.target.client()?.call(&call).map_err(archive)?;
    print(args.plain.json, &release, |out| {
        let id = &release.order.id;
        writeln!(out, "{id} asks for the lifting of {}", release.hold)?;
        writeln!(out, "another person approves it: fepctl archive approve {id}")
    })
}

/// `fepctl archive releases`
pub(crate) fn releases(args: &ReleasesArgs) -> Result<(), Failure> {
    let client = args.plain.target.client()?;
    let call = api::archive::releases().answering();
    let releases: Verbatim<Vec<HoldRelease>> = client.call(&call).map_err(archive)?;
    let is_open = |state| matches!(state, OrderState::Asked | OrderState::Approved | OrderState::Executing);
    if let Some(id) = &args.id {
        let at = releases.iter().position(|release| release.order.id == *id);
        let at = at.ok_or_else(|| Failure::new(format!("there is no release called {id}")))?;
        let holds = client.call(&api::archive::holds()).map_err(archive)?;
        return print(args.plain.json, &releases.json[at], |out| {
            release_page(out, &releases[at], holds.iter().find(|hold| hold.id == releases[at].hold))
        });
    }
    let shown = |release: &HoldRelease| args.all || is_open(release.order.state);
    if args.plain.json {
        return print_those(&releases.json, releases.iter().map(shown));
    }
    let mut out = terminal::text_out();
    let written = release_list(&mut out, releases.iter().filter(|release| shown(release)));
    written.and_then(|()| out.flush()).map_err(output)
}

fn release_list<'r>(out: &mut impl Write, releases: impl Iterator<Item = &'r HoldRelease>) -> io::Result<()> {
    let mut releases = releases.peekable();
    if releases.peek().is_none() {
        return writeln!(out, "no release waits");
    }
    writeln!(out, "{:<12} {:<10} {:<20} {:<9} ASKED BY, REASON", "RELEASE", "HOLD", "ASKED (UTC)", "STATE")?;
    for HoldRelease { hold, order } in releases {
        let asked = times::utc(order.asked_at.0, 0);
        writeln!(out, "{:<12} {hold:<10} {asked:<20} {:<9} {}", order.id, order.state, order.asker)?;
        writeln!(out, "{:<12} {}", "", order.reason)?;
    }
    Ok(())
}

/// What an approver of a release looks at.
pub(crate) fn release_page(
    out: &mut impl Write,
    release: &HoldRelease,
    hold: Option<&Hold>,
) -> io::Result<()> {
    let order = &release.order;
    writeln!(out, "{}: lift {}", order.id, release.hold)?;
    if let Some(hold) = hold {
        writeln!(out, "  it covers   {}", covers(&hold.scope))?;
        writeln!(out, "  because of  {}", hold.reason)?;
        writeln!(out, "  put by      {}, {}", hold.person, times::utc(hold.at_tai_ns.0, 0))?;
    }
    writeln!(out, "  asked by    {}, {}", order.asker, times::utc(order.asked_at.0, 0))?;
    writeln!(out, "  reason      {}", order.reason)?;
    writeln!(out, "  state       {}, valid until {}", order.state, times::utc(order.expires_at.0, 0))?;
    for approval in &order.approvals {
        writeln!(out, "  approved by {}, {}", approval.person, times::utc(approval.at.0, 0))?;
    }
    if let Some(ending) = &order.ending {
        writeln!(out, "  ended       {} {}", times::utc(ending.at.0, 0), ending.note)?;
    }
    writeln!(out, "  sha256      {}", order.content_sha256)
}

/// SHA-256 of a hold as an order to lift it is bound to it; `None` where the scope has no JSON.
pub(crate) fn content_of(hold: &Hold) -> Option<String> {
    let scope = serde_json::to_string(&hold.scope).ok()?;
    let digest = Sha256::digest(format!("{}\n{scope}\n{}\n", hold.id, hold.reason));
    Some(digest.iter().map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> Hold {
        Hold {
            id: "hold-1".to_owned(),
            scope: Scope { scid: Some(157), colour: Some(Colour::Red), ..Scope::default() },
            reason: "inquiry".to_owned(),
            person: "anna".to_owned(),
            at_tai_ns: Tai(2_000_000_000_000_000_000),
            released: None,
        }
    }

    // REQ: FEP-CTL-158
    #[test]
    fn what_a_hold_covers_is_said_in_words_and_hashed_as_the_archive_hashes_it() {
        assert_eq!(covers(&hold().scope), "spacecraft 157, red data");
        assert_eq!(covers(&Scope::default()), "everything");
        // printf 'hold-1\n{"from_tai_ns":null,…,"scid":157,"link":null}\ninquiry\n' | sha256sum
        let expected = "0b8d6d6fde4f2f496921df2f1b5cb9a700f5c79bc956612da773827ee9a792c6";
        assert_eq!(content_of(&hold()).as_deref(), Some(expected));
    }
}
