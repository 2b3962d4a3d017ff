//! The rings of a role: their names, their specifications, and how they are opened. Red and black rings are apart.

use std::path::PathBuf;

use fep_bus::{Access, BusError, Colour, Producer, RingSpec};
use fep_control::config::{Config, RingSize, RingsConfig, is_role_name};

/// Name of the ring of all events.
pub(crate) const EVENTS_RING: &str = "events";
/// Longest event payload; a longer one is a mistake of ours and is cut to its code.
pub(crate) const EVENT_MAX: u32 = 4096;

/// Where rings and pages lie, and how they are made: read once, at start.
#[derive(Debug, Clone)]
pub(crate) struct BusSetting {
    /// Directory of rings and metric pages.
    pub(crate) dir: PathBuf,
    pub(crate) rings: RingsConfig,
}

impl BusSetting {
    pub(crate) fn of(config: &Config) -> BusSetting {
        BusSetting { dir: config.bus_dir(), rings: config.rings.clone() }
    }

    /// Who may read what has this colour.
    pub(crate) fn access(&self, colour: Colour) -> Access {
        let access = if colour == Colour::Red { &self.rings.red } else { &self.rings.black };
        let group = (!access.group.is_empty()).then(|| access.group.clone());
        Access { mode: access.mode, group }
    }

    fn spec(&self, name: &str, schema: &str, colour: Colour, size: RingSize, payload_max: u32) -> RingSpec {
        let Access { mode, group } = self.access(colour);
        RingSpec {
            colour,
            desc_log2: size.desc_log2,
            data_len: size.data_len,
            extent_len: self.rings.extent_len,
            payload_max,
            gates: self.rings.gates.clone(),
            mode,
            group,
            ..RingSpec::new(name, schema)
        }
    }

    /// The events ring.
    pub(crate) fn events(&self) -> RingSpec {
        self.spec(EVENTS_RING, "fep.event.v1", Colour::Black, self.rings.events, EVENT_MAX)
    }
}

/// Which rings a role has, beside those of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingPlan {
    /// Whether some virtual channel is red.
    pub(crate) red: bool,
    /// Whether packets are taken out.
    pub(crate) packets: bool,
    /// Longest frame.
    pub(crate) frame_max: u32,
}

impl RingPlan {
    /// Names of the rings of a role of this name.
    pub(crate) fn names(&self, role: &str) -> Vec<String> {
        let mut names = Vec::new();
        for colour in [Colour::Black, Colour::Red].into_iter().take(1 + usize::from(self.red)) {
            names.push(frames_ring(role, colour));
            if self.packets {
                names.push(packets_ring(role, colour));
            }
        }
        names
    }
}

/// The role that a ring is of, by its name; `None` for rings of other processes.
pub(crate) fn role_of(ring: &str) -> Option<&str> {
    let role = ring.strip_suffix(".frames").or_else(|| ring.strip_suffix(".packets"))?;
    let role = role.strip_suffix(".red").unwrap_or(role);
    is_role_name(role).then_some(role)
}

/// Name of a role's ring of frames.
pub(crate) fn frames_ring(role: &str, colour: Colour) -> String {
    format!("{role}{}.frames", infix(colour))
}

fn packets_ring(role: &str, colour: Colour) -> String {
    format!("{role}{}.packets", infix(colour))
}

fn infix(colour: Colour) -> &'static str {
    match colour {
        Colour::Black => "",
        Colour::Red => ".red",
    }
}

/// The rings of one colour.
pub(crate) struct RingPair {
    pub(crate) frames: Producer,
    pub(crate) packets: Option<Producer>,
}

/// The rings of a role, by colour.
pub(crate) struct Rings {
    pub(crate) black: RingPair,
    pub(crate) red: Option<RingPair>,
}

impl Rings {
    /// Makes them, or takes them over where an earlier life left them; their sequence numbers go on.
    ///
    /// # Errors
    /// A ring that cannot be made, or that another live process holds.
    pub(crate) fn open(setting: &BusSetting, role: &str, plan: &RingPlan) -> Result<Rings, BusError> {
        let open = |spec: RingSpec| {
            let producer = Producer::create_or_attach(&setting.dir, &spec)?;
            let (ring, origin, next_seq) = (&spec.name, producer.origin(), producer.head().seq);
            tracing::info!(ring, ?origin, next_seq, "ring ready");
            Ok::<Producer, BusError>(producer)
        };
        let pair = |colour| {
            let rings = &setting.rings;
            let name = frames_ring(role, colour);
            let frames = open(setting.spec(&name, "ccsds.frame.v1", colour, rings.frames, plan.frame_max))?;
            let name = packets_ring(role, colour);
            let spec = setting.spec(&name, "ccsds.packet.v1", colour, rings.packets, rings.packet_max);
            let packets = if plan.packets { Some(open(spec)?) } else { None };
            Ok::<RingPair, BusError>(RingPair { frames, packets })
        };
        let black = pair(Colour::Black)?;
        let red = if plan.red { Some(pair(Colour::Red)?) } else { None };
        Ok(Rings { black, red })
    }

    /// The rings that data of this colour may go to.
    ///
    /// # Panics
    /// For red data of a role that was opened without red rings: its [`RingPlan`] is made from the same virtual channels.
    #[inline]
    pub(crate) fn pair(&mut self, colour: Colour) -> &mut RingPair {
        match (colour, &mut self.red) {
            (Colour::Red, Some(red)) => red,
            (Colour::Red, None) => unreachable!("red data without red rings"),
            (Colour::Black, _) => &mut self.black,
        }
    }

    /// Every ring.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Producer> {
        std::iter::once(&mut self.black)
            .chain(&mut self.red)
            .flat_map(|pair| std::iter::once(&mut pair.frames).chain(&mut pair.packets))
    }
}
