//! What is sent between CLTUs.

use fep_coding::tc::plop::{Cmm, Pending, Plop, PlopError, PlopSequencer, append_alternating};
use proptest::prelude::*;

const ACQUISITION: Cmm = Cmm::Acquisition { octets: 16 };
const IDLE: Cmm = Cmm::Idle { octets: 2 };

fn steps(plop: Plop, idle: usize, pending: &[Pending]) -> Vec<Cmm> {
    let mut sequencer = PlopSequencer::new(plop, 16, idle).expect("allowed lengths");
    pending.iter().map(|pending| sequencer.next(*pending)).collect()
}

// REQ: FEP-TC-017
#[test]
fn plop_1_acquires_anew_for_every_cltu() {
    let expected = [ACQUISITION, Cmm::Cltu, IDLE, Cmm::Unmodulated, ACQUISITION, Cmm::Cltu];
    assert_eq!(steps(Plop::One, 2, &[Pending::Cltu; 6]), expected);
    let expected = [ACQUISITION, Cmm::Cltu, Cmm::Unmodulated, ACQUISITION];
    assert_eq!(steps(Plop::One, 0, &[Pending::Cltu; 4]), expected);
}

// REQ: FEP-TC-017
#[test]
fn plop_2_acquires_once_and_idles_between_cltus_until_the_session_ends() {
    use Pending::{Cltu, EndOfSession, Nothing};
    let pending = [Nothing, Cltu, Cltu, Cltu, Cltu, Nothing, Nothing, Cltu, EndOfSession, EndOfSession, Cltu];
    let expected = [
        Cmm::Unmodulated,
        ACQUISITION,
        Cmm::Cltu,
        IDLE,
        Cmm::Cltu,
        IDLE,
        IDLE,
        Cmm::Cltu,
        IDLE,
        Cmm::Unmodulated,
        ACQUISITION,
    ];
    assert_eq!(steps(Plop::Two, 2, &pending), expected);
}

// REQ: FEP-TC-017
#[test]
fn sequences_alternate_and_too_short_ones_are_refused() {
    let mut out = vec![1];
    append_alternating(3, &mut out);
    assert_eq!(out, [1, 0x55, 0x55, 0x55]);
    assert_eq!(PlopSequencer::new(Plop::One, 15, 0).err(), Some(PlopError::Acquisition(15)));
    assert_eq!(PlopSequencer::new(Plop::Two, 16, 0).err(), Some(PlopError::Idle));
}

proptest! {
    // REQ: FEP-TC-017
    #[test]
    fn a_cltu_is_only_sent_when_there_is_one_and_only_on_a_modulated_carrier(
        pending in prop::collection::vec(0usize..3, 0..60), two: bool, idle in 1usize..4,
    ) {
        let kinds = [Pending::Cltu, Pending::Nothing, Pending::EndOfSession];
        let pending: Vec<Pending> = pending.iter().map(|kind| kinds[*kind]).collect();
        let sent = steps(if two { Plop::Two } else { Plop::One }, idle, &pending);
        let mut before = Cmm::Unmodulated;
        for (step, pending) in sent.iter().zip(&pending) {
            if *step == Cmm::Cltu {
                prop_assert_eq!(*pending, Pending::Cltu);
                prop_assert_ne!(before, Cmm::Unmodulated);
                prop_assert_ne!(before, Cmm::Cltu, "an idle sequence lies between");
            }
            before = *step;
        }
    }
}
