//! What one client gets, octet for octet, and where it stands. Sans-I/O: records come in by a call, octets go out by
//! appending, confirmations come in as numbers.

use std::sync::Arc;

use fep_bus::Record;
use fep_record::Session;
use fep_segments::Place;

use crate::cursor::{STRIDE, Stand};
use crate::ledger::{Ledger, Lost};
use crate::window::Window;
use fep_feed_wire::control::{FromFeed, SourcePlace, to_json};
use fep_feed_wire::filter::Filter;
use fep_feed_wire::spec::Form;
use fep_feed_wire::wire::{RecordHead, encode_control, encode_record};

/// Records that may be on their way at a time; with more the client is waited for.
pub(crate) const ON_THE_WAY_MAX: usize = 1 << 16;

/// How records become octets, and which.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) session: Session,
    pub(crate) form: Form,
    /// Raw streams of frames: the only length that can be sent.
    pub(crate) record_len: Option<u32>,
    /// Longest record, with its head on framed feeds: what a datagram holds.
    pub(crate) message_max: usize,
    /// The feed's filter and the client's own.
    pub(crate) filters: [Filter; 2],
    /// What of it the client's scopes reach, where that is not everything.
    pub(crate) scope: Option<Filter>,
    /// What confirms: acknowledgements by number, or octets that the peer has.
    pub(crate) acknowledge: bool,
}

/// One connection's worth of delivery.
pub(crate) struct Delivery {
    terms: Terms,
    ledger: Arc<Ledger>,
    window: Window<Place>,
    /// In each source: records before this one may have been sent on an earlier connection.
    repeated_before: Vec<(u64, u64)>,
    /// In each source: the bound that the cursor file holds.
    bound: Vec<u64>,
    /// In each source: whether the client was last told that it is live.
    live: Vec<Option<bool>>,
    number: u64,
    octets: u64,
    /// Payload octets of the record encoded last, and whether it was marked as repeated.
    last: Option<(usize, bool)>,
}

impl Delivery {
    /// For a client that stands there.
    pub(crate) fn new(terms: Terms, ledger: Arc<Ledger>, stands: &[Stand]) -> Delivery {
        Delivery {
            terms,
            ledger,
            window: Window::new(stands.iter().map(Stand::place).collect()),
            repeated_before: stands.iter().map(|stand| (stand.series, stand.sent_before_seq)).collect(),
            bound: stands.iter().map(|stand| stand.sent_before_seq).collect(),
            live: vec![None; stands.len()],
            number: 0,
            octets: 0,
            last: None,
        }
    }

    /// The greeting of a framed feed.
    pub(crate) fn welcome(&mut self, feed: &str, client: &str, rings: &[String], out: &mut Vec<u8>) {
        let sources = rings.iter().zip(self.window.read()).zip(&self.repeated_before);
        let said = FromFeed::Welcome {
            protocol: fep_feed_wire::control::PROTOCOL,
            feed: feed.to_owned(),
            client: client.to_owned(),
            session: self.terms.session,
            sources: sources
                .map(|((ring, place), (series, sent_before_seq))| SourcePlace {
                    ring: ring.clone(),
                    series: place.series,
                    next_seq: place.position.seq,
                    sent_before_seq: if *series == place.series { *sent_before_seq } else { 0 },
                })
                .collect(),
        };
        self.say(&said, out);
    }

    /// A control message; nothing on raw feeds, which have none.
    pub(crate) fn say(&mut self, said: &FromFeed, out: &mut Vec<u8>) {
        if self.terms.form == Form::Framed {
            self.last = None;
            let before = out.len();
            encode_control(&to_json(said), out);
            self.octets += (out.len() - before) as u64;
        }
    }

    /// Tells the client when a source has become live, or is no longer, or counts anew. Before a source counts anew
    /// everything must be confirmed, so that a cursor never has to name two numberings.
    pub(crate) fn state(&mut self, source: u16, live: bool, place: Place, out: &mut Vec<u8>) {
        let known = &mut self.live[usize::from(source)];
        let renumbered = self.window.read()[usize::from(source)].series != place.series;
        if *known != Some(live) || renumbered {
            *known = Some(live);
            if renumbered {
                self.bound[usize::from(source)] = 0;
                self.window.passed(source, place);
            }
            let (series, next_seq) = (place.series, place.position.seq);
            self.say(&FromFeed::State { source, live, series, next_seq }, out);
        }
    }

