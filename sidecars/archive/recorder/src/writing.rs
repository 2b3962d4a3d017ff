//! From memory to the disk: blocks into segments, commits, and the cursor behind them.

use std::sync::Arc;
use std::time::Instant;

use fep_bus::{Position, Record};
use fep_segments::{BLOCK_HEADER_LEN, BlockBuilder, Loss, LossCause, PAGE_LEN, SegmentHeader, SegmentName};
use fep_time::clock::unix_now_ns;
use fep_time::tai_now;
use serde_json::json;

use crate::buffer::BlockBuffer;
use crate::disk::{Disk, Done};
use crate::event::{Event, EventCode};
use crate::naming::unused;
use crate::opening::random_id;
use crate::pending::{Filling, InFlight, Lost, Ready, Room, Standstill, Uncommitted};
use crate::sealer::SealJob;
use crate::segment::{OpenSegment, is_full};
use crate::stream::StreamRecorder;

/// Number of the completion that is a commit; blocks count from 1.
const COMMIT: u32 = 0;
/// Blocks of one segment. Their headers stay in memory until it is sealed: 4.5 MB.
pub(crate) const BLOCKS_MAX: usize = 1 << 15;

impl StreamRecorder {
    /// Takes a completion.
    pub fn done(&mut self, done: Done) {
        let number = done.token as u32;
        if let Some(buffer) = done.buffer {
            self.give_back(buffer);
        }
        if (done.token >> 32) as u16 != self.opening {
            return;
        }
        if number == COMMIT {
            if let Err(error) = done.result {
                self.committing = None;
                self.fail_io("commit", &error);
            }
            if let Some(committed) = self.committing.take_if(|group| {
                group.requests -= 1;
                group.requests == 0
            }) {
                self.committed(committed);
            }
            return;
        }
        if let Err(error) = done.result {
            self.in_flight.retain(|block| block.number != number);
            self.fail_io("write", &error);
            return;
        }
        if let Some(block) = self.in_flight.iter_mut().find(|block| block.number == number) {
            block.written = true;
        }
        while let Some(block) = self.in_flight.pop_front_if(|block| block.written) {
            match self.uncommitted.back_mut().filter(|group| Arc::ptr_eq(&group.file, &block.file)) {
                Some(group) => group.add(block),
                None => self.uncommitted.push_back(Uncommitted::begin(block, Instant::now())),
            }
        }
    }

    fn committed(&mut self, committed: Uncommitted) {
        let now = tai_now().0;
        for published in &committed.published_tai_ns {
            let latency = u64::try_from(now.saturating_sub(*published)).unwrap_or(0);
            self.figures.durable_latency_ns.saturating_record(latency);
            self.figures.latency_max_ns = self.figures.latency_max_ns.max(latency);
        }
        self.figures.records += committed.published_tai_ns.len() as u64;
        self.figures.lost_records += committed.lost.records;
        self.figures.lost_octets += committed.lost.octets;
        self.unrecorded.records = self.unrecorded.records.saturating_sub(committed.lost.records);
        self.unrecorded.octets = self.unrecorded.octets.saturating_sub(committed.lost.octets);
        self.figures.octets += committed.octets;
        self.figures.commits += 1;
        // The end of an earlier segment may be committed when the next one already finds no room.
        let is_current =
            self.segment.as_ref().is_some_and(|segment| Arc::ptr_eq(&segment.file, &committed.file));
        if is_current && self.standstill.take().is_some() {
            let detail = json!({"stream": self.stream.to_string()});
            self.events.push(Event::new(EventCode::DiskRecovered, detail));
        }
        self.durable = committed.end;
        self.ledger = committed.ledger;
        self.consumer.set_durable(committed.end, committed.ledger);
        if let Err(error) = self.consumer.store_cursor() {
            self.fail(LossCause::DiskError, error.to_string());
        }
    }

