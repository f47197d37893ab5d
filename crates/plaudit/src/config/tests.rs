use figment::Jail;

use super::*;

fn load(settings: &[&str]) -> Result<Config, ConfigError> {
    let settings = settings.iter().map(|text| text.parse().unwrap()).collect();
    Config::load(&Sources {
        file: None,
        settings,
    })
}

#[test]
fn defaults_run_on_a_laptop() {
    Jail::expect_with(|_| {
        let config = load(&[]).unwrap();
        assert_eq!(config.kafka.brokers, "127.0.0.1:9092");
        assert_eq!(config.clickhouse.url, "http://127.0.0.1:8123");
        Ok(())
    });
}

#[test]
fn each_layer_goes_over_the_one_below() {
    Jail::expect_with(|jail| {
        let file = "[kafka]\nbrokers = 'file:1'\ntopic = 'file'\ngroup = 'file'";
        jail.create_file("plaudit.toml", file)?;
        jail.set_env("PLAUDIT__KAFKA__TOPIC", "env");
        jail.set_env("PLAUDIT__KAFKA__GROUP", "env");
        let config = load(&["kafka.group=flag"]).unwrap();
        assert_eq!(config.kafka.brokers, "file:1");
        assert_eq!(config.kafka.topic, "env");
        assert_eq!(config.kafka.group, "flag");
        assert_eq!(config.kafka.partitions, 12);
        Ok(())
    });
}

#[test]
fn an_address_that_kubernetes_injects_is_not_a_setting() {
    Jail::expect_with(|jail| {
        jail.set_env("PLAUDIT_SERVICE_HOST", "10.0.0.1");
        load(&[]).unwrap();
        Ok(())
    });
}

#[test]
fn any_librdkafka_setting_can_be_a_variable() {
    Jail::expect_with(|jail| {
        jail.create_file("plaudit.toml", "[kafka.properties]\n'linger.ms' = 3\nacks = 'all'")?;
        jail.set_env("PLAUDIT__KAFKA__PROPERTIES__LINGER_MS", "7");
        let tree = load(&[]).unwrap().to_toml().unwrap();
        // Under the names that librdkafka gives these two itself.
        assert!(tree.contains("\"queue.buffering.max.ms\" = \"7\""), "{tree}");
        assert!(tree.contains("\"request.required.acks\" = \"all\""), "{tree}");
        Ok(())
    });
}

#[test]
fn a_password_of_digits_is_text() {
    Jail::expect_with(|jail| {
        jail.set_env("PLAUDIT__CLICKHOUSE__PASSWORD", "0123456.10");
        let config = load(&["clickhouse.user=007"]).unwrap();
        assert_eq!(config.clickhouse.password.expose(), "0123456.10");
        assert_eq!(config.clickhouse.user, "007");
        Ok(())
    });
}

#[test]
fn p7_the_printed_tree_has_no_secret() {
    Jail::expect_with(|jail| {
        jail.set_env("PLAUDIT__CLICKHOUSE__PASSWORD", "hunter2");
        let tree = load(&[]).unwrap().to_toml().unwrap();
        assert!(tree.contains("password = \"***\""), "{tree}");
        assert!(!tree.contains("hunter2"));
        Ok(())
    });
}

#[test]
fn all_problems_are_said_at_once_by_their_keys_and_without_values() {
    Jail::expect_with(|jail| {
        let file = "[auth]\nmoode = 'open'\n[kafka]\npartitions = 'hunter2'\n[tpyo]\n";
        jail.create_file("plaudit.toml", file)?;
        jail.set_env("PLAUDIT__METRICS__UNKNOWN", "hunter2");
        let error = load(&["clickhouse.url=localhost"]).unwrap_err();
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
                "clickhouse.url"
            ]
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
        Ok(())
    });
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    Jail::expect_with(|_| {
        let sources = Sources {
            file: Some("absent.toml".into()),
            settings: Vec::new(),
        };
        let error = Config::load(&sources).unwrap_err();
        assert!(error.to_string().contains("absent.toml"), "{error}");
        Ok(())
    });
}

#[test]
fn what_a_layer_gives_is_told_from_a_default() {
    Jail::expect_with(|jail| {
        let sources = Sources::default();
        assert!(!sources.gives("auth.mode"));
        jail.set_env("PLAUDIT__AUTH__MODE", "keys");
        assert!(sources.gives("auth.mode"));
        Ok(())
    });
}
