//! Time correlation: what an on-board clock reads at a ground time, and the other way round.
//!
//! The clock's reading and the ground time come as pairs (a time report and when the frame with it was received, less
//! the delay on the way). A [`Correlator`] keeps the latest pairs and fits a straight line through them:
//!
//! `tai = reference_tai + x + offset + drift · x`, with `x = onboard − reference_onboard`.
//!
//! The line is first found by medians (Theil-Sen: the median of the slopes of all pairs of points), which wrong pairs
//! cannot bend as long as they are fewer than three in ten; pairs far off that line are rejected; least squares through the
//! rest give the answer. Whole nanoseconds are kept as integers; only offset and drift are floating point, so that
//! nothing is lost however far the epoch is.

use fep_time::Tai;
use std::collections::VecDeque;

/// One reading of the on-board clock with its time on the ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePair {
    /// Reading of the on-board clock: nanoseconds since its own epoch, as from [`super::Cuc::elapsed_ns`].
    pub onboard_ns: i64,
    /// Reception on the ground.
    pub received: Tai,
    /// From the reading to the reception: on board, propagation and on the ground, in nanoseconds.
    pub delay_ns: i64,
}

impl TimePair {
    fn ground_ns(&self) -> i128 {
        i128::from(self.received.0) - i128::from(self.delay_ns)
    }
}

/// Parameters of a [`Correlator`].
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelationSpec {
    /// Pairs kept, the latest; 2 to 1024.
    pub max_pairs: usize,
    /// Fewest pairs for a fit, at least 2.
    pub min_pairs: usize,
    /// A pair is an outlier when its residual is more than this many standard deviations (estimated by the median)...
    pub outlier_sigma: f64,
    /// ...and more than this: the resolution of the clock and the jitter of reception, in nanoseconds.
    pub outlier_floor_ns: f64,
    /// When so many of the latest pairs are outliers in a row, the clock jumped: older pairs are forgotten.
    pub restart_after: usize,
    /// How long after its last pair a correlation is still good, in nanoseconds.
    pub validity_ns: i64,
}

impl Default for CorrelationSpec {
    /// 128 pairs, at least 3; outliers beyond 4 σ and 1 ms; restart after 5; valid for a day.
    fn default() -> Self {
        CorrelationSpec {
            max_pairs: 128,
            min_pairs: 3,
            outlier_sigma: 4.0,
            outlier_floor_ns: 1e6,
            restart_after: 5,
            validity_ns: fep_time::NS_PER_DAY,
        }
    }
}

/// Why there is no correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorrelationError {
    /// A parameter that cannot be.
    #[error("{0} is out of range")]
    Spec(&'static str),
    /// Not enough pairs yet.
    #[error("{pairs} pairs, at least {needed} are needed")]
    TooFewPairs {
        /// Pairs kept (after rejection of outliers).
        pairs: usize,
        /// Needed.
        needed: usize,
    },
    /// All pairs have the same on-board reading: no slope.
    #[error("all pairs have the same on-board reading")]
    NoSpan,
    /// The converted time is outside the range of 64-bit nanoseconds.
    #[error("the converted time is outside the range of 64-bit nanoseconds")]
    OutOfRange,
}

/// A fitted correlation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correlation {
    /// On-board reading at the reference point.
    pub reference_onboard_ns: i64,
    /// Ground time of the pair at the reference point.
    pub reference_tai: Tai,
    /// Fitted time minus `reference_tai` at the reference point, in nanoseconds.
    pub offset_ns: f64,
    /// How much faster ground time runs than the on-board clock, in seconds per second: positive for a slow clock.
    pub drift: f64,
    /// Root mean square of the residuals of the pairs used, in nanoseconds.
    pub residual_rms_ns: f64,
    /// Greatest residual of the pairs used, in nanoseconds.
    pub residual_max_ns: f64,
    /// Pairs that the line was fitted to.
    pub pairs_used: usize,
    /// Pairs rejected as outliers.
    pub pairs_rejected: usize,
    /// Ground time of the first pair used.
    pub valid_from: Tai,
    /// Ground time of the last pair used and the validity after it.
    pub valid_until: Tai,
}

impl Correlation {
    /// Ground time of an on-board reading. Also outside the validity: see [`Correlation::is_valid_at`].
    ///
    /// # Errors
    /// [`CorrelationError::OutOfRange`].
    pub fn to_ground(&self, onboard_ns: i64) -> Result<Tai, CorrelationError> {
        let x = i128::from(onboard_ns) - i128::from(self.reference_onboard_ns);
        let tai = i128::from(self.reference_tai.0) + x + rounded(self.offset_ns + self.drift * x as f64);
        i64::try_from(tai).map(Tai).map_err(|_| CorrelationError::OutOfRange)
    }

