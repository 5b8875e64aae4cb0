//! What becomes of requests and responses where bytes are missing, or make no sense.

use std::mem;
use std::ops::ControlFlow::{self, Break, Continue};

use beyla_schema::request::EndReason;

use super::body::Progress;
use super::{Leave, Pairing, Phase, head};
use crate::exchange::{Context, Side};

impl Pairing {
    /// The boundaries of messages are not known from here on.
    pub(super) fn lose(&mut self, side: Side, cx: &mut Context<'_>) {
        self.begun = false;
        cx.shared.stats.desynchronisations += 1;
        self.reader(side).clear(cx.shared);
        match side {
            Side::Request => self.request.phase = Phase::Seek,
            Side::Response => {
                self.flush(EndReason::Gap, cx);
                self.drop_parked(cx);
                self.response.phase = Phase::Lost;
            }
        }
    }

    /// The end of the response is not known. If more requests wait, their responses may be hidden too.
    pub(super) fn hide(&mut self, cx: &mut Context<'_>) {
        if self.pending.len() > 1 {
            self.lose(Side::Response, cx);
        } else {
            self.response.phase = Phase::Hidden;
        }
    }

    /// Bytes in the place of a head are none, but perhaps TLS.
    pub(super) fn refuse(&mut self, side: Side, tls: bool, cx: &mut Context<'_>) -> ControlFlow<()> {
        if self.begun && self.requests == 0 {
            if tls {
                self.leave = Leave::Tls;
            } else {
                cx.shared.stats.not_http_connections += 1;
            }
            self.end(EndReason::Gap, cx);
            return Break(());
        }
        self.lose(side, cx);
        Continue(())
    }

    /// Passes over `count` bytes that are missing: within a call, whose time is theirs too, or before one.
    pub(super) fn missing(&mut self, side: Side, count: u64, within_call: bool, cx: &mut Context<'_>) {
        if let Some(messages) = self.messages(side) {
            messages.skip(count);
        }
        let reader = self.reader(side);
        match &mut reader.phase {
            Phase::Body(body) => {
                let progress = body.skip(count);
                let total = body.bytes();
                match progress {
                    Progress::More => {
                        if within_call {
                            reader.last_ns = cx.now.ts_ns;
                        }
                    }
                    Progress::Done(used) => {
                        if side == Side::Request || within_call {
                            self.finish(side, Some(total), cx);
                        } else {
                            // When the last byte moved is not known.
                            self.response.phase = Phase::Head;
                            self.settle(EndReason::Gap, None, cx);
                        }
                        if used < count {
                            self.lose(side, cx);
                        }
                    }
                    Progress::Lost if !within_call => self.lose(side, cx),
                    Progress::Lost if side == Side::Request => reader.phase = Phase::Hidden,
                    Progress::Lost => self.hide(cx),
                }
            }
            Phase::Head if !reader.buffer.is_empty() => self.cut_head(side, within_call, cx),
            Phase::Head => self.lose(side, cx),
            Phase::Hidden if !within_call => self.lose(side, cx),
            Phase::Seek if side == Side::Response => self.lose(side, cx),
            Phase::Hidden | Phase::Seek | Phase::Lost => {}
        }
    }

    /// The rest of a head is missing. Its first line still tells whose turn it is.
    pub(super) fn cut_head(&mut self, side: Side, within_call: bool, cx: &mut Context<'_>) {
        let buffer = mem::take(&mut self.reader(side).buffer);
        let lines = &buffer[..memchr::memrchr(b'\n', &buffer).map_or(0, |end| end + 1)];
        let mut open_end = false;
        match side {
            Side::Request => {
                if let Some(head) = head::request(lines) {
                    self.ask(&head, None, None, cx);
                    if !within_call {
                        // Its response may have come already.
                        self.lose(Side::Response, cx);
                    }
                }
            }
            Side::Response => {
                if let (Some(head), Some(exchange)) = (head::response(lines), self.pending.front_mut())
                    && head.status >= 200
                {
                    exchange.status = Some(head.status);
                    open_end = within_call;
                }
            }
        }
        self.reader(side).buffer = buffer;
        if open_end {
            self.response.clear(cx.shared);
            self.hide(cx);
        } else {
            self.lose(side, cx);
        }
    }
}
