//! Time correlation: what an on-board clock reads at a ground time, and the other way round.
//!
//! The clock's reading and the ground time come as pairs (a time report and when the frame with it was received, less
//! the delay on the way). A [`Correlator`] keeps the latest pairs and fits a straight line through them:
//!
//! `tai = reference_tai + x + offset + drift · x`, with `x = onboard − reference_onboard`.
//!
//! # No single pair is believed
//!
//! * The line is first found by medians (Theil-Sen: the median of the slopes of all pairs of points, but only of slopes that
//!   a clock can have), which wrong pairs cannot bend as long as they are fewer than about three in ten. Pairs far off that
//!   line are outliers; least squares through the rest give the answer.
//! * Pairs are taken in any order. A reading too high, or a ground time in the future, is an outlier and nothing more.
//! * Only when a number of pairs in a row ([`CorrelationSpec::restart_after`]) are outliers and lie on a line of their own,
//!   going forward, the clock jumped: then the pairs before are forgotten.
//!
//! Whole nanoseconds are kept as integers; only offset and drift are floating point, so that nothing is lost however far
//! the epoch is.

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

    /// How far the ground is ahead of the clock.
    fn deviation_ns(&self) -> i128 {
        self.ground_ns() - i128::from(self.onboard_ns)
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
    /// When so many of the latest pairs are outliers and agree with one another, the clock jumped: older pairs are
    /// forgotten. 2 to `max_pairs` / 2, at least `min_pairs`.
    pub restart_after: usize,
    /// The greatest drift that a clock can have, in seconds per second: more than 0, below 1. Two pairs that say more are
    /// not of one clock.
    pub max_drift: f64,
    /// How long after its last pair a correlation is still good, in nanoseconds.
    pub validity_ns: i64,
}

