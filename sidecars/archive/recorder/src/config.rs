//! Section `[recorder]` of the archive's configuration; `config/archive.toml` explains every key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_kit::{ConfigErrors, Document};
use fep_record::REPLAY_RING_PREFIX;
use serde::Deserialize;

/// Every section that a process of the archive reads from the common file.
pub const SECTIONS: [&str; 12] = fep_kit::config::ARCHIVE_SECTIONS;

/// What of `[archive]` concerns the recorder; its other keys are judged by the archive service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Places {
    /// Directory of the segments.
    pub segments: PathBuf,
    /// Directory of the rings.
    pub rings: PathBuf,
    /// Least severity of log lines.
    pub log: String,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            segments: PathBuf::from("/var/lib/fep/archive/segments"),
            rings: PathBuf::from("/dev/shm/fep/bus"),
            log: "info".to_owned(),
        }
    }
}

/// Section `[recorder]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecorderConfig {
    /// Which rings are recorded, black and red: names, where `*` stands for any characters.
    pub record: Vec<String>,
    /// Name of the cursor in every ring: a gate of the rings.
    pub consumer: String,
    /// Octets of a segment in MiB.
    pub segment_mib: u64,
    /// Age at which a segment is sealed, full or not, in seconds.
    pub seal_after_s: u64,
    /// Octets of a block in KiB: what is written, checked and read as one.
    pub block_kib: u64,
    /// Blocks of one ring that may wait for the disk.
    pub blocks_waiting: usize,
    /// Longest time until what was copied is committed to the disk, in milliseconds.
    pub commit_interval_ms: u64,
    /// Octets after which it is committed earlier, in MiB.
    pub commit_mib: u64,
    /// Writes past the page cache where the file system allows.
    pub direct: bool,
    /// Uses io_uring where the kernel allows.
    pub io_uring: bool,
    /// Free part of the file system below which a warning is given, in percent.
    pub warning_free_percent: f64,
    /// Free part below which nothing more is recorded, in percent.
    pub critical_free_percent: f64,
    /// How often new rings are looked for, in milliseconds.
    pub scan_interval_ms: u64,
    /// File of the private key that signs the days; made on first use. Empty: days are not signed.
    pub root_key: PathBuf,
}

impl Default for RecorderConfig {
    fn default() -> RecorderConfig {
        RecorderConfig {
            record: ["*.frames", "*.packets", "events", "*.events"].map(str::to_owned).to_vec(),
            consumer: "recorder".to_owned(),
            segment_mib: 256,
            seal_after_s: 600,
            block_kib: 1024,
            blocks_waiting: 16,
            commit_interval_ms: 20,
            commit_mib: 32,
            direct: true,
            io_uring: true,
            warning_free_percent: 10.0,
            critical_free_percent: 3.0,
            scan_interval_ms: 500,
            root_key: PathBuf::from("/var/lib/fep/keys/root.key"),
        }
    }
}

impl RecorderConfig {
    /// Whether a ring of this name is recorded. What is played again is not: it is in the archive already.
    pub fn records(&self, ring: &str) -> bool {
        !ring.starts_with(REPLAY_RING_PREFIX) && self.record.iter().any(|pattern| matches(pattern, ring))
    }

    /// Longest time until a commit.
    pub fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }
}

