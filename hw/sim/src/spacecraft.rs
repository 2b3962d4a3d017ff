//! A spacecraft's telemetry: virtual channels of packets, multiplexed into transfer frames, the same again from the same
//! seed.
//!
//! It makes frames, not CADUs (see [`crate::Encoder`]), and knows nothing of wall clocks: on-board time advances with the
//! frames, at the nominal bit rate.

use fep_ccsds::frame::{IDLE_VCID, Mpdu, upid};
use fep_ccsds::{
    AosHeader, BuildError, Clcw, Fhp, FrameKind, FrameParts, FrameSpec, FrameSpecError, Gvcid, Header, Ocf,
    Tfdf, TmDataField, TmHeader, UslpHeader, UslpHeaderRest,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::packets::{Draw, PacketStream, PacketStreamSpec, append_idle_packet, data_len_min};

/// 2026-01-01T00:00:00 TAI: where on-board time starts unless set otherwise, nanoseconds since 1958-01-01 TAI.
pub const DEFAULT_EPOCH_TAI_NS: i64 = 2_145_916_800_000_000_000;

/// Octets of the frame count in USLP frames made here.
const USLP_COUNT_LEN: u8 = 4;

/// What a spacecraft sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpacecraftSpec {
    /// Spacecraft identifier: 10 bits TM, 8 bits AOS, 16 bits USLP.
    pub scid: u16,
    /// Managed parameters of the frames.
    pub frame: FrameSpec,
    /// TM and USLP: every frame carries a CLCW. AOS frames carry one when `frame.ocf` is present.
    #[serde(default)]
    pub clcw: bool,
    /// Virtual channels.
    pub vc: Vec<VcSpec>,
    /// Nominal bit rate of the frames by which on-board time advances, bit/s.
    #[serde(default = "nominal_rate_bps")]
    pub nominal_rate_bps: u64,
    /// On-board time of the first frame, nanoseconds since 1958-01-01 TAI.
    #[serde(default = "default_epoch")]
    pub epoch_tai_ns: i64,
}

fn nominal_rate_bps() -> u64 {
    1_000_000
}

fn default_epoch() -> i64 {
    DEFAULT_EPOCH_TAI_NS
}

/// One virtual channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VcSpec {
    /// Virtual channel identifier: 0 to 7 TM, 0 to 63 AOS and USLP; 63 holds only idle data there.
    pub vcid: u8,
    /// Share of the frames, relative to the other virtual channels.
    pub weight: u32,
    /// Packets; none makes a virtual channel of frames with only idle data.
    #[serde(default)]
    pub packets: Vec<PacketStreamSpec>,
    /// Share of idle packets, relative to the weights of `packets`.
    #[serde(default)]
    pub idle_packets: u32,
}

