//! Packets built by other people's programs: parsed, every field compared, and built again octet by octet.

mod golden;

use fep_ccsds::packet::{LengthOfLength, protocol_id};
use fep_ccsds::pus::{self, PusInvalid, PusTcHeader, PusTmHeader};
use fep_ccsds::time::{Cds, CdsFormat};
use fep_ccsds::{EncapsulationHeader, PacketType, SequenceFlags, SpacePacketHeader};
use golden::{cases, hex, number};

// REQ: FEP-PKT-002
#[test]
fn space_packets_of_another_builder_parse_field_by_field_and_build_again() {
    let mut flags_seen = [false; 4];
    for case in cases("packets/space_packets.json") {
        let packet = hex(&case["packet"]);
        let header = SpacePacketHeader::parse(&packet).expect("a space packet");
        if case["name"] == "idle packet apid 2047" {
            assert!(header.is_idle() && !header.secondary_header);
            assert_eq!(header.emit(), packet[..6]);
            continue;
        }
        let sequence_flags = match case["seq_flags_meaning"].as_str() {
            Some("continuation") => SequenceFlags::Continuation,
            Some("first") => SequenceFlags::First,
            Some("last") => SequenceFlags::Last,
            Some("unsegmented") => SequenceFlags::Unsegmented,
            other => panic!("{other:?}"),
        };
        let data = hex(&case["data_field"]);
        assert_eq!(
            header,
            SpacePacketHeader {
                packet_type: if case["type"] == "tc" {
                    PacketType::Telecommand
                } else {
                    PacketType::Telemetry
                },
                secondary_header: number(&case["sec_hdr_flag"]) == 1,
                apid: number(&case["apid"]) as u16,
                sequence_flags,
                sequence_count: number(&case["seq_count"]) as u16,
                data_len: data.len() as u32,
            }
        );
        assert_eq!(header.packet_len(), packet.len());
        assert_eq!([&header.emit()[..], &data].concat(), packet);
        flags_seen[sequence_flags as usize] = true;
    }
    assert_eq!(flags_seen, [true; 4]);
}

// REQ: FEP-PKT-003
#[test]
fn encapsulation_packets_of_another_builder_parse_field_by_field_and_build_again() {
    let mut codes_seen = [false; 4];
    for case in cases("packets/encapsulation.json") {
        let packet = hex(&case["packet"]);
        let header = EncapsulationHeader::parse(&packet).expect("an encapsulation packet");
        assert_eq!(header.packet_len as usize, packet.len());
        let mut built = Vec::new();
        header.emit(&mut built);
        assert_eq!(built.len(), header.header_len());
        if case["name"] == "idle one octet" {
            assert_eq!((header.length_of_length, header.is_idle()), (LengthOfLength::Zero, true));
            assert_eq!(built, packet);
            codes_seen[0] = true;
            continue;
        }
        built.extend(hex(&case["data"]));
        assert_eq!(built, packet);
        let expected_id = match case["protocol"].as_str().expect("a protocol") {
            "PROTOCOL_ID_LTP" => protocol_id::LTP,
            "PROTOCOL_ID_IPE" => protocol_id::IPE,
            "PROTOCOL_ID_CFDP" => protocol_id::CFDP,
            "PROTOCOL_ID_BP" => protocol_id::BP,
            // The builder writes 6 for both.
            "PROTOCOL_ID_EXTENSION" | "PROTOCOL_ID_NO_ENTRY" => header.protocol_id,
            "PROTOCOL_ID_MISSION_SPECIFIC" => protocol_id::MISSION,
            other => panic!("{other}"),
        };
        assert_eq!(header.protocol_id, expected_id);
        let field = |name: &str| case[name].as_u64().unwrap_or(0) as u8;
        let (user_defined, protocol_id_extension) = (field("user_defined"), field("protocol_id_ext"));
        let code = number(&case["lol_code"]) as usize;
        codes_seen[code] = true;
        assert_eq!(
            header.length_of_length,
            match code {
                1 => LengthOfLength::One,
                2 => LengthOfLength::Two { user_defined, protocol_id_extension },
                other => panic!("length of length {other}"),
            }
        );
    }
    // Nobody's builder gave an 8-octet header; the property test builds them.
    assert_eq!(codes_seen[..3], [true; 3]);
}

// REQ: FEP-PKT-004
#[test]
fn pus_packets_of_another_builder_parse_field_by_field_and_build_again() {
    let (mut telecommands, mut telemetry) = (0, 0);
    for case in cases("packets/pus_c.json") {
        let packet = hex(&case["packet"]);
        let primary = SpacePacketHeader::parse(&packet).expect("a space packet");
        assert_eq!(u64::from(primary.apid), number(&case["apid"]));
        assert_eq!(u64::from(primary.sequence_count), number(&case["seq_count"]));
        let data_field = pus::checked_data_field(&packet).expect("the error control matches");
        let (service, subtype) = (number(&case["service"]) as u8, number(&case["subtype"]) as u8);
        let mut built = vec![7];
        if case["kind"] == "tc" {
            let header = PusTcHeader::parse(data_field).expect("a telecommand");
            let expected = PusTcHeader {
                ack_flags: number(&case["ack_flags"]) as u8,
                service,
                subtype,
                source_id: number(&case["source_id"]) as u16,
            };
            assert_eq!(header, expected);
            pus::build_packet(primary, &[&header.emit()], &hex(&case["app_data"]), &mut built)
                .expect("it fits");
            telecommands += 1;
        } else {
            let header = PusTmHeader::parse(data_field).expect("telemetry");
            let expected = PusTmHeader {
                time_reference_status: number(&case["space_time_ref"]) as u8,
                service,
                subtype,
                message_counter: number(&case["message_counter"]) as u16,
                destination_id: number(&case["destination_id"]) as u16,
            };
            assert_eq!(header, expected);
            let time = hex(&case["timestamp"]);
            assert_eq!(Cds::parse(&time).expect("a time code").0.format(), CdsFormat::SHORT);
            let data = hex(&case["source_data"]);
            pus::build_packet(primary, &[&header.emit(), &time], &data, &mut built).expect("it fits");
            telemetry += 1;
        }
        assert_eq!(&built[1..], packet);
        let last = built.len() - 1;
        built[last] ^= 1;
        assert!(matches!(pus::checked_data_field(&built[1..]), Err(PusInvalid::ErrorControl { .. })));
    }
    assert!(telecommands > 5 && telemetry > 5);
}

#[test]
fn pus_headers_of_another_version_are_refused() {
    assert_eq!(PusTmHeader::parse(&[0x10; 7]), Err(PusInvalid::Version(1)));
    assert_eq!(PusTcHeader::parse(&[0x20; 4]), Err(PusInvalid::Short { needed: 5, actual: 4 }));
    let primary = SpacePacketHeader::parse(&[0, 1, 0xC0, 0, 0, 0]).expect("a header");
    let mut out = Vec::new();
    assert_eq!(pus::build_packet(primary, &[], &[0; 65535], &mut out), Err(PusInvalid::TooLong(65537)));
    assert!(out.is_empty());
    assert_eq!(pus::build_packet(primary, &[], &[0; 65534], &mut out), Ok(65542));
}
