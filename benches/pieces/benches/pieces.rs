//! How long each piece of an event's way takes: see `plaudit_pieces`.
//!
//! The native API is the measure of the others: a vendor's may cost 2 µs more.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plaudit_pieces as pieces;

fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pieces");
    for mut piece in pieces::all() {
        group.throughput(Throughput::Elements(piece.events.into()));
        let name = piece.name.clone();
        group.bench_function(name, |bencher| bencher.iter(|| piece.run()));
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
