//! Reads `[links.NAME]` over the defaults of `[link]`, and checks the links against one another.

use std::collections::BTreeMap;
use std::path::Path;

use fep_coding::soft::SoftFormat;
use fep_config::{Diagnostics, Place, Section, nearest};
use fep_net::{LinkSpec, ProtocolSpec, SpecError, TransportSpec, WaitMode};
use fep_record::Session;

use super::exclusive::Exclusive;
use super::names::check_name;
use super::{CorePolicy, LinkConfig, MAX_CORE};
use fep_downlink::{Decoding, Framing, IdlePolicy};
use fep_mission::{ChannelConfig, Mission};

/// The missions that links can name.
pub(crate) struct Known<'m> {
    pub(crate) missions: &'m BTreeMap<String, Mission>,
    /// Missions with mistakes of their own: a link that names one of their channels is not blamed for it.
    pub(crate) broken: &'m [String],
}

/// Reads every link. A link that cannot be read is reported, left out, and noted among [`Taken::broken`].
pub(crate) fn read_links<'d>(
    links: Section<'d>,
    defaults: Section<'d>,
    missions: &Known<'_>,
    base: &Path,
    taken: &mut Taken,
    found: &mut Diagnostics,
) -> Vec<LinkConfig> {
    let mut configs = Vec::new();
    for (name, place, table) in links.named_tables(found) {
        let own_reorder = table.place_of("reorder_wait_us").filter(|_| table.has("reorder_wait_us"));
        let named = check_name(&name).map_err(|message| place.report(found, message, "")).is_ok();
        let section = table.over(&defaults);
        let mistakes = found.len();
        // A wrong name hides no mistake inside.
        match read_link(&name, &place, section, missions, base, taken, found).filter(|_| named) {
            Some((config, reorder_wait_us)) => {
                // The default of every link may say so; a link that says so itself expects something of it. One with mistakes may
                // have meant another framing.
                if let (Some(place), Framing::Stream, 1..) = (own_reorder, config.framing, reorder_wait_us)
                    && found.len() == mistakes
                {
                    place.report(
                        found,
                        format!("{reorder_wait_us} has no effect: octets of a stream do not change places"),
                        "0, or framing = datagram_cadu or datagram_frame",
                    );
                }
                configs.push(config);
            }
            None => taken.broken.push(name),
        }
    }
    configs
}

/// What only one link may have.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) ids: BTreeMap<u16, String>,
    /// Links that exist but could not be read: whoever names one is not blamed for it.
    pub(super) broken: Vec<String>,
    cores: BTreeMap<usize, String>,
    /// Sockets, serial lines and standard input.
    pub(super) exclusive: Exclusive,
}

pub(super) fn claim<K: Ord>(map: &mut BTreeMap<K, String>, key: K, name: &str) -> Option<String> {
    match map.entry(key) {
        std::collections::btree_map::Entry::Occupied(other) => Some(other.get().clone()),
        std::collections::btree_map::Entry::Vacant(free) => {
            free.insert(name.to_owned());
            None
        }
    }
}

