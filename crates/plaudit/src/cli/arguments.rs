//! What one can type. The doc comments are the help texts.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use plaudit_embedded::EngineConfig;
use plaudit_service::{LogFormat, Scope};

use crate::clickhouse::ClickhouseOptions;
use crate::config::{Setting, Sources};
use crate::dead::DeadCommand;
use crate::demo::DemoOptions;
use crate::drill::DrillOptions;
use crate::load::LoadOptions;
use crate::plan::PlanOptions;
use crate::rebuild::RebuildOptions;
use crate::up::{Member, PortChoice, Ports, UpOptions};
use crate::verify::VerifyOptions;

/// Takes feedback on the answers of LLM applications, keeps it safe in Kafka and lands
/// it in ClickHouse.
#[derive(Debug, Parser)]
#[command(name = "plaudit", version)]
pub struct Cli {
    /// The configuration file [default: plaudit.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key of the configuration, over the file and the environment
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    settings: Vec<Setting>,
    /// How services write their logs
    #[arg(long, global = true, value_enum, default_value_t = LogStyle::Json)]
    pub(super) log_format: LogStyle,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take feedback over HTTP and keep it in Kafka
    Intake,
    /// Carry feedback from Kafka to ClickHouse
    Sink,
    /// Answer questions about feedback over HTTP
    Query,
    /// Run a ClickHouse engine on loopback
    Clickhouse(Clickhouse),
    /// Run everything on this machine: Kafka, ClickHouse and the three services
    Up(Up),
    /// Make topics and tables, or bring them to this version
    Migrate,
    /// Print the effective configuration, secrets as ***
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Manage API keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Look at the records that could not be stored, and send them again
    Dead {
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// Prove that every record of the topic has its one outcome; ends with 1 if not
    Verify(VerifyOptions),
    /// Store a range of the topic anew, while no sink runs
    Rebuild(RebuildOptions),
    /// Run intake, ClickHouse and query in one process, without Kafka
    Standalone(Clickhouse),
    /// Send realistic feedback and measure the answers
    Load(LoadOptions),
    /// Show the whole path once, on real parts, and whether it agrees
    Demo(DemoOptions),
    /// Say how much of everything a load needs, from measured costs
    Plan(PlanOptions),
    /// Break a running `plaudit up` on purpose, and count what that cost; ends with 1 if
    /// something is lost or seen twice
    Drill(DrillOptions),
    /// Ask a service whether it is ready; ends with 1 if not
    Health {
        /// What is asked [default: /readyz at observe.listen]
        url: Option<String>,
    },
    /// Print the version
    Version,
    /// Become a program that gets SIGTERM when its parent is gone
    #[command(hide = true)]
    Tethered(Tethered),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the metrics of a TensorZero gateway's configuration as a `metrics.file`
    ImportTensorzero {
        /// The gateway's `tensorzero.toml`
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key, add its hash to the key file, and print it once
    Create(CreateKey),
}

/// Where local state is kept.
#[derive(Debug, Args)]
struct Directories {
    /// The directory of local state: data, logs, parts
    #[arg(long, default_value = ".plaudit", value_name = "DIR")]
    dir: PathBuf,
    /// The directory of fetched parts, which several local stacks may share
    /// [default: DIR/parts]
    #[arg(long, value_name = "PARTS")]
    parts: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Clickhouse {
    #[command(flatten)]
    directories: Directories,
    /// The address of the HTTP server, on loopback
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8123)))]
    listen: SocketAddr,
    /// Memory that the engine may use, in MiB
    #[arg(long, default_value_t = EngineConfig::DEFAULT_MAX_MEMORY_BYTES >> 20, value_name = "MIB",
          value_parser = clap::value_parser!(u64).range(256..=1 << 24))]
    max_memory: u64,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    directories: Directories,
    /// Another port for a listener, 0 for any free one; can be repeated
    #[arg(long = "port", value_name = "NAME=PORT")]
    ports: Vec<PortChoice>,
    /// Any free port for every listener that `--port` does not name
    #[arg(long)]
    free_ports: bool,
    /// Start these only
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Member>,
}

