//! TLS on every way, and SASL to Kafka: who is believed, and who is not.
//!
//! One broker for all cases, which is what takes the time. The engine has no TLS of its
//! own, so it is ended before it, as a load balancer does.

mod issuer;
mod site;

use anyhow::{Context, Result};
use serde_json::json;
use site::{PASSWORD, Settings, Site};
use support::{Certified, Process, command, own_names, wait_until};

#[test]
fn the_whole_path_is_secured_and_strangers_are_not_believed() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let site = Site::start().await?;
        let (_, names) = own_names();
        mechanisms(&site, &names).await.context("mechanisms")?;
        whole_path(&site, &names).await.context("the whole path")?;
        refusals(&site, &names).await.context("refusals")
    })
}

/// An event by TLS to the intake, by SASL_SSL to the sink, by TLS into ClickHouse, and
/// back by TLS through both services.
async fn whole_path(site: &Site, names: &Settings) -> Result<()> {
    let with = |more: &[(&'static str, String)]| {
        let mechanism = site.mechanism("SCRAM-SHA-512");
        [names.clone(), site.places(), mechanism, more.to_vec()].concat()
    };
    let shown = site.authority.certify("query", 2040)?;
    let query = Process::start("query", &with(&tls("query", &shown))).await?;
    let query_api = query.api.over_tls(&site.authority)?;
    let shown = site.authority.certify("intake", 2040)?;
    let mut settings = tls("intake", &shown);
    settings.push(("intake.query_url", query_api.base().to_owned()));
    let ca_file = site.authority.ca_file().display().to_string();
    settings.push(("intake.query_ca_file", ca_file.clone()));
    let intake = Process::start("intake", &with(&settings)).await?;
    let batch = [("sink.batch.max_age", "50ms".to_owned())];
    let sink = Process::start("sink", &with(&batch)).await?;

    let api = intake.api.over_tls(&site.authority)?;
    let answer = api
        .feedback(&json!({"trace_id": "t", "metric": "helpful", "value": true}))
        .await?;
    assert_eq!(answer.states(), ["visible"], "{}", answer.text);
    for reads in [&api, &query_api] {
        let answer = reads.get("/v1/traces/t/feedback").await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.at("/items/0/metric"), "helpful", "{}", answer.text);
    }
    let load = ["load", "--events", "200", "--verify", "--url", api.base()];
    let load = [&load[..], &["--ca-file", &ca_file]].concat();
    let load = command(site.authority.ca_file().parent().unwrap(), &load).await?;
    assert!(load.status.success(), "{load:?}");

    // Who believes another authority, or speaks plain HTTP, is told nothing.
    let stranger = intake.api.over_tls(&site.stranger)?;
    assert!(stranger.get("/v1/metrics").await.is_err());
    assert!(intake.api.get("/v1/metrics").await.is_err());

    // A renewed certificate is shown without a signal.
    let expiry = "plaudit_intake_certificate_expiry_seconds";
    assert_eq!(intake.metric(expiry).await?, 2_208_988_800.0);
    site.authority.certify("intake", 2041)?;
    wait_until("the new certificate", async || {
        Ok(intake.metric(expiry).await? == 2_240_611_200.0)
    })
    .await?;
    assert_eq!(api.get("/v1/metrics").await?.status, 200);
    let expiry = "plaudit_query_certificate_expiry_seconds";
    assert_eq!(query.metric(expiry).await?, 2_208_988_800.0);

    for process in [intake, sink, query] {
        let log = process.stop().await?;
        assert!(!log.contains(PASSWORD), "{log}");
    }
    Ok(())
}

/// Each way to say who one is, for who asks and for who reads.
async fn mechanisms(site: &Site, names: &Settings) -> Result<()> {
    for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
        let settings = [names.clone(), site.places(), site.mechanism(name)].concat();
        for tool in [&["migrate"][..], &["dead", "list"]] {
            let (is_good, said) = run_tool(site, tool, &settings).await?;
            assert!(is_good, "{name}: {tool:?}: {said}");
        }
    }
    Ok(())
}

/// Each is refused, at once or within the time of a request, and says why.
async fn refusals(site: &Site, names: &Settings) -> Result<()> {
    let stranger = site.stranger.ca_file().display().to_string();
    let wrong_file = site.file("wrong-password");
    std::fs::write(&wrong_file, "wrong horse")?;
    let wrong_key = Certified {
        key_file: site.authority.certify("other", 2040)?.key_file,
        ..site.authority.certify("intake", 2040)?
    };
    let cases: [(&str, Settings, &str); 6] = [
        (
            "migrate",
            vec![("kafka.properties.sasl.password.file", wrong_file)],
            "SASL authentication error",
        ),
        (
            "migrate",
            vec![("kafka.properties.ssl.ca.location", stranger.clone())],
            "certificate verify failed",
        ),
        (
            "migrate",
            vec![("clickhouse.ca_file", stranger)],
            "invalid peer certificate",
        ),
        (
            "migrate",
            vec![("clickhouse.ca_file", site.file("absent.pem"))],
            "clickhouse.ca_file: cannot read",
        ),
        (
            "migrate",
            vec![("kafka.properties.ssl.ca.location", site.file("absent.pem"))],
            "ssl.ca.location failed",
        ),
        (
            "intake",
            tls("intake", &wrong_key),
            "intake.tls.key_file: the key in",
        ),
    ];
    let base = [
        names.clone(),
        site.places(),
        site.mechanism("SCRAM-SHA-512"),
        vec![("intake.listen", "127.0.0.1:0".to_owned())],
        vec![("observe.listen", "127.0.0.1:0".to_owned())],
    ]
    .concat();
    let runs = cases.map(|(tool, wrong, expected)| {
        let settings = [base.clone(), wrong].concat();
        async move {
            let (is_good, said) = run_tool(site, &[tool], &settings).await?;
            assert!(!is_good && said.contains(expected), "{expected}: {said}");
            assert!(!said.contains("horse"), "{said}");
            anyhow::Ok(())
        }
    });
    // At once: some wait for as long as a broker may be away.
    let [a, b, c, d, e, f] = runs;
    tokio::try_join!(a, b, c, d, e, f)?;
    Ok(())
}

fn tls(service: &str, shown: &Certified) -> Settings {
    let [cert, key] = match service {
        "query" => ["query.tls.cert_file", "query.tls.key_file"],
        _ => ["intake.tls.cert_file", "intake.tls.key_file"],
    };
    vec![
        (cert, shown.cert_file.display().to_string()),
        (key, shown.key_file.display().to_string()),
    ]
}

/// Runs a command to its end: whether it went well, and what it said.
async fn run_tool(site: &Site, tool: &[&str], settings: &Settings) -> Result<(bool, String)> {
    let mut arguments: Vec<String> = tool.iter().map(|&word| word.to_owned()).collect();
    for (key, value) in settings {
        arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let directory = site.authority.ca_file();
    let output = command(directory.parent().unwrap(), &arguments).await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok((output.status.success(), said))
}