    /// A record of a source; `after` is the place behind it. Appends what is to be sent, if anything.
    pub(crate) fn record(
        &mut self,
        source: u16,
        live: bool,
        record: &Record,
        payload: &[u8],
        after: Place,
        out: &mut Vec<u8>,
    ) {
        let [of_feed, of_client] = &self.terms.filters;
        let wanted = of_feed.judge_both(of_client, self.terms.session, &record.tag);
        let reached = || {
            let scope = self.terms.scope.as_ref();
            scope.map_or(Ok(()), |scope| scope.judge(self.terms.session, &record.tag))
        };
        if let Err(why) = wanted.and_then(|()| reached()) {
            self.ledger.filtered(why);
            self.window.passed(source, after);
            return;
        }
        let head_len = if self.terms.form == Form::Framed { fep_feed_wire::wire::RECORD_HEAD_LEN } else { 0 };
        let of_length = self.terms.record_len.is_none_or(|len| len as usize == payload.len());
        if !of_length || head_len + payload.len() > self.terms.message_max {
            self.lost(source, record.seq, record.seq + 1, Lost::Length, after, out);
            return;
        }
        let (series, sent_before_seq) = self.repeated_before[usize::from(source)];
        let repeated = series == after.series && record.seq < sent_before_seq;
        let before = out.len();
        self.number += 1;
        match self.terms.form {
            Form::Raw => out.extend_from_slice(payload),
            Form::Framed => {
                let (number, seq, tag) = (self.number, record.seq, record.tag);
                encode_record(&RecordHead { number, source, seq, repeated, live, tag }, payload, out);
            }
        }
        self.octets += (out.len() - before) as u64;
        self.ledger.sent(payload.len(), repeated);
        self.last = Some((payload.len(), repeated));
        let mark = if self.terms.acknowledge { self.number } else { self.octets };
        self.window.sent(source, after, mark);
    }

    /// Records that cannot be had; told in their place.
    pub(crate) fn lost(
        &mut self,
        source: u16,
        from_seq: u64,
        to_seq: u64,
        reason: Lost,
        after: Place,
        out: &mut Vec<u8>,
    ) {
        self.ledger.lost(reason, to_seq.saturating_sub(from_seq));
        self.say(&FromFeed::Lost { source, from_seq, to_seq, reason }, out);
        self.window.passed(source, after);
    }

    /// The record that was encoded last was not taken by the system after all, and will not be sent again.
    pub(crate) fn refused(&mut self) {
        if let Some((octets, repeated)) = self.last.take() {
            self.ledger.refused(octets, repeated);
        }
    }

    /// The client acknowledges up to this number.
    ///
    /// # Errors
    /// What is wrong with that.
    pub(crate) fn acknowledged(&mut self, number: u64) -> Result<(), String> {
        if !self.terms.acknowledge {
            return Err("an acknowledgement, though the hello said that none would come".to_owned());
        }
        self.window
            .confirm(number)
            .map_err(|last| format!("acknowledgement of record {number}, {last} is the last one sent"))
    }

    /// The peer has these octets of the connection. Means nothing to a client that acknowledges.
    pub(crate) fn arrived(&mut self, octets: u64) {
        if !self.terms.acknowledge {
            // More than records' octets have arrived when the last message was a control message.
            let _ = self.window.confirm(octets.min(self.window.last_mark()));
        }
    }

    /// Whether more may be put on its way.
    pub(crate) fn has_room(&self) -> bool {
        self.window.len() < ON_THE_WAY_MAX
    }

    /// Records on their way.
    pub(crate) fn on_the_way(&self) -> usize {
        self.window.len()
    }

    /// Where the client stands, to be stored. While it is connected the bound lies ahead of what was sent.
    pub(crate) fn stands(&self) -> Vec<Stand> {
        self.window
            .confirmed()
            .iter()
            .zip(&self.bound)
            .map(|(place, bound)| Stand::new(*place, *bound))
            .collect()
    }

    /// Where the client stands when nothing more will be sent: the bound is exact.
    pub(crate) fn final_stands(&self) -> Vec<Stand> {
        let places = self.window.confirmed().iter().zip(self.window.read());
        places
            .zip(&self.repeated_before)
            .map(|((confirmed, read), (series, before))| {
                // What may have been sent by an earlier connection stays so until this one has passed it.
                let earlier = if *series == confirmed.series { *before } else { 0 };
                Stand::new(*confirmed, read.position.seq.max(earlier))
            })
            .collect()
    }

    /// Whether a record of a source may be sent with the bound as stored; if not, the bound is raised and the cursor must be
    /// stored before anything is sent.
    pub(crate) fn must_store_before(&mut self, source: u16, seq: u64) -> bool {
        let bound = &mut self.bound[usize::from(source)];
        if seq < *bound {
            return false;
        }
        *bound = seq + STRIDE;
        true
    }
}
