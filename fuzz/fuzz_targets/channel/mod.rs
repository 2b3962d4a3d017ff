//! Arbitrary managed parameters, and the properties that every frame parser holds.

use arbitrary::Arbitrary;
use fep_ccsds::frame::{Bpdu, Mpdu, Tfdf};
use fep_ccsds::{Clcw, Fecf, Frame, FrameKind, FrameSpec, MasterChannel, Ocf, PacketAssembler, Tai, VcService};

/// Managed parameters; also such as no channel can have.
#[derive(Debug, Arbitrary)]
pub struct Channel {
    /// Take the length of the octets given, so that most of them are long enough.
    fitting: bool,
    frame_len: u16,
    insert_zone_len: u8,
    fecf: u8,
    ocf: bool,
    fhec: bool,
    security_header_len: u8,
    security_trailer_len: u8,
    trailer_len: u8,
    variable_len: bool,
    truncated_len: Option<u8>,
    secondary_header_len: Option<u8>,
    huge: bool,
}

/// Managed parameters and whether the frame's length decides about the first of them.
pub struct Parameters {
    spec: FrameSpec,
    fitting: bool,
}

impl Channel {
    /// The parameters of a channel of this kind.
    pub fn spec(&self, kind: FrameKind) -> Parameters {
        let huge = if self.huge { usize::MAX / 2 } else { 0 };
        let spec = FrameSpec {
            kind,
            frame_len: usize::from(self.frame_len),
            insert_zone_len: usize::from(self.insert_zone_len % 16) + huge,
            fecf: [Fecf::None, Fecf::Crc16, Fecf::Crc32][usize::from(self.fecf % 3)],
            ocf: if self.ocf { Ocf::Present } else { Ocf::Absent },
            fhec: self.fhec,
            security_header_len: usize::from(self.security_header_len % 32) + huge,
            security_trailer_len: usize::from(self.security_trailer_len % 32) + huge,
            trailer_len: usize::from(self.trailer_len % 8),
            variable_len: self.variable_len,
            truncated_len: self.truncated_len.map(usize::from),
            secondary_header_len: self.secondary_header_len.map(usize::from),
        };
        Parameters { spec, fitting: self.fitting }
    }
}

/// Parses, looks at everything, builds again and compares.
pub fn round_trip(parameters: &Parameters, octets: &[u8]) {
    let mut spec = parameters.spec.clone();
    if parameters.fitting {
        spec.frame_len = octets.len();
    }
    if let Ok(frame) = Frame::parse(&spec, octets) {
        assert_builds(&spec, &frame, octets);
    }
    // Nearly no octets pass a FECF by chance: without looking at it every other path is reached. Building fills it in.
    let Ok(frame) = Frame::parse_unchecked(&spec, octets) else { return };
    look_at(&frame);
    if spec.validate().is_err() {
        return;
    }
    let mut built = Vec::new();
    frame.parts().build(&spec, &mut built).expect("the parts of a frame of this channel");
    assert_eq!(built.len(), octets.len());
    let again = Frame::parse(&spec, &built).expect("what is built passes every check");
    assert_eq!(again.parts(), frame.parts());
    let end = built.len() - if frame_is_truncated(&frame) { 0 } else { spec.fecf.len() };
    if frame.fhec_corrected == 0 {
        assert_eq!(built[..end], octets[..end]);
    }
}

fn frame_is_truncated(frame: &Frame<'_>) -> bool {
    frame.kind == FrameKind::Uslp && frame.frame_count_modulus == 1 && {
        matches!(frame.header, fep_ccsds::Header::Uslp(header) if header.rest.is_none())
    }
}

fn assert_builds(spec: &FrameSpec, frame: &Frame<'_>, octets: &[u8]) {
    if spec.validate().is_ok() && frame.fhec_corrected == 0 {
        let mut built = Vec::new();
        frame.parts().build(spec, &mut built).expect("the parts of a frame of this channel");
        assert_eq!(built, octets);
    }
}

fn look_at(frame: &Frame<'_>) {
    assert!(frame.frame_count < frame.frame_count_modulus);
    for service in [VcService::Packets, VcService::Bitstream, VcService::Vca] {
        let _ = frame.payload(service);
    }
    let _ = (Mpdu::parse(frame.data_zone), Bpdu::parse(frame.data_zone), Tfdf::parse(frame.data_zone));
    if let Some(ocf) = frame.ocf
        && let Ok(clcw) = Clcw::parse(ocf)
    {
        assert_eq!(clcw.emit(), ocf);
    }
    let continuity = MasterChannel::default().observe(frame, Tai(0)).virtual_channel;
    let mut assembler = PacketAssembler::default();
    if let Ok(Some(zone)) = frame.packet_zone() {
        assembler.push(zone.first_header_pointer, zone.data, continuity, &mut |_| {});
        assert_eq!(assembler.counters().octets_in, zone.data.len() as u64);
    }
}
