use std::path::Path;

use axum::http::HeaderValue;

use super::*;

fn config(path: &Path) -> AuthConfig {
    AuthConfig {
        keys_file: Some(path.to_owned()),
        ..AuthConfig::default()
    }
}

fn open() -> AuthConfig {
    AuthConfig {
        mode: AuthMode::Open,
        ..AuthConfig::default()
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn create(path: &Path, project: &str, scopes: &[Scope]) -> NewKey {
    Keyring::create_key(path, project, scopes, Some("a \"name\""), None).unwrap()
}

#[test]
fn p7_a_key_reads_and_writes_its_own_project_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").join("keys.toml");
    let one = create(&path, "one", &[Scope::Write]);
    let two = create(&path, "two", &[Scope::Admin]);
    let keyring = Keyring::load(config(&path)).unwrap();

    let bearer = format!("bearer {}", one.secret.expose());
    let first = keyring
        .authenticate(&headers(&[("authorization", &bearer)]))
        .unwrap();
    assert_eq!(&*first.project, "one");
    assert_eq!(first.require(Scope::Write), Ok(()));
    assert_eq!(
        first.require(Scope::Read),
        Err(AuthError::Forbidden(Scope::Read))
    );

    let second = keyring
        .authenticate(&headers(&[
            ("authorization", "Bearer sk-of-a-model-vendor"),
            ("x-portkey-api-key", two.secret.expose()),
        ]))
        .unwrap();
    assert_eq!(&*second.project, "two");
    assert!(
        Scope::ALL
            .iter()
            .all(|scope| second.require(*scope).is_ok())
    );
}

#[test]
fn a_key_that_is_not_exactly_the_one_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let key = create(&path, "one", &[Scope::Write]);
    let keyring = Keyring::load(config(&path)).unwrap();
    let text = key.secret.expose();
    for wrong in [
        text.strip_suffix(|_| true).unwrap(),
        &format!("{text}A"),
        "pl_",
        "pl_x_y",
        "sk-1",
        "_",
    ] {
        let result = keyring.authenticate(&headers(&[("x-api-key", wrong)]));
        assert_eq!(result, Err(AuthError::Unknown), "{wrong}");
    }
    for none in [
        &[][..],
        &[("x-portkey-api-key", "")],
        &[("authorization", "Basic abc")],
    ] {
        assert_eq!(
            keyring.authenticate(&headers(none)),
            Err(AuthError::Missing)
        );
    }
}

#[test]
fn p7_the_file_holds_hashes_and_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    std::fs::write(&path, "# ours").unwrap();
    let key = create(&path, "one", &[Scope::Write, Scope::Read]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# ours\n\n[[keys]]\n"));
    assert!(!text.contains(key.secret.expose()));
    assert!(!format!("{key:?}").contains(key.secret.expose()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_service_without_keys_does_not_start() {
    let none = Keyring::load(AuthConfig::default()).unwrap_err();
    assert!(matches!(none, KeyFileError::NoKeys));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    assert!(matches!(
        Keyring::load(config(&path)),
        Err(KeyFileError::Io { .. })
    ));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(
        Keyring::load(config(&path)),
        Err(KeyFileError::NoKeys)
    ));
}

#[test]
fn open_mode_asks_for_no_key_and_keeps_to_loopback() {
    let keyring = Keyring::load(open()).unwrap();
    let anyone = keyring.authenticate(&HeaderMap::new()).unwrap();
    assert_eq!(&*anyone.project, "default");
    assert!(
        keyring
            .check_listener("127.0.0.1:8080".parse().unwrap())
            .is_ok()
    );
    let error = keyring
        .check_listener("0.0.0.0:8080".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "auth.mode = \"open\" may listen on loopback only, not on 0.0.0.0:8080"
    );
}

#[test]
fn a_reload_takes_new_keys_and_a_broken_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let first = create(&path, "one", &[Scope::Write]);
    let keyring = Keyring::load(config(&path)).unwrap();
    let second = create(&path, "two", &[Scope::Write]);
    assert_eq!(keyring.reload().unwrap(), 2);

    std::fs::write(&path, format!("key = {:?}", second.secret.expose())).unwrap();
    let error = keyring.reload().unwrap_err();
    assert!(
        error.to_string().contains("line 1: unknown field"),
        "{error}"
    );
    assert!(!error.to_string().contains(second.secret.expose()));
    for key in [first, second] {
        let sent = headers(&[("x-api-key", key.secret.expose())]);
        assert!(keyring.authenticate(&sent).is_ok());
    }
}

#[test]
fn what_cannot_be_a_key_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let make = |project, scopes| Keyring::create_key(&path, project, scopes, None, None);
    assert!(matches!(
        make("", &[Scope::Write]),
        Err(KeyFileError::Name("project"))
    ));
    assert!(matches!(
        make("a\nb", &[Scope::Write]),
        Err(KeyFileError::Name("project"))
    ));
    assert!(matches!(make("a", &[]), Err(KeyFileError::NoScopes)));
    assert!(!path.exists());
}
