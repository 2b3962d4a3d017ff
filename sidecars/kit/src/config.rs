//! The file that the processes of the archive share (`config/archive.toml`), read as [`fep_config`] reads sections.

/// Sections of the common file of the archive's processes (`config/archive.toml`): the recorder, the service, the feeds.
pub const ARCHIVE_SECTIONS: [&str; 12] = [
    "archive",
    "http",
    "store",
    "sql",
    "replay",
    "retention",
    "missions",
    "users",
    "identity",
    "recorder",
    "feeding",
    "feeds",
];
