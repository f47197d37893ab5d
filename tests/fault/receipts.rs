//! What was acknowledged, written down as it is: for the oracle and `plaudit verify`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use plaudit_client::{ItemStatus, Reply};

/// A file of lines `ID RECEIPT`, and how many events were sent for it.
#[derive(Debug)]
pub(crate) struct Receipts {
    path: PathBuf,
    file: Mutex<File>,
    sent: AtomicU64,
}

impl Receipts {
    /// An empty file of this name.
    pub(crate) fn create(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        Ok(Self {
            file: Mutex::new(File::create(&path)?),
            path,
            sent: AtomicU64::new(0),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Counts events that are sent, whatever becomes of them.
    pub(crate) fn sends(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.sent.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Writes down the items of an answer that were accepted; says how many.
    pub(crate) fn take(&self, reply: &Reply) -> Result<usize> {
        let Ok(answer) = reply.answer() else {
            return Ok(0);
        };
        let accepted = answer.items.iter();
        let accepted = accepted.filter(|item| item.status == ItemStatus::Accepted);
        let mut lines = String::new();
        let mut count = 0;
        for item in accepted {
            let (id, receipt) = (item.id.context("no id")?, &item.receipt);
            let receipt = receipt.as_ref().context("no receipt")?;
            lines += &format!("{id} {}\n", receipt.as_str());
            count += 1;
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(lines.as_bytes())?;
        Ok(count)
    }
}
