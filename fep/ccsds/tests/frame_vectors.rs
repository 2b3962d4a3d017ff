//! Frames built by other people's programs: parsed, every field compared, and built again octet by octet.

mod golden;

use fep_ccsds::frame::{BitstreamPointer, ConstructionRule};
use fep_ccsds::{
    AosHeader, Bpdu, Clcw, Continuity, Fecf, Fhp, Frame, FrameInvalid, FrameParts, FrameSpec, Header, Mpdu,
    Ocf, OcfReport, PacketAssembler, PacketEvent, Payload, Tfdf, TmDataField, TmHeader, UslpHeader,
    UslpHeaderRest, VcService,
};
use golden::{cases, hex, hex_list, number};
use serde_json::Value;

fn ocf_of(case: &Value) -> Option<[u8; 4]> {
    (!case["ocf"].is_null()).then(|| hex(&case["ocf"]).try_into().expect("an OCF has 4 octets"))
}

/// Builds the frame again from its parts and from nothing but its parsed header.
fn assert_builds_again(spec: &FrameSpec, frame: &Frame<'_>, octets: &[u8]) {
    let mut built = vec![0xEE; 3];
    assert_eq!(frame.parts().build(spec, &mut built), Ok(octets.len()));
    assert_eq!(&built[3..], octets);
    assert_eq!(built[..3], [0xEE; 3], "what stood before is untouched");
}

/// Pushes the frames of a virtual channel through an assembler; gives the packets and checks the octets' account.
fn packets_of(frames: &[Frame<'_>]) -> Vec<Vec<u8>> {
    let mut assembler = PacketAssembler::default();
    let mut packets = Vec::new();
    let mut octets = 0;
    let mut accounted = 0;
    let mut sink = |event: PacketEvent<'_>| match event {
        PacketEvent::Packet { bytes, .. } => {
            accounted += bytes.len();
            packets.push(bytes.to_vec());
        }
        PacketEvent::Idle { len, .. } => accounted += len,
        PacketEvent::Discarded { bytes, .. } => accounted += bytes,
    };
    for frame in frames {
        let zone = frame.packet_zone().expect("pointers are right").expect("packets");
        octets += zone.data.len();
        assembler.push(zone.first_header_pointer, zone.data, Continuity::Next, &mut sink);
    }
    assembler.finish(&mut sink);
    assert_eq!(accounted, octets);
    packets
}

// REQ: FEP-FRAME-001, FEP-FRAME-002, FEP-PKT-001
#[test]
fn tm_frames_of_another_builder_parse_field_by_field_and_build_again() {
    let mut parsed = 0;
    for case in cases("frames/tm.json").iter().filter(|case| case["name"].is_null()) {
        let mut spec = FrameSpec::tm(number(&case["frame_length"]) as usize);
        spec.fecf = if case["fecf"] == true { Fecf::Crc16 } else { Fecf::None };
        spec.validate().expect("the vectors' parameters are valid");
        let octets = hex_list(&case["frames"]);
        let frames: Vec<Frame<'_>> =
            octets.iter().map(|octets| Frame::parse(&spec, octets).expect("a valid frame")).collect();
        let pointers = case["first_header_pointers"].as_array().expect("pointers");
        for (index, frame) in frames.iter().enumerate() {
            let mc_count = number(&case["first_mc_count"]) as u8;
            let vc_count = number(&case["first_vc_count"]) as u8;
            let first_header_pointer = match number(&pointers[index]) {
                2047 => Fhp::None,
                offset => Fhp::At(offset as u16),
            };
            let header = TmHeader {
                scid: number(&case["scid"]) as u16,
                vcid: number(&case["vcid"]) as u8,
                ocf: ocf_of(case).is_some(),
                mc_count: mc_count.wrapping_add(index as u8),
                vc_count: vc_count.wrapping_add(index as u8),
                secondary_header: !case["secondary_header_data"].is_null(),
                data_field: TmDataField::Packets { first_header_pointer },
            };
            assert_eq!(frame.header, Header::Tm(header));
            assert_eq!(frame.gvcid.to_string(), format!("{}/{}", case["scid"], case["vcid"]));
            assert_eq!((frame.frame_count, frame.frame_count_modulus), (u64::from(header.vc_count), 256));
            assert_eq!(frame.mc_count, Some(header.mc_count));
            assert_eq!(frame.ocf, ocf_of(case));
            let secondary = header.secondary_header.then(|| hex(&case["secondary_header_data"]));
            assert_eq!(frame.secondary_header, secondary.as_deref());
            assert!(!frame.idle);
            assert_builds_again(&spec, frame, &octets[index]);
            parsed += 1;
        }
        assert_eq!(packets_of(&frames), hex_list(&case["packets"]));
    }
    assert!(parsed > 100, "{parsed} frames");
}

