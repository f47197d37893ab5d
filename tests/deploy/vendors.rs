//! The vendors' own clients against what was deployed, each with a key of its own
//! project (**P8**). What each of their calls does is the business of `tests/sdk`, whose
//! drivers and lock files these are.

use anyhow::{Context, Result, ensure};
use support::Api;

use crate::client::{Client, Settle};
use crate::docker::{Project, eventually};

/// A client, and what has to come of it.
struct Vendor {
    client: Client,
    /// The driver's first arguments.
    before: &'static [&'static str],
    path: &'static str,
    /// The driver's last arguments.
    after: &'static [&'static str],
    /// Calls that must return.
    calls: &'static [&'static str],
    /// What the client raises for a wrong key, and the status that it knows.
    raises: (&'static str, Option<u16>),
    /// The fewest feedbacks that a reader sees then.
    seen: usize,
}

/// A key that nobody has.
const WRONG_KEY: &str = "pl_0123456789abcdef_wrong";

/// A project each.
const PROJECTS: [&str; 6] = [
    "portkey",
    "portkey-js",
    "tensorzero",
    "patronus",
    "humanloop",
    "langsmith",
];

/// Installs the clients.
///
/// # Errors
/// When one cannot be had.
pub(crate) fn install() -> Result<()> {
    all().map(drop)
}

fn all() -> Result<[Vendor; 6]> {
    let python = Client::python;
    Ok([
        Vendor {
            client: python("portkey", "2.3.4")?,
            before: &["sync"],
            path: "/portkey/v1",
            after: &[],
            calls: &["create", "bulk", "changed", "update"],
            raises: ("AuthenticationError", Some(401)),
            seen: 4,
        },
        Vendor {
            client: Client::javascript("portkey", "3.1.0")?,
            before: &[],
            path: "/portkey/v1",
            after: &[],
            calls: &["create", "bulk", "changed", "update"],
            raises: ("AuthenticationError", Some(401)),
            seen: 4,
        },
        Vendor {
            client: python("tensorzero", "2026.6.0")?,
            before: &["async"],
            path: "/tensorzero",
            after: &[],
            calls: &["accepted", "comment", "shown_text"],
            raises: ("TensorZeroError", Some(401)),
            seen: 3,
        },
        Vendor {
            client: python("patronus", "0.3.0")?,
            before: &["sync"],
            path: "/patronus",
            after: &[],
            calls: &["on_result", "on_sample", "annotate", "all", "delete"],
            raises: ("AuthenticationError", Some(401)),
            seen: 1,
        },
        Vendor {
            client: python("humanloop", "0.5.18")?,
            before: &["sync"],
            path: "/humanloop/v4",
            after: &["sk-SECRET0123456789abcdef"],
            calls: &["rating", "correction", "comment", "unset", "several"],
            raises: ("Exception", Some(401)),
            seen: 1,
        },
        Vendor {
            client: python("langsmith", "0.15.0")?,
            before: &["sync"],
            path: "/langsmith",
            after: &[],
            calls: &["tokens", "update", "read_updated", "delete"],
            raises: ("LangSmithAuthError", None),
            seen: 1,
        },
    ])
}

/// Makes a key for each, as a user does.
///
/// # Errors
/// When one cannot be made.
pub(crate) async fn make_keys(project: &Project) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for name in PROJECTS {
        let create = ["keys", "create", "--project", name, "--scope", "admin"];
        let key = project.tool(&[], &create).await?;
        keys.push(key.trim().to_owned());
    }
    Ok(keys)
}

/// Runs each client's driver; what it says and what a reader sees must be right.
///
/// # Errors
/// When a client gets anything else than its vendor would answer.
pub(crate) async fn check(site: &impl Settle, origin: &str, keys: &[String]) -> Result<usize> {
    let mut called = 0;
    for ((project, vendor), key) in PROJECTS.iter().zip(all()?).zip(keys) {
        let base = format!("{origin}{}", vendor.path);
        let own = [&*base, key, WRONG_KEY];
        let arguments = [vendor.before, &own, vendor.after].concat();
        let said = vendor.client.run(site, &arguments).await;
        let said = said.context(*project)?;
        for call in vendor.calls {
            said.returned(call);
        }
        let (class, status) = vendor.raises;
        let text = said.raised("wrong_key", class, status);
        ensure!(!text.contains(WRONG_KEY), "{project}: {text}");
        let api = Api::new(origin).with_key(key);
        eventually("a reader to see what the client sent", async || {
            let answer = api.get("/v1/feedback").await?;
            let seen = answer.at("/items").as_array().map_or(0, Vec::len);
            Ok(seen >= vendor.seen)
        })
        .await
        .context(*project)?;
        called += 1;
    }
    Ok(called)
}
