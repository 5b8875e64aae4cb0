//! What spans and metrics come from: the service, and the program that observed it.

use super::attributes::Attributes;
use super::message::{InstrumentationScope, Resource};

const NAME: &str = "beyla-replay";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A service on `host`, or one process of it.
pub(super) fn resource(service: &str, host: &str, pid: Option<u32>) -> Resource {
    let mut attributes = Attributes::default();
    // The name that the conventions give to what has none.
    attributes.text("service.name", if service.is_empty() { "unknown_service" } else { service });
    match pid {
        Some(pid) => attributes.text("service.instance.id", format!("{host}:{pid}").as_str()),
        None => attributes.text("service.instance.id", host),
    }
    attributes.text("host.name", host);
    attributes.int("process.pid", pid);
    attributes.text("telemetry.sdk.name", NAME);
    attributes.text("telemetry.sdk.language", "rust");
    attributes.text("telemetry.sdk.version", VERSION);
    Resource { attributes: attributes.into() }
}

/// The program that observed it.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: NAME.to_owned(), version: VERSION.to_owned() }
}
