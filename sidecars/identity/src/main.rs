//! The program `fep-identity`.

fn main() -> std::process::ExitCode {
    fep_process::main::<fep_identity_service::IdentityService>()
}
