//! Loopback TCP through the real daemon into its ring for a minute (or as many seconds as the argument says). Ends with
//! exit code 1 when one frame is missing.

use std::process::ExitCode;

use fep_benches::cases::engine;

fn main() -> ExitCode {
    let seconds = match std::env::args().nth(1).map(|argument| argument.parse::<f64>()) {
        None => 60.0,
        Some(Ok(seconds)) if seconds > 0.0 => seconds,
        Some(_) => {
            eprintln!("usage: endurance [SECONDS]");
            return ExitCode::from(2);
        }
    };
    match engine::flow(seconds, &mut |line| println!("{line}")) {
        Ok(flow) => {
            println!("{:.3} Gbit/s, {}", flow.gigabits_per_s(), flow.note());
            if flow.is_lossless() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(reason) => {
            eprintln!("endurance: {reason}");
            ExitCode::FAILURE
        }
    }
}
