//! What a drill does to a stack, and when.
//!
//! A harm names processes of the stack by their members, never by a pattern: nothing
//! else on the machine is touched. What was stopped is continued, also when the drill
//! is interrupted. What is no signal is in [`topic`].

use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use plaudit_event::Receipt;
use tokio::time::sleep;

use super::topic;
use crate::config::{Config, Sources};
use crate::console::say;
use crate::load::Random;
use crate::up::{Found, Member, Patience};

/// A fault that can be drilled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Harm {
    /// SIGKILL to the sink, at random moments
    KillSink,
    /// SIGKILL to the intake, at random moments
    KillIntake,
    /// SIGKILL to ClickHouse, at random moments
    KillClickhouse,
    /// SIGKILL to the broker, at random moments
    KillKafka,
    /// The sink does nothing for longer than the group waits for it, and goes on
    FreezeSink,
    /// The intake does nothing for longer than its senders wait for an answer
    FreezeIntake,
    /// ClickHouse does nothing for a while: it takes connections and does not answer
    FreezeClickhouse,
    /// The broker does nothing for a while
    FreezeKafka,
    /// SIGKILL to everything at once, at random moments
    KillAll,
    /// A record that is no event: it has to become a dead letter, and stays one
    Poison,
    /// The sinks' group is set back to where the logs begin, and the sink starts anew
    Replay,
    /// A range of a partition is stored anew while no sink runs, and the sink starts anew
    Rebuild,
}

/// The longest pause, at random, before a kill.
const PAUSE: Duration = Duration::from_secs(4);
/// Longer than `session.timeout.ms` of the sink, so that its partitions are given up.
const FROZEN: Duration = Duration::from_secs(15);

/// Where a harm is done.
pub(super) struct Site<'a> {
    pub(super) stack: &'a Found,
    pub(super) sources: &'a Sources,
    pub(super) config: &'a Config,
}

/// Continues a stopped process group, however the drill ends.
struct Frozen(Pid);

impl Harm {
    /// What it is called on the command line.
    pub(super) fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The members that it needs.
    pub(super) fn members(self) -> &'static [Member] {
        match self {
            Self::KillSink | Self::FreezeSink | Self::Poison | Self::Replay | Self::Rebuild => {
                &[Member::Sink]
            }
            Self::KillIntake | Self::FreezeIntake => &[Member::Intake],
            Self::KillClickhouse | Self::FreezeClickhouse => &[Member::Clickhouse],
            Self::KillKafka | Self::FreezeKafka => &[Member::Kafka],
            Self::KillAll => &Member::ALL,
        }
    }

    /// Does it once. Returns the receipt of a record that has to become a dead letter.
    ///
    /// # Errors
    /// When a member does not live, or does not become ready for it.
    pub(super) async fn inflict(
        self,
        at: &Site<'_>,
        random: &mut Random,
    ) -> anyhow::Result<Option<Receipt>> {
        let stack = at.stack;
        match self {
            Self::KillSink
            | Self::KillIntake
            | Self::KillClickhouse
            | Self::KillKafka
            | Self::KillAll => {
                grown(self.members(), stack, random).await?;
                kill(self.members(), stack)?;
            }
            Self::FreezeSink | Self::FreezeIntake | Self::FreezeClickhouse | Self::FreezeKafka => {
                stack.ready(super::PATIENCE).await?;
                sleep(random.below_duration(PAUSE)).await;
                for member in self.members() {
                    let frozen = Frozen::freeze(stack.pid(*member)?)?;
                    say(format_args!("{member} is frozen for {FROZEN:?}"));
                    sleep(FROZEN).await;
                    drop(frozen);
                }
            }
            Self::Poison => {
                stack.ready(super::PATIENCE).await?;
                sleep(random.below_duration(PAUSE)).await;
                return topic::poison(&at.config.kafka).await.map(Some);
            }
            Self::Replay | Self::Rebuild => {
                grown(self.members(), stack, random).await?;
                // Killed, it would be back at once. Frozen, the group gives it up.
                let _frozen = Frozen::freeze(stack.pid(Member::Sink)?)?;
                say("sink is frozen until its group has given it up");
                if self == Self::Replay {
                    topic::rewind(&at.config.kafka).await?;
                } else {
                    topic::rebuild(&at.config.kafka, at.sources, random).await?;
                }
                kill(self.members(), stack)?;
            }
        }
        Ok(None)
    }
}

/// Waits until the members have lived long enough for the supervisor not to give them
/// up, and then for a random while.
async fn grown(members: &[Member], stack: &Found, random: &mut Random) -> anyhow::Result<()> {
    stack.ready(super::PATIENCE).await?;
    for member in members {
        let quick = Patience::default().quick + Duration::from_secs(1);
        sleep(quick.saturating_sub(stack.age(*member)?)).await;
    }
    sleep(random.below_duration(PAUSE)).await;
    Ok(())
}

fn kill(members: &[Member], stack: &Found) -> anyhow::Result<()> {
    for member in members {
        let pid = stack.pid(*member)?;
        killpg(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill {member}"))?;
        say(format_args!("{member} is killed"));
    }
    Ok(())
}

impl Frozen {
    fn freeze(pid: i32) -> anyhow::Result<Self> {
        let group = Pid::from_raw(pid);
        killpg(group, Signal::SIGSTOP).context("stop a process")?;
        Ok(Self(group))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // ESRCH: it was killed meanwhile, and there is nothing to continue.
        killpg(self.0, Signal::SIGCONT).ok();
    }
}
