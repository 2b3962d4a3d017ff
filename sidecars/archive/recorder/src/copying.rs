//! From the ring into memory: spans become blocks, gaps become losses.

use std::time::Instant;

use fep_bus::{Ledger, Poll};
use fep_segments::{BLOCK_HEADER_LEN, Loss, LossCause, SegmentError};
use serde_json::json;

use crate::buffer::BlockBuffer;
use crate::event::{Event, EventCode};
use crate::pending::{Filling, Lost, Ready};
use crate::stream::StreamRecorder;

impl StreamRecorder {
    /// Copies what is new, at most a few blocks a turn.
    pub(crate) fn copy(&mut self, now: Instant) -> Result<bool, SegmentError> {
        let mut moved = false;
        let mut budget = 4 * self.options.block_len;
        loop {
            if budget == 0 {
                return Ok(moved);
            }
            let waiting = self.queue.len() + self.in_flight.len();
            if waiting >= self.options.blocks_waiting && self.filling.is_none() {
                // No memory left: the ring keeps what it can, and what it overwrites is counted as it happens.
                if let Poll::Gap(_) = self.consumer.peek() {
                    self.note_gap(self.gap_cause(LossCause::Lapped));
                }
                return Ok(moved);
            }
            let room = self.options.block_len
                - BLOCK_HEADER_LEN
                - self.filling.as_ref().map_or(0, |block| block.len);
            match self.consumer.span(room.max(64)) {
                Poll::Record(span) => {
                    if span.len() > room && self.filling.is_some() {
                        self.retire();
                        continue;
                    }
                    if self.filling.as_ref().is_some_and(|block| block.end != span.begin) {
                        self.retire();
                        continue;
                    }
                    let block = match &mut self.filling {
                        Some(block) => block,
                        None => {
                            let buffer = self.buffer(BLOCK_HEADER_LEN + span.len());
                            self.filling.insert(Filling {
                                buffer,
                                len: 0,
                                begin: span.begin,
                                end: span.begin,
                                ledger: Ledger::default(),
                                since: now,
                            })
                        }
                    };
                    let start = BLOCK_HEADER_LEN + block.len;
                    let into = &mut block.buffer.as_mut_slice()[start..start + span.len()];
                    self.consumer.copy_span(&span, into);
                    if self.consumer.confirm(&span) {
                        block.len += span.len();
                        block.end = span.end;
                        block.ledger = self.consumer.ledger();
                        self.taken = span.end;
                        budget = budget.saturating_sub(span.len());
                        moved = true;
                    } else if block.len == 0 {
                        // Overwritten under our hands; the next look says what is missing.
                        self.discard_filling();
                    }
                }
                Poll::Gap(gap) => {
                    self.note_gap(self.gap_cause(gap.cause.into()));
                    moved = true;
                }
                Poll::Restarted { .. } => moved = true,
                Poll::Recreated => {
                    self.recreated = true;
                    self.retire();
                    self.finishing = self.segment.is_some();
                    return Ok(true);
                }
                Poll::Empty | Poll::Closed => return Ok(moved),
            }
        }
    }

    pub(crate) fn gap_cause(&self, cause: LossCause) -> LossCause {
        self.standstill().unwrap_or(cause)
    }

    pub(crate) fn note_gap(&mut self, cause: LossCause) {
        self.retire();
        let loss = Loss { from: self.taken, to: self.consumer.position(), cause };
        self.lose(loss);
    }

    pub(crate) fn lose(&mut self, loss: Loss) {
        self.taken = loss.to;
        self.held.lose(loss.from.seq);
        self.unrecorded.add(Lost::from(&loss));
        let ledger = self.consumer.ledger();
        match self.queue.back_mut() {
            Some(Ready::Loss(last, counted)) if last.to == loss.from && last.cause == loss.cause => {
                last.to = loss.to;
                *counted = ledger;
            }
            _ => {
                let detail = json!({
                    "stream": self.stream.to_string(),
                    "from_seq": loss.from.seq,
                    "to_seq": loss.to.seq,
                    "records": loss.records(),
                    "octets": loss.octets(),
                    "cause": loss.cause.name(),
                });
                self.events.push(Event::new(EventCode::RecordsLost, detail));
                self.queue.push_back(Ready::Loss(loss, ledger));
            }
        }
    }

    pub(crate) fn retire_filling(&mut self, now: Instant) {
        let due = self.filling.as_ref().is_some_and(|block| {
            block.len + BLOCK_HEADER_LEN + 64 > self.options.block_len
                || now.duration_since(block.since) >= self.options.commit_interval
        });
        if due {
            self.retire();
        }
    }

    pub(crate) fn retire(&mut self) {
        match self.filling.take() {
            Some(block) if block.len > 0 => self.queue.push_back(Ready::Block(block)),
            Some(block) => self.give_back(block.buffer),
            None => {}
        }
    }

    pub(crate) fn discard_filling(&mut self) {
        if let Some(block) = self.filling.take() {
            self.give_back(block.buffer);
        }
    }

    pub(crate) fn buffer(&mut self, len: usize) -> BlockBuffer {
        let len = len.max(self.options.block_len);
        match self.spare.pop() {
            Some(buffer) if buffer.len() >= len => buffer,
            _ => BlockBuffer::new(len),
        }
    }

    pub(crate) fn give_back(&mut self, buffer: BlockBuffer) {
        if self.spare.len() < self.options.blocks_waiting && buffer.len() >= self.options.block_len {
            self.spare.push(buffer);
        }
    }
}