#[test]
fn tm_idle_and_vca_frames_are_told_apart() {
    let cases = cases("frames/tm.json");
    let named = |name: &str| {
        let case = cases.iter().find(|case| case["name"] == name).expect("the vector is there");
        hex(&case["frames"][0])
    };
    let octets = named("only idle data frame");
    let mut spec = FrameSpec::tm(octets.len());
    spec.fecf = Fecf::Crc16;
    let frame = Frame::parse(&spec, &octets).expect("a valid frame");
    assert!(frame.idle);
    assert_eq!(frame.payload(VcService::Packets), Ok(Payload::Idle(frame.data_zone)));
    assert_builds_again(&spec, &frame, &octets);

    let octets = named("VCA data, synchronisation flag 1");
    spec.frame_len = octets.len();
    let frame = Frame::parse(&spec, &octets).expect("a valid frame");
    assert!(!frame.idle);
    assert_eq!(frame.payload(VcService::Packets), Ok(Payload::Sdu(&octets[6..octets.len() - 2])));
    assert_eq!(frame.packet_zone(), Ok(None));
    assert_builds_again(&spec, &frame, &octets);
}

// REQ: FEP-FRAME-003, FEP-PKT-001
#[test]
fn aos_frames_of_another_builder_parse_field_by_field_and_build_again() {
    let mut parsed = 0;
    for case in cases("frames/aos.json").iter().filter(|case| case["name"].is_null()) {
        let mut spec = FrameSpec::aos(number(&case["frame_length"]) as usize);
        spec.fecf = if case["fecf"] == true { Fecf::Crc16 } else { Fecf::None };
        spec.fhec = case["fhec"] == true;
        spec.ocf = if ocf_of(case).is_some() { Ocf::Present } else { Ocf::Absent };
        let insert_zone = if case["insert_zone"].is_null() { Vec::new() } else { hex(&case["insert_zone"]) };
        spec.insert_zone_len = insert_zone.len();
        spec.validate().expect("the vectors' parameters are valid");
        let octets = hex_list(&case["frames"]);
        let frames: Vec<Frame<'_>> =
            octets.iter().map(|octets| Frame::parse(&spec, octets).expect("a valid frame")).collect();
        let used = number(&case["vc_count_usage_flag"]) == 1;
        let first_cycle = number(&case["vc_count_cycle"]) as u8;
        for (index, frame) in frames.iter().enumerate() {
            let Header::Aos(header) = frame.header else { panic!("an AOS frame has an AOS header") };
            let count = (number(&case["first_vc_count"]) + index as u64) % (1 << 24);
            assert_eq!(
                header,
                AosHeader {
                    scid: number(&case["scid"]) as u8,
                    vcid: number(&case["vcid"]) as u8,
                    vc_count: count as u32,
                    replay: false,
                    vc_count_cycle_used: used,
                    reserved: 0,
                    // The builder does not advance the cycle when its counter wraps.
                    vc_count_cycle: first_cycle,
                }
            );
            let cycle = if used { u64::from(first_cycle) << 24 } else { 0 };
            assert_eq!(frame.frame_count, cycle | count);
            assert_eq!(frame.frame_count_modulus, if used { 1 << 28 } else { 1 << 24 });
            assert_eq!((frame.ocf, frame.insert_zone), (ocf_of(case), insert_zone.as_slice()));
            assert_eq!((frame.idle, frame.fhec_corrected, frame.mc_count), (false, 0, None));
            let mpdu = Mpdu::parse(frame.data_zone).expect("an M_PDU");
            assert_eq!(mpdu.emit_header(), frame.data_zone[..2]);
            assert_builds_again(&spec, frame, &octets[index]);
            parsed += 1;
        }
        assert_eq!(packets_of(&frames), hex_list(&case["packets"]));
    }
    assert!(parsed > 50, "{parsed} frames");
}