/// Why a spacecraft cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SpacecraftError {
    /// The managed parameters are impossible.
    #[error("frame: {0}")]
    Frame(#[from] FrameSpecError),
    /// The parts do not make a frame of this length.
    #[error("frame: {0}")]
    Build(#[from] BuildError),
    /// A parameter that the simulator does not make.
    #[error("frame.{0}: the simulated spacecraft does not send such frames")]
    NotSimulated(&'static str),
    /// The identifier does not fit its field.
    #[error("scid = {scid}: a {kind} frame holds 0 to {max}")]
    Scid {
        /// Given.
        scid: u16,
        /// Frame kind.
        kind: FrameKind,
        /// The largest.
        max: u16,
    },
    /// A virtual channel identifier is too large or comes twice.
    #[error("vc.vcid = {vcid}: {reason}")]
    Vcid {
        /// Given.
        vcid: u8,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nothing would ever be sent.
    #[error("vc: at least one virtual channel needs a weight above 0")]
    Silent,
    /// A packet stream is impossible.
    #[error("vc {vcid}, apid {apid}: {reason}")]
    Packets {
        /// Virtual channel.
        vcid: u8,
        /// Application process.
        apid: u16,
        /// What is wrong.
        reason: String,
    },
    /// On-board time needs a rate.
    #[error("nominal_rate_bps = 0: on-board time would never pass")]
    NominalRate,
}

/// Which frame was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameIdentity {
    /// Frames of the spacecraft before it.
    pub number: u64,
    /// Virtual channel.
    pub gvcid: Gvcid,
    /// Frames of the virtual channel before it; the frame counts this modulo its field.
    pub vc_number: u64,
    /// Only idle data.
    pub idle: bool,
}

/// The spacecraft.
#[derive(Debug, Clone)]
pub struct Spacecraft {
    spec: SpacecraftSpec,
    seed: u64,
    data_len: usize,
    number: u64,
    vcs: Vec<Vc>,
    insert_zone: Vec<u8>,
    security_header: Vec<u8>,
    security_trailer: Vec<u8>,
    trailer: Vec<u8>,
    data: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Vc {
    vcid: u8,
    weight: i64,
    credit: i64,
    frames: u64,
    streams: Vec<PacketStream>,
    idle_packets: u32,
    idle_packet_count: u16,
    choice: Draw,
    /// Packets made, of which the octets before `taken` have left.
    backlog: Vec<u8>,
    taken: usize,
}

impl Spacecraft {
    /// A spacecraft at its first frame.
    ///
    /// # Errors
    /// [`SpacecraftError`] says which parameter is impossible and why.
    pub fn new(spec: SpacecraftSpec, seed: u64) -> Result<Spacecraft, SpacecraftError> {
        validate(&spec)?;
        let vcs = spec.vc.iter().map(|vc| Vc::new(vc, seed)).collect();
        let zones = &spec.frame;
        let spacecraft = Spacecraft {
            insert_zone: vec![0; zones.insert_zone_len],
            security_header: vec![0; zones.security_header_len],
            security_trailer: vec![0; zones.security_trailer_len],
            trailer: vec![0; zones.trailer_len],
            seed,
            data_len: data_len(&spec),
            number: 0,
            vcs,
            data: Vec::with_capacity(spec.frame.frame_len),
            spec,
        };
        // One frame of a copy proves that the parts fit, so that no later frame can fail.
        spacecraft.clone().try_next(&mut Vec::new())?;
        Ok(spacecraft)
    }

    /// Its parameters.
    #[must_use]
    pub fn spec(&self) -> &SpacecraftSpec {
        &self.spec
    }

    /// Appends the next frame to `out`.
    pub fn next_frame(&mut self, out: &mut Vec<u8>) -> FrameIdentity {
        self.try_next(out).expect("the constructor has built a frame of these parts")
    }

    fn try_next(&mut self, out: &mut Vec<u8>) -> Result<FrameIdentity, BuildError> {
        let number = self.number;
        self.number += 1;
        let tai_ns = self.on_board_time(number);
        let chosen = choose(&mut self.vcs);
        let vc = &mut self.vcs[chosen];
        let vc_number = vc.frames;
        vc.frames += 1;
        let idle = vc.streams.is_empty();
        let zone_at = match self.spec.frame.kind {
            FrameKind::Tm => 0,
            FrameKind::Aos => 2,
            FrameKind::Uslp if idle => 1,
            FrameKind::Uslp => 3,
        };
        self.data.clear();
        self.data.resize(zone_at, 0);
        let pointer = if idle {
            // Never the same twice: frames with only idle data are told apart by their fill.
            self.data.resize(self.data_len, 0);
            Draw::new(self.seed ^ u64::from(vc.vcid), vc_number).fill(&mut self.data[zone_at..]);
            Fhp::IdleOnly
        } else {
            vc.fill(self.data_len - zone_at, tai_ns, &mut self.data)
        };
        let (kind, scid, vcid) = (self.spec.frame.kind, self.spec.scid, vc.vcid);
        let header = match kind {
            FrameKind::Tm => Header::Tm(TmHeader {
                scid,
                vcid,
                ocf: self.spec.clcw,
                mc_count: number as u8,
                vc_count: vc_number as u8,
                secondary_header: false,
                data_field: TmDataField::Packets { first_header_pointer: pointer },
            }),
            FrameKind::Aos => {
                let mpdu = Mpdu { reserved: 0, first_header_pointer: pointer, packet_zone: &[] };
                self.data[..2].copy_from_slice(&mpdu.emit_header());
                Header::Aos(AosHeader {
                    scid: scid as u8,
                    vcid,
                    vc_count: vc_number as u32 & 0xFF_FFFF,
                    replay: false,
                    vc_count_cycle_used: false,
                    reserved: 0,
                    vc_count_cycle: 0,
                })
            }
            FrameKind::Uslp => {
                self.put_tfdf_header(pointer);
                Header::Uslp(UslpHeader {
                    scid,
                    destination: false,
                    vcid,
                    map_id: 0,
                    rest: Some(UslpHeaderRest {
                        frame_len: self.spec.frame.frame_len as u32,
                        bypass: false,
                        protocol_control_command: false,
                        reserved: 0,
                        ocf: self.spec.clcw,
                        vcf_count_len: USLP_COUNT_LEN,
                        vcf_count: vc_number & 0xFFFF_FFFF,
                    }),
                })
            }
        };
        let mut draw = Draw::new(!self.seed, number);
        for zone in
            [&mut self.insert_zone, &mut self.security_header, &mut self.security_trailer, &mut self.trailer]
        {
            draw.fill(zone);
        }
        let parts = FrameParts {
            header,
            insert_zone: &self.insert_zone,
            secondary_header: None,
            security_header: &self.security_header,
            data_zone: &self.data,
            security_trailer: &self.security_trailer,
            trailer: &self.trailer,
            ocf: has_ocf(&self.spec).then(|| clcw(number)),
        };
        parts.build(&self.spec.frame, out)?;
        let gvcid = Gvcid { tfvn: kind.tfvn(), scid, vcid };
        Ok(FrameIdentity { number, gvcid, vc_number, idle })
    }

    fn put_tfdf_header(&mut self, pointer: Fhp) {
        use fep_ccsds::frame::ConstructionRule::{PacketsSpanning, Unsegmented};
        let (rule, upid, pointer) = match pointer {
            Fhp::At(pointer) => (PacketsSpanning, upid::PACKETS, pointer),
            Fhp::None => (PacketsSpanning, upid::PACKETS, 0xFFFF),
            Fhp::IdleOnly => (Unsegmented, upid::IDLE, 0),
        };
        let mut header = Vec::with_capacity(3);
        Tfdf { rule, upid, pointer, zone: &[] }.emit(&mut header);
        self.data[..header.len()].copy_from_slice(&header);
    }

    fn on_board_time(&self, number: u64) -> i64 {
        let bits = u128::from(number) * self.spec.frame.frame_len as u128 * 8;
        let elapsed_ns = bits * 1_000_000_000 / u128::from(self.spec.nominal_rate_bps);
        self.spec.epoch_tai_ns + elapsed_ns as i64
    }
}

impl Vc {
    fn new(spec: &VcSpec, seed: u64) -> Vc {
        Vc {
            vcid: spec.vcid,
            weight: i64::from(spec.weight),
            credit: 0,
            frames: 0,
            streams: spec.packets.iter().map(|stream| PacketStream::new(stream.clone(), seed)).collect(),
            idle_packets: spec.idle_packets,
            idle_packet_count: 0,
            choice: Draw::new(seed, u64::from(spec.vcid) << 32 | 1),
            backlog: Vec::new(),
            taken: 0,
        }
    }

    /// Appends `len` octets of packets to `zone`; returns where the first one starts.
    fn fill(&mut self, len: usize, tai_ns: i64, zone: &mut Vec<u8>) -> Fhp {
        let left_over = self.backlog.len() - self.taken;
        let pointer = if left_over < len { Fhp::At(left_over as u16) } else { Fhp::None };
        while self.backlog.len() - self.taken < len {
            self.make_packet(tai_ns);
        }
        zone.extend_from_slice(&self.backlog[self.taken..self.taken + len]);
        self.taken += len;
        // Moving what is left to the front costs little once most of the backlog has left.
        if self.taken >= self.backlog.len() / 2 {
            self.backlog.drain(..self.taken);
            self.taken = 0;
        }
        pointer
    }

    fn make_packet(&mut self, tai_ns: i64) {
        let weights: u64 = self.streams.iter().map(|stream| u64::from(stream.weight())).sum();
        let mut at = self.choice.next() % (weights + u64::from(self.idle_packets));
        for stream in &mut self.streams {
            let weight = u64::from(stream.weight());
            if at < weight {
                stream.append_next(tai_ns, &mut self.backlog);
                return;
            }
            at -= weight;
        }
        let data_len = 1 + (self.choice.next() % 200) as u32;
        append_idle_packet(self.idle_packet_count, data_len, &mut self.backlog);
        self.idle_packet_count = (self.idle_packet_count + 1) & 0x3FFF;
    }
}

/// Smooth weighted round robin: shares are exact and evenly spread, without chance.
fn choose(vcs: &mut [Vc]) -> usize {
    let total: i64 = vcs.iter().map(|vc| vc.weight).sum();
    let mut chosen = 0;
    for index in 0..vcs.len() {
        vcs[index].credit += vcs[index].weight;
        if vcs[index].credit > vcs[chosen].credit {
            chosen = index;
        }
    }
    vcs[chosen].credit -= total;
    chosen
}

/// A receiver of telecommands that gets one frame every 64 telemetry frames.
fn clcw(number: u64) -> [u8; 4] {
    Clcw { cop_in_effect: 1, report_value: (number / 64) as u8, ..Clcw::default() }.emit()
}

fn has_ocf(spec: &SpacecraftSpec) -> bool {
    match spec.frame.kind {
        FrameKind::Aos => spec.frame.ocf == Ocf::Present,
        FrameKind::Tm | FrameKind::Uslp => spec.clcw,
    }
}

fn data_len(spec: &SpacecraftSpec) -> usize {
    let frame = &spec.frame;
    let header_len = match frame.kind {
        FrameKind::Tm => 6,
        FrameKind::Aos => 6 + if frame.fhec { 2 } else { 0 },
        FrameKind::Uslp => 7 + usize::from(USLP_COUNT_LEN),
    };
    let zones =
        frame.insert_zone_len + frame.security_header_len + frame.security_trailer_len + frame.trailer_len;
    let ends = if has_ocf(spec) { 4 } else { 0 } + frame.fecf.len();
    frame.frame_len.saturating_sub(header_len + zones + ends)
}

fn validate(spec: &SpacecraftSpec) -> Result<(), SpacecraftError> {
    let kind = spec.frame.kind;
    spec.frame.validate()?;
    if spec.frame.variable_len {
        return Err(SpacecraftError::NotSimulated("variable_len"));
    }
    if spec.frame.truncated_len.is_some() {
        return Err(SpacecraftError::NotSimulated("truncated_len"));
    }
    // Room for the header of an M_PDU or data field and one octet.
    if data_len(spec) < 4 {
        let frame_len = spec.frame.frame_len;
        let overhead = frame_len - data_len(spec) + 3;
        return Err(FrameSpecError::TooShort { frame_len, overhead }.into());
    }
    let (scid_max, vcid_max) = match kind {
        FrameKind::Tm => (0x3FF, 7),
        FrameKind::Aos => (0xFF, 63),
        FrameKind::Uslp => (0xFFFF, 63),
    };
    if spec.scid > scid_max {
        return Err(SpacecraftError::Scid { scid: spec.scid, kind, max: scid_max });
    }
    if spec.nominal_rate_bps == 0 {
        return Err(SpacecraftError::NominalRate);
    }
    if spec.vc.iter().all(|vc| vc.weight == 0) {
        return Err(SpacecraftError::Silent);
    }
    for (index, vc) in spec.vc.iter().enumerate() {
        let vcid = vc.vcid;
        let refuse = |reason| Err(SpacecraftError::Vcid { vcid, reason });
        if vcid > vcid_max {
            return refuse("beyond the virtual channels of this frame kind");
        }
        if spec.vc[..index].iter().any(|other| other.vcid == vcid) {
            return refuse("stands here twice");
        }
        if kind != FrameKind::Tm && (vcid == IDLE_VCID) != vc.packets.is_empty() {
            return refuse("virtual channel 63, and no other, holds only idle data: it takes no packets");
        }
        validate_packets(spec, vc)?;
    }
    Ok(())
}

fn validate_packets(spec: &SpacecraftSpec, vc: &VcSpec) -> Result<(), SpacecraftError> {
    for stream in &vc.packets {
        let refuse = |reason| Err(SpacecraftError::Packets { vcid: vc.vcid, apid: stream.apid, reason });
        let (min, max) = (stream.data_len, stream.data_len_max.unwrap_or(stream.data_len));
        let least = data_len_min(stream.content);
        if stream.apid > 0x7FE {
            return refuse("application process identifiers are 0 to 2046 (2047 is idle)".to_owned());
        }
        if min < least || max < min || max > 65536 {
            return refuse(format!("data_len {min} to {max}: must be {least} to 65536 and ascending"));
        }
        if stream.weight == 0 {
            return refuse("weight = 0: leave the stream out instead".to_owned());
        }
        let twice =
            spec.vc.iter().flat_map(|vc| &vc.packets).filter(|other| other.apid == stream.apid).count() > 1;
        if twice {
            return refuse(
                "the application process stands here twice: its packets could not be told apart".to_owned(),
            );
        }
    }
    Ok(())
}