    /// Hands complete blocks to the disk as long as the segment has room.
    pub(crate) fn write(&mut self, now: Instant, disk: &mut Disk, room: Room) -> bool {
        let mut moved = false;
        while let Some(ready) = self.queue.front() {
            let len = match ready {
                Ready::Block(block) => (BLOCK_HEADER_LEN + block.len).next_multiple_of(PAGE_LEN),
                Ready::Loss(..) => PAGE_LEN,
            };
            if let Some(segment) = &self.segment {
                let full = segment.blocks.len() >= BLOCKS_MAX
                    || (segment.offset + len as u64 > self.options.segment_len && !segment.blocks.is_empty());
                self.finishing |= full || now.duration_since(segment.begun) >= self.options.seal_after;
            }
            self.finish_segment(now);
            if self.finishing || (self.segment.is_none() && !self.begin_segment(now, room)) {
                break;
            }
            if let Some(ready) = self.queue.pop_front() {
                self.hand_over(ready, disk);
                moved = true;
            }
            if self.failed.is_some() {
                break;
            }
        }
        moved
    }

    fn hand_over(&mut self, ready: Ready, disk: &mut Disk) {
        let Some(segment) = &mut self.segment else { return };
        let builder =
            BlockBuilder { id: segment.header.id, offset: segment.offset, written_unix_ns: unix_now_ns() };
        let mut published_tai_ns = Vec::new();
        let (header, buffer, ledger) = match ready {
            Ready::Block(Filling { mut buffer, len: content_len, begin, end, ledger, .. }) => {
                let seen = |record: &Record| published_tai_ns.push(record.tag.published.0);
                match builder.records(buffer.as_mut_slice(), content_len, begin, end, seen) {
                    Ok(header) => (header, buffer, ledger),
                    // A confirmed span does not hold together: only a damaged ring does that.
                    Err(_) => {
                        let loss = Loss { from: begin, to: end, cause: LossCause::CorruptRing };
                        self.unrecorded.add(Lost::from(&loss));
                        self.held.lose(begin.seq);
                        (builder.loss(buffer.as_mut_slice(), &loss), buffer, ledger)
                    }
                }
            }
            Ready::Loss(loss, ledger) => {
                let mut buffer = self.spare.pop().unwrap_or_else(|| BlockBuffer::new(PAGE_LEN));
                (builder.loss(buffer.as_mut_slice(), &loss), buffer, ledger)
            }
        };
        let lost = header.loss().map_or(Lost::default(), |loss| Lost::from(&loss));
        if header.loss().is_some() {
            published_tai_ns.clear();
        }
        let len = header.file_len() as usize;
        let offset = segment.offset;
        segment.add(header, &buffer.as_slice()[..len]);
        let (file, directory) = (Arc::clone(&segment.file), segment.directory.take());
        let number = self.next_number;
        self.next_number = number.checked_add(1).unwrap_or(1);
        self.in_flight.push_back(InFlight {
            number,
            file: Arc::clone(&file),
            directory,
            end: header.end,
            ledger,
            octets: len as u64,
            published_tai_ns,
            lost,
            written: false,
        });
        disk.write(self.token(number), &file, buffer, len, offset);
    }

    fn token(&self, number: u32) -> u64 {
        u64::from(self.index) << 48 | u64::from(self.opening) << 32 | u64::from(number)
    }

