//! A block of rows on its way to a table.
//!
//! The rows are encoded and compressed once; every attempt sends the same bytes.
//! `async_insert` is off: an answer means that the block is in the table, whole, and in
//! the tables that views fill from it.
//!
//! The server is not to tell a block that it had before: what it remembers and what it has
//! can differ (see the migration `every_insert_counts`), and a copy is no harm.

use std::io::Write as _;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Compression};
use lz4_flex::frame::FrameEncoder;
use uuid::Uuid;

use crate::native::Buffers;
use crate::{InsertCompression, Store, StoreError, changes, ledger, native, row};

/// The tables that are written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Table {
    /// Puts, withdrawals and folds.
    Feedback,
    /// Patches and retractions.
    Changes,
    /// Outcomes of offsets.
    Ledger,
}

/// Rows of one table, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct Payload {
    table: Table,
    format: Format,
    body: Bytes,
    compression: InsertCompression,
    rows: usize,
    /// What it is called, in the ids of the queries that send it.
    name: Uuid,
}

/// How the rows stand in the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    /// By column: much cheaper for the server, where there are many rows.
    Native,
    /// By row.
    RowBinary,
}

/// Bytes of rows whose columns are worth keeping the buffers of.
const MANY_BYTES: usize = 1 << 20;

/// How much of the body is handed to the connection at a time.
const CHUNK_BYTES: usize = 256 * 1024;

impl Table {
    fn insert_sql(self, format: Format) -> String {
        let (name, columns) = match self {
            Self::Feedback => {
                let names = row::COLUMNS.map(|column| column.name);
                ("feedback", names.join(", "))
            }
            Self::Changes => ("changes", changes::COLUMNS.to_owned()),
            Self::Ledger => ("ledger", ledger::COLUMNS.to_owned()),
        };
        format!("INSERT INTO {{db}}.{name} ({columns}) FORMAT {format:?}")
    }
}

impl Payload {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What the id of every query that sends this block begins with.
    fn query_prefix(&self) -> String {
        format!("plaudit-{}-", self.name.simple())
    }

    /// The bytes that go over the wire.
    pub fn wire_bytes(&self) -> usize {
        self.body.len()
    }
}

impl Store {
    /// Compresses `rows` rows of `table`, once for all attempts.
    pub fn payload(&self, table: Table, rows: usize, data: &[u8]) -> Payload {
        let compression = self.config().compression;
        let (format, body) = match table {
            Table::Feedback => self.columns(rows, data, compression),
            Table::Changes | Table::Ledger => None,
        }
        .map_or_else(
            || (Format::RowBinary, packed(&[data], compression)),
            |body| (Format::Native, body),
        );
        Payload {
            table,
            format,
            body,
            compression,
            rows,
            name: Uuid::now_v7(),
        }
    }

    /// The body of feedback by column; `None` when the bytes are no such rows.
    fn columns(&self, rows: usize, data: &[u8], compression: InsertCompression) -> Option<Bytes> {
        let mut small = Buffers::default();
        let mut large;
        let buffers = if data.len() < MANY_BYTES {
            &mut small
        } else {
            // One block at a time. A panic elsewhere does not make the buffers wrong.
            large = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
            &mut *large
        };
        let block = native::block(&row::COLUMNS, rows, data, buffers)?;
        let columns: Vec<&[u8]> = block.iter().map(Vec::as_slice).collect();
        let body = packed(&columns, compression);
        buffers.take_back(block);
        Some(body)
    }

    /// Sends a block and waits until the server has it.
    ///
    /// # Errors
    /// A failure with verdict `Away` may have been carried out: send the same
    /// block again.
    pub async fn insert(&self, payload: &Payload) -> Result<(), StoreError> {
        let timeout = self.config().timeout;
        tokio::time::timeout(timeout, self.insert_once(payload, timeout))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out()))
    }

    /// Ends every attempt at this block that is still running, and waits until
    /// it has ended: after this none of them can land.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn kill(&self, payload: &Payload) -> Result<(), StoreError> {
        let sql = "KILL QUERY{on_cluster} WHERE startsWith(initial_query_id, ?) SYNC";
        // The server that was asked hands on to shards: once it has ended, no shard gets
        // anything new, and what they have ends at the second time.
        let times = if self.is_cluster() { 2 } else { 1 };
        for _ in 0..times {
            for node in self.nodes() {
                let query = node.query(sql).bind(payload.query_prefix());
                // A replica that is gone carries nothing out any more.
                let query = query.with_setting("distributed_ddl_output_mode", "throw_only_active");
                node.within(query.execute()).await?;
            }
        }
        Ok(())
    }

    async fn insert_once(&self, payload: &Payload, timeout: Duration) -> Result<(), StoreError> {
        // The body is compressed already: the client is to leave it alone.
        let client: Client = self.client().clone().with_compression(Compression::None);
        let client = match payload.compression {
            InsertCompression::None => client,
            InsertCompression::Lz4 => client.with_header("Content-Encoding", "lz4"),
        };
        let seconds = timeout.as_secs().max(1).to_string();
        let mut insert = client
            .insert_formatted_with(self.named(&payload.table.insert_sql(payload.format)))
            .with_setting(
                "query_id",
                format!("{}{}", payload.query_prefix(), Uuid::now_v7()),
            )
            .with_setting("async_insert", "0")
            // Of several replicas a majority has it, one insert after another. Elsewhere
            // these say nothing.
            .with_setting("insert_quorum", "auto")
            .with_setting("insert_quorum_parallel", "0")
            // One block, whatever its size: it is in the table whole or not at all. Of
            // several shards this is true of each: one may have its rows and another not.
            .with_setting("max_insert_block_size", payload.rows.max(1).to_string())
            .with_setting("min_insert_block_size_rows", "0")
            .with_setting("min_insert_block_size_bytes", "0")
            .with_setting("input_format_parallel_parsing", "0")
            // A block holds a version once: merging it with itself is a third of the
            // server's work and changes nothing.
            .with_setting("optimize_on_insert", "0")
            .with_setting("max_execution_time", seconds);
        let mut rest = payload.body.clone();
        while !rest.is_empty() {
            let chunk = rest.split_to(CHUNK_BYTES.min(rest.len()));
            insert.send(chunk).await?;
        }
        Ok(insert.end().await?)
    }
}

/// What goes over the wire: compressed once for all attempts.
fn packed(body: &[&[u8]], compression: InsertCompression) -> Bytes {
    match compression {
        InsertCompression::None => body.concat().into(),
        InsertCompression::Lz4 => compress(body)
            .expect("writing to memory cannot fail")
            .into(),
    }
}

fn compress(body: &[&[u8]]) -> std::io::Result<Vec<u8>> {
    let bytes: usize = body.iter().map(|bytes| bytes.len()).sum();
    let mut encoder = FrameEncoder::new(Vec::with_capacity(bytes / 4));
    for bytes in body {
        encoder.write_all(bytes)?;
    }
    Ok(encoder.finish()?)
}
