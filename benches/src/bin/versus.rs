//! Prints ours, the peer's and the ratio, case by case, from one run.

use clap::Parser;

/// Measures our kernels and chains beside their peers.
#[derive(Parser)]
struct Arguments {
    /// Prints one JSON object a case instead of a table.
    #[arg(long)]
    json: bool,
    /// Runs only the cases whose name contains this.
    #[arg(long, default_value = "")]
    case: String,
    /// Seconds to spend on each figure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

fn main() {
    let arguments = Arguments::parse();
    for case in fep_benches::cases::all().into_iter().filter(|case| case.name.contains(&arguments.case)) {
        let measured = (case.run)(arguments.seconds);
        let ratio = measured.ratio();
        if arguments.json {
            println!(
                "{}",
                serde_json::json!({
                    "case": case.name, "ours": measured.ours, "peer": measured.peer,
                    "peer_name": case.peer_name, "unit": case.unit, "ratio": ratio, "note": measured.note,
                })
            );
        } else {
            let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
            println!(
                "{:<28} ours {:>10.3}  {:<14} {:>10}  {:<9} ratio {:>8}  {}",
                case.name,
                measured.ours,
                if case.peer_name.is_empty() { "(no peer)" } else { case.peer_name },
                figure(measured.peer),
                case.unit,
                figure(ratio),
                measured.note
            );
        }
    }
}
