//! The command line: what one can type, and where it goes.

mod arguments;

pub use arguments::Cli;

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::Parser;
use plaudit_dialects::tensorzero;
use plaudit_service::{Keyring, LogFormat, init_logging};

use crate::config::{Config, Sources};
use crate::console::{print, say};
use crate::{
    clickhouse, dead, demo, drill, health, load, migrate, plan, rebuild, services, standalone, up,
    verify,
};
use arguments::{Command, ConfigCommand, CreateKey, KeysCommand};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("plaudit: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let sources = cli.sources();
    match cli.command {
        Command::Intake => service(cli.log_format, &sources, services::intake)?,
        Command::Sink => service(cli.log_format, &sources, services::sink)?,
        Command::Query => service(cli.log_format, &sources, services::query)?,
        Command::Clickhouse(arguments) => {
            init_logging(cli.log_format.into());
            runtime()?.block_on(clickhouse::run(arguments.into()))?;
        }
        Command::Up(arguments) => {
            // One thread: it does nothing but wait.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            return Ok(runtime.block_on(up::run(arguments.options(sources)?)));
        }
        Command::Migrate => runtime()?.block_on(migrate::run(&sources))?,
        Command::Config { command: None } => print(Config::load(&sources)?.to_toml()?.trim_end()),
        Command::Config {
            command: Some(ConfigCommand::ImportTensorzero { file }),
        } => print(import_tensorzero(&file)?.trim_end()),
        Command::Keys {
            command: KeysCommand::Create(arguments),
        } => create_key(&arguments, &sources)?,
        Command::Dead { command } => runtime()?.block_on(dead::run(command, &sources))?,
        Command::Verify(options) => runtime()?.block_on(verify::run(options, &sources))?,
        Command::Rebuild(options) => {
            // For who waits at the terminal: the steps log when ClickHouse is away.
            init_logging(LogFormat::Text);
            runtime()?.block_on(rebuild::run(options, &sources))?;
        }
        Command::Standalone(arguments) => {
            let engine = arguments.into();
            service(cli.log_format, &sources, |config| {
                standalone::run(config, engine)
            })?;
        }
        Command::Load(options) => runtime()?.block_on(load::run(options))?,
        Command::Demo(options) => runtime()?.block_on(demo::run(options, sources))?,
        Command::Plan(options) => plan::run(&options),
        Command::Drill(options) => runtime()?.block_on(drill::run(options, &sources))?,
        Command::Health { url } => runtime()?.block_on(health::run(url, &sources))?,
        Command::Version => print(format_args!("plaudit {}", env!("CARGO_PKG_VERSION"))),
        Command::Tethered(arguments) => {
            match up::become_tethered(arguments.parent, &arguments.program, &arguments.arguments)? {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a service: its configuration, its logs, its threads.
fn service<F>(
    format: arguments::LogStyle,
    sources: &Sources,
    service: impl FnOnce(Config) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let config = Config::load(sources)?;
    init_logging(LogFormat::from(format));
    runtime()?.block_on(service(config))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn import_tensorzero(file: &Path) -> anyhow::Result<String> {
    let configuration =
        std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    tensorzero::import_metrics(&configuration).with_context(|| format!("read {}", file.display()))
}

fn create_key(arguments: &CreateKey, sources: &Sources) -> anyhow::Result<()> {
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => Config::load(sources)?
            .auth
            .keys_file
            .context("which key file? Give --file, or set auth.keys_file")?,
    };
    let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let name = arguments.name.as_deref();
    let key = Keyring::create_key(
        &file,
        &arguments.project,
        &arguments.scopes(),
        name,
        Some(&created),
    )?;
    say(format_args!(
        "added key {} of project {} to {}; this is the only time it is shown:",
        key.entry.id,
        key.entry.project,
        file.display()
    ));
    print(key.secret.expose());
    Ok(())
}
