//! The file of every acknowledged id: one line each, `id receipt`.
//!
//! It is what `acknowledged` means to whoever checks afterwards, so a line is written
//! only after the answer, and the load fails if it cannot be written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// The file, shared by all connections.
pub(crate) struct Acked(Mutex<BufWriter<File>>);

/// The lines of one request.
#[derive(Default)]
pub(crate) struct Lines(Vec<u8>);

impl Acked {
    /// Makes the file anew.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Self(Mutex::new(file)))
    }

    /// Adds the lines and empties them.
    pub(crate) fn append(&self, lines: &mut Lines) -> io::Result<()> {
        // A panic elsewhere leaves whole lines, or none.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&lines.0)?;
        lines.0.clear();
        Ok(())
    }

    /// Writes out what is buffered.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }
}

impl Lines {
    /// One acknowledged id; `-` where the dialect gives no receipt.
    pub(crate) fn push(&mut self, id: Uuid, receipt: &str) {
        let mut buffer = Uuid::encode_buffer();
        self.0
            .extend_from_slice(id.hyphenated().encode_lower(&mut buffer).as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(receipt.as_bytes());
        self.0.push(b'\n');
    }
}
