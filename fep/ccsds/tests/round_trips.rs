//! Every header and code: what is emitted parses to the same fields, and what parses is emitted to the same octets.

use fep_ccsds::frame::{BitstreamPointer, ConstructionRule};
use fep_ccsds::packet::LengthOfLength;
use fep_ccsds::pus::{PusTcHeader, PusTmHeader};
use fep_ccsds::time::{Ccs, CcsFormat, Cds, CdsFormat, Cuc, CucFormat, SubMillisecond, TimeEpoch};
use fep_ccsds::{
    AosHeader, Bpdu, Clcw, EncapsulationHeader, Fecf, Fhp, Frame, FrameInvalid, FrameKind, FrameSpec, Mpdu,
    Ocf, OcfReport, SpacePacketHeader, Tfdf, TmHeader, UslpHeader,
};
use fep_time::{AsciiForm, LeapSeconds, Tai, Utc};
use proptest::prelude::*;

/// Any managed parameters that can be obeyed, of frames short enough to test quickly.
fn spec() -> impl Strategy<Value = FrameSpec> {
    let kind = prop_oneof![Just(FrameKind::Tm), Just(FrameKind::Aos), Just(FrameKind::Uslp)];
    let fecf = prop_oneof![Just(Fecf::None), Just(Fecf::Crc16), Just(Fecf::Crc32)];
    let lengths = (20_usize..120, 0_usize..6, 0_usize..6, 0_usize..6, 0_usize..4);
    let options = (prop::option::of(6_usize..40), prop::option::of(1_usize..12));
    (kind, fecf, lengths, any::<[bool; 4]>(), options).prop_filter_map(
        "parameters that the kind has",
        |(kind, fecf, (frame_len, insert, header, trailer, other), flags, (truncated_len, secondary))| {
            let uslp = kind == FrameKind::Uslp;
            let spec = FrameSpec {
                kind,
                frame_len,
                insert_zone_len: if kind == FrameKind::Tm { 0 } else { insert },
                fecf: if fecf == Fecf::Crc32 && !uslp { Fecf::Crc16 } else { fecf },
                ocf: if flags[0] && kind == FrameKind::Aos { Ocf::Present } else { Ocf::Absent },
                fhec: flags[1] && kind == FrameKind::Aos,
                security_header_len: if flags[2] { header } else { 0 },
                security_trailer_len: if flags[2] { trailer } else { 0 },
                trailer_len: other,
                variable_len: flags[3] && uslp,
                truncated_len: truncated_len.filter(|_| uslp),
                secondary_header_len: secondary.filter(|_| kind == FrameKind::Tm),
            };
            spec.validate().is_ok().then_some(spec)
        },
    )
}

