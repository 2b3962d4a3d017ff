//! Everything that a start of the process needs of the configuration; `--check` reads the same.

use std::collections::BTreeMap;

use fep_feed_wire::FeedSections;
use fep_feed_wire::spec::{Archive, FeedSpec, Feeding};
use fep_kit::access::Access;
use fep_kit::listen::Address;
use fep_kit::{ConfigErrors, Document, trace};

/// The configuration of the process, free of mistakes.
#[derive(Debug, Clone)]
pub struct FeedsConfig {
    /// What is ours of section `[archive]`.
    pub archive: Archive,
    /// Section `[feeding]`.
    pub feeding: Feeding,
    /// Directory in which the objects of the archive's store can be read, if one is known.
    pub(crate) objects: Option<std::path::PathBuf>,
    /// Sections `[feeds.NAME]`.
    pub feeds: BTreeMap<String, FeedSpec>,
    /// Where status and orders are served.
    pub(crate) listen: Option<Address>,
    /// Permissions of a Unix socket.
    pub(crate) listen_mode: u32,
    /// Who may ask.
    pub(crate) access: Access,
}

impl FeedsConfig {
    /// Reads all sections that the process uses, and refuses what a start would refuse. Sections of other processes are left
    /// alone.
    ///
    /// # Errors
    /// Every mistake, with file, line, key and what is allowed.
    pub fn read(document: &Document) -> Result<FeedsConfig, ConfigErrors> {
        let FeedSections { archive, feeding, objects, feeds } = FeedSections::read(document)?;
        let listen = match feeding.listen.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: String| {
                document.mistake("feeding.listen", &error, "IP:PORT, unix:PATH, or \"\"")
            }),
        };
        let listen_mode = u32::from_str_radix(&feeding.listen_mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| {
                document.mistake("feeding.listen_mode", "no permissions", "three octal digits, e.g. \"0660\"")
            });
        let log = trace::check(&archive.log)
            .map_err(|error| document.mistake("archive.log", &error, "error, warn, info, debug, trace"));
        let cursors = match std::fs::metadata(&feeding.cursors) {
            Ok(found) if !found.is_dir() => {
                let mistake = format!("{} is no directory", feeding.cursors.display());
                Err(document.mistake("feeding.cursors", &mistake, "a directory, or a path that is free"))
            }
            // It is made at the start.
            _ => Ok(()),
        };
        let listening = ConfigErrors::both(listen, listen_mode);
        let ((listen, listen_mode), _) = ConfigErrors::both(listening, ConfigErrors::both(log, cursors))?;
        let access = Access::from_document(document, listen.as_slice())?;
        Ok(FeedsConfig { archive, feeding, objects, feeds, listen, listen_mode, access })
    }
}