impl Default for CorrelationSpec {
    /// 128 pairs, at least 3; outliers beyond 4 σ and 1 ms; restart after 5; drift at most 10⁻³; valid for a day.
    fn default() -> Self {
        CorrelationSpec {
            max_pairs: 128,
            min_pairs: 3,
            outlier_sigma: 4.0,
            outlier_floor_ns: 1e6,
            restart_after: 5,
            max_drift: 1e-3,
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
    /// No two pairs are of one clock: every drift between them is greater than a clock can have.
    #[error("no two pairs agree on a drift below the greatest that the clock can have")]
    NoDrift,
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
    /// How far off the median line a pair may lie and still be used, in nanoseconds: as far, at most, wrong pairs can have
    /// moved the line within the time of the pairs.
    pub accuracy_ns: f64,
    /// Pairs that the line was fitted to.
    pub pairs_used: usize,
    /// Pairs rejected as outliers.
    pub pairs_rejected: usize,
    /// Earliest ground time of the pairs used.
    pub valid_from: Tai,
    /// Latest ground time of the pairs used and the validity after it.
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

/// What a new pair means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairVerdict {
    /// It lies on the line of the pairs before, or there is no line yet.
    Agrees,
    /// It lies off the line: an outlier, unless those that follow agree with it.
    Doubtful,
    /// The last pairs were off the line and agree with one another: the on-board clock was set or started again, and
    /// earlier pairs are forgotten.
    ClockJumped,
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
    /// In the order in which they came.
    pairs: VecDeque<TimePair>,
    /// Through the pairs, when there are enough.
    line: Result<Line, CorrelationError>,
    /// How many of the latest pairs were off the line when they came.
    doubtful: usize,
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
        if !(spec.min_pairs.max(2)..=(spec.max_pairs / 2).max(spec.min_pairs)).contains(&spec.restart_after) {
            return Err(CorrelationError::Spec("restart_after"));
        }
        if spec.max_drift.is_nan() || spec.max_drift <= 0.0 || spec.max_drift >= 1.0 {
            return Err(CorrelationError::Spec("max_drift"));
        }
        if spec.validity_ns < 0 {
            return Err(CorrelationError::Spec("validity_ns"));
        }
        let line = Err(CorrelationError::TooFewPairs { pairs: 0, needed: spec.min_pairs });
        Ok(Correlator { spec, pairs: VecDeque::new(), line, doubtful: 0 })
    }

    /// Takes a new pair. Takes time in the square of the pairs kept: 8128 slopes for 128 of them.
    pub fn add(&mut self, pair: TimePair) -> PairVerdict {
        let agrees = self.line.as_ref().is_ok_and(|line| line.agrees(&pair));
        let mut verdict =
            if agrees || self.line.is_err() { PairVerdict::Agrees } else { PairVerdict::Doubtful };
        if self.pairs.len() == self.spec.max_pairs {
            self.pairs.pop_front();
        }
        self.pairs.push_back(pair);
        self.doubtful = if verdict == PairVerdict::Doubtful { self.doubtful + 1 } else { 0 };
        let restart_after = self.spec.restart_after;
        // Fewer pairs than this tell nothing certain of how far off is too far: then all of them are asked.
        let is_settled = self.pairs.len() - self.doubtful >= 2 * restart_after;
        if is_settled && self.doubtful >= restart_after && self.latest_agree() {
            self.pairs.drain(..self.pairs.len() - restart_after);
            self.doubtful = 0;
            verdict = PairVerdict::ClockJumped;
        }
        // What is in doubt has no say in where the line lies, but not for ever: it may be the line that is wrong.
        let in_doubt = if is_settled && self.doubtful < 2 * restart_after { self.doubtful } else { 0 };
        let settled = self.pairs.len() - in_doubt;
        self.line = Line::through(&self.spec, &self.pairs.make_contiguous()[..settled]);
        verdict
    }

    /// Pairs kept, in the order in which they came.
    pub fn pairs(&self) -> impl Iterator<Item = &TimePair> {
        self.pairs.iter()
    }

    /// Fits a line through the pairs kept that are no outliers.
    ///
    /// # Errors
    /// Too few pairs, or none that differ or agree.
    pub fn fit(&self) -> Result<Correlation, CorrelationError> {
        let line = self.line?;
        let used: Vec<TimePair> = self.pairs.iter().filter(|pair| line.agrees(pair)).copied().collect();
        let mut correlation = least_squares(&self.spec, &used)?;
        correlation.accuracy_ns = line.limit_ns;
        correlation.pairs_rejected = self.pairs.len() - used.len();
        Ok(correlation)
    }

    /// Whether the latest pairs are those of one clock that runs on: on both sides time goes forward, and each is on their
    /// line.
    fn latest_agree(&mut self) -> bool {
        let first = self.pairs.len() - self.spec.restart_after;
        let latest = &self.pairs.make_contiguous()[first..];
        let forward = latest
            .windows(2)
            .all(|two| two[0].onboard_ns < two[1].onboard_ns && two[0].ground_ns() < two[1].ground_ns());
        forward
            && Line::through(&self.spec, latest).is_ok_and(|line| latest.iter().all(|pair| line.agrees(pair)))
    }
}

/// The line of medians, and how far off it a pair is an outlier.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Reading of the on-board clock in the middle of the pairs.
    reference_onboard_ns: i64,
    /// Ground time minus reading in the middle of the pairs.
    reference_deviation_ns: i128,
    slope: f64,
    intercept_ns: f64,
    limit_ns: f64,
    /// How much the limit grows with the distance from the middle: what the slope may be wrong by.
    slope_doubt: f64,
    mean_x_ns: f64,
}

