//! `fepctl config explain`: what a key does, its default, what is allowed.

use std::io::{self, Write};

use fep_config::distance;
use fep_control::config;

use super::documented::{Explained, File, Said, of_markdown, of_toml};
use super::kind::{ARCHIVE_TABLES, IDENTITY_TABLES};
use crate::failure::{Failure, output};
use crate::terminal;

/// Where the keys of services are explained.
const OF_ARCHIVE: &str = "config/archive.toml explains the keys of recorder, archive and feeds";
const OF_IDENTITY: &str = "config/identity.toml explains those of the identity service";

/// Most keys that are offered for one that nobody knows.
const NEAREST_MAX: usize = 3;

/// Every key of the daemon's file and of mission files.
fn all() -> Vec<Explained> {
    let mut all = of_toml(config::DEFAULT_TOML);
    // The links of the built-in configuration are examples of what the tables list.
    all.retain(|one| !one.key.starts_with("links."));
    all.extend(of_markdown(config::KEYS_MD, File::Daemon));
    all.extend(of_markdown(fep_mission::KEYS_MD, File::Mission));
    all
}

/// How a key that was asked for fits one that is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Exact,
    /// The table was asked for that it is in.
    Inside,
}

fn is_placeholder(part: &str) -> bool {
    matches!(part, "NAME" | "APID")
}

fn fit(explained: &str, asked: &str) -> Option<Fit> {
    let plain = |part: &str| part.split('[').next().unwrap_or_default().to_owned();
    let mut parts = explained.split('.');
    for asked in asked.split('.') {
        let part = parts.next()?;
        if !is_placeholder(part) && plain(part) != plain(asked) {
            return None;
        }
    }
    Some(if parts.next().is_some() { Fit::Inside } else { Fit::Exact })
}

/// The explanations of a key, or of everything in a table.
fn known<'e>(all: &'e [Explained], asked: &str) -> Vec<&'e Explained> {
    let mut names = vec![asked.to_owned()];
    // What a link says may stand in the defaults of every link.
    if let Some((_, rest)) = asked.strip_prefix("links.").and_then(|rest| rest.split_once('.')) {
        names.push(format!("link.{rest}"));
    }
    let of = |wanted| {
        let names = &names;
        all.iter().filter(move |one| names.iter().any(|name| fit(&one.key, name) == Some(wanted)))
    };
    of(Fit::Exact).chain(of(Fit::Inside)).collect()
}

/// What to show of a key: its own explanation; or that of the value that has it as a part; or whatever has it in its name.
fn chosen<'e>(all: &'e [Explained], asked: &str) -> Vec<&'e Explained> {
    let mut found = known(all, asked);
    if let (true, Some((outer, _))) = (found.is_empty(), asked.rsplit_once('.')) {
        let is_table = |one: &Explained| matches!(&one.said, Said::Default(value) | Said::Example(value) if value.starts_with('{'));
        found = known(all, outer);
        found.retain(|one| fit(&one.key, outer) != Some(Fit::Inside) && is_table(one));
    }
    if found.is_empty() {
        found = all.iter().filter(|one| one.key.contains(asked)).collect();
    }
    found
}

/// The keys that are written most like this one, the likeliest first.
fn nearest(all: &[Explained], asked: &str) -> Vec<String> {
    let asked_parts: Vec<&str> = asked.split('.').collect();
    let mut near: Vec<(usize, &str)> = all
        .iter()
        .map(|one| {
            // A name of one's own is no mistake.
            let parts = one.key.split('.').enumerate();
            let parts = parts.map(|(index, part)| match asked_parts.get(index) {
                Some(asked) if is_placeholder(part) => asked,
                _ => part,
            });
            (distance(&parts.collect::<Vec<_>>().join("."), asked), one.key.as_str())
        })
        .filter(|(distance, _)| *distance <= 2 + asked.len() / 4)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(NEAREST_MAX).map(|(_, key)| key.to_owned()).collect()
}

/// Runs the command.
pub(super) fn run(key: &str) -> Result<(), Failure> {
    let all = all();
    let chosen = chosen(&all, key);
    if chosen.is_empty() {
        let failure = Failure::usage(format!("no key of the configuration is called {key:?}"));
        let table = key.split('.').next().unwrap_or_default();
        let of_services = match (ARCHIVE_TABLES.contains(&table), IDENTITY_TABLES.contains(&table)) {
            (true, false) => Some(OF_ARCHIVE.to_owned()),
            (false, true) => Some(OF_IDENTITY.to_owned()),
            (true, true) => Some(format!("{OF_ARCHIVE}; {OF_IDENTITY}")),
            (false, false) => None,
        };
        if let Some(hint) = of_services {
            return Err(failure.hint(hint));
        }
        let near = nearest(&all, key);
        if !near.is_empty() {
            return Err(failure.hint(format!("nearest: {}", near.join(", "))));
        }
        let tables = all.iter().filter(|one| matches!(one.said, Said::Table(_))).map(|one| one.key.as_str());
        let tables = tables.chain(["links.NAME", "channel.NAME"]).collect::<Vec<_>>().join(", ");
        return Err(failure.hint(format!(
            "tables: {tables}; `fepctl config explain TABLE` shows one whole. {OF_ARCHIVE}; {OF_IDENTITY}"
        )));
    }
    let mut out = terminal::text_out();
    let mut write = || -> io::Result<()> {
        // Keys that share a comment stand above it together.
        for (index, group) in chosen.chunk_by(|one, next| one.comment == next.comment).enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            for one in group {
                writeln!(out, "{}", head(one))?;
            }
            group[0].comment.iter().try_for_each(|said| writeln!(out, "  {said}"))?;
        }
        out.flush()
    };
    write().map_err(output)
}

