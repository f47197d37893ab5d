use super::*;

/// The layers of one test: a file's text, variables, settings.
fn load(file: &str, variables: &[(&str, &str)], settings: &[&str]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plaudit.toml");
    std::fs::write(&path, file).unwrap();
    Config::load(&Sources {
        file: Some(path),
        environment: environment(variables),
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
    })
}

fn environment(variables: &[(&str, &str)]) -> Vec<Setting> {
    variables
        .iter()
        .filter_map(|(name, value)| Setting::from_variable(name, value))
        .collect()
}

#[test]
fn defaults_run_on_a_laptop() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.kafka.brokers, "127.0.0.1:9092");
    assert_eq!(config.clickhouse.url, "http://127.0.0.1:8123");
}

#[test]
fn each_layer_goes_over_the_one_below() {
    let config = load(
        "[kafka]\nbrokers = 'file:1'\ntopic = 'file'\ngroup = 'file'",
        &[
            ("PLAUDIT__KAFKA__TOPIC", "env"),
            ("PLAUDIT__KAFKA__GROUP", "env"),
        ],
        &["kafka.group=flag"],
    )
    .unwrap();
    assert_eq!(config.kafka.brokers, "file:1");
    assert_eq!(config.kafka.topic, "env");
    assert_eq!(config.kafka.group, "flag");
    assert_eq!(config.kafka.partitions, 12);
}

#[test]
fn an_address_that_kubernetes_injects_is_not_a_setting() {
    assert_eq!(environment(&[("PLAUDIT_SERVICE_HOST", "10.0.0.1")]), []);
}

#[test]
fn any_librdkafka_setting_can_be_a_variable() {
    let config = load(
        "[kafka.properties]\n'linger.ms' = 3\nacks = 'all'",
        &[("PLAUDIT__KAFKA__PROPERTIES__LINGER_MS", "7")],
        &[],
    );
    let tree = config.unwrap().to_toml().unwrap();
    // Under the names that librdkafka gives these two itself.
    assert!(
        tree.contains("\"queue.buffering.max.ms\" = \"7\""),
        "{tree}"
    );
    assert!(
        tree.contains("\"request.required.acks\" = \"all\""),
        "{tree}"
    );
}

#[test]
fn a_password_of_digits_is_text() {
    let variables = [("PLAUDIT__CLICKHOUSE__PASSWORD", "0123456.10")];
    let config = load("", &variables, &["clickhouse.user=007"]).unwrap();
    assert_eq!(config.clickhouse.password.expose(), "0123456.10");
    assert_eq!(config.clickhouse.user, "007");
}

#[test]
fn a_kafka_password_of_digits_is_text() {
    let variables = [("PLAUDIT__KAFKA__PROPERTIES__SASL_PASSWORD", "0123456.10")];
    let config = load("", &variables, &["kafka.properties.client.id=007"]).unwrap();
    let given = |key| config.kafka.properties.get(key);
    assert_eq!(given("sasl.password"), Some("0123456.10"));
    assert_eq!(given("client.id"), Some("007"));
}

#[test]
fn p7_a_secret_may_be_in_a_file_and_is_not_printed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "hunter2 is what opens everything\n").unwrap();
    let path = path.to_str().unwrap();
    let config = load(
        &format!("[clickhouse]\npassword.file = '{path}'\n[kafka.properties]\nsasl.password = 'x'"),
        &[("PLAUDIT__KAFKA__PROPERTIES__SASL_PASSWORD__FILE", path)],
        &[&format!("auth.token_secret.file={path}")],
    )
    .unwrap();
    let secret = "hunter2 is what opens everything";
    assert_eq!(config.clickhouse.password.expose(), secret);
    assert_eq!(config.auth.token_secret.as_ref().unwrap().expose(), secret);
    let password = config.kafka.properties.get("sasl.password");
    assert_eq!(password, Some(secret));
    assert!(!config.to_toml().unwrap().contains("hunter2"));

    let error = load("", &[], &["kafka.properties.ssl.key.password.file=absent"]).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    let problem = "kafka.properties.ssl.key.password.file: cannot read absent: ";
    assert!(error.problems()[0].starts_with(problem), "{error}");
}

#[test]
fn p7_the_printed_tree_has_no_secret() {
    let variables = [("PLAUDIT__CLICKHOUSE__PASSWORD", "hunter2")];
    let tree = load("", &variables, &[]).unwrap().to_toml().unwrap();
    assert!(tree.contains("password = \"***\""), "{tree}");
    assert!(!tree.contains("hunter2"));
}

#[test]
fn the_printed_tree_is_a_configuration() {
    let config = load(
        "",
        &[],
        &["sink.batch.max_age=250ms", "auth.keys_file=keys.toml"],
    )
    .unwrap();
    let tree = config.to_toml().unwrap();
    let again = load(&tree, &[], &[]).unwrap();
    assert_eq!(again.to_toml().unwrap(), tree);
}

#[test]
fn p7_all_problems_are_said_at_once_by_their_keys_and_without_values() {
    let error = load(
        "[auth]\nmoode = 'open'\n[kafka]\npartitions = 'hunter2'\n[tpyo]\n",
        &[("PLAUDIT__METRICS__UNKNOWN", "hunter2")],
        &["clickhouse.url=localhost", "intake.limits.body_timeout=0s"],
    )
    .unwrap_err();
    let keys: Vec<_> = error
        .problems()
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        keys,
        [
            "tpyo",
            "auth.moode",
            "kafka.partitions",
            "metrics.unknown",
            "intake.limits.body_timeout",
            "clickhouse.url",
        ]
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn nothing_a_sink_waits_for_outlasts_its_membership() {
    let told = ["sink.drain=5m", "clickhouse.timeout=299s"];
    let error = load("", &[], &told).unwrap_err().to_string();
    let line = "sink.drain: must be below kafka.properties.max.poll.interval.ms, 300000";
    assert!(error.contains(line), "{error}");
    assert!(!error.contains("clickhouse.timeout"), "{error}");

    let told = ["kafka.properties.max.poll.interval.ms=30000"];
    let error = load("", &[], &told).unwrap_err().to_string();
    let line = "clickhouse.timeout: must be below kafka.properties.max.poll.interval.ms, 30000";
    assert!(error.contains(line), "{error}");
    assert!(!error.contains("sink.drain"), "{error}");
}

#[test]
fn an_outcome_outlives_its_record() {
    let error = load("", &[], &["clickhouse.retention=1d", "kafka.retention=31d"]).unwrap_err();
    assert!(
        error.to_string().contains("clickhouse.retention: "),
        "{error}"
    );
    assert!(load("", &[], &["clickhouse.retention=1h"]).is_ok());
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let sources = Sources {
        file: Some("absent.toml".into()),
        ..Sources::default()
    };
    let error = Config::load(&sources).unwrap_err();
    assert!(error.to_string().contains("absent.toml"), "{error}");
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let error = load("[kafka]\nbrokers = \n", &[], &[]).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn what_a_layer_gives_is_told_from_a_default() {
    let mut sources = Sources::default();
    assert!(!sources.gives("auth.mode"));
    sources.environment = environment(&[("PLAUDIT__AUTH__MODE", "keys")]);
    assert!(sources.gives("auth.mode"));
}
