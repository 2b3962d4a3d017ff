//! Cores, scheduling classes and ways of waiting, planned for all roles together. A pure function: the supervisor asks it at
//! every change and sends each role its seat.
//!
//! Three promises, whatever the configuration asks for:
//!
//! * No role starves another. Where roles share a core nobody spins, and real-time threads take turns (`SCHED_RR`) instead
//!   of running until they sleep (`SCHED_FIFO`).
//! * The control thread, which is of the normal class and runs where it likes, is not starved: on at least one core that
//!   `fepd` may use, beyond those that unpinned real-time roles can take, no role spins and none has real-time priority.
//! * A role that loses its neighbour gets back what it asked for.

use std::collections::BTreeMap;

use fep_control::config::CorePolicy;
use fep_net::WaitMode;

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// With everything else.
    Normal,
    /// Real time, in turns with others of the same priority.
    RoundRobin(u8),
    /// Real time, until it sleeps.
    Fifo(u8),
}

/// Where and how a role's thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The core it is pinned to; `None`: it is not.
    pub(crate) core: Option<usize>,
    pub(crate) class: Class,
    /// What it does while nothing comes.
    pub(crate) wait: WaitMode,
}

/// What a role asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need<'n> {
    pub(crate) name: &'n str,
    pub(crate) core: CorePolicy,
    pub(crate) wait: WaitMode,
    /// The core its thread is pinned to now, if it runs.
    pub(crate) present: Option<usize>,
}

/// What the machine and the configuration offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Cores that the process may use, in order. Never empty.
    pub(crate) allowed: Vec<usize>,
    /// Cores for roles that name none (`daemon.cores`); empty for all but the first of the allowed ones.
    pub(crate) auto: Vec<usize>,
    /// `daemon.realtime_priority`; 0 for none.
    pub(crate) priority: u8,
}

/// A seat, and what of the request it does not grant, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) seat: Seat,
    pub(crate) warnings: Vec<String>,
}

/// Plans the seats of all roles that run or are about to, in their order.
pub(crate) fn plan(offer: &Offer, needs: &[Need<'_>]) -> Vec<Planned> {
    let mut cores: Vec<Option<usize>> = vec![None; needs.len()];
    let mut warnings: Vec<Vec<String>> = vec![Vec::new(); needs.len()];
    seat_fixed(offer, needs, &mut cores, &mut warnings);
    seat_auto(offer, needs, &mut cores);

    let load = |core: usize| cores.iter().filter(|seat| **seat == Some(core)).count();
    let shared = |index: usize| cores[index].is_some_and(|core| load(core) > 1);
    let spins = |index: usize| needs[index].wait != WaitMode::Wait && !shared(index);
    let unpinned = |index: &usize| cores[*index].is_none();

    // The control thread's core: one without pinned roles where there is one, else the one that costs the roles least.
    // The first core comes last in the count of those that roles are put on by themselves, so it is taken before others.
    let pinned_somewhere = |core: &usize| load(*core) > 0;
    let empty = offer.allowed.iter().filter(|core| !pinned_somewhere(core)).count();
    let spared = (empty == 0).then(|| {
        let cost = |core: &usize| {
            (0..needs.len()).filter(|index| cores[*index] == Some(*core) && spins(*index)).count()
        };
        offer.allowed.iter().copied().min_by_key(|core| (cost(core), load(*core))).unwrap_or(0)
    });
    // Unpinned roles may be anywhere: they are granted real time and spinning only as long as a core is left over.
    let mut roaming = 0;
    let leftover = empty.saturating_sub(1);

    (0..needs.len())
        .map(|index| {
            let need = &needs[index];
            let mut warnings = std::mem::take(&mut warnings[index]);
            let mut wait = need.wait;
            let mut realtime = offer.priority > 0;
            let mut explain = |why: String| {
                if need.wait == WaitMode::Busy {
                    warnings
                        .push(format!("{} {why}: it sleeps while it waits instead of spinning", need.name));
                }
            };
            if shared(index) {
                wait = WaitMode::Wait;
                explain(format!("shares core {}", cores[index].unwrap_or(0)));
            } else if cores[index].is_some() && cores[index] == spared {
                wait = WaitMode::Wait;
                explain(format!("has the last core of the control thread, {}", cores[index].unwrap_or(0)));
            }
            if cores[index].is_some() && cores[index] == spared {
                realtime = false;
            }
            if unpinned(&index) && (realtime || wait != WaitMode::Wait) {
                if roaming < leftover {
                    roaming += 1;
                } else {
                    wait = WaitMode::Wait;
                    realtime = false;
                    explain("is not pinned and no core is left over".to_owned());
                }
            }
            let class = match realtime {
                false => Class::Normal,
                true if shared(index) => Class::RoundRobin(offer.priority),
                true => Class::Fifo(offer.priority),
            };
            Planned { seat: Seat { core: cores[index], class, wait }, warnings }
        })
        .collect()
}

/// One line for each core on which more than one role has its seat, with their names.
pub(crate) fn shared_cores<'n>(seats: impl Iterator<Item = (&'n str, Seat)>) -> Vec<String> {
    let mut names: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (name, seat) in seats {
        if let Some(core) = seat.core {
            names.entry(core).or_default().push(name);
        }
    }
    let shared = names.into_iter().filter(|(_, names)| names.len() > 1);
    shared
        .map(|(core, names)| {
            format!("{} share core {core}: they sleep while nothing comes, and take turns", names.join(", "))
        })
        .collect()
}

