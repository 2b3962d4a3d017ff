//! Hypotheses that explain the symbols equally well: a preamble, or frames of a constant fill, can be a codeword in two
//! phases. Then nothing is decided until what follows tells them apart.

use super::decoder::SymbolErrors;
use super::probe::Hypothesis;
use super::spec::ConvSpec;

/// Hypotheses none of which is clearly better than another, so far.
#[derive(Debug)]
pub(super) struct Tie {
    pub(super) alive: Vec<Hypothesis>,
    /// What decoding under each has found, over all stretches that were tried.
    sums: Vec<SymbolErrors>,
    /// Number of the first symbol of the stretch that is tried next.
    pub(super) next: u64,
}

impl Tie {
    /// The hypotheses that hold on the first stretch, and none other is clearly better than; `None` if none holds.
    pub(super) fn new(
        spec: &ConvSpec,
        hypotheses: &[Hypothesis],
        errors: &[SymbolErrors],
        next: u64,
    ) -> Option<Tie> {
        let holding = hypotheses.iter().zip(errors).filter(|(_, errors)| is_locked(spec, **errors));
        let (alive, sums) = holding.unzip();
        let mut tie = Tie { alive, sums, next };
        tie.keep_the_best();
        (!tie.alive.is_empty()).then_some(tie)
    }

    /// Counts what was found on the next stretch, `errors` of each hypothesis alive. Returns whether any of them holds
    /// there.
    pub(super) fn add(&mut self, spec: &ConvSpec, errors: &[SymbolErrors], step: usize) -> bool {
        let holds = errors.iter().any(|errors| is_locked(spec, *errors));
        for (sum, errors) in self.sums.iter_mut().zip(errors) {
            *sum = SymbolErrors { compared: sum.compared + errors.compared, wrong: sum.wrong + errors.wrong };
        }
        self.keep_the_best();
        self.next += step as u64;
        holds
    }

    /// The hypothesis with the lowest error rate, the first of equals.
    pub(super) fn best(&self) -> (Hypothesis, SymbolErrors) {
        let rate = |errors: &SymbolErrors| errors.rate().unwrap_or(f64::INFINITY);
        let all = self.alive.iter().copied().zip(self.sums.iter().copied());
        all.min_by(|a, b| rate(&a.1).total_cmp(&rate(&b.1))).expect("a tie has hypotheses")
    }

    fn keep_the_best(&mut self) {
        if self.alive.len() < 2 {
            return;
        }
        let (_, best) = self.best();
        let worse: Vec<bool> = self.sums.iter().map(|errors| is_clearly_worse(*errors, best)).collect();
        let mut of_alive = worse.iter();
        self.alive.retain(|_| of_alive.next() == Some(&false));
        let mut of_sums = worse.iter();
        self.sums.retain(|_| of_sums.next() == Some(&false));
    }
}

/// Whether symbol errors are few enough for a lock.
pub(super) fn is_locked(spec: &ConvSpec, errors: SymbolErrors) -> bool {
    let most_ppm = spec.rate.random_error_ppm() * u64::from(spec.node_sync.threshold_percent) / 100;
    errors.compared > 0 && errors.wrong * 1_000_000 <= errors.compared * most_ppm
}

/// Whether they are few enough where fewer symbols than usual are there to prove it.
pub(super) fn is_sure(spec: &ConvSpec, errors: SymbolErrors) -> bool {
    is_locked(spec, SymbolErrors { wrong: errors.wrong * 3 / 2, ..errors })
}

/// Whether errors on the same symbols are more than chance makes of equals: by more than two and a half standard
/// deviations of their difference. Errors of the channel are the same under both and shift it less than that.
fn is_clearly_worse(errors: SymbolErrors, best: SymbolErrors) -> bool {
    let more = errors.wrong.saturating_sub(best.wrong);
    4 * more * more > 25 * (errors.wrong + best.wrong)
}
