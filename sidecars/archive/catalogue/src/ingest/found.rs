//! Which segment files came: the kernel reports each name, so that nobody has to list a directory of a million files to
//! learn that nothing is new.
//!
//! A stream is listed once, when it is seen first, and again only after the kernel had to drop reports. Where the kernel
//! cannot report (no more watches for this user, a file system without them), a directory is listed when its time of
//! change is another.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fep_bus::Colour;
use fep_segments::{SegmentEntry, SegmentState, Stream};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::Error;

/// What came of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Everything in its directory has to be looked at.
    Whole(Stream),
    /// One file appeared.
    File(Stream, SegmentEntry),
    /// A file was put aside.
    Aside(Stream),
}

/// What a watched directory is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Watched {
    /// The archive: directories of colours appear in it.
    Archive,
    /// Directories of streams appear in it.
    Colour(Colour),
    /// Segments appear in it.
    Stream(Stream),
}

/// The streams below an archive and what comes of them.
pub(super) struct Found {
    archive: PathBuf,
    red: bool,
    kernel: Option<OwnedFd>,
    watches: BTreeMap<i32, Watched>,
    /// Directories without a watch, and when they had changed last.
    polled: BTreeMap<PathBuf, (Watched, Option<SystemTime>)>,
    streams: BTreeSet<Stream>,
    /// Whether the archive is watched: before it exists it cannot be.
    begun: bool,
}

const APPEARS: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO).union(WatchFlags::ONLYDIR);

impl Found {
    /// Nothing is known yet. Red streams exist only if `red`.
    pub(super) fn new(archive: &Path, red: bool) -> Found {
        let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        if let Err(error) = &kernel {
            tracing::warn!("the kernel reports no new segments ({error}): directories are looked at instead");
        }
        Found {
            archive: archive.to_owned(),
            red,
            kernel: kernel.ok(),
            watches: BTreeMap::new(),
            polled: BTreeMap::new(),
            streams: BTreeSet::new(),
            begun: false,
        }
    }

    /// Streams that are known.
    pub(super) fn streams(&self) -> &BTreeSet<Stream> {
        &self.streams
    }

    /// What came since it was asked last.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn news(&mut self) -> Result<Vec<News>, Error> {
        let mut news = Vec::new();
        if !self.begun && self.archive.is_dir() {
            self.begun = true;
            self.watch(Watched::Archive);
            self.look_for_colours(&mut news)?;
        }
        self.reports(&mut news)?;
        self.poll(&mut news)?;
        Ok(news)
    }

    /// Reads what the kernel reports.
    fn reports(&mut self, news: &mut Vec<News>) -> Result<(), Error> {
        let Some(kernel) = self.kernel.take() else { return Ok(()) };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(&kernel, &mut buffer);
        let mut appeared = Vec::new();
        let mut lost = false;
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => lost = true,
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok()).map(str::to_owned);
                    appeared.push((event.wd(), event.events(), name));
                }
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "new segments are not reported any more: directories are looked at instead");
                    for watched in std::mem::take(&mut self.watches).into_values() {
                        self.polled.insert(self.path_of(&watched), (watched, None));
                    }
                    return Ok(());
                }
            }
        }
        self.kernel = Some(kernel);
        for (watch, events, name) in appeared {
            if events.contains(ReadFlags::IGNORED) {
                // The directory is gone. One of the same name would be reported by the one above it.
                match self.watches.remove(&watch) {
                    Some(Watched::Stream(stream)) => {
                        self.streams.remove(&stream);
                    }
                    Some(Watched::Archive) => self.begun = false,
                    Some(Watched::Colour(_)) | None => {}
                }
                continue;
            }
            match (self.watches.get(&watch).cloned(), name) {
                (Some(Watched::Stream(stream)), Some(name)) => {
                    if let Some(entry) = entry_of(&self.archive, &stream, &name) {
                        news.push(News::File(stream, entry));
                    } else if name.contains(".damaged") {
                        news.push(News::Aside(stream));
                    }
                }
                (Some(Watched::Archive), Some(_)) => self.look_for_colours(news)?,
                (Some(Watched::Colour(colour)), Some(_)) => self.look_for_streams(colour, news)?,
                _ => {}
            }
        }
        if lost {
            self.look_for_colours(news)?;
            news.extend(self.streams.iter().cloned().map(News::Whole));
        }
        Ok(())
    }

    /// Looks at the directories that nobody reports of.
    fn poll(&mut self, news: &mut Vec<News>) -> Result<(), Error> {
        let changed: Vec<(PathBuf, Watched, Option<SystemTime>)> = self
            .polled
            .iter()
            .filter_map(|(path, (watched, known))| {
                let now = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
                (now != *known).then(|| (path.clone(), watched.clone(), now))
            })
            .collect();
        for (path, watched, now) in changed {
            // A file that comes in the same tick of the clock would not change the time again: such a time is not believed.
            let settled = now.filter(|now| now.elapsed().is_ok_and(|age| age.as_millis() > 100));
            self.polled.insert(path, (watched.clone(), settled));
            match watched {
                Watched::Archive => self.look_for_colours(news)?,
                Watched::Colour(colour) => self.look_for_streams(colour, news)?,
                Watched::Stream(stream) => news.push(News::Whole(stream)),
            }
        }
        Ok(())
    }

    fn look_for_colours(&mut self, news: &mut Vec<News>) -> Result<(), Error> {
        for colour in [Colour::Black, Colour::Red] {
            if (self.red || colour == Colour::Black) && self.archive.join(colour.directory()).is_dir() {
                self.watch(Watched::Colour(colour));
                self.look_for_streams(colour, news)?;
            }
        }
        Ok(())
    }

    fn look_for_streams(&mut self, colour: Colour, news: &mut Vec<News>) -> Result<(), Error> {
        let found = fep_segments::streams(&self.archive)?;
        for stream in found.into_iter().filter(|stream| stream.colour == colour) {
            if self.streams.insert(stream.clone()) {
                // Watched first, listed then: what comes in between is seen twice, never not at all.
                self.watch(Watched::Stream(stream.clone()));
                news.push(News::Whole(stream));
            }
        }
        Ok(())
    }

    fn watch(&mut self, watched: Watched) {
        let path = self.path_of(&watched);
        let watch = self.kernel.as_ref().map(|kernel| inotify::add_watch(kernel, &path, APPEARS));
        match watch {
            Some(Ok(watch)) => {
                self.watches.insert(watch, watched);
            }
            Some(Err(error)) => {
                tracing::warn!("{} is not watched ({error}): it is looked at instead", path.display());
                self.polled.entry(path).or_insert((watched, None));
            }
            None => {
                self.polled.entry(path).or_insert((watched, None));
            }
        }
    }

    fn path_of(&self, watched: &Watched) -> PathBuf {
        match watched {
            Watched::Archive => self.archive.clone(),
            Watched::Colour(colour) => self.archive.join(colour.directory()),
            Watched::Stream(stream) => stream.directory(&self.archive),
        }
    }
}

