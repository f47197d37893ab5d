//! `plaudit` as the suites start it: the same `main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plaudit::cli::main()
}
