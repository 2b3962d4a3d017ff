//! TM frames as spacecraft really send them: older than 132.0-B-3, with length fields that are wrong, with pointers that
//! are wrong.

use fep_ccsds::{
    Continuity, Fecf, Fhp, Frame, FrameInvalid, FrameKind, FrameParts, FrameSpec, FrameSpecError, Header,
    MasterChannel, Payload, Tai, TmDataField, TmHeader, VcService,
};

/// A frame with these two octets of data field status, everything else in order.
fn with_status(spec: &FrameSpec, count: u8, status: [u8; 2]) -> Vec<u8> {
    let header = TmHeader {
        scid: 0x79,
        vcid: 7,
        ocf: true,
        mc_count: count,
        vc_count: count,
        secondary_header: false,
        data_field: TmDataField::Packets { first_header_pointer: Fhp::IdleOnly },
    };
    let open = FrameSpec { fecf: Fecf::None, frame_len: spec.frame_len - spec.fecf.len(), ..spec.clone() };
    let data_zone = vec![0x55; open.frame_len - 10];
    let mut octets = Vec::new();
    let parts = FrameParts { ocf: Some([1, 0, 0, 9]), ..FrameParts::new(Header::Tm(header), &data_zone) };
    parts.build(&open, &mut octets).expect("a frame");
    octets[4..6].copy_from_slice(&status);
    if spec.fecf == Fecf::Crc16 {
        let crc = fep_coding::crc::crc16_fecf(&octets);
        octets.extend_from_slice(&crc.to_be_bytes());
    }
    octets
}

// REQ: FEP-FRAME-106
#[test]
fn frames_of_packet_telemetry_are_taken_whatever_their_segment_length_identifier_is() {
    // Sent by a spacecraft in flight: 892 octets that begin 079F cc vv 0FFE, with OCF and FECF.
    let spec = FrameSpec { fecf: Fecf::Crc16, ..FrameSpec::tm(892) };
    let mut channel = MasterChannel::default();
    for count in 0..20 {
        let octets = with_status(&spec, count, [0x0F, 0xFE]);
        assert_eq!((octets.len(), &octets[..2]), (892, &[0x07, 0x9F][..]));
        let frame = Frame::parse(&spec, &octets).expect("a frame");
        assert_eq!((frame.gvcid.scid, frame.gvcid.vcid, frame.ocf), (0x79, 7, Some([1, 0, 0, 9])));
        assert!(frame.idle && frame.has_legacy_status());
        let expected = TmDataField::LegacyPackets {
            first_header_pointer: Fhp::IdleOnly,
            reverse_order: false,
            segment_length_id: 1,
        };
        assert!(matches!(frame.header, Header::Tm(TmHeader { data_field, .. }) if data_field == expected));
        let continuity = channel.observe(&frame, Tai(0)).virtual_channel;
        assert_eq!(continuity, if count == 0 { Continuity::First } else { Continuity::Next });
        let mut built = Vec::new();
        frame.parts().build(&spec, &mut built).expect("a frame");
        assert_eq!(built, octets);
    }
}

// REQ: FEP-FRAME-106
#[test]
fn packets_are_taken_out_of_legacy_frames_but_not_in_reverse_order() {
    let spec = FrameSpec::tm(64);
    for segment_length_id in 0..4_u8 {
        for reverse_order in [false, true] {
            let status = u16::from(reverse_order) << 13 | u16::from(segment_length_id) << 11 | 9;
            let octets = with_status(&spec, 0, status.to_be_bytes());
            let frame = Frame::parse(&spec, &octets).expect("a frame");
            let standard = segment_length_id == 3 && !reverse_order;
            assert_eq!(frame.has_legacy_status(), !standard);
            match frame.payload(VcService::Packets) {
                Ok(Payload::Packets(zone)) => {
                    assert!(!reverse_order);
                    assert_eq!((zone.first_header_pointer, zone.data.len()), (Fhp::At(9), 54));
                }
                other => assert_eq!((other, reverse_order), (Err(FrameInvalid::PacketOrder), true)),
            }
        }
    }
}

