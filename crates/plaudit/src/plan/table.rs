//! A plan as text for people.

use std::fmt::{self, Write};

use super::PlanOptions;
use super::costs::{
    BROKER, BROKER_BYTES, BROKER_CORES, BROKER_DISK_BYTES, BROKER_REQUEST_NANOS, BUSY_PERCENT,
    CLICKHOUSE, CLICKHOUSE_REPLICAS, Cpu, INTAKE, KAFKA_OF_A_BYTE, KAFKA_REPLICAS, LOG_SECONDS,
    NARROW, NODE_CORES, NODE_DISK_BYTES, PARTITION_EVENTS, POD_CORES, POD_MIB, REQUEST_NANOS, SINK,
    STORED_BYTES, STORED_OF_A_BYTE,
};
use super::need::{Limit, Need};

/// Bytes in the unit that reads best.
struct Bytes(u128);

/// Thousandths of a core as cores.
struct Cores(u128);

/// Nanoseconds as microseconds.
struct Micros(u128);

/// Thousandths as a decimal number.
struct Thousandths(u128);

/// A number with its thousands apart.
struct Grouped(u128);

/// The whole answer.
pub(super) fn text(options: &PlanOptions, need: &Need) -> String {
    let mut text = String::new();
    // A String takes every write.
    write(&mut text, options, need).ok();
    text
}