/// The line of a key: its name, default and what is allowed.
fn head(one: &Explained) -> String {
    let mut facts = Vec::new();
    if one.of == File::Mission {
        facts.push("of a mission".to_owned());
    }
    match &one.said {
        Said::Table(line) => return line.clone(),
        Said::Default(value) => facts.push(format!("default: {value}")),
        Said::Example(value) => facts.extend(["default: none".to_owned(), format!("example: {value}")]),
        Said::Required => facts.push("required".to_owned()),
        Said::Nothing => {}
    }
    if let Some(allowed) = allowed(&one.key).filter(|_| one.of == File::Daemon) {
        facts.push(format!("allowed: {allowed}"));
    }
    format!("{}  ({})", one.key, facts.join("; "))
}

/// Which numbers a key of the daemon's file may have, as its reader says when it is given something else.
fn allowed(key: &str) -> Option<String> {
    let (table, name) = key.rsplit_once('.')?;
    let table = match table {
        "daemon" | "rings" | "link" => table,
        "spacecraft.NAME" => "spacecraft.x",
        _ => return None,
    };
    let key = format!("{table}.{name}");
    // A number larger than any, and what is no number at all.
    ["4294967295", "1979-05-27"].into_iter().find_map(|value| {
        let errors = config::load_text("x", &format!("[{table}]\n{name} = {value}\n")).err()?;
        let error = errors.0.into_iter().find(|error| error.key == key)?;
        // Of a text or of several words its explanation says what they are.
        error.allowed.contains(" to ").then_some(error.allowed)
    })
}

#[cfg(test)]
mod tests {
    use fep_config::ConfigErrors;

    use super::*;

    /// Every key that a reader says it accepts beside an unknown one.
    fn accepted<T: std::fmt::Debug>(read: Result<T, ConfigErrors>) -> Vec<String> {
        let errors = read.expect_err("an unknown key").0;
        let unknown = errors.iter().filter(|error| error.message == "unknown key");
        let unknown = unknown.filter_map(|error| Some((error.key.strip_suffix("nosuch")?, error)));
        let keys = unknown
            .flat_map(|(table, error)| error.allowed.split(", ").map(move |key| format!("{table}{key}")));
        keys.collect()
    }

    fn is_explained(keys: &[String]) {
        let all = all();
        for key in keys {
            let known = known(&all, key);
            assert!(!known.is_empty(), "{key} is not explained");
            assert!(
                known.iter().all(|one| matches!(one.said, Said::Table(_)) || !one.comment.is_empty()),
                "{key}"
            );
        }
    }

    // REQ: FEP-CTL-300
    #[test]
    fn every_key_that_a_link_or_a_merged_spacecraft_accepts_is_explained() {
        let mut keys = Vec::new();
        for transport in [
            "{ kind = \"tcp_client\", address = \"127.0.0.1:1\", nosuch = 1 }",
            "{ kind = \"tcp_server\", bind = \"127.0.0.1:1\", nosuch = 1 }",
            "{ kind = \"udp\", bind = \"127.0.0.1:1\", nosuch = 1 }",
            "{ kind = \"serial\", device = \"/dev/null\", baud = 9600, nosuch = 1 }",
            "{ kind = \"file\", path = \"x\", nosuch = 1 }",
            "{ kind = \"stdin\", nosuch = 1 }",
        ] {
            let text = format!(
                "nosuch = 1\n[daemon]\nnosuch = 1\n[rings]\nnosuch = 1\n\
                 [links.x]\nchannel = \"npp/hrd\"\nnosuch = 1\ntransport = {transport}\n\
                 protocol = {{ kind = \"length_prefixed\", nosuch = 1 }}\n[spacecraft.y]\nnosuch = 1\n"
            );
            keys.extend(accepted(config::load_text("x.toml", &text)));
        }
        for key in
            ["links.x.transport.silence_ms", "links.x.protocol.endian", "spacecraft.y.wait_us", "links.x.id"]
        {
            assert!(keys.iter().any(|known| known == key), "{key} is not in {keys:?}");
        }
        is_explained(&keys);
    }

