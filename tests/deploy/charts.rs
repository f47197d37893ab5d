//! What can be said of chart, rules and dashboard without running them.
//!
//! Helm and promtool are asked, as whoever installs it would ask them. What an API server
//! says of the rendered objects is in `kubernetes`.

pub(crate) mod options;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use support::repository;

use crate::dashboard;
use crate::prepare::own_directory;
use crate::run::{Program, output};

/// Values that contradict themselves, and what is said about them.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["monitoring.podMonitor.interval=1m"],
        "monitoring.podMonitor.interval",
    ),
    (
        &["sink.sessionTimeoutSeconds=301"],
        "sink.sessionTimeoutSeconds",
    ),
    (
        &[
            "monitoring.podMonitor.enabled=true",
            "monitoring.serviceMonitor.enabled=true",
        ],
        "monitoring: podMonitor and serviceMonitor would scrape every pod twice",
    ),
    (&["config.auth.mode=open"], "config.auth.mode: must be keys"),
    (&["keys.secret="], "keys.secret: name the Secret"),
    (
        &["config.clickhouse.password=x"],
        "config.clickhouse.password: is a secret",
    ),
    (
        &["config.auth.token_secret=x"],
        "config.auth.token_secret: is a secret",
    ),
    (
        &["config.clickhouse.password=1234"],
        "config.clickhouse.password: is a secret",
    ),
    // However a setting of Kafka's is spelled.
    (
        &[r"config.kafka.properties.sasl\.password=x"],
        "config.kafka.properties.sasl.password: is a secret",
    ),
    (
        &["config.kafka.properties.sasl.password=x"],
        "config.kafka.properties.sasl.password: is a secret",
    ),
    (
        &["config.kafka.properties.ssl_key_pem=x"],
        "config.kafka.properties.ssl_key_pem: is a secret",
    ),
    (
        &["config.kafka.properties.ssl.key_password=x"],
        "config.kafka.properties.ssl.key_password: is a secret",
    ),
    (
        &["config.kafka.properties.sasl_oauthbearer.config=x"],
        "config.kafka.properties.sasl_oauthbearer.config: is a secret",
    ),
    (
        &["config.intake.listen=0.0.0.0:1"],
        "config.intake.listen: the port is the chart's",
    ),
    (&["sink.replicas=13"], "13 sinks share 12 partitions"),
    (
        &[
            "sink.autoscaling.enabled=true",
            "sink.autoscaling.maxReplicas=20",
        ],
        "20 sinks share 12 partitions",
    ),
    (
        &[
            "intake.autoscaling.enabled=true",
            "intake.autoscaling.minReplicas=11",
        ],
        "minReplicas is above maxReplicas",
    ),
    (
        &["intake.terminationGracePeriodSeconds=34"],
        "intake.terminationGracePeriodSeconds: a service takes up to 28 s",
    ),
    (
        &["mounts[0].name=x", "mounts[0].path=/x"],
        "needs either a secret or a configMap",
    ),
    // By the schema.
    (&["config.kafka.brokers=kafka"], "/config/kafka/brokers"),
    (
        &["config.observe.listen=x"],
        "'/config': additional properties 'observe' not allowed",
    ),
    (
        &["config.clickhouse.url=http://me:hunter2@clickhouse:8123"],
        "/config/clickhouse/url",
    ),
    (
        &["config.clickhouse.url=http://clickhouse:8123/?password=hunter2"],
        "/config/clickhouse/url",
    ),
    (
        &["config.clickhouse.cluster.nodes={http://me:hunter2@clickhouse:8123}"],
        "/config/clickhouse/cluster/nodes/0",
    ),
    (
        &[r"sink.podLabels.app\.kubernetes\.io/component=x"],
        "invalid propertyName 'app.kubernetes.io/component'",
    ),
    (&["networkPolicy.dnsPorts={0}"], "/networkPolicy/dnsPorts/0"),
    (&["intake.ingress.enabled=true"], "/intake/ingress/hosts"),
    (
        &["sink.replica=1"],
        "'/sink': additional properties 'replica' not allowed",
    ),
    (&["intake.replicas=0"], "/intake/replicas"),
];

/// The values that are shipped, beside the defaults.
pub(crate) const EXAMPLES: [&str; 2] = ["values-three-brokers.yaml", "values-cluster.yaml"];

/// Asks Helm and promtool.
///
/// # Errors
/// The first thing that does not hold.
pub(crate) async fn check(cache: &Path) -> Result<String> {
    let programs = &cache.join("bin");
    let directory = own_directory("charts")?;
    let helm = Program::new(programs.join("helm"));
    let chart = chart();
    let chart_text = chart.display().to_string();
    helm.run(&["lint", "--strict", &chart_text]).await?;
    for example in EXAMPLES {
        let values = chart.join(example).display().to_string();
        helm.run(&["lint", "--strict", &chart_text, "--values", &values])
            .await?;
    }
    for (settings, expected) in REFUSED {
        match render(&helm, &[], settings).await {
            Ok(_) => bail!("{settings:?} is taken"),
            Err(error) => ensure!(
                format!("{error:#}").contains(expected),
                "{settings:?}: {error:#}"
            ),
        }
    }
    let promtool = Program::new(programs.join("promtool"));
    options::check(&helm, &promtool, &directory).await?;
    a_job_is_never_changed(&helm).await?;
    plain_is_what_the_chart_gives(programs, &directory.join("plain")).await?;
    rules(&promtool).await?;
    let alerts = each_alert_is_explained()?;
    let panels = dashboard::check()?;
    Ok(format!(
        "the chart lints; {} contradictions are refused; options do what they say, on and off, and \
         Plaudit takes the configuration; plain manifests are what it gives; \
         promtool takes the rules and their tests; {alerts} alerts are in the runbook; \
         {panels} panels have a place each",
        REFUSED.len()
    ))
}

