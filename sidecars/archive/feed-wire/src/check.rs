//! What no single key of the configuration can tell: what does not go together, within a feed and between feeds.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use fep_record::REPLAY_RING_PREFIX;

use crate::address;
use crate::spec::{FeedSections, FeedSpec, Form, SessionName, Transport, check_name, ring_of};
use crate::wire::RECORD_HEAD_LEN;

/// Longest transfer frame: USLP counts it in 16 bits, minus one (732.1-B-2 4.1.2).
const FRAME_LEN: RangeInclusive<u32> = 1..=65_536;
/// The index of a source has 16 bits on the wire; a thread that follows hundreds of rings serves none of them well.
const SOURCES_MAX: usize = 256;
/// Each client is a thread.
const CLIENTS: RangeInclusive<usize> = 1..=1024;
/// Each name is a file, and all of them are listed when a client comes.
const NAMES: RangeInclusive<usize> = 1..=100_000;
const PATIENCE_MS: RangeInclusive<u64> = 0..=86_400_000;
const STALLED_AFTER_MS: RangeInclusive<u64> = 1..=604_800_000;
const ALIVE_EVERY_MS: RangeInclusive<u64> = 10..=3_600_000;
const PACE_BPS: RangeInclusive<u64> = 1..=1_000_000_000_000;
const DATAGRAM: RangeInclusive<usize> = 1..=65_507;

/// Reports every mistake: `refuse` takes the key, what is wrong, and what is allowed.
pub(crate) fn check(sections: &FeedSections, refuse: &mut impl FnMut(&str, &str, &str)) {
    feeding(sections, refuse);
    for (name, feed) in &sections.feeds {
        let mut refuse = |key: &str, message: &str, allowed: &str| {
            refuse(format!("feeds.{name}.{key}").trim_end_matches('.'), message, allowed);
        };
        if let Err(allowed) = check_name(name) {
            refuse("", "no name of a feed", allowed);
        }
        sources(feed, &mut refuse);
        frames(feed, &mut refuse);
        filter(feed, &mut refuse);
        times(feed, &mut refuse);
        transport(feed, &mut refuse);
        access(sections, feed, &mut refuse);
    }
    doors(sections, refuse);
    receivers(sections, refuse);
}

fn within<T: PartialOrd + std::fmt::Display>(
    value: T,
    range: &RangeInclusive<T>,
    key: &str,
    refuse: &mut impl FnMut(&str, &str, &str),
) {
    if !range.contains(&value) {
        refuse(key, &format!("{value} is out of range"), &format!("{} to {}", range.start(), range.end()));
    }
}

/// The first value that a list has twice.
fn twice<T: PartialEq>(list: &[T]) -> Option<&T> {
    (1..list.len()).find(|at| list[..*at].contains(&list[*at])).map(|at| &list[at])
}

fn feeding(sections: &FeedSections, refuse: &mut impl FnMut(&str, &str, &str)) {
    let feeding = &sections.feeding;
    for (key, path) in [
        ("archive.segments", &sections.archive.segments),
        ("archive.rings", &sections.archive.rings),
        ("feeding.cursors", &feeding.cursors),
    ] {
        if path.as_os_str().is_empty() {
            refuse(key, "empty", "the path of a directory");
        }
    }
    if !feeding.name.is_empty()
        && let Err(allowed) = check_name(&feeding.name)
    {
        refuse("feeding.name", "no name of a process", allowed);
    }
    within(feeding.names_max, &NAMES, "feeding.names_max", refuse);
    within(feeding.names_of_one, &NAMES, "feeding.names_of_one", refuse);
    within(feeding.patience_ms, &PATIENCE_MS, "feeding.patience_ms", refuse);
    let receivers: Vec<_> = feeding.red_receivers.iter().map(|ip| ip.to_canonical()).collect();
    if let Some(ip) = twice(&receivers) {
        refuse("feeding.red_receivers", &format!("{ip} is named twice"), "each machine once");
    }
    if let Some(ip) = receivers.iter().find(|ip| ip.is_unspecified()) {
        refuse("feeding.red_receivers", &format!("{ip} is no machine"), "addresses of machines");
    }
}

