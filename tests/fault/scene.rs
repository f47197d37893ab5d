//! One case's services and load, on topics, a group and a database of its own; and the
//! judgement at its end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plaudit::drill::{Count, Line, Oracle, Sent};
use plaudit::load::Report;
use plaudit::up::{Broker, ChildSpec, Probe, Tether};
use plaudit_event::{Outcome, Receipt};
use plaudit_kafka::{Admin, ConfirmingProducer, Delivery, KafkaConfig, Record};
use plaudit_store::ClickhouseConfig;
use support::{Database, binary, command, wait_until};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::edits::Edits;
use crate::load::Load;
use crate::part::Part;
use crate::random::Random;
use crate::site::{Site, free_ports};
use crate::watch::Watch;

/// What is given to every case.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) form: Form,
    /// The case's own chance.
    pub(crate) random: Random,
    pub(crate) name: &'static str,
}

/// How long a case goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Seconds: all cases within `make test`.
    Short,
    /// As long as it takes to be sure.
    Long,
}

/// What a case wants different.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) partitions: i32,
    pub(crate) intakes: usize,
    pub(crate) sinks: usize,
    /// Events a second of the load, all intakes together; 0 is none.
    pub(crate) rate: f64,
    /// Whether feedback is changed all the while.
    pub(crate) edits: bool,
    /// What is promised for an answer of the intake.
    pub(crate) http_timeout: Duration,
    /// Settings of every service, over the suite's own.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Where the sinks find ClickHouse, in place of the engine's own address.
    pub(crate) sink_clickhouse_url: Option<String>,
    /// On the cluster of three, in place of the one broker.
    pub(crate) cluster: bool,
}

/// A case's own part of the world.
#[derive(Debug)]
pub(crate) struct Scene<'s> {
    pub(crate) site: &'s mut Site,
    pub(crate) form: Form,
    pub(crate) random: &'s mut Random,
    pub(crate) intakes: Vec<Part>,
    pub(crate) sinks: Vec<Part>,
    pub(crate) kafka: KafkaConfig,
    pub(crate) admin: Admin,
    pub(crate) database: Database,
    name: &'static str,
    directory: PathBuf,
    options: Options,
    settings: Vec<(&'static str, String)>,
    intake_urls: Vec<String>,
    load: Option<Load>,
    edits: Option<Edits>,
    fault_ended: Option<Instant>,
    recovered: Option<Duration>,
    notes: Vec<String>,
}

/// What must become of an acknowledged event that is not to be seen: of its id and
/// receipt, `None` where it is to be seen.
pub(crate) type Fate<'f> = dyn Fn(Uuid, &Receipt) -> Option<Outcome> + 'f;

/// A case that held.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: Line,
    pub(crate) notes: Vec<String>,
    /// What the senders saw.
    pub(crate) report: Report,
}

/// A debug build on a busy machine; a log of ten minutes.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(100);
const ASK: Duration = Duration::from_secs(10);

// === impl Form ===

impl Form {
    /// The first for the short form, the second for the long one.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }

    pub(crate) fn seconds(self, short: u64, long: u64) -> Duration {
        Duration::from_secs(self.pick(short, long))
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            partitions: 6,
            intakes: 1,
            sinks: 1,
            rate: 1000.0,
            edits: true,
            http_timeout: Duration::from_secs(8),
            settings: Vec::new(),
            sink_clickhouse_url: None,
            cluster: false,
        }
    }
}

impl Options {
    /// The same with one more setting.
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }
}

// === impl Scene: set up ===

impl<'s> Scene<'s> {
    /// Heals the site, makes topics and tables, starts the services, begins the load.
    pub(crate) async fn set(stage: &'s mut Stage, options: Options) -> Result<Self> {
        let mut scene = Self::set_silent(stage, options).await?;
        scene.begin()?;
        Ok(scene)
    }

