//! `plaudit health`: asks the service beside it whether it can do its work.
//!
//! For what runs a container and has nothing else in it to ask with. It reads the same
//! configuration as the service, so both agree on the port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::config::{Config, Sources};
use crate::console::print;
use crate::up::Probe;

/// Asks once, and says what came back.
///
/// # Errors
///
/// When the service does not answer, or is not ready, and why.
pub async fn run(url: Option<String>, sources: &Sources) -> anyhow::Result<()> {
    let url = match url {
        Some(url) => url,
        None => readiness(&Config::load(sources)?)?,
    };
    Probe::Http(url)
        .wait(Duration::ZERO)
        .await
        .map_err(|why| anyhow!(why))?;
    print("ready");
    Ok(())
}

fn readiness(config: &Config) -> anyhow::Result<String> {
    let listen = config.observe.listen;
    let listen = listen.context("which service? Give a URL, or set observe.listen")?;
    let address = SocketAddr::new(reachable(listen.ip()), listen.port());
    Ok(format!("http://{address}/readyz"))
}

/// Where one who listens on every address is found from the same machine.
fn reachable(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting;

    #[test]
    fn the_service_is_asked_where_it_listens() {
        for (listen, asked) in [
            ("0.0.0.0:9102", "http://127.0.0.1:9102/readyz"),
            ("[::]:9102", "http://[::1]:9102/readyz"),
            ("10.0.0.7:80", "http://10.0.0.7:80/readyz"),
        ] {
            let sources = Sources::default().with([Setting::new("observe.listen", listen)]);
            let config = Config::load(&sources).unwrap();
            assert_eq!(readiness(&config).unwrap(), asked);
        }
        assert!(readiness(&Config::default()).is_err());
    }
}