    /// On-board reading at a ground time: the inverse of [`Correlation::to_ground`], to a nanosecond.
    ///
    /// # Errors
    /// [`CorrelationError::OutOfRange`].
    pub fn to_onboard(&self, tai: Tai) -> Result<i64, CorrelationError> {
        let y = i128::from(tai.0) - i128::from(self.reference_tai.0);
        let x = y - rounded((self.offset_ns + self.drift * y as f64) / (1.0 + self.drift));
        i64::try_from(i128::from(self.reference_onboard_ns) + x).map_err(|_| CorrelationError::OutOfRange)
    }

    /// Whether the time lies between the first pair used and the end of the validity.
    #[must_use]
    pub fn is_valid_at(&self, tai: Tai) -> bool {
        (self.valid_from..=self.valid_until).contains(&tai)
    }

    /// Ground time of a pair minus the fitted time, in nanoseconds.
    #[must_use]
    pub fn residual_ns(&self, pair: &TimePair) -> f64 {
        let (x, y) = self.point(pair);
        y - self.offset_ns - self.drift * x
    }

    fn point(&self, pair: &TimePair) -> (f64, f64) {
        point(pair, self.reference_onboard_ns, i128::from(self.reference_tai.0))
    }
}

/// What a new pair meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairVerdict {
    /// Kept.
    Kept,
    /// The on-board clock went backwards against the ground: earlier pairs were forgotten.
    ClockReset,
    /// Older than the last pair on the ground: not taken.
    OutOfOrder,
}

/// Keeps the latest pairs and fits correlations through them.
///
/// ```
/// use fep_ccsds::time::{CorrelationSpec, Correlator, TimePair};
/// use fep_time::Tai;
/// let mut correlator = Correlator::new(CorrelationSpec::default()).unwrap();
/// for second in 0..10_i64 {
///     // A clock 2 s behind that loses 10 µs each second, 250 ms away.
///     let onboard_ns = second * 1_000_000_000;
///     let received = Tai(onboard_ns + 2_250_000_000 + second * 10_000);
///     correlator.add(TimePair { onboard_ns, received, delay_ns: 250_000_000 });
/// }
/// let correlation = correlator.fit().unwrap();
/// assert!((correlation.drift - 1e-5).abs() < 1e-12);
/// assert_eq!(correlation.to_ground(100_000_000_000).unwrap(), Tai(102_001_000_000));
/// assert_eq!(correlation.to_onboard(Tai(102_001_000_000)).unwrap(), 100_000_000_000);
/// ```
#[derive(Debug, Clone)]
pub struct Correlator {
    spec: CorrelationSpec,
    pairs: VecDeque<TimePair>,
}

impl Correlator {
    /// A correlator without pairs.
    ///
    /// # Errors
    /// [`CorrelationError::Spec`] names the parameter that cannot be.
    pub fn new(spec: CorrelationSpec) -> Result<Correlator, CorrelationError> {
        if !(2..=1024).contains(&spec.max_pairs) {
            return Err(CorrelationError::Spec("max_pairs"));
        }
        if !(2..=spec.max_pairs).contains(&spec.min_pairs) {
            return Err(CorrelationError::Spec("min_pairs"));
        }
        if spec.outlier_sigma.is_nan() || spec.outlier_sigma <= 0.0 {
            return Err(CorrelationError::Spec("outlier_sigma"));
        }
        if spec.outlier_floor_ns.is_nan() || spec.outlier_floor_ns < 0.0 {
            return Err(CorrelationError::Spec("outlier_floor_ns"));
        }
        if spec.restart_after < 2 {
            return Err(CorrelationError::Spec("restart_after"));
        }
        if spec.validity_ns < 0 {
            return Err(CorrelationError::Spec("validity_ns"));
        }
        Ok(Correlator { spec, pairs: VecDeque::new() })
    }

    /// Takes a new pair.
    pub fn add(&mut self, pair: TimePair) -> PairVerdict {
        let verdict = match self.pairs.back() {
            Some(last) if pair.ground_ns() < last.ground_ns() => return PairVerdict::OutOfOrder,
            Some(last) if pair.onboard_ns < last.onboard_ns => {
                self.pairs.clear();
                PairVerdict::ClockReset
            }
            _ => PairVerdict::Kept,
        };
        if self.pairs.len() == self.spec.max_pairs {
            self.pairs.pop_front();
        }
        self.pairs.push_back(pair);
        verdict
    }

