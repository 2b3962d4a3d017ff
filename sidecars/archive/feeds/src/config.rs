//! Everything that a start of the process needs of the configuration; `--check` reads the same.

use std::collections::BTreeMap;

use fep_feed_wire::FeedSections;
use fep_feed_wire::spec::{Archive, FeedSpec, Feeding, IsPresent};
use fep_identity::VerifyingConfig;
use fep_kit::{ConfigErrors, Document, trace};
use fep_route::DoorConfig;

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
    /// Section `[identity]`: who clients and callers are.
    pub(crate) identity: VerifyingConfig,
    /// Where status and orders are served.
    pub(crate) door: Option<DoorConfig>,
}

impl FeedsConfig {
    /// Reads all sections that the process uses, and refuses what a start would refuse. Sections of other processes are left
    /// alone.
    ///
    /// # Errors
    /// Every mistake, with file, line, key and what is allowed.
    pub fn read(document: &Document) -> Result<FeedsConfig, ConfigErrors> {
        let before: IsPresent = document.section("users")?;
        if before.0 {
            let mistake = "users are not configured here any more: a caller shows a ticket of fep-identity, or is a known peer";
            let allowed = "nothing; [identity] says where the public keys of tickets are, [identity.peers.NAME] knows a \
                           service by its uid or certificate (docs/services/identity.md)";
            return Err(document.mistake("users", mistake, allowed));
        }
        let FeedSections { archive, feeding, objects, feeds } = FeedSections::read(document)?;
        let identity: VerifyingConfig = document.section("identity")?;
        let peers = identity.check().map_err(|mistake| {
            document.mistake(&format!("identity.{}", mistake.key), &mistake.message, &mistake.allowed)
        });
        let listen_mode = u32::from_str_radix(&feeding.listen_mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| {
                document.mistake("feeding.listen_mode", "no permissions", "three octal digits, e.g. \"0660\"")
            });
        let door = Some(DoorConfig::at(&feeding.listen)).filter(|_| !feeding.listen.is_empty());
        let is_good = door.as_ref().map_or(Ok(()), |door| match door.check() {
            Ok(_) => Ok(()),
            Err(error) => {
                let allowed = "a loopback IP:PORT, unix:PATH, or \"\"";
                Err(document.mistake("feeding.listen", &error.to_string(), allowed))
            }
        });
        let log = trace::check(&archive.log)
            // The error says what is allowed.
            .map_err(|error| document.mistake("archive.log", &error, ""));
        let cursors = match std::fs::metadata(&feeding.cursors) {
            Ok(found) if !found.is_dir() => {
                let mistake = format!("{} is no directory", feeding.cursors.display());
                Err(document.mistake("feeding.cursors", &mistake, "a directory, or a path that is free"))
            }
            // It is made at the start.
            _ => Ok(()),
        };
        let listening = ConfigErrors::both(listen_mode, is_good);
        let others = ConfigErrors::both(peers, ConfigErrors::both(log, cursors));
        let ((unix_mode, ()), _) = ConfigErrors::both(listening, others)?;
        let door = door.map(|door| DoorConfig { unix_mode, ..door });
        Ok(FeedsConfig { archive, feeding, objects, feeds, identity, door })
    }

    /// What keeps a feed from running, though the process starts: its certificate, key or authority cannot be used. It is tried
    /// again until they can.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let ill = self.feeds.iter().filter_map(|(name, spec)| {
            let why = crate::feed::certificates(spec).err()?;
            Some(format!("note: feeds.{name} does not run before this is mended: {why}"))
        });
        ill.collect()
    }
}
