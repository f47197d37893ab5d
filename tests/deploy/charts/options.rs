//! What becomes of the chart's options, on and off.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use plaudit::config::{Config, Sources};
use support::repository;

use super::{EXAMPLES, chart, render};
use crate::run::Program;

/// Values of the test's own: what can be on, and what can be off.
pub(crate) const FILES: [&str; 2] = ["options.yaml", "off.yaml"];

/// Where such a file is.
pub(crate) fn file(name: &str) -> PathBuf {
    repository().join("tests/deploy/kubernetes").join(name)
}

/// Renders both.
///
/// # Errors
/// With what is not there, or is there too often.
pub(super) async fn check(helm: &Program, promtool: &Program, directory: &Path) -> Result<()> {
    let [on, off] = FILES.map(file);
    let on = render(helm, &[&on], &[]).await?;
    for (expected, times) in ON {
        let found = on.matches(expected).count();
        ensure!(
            found == *times,
            "`{expected}` {found} times, not {times}: {on}"
        );
    }
    let off = render(helm, &[&off], &[]).await?;
    for unexpected in OFF {
        ensure!(!off.contains(unexpected), "`{unexpected}` in {off}");
    }
    for (name, rendered) in [("on", &on), ("off", &off)] {
        rules(promtool, rendered, &directory.join(name)).await?;
        configuration(rendered, directory).context(name)?;
    }
    for example in EXAMPLES {
        let rendered = render(helm, &[&chart().join(example)], &[]).await?;
        configuration(&rendered, directory).context(example)?;
    }
    for setting in TAKEN {
        render(helm, &[], &[setting]).await.context(*setting)?;
    }
    Ok(())
}

/// What `options.yaml` makes, and how often.
const ON: &[(&str, usize)] = &[
    // A query service with a certificate is asked by TLS, and has it.
    ("query_url = \"https://plaudit-query:8081\"", 1),
    ("[query.tls]", 1),
    ("secret: {secretName: query-tls, defaultMode: 0440}", 1),
    ("{name: https, port: 8081, targetPort: http}", 1),
    // Whole numbers are no fractions, however large.
    ("max_bytes = 33554432\n", 1),
    ("max_rows = 100000000\n", 1),
    // Every pod, of services and of what runs once.
    ("serviceAccountName: plaudit\n", PODS),
    ("        team: feedback\n", PODS),
    ("kubernetes.io/arch: amd64\n", PODS),
    ("key: dedicated\n", PODS),
    ("nodeAffinity:\n", PODS),
    ("priorityClassName: system-cluster-critical\n", PODS),
    ("- name: NODE\n", PODS),
    // A node alone is insisted on, and by the intake alone.
    ("whenUnsatisfiable: DoNotSchedule\n", 1),
    ("whenUnsatisfiable: ScheduleAnyway\n", 5),
    // DNS for all four policies; ClickHouse, by the URL's scheme, by the nodes and by choice, for
    // three; Kafka likewise.
    ("{port: 53, protocol: UDP}", 4),
    ("{port: 1053, protocol: TCP}", 4),
    ("        - port: 443\n", 3),
    ("        - port: 8443\n", 3),
    ("        - port: 8444\n", 3),
    ("        - port: 9440\n", 3),
    ("        - port: 9094\n", 3),
    ("or absent(up{job=\"plaudit-query\"})\n", 1),
    // Scraped by a Service of its own, which selects by no component.
    ("kind: ServiceMonitor\n", 1),
    ("name: plaudit-metrics\n", 1),
    ("app.kubernetes.io/component: metrics\n", 2),
];
/// Intake, sink, query, migrate and verify.
const PODS: usize = 5;

/// What `off.yaml` does not make.
const OFF: &[&str] = &[
    "plaudit-query",
    "kind: NetworkPolicy",
    "kind: Job",
    "preStop",
    "kind: ServiceMonitor",
    "plaudit-metrics",
];

/// What sounds like a secret, and says where one is.
const TAKEN: &[&str] = &[
    "config.clickhouse.password.file=/run/secrets/clickhouse",
    "config.kafka.properties.sasl.password.file=/run/secrets/kafka",
    "config.kafka.properties.ssl_key_location=/run/secrets/tls.key",
    "config.kafka.properties.sasl.oauthbearer.token.endpoint.url=https://issuer.example.com",
];

/// Plaudit takes the configuration that is rendered.
fn configuration(rendered: &str, directory: &Path) -> Result<()> {
    let (_, after) = rendered
        .split_once("\n  plaudit.toml: |\n")
        .context("a configuration")?;
    let lines = after.lines().map_while(|line| line.strip_prefix("    "));
    let file = directory.join("plaudit.toml");
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n"))?;
    Config::load(&Sources {
        file: Some(file),
        ..Sources::default()
    })?;
    Ok(())
}

/// promtool takes the rules as they are rendered, which is not quite as they are shipped.
async fn rules(promtool: &Program, rendered: &str, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut checked = 0;
    for object in rendered.split("\n---\n") {
        if !object.contains("\nkind: PrometheusRule\n") {
            continue;
        }
        let (_, spec) = object.split_once("\nspec:\n").context("a spec")?;
        let path = directory.join(format!("{checked}.yml"));
        let lines = spec
            .lines()
            .map(|line| line.strip_prefix("  ").unwrap_or(line));
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n"))?;
        let path = path.display().to_string();
        promtool
            .run(&["check", "rules", "--lint-fatal", &path])
            .await?;
        checked += 1;
    }
    ensure!(checked == 2, "{checked} objects with rules");
    Ok(())
}
