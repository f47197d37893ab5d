//! Open files: as many as the system allows, and no more connections than fit.
//!
//! A connection takes one. A service that has none left can no longer reach Kafka or
//! ClickHouse, so clients never get the last ones.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use plaudit_service::ConnectionsConfig;

/// What a service opens beside its clients: brokers, ClickHouse, files, the engine of
/// `standalone`.
const RESERVED: u64 = 512;

/// Raises the process's limit as far as it may, and lowers the services' bounds on
/// connections to what there is room for; the log says so.
pub(crate) fn make_room(services: &mut [(&'static str, &mut ConnectionsConfig)]) {
    let limit = match raised() {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            return;
        }
    };
    let share = limit / u64::try_from(services.len().max(1)).unwrap_or(1);
    for (section, connections) in services {
        let room = room(share, connections.max);
        if room < connections.max {
            tracing::warn!(
                open_files = limit,
                wanted = connections.max,
                connections = room,
                "fewer connections than `{section}.connections.max`: raise the limit of open files"
            );
            connections.max = room;
        }
    }
}

/// The soft limit, once it is as high as the hard one.
fn raised() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// How many of the connections that are wanted fit: always some.
fn room(limit: u64, wanted: usize) -> usize {
    let most = limit.saturating_sub(RESERVED).max(limit / 2).max(1);
    wanted.min(usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_get_the_last_descriptors() {
        assert_eq!(room(20_000, 16_384), 16_384);
        assert_eq!(room(u64::MAX, 16_384), 16_384);
        assert_eq!(room(4096, 16_384), 3584);
        assert_eq!(room(256, 16_384), 128);
        assert_eq!(room(0, 16_384), 1);
    }
}