fn sources(feed: &FeedSpec, refuse: &mut impl FnMut(&str, &str, &str)) {
    if feed.sources.is_empty() {
        refuse("sources", "no ring is named", "one name or more");
    }
    if feed.sources.len() > SOURCES_MAX {
        refuse("sources", &format!("{} rings", feed.sources.len()), &format!("1 to {SOURCES_MAX}"));
    }
    for source in &feed.sources {
        let name = ring_of(source);
        if check_name(name).is_err() {
            let allowed = "RING or red/RING; a ring's name: 1 to 31 of a-z 0-9 - _ . and no dot first";
            refuse("sources", &format!("\"{source}\" is no name of a ring"), allowed);
        }
        if name.starts_with(REPLAY_RING_PREFIX) && feed.session != SessionName::Replay {
            let mistake =
                format!("\"{source}\" holds replayed data, which never goes to a feed of another session");
            refuse("sources", &mistake, "rings of live data, or session = \"REPLAY\"");
        }
    }
    let is_red = |source: &str| source.starts_with("red/");
    let rings: Vec<_> = feed.sources.iter().map(|source| (is_red(source), ring_of(source))).collect();
    if let Some((red, ring)) = twice(&rings) {
        let colour = if *red { "red/" } else { "" };
        refuse("sources", &format!("\"{colour}{ring}\" is named twice"), "each ring once");
    }
    if let Some(black) = feed.sources.iter().find(|source| !is_red(source)).filter(|_| feed.is_red()) {
        let mistake = format!("\"{black}\" is black and others are red: one feed has one colour");
        refuse("sources", &mistake, "only red sources, or only black ones");
    }
}

fn frames(feed: &FeedSpec, refuse: &mut impl FnMut(&str, &str, &str)) {
    let packets = |source: &String| source.ends_with(".packets");
    let raw_tcp = feed.form == Form::Raw && !matches!(feed.transport, Transport::Udp { .. });
    let all_packets = feed.sources.iter().all(packets);
    if raw_tcp && feed.frame_len.is_none() && !all_packets {
        let mistake = "a stream of raw frames needs their length";
        refuse("frame_len", mistake, "octets of a frame, or form = \"framed\"");
    }
    if raw_tcp && feed.sources.iter().any(packets) && !all_packets {
        let mistake = "frames and packets in one raw stream cannot be told apart";
        refuse("sources", mistake, "only frames, only packets, or form = \"framed\"");
    }
    match feed.frame_len {
        Some(_) if !raw_tcp => refuse("frame_len", "only raw feeds over TCP have one", "nothing"),
        Some(_) if all_packets => refuse("frame_len", "packets say their length themselves", "nothing"),
        Some(frame_len) => within(frame_len, &FRAME_LEN, "frame_len", refuse),
        None => {}
    }
}

fn filter(feed: &FeedSpec, refuse: &mut impl FnMut(&str, &str, &str)) {
    let filter = &feed.filter;
    if let Some((key, message, allowed)) = filter.problem() {
        refuse(&format!("filter.{key}"), &message, allowed);
    }
    let mut once = |key: &str, found: Option<String>| {
        if let Some(found) = found {
            refuse(&format!("filter.{key}"), &format!("{found} is named twice"), "each once");
        }
    };
    once("spacecraft", twice(&filter.spacecraft).map(ToString::to_string));
    once("vcs", twice(&filter.vcs).map(ToString::to_string));
    once("apids", twice(&filter.apids).map(ToString::to_string));
    if !filter.apids.is_empty() && !feed.sources.iter().all(|source| source.ends_with(".packets")) {
        let allowed = "sources that are all rings of packets";
        refuse("filter.apids", "frames have no application process", allowed);
    }
}

fn times(feed: &FeedSpec, refuse: &mut impl FnMut(&str, &str, &str)) {
    within(feed.stalled_after_ms, &STALLED_AFTER_MS, "stalled_after_ms", refuse);
    within(feed.alive_every_ms, &ALIVE_EVERY_MS, "alive_every_ms", refuse);
}