/// Octets that have a chance of being a frame of this channel: right version, and length where the header tells.
fn make_plausible(spec: &FrameSpec, octets: &mut [u8]) {
    match spec.kind {
        FrameKind::Tm => octets[0] &= 0x3F,
        FrameKind::Aos => octets[0] = octets[0] & 0x3F | 0x40,
        FrameKind::Uslp => {
            octets[0] = octets[0] & 0x0F | 0xC0;
            octets[3] &= 0xFE;
            let field = (octets.len() - 1) as u16;
            octets[4..6].copy_from_slice(&field.to_be_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // REQ: FEP-FRAME-011
    #[test]
    fn a_frame_that_parses_builds_to_the_same_octets(spec in spec(), seed in prop::collection::vec(any::<u8>(), 120)) {
        let mut octets = seed[..spec.frame_len].to_vec();
        make_plausible(&spec, &mut octets);
        // Without FECF and FHEC in the way almost all of them are frames; building fills both in, so that the built
        // frame then passes the checks too.
        let open = FrameSpec { fecf: Fecf::None, fhec: false, ..spec.clone() };
        if let Ok(frame) = Frame::parse(&open, &octets) {
            let mut built = Vec::new();
            prop_assert_eq!(frame.parts().build(&open, &mut built), Ok(octets.len()));
            prop_assert_eq!(&built, &octets);
        }
        if let Ok(frame) = Frame::parse_unchecked(&spec, &octets) {
            let mut built = Vec::new();
            frame.parts().build(&spec, &mut built).expect("the parts are of this channel");
            let again = Frame::parse(&spec, &built).expect("a built frame passes its own checks");
            prop_assert_eq!(again.parts(), frame.parts());
            prop_assert_eq!(again.gvcid, frame.gvcid);
        }
    }

    // REQ: FEP-FRAME-012
    #[test]
    fn no_octets_make_the_parser_panic(spec in spec(), octets in prop::collection::vec(any::<u8>(), 0..130)) {
        for spec in [spec.clone(), FrameSpec { frame_len: octets.len(), ..spec }] {
            if let Ok(frame) = Frame::parse(&spec, &octets) {
                let _ = frame.packet_zone();
                let _ = frame.tfdf();
            }
        }
    }

    // REQ: FEP-FRAME-007
    #[test]
    fn any_change_in_a_frame_with_fecf_is_noticed_before_any_header_is_read(
        seed in prop::collection::vec(any::<u8>(), 64), at in 0_usize..64, change in 1_u8..=255,
    ) {
        let spec = FrameSpec { fecf: Fecf::Crc16, ..FrameSpec::aos(64) };
        let mut octets = seed;
        make_plausible(&spec, &mut octets);
        let open = FrameSpec { fecf: Fecf::None, ..FrameSpec::aos(62) };
        let frame = Frame::parse(&open, &octets[..62]).expect("any such octets are an AOS frame");
        let mut built = Vec::new();
        frame.parts().build(&spec, &mut built).expect("two octets longer");
        prop_assert!(Frame::parse(&spec, &built).is_ok());
        built[at] ^= change;
        let is_fecf = matches!(Frame::parse(&spec, &built), Err(FrameInvalid::Fecf { .. }));
        prop_assert!(is_fecf);
    }

    #[test]
    fn primary_headers_round_trip(octets in any::<[u8; 14]>()) {
        let first6: [u8; 6] = octets[..6].try_into().expect("six octets");
        if let Ok(header) = TmHeader::parse(&first6) {
            prop_assert_eq!(header.emit(), first6);
        }
        if let Ok(header) = AosHeader::parse(&first6) {
            prop_assert_eq!(header.emit(), first6);
        }
        let mut uslp = octets;
        uslp[0] = uslp[0] & 0x0F | 0xC0;
        let header = UslpHeader::parse(&uslp).expect("long enough for any header");
        let mut built = Vec::new();
        header.emit(&mut built);
        prop_assert_eq!(&built[..], &uslp[..header.len()]);
    }

    #[test]
    fn data_unit_headers_round_trip(octets in prop::collection::vec(any::<u8>(), 3..40)) {
        if let Ok(mpdu) = Mpdu::parse(&octets) {
            prop_assert_eq!([&mpdu.emit_header()[..], mpdu.packet_zone].concat(), octets.clone());
        }
        if let Ok(bpdu) = Bpdu::parse(&octets) {
            prop_assert_eq!([&bpdu.emit_header()[..], bpdu.bitstream_zone].concat(), octets.clone());
            prop_assert!(bpdu.valid_bits() <= bpdu.bitstream_zone.len() * 8);
            prop_assert_eq!(bpdu.pointer == BitstreamPointer::IdleOnly, bpdu.valid_bits() == 0);
        }
        if let Ok(tfdf) = Tfdf::parse(&octets) {
            let mut built = Vec::new();
            tfdf.emit(&mut built);
            prop_assert_eq!(built, octets.clone());
            prop_assert_eq!(tfdf.rule.has_pointer(), tfdf.rule as u8 <= ConstructionRule::SduContinuing as u8);
        }
    }

    #[test]
    fn control_words_and_pointers_round_trip(ocf in any::<[u8; 4]>(), field in 0_u16..2048) {
        let report = OcfReport::parse(ocf);
        prop_assert_eq!(report.emit(), ocf);
        prop_assert_eq!(matches!(report, OcfReport::Clcw(_)), Clcw::parse(ocf).is_ok());
        prop_assert_eq!(matches!(report, OcfReport::Type2 { .. }), ocf[0] >= 0x80);
        let json = serde_json::to_string(&report).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<OcfReport>(&json).expect("the same"), report);
        prop_assert_eq!(Fhp::from_11_bits(field).to_11_bits(), field);
    }

    #[test]
    fn packet_headers_round_trip(octets in any::<[u8; 8]>()) {
        let mut space = octets;
        space[0] &= 0x1F;
        let header = SpacePacketHeader::parse(&space).expect("a space packet");
        prop_assert_eq!(&header.emit()[..], &space[..6]);
        let mut encapsulation = octets;
        encapsulation[0] |= 0xE0;
        if let Ok(header) = EncapsulationHeader::parse(&encapsulation) {
            let mut built = Vec::new();
            header.emit(&mut built);
            prop_assert_eq!(&built[..], &encapsulation[..header.header_len()]);
            let is_one_octet = header.length_of_length == LengthOfLength::Zero;
            prop_assert_eq!(is_one_octet, encapsulation[0] == 0xE0);
        }
    }

    #[test]
    fn pus_headers_round_trip(octets in any::<[u8; 7]>()) {
        let mut octets = octets;
        octets[0] = octets[0] & 0xF | 0x20;
        prop_assert_eq!(PusTmHeader::parse(&octets).expect("version 2").emit(), octets);
        prop_assert_eq!(&PusTcHeader::parse(&octets).expect("version 2").emit()[..], &octets[..5]);
    }

    // REQ: FEP-TIME-005
    #[test]
    fn times_round_trip_through_the_calendar(ns in any::<i64>()) {
        let leap_seconds = LeapSeconds::builtin();
        let tai = Tai(ns);
        let utc = leap_seconds.utc(tai).expect("any such time is a date");
        prop_assert_eq!(leap_seconds.tai(utc), Ok(tai));
        for form in [AsciiForm::A, AsciiForm::B] {
            prop_assert_eq!(Utc::parse_ascii(&utc.to_ascii(form, 9)), Ok((utc, form)));
        }
    }

    #[test]
    fn unsegmented_codes_round_trip(
        coarse_octets in 1_u8..=7, fine_octets in 0_u8..=10, agency in any::<bool>(),
        t_field in any::<[u8; 17]>(), elapsed_ns in 0_i64..i64::MAX,
    ) {
        let epoch = if agency { TimeEpoch::Agency } else { TimeEpoch::Ccsds };
        let format = CucFormat::new(epoch, coarse_octets, fine_octets).expect("a format");
        let (cuc, rest) = format.parse_t_field(&t_field).expect("long enough");
        let mut built = Vec::new();
        cuc.emit_p_field(&mut built);
        cuc.emit_t_field(&mut built);
        prop_assert_eq!(Cuc::parse(&built), Ok((cuc, &[][..])));
        prop_assert_eq!([&built[built.len() - format.t_field_len()..], rest].concat(), t_field);
        // With four octets of fraction a unit is less than a nanosecond: nothing is lost.
        if let Ok(cuc) = Cuc::from_elapsed_ns(format, elapsed_ns) {
            let error = cuc.elapsed_ns().unwrap_or(i64::MAX).abs_diff(elapsed_ns);
            let unit = 1_000_000_000_u64 >> (8 * u32::from(fine_octets)).min(63);
            prop_assert!(error <= unit / 2 + 1);
            prop_assert!(fine_octets < 4 || error == 0);
        } else {
            prop_assert!(coarse_octets < 5);
        }
    }

    #[test]
    fn calendar_codes_round_trip(
        day in 0_i32..60_000, ns_of_day in 0_i64..86_400_000_000_000, long_day in any::<bool>(), sub in 0_u8..3,
        day_of_year in any::<bool>(), subsecond_octets in 0_u8..=6,
    ) {
        let utc = Utc::from_day_and_ns(day, ns_of_day).expect("a date");
        let sub_millisecond =
            [SubMillisecond::None, SubMillisecond::Microseconds, SubMillisecond::Picoseconds][usize::from(sub)];
        let format = CdsFormat { epoch: TimeEpoch::Ccsds, long_day, sub_millisecond };
        let cds = Cds::from_utc(format, 0, utc).expect("in range");
        let mut built = Vec::new();
        cds.emit_p_field(&mut built);
        cds.emit_t_field(&mut built);
        prop_assert_eq!(Cds::parse(&built), Ok((cds, &[][..])));
        let unit = [1_000_000, 1_000, 1][usize::from(sub)];
        let back = cds.to_utc(0).expect("a date");
        prop_assert_eq!((back.day_since_1958(), back.ns_of_day()), (day, ns_of_day / unit * unit));

        let format = CcsFormat::new(day_of_year, subsecond_octets).expect("a format");
        let ccs = Ccs::from_utc(format, utc).expect("any date");
        let mut built = Vec::new();
        ccs.emit_p_field(&mut built);
        ccs.emit_t_field(&mut built);
        prop_assert_eq!(Ccs::parse(&built), Ok((ccs, &[][..])));
        let unit = 10_i64.pow(9_u32.saturating_sub(2 * u32::from(subsecond_octets)));
        let back = ccs.to_utc();
        prop_assert_eq!((back.day_since_1958(), back.ns_of_day()), (day, ns_of_day / unit * unit));
    }

    // REQ: FEP-TIME-006
    #[test]
    fn no_octets_or_text_make_a_time_code_panic(octets in prop::collection::vec(any::<u8>(), 0..20), text in "\\PC{0,40}") {
        if let Ok((cuc, _)) = Cuc::parse(&octets) {
            let _ = cuc.to_tai(Tai(i64::MAX));
        }
        if let Ok((cds, _)) = Cds::parse(&octets) {
            let _ = (cds.to_utc(i32::MAX), cds.to_utc(i32::MIN));
        }
        let _ = Ccs::parse(&octets);
        let _ = Utc::parse_ascii(&text);
        let _ = LeapSeconds::from_list(&text);
    }

    #[test]
    fn text_that_looks_like_a_date_is_read_or_refused(text in "[0-9]{4}-[0-9]{2,3}(-[0-9]{2})?T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?Z?") {
        if let Ok((utc, form)) = Utc::parse_ascii(&text) {
            let written = utc.to_ascii(form, 9);
            prop_assert_eq!(&written[..17], &text[..17], "date and time to the minute are as they were");
        }
    }
}

#[test]
fn calendar_segmented_codes_are_binary_coded_decimals() {
    // 301.0-B-4 3.4 has no published vector; these octets are written down by hand from its figure.
    let (utc, _) = Utc::parse_ascii("1998-12-31T23:59:60.987654Z").expect("a time");
    for (day_of_year, subsecond_octets, octets) in [
        (false, 0, &[0x50, 0x19, 0x98, 0x12, 0x31, 0x23, 0x59, 0x60][..]),
        (false, 3, &[0x53, 0x19, 0x98, 0x12, 0x31, 0x23, 0x59, 0x60, 0x98, 0x76, 0x54]),
        (true, 1, &[0x59, 0x19, 0x98, 0x03, 0x65, 0x23, 0x59, 0x60, 0x98]),
    ] {
        let format = CcsFormat::new(day_of_year, subsecond_octets).expect("a format");
        let ccs = Ccs::from_utc(format, utc).expect("any date");
        let mut built = Vec::new();
        ccs.emit_p_field(&mut built);
        ccs.emit_t_field(&mut built);
        assert_eq!(built, octets);
        assert_eq!(Ccs::parse(octets), Ok((ccs, &[][..])));
    }
    let no_digit = [0x50, 0x19, 0x98, 0x12, 0x31, 0x23, 0x5A, 0x00];
    assert!(Ccs::parse(&no_digit).is_err());
    let day_366_of_1999 = [0x58, 0x19, 0x99, 0x03, 0x66, 0x00, 0x00, 0x00];
    assert!(Ccs::parse(&day_366_of_1999).is_err());
}
