//! Measuring loops: repeat until the budget is spent, report the best window, so that a busy machine disturbs less.

use std::time::Instant;

/// Calls `work` (which processes `units` units a call) for about `budget_s` seconds in windows of about 50 ms
/// and returns the rate of the median window, in units a second.
pub fn rate(budget_s: f64, units: f64, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    let once_s = start.elapsed().as_secs_f64().max(1e-9);
    let calls = ((0.05 / once_s) as usize).max(1);
    let mut rates = Vec::new();
    while start.elapsed().as_secs_f64() < budget_s || rates.len() < 3 {
        let window = Instant::now();
        for _ in 0..calls {
            work();
        }
        rates.push(units * calls as f64 / window.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
