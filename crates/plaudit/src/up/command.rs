//! The command around the stack: signals in, lines out.

use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::member::Member;
use super::ports::Listener;
use super::stack::{Stack, UpError, UpOptions};
use crate::console::{print, say};

/// Ctrl-C and SIGTERM, as often as they come.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// How the stack came to its end.
enum Ended {
    /// Each part had its grace.
    InOrder,
    /// Somebody could not wait.
    Killed,
}

/// What a shell expects of a program that a second Ctrl-C has ended.
const KILLED: u8 = 130;

/// Runs the stack until a signal, or until a child cannot live.
///
/// The first signal stops everything in order, a second one kills it.
///
/// Says itself what goes wrong: before everything else is stopped, not after.
pub async fn run(options: UpOptions) -> ExitCode {
    let mut stack = match Stack::prepare(options).await {
        Ok(stack) => stack,
        Err(error) => return fail(&error),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let code = match up(&mut stack, &mut signals).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    };
    match stop(stack, signals).await {
        Ended::InOrder => code,
        Ended::Killed => ExitCode::from(KILLED),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    say(format_args!("plaudit: {error}"));
    ExitCode::FAILURE
}

async fn stop(stack: Stack, mut signals: Signals) -> Ended {
    say("stopping");
    let kill = stack.kill_token();
    let stopping = stack.stop();
    tokio::pin!(stopping);
    let ended = tokio::select! {
        () = &mut stopping => Ended::InOrder,
        () = signals.next() => {
            kill.cancel();
            stopping.await;
            Ended::Killed
        }
    };
    say("stopped");
    ended
}

/// Returns on a signal.
async fn up(stack: &mut Stack, signals: &mut Signals) -> Result<(), UpError> {
    tokio::select! {
        biased;
        () = signals.next() => return Ok(()),
        started = stack.start() => started?,
    }
    announce(stack);
    tokio::select! {
        biased;
        () = signals.next() => Ok(()),
        failure = stack.failed() => Err(failure.into()),
    }
}

fn announce(stack: &Stack) {
    let addresses: Vec<String> = [
        (Member::Intake, "intake", stack.url(Listener::Intake)),
        (Member::Query, "query", stack.url(Listener::Query)),
        (
            Member::Clickhouse,
            "ClickHouse",
            stack.url(Listener::Clickhouse),
        ),
        (
            Member::Kafka,
            "Kafka",
            stack.ports().address(Listener::Kafka).to_string(),
        ),
        (
            Member::Intake,
            "metrics",
            stack.url(Listener::IntakeMetrics) + "/metrics",
        ),
        (
            Member::Sink,
            "",
            stack.url(Listener::SinkMetrics) + "/metrics",
        ),
        (
            Member::Query,
            "",
            stack.url(Listener::QueryMetrics) + "/metrics",
        ),
    ]
    .into_iter()
    .filter(|(member, ..)| stack.has(*member))
    .map(|(_, name, address)| format!("{name} {address}").trim_start().to_owned())
    .collect();
    print(format_args!("plaudit is ready: {}", addresses.join(", ")));
    if stack.has(Member::Intake) {
        print(format_args!(
            "curl -s {}/v1/feedback -H 'content-type: application/json' \
             -d '{{\"trace_id\":\"t-1\",\"metric\":\"helpful\",\"value\":true}}'",
            stack.url(Listener::Intake)
        ));
    }
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancel safe.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