    /// Pairs kept, oldest first.
    pub fn pairs(&self) -> impl Iterator<Item = &TimePair> {
        self.pairs.iter()
    }

    /// Fits a line through the pairs kept. Forgets the pairs before a jump of the clock.
    ///
    /// # Errors
    /// Too few pairs, or none that differ.
    pub fn fit(&mut self) -> Result<Correlation, CorrelationError> {
        let mut outliers = self.outliers()?;
        let jumped = outliers.iter().rev().take_while(|&&outlier| outlier).count();
        if jumped >= self.spec.restart_after {
            self.pairs.drain(..self.pairs.len() - jumped);
            outliers = self.outliers()?;
        }
        let used: Vec<TimePair> = self
            .pairs
            .iter()
            .zip(&outliers)
            .filter(|(_, outlier)| !**outlier)
            .map(|(pair, _)| *pair)
            .collect();
        self.least_squares(&used)
    }

    fn check_enough(&self, pairs: usize) -> Result<(), CorrelationError> {
        let needed = self.spec.min_pairs;
        if pairs < needed { Err(CorrelationError::TooFewPairs { pairs, needed }) } else { Ok(()) }
    }

    /// Which pairs lie too far from the line of medians.
    fn outliers(&self) -> Result<Vec<bool>, CorrelationError> {
        self.check_enough(self.pairs.len())?;
        let reference = self.pairs[0];
        let points: Vec<(f64, f64)> =
            self.pairs.iter().map(|pair| point(pair, reference.onboard_ns, reference.ground_ns())).collect();
        let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
        for (index, (x0, y0)) in points.iter().enumerate() {
            for (x1, y1) in &points[index + 1..] {
                if x1 > x0 {
                    slopes.push((y1 - y0) / (x1 - x0));
                }
            }
        }
        let slope = median(&mut slopes).ok_or(CorrelationError::NoSpan)?;
        let mut intercepts: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
        let unsorted = intercepts.clone();
        let intercept = median(&mut intercepts).ok_or(CorrelationError::NoSpan)?;
        let residuals: Vec<f64> = unsorted.iter().map(|y| (y - intercept).abs()).collect();
        // 1.4826: the median of the absolute residuals as a standard deviation, for a normal distribution.
        let sigma = 1.4826 * median(&mut residuals.clone()).unwrap_or(0.0);
        let limit = (self.spec.outlier_sigma * sigma).max(self.spec.outlier_floor_ns);
        Ok(residuals.iter().map(|residual| *residual > limit).collect())
    }

    fn least_squares(&self, used: &[TimePair]) -> Result<Correlation, CorrelationError> {
        self.check_enough(used.len())?;
        // In the middle of the pairs offset and drift are independent of one another, and the numbers small.
        let reference = used[used.len() / 2];
        let points: Vec<(f64, f64)> =
            used.iter().map(|pair| point(pair, reference.onboard_ns, reference.ground_ns())).collect();
        let count = used.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let variance: f64 = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
        if variance <= 0.0 {
            return Err(CorrelationError::NoSpan);
        }
        let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let drift = covariance / variance;
        let offset_ns = mean_y - drift * mean_x;
        let residuals: Vec<f64> = points.iter().map(|(x, y)| y - offset_ns - drift * x).collect();
        let tai = |ns: i128| i64::try_from(ns).map(Tai).map_err(|_| CorrelationError::OutOfRange);
        let last = used[used.len() - 1].ground_ns();
        Ok(Correlation {
            reference_onboard_ns: reference.onboard_ns,
            reference_tai: tai(reference.ground_ns())?,
            offset_ns,
            drift,
            residual_rms_ns: (residuals.iter().map(|residual| residual * residual).sum::<f64>() / count)
                .sqrt(),
            residual_max_ns: residuals.iter().fold(0.0, |max, residual| residual.abs().max(max)),
            pairs_used: used.len(),
            pairs_rejected: self.pairs.len() - used.len(),
            valid_from: tai(used[0].ground_ns())?,
            valid_until: tai((last + i128::from(self.spec.validity_ns)).min(i128::from(i64::MAX)))?,
        })
    }
}

/// On-board time since the reference, and how much more time has passed on the ground.
fn point(pair: &TimePair, reference_onboard_ns: i64, reference_ground_ns: i128) -> (f64, f64) {
    let x = i128::from(pair.onboard_ns) - i128::from(reference_onboard_ns);
    (x as f64, (pair.ground_ns() - reference_ground_ns - x) as f64)
}

fn rounded(ns: f64) -> i128 {
    // Saturates; what does not fit is refused by the caller.
    ns.round() as i128
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}