/// Roles that name a core get it, if `fepd` may use it.
fn seat_fixed(offer: &Offer, needs: &[Need<'_>], cores: &mut [Option<usize>], warnings: &mut [Vec<String>]) {
    for (index, need) in needs.iter().enumerate() {
        let CorePolicy::Fixed(core) = need.core else { continue };
        if offer.allowed.contains(&core) {
            cores[index] = Some(core);
        } else {
            let allowed = offer.allowed.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            warnings[index].push(format!(
                "{} is not pinned: fepd may not use core {core} (it may use {allowed})",
                need.name
            ));
        }
    }
}

/// The others get the emptiest of the cores meant for them. One that runs moves only where that makes the fullest core
/// emptier: a plan that is followed stays as it is.
fn seat_auto(offer: &Offer, needs: &[Need<'_>], cores: &mut [Option<usize>]) {
    let mut choice: Vec<usize> =
        offer.auto.iter().copied().filter(|core| offer.allowed.contains(core)).collect();
    if choice.is_empty() {
        // The first core is left to everything else, if there is another.
        choice = if offer.allowed.len() > 1 { offer.allowed[1..].to_vec() } else { offer.allowed.clone() };
    }
    fn load(cores: &[Option<usize>], core: usize) -> usize {
        cores.iter().filter(|seat| **seat == Some(core)).count()
    }
    let emptiest = |cores: &[Option<usize>]| choice.iter().copied().min_by_key(|core| load(cores, *core));
    let auto: Vec<usize> = (0..needs.len()).filter(|index| needs[*index].core == CorePolicy::Auto).collect();
    for index in &auto {
        cores[*index] = needs[*index].present.filter(|core| choice.contains(core));
    }
    for index in &auto {
        if cores[*index].is_none() {
            cores[*index] = emptiest(cores);
        }
    }
    // Each move brings two loads closer together, so it ends; the bound only says so to the reader.
    for _ in 0..needs.len() * needs.len() {
        let moves = auto.iter().find_map(|index| {
            let (from, to) = (cores[*index]?, emptiest(cores)?);
            (load(cores, to) + 1 < load(cores, from)).then_some((*index, to))
        });
        let Some((index, to)) = moves else { break };
        cores[index] = Some(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> impl Strategy<Value = CorePolicy> {
        prop_oneof![
            3 => Just(CorePolicy::Auto),
            1 => Just(CorePolicy::None),
            2 => (0usize..6).prop_map(CorePolicy::Fixed),
        ]
    }

    fn wait() -> impl Strategy<Value = WaitMode> {
        prop_oneof![Just(WaitMode::Busy), Just(WaitMode::Adaptive), Just(WaitMode::Wait)]
    }

    fn needs() -> impl Strategy<Value = Vec<Need<'static>>> {
        let need = (policy(), wait(), proptest::option::of(0usize..6))
            .prop_map(|(core, wait, present)| Need { name: "x", core, wait, present });
        proptest::collection::vec(need, 0..9)
    }

    fn offer() -> impl Strategy<Value = Offer> {
        let cores = || proptest::sample::subsequence((0..6).collect::<Vec<usize>>(), 1..=6);
        let auto = proptest::sample::subsequence((0..6).collect::<Vec<usize>>(), 0..=6);
        (cores(), auto, prop_oneof![Just(0u8), 1u8..99]).prop_map(|(allowed, auto, priority)| Offer {
            allowed,
            auto,
            priority,
        })
    }

    fn neighbours<'p>(planned: &'p [Planned], seat: &Seat) -> Vec<&'p Planned> {
        planned.iter().filter(|other| seat.core.is_some() && other.seat.core == seat.core).collect()
    }

    proptest! {
        // REQ: FEP-ENG-103
        #[test]
        fn where_roles_share_a_core_nobody_spins_and_nobody_runs_until_it_sleeps(
            offer in offer(), needs in needs(),
        ) {
            let planned = plan(&offer, &needs);
            for Planned { seat, .. } in &planned {
                if neighbours(&planned, seat).len() > 1 {
                    prop_assert_eq!(seat.wait, WaitMode::Wait);
                    prop_assert!(!matches!(seat.class, Class::Fifo(_)));
                }
            }
        }

        // REQ: FEP-ENG-103
        #[test]
        fn a_core_without_spinning_and_without_real_time_is_always_left_to_the_control_thread(
            offer in offer(), needs in needs(),
        ) {
            let planned = plan(&offer, &needs);
            let is_quiet = |core: usize, hot: &dyn Fn(&Seat) -> bool| {
                !planned.iter().any(|other| other.seat.core == Some(core) && hot(&other.seat))
            };
            let hot: [&dyn Fn(&Seat) -> bool; 2] =
                [&|seat| seat.wait != WaitMode::Wait, &|seat| seat.class != Class::Normal];
            for hot in hot {
                let quiet = offer.allowed.iter().filter(|core| is_quiet(**core, hot)).count();
                let roaming = planned.iter().filter(|role| role.seat.core.is_none() && hot(&role.seat)).count();
                prop_assert!(quiet > roaming, "{} quiet cores, {} roaming roles: {:?}", quiet, roaming, planned);
            }
        }

        // REQ: FEP-ENG-103
        #[test]
        fn a_role_gets_the_core_it_names_and_a_place_on_one_that_fepd_may_use(offer in offer(), needs in needs()) {
            let planned = plan(&offer, &needs);
            prop_assert_eq!(planned.len(), needs.len());
            for (need, Planned { seat, warnings }) in needs.iter().zip(&planned) {
                match need.core {
                    CorePolicy::Fixed(core) if offer.allowed.contains(&core) => {
                        prop_assert_eq!(seat.core, Some(core));
                    }
                    CorePolicy::Fixed(_) => prop_assert!(seat.core.is_none() && !warnings.is_empty()),
                    CorePolicy::Auto => prop_assert!(offer.allowed.contains(&seat.core.unwrap())),
                    CorePolicy::None => prop_assert_eq!(seat.core, None),
                }
                let modest = seat.wait == need.wait || seat.wait == WaitMode::Wait;
                prop_assert!(modest, "nobody spins more than it asked to");
                let refused = need.wait == WaitMode::Busy && seat.wait != need.wait;
                prop_assert!(!refused || !warnings.is_empty(), "what is refused is said");
            }
        }

        // REQ: FEP-ENG-103
        #[test]
        fn whoever_is_alone_on_a_core_has_what_it_asked_for_also_after_a_neighbour_has_left(offer in offer(), mut needs in needs(), gone: usize) {
            prop_assume!(!needs.is_empty());
            let place = |needs: &mut [Need<'static>], planned: &[Planned]| {
                needs.iter_mut().zip(planned).for_each(|(need, planned)| need.present = planned.seat.core);
            };
            let before = plan(&offer, &needs);
            place(&mut needs, &before);
            prop_assert_eq!(&plan(&offer, &needs), &before, "a plan that is followed does not change by itself");
            needs.remove(gone % needs.len());
            let after = plan(&offer, &needs);
            let unused = offer.allowed.iter().any(|core| !after.iter().any(|other| other.seat.core == Some(*core)));
            for (need, Planned { seat, .. }) in needs.iter().zip(&after) {
                if unused && neighbours(&after, seat).len() == 1 {
                    prop_assert_eq!(seat.wait, need.wait);
                    prop_assert_eq!(seat.class == Class::Normal, offer.priority == 0);
                }
            }
        }
    }

    // REQ: FEP-ENG-103
    #[test]
    fn a_link_that_spins_sleeps_when_a_second_one_comes_to_its_core_and_may_spin_again_after() {
        let offer = Offer { allowed: vec![0, 1], auto: Vec::new(), priority: 50 };
        let need = |name, present| Need { name, core: CorePolicy::Fixed(1), wait: WaitMode::Busy, present };
        let alone = plan(&offer, &[need("a", None)]);
        assert_eq!(alone[0].seat, Seat { core: Some(1), class: Class::Fifo(50), wait: WaitMode::Busy });
        assert!(alone[0].warnings.is_empty());
        let both = plan(&offer, &[need("a", Some(1)), need("b", None)]);
        let quiet = Seat { core: Some(1), class: Class::RoundRobin(50), wait: WaitMode::Wait };
        assert_eq!(both.iter().map(|planned| planned.seat).collect::<Vec<_>>(), [quiet, quiet]);
        assert_eq!(both[0].warnings, ["a shares core 1: it sleeps while it waits instead of spinning"]);
        assert_eq!(plan(&offer, &[need("a", Some(1))]), alone);
    }

    // REQ: FEP-ENG-103
    #[test]
    fn every_core_that_roles_share_is_one_warning_with_their_names_and_no_other_core_is() {
        let seat = |core| Seat { core, class: Class::Normal, wait: WaitMode::Wait };
        let seats =
            [("a", Some(2)), ("b", Some(1)), ("c", None), ("d", Some(2)), ("e", None), ("f", Some(2))];
        assert_eq!(
            shared_cores(seats.iter().map(|(name, core)| (*name, seat(*core)))),
            ["a, d, f share core 2: they sleep while nothing comes, and take turns"]
        );
        assert!(shared_cores(seats[1..4].iter().map(|(name, core)| (*name, seat(*core)))).is_empty());
    }

    // REQ: FEP-ENG-103
    #[test]
    fn on_the_only_core_of_the_control_thread_nobody_spins_or_has_real_time_priority() {
        let offer = Offer { allowed: vec![3], auto: Vec::new(), priority: 50 };
        let need = Need { name: "a", core: CorePolicy::Auto, wait: WaitMode::Busy, present: None };
        let planned = plan(&offer, &[need]);
        assert_eq!(planned[0].seat, Seat { core: Some(3), class: Class::Normal, wait: WaitMode::Wait });
        let two = Offer { allowed: vec![0, 1], ..offer };
        let fixed =
            |name, core| Need { name, core: CorePolicy::Fixed(core), wait: WaitMode::Busy, present: None };
        let planned = plan(&two, &[fixed("a", 0), fixed("b", 1)]);
        assert_eq!(planned[0].seat, Seat { core: Some(0), class: Class::Normal, wait: WaitMode::Wait });
        assert_eq!(planned[1].seat, Seat { core: Some(1), class: Class::Fifo(50), wait: WaitMode::Busy });
    }
}
