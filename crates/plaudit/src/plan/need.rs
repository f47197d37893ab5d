//! From a load to what it needs.

use super::PlanOptions;
use super::costs::{
    BROKER, BROKER_BYTES, BROKER_CORES, BROKER_DISK_BYTES, BROKER_REQUEST_NANOS, BUSY_PERCENT,
    CLICKHOUSE, CLICKHOUSE_REPLICAS, Cpu, FEWEST_PARTITIONS, INTAKE, KAFKA_OF_A_BYTE,
    KAFKA_REPLICAS, LOG_SECONDS, NARROW, NODE_CORES, NODE_DISK_BYTES, PARTITION_EVENTS, POD_CORES,
    REQUEST_NANOS, SINK, STORED_BYTES, STORED_OF_A_BYTE,
};

/// What a load needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Need {
    /// Thousandths of a core that are busy at the peak.
    pub(super) intake_millicores: u128,
    pub(super) sink_millicores: u128,
    /// Of all brokers, and of all nodes.
    pub(super) broker_millicores: u128,
    pub(super) clickhouse_millicores: u128,
    pub(super) intake_pods: u128,
    pub(super) sink_pods: u128,
    pub(super) partitions: u128,
    pub(super) brokers: u128,
    pub(super) shards: u128,
    /// Of all brokers, replicas included.
    pub(super) log_bytes: u128,
    /// Of one replica of all shards, merges not counted.
    pub(super) row_bytes: u128,
    /// Into the intake at the peak, a second.
    pub(super) in_bytes: u128,
    /// Between intake, brokers and sinks at the peak, a second, replicas included.
    pub(super) kafka_bytes: u128,
    /// The part that has least room left when the load grows.
    pub(super) first_to_break: Limit,
}

/// What there is not enough of first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Limit {
    /// Nothing: the smallest set-up carries it.
    Nothing,
    /// CPU of the intake: more pods.
    Intake,
    /// CPU of ClickHouse: more shards.
    Clickhouse,
    /// Disk of ClickHouse: shorter retention, or more shards.
    Rows,
    /// Disk or network of the brokers: more brokers.
    Brokers,
}

impl Need {
    pub(super) fn of(options: &PlanOptions) -> Self {
        let [average, bytes, a_request, times, seconds] = [
            options.events_per_second,
            options.event_bytes,
            options.events_per_request,
            options.peak,
            options.retention.as_secs(),
        ]
        .map(u128::from);
        let peak = average * times;
        let requests = peak.div_ceil(a_request);
        let on_the_wire = (bytes * KAFKA_OF_A_BYTE).div_ceil(1000);

        let intake_millicores =
            INTAKE.millicores(peak, bytes) + millicores(requests, REQUEST_NANOS);
        let sink_millicores = SINK.millicores(peak, bytes);
        // Every replica takes it, and one of them gives it to the sink.
        let broker_millicores = BROKER.millicores(peak, bytes) * (KAFKA_REPLICAS + 1)
            + millicores(requests, BROKER_REQUEST_NANOS) * KAFKA_REPLICAS;
        let clickhouse_millicores = CLICKHOUSE.millicores(peak, bytes);

        let log_bytes = average * on_the_wire * LOG_SECONDS * KAFKA_REPLICAS;
        let stored =
            STORED_BYTES + (bytes.saturating_sub(NARROW) * STORED_OF_A_BYTE).div_ceil(1000);
        let row_bytes = average * stored * seconds;
        let kafka_bytes = peak * on_the_wire * (KAFKA_REPLICAS + 1);

        let by_cpu = nodes(clickhouse_millicores, NODE_CORES);
        let by_disk = row_bytes.div_ceil(NODE_DISK_BYTES).max(1);
        let broker_needs = [
            nodes(broker_millicores, BROKER_CORES),
            log_bytes.div_ceil(BROKER_DISK_BYTES),
            kafka_bytes.div_ceil(BROKER_BYTES),
        ];
        let brokers = broker_needs
            .into_iter()
            .max()
            .unwrap_or(1)
            .max(KAFKA_REPLICAS);
        // Two, so that one may go.
        let intake_pods = nodes(intake_millicores, POD_CORES).max(2);
        let sink_pods = nodes(sink_millicores, POD_CORES).max(2);
        let partitions = peak.div_ceil(PARTITION_EVENTS);
        let first_to_break = if by_disk > by_cpu {
            Limit::Rows
        } else if by_cpu > 1 {
            Limit::Clickhouse
        } else if brokers > KAFKA_REPLICAS {
            Limit::Brokers
        } else if intake_pods > 2 {
            Limit::Intake
        } else {
            Limit::Nothing
        };
        Self {
            intake_millicores,
            sink_millicores,
            broker_millicores,
            clickhouse_millicores,
            intake_pods,
            sink_pods,
            // A sink without a partition has nothing to do.
            partitions: partitions.max(FEWEST_PARTITIONS).max(sink_pods * 2),
            brokers,
            shards: by_cpu.max(by_disk),
            log_bytes,
            row_bytes,
            in_bytes: peak * bytes,
            kafka_bytes,
            first_to_break,
        }
    }

