//! The process.

fn main() -> std::process::ExitCode {
    fep_process::main::<fep_template::Template>()
}
