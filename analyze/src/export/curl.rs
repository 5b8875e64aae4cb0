//! A shell script of one curl command per request. Whatever comes from the network stands in single quotes, where nothing has
//! a meaning, and is visible ASCII.

use std::{collections::BTreeMap, io::Write};

use beyla_schema::{
    arrow::requests::Source,
    event::Clock,
    request::{Protocol, Request},
};

use super::{
    Again, Encoder, Exported, TOOL, VERSION,
    target::{LeftOut, Sendable},
};
use crate::{
    Error,
    table::printable,
    units::{bytes, rfc3339},
};

/// A script in the making.
pub(super) struct Script {
    again: Again,
    clock: Clock,
    left_out: BTreeMap<LeftOut, u64>,
}

impl Script {
    pub(super) fn new(again: Again) -> Self {
        Self { again, clock: Clock::default(), left_out: BTreeMap::new() }
    }
}

impl Encoder for Script {
    fn head(&mut self, files: &[Exported], out: &mut dyn Write) -> Result<(), Error> {
        writeln!(out, "#!/bin/sh")?;
        writeln!(out, "# Recorded {} requests, written by {TOOL} {VERSION}.", self.again.kind.name())?;
        for Exported { name, .. } in files {
            writeln!(out, "# From {}", printable(name))?;
        }
        out.write_all(
            b"#\n\
            # One command per request, in the order the requests ended; each prints its status and URL.\n\
            # Method, path, query, user agent and content type are as recorded. Not reproduced: bodies, other header\n\
            # fields, connections, times. curl adds an Accept field of its own.\n",
        )?;
        Ok(())
    }

    fn begin(&mut self, source: &Source, _: &mut dyn Write) -> Result<(), Error> {
        self.clock = source.clock;
        Ok(())
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error> {
        if request.kind != self.again.kind {
            return Ok(());
        }
        match Sendable::of(request) {
            Ok(sendable) => self.command(request, &sendable, out),
            Err(reason) => {
                *self.left_out.entry(reason).or_default() += 1;
                Ok(())
            }
        }
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        for reason in LeftOut::ALL {
            if let Some(&count) = self.left_out.get(&reason) {
                writeln!(out, "\n# Left out: {count} {}.", reason.name())?;
            }
        }
        Ok(())
    }
}

impl Script {
    fn command(
        &self,
        request: &Request<'_>,
        sendable: &Sendable<'_>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let Sendable { method, origin, target, content_type, user_agent, body_bytes } = sendable;
        let base = self.again.base_url.as_ref().map_or_else(|| origin.clone(), ToString::to_string);

        write!(out, "\n# {}", rfc3339(self.clock.wall_ns(request.start_ns)).unwrap_or_default())?;
        if let Some(status) = request.status {
            write!(out, ", {status}")?;
        }
        if let Some(ns) = request.duration_ns {
            write!(out, ", {:.3} ms", ns as f64 / 1e6)?;
        }
        if let Some(length) = body_bytes {
            write!(out, ", without its body of {}", bytes(*length))?;
        }
        write!(out, "\ncurl -gsS --path-as-is -o /dev/null -w '%{{http_code}} %{{url_effective}}\\n'")?;

        if let Some(version) = version(request.protocol, base.starts_with("https:")) {
            write!(out, " {version}")?;
        }
        match *method {
            "GET" => {}
            "HEAD" => write!(out, " --head")?,
            method => write!(out, " -X {}", quoted(method))?,
        }
        match user_agent {
            Some(name) if !name.is_empty() => write!(out, " -A {}", quoted(name))?,
            _ => write!(out, " -H 'User-Agent:'")?,
        }
        match content_type {
            Some(name) if !name.is_empty() => {
                write!(out, " -H {}", quoted(&format!("Content-Type: {name}")))?;
            }
            _ if has_content(method) => write!(out, " -H 'Content-Type:'")?,
            _ => {}
        }
        if has_content(method) {
            write!(out, " -d ''")?;
        }
        if target.starts_with('/') {
            writeln!(out, " {}", quoted(&format!("{base}{target}")))?;
        } else {
            writeln!(out, " --request-target {} {}", quoted(target), quoted(&format!("{base}/")))?;
        }
        Ok(())
    }
}

/// Whether the length of the body is sent even if there is none (RFC 9110 section 8.6).
fn has_content(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

/// The option that makes curl speak this protocol.
fn version(protocol: Protocol, tls: bool) -> Option<&'static str> {
    match (protocol, tls) {
        (Protocol::Http10, _) => Some("--http1.0"),
        (Protocol::Http11, _) => Some("--http1.1"),
        (Protocol::Http2, true) => Some("--http2"),
        (Protocol::Http2, false) => Some("--http2-prior-knowledge"),
        (Protocol::Grpc | Protocol::GrpcWeb, _) => None,
    }
}

/// `text` as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
