//! Ring files on disk (tmpfs, hugetlbfs): where they lie, how they are made whole before they are seen, and what is
//! checked before one is believed.
//!
//! ```text
//! <dir>/black/<ring>/ring            the shared region
//!                   /lock            held by the live producer
//!                   /cursors/<name>  one a consumer
//! <dir>/red/<ring>/…                 the same with permissions of its own
//! <dir>/services/<colour>/<process>/<ring>/…  rings of a process with a user of its own ([`crate::place`])
//! ```

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Colour;
use crate::directory::{Directory, Owner, Use};
use crate::error::BusError;
use crate::layout::{
    self, ABI_VERSION, LAYOUT_HASH, LINE, NAME_LEN, Position, RING_MAGIC, Shape, fixed, gate, page,
};
use crate::map::{self, Mapping};
use crate::memory::{AtomicU64, Memory, Ordering, format_page};
use crate::place::RingPlace;
use crate::spec::RingSpec;

/// What the static page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StaticPage {
    pub(crate) shape: Shape,
    pub(crate) instance: u64,
    pub(crate) region_len: u64,
    pub(crate) gate_count: usize,
    pub(crate) created_unix_ns: u64,
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) colour: Colour,
}

impl StaticPage {
    /// Reads and checks the static page of an open ring file.
    pub(crate) fn read(file: &File, path: &Path) -> Result<StaticPage, BusError> {
        let file_len = file.metadata().map_err(BusError::io(path, "measure"))?.len();
        if file_len < fixed::END as u64 {
            return Err(BusError::layout(
                path,
                format!("the file has {file_len} octets: it has been truncated"),
            ));
        }
        let mut octets = [0; fixed::END];
        file.read_exact_at(&mut octets, fixed::PAGE as u64)
            .map_err(BusError::io(path, "read the static page of"))?;
        StaticPage::parse(&octets, file_len).map_err(|problem| BusError::layout(path, problem))
    }

    /// Checks everything a reader will rely on; `file_len` is what really can be mapped.
    pub(crate) fn parse(octets: &[u8; fixed::END], file_len: u64) -> Result<StaticPage, String> {
        let u64_at =
            |offset: usize| u64::from_le_bytes(octets[offset..offset + 8].try_into().expect("8 octets"));
        let u32_at =
            |offset: usize| u32::from_le_bytes(octets[offset..offset + 4].try_into().expect("4 octets"));
        let expect = |what: &str, found: u64, expected: u64| {
            if found == expected {
                Ok(())
            } else {
                Err(format!("{what} is {found:#x}, expected {expected:#x}"))
            }
        };
        expect("the magic number", u64_at(fixed::MAGIC), RING_MAGIC)?;
        expect("the ABI version", u32_at(fixed::ABI_VERSION).into(), ABI_VERSION.into())?;
        expect("the layout hash", u64_at(fixed::LAYOUT_HASH), LAYOUT_HASH)?;
        expect("header_len", u32_at(fixed::HEADER_LEN).into(), layout::DESC_OFF)?;
        expect("desc_size", u32_at(fixed::DESC_SIZE).into(), LINE)?;
        expect("desc_off", u64_at(fixed::DESC_OFF), layout::DESC_OFF)?;
        let shape = Shape {
            desc_log2: u32_at(fixed::DESC_LOG2),
            data_len: u64_at(fixed::DATA_LEN),
            extent_len: u64_at(fixed::EXTENT_LEN),
            payload_max: u32_at(fixed::PAYLOAD_MAX),
            reserve_stride: u32_at(fixed::RESERVE_STRIDE).into(),
            wait: match u32_at(fixed::ON_FULL) {
                0 => false,
                1 => true,
                other => return Err(format!("on_full is {other}, expected 0 or 1")),
            },
            seq0: u64_at(fixed::SEQ0),
            pos0: u64_at(fixed::POS0),
            payload0: u64_at(fixed::PAYLOAD0),
        }
        .checked()?;
        expect("data_off", u64_at(fixed::DATA_OFF), layout::data_off(shape.desc_log2))?;
        let region_len = layout::region_len(shape.desc_log2, shape.data_len);
        expect("region_len", u64_at(fixed::REGION_LEN), region_len)?;
        if file_len < region_len {
            return Err(format!("the file has {file_len} octets of {region_len}: it has been truncated"));
        }
        let gate_count = u32_at(fixed::GATE_COUNT) as usize;
        if gate_count > layout::GATE_MAX {
            return Err(format!("gate_count is {gate_count}, at most {} fit", layout::GATE_MAX));
        }
        Ok(StaticPage {
            shape,
            instance: u64_at(fixed::INSTANCE),
            region_len,
            gate_count,
            created_unix_ns: u64_at(fixed::CREATED_UNIX_NS),
            name: name_of(&octets[fixed::RING_NAME..fixed::RING_NAME + NAME_LEN])
                .ok_or("the ring has no valid name")?,
            schema: name_of(&octets[fixed::SCHEMA..fixed::SCHEMA + NAME_LEN])
                .ok_or("the schema is not a name")?,
            colour: match u32_at(fixed::COLOUR) {
                0 => Colour::Black,
                1 => Colour::Red,
                other => return Err(format!("colour is {other}, expected 0 or 1")),
            },
        })
    }