fn read_link(
    name: &str,
    link_place: &Place<'_>,
    section: Section<'_>,
    missions: &Known<'_>,
    base: &Path,
    taken: &mut Taken,
    found: &mut Diagnostics,
) -> Option<(LinkConfig, u32)> {
    let enabled = section.boolean("enabled", found);
    let channel = read_channel_name(&section, missions, found);
    let transport = read_transport(&section, base, found);
    let session = section.choice(
        "session",
        &[("OPS", Session::Ops), ("TEST", Session::Test), ("REPLAY", Session::Replay)],
        found,
    );
    let idle = section.choice("idle", &[("publish", IdlePolicy::Publish), ("drop", IdlePolicy::Drop)], found);
    let framing = section.choice("framing", &FRAMINGS, found);
    let core = read_core(&section, found);
    let id = section.integer("id", 1..=ID_MAX, found).unwrap_or_else(|| id_of_name(name));
    let spec = read_link_spec(&section, transport, found);
    let symbols = read_symbols(&section, found);
    let decoding = read_decoding(&section, found);
    let reorder_wait_us = section.integer("reorder_wait_us", 0..=1_000_000u32, found);

    if let Some(other) = claim(&mut taken.ids, id, name)
        && let Some(place) = section.place_of("id")
    {
        place.report(
            found,
            format!("number {id} is that of link {other:?} too"),
            format!("another `id`, 1 to {ID_MAX}"),
        );
    }
    if let (Some(CorePolicy::Fixed(number)), Some(true)) = (core, enabled)
        && let Some(other) = claim(&mut taken.cores, number, name)
        && let Some(place) = section.place_of("core")
    {
        place.report(
            found,
            format!("core {number} is taken by link {other:?}"),
            "another core, \"auto\" or \"none\"",
        );
    }
    // Of disabled links too: the control interface enables them.
    if let Some(spec) = &spec
        && let Err(message) = taken.exclusive.claim(&spec.transport, &format!("link {name:?}"))
        && let Some(place) = section.place_of("transport")
    {
        place.report(found, message, "");
    }
    if let (Some(channel), Some(framing), Some(place)) = (&channel, framing, section.place_of("framing"))
        && framing == Framing::Stream
        && channel.frame.variable_len
    {
        place.report(found, "frames of variable length cannot be found in a stream", "datagram_frame");
    }
    if let (Some(spec), Some(framing), Some(place)) = (&spec, framing, section.place_of("framing"))
        && framing != Framing::Stream
        && !matches!(spec.transport, TransportSpec::Udp(_))
        && matches!(spec.protocol, ProtocolSpec::Raw {})
    {
        place.report(found, "only udp, or a protocol of units, keeps datagrams apart", "stream");
    }
    if let (Some(channel), Some(framing), Some(place)) = (&channel, framing, section.place_of("framing"))
        && framing != Framing::Stream
        && (channel.code.needs_symbols() || symbols.is_some())
    {
        place.report(found, "symbols come in a stream: their blocks are found by their marker", "stream");
    }
    section.finish(found);
    // A key that has a default is absent only after a report; say so once more rather than guess.
    let config = (|| {
        Some(LinkConfig {
            name: name.to_owned(),
            id,
            enabled: enabled?,
            channel: channel?,
            transport: spec?,
            core: core?,
            session: session?,
            idle: idle?,
            framing: framing?,
            symbols,
            decoding: decoding?,
            // Octets of a stream cannot change places.
            reorder_wait_us: if framing == Some(Framing::Stream) { 0 } else { reorder_wait_us? },
            merged_by: None,
        })
    })();
    let config = config.zip(reorder_wait_us);
    if config.is_none() && found.is_empty() {
        link_place.report(found, "this link could not be read", "");
    }
    config
}

pub(super) const WAITS: [(&str, WaitMode); 3] =
    [("busy", WaitMode::Busy), ("wait", WaitMode::Wait), ("adaptive", WaitMode::Adaptive)];

const FRAMINGS: [(&str, Framing); 3] = [
    ("stream", Framing::Stream),
    ("datagram_cadu", Framing::DatagramCadu),
    ("datagram_frame", Framing::DatagramFrame),
];

/// 65535 stands for no link in event records.
const ID_MAX: u16 = u16::MAX - 1;

/// FNV-1a, folded to 16 bits; 0 is nobody's.
pub(super) fn id_of_name(name: &str) -> u16 {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    (((hash >> 16) ^ hash) as u16).clamp(1, ID_MAX)
}

fn read_channel_name(
    section: &Section<'_>,
    missions: &Known<'_>,
    found: &mut Diagnostics,
) -> Option<ChannelConfig> {
    let all = || {
        let names = missions
            .missions
            .values()
            .flat_map(|mission| mission.channels.values().map(|channel| channel.name.clone()));
        names.collect::<Vec<_>>().join(", ")
    };
    if !section.has("channel") {
        section.missing("channel", found, &all());
        return None;
    }
    let (reference, place) = section.string("channel", found)?;
    let channel = reference
        .split_once('/')
        .and_then(|(mission, channel)| missions.missions.get(mission)?.channels.get(channel))
        .cloned();
    let blameless = reference
        .split_once('/')
        .is_some_and(|(mission, _)| missions.broken.iter().any(|name| name == mission));
    if channel.is_none() && !blameless {
        let names = all();
        let meant = nearest(&reference, names.split(", "));
        let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
        place.report(found, format!("no channel is called {reference:?}{meant}"), names);
    }
    channel
}

