//! What an event was measured to cost, and what is assumed of machines.
//!
//! The costs are CPU time, user and system, of release builds on two-core virtual
//! machines that broker, engine and load shared, and of several runs a dearer one:
//! `docs/performance.md` says how. A core of one's own is seldom slower.

/// Bytes of the narrow events that were measured.
pub(super) const NARROW: u128 = 300;

/// CPU time of an event: so much for a narrow one, and so much for each further byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub(super) nanos: u128,
    pub(super) picos_a_byte: u128,
}

/// What the intake spends on a request, without its events.
pub(super) const REQUEST_NANOS: u128 = 20_000;
/// What the intake spends on an event of a request.
pub(super) const INTAKE: Cpu = Cpu {
    nanos: 3_200,
    picos_a_byte: 4_600,
};
/// What the sink spends.
pub(super) const SINK: Cpu = Cpu {
    nanos: 2_800,
    picos_a_byte: 3_000,
};
/// What ClickHouse spends on storing, merges and other orders included.
pub(super) const CLICKHOUSE: Cpu = Cpu {
    nanos: 7_500,
    picos_a_byte: 11_500,
};
/// What one broker spends on an event that it takes or gives out.
pub(super) const BROKER: Cpu = Cpu {
    nanos: 600,
    picos_a_byte: 2_600,
};
/// What one broker spends on the events of a request, taken together: where each has one,
/// batches are small.
pub(super) const BROKER_REQUEST_NANOS: u128 = 6_000;

/// Stored bytes of a narrow event, other orders and ledger included. Measured are 57 with
/// one tag and 70 with three.
pub(super) const STORED_BYTES: u128 = 70;
/// Of a further byte of an event, so many thousandths are stored. Not measured: the
/// benchmark's comments are of eight words and shrink to a seventh; text that somebody
/// wrote shrinks to a third.
pub(super) const STORED_OF_A_BYTE: u128 = 350;
/// Of a byte of an event, so many thousandths are on a broker's disk and on the wire,
/// under LZ4.
pub(super) const KAFKA_OF_A_BYTE: u128 = 450;

/// Parts are planned to be busy for so many percent at the peak: the rest is for a
/// restart's catching up, and for the machine that is gone.
pub(super) const BUSY_PERCENT: u128 = 50;
/// Cores of a pod of the intake and of the sink.
pub(super) const POD_CORES: u128 = 2;
/// Cores of a broker.
pub(super) const BROKER_CORES: u128 = 8;
/// Cores of a ClickHouse node.
pub(super) const NODE_CORES: u128 = 16;
/// Disk of a ClickHouse node that is filled with rows; merges need half as much again.
pub(super) const NODE_DISK_BYTES: u128 = 8_000_000_000_000;
/// Disk of a broker that is filled with records.
pub(super) const BROKER_DISK_BYTES: u128 = 4_000_000_000_000;
/// What a broker takes from its network in a second, replicas included.
pub(super) const BROKER_BYTES: u128 = 200_000_000;
/// What a partition takes in a second: with more, one sink has too much to catch up with.
pub(super) const PARTITION_EVENTS: u128 = 25_000;
/// As `kafka.partitions` is by default.
pub(super) const FEWEST_PARTITIONS: u128 = 12;
/// Copies of a record.
pub(super) const KAFKA_REPLICAS: u128 = 3;
/// Copies of a row.
pub(super) const CLICKHOUSE_REPLICAS: u128 = 2;
/// How long the log keeps records: `kafka.retention` by default.
pub(super) const LOG_SECONDS: u128 = 7 * 24 * 3600;
/// Memory of a pod of the intake or of the sink, in MiB.
pub(super) const POD_MIB: u128 = 512;