    pub(crate) fn to_octets(&self) -> [u8; fixed::END] {
        let mut octets = [0; fixed::END];
        let mut set =
            |offset: usize, value: &[u8]| octets[offset..offset + value.len()].copy_from_slice(value);
        set(fixed::MAGIC, &RING_MAGIC.to_le_bytes());
        set(fixed::ABI_VERSION, &ABI_VERSION.to_le_bytes());
        set(fixed::HEADER_LEN, &(layout::DESC_OFF as u32).to_le_bytes());
        set(fixed::LAYOUT_HASH, &LAYOUT_HASH.to_le_bytes());
        set(fixed::INSTANCE, &self.instance.to_le_bytes());
        set(fixed::REGION_LEN, &self.region_len.to_le_bytes());
        set(fixed::DESC_OFF, &layout::DESC_OFF.to_le_bytes());
        set(fixed::DESC_LOG2, &self.shape.desc_log2.to_le_bytes());
        set(fixed::DESC_SIZE, &(LINE as u32).to_le_bytes());
        set(fixed::DATA_OFF, &layout::data_off(self.shape.desc_log2).to_le_bytes());
        set(fixed::DATA_LEN, &self.shape.data_len.to_le_bytes());
        set(fixed::EXTENT_LEN, &self.shape.extent_len.to_le_bytes());
        set(fixed::PAYLOAD_MAX, &self.shape.payload_max.to_le_bytes());
        set(fixed::RESERVE_STRIDE, &(self.shape.reserve_stride as u32).to_le_bytes());
        set(fixed::GATE_COUNT, &(self.gate_count as u32).to_le_bytes());
        set(fixed::ON_FULL, &u32::from(self.shape.wait).to_le_bytes());
        set(fixed::CREATED_UNIX_NS, &self.created_unix_ns.to_le_bytes());
        set(fixed::SEQ0, &self.shape.seq0.to_le_bytes());
        set(fixed::POS0, &self.shape.pos0.to_le_bytes());
        set(fixed::PAYLOAD0, &self.shape.payload0.to_le_bytes());
        set(fixed::RING_NAME, self.name.as_bytes());
        set(fixed::SCHEMA, self.schema.as_bytes());
        set(fixed::COLOUR, &u32::from(self.colour == Colour::Red).to_le_bytes());
        octets
    }
}

/// A zero-filled name field.
pub(crate) fn name_of(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|octet| *octet == 0)?;
    let name = std::str::from_utf8(&field[..end]).ok()?;
    (name.is_ascii() && field[end..].iter().all(|octet| *octet == 0)).then(|| name.to_owned())
}

/// A ring file, mapped.
pub(crate) struct MappedRing {
    mapping: Mapping,
    descriptors: std::ops::Range<usize>,
    data: std::ops::Range<usize>,
}

impl MappedRing {
    pub(crate) fn new(
        file: &File,
        path: &Path,
        fixed_page: &StaticPage,
        writable: bool,
        prefault: bool,
    ) -> Result<MappedRing, BusError> {
        let mapping = Mapping::new(file, fixed_page.region_len, writable, prefault)
            .map_err(BusError::io(path, "map"))?;
        let shape = &fixed_page.shape;
        let data = (layout::data_off(shape.desc_log2) / 8) as usize;
        let descriptors = (layout::DESC_OFF / 8) as usize;
        Ok(MappedRing {
            mapping,
            descriptors: descriptors..descriptors + (shape.slots() * LINE / 8) as usize,
            data: data..data + (shape.data_len / 8) as usize,
        })
    }

    /// Whether the file was cut short under a mapping for reading.
    pub(crate) fn is_lost(&self) -> bool {
        self.mapping.is_lost()
    }

    /// One word of the gate table.
    pub(crate) fn gate(&self, index: usize, offset: usize) -> &AtomicU64 {
        &self.mapping.words()[(gate::START + index * gate::STRIDE + offset) / 8]
    }
}