    // REQ: FEP-CTL-300
    #[test]
    fn every_key_that_a_mission_accepts_is_explained() {
        let tables = "nosuch = 1\n[spacecraft.s]\nnosuch = 1\n[channel.c]\nnosuch = 1\n[channel.c.frame]\nnosuch = 1\n\
                      [channel.c.sync]\nnosuch = 1\n[[channel.c.vc]]\nnosuch = 1\n[channel.c.code]\nnosuch = 1\n";
        let mut keys = Vec::new();
        for code in fep_coding::CodeSpec::REGISTRY.iter() {
            let text = format!("{tables}code = \"{}\"\n", code.name);
            keys.extend(accepted(fep_mission::load_text("m", "m.toml", &text)));
        }
        for (table, code) in [("convolutional", "convolutional"), ("reed_solomon", "concatenated")] {
            let text = format!("{tables}code = \"{code}\"\n[channel.c.code.{table}]\nnosuch = 1\n");
            keys.extend(accepted(fep_mission::load_text("m", "m.toml", &text)));
        }
        for time in ["cuc\", coarse_octets = 4, fine_octets = 2", "cds\""] {
            let packets = format!("{{ kind = \"time\", time = {{ code = \"{time}, nosuch = 1 }} }}");
            let text = format!("[spacecraft.s]\npackets.all = {packets}\npackets.apids.7 = {packets}\n");
            keys.extend(accepted(fep_mission::load_text("m", "m.toml", &text)).into_iter().filter(|key| {
                // Those of one application process are those of all.
                !key.contains("apids")
            }));
        }
        for key in [
            "channel.c.frame.kind",
            "channel.c.sync.marker",
            "channel.c.vc[0].colour",
            "channel.c.code.codewords",
            "channel.c.code.reed_solomon.basis",
            "spacecraft.s.scid",
            "spacecraft.s.packets.all.time.epoch_day",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} is not in {keys:?}");
        }
        is_explained(&keys);
    }

    // REQ: FEP-CTL-310
    #[test]
    fn of_every_number_of_the_daemons_file_and_of_merged_spacecraft_its_range_is_shown() {
        let all = all();
        let is_number = |one: &&Explained| match &one.said {
            Said::Default(value) | Said::Example(value) => value.parse::<f64>().is_ok(),
            _ => false,
        };
        let shown = |key: &str| {
            ["daemon.", "rings.", "link.", "spacecraft.NAME."].iter().any(|table| key.starts_with(table))
        };
        let numbers = all.iter().filter(|one| one.of == File::Daemon && shown(&one.key)).filter(is_number);
        let silent: Vec<&str> =
            numbers.map(|one| one.key.as_str()).filter(|key| allowed(key).is_none()).collect();
        assert!(silent.is_empty(), "{silent:?}");
        assert_eq!(allowed("rings.frames_desc_log2").as_deref(), Some("4 to 28"));
        assert_eq!(allowed("link.reorder_wait_us").as_deref(), Some("0 to 1000000"));
        assert_eq!(allowed("link.spin_us").as_deref(), Some("0 to 1000000 microseconds"));
        assert_eq!(allowed("spacecraft.NAME.window_frames").as_deref(), Some("16 to 1048576"));
    }

    // REQ: FEP-CTL-300
    #[test]
    fn a_key_that_nobody_knows_is_answered_with_the_nearest_ones() {
        let all = all();
        for (asked, meant) in [
            ("channels.hrd.frame.kind", "channel.NAME.frame.kind"),
            ("links.npp.transport.adress", "links.NAME.transport.address"),
            ("spacecraft.leo.wait_ms", "spacecraft.NAME.wait_us"),
            ("daemon.rundir", "daemon.run_dir"),
            ("link.spin_ms", "link.spin_us"),
        ] {
            assert!(chosen(&all, asked).is_empty(), "{asked}");
            assert_eq!(nearest(&all, asked).first().map(String::as_str), Some(meant), "{asked}");
        }
        assert!(nearest(&all, "utterly.different.words").is_empty());
    }

    // REQ: FEP-CTL-300
    #[test]
    fn a_part_of_a_value_is_explained_where_the_value_is() {
        let all = all();
        let keys = |asked| chosen(&all, asked).iter().map(|one| one.key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys("links.npp.symbols.bits"), ["link.symbols"]);
        assert_eq!(keys("links.npp.wait"), ["link.wait"]);
        assert_eq!(keys("channel.hrd.vc[3].id"), ["channel.NAME.vc[].id"]);
        assert!(keys("spacecraft.leo").contains(&"spacecraft.NAME.wait_us"));
        assert!(keys("spacecraft.leo").contains(&"spacecraft.NAME.scid"));
        assert!(keys("takeover").contains(&"links.NAME.transport.takeover_silence_ms"));
    }
}
