//! The image by itself: what is in it, and that it speaks TLS and SASL with everybody.
//!
//! The others are those of `tests/integration/tls`: a broker that takes SASL by TLS only,
//! the engine behind TLS, and who gives out tokens. They are on this machine's loopback,
//! which containers share here; so what is tested is the program as it was built for the
//! image, with the image's own files, user and bounds. Mechanisms and refusals are that
//! suite's business: here is one of each kind.

#[path = "../integration/tls/issuer.rs"]
mod issuer;
#[path = "../integration/tls/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use support::{Api, own_names};

use crate::docker::{Container, docker, eventually, image};
use site::{PASSWORD, Settings, Site};

/// Beside the image, what `docker run` gets.
struct Run<'a> {
    /// Of `docker run` itself.
    options: &'a [&'a str],
    words: &'a [&'a str],
    settings: &'a [&'a Settings],
}

/// The services, and where each is asked whether it is well.
const SERVICES: [(&str, &str); 3] = [
    ("query", "127.0.0.1:9103"),
    ("intake", "127.0.0.1:9101"),
    ("sink", "127.0.0.1:9102"),
];
const INTAKE: &str = "127.0.0.1:8443";
const QUERY: &str = "127.0.0.1:8444";
/// Where every distribution has its authorities, and the image too.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Looks into it, and lets it speak.
///
/// # Errors
/// With what is otherwise.
pub(crate) async fn check() -> Result<String> {
    let bytes = contents().await?;
    let site = Site::start().await?;
    // The image's user is nobody here.
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(files(&site)?, readable)?;
    let (_, mut own) = own_names();
    own.push(("intake.listen", INTAKE.to_owned()));
    own.push(("query.listen", QUERY.to_owned()));
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
    for name in mechanisms {
        let settings = [&own, &site.places(), &site.mechanism(name)];
        let migrated = Run::of(&["migrate"], &settings).start(&site).await;
        migrated.context(name)?;
    }
    trust(&site, &own).await.context("trust")?;
    whole_path(&site, &own).await.context("the whole path")?;
    Ok(format!(
        "{bytes} bytes, not root, no shell; SASL_SSL by {}, its own and the image's authorities; \
         feedback by TLS from end to end",
        mechanisms.join(", ")
    ))
}

/// There is nothing in it but the program: what breaks in finds nothing to use. Returns how
/// large it is.
async fn contents() -> Result<u64> {
    let image = image()?;
    let known = docker(&["image", "inspect", &image]).await?;
    let known: Value = serde_json::from_str(&known)?;
    let labels = &known[0]["Config"]["Labels"];
    for label in ["title", "description", "licenses", "version", "revision"] {
        let text = labels[format!("org.opencontainers.image.{label}")].as_str();
        ensure!(text.is_some_and(|text| !text.is_empty()), "no {label}");
    }
    ensure!(known[0]["Config"]["User"] == "65532:65532", "{known:#}");
    ensure!(known[0]["Os"] == "linux" && known[0]["Architecture"] == "amd64");
    let alone = ["run", "--rm", "--network", "none", "--read-only"];
    let shell = [&alone[..], &["--entrypoint", "/bin/sh", &image]].concat();
    ensure!(docker(&shell).await.is_err(), "the image has a shell");
    let version = docker(&[&alone[..], &[&image, "version"]].concat()).await?;
    ensure!(
        version.starts_with("plaudit "),
        "it does not run by itself: {version}"
    );
    known[0]["Size"].as_u64().context("a size")
}

/// Who is believed: whom the settings name, and without any those that are in the image.
async fn trust(site: &Site, own: &Settings) -> Result<()> {
    let places: Settings = site.places();
    let mechanism = site.mechanism("SCRAM-SHA-512");
    let named =
        |(key, _): &&(&str, String)| key.ends_with("ca.location") || key.ends_with("ca_file");
    let unnamed: Settings = places
        .iter()
        .filter(|place| !named(place))
        .cloned()
        .collect();
    ensure!(unnamed.len() < places.len(), "nobody is named");

    let settings = [own, &unnamed, &mechanism];
    let migrate = Run::of(&["migrate"], &settings);
    let believed = migrate.start(site).await;
    ensure!(believed.is_err(), "the image believes an unknown authority");
    let authorities = format!("{}:{AUTHORITIES}:ro", site.authority.ca_file().display());
    let with_ours = ["--volume", &authorities];
    let migrate = Run {
        options: &with_ours,
        ..migrate
    };
    migrate.start(site).await.context("the image's own")?;

    let stranger = site.stranger.ca_file().display().to_string();
    let stranger = vec![("kafka.properties.ssl.ca.location", stranger)];
    let settings = [own, &places, &mechanism, &stranger];
    match Run::of(&["migrate"], &settings).start(site).await {
        Ok(_) => bail!("a stranger is believed"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains("certificate verify failed"), "{said}");
            ensure!(!said.contains(PASSWORD), "{said}");
        }
    }
    Ok(())
}

