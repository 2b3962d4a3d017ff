//! A whole curve: points measured one after the other, each by as many threads as there are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use fep_coding::bert::{Confidence, ber_interval};
use fep_coding::soft::SoftFormat;
use fep_coding::{CodeSpec, CodeSpecError};
use serde::Serialize;

use super::trial::Trial;

/// What is measured, and when a point has enough.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) code: CodeSpec,
    /// Of the receiver that quantises.
    pub(super) format: SoftFormat,
    pub(super) seed: u64,
    /// Wrong frames after which a point ends.
    pub(super) errors_min: u64,
    /// Frames after which it ends in any case.
    pub(super) frames_max: u64,
}

impl Plan {
    fn is_enough(&self, tally: &Tally) -> bool {
        tally.frame_errors >= self.errors_min || tally.frames >= self.frames_max
    }

    /// How much of a point is done, 0 to 100.
    pub(super) fn percent(&self, tally: &Tally) -> u64 {
        let errors = 100 * tally.frame_errors / self.errors_min.max(1);
        let frames = 100 * tally.frames / self.frames_max.max(1);
        errors.max(frames).min(100)
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) frame_errors: u64,
    /// Wrong frames that the code called right.
    pub(super) undetected: u64,
    pub(super) bits: u64,
    pub(super) bit_errors: u64,
    pub(super) symbols: u64,
    pub(super) symbol_errors: u64,
    pub(super) iterations: u64,
}

impl Tally {
    /// One frame, and whether the code called it right.
    pub(super) fn count(&mut self, sent: &[u8], frame: &[u8], called_right: bool) {
        let wrong: u64 =
            sent.iter().zip(frame).map(|(sent, octet)| u64::from((sent ^ octet).count_ones())).sum();
        self.frames += 1;
        self.frame_errors += u64::from(wrong > 0 || !called_right);
        self.undetected += u64::from(wrong > 0 && called_right);
        self.bits += 8 * sent.len() as u64;
        self.bit_errors += wrong;
    }

    fn add(&mut self, other: &Tally) {
        self.frames += other.frames;
        self.frame_errors += other.frame_errors;
        self.undetected += other.undetected;
        self.bits += other.bits;
        self.bit_errors += other.bit_errors;
        self.symbols += other.symbols;
        self.symbol_errors += other.symbol_errors;
        self.iterations += other.iterations;
    }
}

/// One point of the curve.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Point {
    pub(super) eb_n0_db: f64,
    pub(super) frames: u64,
    pub(super) frame_errors: u64,
    pub(super) undetected_errors: u64,
    pub(super) fer: f64,
    /// 95 % confidence interval (Wilson).
    pub(super) fer_low: f64,
    pub(super) fer_high: f64,
    pub(super) bit_errors: u64,
    pub(super) ber: f64,
    /// Of hard decisions on channel symbols.
    pub(super) symbol_error_rate: f64,
    /// Mean iterations a frame; 0 for codes without.
    pub(super) iterations: f64,
}

/// The curve.
#[derive(Debug, Serialize)]
pub(super) struct Curve {
    pub(super) code: CodeSpec,
    /// Information bits a channel symbol.
    pub(super) rate: f64,
    pub(super) symbols: SoftFormat,
    pub(super) seed: u64,
    pub(super) points: Vec<Point>,
}

impl Curve {
    /// Measures every point; `progress` gets the point's number, how many there are, and what was counted.
    pub(super) fn measure(
        plan: &Plan,
        eb_n0_db: &[f64],
        threads: usize,
        progress: &mut dyn FnMut(usize, usize, &Tally),
    ) -> Result<Curve, CodeSpecError> {
        let mut points = Vec::new();
        for (number, db) in eb_n0_db.iter().enumerate() {
            let tally = measure_point(plan, number, *db, threads.max(1), &mut |tally| {
                progress(number, eb_n0_db.len(), tally);
            })?;
            points.push(Point::new(*db, &tally));
        }
        let rate = plan.code.rate();
        Ok(Curve { code: plan.code, rate, symbols: plan.format, seed: plan.seed, points })
    }