impl Memory for MappedRing {
    #[inline]
    fn page(&self) -> &[AtomicU64] {
        &self.mapping.words()[page::START / 8..(page::START + page::END) / 8]
    }
    #[inline]
    fn descriptors(&self) -> &[AtomicU64] {
        &self.mapping.words()[self.descriptors.clone()]
    }
    #[inline]
    fn data(&self) -> &[AtomicU64] {
        &self.mapping.words()[self.data.clone()]
    }
}

/// Opens a ring that exists, or says why it cannot be believed. `directory` is that of `place`.
pub(crate) fn open(
    directory: &Directory,
    place: &RingPlace,
    purpose: Use,
) -> Result<(File, StaticPage), BusError> {
    let path = directory.path_of("ring");
    let file = directory
        .open("ring", purpose, Owner::Trusted)
        .map_err(|refusal| refusal.into_error(&path, "open the ring"))?;
    let fixed_page = StaticPage::read(&file, &path)?;
    // What a file says of itself is not believed where its place says otherwise.
    if (fixed_page.name.as_str(), fixed_page.colour) != (place.name(), place.colour()) {
        let problem = format!("it says that it is the ring {}/{}", fixed_page.colour, fixed_page.name);
        return Err(BusError::layout(&path, problem));
    }
    Ok((file, fixed_page))
}

/// Whether an existing ring is what the specification would lay out.
pub(crate) fn matches(existing: &StaticPage, ring: &MappedRing, spec: &RingSpec) -> bool {
    let start =
        Position { seq: existing.shape.seq0, pos: existing.shape.pos0, payload: existing.shape.payload0 };
    Shape::of_spec(spec, start).is_ok_and(|shape| shape == existing.shape)
        && existing.name == spec.name
        && existing.schema == spec.schema
        && existing.colour == spec.colour
        && existing.gate_count == spec.gates.len()
        && spec.gates.iter().enumerate().all(|(index, gate)| gate_name(ring, index).as_ref() == Some(gate))
}

/// The name in a gate entry.
pub(crate) fn gate_name(ring: &MappedRing, index: usize) -> Option<String> {
    let mut octets = [0; NAME_LEN];
    for (word, chunk) in octets.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&ring.gate(index, gate::NAME + word * 8).load(Ordering::Relaxed).to_le_bytes());
    }
    name_of(&octets)
}

/// Lays out a new ring under a temporary name and renames it when it is whole. The caller holds the producer's lock.
pub(crate) fn create(
    directory: &Directory,
    spec: &RingSpec,
    start: Position,
) -> Result<(File, StaticPage, MappedRing), BusError> {
    let shape =
        Shape::of_spec(spec, start).map_err(|problem| BusError::Spec { ring: spec.name.clone(), problem })?;
    let fixed_page = StaticPage {
        shape,
        instance: random_word()?,
        region_len: layout::region_len(shape.desc_log2, shape.data_len),
        gate_count: spec.gates.len(),
        created_unix_ns: fep_time::clock::unix_now_ns(),
        name: spec.name.clone(),
        schema: spec.schema.clone(),
        colour: spec.colour,
    };
    directory.build("ring", &spec.access(), |file, path| {
        map::allocate(file, fixed_page.region_len).map_err(BusError::io(path, "allocate the memory of"))?;
        let ring = MappedRing::new(file, path, &fixed_page, true, spec.prefault)?;
        format_page(&ring, &shape);
        for (index, name) in spec.gates.iter().enumerate() {
            let mut octets = [0; NAME_LEN];
            octets[..name.len()].copy_from_slice(name.as_bytes());
            for (word, chunk) in octets.chunks_exact(8).enumerate() {
                let value = u64::from_le_bytes(chunk.try_into().expect("8 octets"));
                ring.gate(index, gate::NAME + word * 8).store(value, Ordering::Relaxed);
            }
            ring.gate(index, gate::CREDIT_PERMILLE).store(1000, Ordering::Relaxed);
        }
        file.write_all_at(&fixed_page.to_octets(), 0).map_err(BusError::io(path, "write"))?;
        let kept = file.try_clone().map_err(BusError::io(path, "keep open"))?;
        Ok((kept, fixed_page, ring))
    })
}

pub(crate) fn random_word() -> Result<u64, BusError> {
    let path = Path::new("/dev/urandom");
    let mut octets = [0; 8];
    File::open(path).and_then(|mut file| file.read_exact(&mut octets)).map_err(BusError::io(path, "read"))?;
    // Zero means "no instance" in cursor files.
    Ok(u64::from_le_bytes(octets).max(1))
}
