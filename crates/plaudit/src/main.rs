//! `plaudit`: see `plaudit help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plaudit::cli::main()
}