// REQ: FEP-FRAME-004
#[test]
fn aos_idle_bitstream_and_vca_frames_are_read_by_their_service() {
    for case in cases("frames/aos.json").iter().filter(|case| !case["name"].is_null()) {
        let octets = hex(&case["frames"][0]);
        let mut spec = FrameSpec::aos(octets.len());
        spec.fecf = Fecf::Crc16;
        let frame = Frame::parse(&spec, &octets).expect("a valid frame");
        assert_builds_again(&spec, &frame, &octets);
        let body = &octets[6..octets.len() - 2];
        match case["name"].as_str().expect("a name") {
            "idle frame vcid 63" => {
                assert!(frame.idle);
                assert_eq!(frame.payload(VcService::Packets), Ok(Payload::Idle(body)));
            }
            "VCA" => assert_eq!(frame.payload(VcService::Vca), Ok(Payload::Sdu(body))),
            "bitstream B_PDU, 300 valid bits" => {
                let Ok(Payload::Bitstream(bpdu)) = frame.payload(VcService::Bitstream) else {
                    panic!("a B_PDU")
                };
                // The builder wrote the number of valid bits, 300, where the location of the last belongs.
                assert_eq!(bpdu.pointer, BitstreamPointer::LastBit(300));
                assert_eq!((bpdu.bitstream_zone, bpdu.emit_header()), (&body[2..], [0x01, 0x2C]));
            }
            other => panic!("nobody looks at the vector '{other}'"),
        }
    }
}

// REQ: FEP-FRAME-005
#[test]
fn the_bitstream_pointer_is_the_location_of_the_last_valid_bit() {
    let zone = [0_u8; 38];
    let data_field = |pointer: u16| [&pointer.to_be_bytes()[..], &zone].concat();
    let valid_bits = |pointer| Bpdu::parse(&data_field(pointer)).map(|bpdu| bpdu.valid_bits());
    assert_eq!(valid_bits(0), Ok(1));
    assert_eq!(valid_bits(299), Ok(300));
    assert_eq!(valid_bits(303), Ok(304), "the last bit of 38 octets");
    assert_eq!(valid_bits(304), Err(FrameInvalid::BitstreamPointer { pointer: 304, zone_bits: 304 }));
    assert_eq!(valid_bits(0x3FFF), Ok(304));
    assert_eq!(valid_bits(0x3FFE), Ok(0));
}

// REQ: FEP-FRAME-006
#[test]
fn the_header_error_control_corrects_two_symbols_in_a_whole_frame() {
    let mut by_errors = [0; 4];
    for case in cases("frames/aos_fhec.json") {
        let sent = [hex(&case["mcid_vcid_hdr_octets_0_1"]), hex(&case["signaling_octet_5"])].concat();
        let received = hex(&case["received_10_symbols"]);
        // A frame around the ten symbols, with a count that the code does not guard.
        let mut octets = vec![0x5A; 64];
        octets[..2].copy_from_slice(&received[..2]);
        octets[2..5].copy_from_slice(&[1, 2, 3]);
        octets[5] = received[2];
        octets[6..8].copy_from_slice(&received[3..]);
        let mut spec = FrameSpec::aos(64);
        spec.fhec = true;
        let errors = number(&case["symbol_errors"]) as usize;
        by_errors[errors] += 1;
        // Only two errors are the code's promise; three may pass as another header.
        if errors > 2 {
            continue;
        }
        match Frame::parse(&spec, &octets) {
            Ok(frame) => {
                assert_eq!(usize::from(frame.fhec_corrected), errors);
                let Header::Aos(header) = frame.header else { panic!("an AOS header") };
                assert_eq!(header.emit(), [sent[0], sent[1], 1, 2, 3, sent[2]]);
                let mut built = Vec::new();
                frame.parts().build(&spec, &mut built).expect("a frame");
                assert_eq!(built[6..8], hex(&case["fhec"]), "the control field of another encoder");
            }
            // The vectors use any version number; a corrected header may be of another one.
            Err(invalid) => {
                assert_eq!(invalid, FrameInvalid::Version { expected: 1, found: sent[0] >> 6 });
                assert_ne!(sent[0] >> 6, 1);
            }
        }
    }
    assert!(by_errors[..3].iter().all(|count| *count > 3), "{by_errors:?}");
}

// REQ: FEP-FRAME-007
#[test]
fn a_header_beyond_correction_is_reported_as_such() {
    let mut reported = 0;
    for case in cases("frames/aos_fhec.json").iter().filter(|case| case["decoded"] == "uncorrectable") {
        let received = hex(&case["received_10_symbols"]);
        let mut octets = vec![0; 32];
        octets[..2].copy_from_slice(&received[..2]);
        octets[5..8].copy_from_slice(&received[2..]);
        let mut spec = FrameSpec::aos(32);
        spec.fhec = true;
        assert_eq!(Frame::parse(&spec, &octets), Err(FrameInvalid::Fhec));
        reported += 1;
    }
    assert!(reported > 3);
}

