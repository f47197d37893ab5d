//! Where the clients send to: a stack with a project and a key for each of them, and the
//! rows that it has of a project.

use std::fs;

use anyhow::Result;
use plaudit_intake::MetricsConfig;
use plaudit_service::{AuthConfig, AuthMode, Keyring, Scope};
use serde_json::{Value, json};
use support::{Options, Stack, run};

use crate::client::Settle;

impl Settle for Stack {
    async fn settled(&self) -> Result<()> {
        Self::settled(self).await.map(drop)
    }
}

/// A key that nobody has.
pub(crate) const WRONG_KEY: &str = "pl_0123456789abcdef_wrong";

/// What feedback on an undeclared metric comes to.
pub(crate) use plaudit_event::UnknownMetrics;

/// The project of whoever calls a stack without keys.
pub(crate) const OPEN_PROJECT: &str = "default";

/// A key of a project, with every scope.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The project.
    pub(crate) project: &'static str,
    /// What a client sends.
    pub(crate) secret: String,
}

/// The current rows of a project, taken away as they are found to be right.
#[derive(Debug)]
pub(crate) struct Rows(Vec<Value>);

/// What Plaudit sets by itself in every row: compared where a test names it.
const OWN_COLUMNS: [&str; 8] = [
    "id",
    "project",
    "version",
    "created_at",
    "received_at",
    "topic",
    "partition",
    "offset",
];

/// Columns that hold JSON text.
const JSON_COLUMNS: [&str; 4] = ["value", "correction", "metadata", "source_info"];

/// Runs a test against a stack that has a key for each project.
///
/// # Errors
/// The test's own, or the judge's.
pub(crate) fn against_keys<const N: usize>(
    projects: [&'static str; N],
    test: impl AsyncFnOnce(&Stack, [Key; N]) -> Result<()>,
) -> Result<()> {
    against_keys_and_metrics(projects, UnknownMetrics::Accept, "", test)
}

/// The same with metrics that are declared.
///
/// # Errors
/// The test's own, or the judge's.
pub(crate) fn against_keys_and_metrics<const N: usize>(
    projects: [&'static str; N],
    unknown: UnknownMetrics,
    metrics: &str,
    test: impl AsyncFnOnce(&Stack, [Key; N]) -> Result<()>,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (keys_file, metrics_file) = (
        directory.path().join("keys.toml"),
        directory.path().join("metrics.toml"),
    );
    fs::write(&metrics_file, metrics)?;
    let mut keys = Vec::new();
    for project in projects {
        let new = Keyring::create_key(&keys_file, project, &[Scope::Admin], None, None)?;
        let secret = new.secret.expose().to_owned();
        keys.push(Key { project, secret });
    }
    let keys = <[Key; N]>::try_from(keys).expect("a key for each project");
    let options = Options {
        auth: AuthConfig {
            mode: AuthMode::Keys,
            keys_file: Some(keys_file),
            token_secret: Some(
                "a secret of the tests, which signs their tokens"
                    .to_owned()
                    .into(),
            ),
            ..AuthConfig::default()
        },
        metrics: MetricsConfig {
            unknown,
            file: Some(metrics_file),
        },
        ..Options::default()
    };
    run(options, async |stack| test(stack, keys).await)
}

/// Runs a test against a stack without keys.
///
/// # Errors
/// The test's own, or the judge's.
pub(crate) fn against_anyone(
    unknown: UnknownMetrics,
    metrics: &str,
    test: impl AsyncFnOnce(&Stack) -> Result<()>,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("metrics.toml");
    fs::write(&file, metrics)?;
    let options = Options {
        metrics: MetricsConfig {
            unknown,
            file: Some(file),
        },
        ..Options::default()
    };
    run(options, async |stack| test(stack).await)
}

impl Rows {
    /// Those that a reader sees when everything that was sent is visible.
    ///
    /// # Errors
    /// When that does not come about.
    pub(crate) async fn of(stack: &Stack, project: &str) -> Result<Self> {
        stack.settled().await?;
        let mut rows = stack.db.current().await?;
        rows.retain(|row| row["project"] == project);
        Ok(Self(rows))
    }

    /// Takes the one row that has these columns, and compares all of them: what is named
    /// in neither argument has to be what it is when nothing was said.
    ///
    /// # Panics
    /// When there is no such row or several, or when a column differs.
    pub(crate) fn take(&mut self, these: &Value, others: &Value) {
        let at = self.position(these);
        assert_row(&self.0.swap_remove(at), these, others);
    }

    /// The one row that has these columns, which stays.
    ///
    /// # Panics
    /// When there is no such row, or several.
    pub(crate) fn find(&self, these: &Value) -> &Value {
        &self.0[self.position(these)]
    }

    fn position(&self, these: &Value) -> usize {
        let is_it = |row: &Value| {
            let mut columns = these.as_object().into_iter().flatten();
            columns.all(|(column, content)| same(column, &row[column], content))
        };
        let found: Vec<usize> = (0..self.0.len()).filter(|at| is_it(&self.0[*at])).collect();
        match found[..] {
            [at] => at,
            _ => panic!("{} rows have {these}: {:#?}", found.len(), self.0),
        }
    }

    /// Asserts that every row was taken.
    ///
    /// # Panics
    /// When one was not.
    pub(crate) fn end(self) {
        assert!(self.0.is_empty(), "rows that nobody sent: {:#?}", self.0);
    }
}

/// Compares every column of a row.
///
/// # Panics
/// When one differs.
pub(crate) fn assert_row(row: &Value, these: &Value, others: &Value) {
    let unsaid = json!({
        "is_deleted": 0, "value_type": "none", "value": null, "score": null, "weight": 1, "comment": "", "correction": null,
        "tags": {}, "metadata": null, "rater": "", "source_kind": "api", "source_info": null, "source_run_id": "",
        "group_id": "", "experiment_id": "", "session_id": "",
    });
    for (column, content) in row.as_object().into_iter().flatten() {
        let said = others.get(column).or_else(|| these.get(column));
        if said.is_none() && OWN_COLUMNS.contains(&column.as_str()) {
            continue;
        }
        let expected = said.unwrap_or(&unsaid[column]);
        assert!(
            same(column, content, expected),
            "{column} is {content}, not {expected}: {row:#}"
        );
    }
}

/// The columns of `base` and, in their place or beside them, those of `more`.
pub(crate) fn with(base: &Value, more: &Value) -> Value {
    let mut columns = base.clone();
    for (column, content) in more.as_object().into_iter().flatten() {
        columns[column] = content.clone();
    }
    columns
}

/// Whether a column has this content. Numbers are compared by their size, and a column
/// that holds JSON by what it holds, `null` when it is empty.
fn same(column: &str, content: &Value, expected: &Value) -> bool {
    if !JSON_COLUMNS.contains(&column) {
        return same_json(content, expected);
    }
    match content.as_str().unwrap_or_default() {
        "" => expected.is_null(),
        text => serde_json::from_str(text).is_ok_and(|held| same_json(&held, expected)),
    }
}

fn same_json(content: &Value, expected: &Value) -> bool {
    match (content, expected) {
        (Value::Number(_), Value::Number(_)) => content.as_f64() == expected.as_f64(),
        _ => content == expected,
    }
}