    /// The same, without load.
    pub(crate) async fn set_silent(stage: &'s mut Stage, options: Options) -> Result<Self> {
        let Stage {
            site,
            form,
            random,
            name,
        } = stage;
        site.heal().await?;
        let directory = site.directory.join(*name);
        std::fs::create_dir_all(&directory)?;
        let brokers = if options.cluster {
            site.cluster().await?.addresses()
        } else {
            site.kafka.address()
        };
        let own = format!(
            "fault_{}_{:08x}",
            name.replace('-', "_"),
            random.next() >> 32
        );
        let kafka = KafkaConfig {
            brokers,
            topic: own.clone(),
            partitions: options.partitions,
            replication: if options.cluster { 3 } else { 1 },
            metrics_topic: format!("{own}.metrics"),
            group: own.clone(),
            ..KafkaConfig::default()
        };
        let mut settings = vec![
            ("kafka.brokers", kafka.brokers.clone()),
            ("kafka.topic", kafka.topic.clone()),
            ("kafka.partitions", kafka.partitions.to_string()),
            ("kafka.replication", kafka.replication.to_string()),
            ("kafka.metrics_topic", kafka.metrics_topic.clone()),
            ("kafka.group", kafka.group.clone()),
            // A sink that is gone is noticed within a case's time.
            ("kafka.properties.session.timeout.ms", "2000".to_owned()),
            ("kafka.properties.heartbeat.interval.ms", "500".to_owned()),
            ("clickhouse.url", site.clickhouse_url()),
            ("clickhouse.database", own.clone()),
            ("sink.batch.max_age", "200ms".to_owned()),
            ("auth.mode", "open".to_owned()),
            (
                "intake.http_timeout",
                format!("{}s", options.http_timeout.as_secs()),
            ),
            ("sink.retry.max", form.pick("1s", "10s").to_owned()),
        ];
        settings.extend(options.settings.iter().cloned());
        let mut scene = Self {
            database: Database::new(&site.clickhouse_url(), &own),
            admin: Admin::new(&kafka)?,
            site,
            form: *form,
            random,
            intakes: Vec::new(),
            sinks: Vec::new(),
            kafka,
            name,
            directory,
            settings,
            intake_urls: Vec::new(),
            load: None,
            edits: None,
            fault_ended: None,
            recovered: None,
            notes: Vec::new(),
            options,
        };
        scene.tool(&["migrate"]).await?;
        for _ in 0..scene.options.intakes {
            scene.launch_intake(&[], Vec::new()).await?;
        }
        for _ in 0..scene.options.sinks {
            scene.launch_sink(&[]).await?;
        }
        for part in scene.intakes.iter_mut().chain(&mut scene.sinks) {
            part.ready().await?;
        }
        Ok(scene)
    }

    /// Begins the load, where there is to be one.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if self.options.rate > 0.0 && !self.intake_urls.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "a handful of intakes")]
            let rate = self.options.rate / self.intake_urls.len() as f64;
            let load = Load::start(&self.intake_urls, rate, self.random, &self.directory);
            self.load = Some(load?);
        }
        if self.options.edits {
            let edits = Edits::start(&self.intake_urls, self.random, &self.directory);
            self.edits = Some(edits?);
        }
        Ok(())
    }

    /// Starts one more intake and does not wait.
    pub(crate) async fn launch_intake(
        &mut self,
        settings: &[(&str, String)],
        environment: Vec<(String, String)>,
    ) -> Result<()> {
        let [port, observe_port] = free_ports()?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut own = vec![("intake.listen", listen.to_string())];
        own.extend(settings.iter().cloned());
        let mut part = self.service("intake", self.intakes.len(), observe_port, &own)?;
        let environment = environment.into_iter();
        part.spec_mut()
            .environment
            .extend(environment.map(|(key, value)| (key, value.into())));
        part.launch().await?;
        self.intakes.push(part);
        self.intake_urls.push(format!("http://{listen}"));
        Ok(())
    }

    /// Starts one more sink and does not wait.
    pub(crate) async fn launch_sink(&mut self, settings: &[(&str, String)]) -> Result<usize> {
        let [observe_port] = free_ports()?;
        let mut own = Vec::new();
        if let Some(url) = &self.options.sink_clickhouse_url {
            own.push(("clickhouse.url", url.clone()));
        }
        own.extend(settings.iter().cloned());
        let mut part = self.service("sink", self.sinks.len(), observe_port, &own)?;
        part.launch().await?;
        self.sinks.push(part);
        Ok(self.sinks.len() - 1)
    }

    fn service(
        &self,
        name: &'static str,
        number: usize,
        observe_port: u16,
        own: &[(&str, String)],
    ) -> Result<Part> {
        let observe = SocketAddr::from((Ipv4Addr::LOCALHOST, observe_port));
        let mut arguments = vec![name.to_owned()];
        let settings = self.settings.iter().map(|(key, value)| (*key, value));
        let own = own.iter().map(|(key, value)| (*key, value));
        for (key, value) in settings.chain(own) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        arguments.extend(["--set".to_owned(), format!("observe.listen={observe}")]);
        let spec = ChildSpec {
            name,
            program: binary()?,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            log: self.directory.join(format!("{name}-{number}.log")),
            tether: Tether::Tied(binary()?),
        };
        Ok(Part::new(
            spec,
            Probe::Http(format!("http://{observe}/readyz")),
        ))
    }
}