// REQ: FEP-FRAME-008, FEP-FRAME-009
#[test]
fn uslp_frames_of_another_builder_parse_field_by_field_and_build_again() {
    let mut rules = [0; 8];
    for case in cases("frames/uslp.json") {
        let octets = hex(&case["frame"]);
        let truncated = case["truncated"] == true;
        let mut spec = FrameSpec::uslp(octets.len());
        if truncated {
            spec = FrameSpec { truncated_len: Some(octets.len()), ..FrameSpec::uslp(1000) };
        } else {
            spec.fecf = match number(&case["fecf_octets"]) {
                0 => Fecf::None,
                2 => Fecf::Crc16,
                4 => Fecf::Crc32,
                other => panic!("FECF of {other} octets"),
            };
            spec.insert_zone_len = case["insert_zone"].as_str().map_or(0, |text| text.len() / 2);
        }
        spec.validate().expect("the vectors' parameters are valid");
        let frame = Frame::parse(&spec, &octets).expect("a valid frame");
        let rest = (!truncated).then(|| UslpHeaderRest {
            frame_len: number(&case["frame_length_field"]) as u32 + 1,
            bypass: number(&case["bypass"]) == 1,
            protocol_control_command: number(&case["protocol_control_command"]) == 1,
            reserved: 0,
            ocf: case["ocf_flag"] == true,
            vcf_count_len: number(&case["vcf_count_len"]) as u8,
            vcf_count: case["vcf_count"].as_u64().unwrap_or(0),
        });
        let header = UslpHeader {
            scid: number(&case["scid"]) as u16,
            destination: number(&case["source_or_dest"]) == 1,
            vcid: number(&case["vcid"]) as u8,
            map_id: number(&case["map_id"]) as u8,
            rest,
        };
        assert_eq!(frame.header, Header::Uslp(header));
        assert_eq!(frame.map_id, Some(header.map_id));
        assert_eq!(frame.frame_count, rest.map_or(0, |rest| rest.vcf_count));
        assert_eq!(frame.frame_count_modulus, rest.map_or(1, |rest| 1 << (8 * rest.vcf_count_len)));
        assert_eq!(frame.ocf, if truncated { None } else { ocf_of(&case) });
        let tfdf = Tfdf::parse(frame.data_zone).expect("a data field");
        let rule = number(&case["tfdz_rule"]);
        assert_eq!((tfdf.rule as u64, u64::from(tfdf.upid)), (rule, number(&case["upid"])));
        assert_eq!(tfdf.pointer, case["pointer"].as_u64().unwrap_or(0) as u16);
        assert_eq!(tfdf.zone, hex(&case["tfdz"]));
        let mut data_field = Vec::new();
        tfdf.emit(&mut data_field);
        assert_eq!(data_field, frame.data_zone);
        assert_builds_again(&spec, &frame, &octets);
        rules[rule as usize] += 1;

        // The end-of-header bit, wrong by damage, is no way around the FECF.
        if spec.fecf != Fecf::None {
            let mut damaged = octets.clone();
            damaged[3] ^= 1;
            assert!(matches!(Frame::parse(&spec, &damaged), Err(FrameInvalid::Fecf { .. })));
        }

        // The same frame on a channel of variable-length frames.
        if !truncated {
            let spec = FrameSpec { variable_len: true, frame_len: 65536, ..spec };
            assert_eq!(Frame::parse(&spec, &octets), Ok(frame));
        }
    }
    assert!(rules.iter().all(|count| *count > 0), "construction rules seen: {rules:?}");
}

