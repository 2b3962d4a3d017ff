//! The words of a ring descriptor: their layout is an agreement between processes and never changes silently.

use fep_ccsds::Gvcid;
use fep_record::{
    BadReason, EventRecord, FrameFlags, FrameRecord, KIND_EVENT, KIND_FRAME, KIND_PACKET, PacketRecord,
    Session,
};
use proptest::prelude::*;

// REQ: FEP-FRAME-013
#[test]
fn the_words_of_a_record_are_laid_out_as_agreed() {
    let gvcid = Gvcid { tfvn: 0x01, scid: 0x2345, vcid: 0x3F };
    let frame = FrameRecord {
        gvcid,
        frame_count: 0x89AB_CDEF,
        flags: FrameFlags::CORRECTED | FrameFlags::CODED,
        link_id: 0x1122,
        session: Session::Replay,
        marker_bit_errors: 0x33,
        symbols_corrected: 0x4455,
        codewords_failed: 0x66,
        reason: BadReason::UnknownVc,
    };
    // The first field named in the documentation is the least significant.
    assert_eq!(frame.to_words(), (0x2001, [0x89AB_CDEF_013F_2345, 0x0566_4455_3302_1122]));
    let packet = PacketRecord {
        gvcid,
        apid: 0x07FF,
        sequence: 0xC001,
        link_id: 0x1122,
        session: Session::Test,
        pvn: 7,
        frame_seq: 0xDEAD_BEEF,
        flags: FrameFlags::GAP,
    };
    assert_eq!(packet.to_words(), (0x0400, [0xC001_07FF_013F_2345, 0xDEAD_BEEF_0701_1122]));
    let event = EventRecord { code: 0x0102, severity: 3, link_id: 0x1122, session: Session::Ops };
    assert_eq!(event.to_words(), (0, [0x0000_1122_0003_0102, 0]));
}

#[test]
fn numbers_of_a_later_version_are_refused_not_guessed() {
    let (flags, mut words) = FrameRecord::default().to_words();
    words[1] = 3 << 16;
    assert_eq!(FrameRecord::from_words(flags, words), None, "no session 3");
    assert_eq!(PacketRecord::from_words(flags, words), None);
    words[1] = 0xFF << 56;
    assert_eq!(FrameRecord::from_words(flags, words), None, "no reason 255");
    for (number, reason) in BadReason::ALL.iter().enumerate() {
        assert_eq!(BadReason::from_u8(number as u8), Some(*reason));
    }
}

#[test]
fn flags_say_their_names() {
    let flags = FrameFlags::UNCORRECTABLE | FrameFlags::SIMULATED;
    assert_eq!(flags.names().collect::<Vec<_>>(), ["uncorrectable", "simulated"]);
    assert_eq!(FrameFlags(0x7FFF).names().count(), 15);
}

// REQ: FEP-REPLAY-003
#[test]
fn a_record_of_any_kind_tells_its_session_and_is_marked_without_another_bit_changed() {
    let gvcid = Gvcid { tfvn: 1, scid: 77, vcid: 5 };
    let frame = FrameRecord {
        gvcid,
        session: Session::Ops,
        link_id: 0xFFFF,
        symbols_corrected: 9,
        ..FrameRecord::default()
    };
    let packet = PacketRecord {
        gvcid,
        session: Session::Test,
        pvn: 7,
        frame_seq: u32::MAX,
        ..PacketRecord::default()
    };
    let event = EventRecord { code: 0xFFFF, severity: 4, link_id: 0xFFFF, session: Session::Ops };
    for session in [Session::Ops, Session::Test, Session::Replay] {
        let (flags, words) = frame.to_words();
        let marked = session.mark_record(KIND_FRAME, words).expect("a known kind");
        assert_eq!(FrameRecord::from_words(flags, marked), Some(FrameRecord { session, ..frame }));
        assert_eq!(Session::of_record(KIND_FRAME, marked), Some(session));
        let (flags, words) = packet.to_words();
        let marked = session.mark_record(KIND_PACKET, words).expect("a known kind");
        assert_eq!(PacketRecord::from_words(flags, marked), Some(PacketRecord { session, ..packet }));
        assert_eq!(Session::of_record(KIND_PACKET, marked), Some(session));
        let (_, words) = event.to_words();
        let marked = session.mark_record(KIND_EVENT, words).expect("a known kind");
        assert_eq!(EventRecord::from_words(marked), Some(EventRecord { session, ..event }));
        assert_eq!(Session::of_record(KIND_EVENT, marked), Some(session));
    }
    assert_eq!(Session::of_record(99, [0; 2]), None, "a kind of another version is of no session");
    assert_eq!(Session::Replay.mark_record(99, [0; 2]), None);
    assert_eq!(Session::of_record(KIND_FRAME, [0, 3 << 16]), None, "there is no session 3");
}

proptest! {
    // REQ: FEP-FRAME-013
    #[test]
    fn ring_records_round_trip(words in any::<[u64; 2]>(), flags in any::<u16>(), session in 0_u8..3, reason in 0_u8..11) {
        let session = Session::from_u8(session).expect("a session");
        let gvcid = Gvcid { tfvn: words[0] as u8, scid: (words[0] >> 8) as u16, vcid: (words[0] >> 24) as u8 };
        let frame = FrameRecord {
            gvcid,
            frame_count: (words[0] >> 32) as u32,
            flags: FrameFlags(flags),
            link_id: words[1] as u16,
            session,
            marker_bit_errors: (words[1] >> 16) as u8,
            symbols_corrected: (words[1] >> 24) as u16,
            codewords_failed: (words[1] >> 40) as u8,
            reason: BadReason::from_u8(reason).expect("a reason"),
        };
        let (packed_flags, packed) = frame.to_words();
        prop_assert_eq!(FrameRecord::from_words(packed_flags, packed), Some(frame));
        let packet = PacketRecord {
            gvcid,
            apid: words[1] as u16,
            sequence: (words[1] >> 16) as u16,
            link_id: (words[1] >> 32) as u16,
            session,
            pvn: (words[1] >> 48) as u8,
            frame_seq: words[0] as u32,
            flags: FrameFlags(flags),
        };
        let (packed_flags, packed) = packet.to_words();
        prop_assert_eq!(PacketRecord::from_words(packed_flags, packed), Some(packet));
        let event = EventRecord { code: words[0] as u16, severity: words[1] as u8, link_id: flags, session };
        prop_assert_eq!(EventRecord::from_words(event.to_words().1), Some(event));
    }
}