/// Everything the recorder reads from the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Section `[archive]`, as far as it concerns the recorder.
    pub places: Places,
    /// Section `[recorder]`.
    pub recorder: RecorderConfig,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Everything wrong with it, with file, line and what is allowed.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        Config::of(&Document::read(path)?)
    }

    /// As [`Config::load`], from a file read before.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn of(document: &Document) -> Result<Config, ConfigErrors> {
        let sections = ConfigErrors::both(document.section("archive"), document.section("recorder"));
        let ((), (places, recorder)): ((), (Places, RecorderConfig)) =
            ConfigErrors::both(document.only(&SECTIONS), sections)?;
        let range = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                let message = format!("{value} is out of range");
                Err(document.mistake(&format!("recorder.{key}"), &message, &format!("{least} to {most}")))
            }
        };
        range("segment_mib", recorder.segment_mib, 1, 65_536)?;
        range("seal_after_s", recorder.seal_after_s, 1, 86_400)?;
        range("block_kib", recorder.block_kib, 4, 65_536)?;
        range("blocks_waiting", recorder.blocks_waiting as u64, 2, 1024)?;
        range("commit_interval_ms", recorder.commit_interval_ms, 1, 10_000)?;
        range("commit_mib", recorder.commit_mib, 1, 1024)?;
        range("scan_interval_ms", recorder.scan_interval_ms, 10, 60_000)?;
        if recorder.block_kib * 1024 * 2 > recorder.segment_mib << 20 {
            let message = format!("{} KiB are more than half a segment", recorder.block_kib);
            return Err(document.mistake("recorder.block_kib", &message, "at most half of segment_mib"));
        }
        for (key, percent) in [
            ("warning_free_percent", recorder.warning_free_percent),
            ("critical_free_percent", recorder.critical_free_percent),
        ] {
            if !(0.0..=90.0).contains(&percent) {
                return Err(document.mistake(
                    &format!("recorder.{key}"),
                    &format!("{percent} is out of range"),
                    "0 to 90",
                ));
            }
        }
        if recorder.critical_free_percent > recorder.warning_free_percent {
            return Err(document.mistake(
                "recorder.critical_free_percent",
                "the alarm would come before the warning",
                "at most warning_free_percent",
            ));
        }
        if let Err(problem) = fep_bus::check_name(&recorder.consumer) {
            let message = format!("the name \"{}\" {problem}", recorder.consumer);
            return Err(document.mistake("recorder.consumer", &message, "1 to 31 of a-z 0-9 - _ ."));
        }
        if recorder.record.iter().any(String::is_empty) || recorder.record.is_empty() {
            let allowed = "names of rings, with * for any characters";
            return Err(document.mistake("recorder.record", "nothing would be recorded", allowed));
        }
        Ok(Config { places, recorder })
    }
}

/// Whether `name` is what `pattern` says; `*` stands for any characters, also none.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-REC-010
    #[test]
    fn patterns_choose_rings_by_name() {
        for (pattern, name, chosen) in [
            ("*.frames", "cso-1.frames", true),
            ("*.frames", "cso-1.red.frames", true),
            ("*.frames", "cso-1.packets", false),
            ("cso-*.frames", "cso-2.frames", true),
            ("cso-*.frames", "npp.frames", false),
            ("events", "events", true),
            ("events", "events2", false),
            ("*", "anything", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("ab*ab", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), chosen, "{pattern} {name}");
        }
    }

    // REQ: FEP-REPLAY-008
    #[test]
    fn what_is_played_again_is_never_recorded_again() {
        let config = RecorderConfig { record: vec!["*".to_owned()], ..RecorderConfig::default() };
        assert!(config.records("pass.frames"));
        assert!(!config.records("replay.pass.frames"));
    }

    // REQ: FEP-REC-010
    #[test]
    fn mistakes_are_told_with_line_key_and_what_is_allowed() {
        let told =
            |text: &str| Config::of(&Document::from_text("my.toml", text).unwrap()).unwrap_err().to_string();
        assert_eq!(
            told("[recorder]\nsegment_mib = 0\n"),
            "my.toml:2:1: recorder.segment_mib: 0 is out of range (allowed: 1 to 65536)"
        );
        assert!(
            told("[recorder]\nsegments_mib = 5\n")
                .contains("my.toml:2:1: recorder.segments_mib: unknown key")
        );
        assert!(told("[recorder]\nrecord = []\n").contains("nothing would be recorded"));
        assert!(told("[recorder]\ncritical_free_percent = 50.0\n").contains("before the warning"));
        for bad in ["", "Recorder", "../recorder", ".recorder", "recorder of all the rings there are"] {
            let text = format!("[recorder]\nconsumer = {bad:?}\n");
            assert!(told(&text).contains("my.toml:2:1: recorder.consumer: the name"), "{}", told(&text));
        }
        assert!(told("[recoder]\n").contains("unknown section"));
        assert_eq!(Config::of(&Document::from_text("my.toml", "").unwrap()).unwrap(), Config::default());
    }
}
