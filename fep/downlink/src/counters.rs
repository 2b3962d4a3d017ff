//! Frame counters across a restart: where they stood, and how a new chain takes them up.

use fep_ccsds::{Frame, Header, MasterChannel, UslpHeader};
use fep_time::Tai;

/// Where the frame counters of one physical channel stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Last master channel count (TM).
    pub master_count: Option<u8>,
    /// Last count of every virtual channel, in the order of the configuration; `None` for one never seen.
    pub vcs: Vec<Option<VcResume>>,
}

/// Last count of a virtual channel. The expedited counter of USLP is not kept: it starts anew after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VcResume {
    /// The count.
    pub count: u64,
    /// One more than the greatest count: what was lost is known modulo this.
    pub modulus: u64,
}

/// Shows the counts of `point` to the counters as if they had just come, in the shape of `frame`, the first frame
/// after the restart: what is missing between the two is then found by the same rule as any gap.
pub(crate) fn replay(
    point: &ResumePoint,
    vcids: &[u8],
    frame: &Frame<'_>,
    received: Tai,
    master: &mut MasterChannel,
) {
    for (vcid, last) in vcids.iter().zip(&point.vcs) {
        let Some(VcResume { count, modulus }) = last else { continue };
        let mut last_frame = *frame;
        last_frame.gvcid.vcid = *vcid;
        last_frame.frame_count = *count;
        last_frame.frame_count_modulus = *modulus;
        last_frame.mc_count = frame.mc_count.and(point.master_count);
        // The first frame may be an idle one, whose own count says nothing.
        last_frame.idle = false;
        if let Header::Uslp(UslpHeader { rest: Some(rest), .. }) = &mut last_frame.header {
            rest.bypass = false;
        }
        master.observe(&last_frame, received);
    }
}