#[test]
fn a_uslp_frame_says_what_its_data_field_holds() {
    let spec = FrameSpec::uslp(64);
    let header = |vcid| {
        let rest = UslpHeaderRest {
            frame_len: 64,
            bypass: false,
            protocol_control_command: false,
            reserved: 0,
            ocf: false,
            vcf_count_len: 1,
            vcf_count: 7,
        };
        Header::Uslp(UslpHeader { scid: 1, destination: false, vcid, map_id: 2, rest: Some(rest) })
    };
    let mut data_field = Vec::new();
    let build = |vcid, rule, upid, pointer: u16, data_field: &mut Vec<u8>| {
        let tfdf = Tfdf { rule, upid, pointer, zone: &[0xE0; 60][..56 - if pointer == 0 { 1 } else { 3 }] };
        data_field.clear();
        tfdf.emit(data_field);
        let mut octets = Vec::new();
        FrameParts::new(header(vcid), data_field).build(&spec, &mut octets).expect("a frame");
        octets
    };
    let octets = build(5, ConstructionRule::PacketsSpanning, 0, 9, &mut data_field);
    let frame = Frame::parse(&spec, &octets).expect("a frame");
    let Ok(Payload::Packets(zone)) = frame.payload(VcService::Packets) else { panic!("packets") };
    assert_eq!((zone.first_header_pointer, zone.data.len()), (Fhp::At(9), 53));
    let octets = build(5, ConstructionRule::Unsegmented, 0, 0, &mut data_field);
    let frame = Frame::parse(&spec, &octets).expect("a frame");
    let Ok(Payload::Packets(zone)) = frame.payload(VcService::Packets) else { panic!("packets") };
    assert_eq!((zone.first_header_pointer, zone.data.len()), (Fhp::At(0), 55));
    let octets = build(5, ConstructionRule::SduStart, 5, 9, &mut data_field);
    let frame = Frame::parse(&spec, &octets).expect("a frame");
    assert!(matches!(frame.payload(VcService::Packets), Ok(Payload::Sdu(zone)) if zone.len() == 53));
    let octets = build(63, ConstructionRule::Unsegmented, 31, 0, &mut data_field);
    let frame = Frame::parse(&spec, &octets).expect("a frame");
    assert!(frame.idle && matches!(frame.payload(VcService::Packets), Ok(Payload::Idle(_))));
}

// REQ: FEP-FRAME-010, FEP-FRAME-109
#[test]
fn control_words_of_another_builder_parse_field_by_field_and_build_again() {
    for case in cases("frames/clcw.json") {
        let ocf: [u8; 4] = hex(&case["ocf"]).try_into().expect("4 octets");
        let flag = |name: &str| number(&case[name]) == 1;
        let clcw = Clcw::parse(ocf).expect("a CLCW");
        assert_eq!(u64::from(clcw.status), number(&case["status_field"]));
        assert_eq!(clcw.cop_in_effect & 1 == 1, flag("cop_in_effect_is_cop1"));
        assert_eq!(u64::from(clcw.vcid), number(&case["vcid"]));
        assert_eq!(clcw.no_rf_available, flag("no_rf_available"));
        assert_eq!(clcw.no_bit_lock, flag("no_bit_lock"));
        assert_eq!((clcw.lockout, clcw.wait), (flag("lockout"), flag("wait")));
        assert_eq!(clcw.retransmit, flag("retransmit"));
        assert_eq!(u64::from(clcw.farm_b_counter), number(&case["farm_b_counter"]));
        assert_eq!(u64::from(clcw.report_value), number(&case["report_value"]));
        assert_eq!(clcw.emit(), ocf);
    }
    // The whole vocabulary, as an operator reads it.
    let text = |ocf: [u8; 4]| OcfReport::parse(ocf).to_string();
    assert_eq!(text([0x01, 0x0C, 0x00, 0x2A]), "COP-1 VC 3 V(R) 42 FARM-B 0");
    assert_eq!(
        text([0x16, 0xFC, 0xFE, 0xFF]),
        "COP code 2 VC 63 V(R) 255 FARM-B 3 lockout wait retransmit no RF available no bit lock status 5"
    );
    assert_eq!(text([0x21, 0, 0, 1]), "CLCW of unknown version, 21000001");
    assert_eq!(text([0xC9, 0, 1, 2]), "type-2 report C9000102");
    let json = serde_json::to_value(OcfReport::parse([0x01, 0x0C, 0x20, 0x2A])).expect("JSON");
    let fields = serde_json::json!({
        "type": "clcw", "status": 0, "cop_in_effect": 1, "vcid": 3, "reserved": 0, "no_rf_available": false,
        "no_bit_lock": false, "lockout": true, "wait": false, "retransmit": false, "farm_b_counter": 0,
        "reserved_last": false, "report_value": 42,
    });
    assert_eq!(json, fields);
    let json = serde_json::to_value(OcfReport::parse([0xC9, 0, 1, 2])).expect("JSON");
    assert_eq!(json, serde_json::json!({ "type": "type2", "octets": [0xC9, 0, 1, 2] }));
    assert!(Clcw::parse([0x80, 0, 0, 0]).is_err(), "type 1 is not a CLCW");
    assert!(Clcw::parse([0x20, 0, 0, 0]).is_err(), "version 1 is not a CLCW of today");
}