    fn begin_segment(&mut self, now: Instant, room: Room) -> bool {
        if self.standstill.is_some_and(|standstill| now < standstill.retry_at) {
            return false;
        }
        match room {
            Room::Free => {}
            Room::AfterAnother => {
                self.refuse(now, LossCause::DiskFull, "another ring has waited longer for room");
                // As soon as it is this ring's turn.
                self.standstill = self.standstill.map(|waiting| Standstill { retry_at: now, ..waiting });
                return false;
            }
            Room::Critical => {
                self.refuse(now, LossCause::DiskFull, "under the critical level");
                return false;
            }
        }
        let base = match self.queue.front() {
            Some(Ready::Block(block)) => block.begin,
            Some(Ready::Loss(loss, _)) => loss.from,
            None => return false,
        };
        let wanted = SegmentName { series: self.series, base_pos: base.pos };
        let name = match unused(&self.options.archive, &self.stream, wanted, self.previous, &self.empty) {
            Ok(Some(name)) => name,
            Ok(None) => {
                self.fail(LossCause::DiskError, "no name is left for a segment of this ring".to_owned());
                return false;
            }
            Err(error) => {
                self.fail(LossCause::DiskError, error.to_string());
                return false;
            }
        };
        if name.series != self.series {
            self.series = name.series;
            let detail =
                json!({"stream": self.stream.to_string(), "series": format!("{:016x}", name.series)});
            self.events.push(Event::new(EventCode::SeriesStarted, detail));
        }
        let name_base = Position { pos: name.base_pos, ..base };
        let header = SegmentHeader {
            stream: self.stream.clone(),
            schema: self.schema.clone(),
            id: random_id(),
            instance: self.consumer.instance(),
            series: self.series,
            base: name_base,
            created_unix_ns: unix_now_ns(),
            previous: self.previous,
        };
        let path = self.stream.directory(&self.options.archive).join(name.open_file());
        match OpenSegment::create(path, header, self.options.segment_len, self.options.direct) {
            Ok((segment, kind)) => {
                if self.figures.segments == 0 {
                    tracing::info!(
                        stream = %self.stream, direct = kind.direct, allocated_ahead = kind.allocated,
                        "first segment begun"
                    );
                }
                self.figures.segments += 1;
                self.previous = Some(name);
                for path in self.empty.drain(..).filter(|path| *path != segment.path) {
                    if let Err(error) = std::fs::remove_file(&path) {
                        tracing::warn!("cannot remove the empty segment {}: {error}", path.display());
                    }
                }
                self.segment = Some(segment);
                if name_base != base {
                    let step = Loss { from: name_base, to: base, cause: LossCause::DiskError };
                    self.queue.push_front(Ready::Loss(step, self.ledger));
                }
                // It has had its turn, even if the segment is full before anything in it is committed.
                self.standstill = self.standstill.map(|waited| Standstill { since: now, ..waited });
                true
            }
            Err(error) if is_full(&error) => {
                self.refuse(now, LossCause::DiskFull, &error.to_string());
                false
            }
            Err(error) => {
                self.fail_io("begin a segment", &error);
                false
            }
        }
    }

    /// Nothing can be written, for this cause: told once until it is over or becomes another.
    pub(crate) fn refuse(&mut self, now: Instant, cause: LossCause, reason: &str) {
        if self.standstill.is_none_or(|before| before.cause != cause) {
            let code = if cause == LossCause::DiskFull { EventCode::DiskFull } else { EventCode::DiskError };
            let detail = json!({"stream": self.stream.to_string(), "reason": reason});
            self.events.push(Event::new(code, detail));
        }
        self.standstill = Some(Standstill::refused(self.standstill, cause, now));
    }

    /// Begins to commit what was written, segment by segment in order.
    pub(crate) fn commit(&mut self, now: Instant, disk: &mut Disk) {
        if self.committing.is_some() {
            return;
        }
        // Blocks come full or old, and while one commit is under way the next group comes together: what has been written waits
        // only for a moment, while more is on its way and the group is small.
        let last_of_its_segment = self.uncommitted.len() > 1;
        let due = |group: &mut Uncommitted| {
            last_of_its_segment
                || self.in_flight.is_empty()
                || group.octets >= self.options.commit_len
                || now.duration_since(group.since) >= self.options.commit_interval / 4
        };
        let Some(mut group) = self.uncommitted.pop_front_if(due) else { return };
        group.requests = 1;
        disk.commit(self.token(COMMIT), &group.file);
        if let Some(directory) = group.directory.take() {
            group.requests += 1;
            disk.commit_names(self.token(COMMIT), &directory);
        }
        self.committing = Some(group);
    }

    /// Leaves a segment that is full or old as soon as its last block is written, so that the next can be begun; it is handed
    /// to be sealed when all of it is committed.
    pub(crate) fn finish_segment(&mut self, now: Instant) {
        let old = self.segment.as_ref().is_some_and(|segment| {
            !segment.blocks.is_empty() && now.duration_since(segment.begun) >= self.options.seal_after
        });
        self.finishing |= old;
        // Not before: who follows the segments takes one for complete when there is a newer one.
        if self.finishing && self.in_flight.is_empty() {
            self.finishing = false;
            self.finished.extend(self.segment.take());
        }
        let uncommitted =
            self.committing.iter().chain(&self.uncommitted).map(|group| Arc::as_ptr(&group.file));
        let uncommitted: Vec<_> = uncommitted.collect();
        while let Some(segment) =
            self.finished.pop_front_if(|segment| !uncommitted.contains(&Arc::as_ptr(&segment.file)))
        {
            self.held.jobs.push(SealJob::finished(segment));
        }
    }
}