impl Line {
    /// # Errors
    /// [`CorrelationError::TooFewPairs`], [`CorrelationError::NoSpan`], [`CorrelationError::NoDrift`].
    fn through(spec: &CorrelationSpec, pairs: &[TimePair]) -> Result<Line, CorrelationError> {
        check_enough(spec, pairs.len())?;
        // Medians, so that a wrong pair cannot move the reference to where floating point has no nanoseconds left.
        let middle = pairs.len() / 2;
        let mut readings: Vec<i64> = pairs.iter().map(|pair| pair.onboard_ns).collect();
        let reference_onboard_ns = *readings.select_nth_unstable(middle).1;
        let mut deviations: Vec<i128> = pairs.iter().map(TimePair::deviation_ns).collect();
        let reference_deviation_ns = *deviations.select_nth_unstable(middle).1;
        let mut line = Line {
            reference_onboard_ns,
            reference_deviation_ns,
            slope: 0.0,
            intercept_ns: 0.0,
            limit_ns: 0.0,
            slope_doubt: 0.0,
            mean_x_ns: 0.0,
        };
        let points: Vec<(f64, f64)> = pairs.iter().map(|pair| line.point(pair)).collect();
        let (mut slopes, mut any_span) = (Vec::with_capacity(points.len() * (points.len() - 1) / 2), false);
        for (index, (x0, y0)) in points.iter().enumerate() {
            for (x1, y1) in &points[index + 1..] {
                if x1 != x0 {
                    any_span = true;
                    let slope = (y1 - y0) / (x1 - x0);
                    if slope.abs() <= spec.max_drift {
                        slopes.push(slope);
                    }
                }
            }
        }
        let none = if any_span { CorrelationError::NoDrift } else { CorrelationError::NoSpan };
        line.slope = median(&mut slopes).ok_or(none)?;
        let unsorted: Vec<f64> = points.iter().map(|(x, y)| y - line.slope * x).collect();
        line.intercept_ns = median(&mut unsorted.clone()).ok_or(none)?;
        let residuals: Vec<f64> = unsorted.iter().map(|y| (y - line.intercept_ns).abs()).collect();
        // 1.4826: the median of the absolute residuals as a standard deviation, for a normal distribution. Few pairs lie
        // nearer to their own line than to the true one: the factor of Rousseeuw and Leroy makes up for it.
        let few = 1.0 + 5.0 / points.len().saturating_sub(2).max(1) as f64;
        let sigma_ns = 1.4826 * few * median(&mut residuals.clone()).unwrap_or(0.0);
        line.limit_ns = (spec.outlier_sigma * sigma_ns).max(spec.outlier_floor_ns);
        let near = || {
            points
                .iter()
                .zip(&residuals)
                .filter(|(_, residual)| **residual <= line.limit_ns)
                .map(|((x, _), _)| *x)
        };
        let count = near().count() as f64;
        let mean_x_ns = near().sum::<f64>() / count;
        let spread = near().map(|x| (x - mean_x_ns) * (x - mean_x_ns)).sum::<f64>();
        if spread > 0.0 {
            line.mean_x_ns = mean_x_ns;
            line.slope_doubt = spec.outlier_sigma * sigma_ns / spread.sqrt();
        }
        Ok(line)
    }

    fn point(&self, pair: &TimePair) -> (f64, f64) {
        let x = i128::from(pair.onboard_ns) - i128::from(self.reference_onboard_ns);
        (x as f64, (pair.deviation_ns() - self.reference_deviation_ns) as f64)
    }

    fn agrees(&self, pair: &TimePair) -> bool {
        let (x, y) = self.point(pair);
        let residual = (y - self.intercept_ns - self.slope * x).abs();
        residual <= self.limit_ns + self.slope_doubt * (x - self.mean_x_ns).abs()
    }
}

fn check_enough(spec: &CorrelationSpec, pairs: usize) -> Result<(), CorrelationError> {
    let needed = spec.min_pairs;
    if pairs < needed { Err(CorrelationError::TooFewPairs { pairs, needed }) } else { Ok(()) }
}

fn least_squares(spec: &CorrelationSpec, used: &[TimePair]) -> Result<Correlation, CorrelationError> {
    check_enough(spec, used.len())?;
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
    let ground = || used.iter().map(TimePair::ground_ns);
    let (first, last) = (ground().min().unwrap_or_default(), ground().max().unwrap_or_default());
    Ok(Correlation {
        reference_onboard_ns: reference.onboard_ns,
        reference_tai: tai(reference.ground_ns())?,
        offset_ns,
        drift,
        residual_rms_ns: (residuals.iter().map(|residual| residual * residual).sum::<f64>() / count).sqrt(),
        residual_max_ns: residuals.iter().fold(0.0, |max, residual| residual.abs().max(max)),
        pairs_used: used.len(),
        accuracy_ns: 0.0,
        pairs_rejected: 0,
        valid_from: tai(first)?,
        valid_until: tai((last + i128::from(spec.validity_ns)).min(i128::from(i64::MAX)))?,
    })
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
    if values.is_empty() {
        return None;
    }
    let (below, upper, _) = values.select_nth_unstable_by(values.len() / 2, f64::total_cmp);
    let upper = *upper;
    let is_odd = below.len() * 2 + 1 == values.len();
    let lower = values[..values.len() / 2].iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    Some(if is_odd { upper } else { f64::midpoint(lower, upper) })
}
