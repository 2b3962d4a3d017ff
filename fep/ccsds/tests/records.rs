//! The words of a ring descriptor: their layout is an agreement between processes and never changes silently.

use fep_ccsds::Gvcid;
use fep_ccsds::record::{BadReason, EventRecord, FrameFlags, FrameRecord, PacketRecord, Session};

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