    pub(super) fn csv(&self) -> String {
        let mut text = String::from(
            "eb_n0_db,fer,fer_low,fer_high,ber,frames,frame_errors,undetected_errors,bit_errors,symbol_error_rate,iterations\n",
        );
        for point in &self.points {
            text.push_str(&format!(
                "{:.3},{:e},{:e},{:e},{:e},{},{},{},{},{:e},{:.3}\n",
                point.eb_n0_db,
                point.fer,
                point.fer_low,
                point.fer_high,
                point.ber,
                point.frames,
                point.frame_errors,
                point.undetected_errors,
                point.bit_errors,
                point.symbol_error_rate,
                point.iterations
            ));
        }
        text
    }

    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:>9}  {:>9}  {:>21}  {:>9}  {:>10}  {:>8}  {:>10}  {:>10}",
            "Eb/N0 dB", "FER", "95 %", "BER", "frames", "wrong", "undetected", "iterations"
        )?;
        for point in &self.points {
            writeln!(
                out,
                "{:>9.2}  {:>9.2e}  {:>9.2e} - {:>9.2e}  {:>9.2e}  {:>10}  {:>8}  {:>10}  {:>10.1}",
                point.eb_n0_db,
                point.fer,
                point.fer_low,
                point.fer_high,
                point.ber,
                point.frames,
                point.frame_errors,
                point.undetected_errors,
                point.iterations
            )?;
        }
        Ok(())
    }
}

impl Point {
    fn new(eb_n0_db: f64, tally: &Tally) -> Point {
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let interval = ber_interval(tally.frame_errors, tally.frames, Confidence::P95);
        Point {
            eb_n0_db,
            frames: tally.frames,
            frame_errors: tally.frame_errors,
            undetected_errors: tally.undetected,
            fer: share(tally.frame_errors, tally.frames),
            fer_low: interval.map_or(0.0, |interval| interval.low),
            fer_high: interval.map_or(1.0, |interval| interval.high),
            bit_errors: tally.bit_errors,
            ber: share(tally.bit_errors, tally.bits),
            symbol_error_rate: share(tally.symbol_errors, tally.symbols),
            iterations: share(tally.iterations, tally.frames),
        }
    }
}

/// Parts go to whichever thread is free and count in the order of their numbers: the point ends with the first part with
/// which it has enough, and what was simulated beyond it is thrown away.
fn measure_point(
    plan: &Plan,
    point: usize,
    eb_n0_db: f64,
    threads: usize,
    progress: &mut dyn FnMut(&Tally),
) -> Result<Tally, CodeSpecError> {
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let (done_out, done) = sync_channel(2 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done_out, next, enough) = (done_out.clone(), &next, &enough);
            scope.spawn(move || {
                let mut trial = match Trial::new(plan) {
                    Ok(trial) => trial,
                    Err(error) => {
                        let _ = done_out.send((0, Err(error)));
                        return;
                    }
                };
                while !enough.load(Ordering::Relaxed) {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if done_out.send((part, trial.run(point, eb_n0_db, part))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done_out);
        let (mut tally, mut waiting, mut part) = (Tally::default(), BTreeMap::new(), 0);
        let mut failed = None;
        for (number, result) in &done {
            match result {
                Err(error) => {
                    failed = Some(error);
                    enough.store(true, Ordering::Relaxed);
                }
                Ok(counted) => {
                    waiting.insert(number, counted);
                }
            }
            while !plan.is_enough(&tally)
                && let Some(counted) = waiting.remove(&part)
            {
                tally.add(&counted);
                part += 1;
                progress(&tally);
            }
            if plan.is_enough(&tally) {
                enough.store(true, Ordering::Relaxed);
            }
        }
        failed.map_or(Ok(tally), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_coding::soft::SymbolBits;
    use fep_coding::spec::UncodedFrames;

    // REQ: FEP-CTL-018
    #[test]
    fn a_curve_is_the_same_whatever_the_number_of_threads() {
        let code = crate::keys::code("ldpc,k=1024,rate=4/5,iterations_max=10").expect("a code");
        let plan = Plan {
            code,
            format: SoftFormat::new(SymbolBits::Eight),
            seed: 5,
            errors_min: 20,
            frames_max: 2000,
        };
        let curve = |threads| {
            let curve = Curve::measure(&plan, &[1.5, 3.0], threads, &mut |_, _, _| {}).expect("measured");
            serde_json::to_string(&curve).expect("JSON")
        };
        let alone = curve(1);
        assert_eq!(alone, curve(3));
        let value: serde_json::Value = serde_json::from_str(&alone).expect("JSON");
        let fer = |point: usize| value["points"][point]["fer"].as_f64().expect("a number");
        assert!(fer(0) > 0.5 && fer(1) < fer(0), "{alone}");
    }

    // REQ: FEP-CTL-018
    #[test]
    fn without_a_code_the_bit_error_rate_is_that_of_theory() {
        let plan = Plan {
            code: UncodedFrames { frame_len: 1000 }.into(),
            format: SoftFormat::new(SymbolBits::Eight),
            seed: 1,
            errors_min: u64::MAX,
            frames_max: 500,
        };
        // Q(sqrt(2 Eb/N0)) at 4 dB is 0.0125.
        let curve = Curve::measure(&plan, &[4.0], 2, &mut |_, _, _| {}).expect("measured");
        let ber = curve.points[0].ber;
        assert!((ber - 0.0125).abs() < 0.0003, "{ber}");
    }
}
