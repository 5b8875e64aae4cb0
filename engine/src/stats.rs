//! What the engine saw and what it gave up, so that a report can say how complete it is.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts of one run. Everything is a total since the engine began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Events pushed.
    pub events: u64,
    /// Connections seen.
    pub connections: u64,
    /// Requests handed to the sink.
    pub requests: u64,
    /// Connections whose first bytes were no HTTP; nothing of them is reported.
    pub not_http_connections: u64,
    /// Bytes of connections that are not HTTP, or no longer since a protocol switch.
    pub opaque_bytes: u64,
    /// Bytes of TLS connections as their sockets moved them.
    pub ciphertext_bytes: u64,
    /// Bytes that all calls moved: the sum of every other count of bytes but `gap_bytes`.
    pub moved_bytes: u64,
    /// Captured bytes that were read as part of a message, or of what is between messages.
    pub parsed_bytes: u64,
    /// Captured bytes that belong to no message: skipped until one could be recognised again.
    pub unparsed_bytes: u64,
    /// Bytes of calls that are not in the capture at all, by the stream positions.
    pub gap_bytes: u64,
    /// Bytes that a captured call moved beyond what was kept of it.
    pub truncated_bytes: u64,
    /// Bytes seen a second time or too late, and ignored.
    pub duplicate_bytes: u64,
    /// Bytes of connections that had closed already, or were too many to follow.
    pub ignored_bytes: u64,
    /// Responses that no request was waiting for.
    pub unsolicited_responses: u64,
    /// Times that a direction lost its message boundaries.
    pub desynchronisations: u64,
    /// Messages given up because a limit of the configuration was reached.
    pub limits_reached: u64,
    /// Connections that moved more bytes than the capture has.
    pub incomplete_connections: u64,
    /// Events that the kernel programs saw, recorded or lost, as the recorder last said; 0 when it did not.
    pub seen: u64,
    /// What the recorder lost, by cause, as it last said.
    pub losses: BTreeMap<String, u64>,
    /// Why the capture ended; none when it did not end in an orderly way.
    pub end: Option<String>,
}

impl Stats {
    /// What became of the bytes that calls moved: as many as [`moved_bytes`](Self::moved_bytes) after every event.
    pub fn accounted_bytes(&self) -> u64 {
        self.parsed_bytes
            + self.unparsed_bytes
            + self.truncated_bytes
            + self.opaque_bytes
            + self.ciphertext_bytes
            + self.duplicate_bytes
            + self.ignored_bytes
    }

    /// What came since these were `before`. `end` is what it is now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let losses = self.losses.iter().map(|(cause, lost)| {
            let earlier = before.losses.get(cause).copied().unwrap_or(0);
            (cause.clone(), lost.saturating_sub(earlier))
        });
        Self {
            events: self.events.saturating_sub(before.events),
            connections: self.connections.saturating_sub(before.connections),
            requests: self.requests.saturating_sub(before.requests),
            not_http_connections: self.not_http_connections.saturating_sub(before.not_http_connections),
            opaque_bytes: self.opaque_bytes.saturating_sub(before.opaque_bytes),
            ciphertext_bytes: self.ciphertext_bytes.saturating_sub(before.ciphertext_bytes),
            moved_bytes: self.moved_bytes.saturating_sub(before.moved_bytes),
            parsed_bytes: self.parsed_bytes.saturating_sub(before.parsed_bytes),
            unparsed_bytes: self.unparsed_bytes.saturating_sub(before.unparsed_bytes),
            gap_bytes: self.gap_bytes.saturating_sub(before.gap_bytes),
            truncated_bytes: self.truncated_bytes.saturating_sub(before.truncated_bytes),
            duplicate_bytes: self.duplicate_bytes.saturating_sub(before.duplicate_bytes),
            ignored_bytes: self.ignored_bytes.saturating_sub(before.ignored_bytes),
            unsolicited_responses: self.unsolicited_responses.saturating_sub(before.unsolicited_responses),
            desynchronisations: self.desynchronisations.saturating_sub(before.desynchronisations),
            limits_reached: self.limits_reached.saturating_sub(before.limits_reached),
            incomplete_connections: self.incomplete_connections.saturating_sub(before.incomplete_connections),
            seen: self.seen.saturating_sub(before.seen),
            losses: losses.collect(),
            end: self.end.clone(),
        }
    }
}