/// Whatever changes the pod of the migrate Job changes the Job's name: Kubernetes lets nobody
/// change it, and not everybody who installs the chart counts revisions.
async fn a_job_is_never_changed(helm: &Program) -> Result<()> {
    let mut names = BTreeSet::new();
    for changed in [
        "migrate.backoffLimit=20",
        "image.tag=next",
        "config.kafka.retention=1d",
        "migrate.podLabels.team=feedback",
        "migrate.priorityClassName=low",
        "migrate.resources.limits.memory=1Gi",
        "serviceAccountName=plaudit",
    ] {
        let rendered = render(helm, &[], &[changed]).await?;
        let mut lines = rendered.lines();
        let name = lines.find_map(|line| line.strip_prefix("  name: plaudit-migrate-1-"));
        let name = name.context("a Job")?;
        ensure!(
            names.insert(name.to_owned()),
            "{changed} leaves the Job its name"
        );
    }
    Ok(())
}

async fn plain_is_what_the_chart_gives(programs: &Path, rendered: &Path) -> Result<()> {
    let kubernetes = repository().join("deploy/kubernetes");
    let render = Program::new(kubernetes.join("render.sh")).env("HELM", programs.join("helm"));
    render.run(&[&rendered.display().to_string()]).await?;
    let committed = kubernetes.join("plain");
    let (ours, theirs) = (files(&committed)?, files(rendered)?);
    ensure!(
        ours == theirs,
        "deploy/kubernetes/plain is not what the chart gives: run `make manifests`"
    );
    Ok(())
}

/// Names and texts, in order.
fn files(directory: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        files.push((name, std::fs::read_to_string(&path)?));
    }
    files.sort();
    Ok(files)
}

async fn rules(promtool: &Program) -> Result<()> {
    let prometheus = repository().join("deploy/prometheus");
    let file = |name: &str| prometheus.join(name).display().to_string();
    let configuration = file("prometheus.yml");
    promtool
        .run(&["check", "config", "--syntax-only", &configuration])
        .await?;
    let (rules, alerts) = (
        file("rules/plaudit.rules.yml"),
        file("rules/plaudit.alerts.yml"),
    );
    promtool
        .run(&["check", "rules", "--lint-fatal", &rules, &alerts])
        .await?;
    let tests = file("rules/tests/alerts.yml");
    promtool.run(&["test", "rules", &tests]).await?;
    Ok(())
}

/// Every alert has its entry in the runbook, its unit tests, and what a person needs.
fn each_alert_is_explained() -> Result<usize> {
    let read = |path: &str| std::fs::read_to_string(repository().join(path));
    let alerts = read("deploy/prometheus/rules/plaudit.alerts.yml")?;
    let tests = read("deploy/prometheus/rules/tests/alerts.yml")?;
    let runbook = read("docs/runbook.md")?;
    let mut explained = 0;
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().context("a name")?;
        let anchor = format!("runbook_url: docs/runbook.md#{}", name.to_lowercase());
        for needed in ["severity: ", "summary: ", "description: ", &anchor] {
            ensure!(alert.contains(needed), "{name} lacks `{needed}`");
        }
        ensure!(
            runbook.contains(&format!("## {name}\n")),
            "{name} is not in docs/runbook.md"
        );
        ensure!(
            fires_in(&tests, name) && is_quiet_in(&tests, name),
            "{name} is not tested both ways"
        );
        explained += 1;
    }
    Ok(explained)
}

/// Whether some test expects this alert.
fn fires_in(tests: &str, alert: &str) -> bool {
    let expected = format!("alertname: {alert}");
    let mut lines = tests.lines().zip(tests.lines().skip(1));
    lines.any(|(line, next)| line.trim() == expected && next.trim() == "exp_alerts:")
}

/// Whether some test expects that this alert does not fire.
fn is_quiet_in(tests: &str, alert: &str) -> bool {
    let end = format!(", alertname: {alert}}}");
    tests
        .lines()
        .any(|line| line.trim().starts_with("- {eval_time: ") && line.ends_with(&end))
}

/// The chart, rendered with these files of values over its own, and these settings over both.
pub(crate) async fn render(helm: &Program, values: &[&Path], settings: &[&str]) -> Result<String> {
    let chart = chart().display().to_string();
    let values: Vec<String> = values
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let mut arguments = vec!["template", "plaudit", &chart, "--kube-version", "1.34"];
    arguments.extend(values.iter().flat_map(|values| ["--values", values]));
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    output(helm.run(&arguments).await?)
}

fn chart() -> PathBuf {
    repository().join("deploy/kubernetes/chart")
}
