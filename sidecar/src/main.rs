//! The sidecar's binary: everything is in the library.

fn main() -> std::process::ExitCode {
    finality_sidecar::cli::main()
}