#[derive(Debug, Args)]
pub(super) struct CreateKey {
    /// The project that the key reads and writes
    #[arg(long)]
    pub(super) project: String,
    /// What the key allows
    #[arg(long = "scope", value_enum, value_delimiter = ',', default_values_t = [ScopeName::Write])]
    scopes: Vec<ScopeName>,
    /// What the key is for, for people
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The key file [default: auth.keys_file]
    #[arg(long)]
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Tethered {
    /// The pid of the parent
    pub(super) parent: u32,
    /// The program
    pub(super) program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) arguments: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogStyle {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeName {
    /// Send feedback, change it, take it back
    Write,
    /// Read what the project has
    Read,
    /// Declare metrics at run time, and both others
    Admin,
}

impl Cli {
    /// Where the configuration comes from.
    pub(super) fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.settings.clone())
    }
}

impl Directories {
    fn parts(&self) -> PathBuf {
        self.parts.clone().unwrap_or_else(|| self.dir.join("parts"))
    }
}

impl Up {
    pub(super) fn options(self, sources: Sources) -> std::io::Result<UpOptions> {
        let mut ports = if self.free_ports {
            Ports::free()
        } else {
            Ports::default()
        };
        self.ports.iter().for_each(|choice| ports.choose(*choice));
        Ok(UpOptions {
            parts: self.directories.parts(),
            directory: self.directories.dir,
            ports,
            members: if self.only.is_empty() {
                Member::ALL.to_vec()
            } else {
                self.only
            },
            binary: std::env::current_exe()?,
            sources,
        })
    }
}

impl CreateKey {
    pub(super) fn scopes(&self) -> Vec<Scope> {
        self.scopes
            .iter()
            .map(|scope| Scope::from(*scope))
            .collect()
    }
}

impl From<Clickhouse> for ClickhouseOptions {
    fn from(arguments: Clickhouse) -> Self {
        Self {
            parts: arguments.directories.parts(),
            directory: arguments.directories.dir,
            listen: arguments.listen,
            max_memory_bytes: arguments.max_memory << 20,
        }
    }
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Json => Self::Json,
            LogStyle::Text => Self::Text,
        }
    }
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Write => Self::Write,
            ScopeName::Read => Self::Read,
            ScopeName::Admin => Self::Admin,
        }
    }
}

impl clap::builder::ValueParserFactory for PortChoice {
    type Parser = clap::builder::ValueParser;

    fn value_parser() -> Self::Parser {
        clap::builder::ValueParser::new(|text: &str| text.parse::<Self>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::Listener;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_child_is_told_what_it_is_told() {
        let cli = Cli::parse_from([
            "plaudit",
            "sink",
            "--set",
            "kafka.brokers=a:1",
            "--config",
            "x.toml",
        ]);
        assert_eq!(
            cli.sources().settings,
            [Setting::new("kafka.brokers", "a:1")]
        );
        assert_eq!(cli.sources().file, Some("x.toml".into()));
    }

    #[test]
    fn a_tethered_program_keeps_its_own_flags() {
        let cli = Cli::parse_from([
            "plaudit", "tethered", "7", "java", "-Xmx512m", "-cp", "x", "--set", "a",
        ]);
        let Command::Tethered(tethered) = cli.command else {
            panic!("another command");
        };
        assert_eq!(tethered.arguments, ["-Xmx512m", "-cp", "x", "--set", "a"]);
        assert!(cli.settings.is_empty());
    }

    #[test]
    fn a_named_port_goes_over_any_free_one() {
        let cli = Cli::parse_from([
            "plaudit",
            "up",
            "--free-ports",
            "--port",
            "kafka=19092",
            "--only",
            "kafka,clickhouse",
        ]);
        let Command::Up(up) = cli.command else {
            panic!("another command");
        };
        let options = up.options(Sources::default()).unwrap();
        assert_eq!(options.ports.port(Listener::Kafka), 19092);
        assert_eq!(options.ports.port(Listener::Intake), 0);
        assert_eq!(options.members, [Member::Kafka, Member::Clickhouse]);
        assert_eq!(options.parts, PathBuf::from(".plaudit/parts"));
    }
}
