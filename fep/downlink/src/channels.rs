//! Which virtual channel a frame belongs to: by spacecraft and virtual channel identifier, for every master channel that
//! the physical channel carries.

const NONE: u16 = u16::MAX;

/// Finds a virtual channel by its two numbers.
#[derive(Debug, Default)]
pub(crate) struct ChannelIndex {
    spacecraft: Vec<(u16, Box<[u16; 64]>)>,
    /// The spacecraft of the last frame: the next is most likely one of it.
    recent: usize,
}

/// Whose frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// To the virtual channel with this index.
    Vc(usize),
    /// To a known spacecraft, on a virtual channel that is not known.
    UnknownVc,
    /// To a spacecraft that is not known.
    UnknownSpacecraft,
}

impl ChannelIndex {
    /// The virtual channel of a frame.
    #[inline]
    pub(crate) fn find(&mut self, scid: u16, vcid: u8) -> Belongs {
        if self.spacecraft.get(self.recent).is_none_or(|(known, _)| *known != scid) {
            match self.spacecraft.iter().position(|(known, _)| *known == scid) {
                Some(place) => self.recent = place,
                None => return Belongs::UnknownSpacecraft,
            }
        }
        match self.spacecraft[self.recent].1[usize::from(vcid & 63)] {
            NONE => Belongs::UnknownVc,
            index => Belongs::Vc(usize::from(index)),
        }
    }

    /// A virtual channel is known from here on under this index.
    pub(crate) fn insert(&mut self, scid: u16, vcid: u8, index: usize) {
        let place = self.spacecraft.iter().position(|(known, _)| *known == scid);
        let place = place.unwrap_or_else(|| {
            self.spacecraft.push((scid, Box::new([NONE; 64])));
            self.spacecraft.len() - 1
        });
        self.spacecraft[place].1[usize::from(vcid & 63)] = index as u16;
    }
}
