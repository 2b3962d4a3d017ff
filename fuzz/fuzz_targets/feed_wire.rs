//! Any octets in any pieces, as a feed and as a client receive them: the same messages as in one piece, each of which can be
//! sent on and says the same again; or an error that stays.
#![no_main]

use arbitrary::Arbitrary;
use fep_feed_wire::control::{FromClient, FromFeed};
use fep_feed_wire::wire::{
    CLIENT_MESSAGE_MAX, Decoder, MESSAGE_MAX, Message, RecordHead, WireError, encode_acknowledgement,
    encode_control, encode_record, parse,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Sent {
    /// A message of this type with this body.
    Message { kind: u8, body: Vec<u8> },
    Hello { client: String, start: Option<bool>, acknowledge: bool, filter: String },
    Acknowledgement(u64),
    Octets(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Input {
    sent: Vec<Sent>,
    /// Length of each piece that arrives.
    pieces: Vec<u16>,
}

/// A message that outlives the decoder.
#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Record(RecordHead, Vec<u8>),
    Control(Vec<u8>),
    Acknowledgement(u64),
}

fn owned(message: Message<'_>) -> Owned {
    match message {
        Message::Record(head, payload) => Owned::Record(head, payload.to_vec()),
        Message::Control(json) => Owned::Control(json.to_vec()),
        Message::Acknowledgement(number) => Owned::Acknowledgement(number),
    }
}

fn octets_of(sent: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    for sent in sent {
        match sent {
            Sent::Message { kind, body } => {
                out.extend_from_slice(&(4 + body.len() as u32).to_be_bytes());
                out.extend_from_slice(&[*kind, 0, 0, 0]);
                out.extend_from_slice(body);
            }
            Sent::Hello { client, start, acknowledge, filter } => {
                let start = start.map_or("null", |oldest| if oldest { "\"oldest\"" } else { "\"live\"" });
                let hello = format!(
                    "{{\"say\":\"hello\",\"protocol\":1,\"client\":{client:?},\"start\":{start},\
                     \"acknowledge\":{acknowledge},\"filter\":{{{filter}}}}}"
                );
                encode_control(hello.as_bytes(), &mut out);
            }
            Sent::Acknowledgement(number) => encode_acknowledgement(*number, &mut out),
            Sent::Octets(octets) => out.extend_from_slice(octets),
        }
    }
    out
}

/// All messages of a stream that arrives in these pieces, and what ended it.
fn decode<'o>(pieces: impl Iterator<Item = &'o [u8]>, max: usize) -> (Vec<Owned>, Option<WireError>) {
    let (mut decoder, mut messages) = (Decoder::new(max), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(owned(message)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_message(), Err(error.clone()), "it stays so");
                    return (messages, Some(error));
                }
            }
        }
    }
    (messages, None)
}

fuzz_target!(|input: Input| {
    let octets = octets_of(&input.sent);
    let mut pieces = Vec::new();
    let mut rest = &octets[..];
    for len in &input.pieces {
        let (piece, behind) = rest.split_at(usize::from(*len).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    for max in [MESSAGE_MAX, CLIENT_MESSAGE_MAX] {
        let whole = decode(std::iter::once(&octets[..]), max);
        assert_eq!(decode(pieces.iter().copied(), max), whole);
        for message in &whole.0 {
            let mut again = Vec::new();
            match message {
                Owned::Record(head, payload) => encode_record(head, payload, &mut again),
                Owned::Control(json) => encode_control(json, &mut again),
                Owned::Acknowledgement(number) => encode_acknowledgement(*number, &mut again),
            }
            assert_eq!(parse(&again).map(owned).as_ref(), Ok(message));
            let Owned::Control(json) = message else { continue };
            if let Ok(said) = serde_json::from_slice::<FromClient>(json) {
                let text = serde_json::to_vec(&said).expect("numbers, texts and lists");
                assert_eq!(serde_json::from_slice::<FromClient>(&text).ok(), Some(said));
            }
            if let Ok(said) = serde_json::from_slice::<FromFeed>(json) {
                let text = serde_json::to_vec(&said).expect("numbers, texts and lists");
                assert_eq!(serde_json::from_slice::<FromFeed>(&text).ok(), Some(said));
            }
        }
    }
});