    /// Nodes of ClickHouse: each shard has its replicas.
    pub(super) fn clickhouse_nodes(&self) -> u128 {
        self.shards * CLICKHOUSE_REPLICAS
    }
}

impl Cpu {
    fn millicores(self, events: u128, bytes: u128) -> u128 {
        let further = bytes.saturating_sub(NARROW) * self.picos_a_byte / 1000;
        millicores(events, self.nanos + further)
    }
}

/// A core has 10^9 nanoseconds a second, and a thousandth of one 10^6.
fn millicores(times: u128, nanos: u128) -> u128 {
    (times * nanos).div_ceil(1_000_000)
}

/// How many machines of so many cores, none busier than it may be.
fn nodes(millicores: u128, cores: u128) -> u128 {
    (millicores * 100)
        .div_ceil(cores * 1000 * BUSY_PERCENT)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn options(events_per_second: u64, event_bytes: u64) -> PlanOptions {
        PlanOptions {
            events_per_second,
            event_bytes,
            retention: Duration::from_secs(90 * 86_400),
            events_per_request: 1,
            peak: 2,
        }
    }

    fn need(events_per_second: u64, event_bytes: u64) -> Need {
        Need::of(&options(events_per_second, event_bytes))
    }

    #[test]
    fn the_smallest_load_gets_what_may_lose_one_of_each() {
        let need = need(1, 300);
        assert_eq!((need.intake_pods, need.sink_pods), (2, 2));
        assert_eq!((need.brokers, need.shards, need.partitions), (3, 1, 12));
        assert_eq!(need.first_to_break, Limit::Nothing);
    }

    #[test]
    fn twice_the_load_needs_twice_the_cores() {
        let (once, twice) = (need(100_000, 300), need(200_000, 300));
        assert_eq!(twice.intake_millicores, once.intake_millicores * 2);
        assert_eq!(twice.sink_millicores, once.sink_millicores * 2);
        assert_eq!(twice.row_bytes, once.row_bytes * 2);
    }

    #[test]
    fn a_wider_event_costs_more_and_never_less() {
        let (narrow, wide) = (need(10_000, 300), need(10_000, 5000));
        assert!(wide.sink_millicores > narrow.sink_millicores);
        assert!(wide.row_bytes > narrow.row_bytes * 10);
        assert_eq!(need(10_000, 100).sink_millicores, narrow.sink_millicores);
    }

    #[test]
    fn requests_of_one_event_cost_intake_and_brokers_more() {
        let one = need(100_000, 300);
        let hundred = Need::of(&PlanOptions {
            events_per_request: 100,
            ..options(100_000, 300)
        });
        assert!(one.intake_millicores > hundred.intake_millicores * 5);
        assert!(one.broker_millicores > hundred.broker_millicores * 5);
        assert_eq!(one.sink_millicores, hundred.sink_millicores);
    }

    #[test]
    fn every_sink_has_partitions_and_none_too_many_events() {
        for rate in [1_000, 100_000, 1_000_000, 10_000_000] {
            let need = need(rate, 300);
            assert!(need.partitions >= need.sink_pods * 2, "{rate}");
            assert!(
                u128::from(rate) * 2 <= need.partitions * PARTITION_EVENTS,
                "{rate}"
            );
        }
    }

    #[test]
    fn the_largest_numbers_that_can_be_typed_do_not_overflow() {
        let need = Need::of(&PlanOptions {
            events_per_second: 1_000_000_000,
            event_bytes: 1 << 20,
            retention: Duration::from_secs(u64::from(u32::MAX)),
            events_per_request: 1,
            peak: 100,
        });
        assert_eq!(need.first_to_break, Limit::Rows);
    }
}
