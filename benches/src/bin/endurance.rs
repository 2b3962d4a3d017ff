//! A minute of each (or as many seconds as the argument says): loopback TCP through the real daemon into its ring, as fast
//! as it goes; then 2 Gbit/s of frames through the daemon and the recorder onto the disk. Ends with exit code 1 when one
//! frame is missing.

use std::process::ExitCode;

use fep_benches::cases::{engine, recorder};

fn main() -> ExitCode {
    let seconds = match std::env::args().nth(1).map(|argument| argument.parse::<f64>()) {
        None => 60.0,
        Some(Ok(seconds)) if seconds > 0.0 => seconds,
        Some(_) => {
            eprintln!("usage: endurance [SECONDS]");
            return ExitCode::from(2);
        }
    };
    let tell = &mut |line: &str| println!("{line}");
    println!("loopback TCP through fepd into its ring");
    let ring = engine::flow(seconds, tell)
        .map(|flow| (format!("{:.3} Gbit/s, {}", flow.gigabits_per_s(), flow.note()), flow.is_lossless()));
    println!("2 Gbit/s of frames through fepd and fep-recorder onto the disk");
    let disk = recorder::beside_fepd(seconds, tell).map(|recorded| (recorded.note(), recorded.is_lossless()));
    let mut code = ExitCode::SUCCESS;
    for (name, outcome) in [("into the ring", ring), ("onto the disk", disk)] {
        let is_lossless = match outcome {
            Ok((text, is_lossless)) => {
                println!("{name}: {text}");
                is_lossless
            }
            Err(reason) => {
                eprintln!("{name}: {reason}");
                false
            }
        };
        if !is_lossless {
            code = ExitCode::FAILURE;
        }
    }
    code
}