fn transport(feed: &FeedSpec, refuse: &mut impl FnMut(&str, &str, &str)) {
    let mut refuse = |message: &str, allowed: &str| refuse("transport", message, allowed);
    match &feed.transport {
        Transport::TcpServer { bind, clients_max, peers, .. } => {
            if *clients_max == 0 {
                refuse("clients_max = 0: nobody could connect", "1 or more");
            } else if !CLIENTS.contains(clients_max) {
                let mistake = format!("clients_max = {clients_max}: each is a thread");
                refuse(&mistake, &format!("{} to {}", CLIENTS.start(), CLIENTS.end()));
            }
            let peers: Vec<_> = peers.iter().map(|ip| ip.to_canonical()).collect();
            if let Some(ip) = twice(&peers) {
                refuse(&format!("peers: {ip} is named twice"), "each machine once");
            }
            if let Some(ip) = peers.iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
                refuse(&format!("peers: {ip} is no machine"), "addresses of machines");
            }
            if bind.ip().to_canonical().is_multicast() {
                let allowed = "an address of this machine";
                refuse(&format!("bind: {bind} is a group, which nobody can connect to"), allowed);
            }
        }
        Transport::TcpClient { address, acknowledge } => {
            if *acknowledge && feed.form == Form::Raw {
                let allowed = "acknowledge = false, or form = \"framed\"";
                refuse("a client of a raw feed cannot acknowledge", allowed);
            }
            destination(*address, "address", &mut refuse);
            if address.ip().to_canonical().is_multicast() {
                let mistake = format!("address: {address} is a group, which nobody can connect to");
                refuse(&mistake, "the address of a machine");
            }
        }
        Transport::Udp { to, bind, pace_bps, datagram_max } => {
            match pace_bps {
                Some(0) => refuse("pace_bps = 0: nothing would ever be sent", "1 or more"),
                Some(pace) if !PACE_BPS.contains(pace) => {
                    let allowed = format!("{} to {}", PACE_BPS.start(), PACE_BPS.end());
                    refuse(&format!("pace_bps = {pace} is out of range"), &allowed);
                }
                _ => {}
            }
            if !DATAGRAM.contains(datagram_max) {
                refuse(&format!("datagram_max = {datagram_max}: no datagram is so long"), "1 to 65507");
            } else if feed.form == Form::Framed && *datagram_max <= RECORD_HEAD_LEN {
                let mistake = format!("datagram_max = {datagram_max}: the head of a record fills it");
                refuse(&mistake, &format!("{} to 65507", RECORD_HEAD_LEN + 1));
            }
            destination(*to, "to", &mut refuse);
            if let Some(bind) = bind.filter(|bind| bind.is_ipv4() != to.is_ipv4()) {
                let mistake = format!("bind: {bind} and {to} are of different versions of IP");
                refuse(&mistake, "an address of this machine of the version of `to`");
            }
        }
    }
}

/// What can be no receiver.
fn destination(address: SocketAddr, key: &str, refuse: &mut impl FnMut(&str, &str)) {
    if address.port() == 0 || address.ip().to_canonical().is_unspecified() {
        let mistake = format!("{key}: {address} is nobody's address");
        refuse(&mistake, "the address of a machine, and a port from 1 to 65535");
    }
}