/// The segment that a file of this name is, if it is one.
fn entry_of(archive: &Path, stream: &Stream, file: &str) -> Option<SegmentEntry> {
    let (stem, extension) = file.split_once('.')?;
    let state = match extension {
        "open" => SegmentState::Open,
        "seg" => SegmentState::Sealed,
        "gone" => SegmentState::Removed,
        _ => return None,
    };
    Some(SegmentEntry { name: stem.parse().ok()?, state, path: stream.directory(archive).join(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "0000000000000001-0000000000000000";

    /// With the kernel's reports, and without.
    fn both(archive: &Path, red: bool) -> [Found; 2] {
        let mut polling = Found::new(archive, red);
        polling.kernel = None;
        [Found::new(archive, red), polling]
    }

    /// Asks until it has an answer: a directory that changed just now is looked at a second time.
    fn news_of(found: &mut Found) -> Vec<News> {
        found.news().expect("it can be read")
    }

    // REQ: FEP-ARC-409
    #[test]
    fn every_stream_and_segment_is_reported_whenever_it_appears_and_nothing_while_nothing_comes() {
        let directory = tempfile::tempdir().expect("a directory");
        let archive = directory.path().join("archive");
        for mut found in both(&archive, false) {
            assert_eq!(news_of(&mut found), [], "an archive that does not exist yet has nothing");
            let stream = Stream::new(Colour::Black, "a.frames");
            std::fs::create_dir_all(stream.directory(&archive)).expect("made");
            std::fs::create_dir_all(archive.join("red/a.red.frames")).expect("made");
            let mut seen = news_of(&mut found);
            seen.dedup();
            assert_eq!(seen, [News::Whole(stream.clone())], "red does not exist here");
            let later = Stream::new(Colour::Black, "b.frames");
            std::fs::create_dir(later.directory(&archive)).expect("made");
            assert!(news_of(&mut found).contains(&News::Whole(later.clone())));
            let open = later.directory(&archive).join(format!("{FILE}.open"));
            std::fs::write(&open, "").expect("written");
            std::fs::write(later.directory(&archive).join("notes.txt"), "").expect("written");
            std::fs::rename(&open, open.with_extension("seg")).expect("renamed");
            let reported = news_of(&mut found);
            let entry = |state, end: &str| {
                let path = later.directory(&archive).join(format!("{FILE}.{end}"));
                News::File(later.clone(), SegmentEntry { name: FILE.parse().expect("a name"), state, path })
            };
            let expected = if found.kernel.is_some() {
                vec![entry(SegmentState::Open, "open"), entry(SegmentState::Sealed, "seg")]
            } else {
                vec![News::Whole(later.clone())]
            };
            assert!(expected.iter().all(|expected| reported.contains(expected)), "{reported:?}");
            std::thread::sleep(std::time::Duration::from_millis(150));
            news_of(&mut found);
            assert_eq!(news_of(&mut found), [], "nothing came");
            assert_eq!(found.streams().len(), 2);
            std::fs::remove_dir_all(&archive).expect("removed");
        }
    }
}
