//! `with-backend COMMAND…` runs a command with a real broker and a real engine, which
//! [`support::backend`] then finds, and stops them when it has ended.
//!
//! The exit code is the command's. On SIGTERM and Ctrl-C the command is asked to end
//! first; when this process is killed, broker and engine get a SIGTERM from the kernel.

use std::process::ExitCode;

use anyhow::Context;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use support::{Backend, RunningBackend};
use tokio::process::Command;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments
        .next()
        .context("which command? with-backend COMMAND…")?;
    let mut command = Command::new(program);
    command.args(arguments);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let stop = plaudit_service::stop_signal()?;
    tokio::pin!(stop);
    let mut running = tokio::select! {
        running = RunningBackend::start() => running?,
        () = &mut stop => return Ok(ExitCode::FAILURE),
    };
    let backend = running.addresses().clone();
    let code = tokio::select! {
        code = attend(command, &backend, stop) => code,
        failure = running.failed() => Err(failure.into()),
    };
    running.stop().await;
    code
}

/// Runs the command to its end, which the signal asks for.
async fn attend(
    mut command: Command,
    backend: &Backend,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<ExitCode> {
    command.env(Backend::VARIABLE, backend.to_string());
    let mut child = command
        // Of its own group, so that all that it starts can be asked to end.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("start the command")?;
    let status = tokio::select! {
        status = child.wait() => status?,
        () = stop => {
            if let Some(pid) = child.id() {
                killpg(Pid::from_raw(pid.try_into()?), Signal::SIGTERM)?;
            }
            child.wait().await?
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
