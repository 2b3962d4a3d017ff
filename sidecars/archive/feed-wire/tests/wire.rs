//! Messages of feeds: their layout as `docs/feeds.md` has it, and a decoder that nothing can upset.

use fep_bus::Tag;
use fep_ccsds::Gvcid;
use fep_feed_wire::wire::{
    CLIENT_MESSAGE_MAX, Decoder, MESSAGE_MAX, Message, RecordHead, WireError, encode_acknowledgement,
    encode_control, encode_record, parse,
};
use fep_record::{BadReason, FrameFlags, FrameRecord, KIND_FRAME, Session};
use fep_time::Tai;
use proptest::prelude::*;

// REQ: FEP-FEED-014
#[test]
fn a_record_lies_on_the_wire_as_the_page_says() {
    let (flags, words) = FrameRecord {
        gvcid: Gvcid { tfvn: 1, scid: 0x2345, vcid: 0x3F },
        frame_count: 0x89AB_CDEF,
        flags: FrameFlags::CORRECTED,
        link_id: 0x1122,
        session: Session::Test,
        marker_bit_errors: 0x33,
        symbols_corrected: 0x4455,
        codewords_failed: 0x66,
        reason: BadReason::FecfFailed,
    }
    .to_words();
    let tag =
        Tag { kind: KIND_FRAME, flags, received: Tai(0x0102_0304_0506_0708), published: Tai(-1), words };
    let head =
        RecordHead { number: 7, source: 0x0A0B, seq: 0x1112_1314_1516_1718, repeated: true, live: true, tag };
    let mut message = Vec::new();
    encode_record(&head, b"frame", &mut message);
    let expected: Vec<u8> = [
        &[0, 0, 0, 65][..],        // 64 + 5 octets, without the length itself
        &[1, 0b11, 0x0A, 0x0B],    // record, repeated and live, source
        &[0, 0, 0, 0, 0, 0, 0, 7], // number
        &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
        &[1, 2, 3, 4, 5, 6, 7, 8],                         // reception
        &[0xFF; 8],                                        // publication
        &[0, 1, 0, 1, 0, 0, 0, 0],                         // kind, flags
        &[0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x3F, 0x23, 0x45], // count, version, virtual channel, spacecraft
        &[0x02, 0x66, 0x44, 0x55, 0x33, 0x01, 0x11, 0x22], // reason, codewords, symbols, marker, session, link
        b"frame",
    ]
    .concat();
    assert_eq!(message, expected);
    assert_eq!(parse(&message), Ok(Message::Record(head, b"frame")));
    let mut message = Vec::new();
    encode_control(b"{}", &mut message);
    assert_eq!(message, [0, 0, 0, 6, 2, 0, 0, 0, b'{', b'}']);
    let mut message = Vec::new();
    encode_acknowledgement(258, &mut message);
    assert_eq!(message, [0, 0, 0, 12, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
}

#[derive(Debug, Clone, PartialEq)]
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

fn head() -> impl Strategy<Value = RecordHead> {
    let tag = (any::<u16>(), any::<u16>(), any::<i64>(), any::<i64>(), any::<[u64; 2]>()).prop_map(
        |(kind, flags, rx_tai_ns, pub_tai_ns, words)| Tag {
            kind,
            flags,
            received: Tai(rx_tai_ns),
            published: Tai(pub_tai_ns),
            words,
        },
    );
    (any::<u64>(), any::<u16>(), any::<u64>(), any::<bool>(), any::<bool>(), tag).prop_map(
        |(number, source, seq, repeated, live, tag)| RecordHead { number, source, seq, repeated, live, tag },
    )
}

fn message() -> impl Strategy<Value = Owned> {
    let octets = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        (head(), octets()).prop_map(|(head, payload)| Owned::Record(head, payload)),
        octets().prop_map(Owned::Control),
        any::<u64>().prop_map(Owned::Acknowledgement),
    ]
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in_however_the_stream_is_cut(
        messages in prop::collection::vec(message(), 0..20), cuts in prop::collection::vec(1_usize..200, 1..40),
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            match message {
                Owned::Record(head, payload) => encode_record(head, payload, &mut stream),
                Owned::Control(json) => encode_control(json, &mut stream),
                Owned::Acknowledgement(number) => encode_acknowledgement(*number, &mut stream),
            }
        }
        let mut decoder = Decoder::new(MESSAGE_MAX);
        let mut found = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            decoder.push(piece);
            rest = after;
            while let Some(message) = decoder.next_message().map_err(|error| TestCaseError::fail(error.to_string()))? {
                found.push(owned(message));
            }
        }
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn no_octets_upset_the_decoder_and_it_never_asks_for_more_than_its_limit(
        octets in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut decoder = Decoder::new(CLIENT_MESSAGE_MAX);
        decoder.push(&octets);
        for _ in 0..octets.len() {
            match decoder.next_message() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    prop_assert_eq!(decoder.next_message().map(|_| ()), Err(error), "it stays so");
                    break;
                }
            }
        }
        let _ = parse(&octets);
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_anything_is_kept_for_it() {
    let mut decoder = Decoder::new(CLIENT_MESSAGE_MAX);
    decoder.push(&[0xFF, 0xFF, 0xFF, 0xFF]);
    assert!(matches!(decoder.next_message(), Err(WireError::TooLong { .. })));
    let mut decoder = Decoder::new(CLIENT_MESSAGE_MAX);
    decoder.push(&[0, 0, 0, 4, 9, 0, 0, 0]);
    assert_eq!(decoder.next_message(), Err(WireError::UnknownType(9)));
    let mut decoder = Decoder::new(CLIENT_MESSAGE_MAX);
    decoder.push(&[0, 0, 0, 1, 9]);
    assert!(matches!(decoder.next_message(), Err(WireError::TooShort { .. })));
}