/// Feedback to the intake by TLS, by SASL_SSL to the sink, by TLS into ClickHouse, and back.
async fn whole_path(site: &Site, own: &Settings) -> Result<()> {
    let shown = site.authority.certify("shown", 2040)?;
    let ca_file = site.authority.ca_file();
    let [cert, key, ca_file] =
        [&shown.cert_file, &shown.key_file, &ca_file].map(|file| file.display().to_string());
    let tls = vec![
        ("intake.tls.cert_file", cert.clone()),
        ("intake.tls.key_file", key.clone()),
        ("query.tls.cert_file", cert),
        ("query.tls.key_file", key),
        ("intake.query_url", format!("https://{QUERY}")),
        ("intake.query_ca_file", ca_file),
        ("sink.batch.max_age", "50ms".to_owned()),
    ];
    let mechanism = site.mechanism("SCRAM-SHA-512");
    let settings = [own, &site.places(), &mechanism, &tls];

    let mut started = Vec::new();
    for (service, observe) in SERVICES {
        let observe = format!("PLAUDIT__OBSERVE__LISTEN={observe}");
        let run = Run {
            options: &["--detach", "--env", &observe],
            words: &[service],
            settings: &settings,
        };
        started.push(run.start(site).await?.trim().to_owned());
    }
    let said = used(site, &started).await;
    if said.is_err() {
        for container in &started {
            crate::say(&docker(&["logs", "--tail", "30", container]).await?);
        }
    }
    said?;
    for container in &started {
        docker(&["stop", "--time", "40", container]).await?;
        let code = docker(&["wait", container]).await?;
        ensure!(code.trim() == "0", "SIGTERM ends it with {code}");
        docker(&["rm", container]).await?;
    }
    Ok(())
}

async fn used(site: &Site, started: &[String]) -> Result<()> {
    // By the health check of the image.
    eventually("the services to be well", async || {
        for container in started {
            if !Container::of(container).await?.is_healthy() {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await?;
    let api = Api::new(&format!("https://{INTAKE}"));
    let feedback = json!({"trace_id": "t", "metric": "helpful", "value": true});
    let answer = api.over_tls(&site.authority)?.feedback(&feedback).await?;
    ensure!(answer.states() == ["visible"], "{}", answer.text);
    let reads = api.over_tls(&site.authority)?;
    let answer = reads.get("/v1/traces/t/feedback").await?;
    ensure!(answer.at("/items/0/metric") == "helpful", "{}", answer.text);
    let stranger = api.over_tls(&site.stranger)?.get("/v1/metrics").await;
    ensure!(stranger.is_err(), "who believes nobody here is answered");
    Ok(())
}

impl<'a> Run<'a> {
    fn of(words: &'a [&'a str], settings: &'a [&'a Settings]) -> Self {
        Self {
            options: &[],
            words,
            settings,
        }
    }

    /// Confined as compose and Kubernetes do it, with the site's files. Returns what
    /// `docker run` prints.
    async fn start(&self, site: &Site) -> Result<String> {
        let image = image()?;
        let files = files(site)?.display().to_string();
        let files = format!("{files}:{files}:ro");
        let mut arguments = vec!["run", "--network", "host", "--read-only"];
        arguments.extend(["--cap-drop", "ALL"]);
        arguments.extend(["--security-opt", "no-new-privileges"]);
        if !self.options.contains(&"--detach") {
            arguments.push("--rm");
        }
        arguments.extend(["--volume", &files]);
        arguments.extend(self.options);
        let settings = self.settings.iter().flat_map(|settings| settings.iter());
        // The later one wins, which nobody promises of variables.
        let settings: BTreeMap<_, _> = settings.map(|(key, value)| (key, value)).collect();
        let variables: Vec<String> = settings.into_iter().map(variable).collect();
        for variable in &variables {
            arguments.extend(["--env", variable]);
        }
        arguments.push(&image);
        arguments.extend(self.words);
        docker(&arguments).await
    }
}

/// A setting as a container is told it, for its health check too.
fn variable((key, value): (&&str, &String)) -> String {
    let name = key.to_uppercase().replace('.', "__");
    format!("PLAUDIT__{name}={value}")
}

/// Where the site has its files.
fn files(site: &Site) -> Result<PathBuf> {
    let directory = site.authority.ca_file();
    let directory = directory.ancestors().nth(2).context("a directory")?;
    Ok(directory.to_owned())
}