// === impl Scene: while it runs ===

impl Scene<'_> {
    /// The intake's address.
    pub(crate) fn intake_url(&self, number: usize) -> Result<&str> {
        let url = self.intake_urls.get(number);
        Ok(url.context("there is no such intake")?)
    }

    /// Begins to watch what clients see of the first intake.
    pub(crate) fn watch(&self) -> Result<Watch> {
        let intake = self.intakes.first().context("there is no intake")?;
        let timeout = self.options.http_timeout;
        Watch::start(self.intake_url(0)?, intake.pid()?, timeout)
    }

    pub(crate) fn intake(&mut self, number: usize) -> Result<&mut Part> {
        let part = self.intakes.get_mut(number);
        part.context("there is no such intake")
    }

    pub(crate) fn sink(&mut self, number: usize) -> Result<&mut Part> {
        self.sinks.get_mut(number).context("there is no such sink")
    }

    /// The case's own files.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Something to be said beside the counts.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The same, where it is said again and again.
    pub(crate) fn note_once(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Changes a setting of the topic, as its operator might.
    pub(crate) async fn set_of_topic(&self, setting: &str) -> Result<()> {
        let Broker { java, jars, .. } = &self.site.kafka.broker;
        let mut command = Command::new(java);
        command.args(["-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(jars.join("*")).arg("kafka.admin.ConfigCommand");
        command.args(["--bootstrap-server", &self.kafka.brokers, "--alter"]);
        command.args(["--entity-type", "topics", "--add-config", setting]);
        command.args(["--entity-name", &self.kafka.topic]);
        let output = command.kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "set {setting}: {said}");
        Ok(())
    }

    /// Lets the fault, or the load, go on for a while: its schedule.
    pub(crate) async fn go_on(&self, time: Duration) {
        sleep(time).await;
    }

    /// From now on all should be well again.
    pub(crate) fn fault_ended(&mut self) {
        self.fault_ended = Some(Instant::now());
    }

    /// What the group has committed, by partition.
    pub(crate) async fn committed(&self) -> Result<BTreeMap<i32, i64>> {
        let committed = self.admin.committed(ASK).await?.into_iter();
        Ok(committed
            .filter_map(|(partition, next)| Some((partition, next?)))
            .collect())
    }

    /// How many records the group has committed.
    pub(crate) async fn committed_in_all(&self) -> Result<i64> {
        Ok(self.committed().await?.values().sum())
    }

    /// Deletes the records of a partition before an offset, as retention does.
    pub(crate) async fn expire(&self, partition: i32, before: i64) -> Result<()> {
        Ok(self
            .admin
            .delete_before(&[(partition, before)], ASK)
            .await?)
    }

    /// Writes a record past the intake. Returns where it is.
    pub(crate) async fn write(&self, record: Record<'_>) -> Result<(i32, i64)> {
        let producer = ConfirmingProducer::new(&self.kafka)?;
        let deliveries = producer.send_all(&self.kafka.topic, [record]);
        match deliveries.wait(ASK).await.as_slice() {
            [Delivery::Confirmed { partition, offset }] => Ok((*partition, *offset)),
            other => bail!("a record is not confirmed: {other:?}"),
        }
    }

    /// Runs a tool of the built binary; it must end well. Returns what it prints.
    pub(crate) async fn tool(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_tool(arguments).await?;
        let [printed, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        ensure!(
            output.status.success(),
            "plaudit {}: {printed}{said}",
            arguments.join(" ")
        );
        Ok(printed)
    }

    /// Runs a tool of the built binary.
    pub(crate) async fn try_tool(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let mut words: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        for (key, value) in &self.settings {
            words.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        command(&self.directory, &words).await
    }

    /// Where the logs end; asked until the broker says.
    pub(crate) async fn ends(&self) -> Result<Vec<(i32, i64)>> {
        let topic = &self.kafka.topic;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.admin.watermarks(topic, ASK).await {
                Ok(marks) => {
                    return Ok(marks
                        .iter()
                        .map(|mark| (mark.partition, mark.high))
                        .collect());
                }
                Err(error) if Instant::now() >= end => return Err(error.into()),
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// How many records there are that the group has not committed.
    pub(crate) async fn behind(&self, ends: &[(i32, i64)]) -> Result<i64> {
        let committed = self.committed().await?;
        let behind = ends.iter().map(|(partition, end)| {
            let next = committed.get(partition).copied().unwrap_or(0);
            (end - next).max(0)
        });
        Ok(behind.sum())
    }

    /// Waits until the group has committed all up to here.
    pub(crate) async fn caught_up(&self, ends: &[(i32, i64)], patience: Duration) -> Result<()> {
        let give_up = Instant::now() + patience;
        loop {
            let behind = self.behind(ends).await;
            match behind {
                Ok(0) => return Ok(()),
                Ok(_) | Err(_) if Instant::now() < give_up => sleep(LOOK).await,
                other => {
                    return Err(anyhow::anyhow!(
                        "after {patience:?} the group is still behind: {other:?}"
                    ));
                }
            }
        }
    }

    /// Waits until what is sent now is acknowledged and stored; says how long that took
    /// since the fault ended.
    async fn recovered(&mut self) -> Result<Duration> {
        if let Some(recovered) = self.recovered {
            return Ok(recovered);
        }
        let began = self.fault_ended.unwrap_or_else(Instant::now);
        if let Ok(url) = self.intake_url(0)
            && self.options.rate > 0.0
        {
            let http = reqwest::Client::builder().no_proxy().build()?;
            let probe = r#"{"trace_id":"probe","metric":"probe","value":1}"#;
            wait_until("the intake to acknowledge", async || {
                let request = http.post(format!("{url}/v1/feedback")).body(probe);
                let request = request.header("content-type", "application/json");
                let answer = request.timeout(ASK).send().await;
                Ok(answer.is_ok_and(|answer| answer.status() == 200))
            })
            .await?;
        }
        let ends = self.ends().await?;
        self.caught_up(&ends, PATIENCE).await?;
        Ok(*self.recovered.insert(began.elapsed()))
    }
}

// === impl Scene: the judgement ===

impl Scene<'_> {
    /// Waits until all is well, and counts. Nothing may be lost or seen twice.
    pub(crate) async fn judge(self) -> Result<Row> {
        self.judge_with(&|_, _| None).await
    }

    /// The same, and what clients saw of the intake must be as promised.
    pub(crate) async fn judge_watched(mut self, watch: Watch) -> Result<Row> {
        // Until all is well again, and no longer.
        self.recovered().await.context("recover")?;
        let seen = watch.end().await?;
        seen.judge()?;
        self.note(seen.to_string());
        self.judge().await
    }

    /// The same where the case makes some records dead or expired, on purpose: which,
    /// exactly.
    pub(crate) async fn judge_with(mut self, fate: &Fate<'_>) -> Result<Row> {
        let recovered = self.recovered().await.context("recover")?;
        let (sent, report) = self.end_load().await?;
        let edits = match self.edits.take() {
            Some(edits) => Some(edits.finish().await?),
            None => None,
        };
        let ends = self.ends().await?;
        self.caught_up(&ends, PATIENCE).await?;
        let mut files = Vec::new();
        if let Some(edits) = &edits {
            self.folded(edits).await?;
            files.push(edits.acked.clone());
        }
        for part in self.intakes.iter_mut().chain(&mut self.sinks) {
            part.stop().await?;
        }
        let count = match &sent {
            Some(sent) => {
                files.extend(sent.acked.iter().cloned());
                let count = self.oracle()?.count(sent).await?;
                judge_count(&count, &sent.acked, fate)?;
                count
            }
            None => Count::default(),
        };
        let mut arguments = vec!["verify", "--deep"];
        for file in &files {
            arguments.extend(["--receipts", file.to_str().context("a path is text")?]);
        }
        self.tool(&arguments).await?;
        self.no_panics()?;
        if let Some(edits) = &edits {
            self.notes.push(format!("{} edited", edits.len()));
        }
        self.database.execute("DROP DATABASE {db} SYNC").await?;
        std::fs::remove_dir_all(&self.directory)?;
        Ok(Row {
            line: Line {
                name: self.name.to_owned(),
                count,
                recovered,
            },
            notes: self.notes,
            report,
        })
    }

    /// Ends the edits, and waits until readers see what they must.
    pub(crate) async fn end_edits(&mut self) -> Result<()> {
        let Some(edits) = self.edits.take() else {
            return Ok(());
        };
        let edits = edits.finish().await?;
        self.folded(&edits).await
    }

    /// Ends the load, waits until all of it is stored, and counts.
    pub(crate) async fn count(&mut self) -> Result<Count> {
        let (sent, _) = self.end_load().await?;
        let sent = sent.context("there is no load")?;
        let ends = self.ends().await?;
        self.caught_up(&ends, PATIENCE).await?;
        let count = self.oracle()?.count(&sent).await?;
        judge_count(&count, &sent.acked, &|_, _| None)?;
        Ok(count)
    }

    async fn end_load(&mut self) -> Result<(Option<Sent>, Report)> {
        Ok(match self.load.take() {
            Some(load) => {
                let (sent, report) = load.stop().await?;
                (Some(sent), report)
            }
            None => (None, Report::default()),
        })
    }

    fn oracle(&self) -> Result<Oracle> {
        Oracle::new(&ClickhouseConfig {
            url: self.site.clickhouse_url(),
            database: self.database.name().to_owned(),
            ..ClickhouseConfig::default()
        })
    }

    /// Waits until every change has been folded. A patch that came before its feedback
    /// is tried again every second.
    async fn folded(&self, edits: &crate::edits::Expected) -> Result<()> {
        let give_up = Instant::now() + support::DEADLINE;
        loop {
            match edits.check(&self.database).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= give_up => return Err(error),
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    fn no_panics(&self) -> Result<()> {
        for part in self.intakes.iter().chain(&self.sinks) {
            let log = part.log()?;
            let panicked = log.lines().find(|line| line.contains("panicked at"));
            ensure!(
                panicked.is_none(),
                "{}: {panicked:?}",
                part.log_path().display()
            );
        }
        Ok(())
    }
}

fn judge_count(count: &Count, acked: &[PathBuf], fate: &Fate<'_>) -> Result<()> {
    let problems = count.problems();
    ensure!(problems.is_empty(), "{}: {count:?}", problems.join("; "));
    ensure!(
        count.acknowledged > 0,
        "nothing was acknowledged: {count:?}"
    );
    let (mut dead, mut expired) = (0, 0);
    for file in acked {
        for line in std::fs::read_to_string(file)?.lines() {
            let (id, receipt) = line.split_once(' ').context("a line is `ID RECEIPT`")?;
            match fate(id.parse()?, &receipt.parse()?) {
                Some(Outcome::DeadLettered) => dead += 1,
                Some(Outcome::Expired) => expired += 1,
                _ => {}
            }
        }
    }
    ensure!(
        (count.dead, count.expired) == (dead, expired),
        "{dead} dead and {expired} expired were expected: {count:?}"
    );
    ensure!(
        count.visible + dead + expired == count.acknowledged,
        "what was acknowledged is not seen: {count:?}"
    );
    Ok(())
}