pub(super) fn read_core(section: &Section<'_>, found: &mut Diagnostics) -> Option<CorePolicy> {
    let words = [("auto", CorePolicy::Auto), ("none", CorePolicy::None)];
    let core = section.word_or_integer("core", &words, 0..=MAX_CORE, found)?;
    Some(core.unwrap_or_else(CorePolicy::Fixed))
}

fn read_symbols(section: &Section<'_>, found: &mut Diagnostics) -> Option<SoftFormat> {
    let format: SoftFormat = section.deserialize("symbols", found)?;
    if let (Err(error), Some(place)) = (format.validate(), section.place_of("symbols")) {
        place.report(found, error.to_string(), "");
        return None;
    }
    Some(format)
}

fn read_decoding(section: &Section<'_>, found: &mut Diagnostics) -> Option<Decoding> {
    let threads = section.integer("decode_threads", 0..=DECODE_THREADS_MAX, found);
    let batch = section.integer("decode_batch", 0..=DECODE_BATCH_MAX, found);
    let wait_us = section.integer("decode_wait_us", 0..=1_000_000, found);
    Some(Decoding { threads: threads?, batch: batch?, wait_us: wait_us? })
}

/// More decode threads than a link can feed.
const DECODE_THREADS_MAX: usize = 64;
/// More blocks than any decoder has lanes.
const DECODE_BATCH_MAX: usize = 256;

fn read_transport(section: &Section<'_>, base: &Path, found: &mut Diagnostics) -> Option<TransportSpec> {
    const KINDS: &str =
        "a table { kind = \"tcp_client\" | \"tcp_server\" | \"udp\" | \"serial\" | \"file\" | \"stdin\", … }";
    if !section.has("transport") {
        section.missing("transport", found, KINDS);
        return None;
    }
    let mut transport: TransportSpec = section.deserialize("transport", found)?;
    if let TransportSpec::File(file) = &mut transport
        && !file.path.as_os_str().is_empty()
    {
        file.path = base.join(&file.path);
    }
    Some(transport)
}