fn write(text: &mut String, options: &PlanOptions, need: &Need) -> fmt::Result {
    writeln!(
        text,
        "{} events a second of {} bytes, {} a request, kept {:.1} days; up to {} times as many in the busiest minute\n",
        Grouped(options.events_per_second.into()),
        options.event_bytes,
        options.events_per_request,
        options.retention.as_secs_f64() / 86_400.0,
        options.peak,
    )?;
    writeln!(text, "part        how many      busy at the peak  each")?;
    let mut line = |name: &str, count: String, busy: u128, each: String| {
        writeln!(
            text,
            "{name:<11} {count:<13} {:>16}  {each}",
            Cores(busy).to_string()
        )
    };
    let pod = format!("{POD_CORES} cores, {POD_MIB} MiB");
    let pods = |count: u128| format!("{} pods", Grouped(count));
    line(
        "intake",
        pods(need.intake_pods),
        need.intake_millicores,
        pod.clone(),
    )?;
    line("sink", pods(need.sink_pods), need.sink_millicores, pod)?;
    let log = Bytes(need.log_bytes.div_ceil(need.brokers));
    line(
        "Kafka",
        format!("{} brokers", Grouped(need.brokers)),
        need.broker_millicores,
        format!("{BROKER_CORES} cores, {log} of log"),
    )?;
    let rows = Bytes(need.row_bytes.div_ceil(need.shards));
    line(
        "ClickHouse",
        format!("{} nodes", Grouped(need.clickhouse_nodes())),
        need.clickhouse_millicores * CLICKHOUSE_REPLICAS,
        format!("{NODE_CORES} cores, {rows} of rows, and half as much again for merges"),
    )?;
    writeln!(
        text,
        "\npartitions  {}\nshards      {} of {CLICKHOUSE_REPLICAS} replicas",
        Grouped(need.partitions),
        Grouped(need.shards),
    )?;
    writeln!(
        text,
        "network     {}/s into the intake, {}/s in and out of Kafka\ndisk        {} in Kafka ({KAFKA_REPLICAS} replicas, {} days), {} in ClickHouse ({CLICKHOUSE_REPLICAS} replicas)",
        Bytes(need.in_bytes),
        Bytes(need.kafka_bytes),
        Bytes(need.log_bytes),
        LOG_SECONDS / 86_400,
        Bytes(need.row_bytes * CLICKHOUSE_REPLICAS),
    )?;
    writeln!(text, "\nfirst to break: {}", need.first_to_break)?;
    writeln!(
        text,
        "\nmeasured (docs/performance.md; a dearer run), CPU time of an event, and of each of its bytes beyond {NARROW}:\n\
         intake {INTAKE}, and {} a request; sink {SINK}; ClickHouse {CLICKHOUSE};\n\
         a broker {BROKER} where it takes or gives it, and {} a request",
        Micros(REQUEST_NANOS),
        Micros(BROKER_REQUEST_NANOS),
    )?;
    writeln!(
        text,
        "\nassumed: cores like those of the measurement; nobody busier than {BUSY_PERCENT} % at the peak; stored are \
         {STORED_BYTES} bytes of\nan event and {} of each byte beyond {NARROW}, in Kafka {} of each (LZ4); at most {} \
         events a second in a\npartition, {} of rows on a node, {} and {}/s on a broker; no trace so hot that its \
         partition\nis; reads not counted",
        Thousandths(STORED_OF_A_BYTE),
        Thousandths(KAFKA_OF_A_BYTE),
        Grouped(PARTITION_EVENTS),
        Bytes(NODE_DISK_BYTES),
        Bytes(BROKER_DISK_BYTES),
        Bytes(BROKER_BYTES),
    )
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let further = Thousandths(self.picos_a_byte);
        write!(f, "{} and {further} ns", Micros(self.nanos))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} µs", Thousandths(self.0))
    }
}

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing; this is the smallest set-up that may lose one of each",
            Self::Intake => "CPU of the intake: add pods, nothing else changes",
            Self::Clickhouse => "CPU of ClickHouse: add shards, or send larger batches",
            Self::Rows => "disk of ClickHouse: keep feedback for less long, or add shards",
            Self::Brokers => "disk or network of Kafka: add brokers, or keep the log for less long",
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
        let (mut tenths, mut unit) = (self.0 * 10, 0);
        while tenths >= 9_995 && unit + 1 < UNITS.len() {
            tenths = tenths.div_ceil(1000);
            unit += 1;
        }
        let name = UNITS.get(unit).copied().unwrap_or_default();
        if tenths < 100 {
            write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
        } else {
            write!(f, "{} {name}", tenths.div_ceil(10))
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.div_ceil(100);
        write!(f, "{}.{} cores", Grouped(tenths / 10), tenths % 10)
    }
}

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../../docs/capacity.md");

    /// Its table, as it has to be.
    #[test]
    fn the_document_shows_what_is_planned() {
        let loads = [(1_000, 1), (100_000, 100), (10_000_000, 100)];
        let needs = loads.map(|(events_per_second, events_per_request)| {
            Need::of(&PlanOptions {
                events_per_second,
                event_bytes: 300,
                retention: Duration::from_secs(90 * 86_400),
                events_per_request,
                peak: 2,
            })
        });
        let line = |name: &str, of: &dyn Fn(&Need) -> String| {
            format!("| {name} | {} |", needs.each_ref().map(of).join(" | "))
        };
        let count = |of: fn(&Need) -> u128| move |need: &Need| Grouped(of(need)).to_string();
        let bytes = |of: fn(&Need) -> u128| move |need: &Need| Bytes(of(need)).to_string();
        let lines = [
            line("intake, pods of 2 cores", &count(|need| need.intake_pods)),
            line("sinks, pods of 2 cores", &count(|need| need.sink_pods)),
            line("partitions", &count(|need| need.partitions)),
            line("brokers of 8 cores", &count(|need| need.brokers)),
            line(
                "ClickHouse nodes of 16 cores (2 replicas)",
                &count(Need::clickhouse_nodes),
            ),
            line(
                "disk in Kafka, 3 copies, 7 days",
                &bytes(|need| need.log_bytes),
            ),
            line(
                "disk in ClickHouse, 2 copies",
                &bytes(|need| need.row_bytes * CLICKHOUSE_REPLICAS),
            ),
            line(
                "network into the intake, peak, per second",
                &bytes(|need| need.in_bytes),
            ),
        ];
        let missing: Vec<_> = lines
            .iter()
            .filter(|line| !DOCUMENT.contains(line.as_str()))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn numbers_are_rounded_up_in_the_unit_that_reads_best() {
        for (bytes, text) in [
            (0, "0.0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1001, "1.1 kB"),
            (12_300, "13 kB"),
            (7_999_000_000_000, "8.0 TB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(Cores(4601).to_string(), "4.7 cores");
        assert_eq!(Grouped(10_000_000).to_string(), "10,000,000");
        assert_eq!(Grouped(999).to_string(), "999");
    }
}