/// Who could take the feed that should not.
fn access(sections: &FeedSections, feed: &FeedSpec, refuse: &mut impl FnMut(&str, &str, &str)) {
    let is_red = feed.is_red();
    let asks = feed.form == Form::Framed && matches!(feed.transport, Transport::TcpServer { .. });
    if feed.anonymous && !asks {
        let mistake = "only framed feeds that listen ask clients who they are";
        refuse("anonymous", mistake, "nothing");
    }
    match &feed.transport {
        Transport::TcpServer { bind, peers, certificate, key, client_ca, .. } => {
            let open = !bind.ip().to_canonical().is_loopback();
            if certificate.is_some() != key.is_some() {
                refuse("transport", "a certificate and its key go together", "certificate and key, or none");
            } else if client_ca.is_some() && certificate.is_none() {
                let allowed = "certificate, key and client_ca";
                refuse("transport", "client_ca is for feeds with a certificate", allowed);
            }
            if asks && feed.anonymous && (open || is_red) {
                let mistake = if open {
                    format!("{bind} can be reached by others, and clients are not asked who they are")
                } else {
                    "red data, and clients are not asked who they are".to_owned()
                };
                refuse("anonymous", &mistake, "false, or black data on a loopback address");
            }
            if asks && open && certificate.is_none() {
                let mistake =
                    format!("{bind} can be reached by others, who could read tickets and data on the way");
                let allowed = "certificate and key (TLS), or a loopback address";
                refuse("transport", &mistake, allowed);
            }
            if feed.form == Form::Raw && certificate.is_some() {
                let allowed = "no certificate, or form = \"framed\"";
                refuse("transport", "a raw feed speaks no TLS", allowed);
            }
            if feed.form == Form::Raw && open && peers.is_empty() {
                let mistake =
                    format!("{bind} can be reached by others, and a raw feed asks nobody who it is");
                let allowed = "peers = [\"IP\", …], a loopback address, or form = \"framed\"";
                refuse("transport", &mistake, allowed);
            }
        }
        Transport::TcpClient { address: to, .. } | Transport::Udp { to, .. } => {
            if is_red && !address::names(&sections.feeding.red_receivers, to.ip()) {
                let mistake = format!("{} may not receive red data", to.ip());
                refuse("transport", &mistake, "the addresses of feeding.red_receivers");
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

/// Each address of this machine belongs to one feed, or to the process itself; and no feed goes into another.
fn doors(sections: &FeedSections, refuse: &mut impl FnMut(&str, &str, &str)) {
    let mut doors: Vec<(String, Protocol, SocketAddr)> = Vec::new();
    if let Ok(listen) = sections.feeding.listen.parse() {
        doors.push(("feeding.listen".to_owned(), Protocol::Tcp, listen));
    }
    for (name, feed) in &sections.feeds {
        let (protocol, door) = match feed.transport {
            Transport::TcpServer { bind, .. } => (Protocol::Tcp, bind),
            Transport::Udp { bind: Some(bind), .. } => (Protocol::Udp, bind),
            _ => continue,
        };
        let taken = doors.iter().find(|(_, other, at)| *other == protocol && address::overlap(*at, door));
        if let Some((other, _, at)) = taken {
            let mistake = format!("{door} is the same door as {at} of {other}");
            refuse(&format!("feeds.{name}.transport"), &mistake, "a port of its own");
        }
        doors.push((format!("feeds.{name}"), protocol, door));
    }
    for (name, feed) in &sections.feeds {
        let (protocol, to) = match feed.transport {
            Transport::TcpClient { address, .. } => (Protocol::Tcp, address),
            Transport::Udp { to, .. } => (Protocol::Udp, to),
            Transport::TcpServer { .. } => continue,
        };
        let into = doors.iter().find(|(_, other, at)| *other == protocol && address::overlap(*at, to));
        if let Some((other, _, _)) = into {
            let mistake = format!("{to} is the door of {other}");
            refuse(&format!("feeds.{name}.transport"), &mistake, "the address of a receiver");
        }
    }
}

/// What several feeds send to one address must not be mixed up there: red and black, live and replayed, two numberings.
fn receivers(sections: &FeedSections, refuse: &mut impl FnMut(&str, &str, &str)) {
    let sent: Vec<_> = sections
        .feeds
        .iter()
        .filter_map(|(name, feed)| match feed.transport {
            Transport::TcpClient { address, .. } => Some((name, feed, Protocol::Tcp, address)),
            Transport::Udp { to, .. } => Some((name, feed, Protocol::Udp, to)),
            Transport::TcpServer { .. } => None,
        })
        .collect();
    for (index, (name, feed, protocol, to)) in sent.iter().enumerate() {
        let same = sent[..index].iter().filter(|(_, _, other, address)| {
            other == protocol && address::canonical(*address) == address::canonical(*to)
        });
        for (other_name, other, ..) in same {
            let differs = if feed.is_red() != other.is_red() {
                "red and black data"
            } else if feed.session != other.session {
                "data of two sessions"
            } else if *protocol == Protocol::Udp && (feed.form == Form::Framed || other.form == Form::Framed)
            {
                "messages of two feeds"
            } else {
                continue;
            };
            let mistake = format!("{to} would receive {differs} mixed: feeds.{other_name} goes there too");
            refuse(&format!("feeds.{name}.transport"), &mistake, "a port for each");
            break;
        }
    }
}