// REQ: FEP-FRAME-107
#[test]
fn a_frame_whose_pointer_is_wrong_was_received_whatever_its_kind() {
    let tm = FrameSpec::tm(64);
    let mut channel = MasterChannel::default();
    for count in 0..3_u8 {
        // 54 octets of data field; in the frame in the middle the pointer says 200.
        let pointer = if count == 1 { 200 } else { 9 };
        let octets = with_status(&tm, count, (0x1800_u16 | pointer).to_be_bytes());
        let frame = Frame::parse(&tm, &octets).expect("received");
        let continuity = channel.observe(&frame, Tai(0)).virtual_channel;
        assert_eq!(continuity, if count == 0 { Continuity::First } else { Continuity::Next });
        let wrong = FrameInvalid::FirstHeaderPointer { pointer: 200, zone_len: 54 };
        assert_eq!(frame.packet_zone().err(), (count == 1).then_some(wrong));
    }
    // AOS and USLP: the same.
    let mut aos = [0; 64];
    aos[0] = 0x40;
    aos[6..8].copy_from_slice(&200_u16.to_be_bytes());
    let frame = Frame::parse(&FrameSpec::aos(64), &aos).expect("received");
    let wrong = FrameInvalid::FirstHeaderPointer { pointer: 200, zone_len: 56 };
    assert_eq!(frame.packet_zone(), Err(wrong));
    let mut uslp = [0; 64];
    uslp[0] = 0xC0;
    uslp[5] = 63;
    uslp[8..10].copy_from_slice(&200_u16.to_be_bytes());
    let frame = Frame::parse(&FrameSpec::uslp(64), &uslp).expect("received");
    let wrong = FrameInvalid::FirstHeaderPointer { pointer: 200, zone_len: 54 };
    assert_eq!(frame.packet_zone(), Err(wrong));
}

// REQ: FEP-FRAME-108
#[test]
fn a_secondary_header_whose_length_field_is_wrong_has_the_length_of_the_mission() {
    // The flag is set, the first octet is 00, and the header really has 8 octets.
    let mut octets = vec![0; 40];
    octets[4..6].copy_from_slice(&[0x98, 0x02]);
    octets[6..14].copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7]);
    octets[14..].fill(0xE0);
    let believing = FrameSpec::tm(40);
    assert_eq!(Frame::parse(&believing, &octets), Err(FrameInvalid::SecondaryHeader { identification: 0 }));
    let spec = FrameSpec { secondary_header_len: Some(8), ..FrameSpec::tm(40) };
    spec.validate().expect("valid parameters");
    let frame = Frame::parse(&spec, &octets).expect("a frame");
    assert_eq!(frame.secondary_header, Some(&octets[6..14]));
    let zone = frame.packet_zone().expect("a right pointer").expect("packets");
    assert_eq!((zone.first_header_pointer, zone.data), (Fhp::At(2), &octets[14..]));
    let mut built = Vec::new();
    assert_eq!(frame.parts().build(&spec, &mut built), Ok(40));
    assert_eq!(built, octets);
    // A frame without the flag has none.
    octets[4] = 0x18;
    let frame = Frame::parse(&spec, &octets).expect("a frame");
    assert_eq!((frame.secondary_header, frame.data_zone.len()), (None, 34));
    // A header of another length is no part of this channel's frames; the frame that is too short for it has no room.
    let parts = FrameParts { secondary_header: Some(&[0; 7]), ..frame.parts() };
    assert!(parts.build(&spec, &mut built).is_err());
    octets[4] = 0x98;
    let longest = FrameSpec { secondary_header_len: Some(34), ..FrameSpec::tm(40) };
    assert_eq!(Frame::parse(&longest, &octets), Err(FrameInvalid::NoRoom { needed: 41, available: 40 }));
}

// REQ: FEP-FRAME-108
#[test]
fn a_length_of_the_secondary_header_that_cannot_be_is_refused() {
    let of = |kind, len| FrameSpec { secondary_header_len: Some(len), ..FrameSpec::new(kind, 40) }.validate();
    assert_eq!(of(FrameKind::Tm, 33), Ok(()));
    assert_eq!(of(FrameKind::Tm, 34), Err(FrameSpecError::TooShort { frame_len: 40, overhead: 40 }));
    assert!(matches!(of(FrameKind::Tm, usize::MAX), Err(FrameSpecError::TooShort { .. })));
    assert_eq!(of(FrameKind::Tm, 0), Err(FrameSpecError::SecondaryHeaderLen));
    for kind in [FrameKind::Aos, FrameKind::Uslp] {
        assert!(matches!(of(kind, 8), Err(FrameSpecError::NotInKind { .. })));
    }
}
