//! A curve as an SVG picture: rates on a logarithmic scale over Eb/N0, beside the curve of uncoded BPSK and, if there is
//! one, a reference.

use std::fmt::Write;

use super::curve::Curve;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;
/// Lowest rate drawn.
const DECADES_MAX: i32 = 8;

struct Frame {
    db: (f64, f64),
    decades: i32,
}

impl Frame {
    fn x(&self, db: f64) -> f64 {
        LEFT + (db - self.db.0) / (self.db.1 - self.db.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, rate: f64) -> f64 {
        let decades = f64::from(self.decades);
        TOP + (-rate.log10()).clamp(0.0, decades) / decades * (HEIGHT - TOP - BOTTOM)
    }

    /// Points of a line; rates of zero and those below the picture are left out.
    fn line(&self, points: impl IntoIterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        let least = 10f64.powi(-self.decades);
        let seen = points
            .into_iter()
            .filter(|(db, rate)| *rate >= least && *db >= self.db.0 - 1e-9 && *db <= self.db.1 + 1e-9);
        seen.map(|(db, rate)| (self.x(db), self.y(rate))).collect()
    }
}

/// The picture.
pub(super) fn svg(title: &str, curve: &Curve, reference: Option<&[(f64, f64)]>) -> String {
    let least = curve.points.iter().flat_map(|point| [point.fer, point.ber]).filter(|rate| *rate > 0.0);
    let least = least.fold(0.1f64, f64::min);
    let decades = ((-least.log10()).ceil() as i32).clamp(2, DECADES_MAX);
    let dbs = curve.points.iter().map(|point| point.eb_n0_db);
    let (low, high) = dbs.fold((f64::MAX, f64::MIN), |(low, high), db| (low.min(db), high.max(db)));
    let (low, high) = if high - low < 0.1 { (low - 0.5, high + 0.5) } else { (low, high) };
    let frame = Frame { db: (low, high), decades };

    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{LEFT}" y="20" font-size="13">{}</text>
"##,
        escaped(title)
    );
    grid(&mut out, &frame);
    let uncoded = (0..=60).map(|i| {
        let db = low + (high - low) * f64::from(i) / 60.0;
        (db, uncoded_ber(db))
    });
    polyline(&mut out, &frame.line(uncoded), "#999", "2 3");
    if let Some(reference) = reference {
        polyline(&mut out, &frame.line(reference.iter().copied()), "#2a2", "8 4");
    }
    let ber = frame.line(curve.points.iter().map(|point| (point.eb_n0_db, point.ber)));
    polyline(&mut out, &ber, "#c62", "5 3");
    let fer = frame.line(curve.points.iter().map(|point| (point.eb_n0_db, point.fer)));
    polyline(&mut out, &fer, "#24c", "none");
    for (x, y) in &fer {
        let _ = writeln!(out, r##"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="#24c"/>"##);
    }
    for point in curve.points.iter().filter(|point| point.frame_errors > 0) {
        let (x, high, low) =
            (frame.x(point.eb_n0_db), frame.y(point.fer_high), frame.y(point.fer_low.max(1e-12)));
        let _ =
            writeln!(out, r##"<line x1="{x:.1}" x2="{x:.1}" y1="{high:.1}" y2="{low:.1}" stroke="#24c"/>"##);
    }
    legend(&mut out, reference.is_some());
    out.push_str("</svg>\n");
    out
}

fn grid(out: &mut String, frame: &Frame) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for decade in 0..=frame.decades {
        let y = frame.y(10f64.powi(-decade));
        let _ = writeln!(
            out,
            r##"<line x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">1e-{decade}</text>"##,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let span = frame.db.1 - frame.db.0;
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0].into_iter().find(|step| span / step <= 12.0).unwrap_or(10.0);
    let mut tick = (frame.db.0 / step).ceil() as i64;
    while tick as f64 * step <= frame.db.1 + 1e-9 {
        let db = tick as f64 * step;
        let x = frame.x(db);
        let _ = writeln!(
            out,
            r##"<line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{db:.1}</text>"##,
            bottom + 16.0
        );
        tick += 1;
    }
    let _ = writeln!(
        out,
        r##"<text x="{:.1}" y="{:.1}" text-anchor="middle">Eb/N0 in dB</text>"##,
        (LEFT + right) / 2.0,
        HEIGHT - 10.0
    );
}

fn polyline(out: &mut String, points: &[(f64, f64)], colour: &str, dashes: &str) {
    if points.len() < 2 {
        return;
    }
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        r##"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"/>"##,
        points.join(" ")
    );
}

fn legend(out: &mut String, with_reference: bool) {
    let mut entries = vec![
        ("frame error rate (95 %)", "#24c", "none"),
        ("bit error rate", "#c62", "5 3"),
        ("uncoded BPSK, bit error rate", "#999", "2 3"),
    ];
    if with_reference {
        entries.push(("reference", "#2a2", "8 4"));
    }
    for (row, (text, colour, dashes)) in entries.into_iter().enumerate() {
        let y = HEIGHT - BOTTOM - 14.0 - 16.0 * row as f64;
        let _ = writeln!(
            out,
            r##"<line x1="{}" x2="{}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"/><text x="{}" y="{}">{text}</text>"##,
            LEFT + 10.0,
            LEFT + 40.0,
            LEFT + 46.0,
            y + 4.0
        );
    }
}

/// Q(sqrt(2 Eb/N0)).
fn uncoded_ber(eb_n0_db: f64) -> f64 {
    0.5 * erfc(10f64.powf(eb_n0_db / 20.0))
}

/// Complementary error function, to 1.2e-7 of itself (a Chebyshev fit, Numerical Recipes 6.2).
fn erfc(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let polynomial = FIT.iter().rev().fold(0.0, |sum, term| sum * t + term);
    let tail = t * (-x * x + polynomial).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uncoded_curve_is_the_known_one() {
        for (db, ber) in [(0.0, 0.0786), (4.0, 0.0125), (9.6, 9.7e-6)] {
            assert!((uncoded_ber(db) / ber - 1.0).abs() < 0.02, "{db} dB: {}", uncoded_ber(db));
        }
    }
}
