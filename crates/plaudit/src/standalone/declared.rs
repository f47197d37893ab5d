//! What projects declared, in a file: what the compacted topic is with Kafka.
//!
//! One JSON line a declaration, the newest last. It is rewritten without what is
//! outdated when it is opened.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use plaudit_event::Declaration;
use plaudit_intake::NotReady;
use serde::{Deserialize, Serialize};

/// The file, open for more.
#[derive(Debug)]
pub struct DeclaredFile {
    file: Mutex<File>,
}

/// What projects declared.
pub type Declarations = Vec<(Arc<str>, Declaration)>;

#[derive(Deserialize, Serialize)]
struct Line {
    project: String,
    #[serde(flatten)]
    declaration: Declaration,
}

impl DeclaredFile {
    /// Opens the file; returns what was declared before, too.
    ///
    /// # Errors
    /// When it cannot be read or written, or is none of ours.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Declarations)> {
        let declared = read(path)?;
        rewrite(path, &declared).with_context(|| format!("write {}", path.display()))?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        let file = Self {
            file: Mutex::new(file),
        };
        Ok((file, declared))
    }

    /// Adds declarations, durably.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn add(&self, project: &str, declarations: &[Declaration]) -> Result<(), NotReady> {
        let declarations = declarations
            .iter()
            .map(|declaration| (project, declaration));
        let text = lines(declarations);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = append(&mut file, &text);
        written.map_err(|error| NotReady(format!("the declaration is not on disk: {error}").into()))
    }
}

/// Adds the whole text or nothing: half a line would spoil the one after it.
fn append(file: &mut File, text: &[u8]) -> io::Result<()> {
    let length = file.metadata()?.len();
    let written = file.write_all(text).and_then(|()| file.sync_data());
    written.or_else(|error| {
        file.set_len(length)?;
        Err(error)
    })
}

/// The newest of each, in the order of their names.
fn read(path: &Path) -> anyhow::Result<Declarations> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut newest = BTreeMap::new();
    // A last line without an end was never answered for.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for (number, line) in (1..).zip(whole.lines()) {
        let line: Line = serde_json::from_str(line)
            .with_context(|| format!("{}: line {number} is no declaration", path.display()))?;
        let key = (line.project, line.declaration.metric.clone());
        newest.insert(key, line.declaration);
    }
    newest.retain(|_, declaration| declaration.declared.is_some());
    let declared = newest.into_iter();
    Ok(declared
        .map(|((project, _), declaration)| (project.into(), declaration))
        .collect())
}

fn rewrite(path: &Path, declared: &[(Arc<str>, Declaration)]) -> io::Result<()> {
    let text = lines(declared.iter().map(|(project, one)| (&**project, one)));
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = File::create(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

fn lines<'d>(declared: impl Iterator<Item = (&'d str, &'d Declaration)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (project, declaration) in declared {
        let line = Line {
            project: project.to_owned(),
            declaration: declaration.clone(),
        };
        // Names, numbers and JSON: nothing in it that JSON does not have.
        text.extend(serde_json::to_vec(&line).unwrap_or_default());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(metric: &str, kind: Option<&str>) -> Declaration {
        let kind = kind.map(|kind| serde_json::json!({"type": kind}));
        Declaration {
            metric: metric.to_owned(),
            declared: kind.map(|kind| serde_json::from_value(kind).unwrap()),
        }
    }

    #[test]
    fn the_newest_declaration_of_each_metric_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("declared");
        let (file, declared) = DeclaredFile::open(&path).unwrap();
        assert_eq!(declared, []);
        let newest = declaration("b", Some("float"));
        let all = [
            declaration("a", Some("text")),
            declaration("b", Some("text")),
            newest.clone(),
            declaration("a", None),
        ];
        file.add("p", &all).unwrap();
        drop(file);
        // A crash in the middle of a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"project":"#).unwrap();
        let (_, declared) = DeclaredFile::open(&path).unwrap();
        assert_eq!(declared, [("p".into(), newest)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        std::fs::write(&path, "x\n").unwrap();
        assert!(DeclaredFile::open(&path).is_err());
    }
}