fn read_link_spec(
    section: &Section<'_>,
    transport: Option<TransportSpec>,
    found: &mut Diagnostics,
) -> Option<LinkSpec> {
    let wait = section.choice("wait", &WAITS, found);
    let mut number = |key| section.integer_of(key, 0..=u32::MAX, &|| limit_of(key), found);
    let max_wait_us = number("max_wait_us");
    let spin_us = number("spin_us");
    let receive_buffer_bytes = number("receive_buffer_bytes");
    let transmit_buffer_bytes = number("transmit_buffer_bytes");
    let transmit_units = number("transmit_units");
    let socket_buffer_bytes = number("socket_buffer_bytes");
    let reconnect_min_ms = number("reconnect_min_ms");
    let reconnect_max_ms = number("reconnect_max_ms");
    let connect_timeout_ms = number("connect_timeout_ms");
    let half_open_timeout_ms = number("half_open_timeout_ms");
    let keepalive_idle_s = number("keepalive_idle_s");
    let keepalive_interval_s = number("keepalive_interval_s");
    let keepalive_probes = number("keepalive_probes");
    let idle_timeout_ms = number("idle_timeout_ms");
    let receive_buffers =
        section.integer_of("receive_buffers", 0..=u16::MAX, &|| limit_of("receive_buffers"), found);
    let protocol = match section.has("protocol") {
        true => section.deserialize("protocol", found),
        false => Some(ProtocolSpec::default()),
    };
    // Every key has been looked at. Each is also judged by itself, against the defaults of the others: a value that cannot be
    // must hide none.
    let before = found.len();
    let mut spec = LinkSpec::stdin();
    let mut judged = |spec: &mut LinkSpec, set: &dyn Fn(&mut LinkSpec)| {
        let kept = spec.clone();
        set(spec);
        let valid = spec.validate();
        if let Err(error) = &valid {
            report_spec(section, error, found);
            *spec = kept;
        }
        valid.is_ok()
    };
    // Where the transport is wrong or absent, another stands in for it.
    let carried = transport.is_some_and(|wanted| judged(&mut spec, &|spec| spec.transport = wanted.clone()));
    let set = |slot: &mut u32, value: Option<u32>| *slot = value.unwrap_or(*slot);
    judged(&mut spec, &|spec| set(&mut spec.max_wait_us, max_wait_us));
    judged(&mut spec, &|spec| set(&mut spec.spin_us, spin_us));
    judged(&mut spec, &|spec| set(&mut spec.receive_buffer_bytes, receive_buffer_bytes));
    judged(&mut spec, &|spec| set(&mut spec.transmit_buffer_bytes, transmit_buffer_bytes));
    judged(&mut spec, &|spec| set(&mut spec.transmit_units, transmit_units));
    if carried {
        judged(&mut spec, &|spec| spec.protocol = protocol.clone().unwrap_or_default());
    }
    // 0 stands for "as the transport needs" where `fep-net` has its own rule.
    judged(&mut spec, &|spec| spec.receive_buffers = receive_buffers.filter(|count| *count > 0));
    judged(&mut spec, &|spec| spec.socket_buffer_bytes = socket_buffer_bytes.filter(|octets| *octets > 0));
    // The one bounds the other.
    judged(&mut spec, &|spec| {
        set(&mut spec.reconnect_min_ms, reconnect_min_ms);
        set(&mut spec.reconnect_max_ms, reconnect_max_ms);
    });
    judged(&mut spec, &|spec| set(&mut spec.connect_timeout_ms, connect_timeout_ms));
    judged(&mut spec, &|spec| set(&mut spec.half_open_timeout_ms, half_open_timeout_ms));
    judged(&mut spec, &|spec| set(&mut spec.keepalive_idle_s, keepalive_idle_s));
    judged(&mut spec, &|spec| set(&mut spec.keepalive_interval_s, keepalive_interval_s));
    judged(&mut spec, &|spec| set(&mut spec.keepalive_probes, keepalive_probes));
    judged(&mut spec, &|spec| spec.idle_timeout_ms = idle_timeout_ms.filter(|limit| *limit > 0));
    spec.wait = wait?;
    // What is absent or was refused above was reported there, or in `read_transport`.
    let all_read = carried
        && protocol.is_some()
        && receive_buffers.is_some()
        && [
            max_wait_us,
            spin_us,
            receive_buffer_bytes,
            transmit_buffer_bytes,
            transmit_units,
            socket_buffer_bytes,
            reconnect_min_ms,
            reconnect_max_ms,
            connect_timeout_ms,
            half_open_timeout_ms,
            keepalive_idle_s,
            keepalive_interval_s,
            keepalive_probes,
            idle_timeout_ms,
        ]
        .iter()
        .all(Option::is_some);
    (all_read && found.len() == before).then_some(spec)
}

/// Reports what `fep-net` does not accept, at its key.
fn report_spec(section: &Section<'_>, error: &SpecError, found: &mut Diagnostics) {
    let place = match error.field.split_once('.') {
        Some((outer, inner)) => {
            // What is wrong with the table is reported elsewhere.
            let table = section.table(outer, &mut Diagnostics::default());
            table.place_of(inner)
        }
        None => section.place_of(error.field),
    };
    let Some(place) = place else { return };
    match error.allowed.strip_prefix("must be ") {
        Some(allowed) => place.report(found, format!("{} is not allowed", error.value), allowed),
        None => place.report(found, format!("{} is not allowed: {}", error.value, error.allowed), ""),
    }
}

/// What `fep-net` allows for a number of a link's table, in its words.
fn limit_of(key: &str) -> Option<String> {
    // Larger than any of them may be, as far as the type goes.
    [u32::MAX, u32::from(u16::MAX)].into_iter().find_map(|number| {
        let text = format!("{key} = {number}\ntransport = {{ kind = \"stdin\" }}\n");
        let error = toml::from_str::<LinkSpec>(&text).ok()?.validate().err()?;
        error.allowed.strip_prefix("must be ").map(str::to_owned)
    })
}
