//! What every column means, for whoever asks a program instead of the documents, which say the same.

/// A column and its meaning. Types and whether values may be missing are those of the schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Its name.
    pub name: &'static str,
    /// The kinds of rows that have values in it.
    pub rows: &'static str,
    /// What a value tells, in plain text.
    pub meaning: &'static str,
}

const fn means(name: &'static str, rows: &'static str, meaning: &'static str) -> Meaning {
    Meaning { name, rows, meaning }
}

/// The columns of an event file, in their order: `docs/format.md`.
#[rustfmt::skip]
pub const EVENTS: &[Meaning] = &[
    means("kind", "all", "what the row tells of: open, data, close, listen, process, loss, seen, end"),
    means("time", "all", "wall time: ts_ns and the first clock sample of the metadata"),
    means("ts_ns", "all", "CLOCK_MONOTONIC of the host, nanoseconds"),
    means("cpu", "all", "CPU the event happened on; 65535 for rows that the recorder itself adds"),
    means("seq", "all", "number of the record on its CPU, from 0"),
    means("pid", "open, data, listen, process", "process id in the initial namespace; null when no process was at work (an accepted connection is established by the network, not by the process)"),
    means("tid", "open, data, listen, process", "thread id in the initial namespace; null when no process was at work"),
    means("connection", "open, data, close, listen", "socket cookie: never reused while the machine runs, the same in every process that has the socket. Of plaintext whose socket is not known: 2^61 and the number of its session"),
    means("action", "open, process, end", "how the connection came to be known, what happened to the process, or why the capture ended: see below"),
    means("direction", "data, close", "receive: the process read, or its peer finished; send: the process wrote, or finished; null on a close row: the whole connection ended"),
    means("source", "data", "where the bytes were seen: socket, or as plaintext in a TLS library: openssl, go (tls.md)"),
    means("call", "data", "system call: read, write, readv, writev, recvfrom, sendto, recvmsg, sendmsg, recvmmsg, sendmmsg, sendfile, splice, io_uring, other"),
    means("position", "data", "bytes moved in this direction before this call, counted from when the connection was first seen. Plaintext has positions of its own, which begin at 1 when the beginning of the session was not seen"),
    means("ready_ns", "data, receive", "when the first bytes that the call found had arrived, on the clock of ts_ns"),
    means("goroutine", "data", "in programs of Go: the number of the goroutine that made the call; null where none is known, and when the runtime itself made it"),
    means("length", "data", "bytes the call moved, or those of the row where a call is several"),
    means("captured", "data", "bytes of them that are in payload and tail"),
    means("payload", "data", "the first bytes; shorter than length when the snaplen cut them, empty when the call has no buffer (sendfile, splice, io_uring, other; recvmmsg and sendmmsg unless calls are seen at their exit) or its memory could not be read"),
    means("tail", "data", "the last bytes, when payload is cut: 64"),
    means("transport", "open, listen", "what carries the bytes: tcp, udp, unix"),
    means("local_address", "open, listen", "address of the captured side; of a unix socket its path (@name for an abstract one, null without a name) and no port"),
    means("local_port", "open, listen", "address of the captured side; of a unix socket its path (@name for an abstract one, null without a name) and no port"),
    means("remote_address", "open", "address of the peer, in the same form"),
    means("remote_port", "open", "address of the peer, in the same form"),
    means("received", "close", "bytes the process had read and written on the connection by then; what it reads after both sides have finished comes later"),
    means("sent", "close", "bytes the process had read and written on the connection by then; what it reads after both sides have finished comes later"),
    means("parent", "process", "process that started it"),
    means("executable", "process", "path of its program"),
    means("service", "process", "name it is reported under: OTEL_SERVICE_NAME or service.name of OTEL_RESOURCE_ATTRIBUTES in its environment, else the file name of its program"),
    means("started", "process", "when it started"),
    means("command_line", "process", "its arguments, separated by blanks, secrets masked"),
    means("cgroup", "process", "path of its control group"),
    means("container", "process", "id of the container it runs in"),
    means("runtime", "process", "what runs it: go, node, python, java, ruby, rust, other"),
    means("cause", "loss", "what was lost, or why, such as ring_full: see below"),
    means("count", "loss, seen", "how often since the capture began"),
    means("carried", "open, listen, process, loss, seen", "true: repeated from an earlier part of a rotated capture, so that this part can be read alone; else null"),
];

/// The columns of the `requests` table, in their order: `docs/sql.md`.
#[rustfmt::skip]
pub const REQUESTS: &[Meaning] = &[
    means("file", "all", "capture file in which the request ended, as it was named"),
    means("host", "all", "host name of the capture"),
    means("service", "all", "service name of the captured process"),
    means("pid", "all", "process that served or called: who read the first byte of a request, or wrote it"),
    means("tid", "all", "thread that read (server) or wrote (client) the first byte"),
    means("goroutine", "all", "goroutine that did so, in programs of Go"),
    means("kind", "all", "server or client, seen from the captured process"),
    means("protocol", "all", "http/1.0, http/1.1, http/2, grpc, grpc-web"),
    means("tls", "all", "library the plaintext came from: openssl, go; null without TLS"),
    means("tls_match", "all", "how the plaintext was tied to the connection: nested, time"),
    means("tls_version", "all", "version of TLS, from the handshake of the connection: 1.0 to 1.3"),
    means("tls_server_name", "all", "host that the client named in the handshake (SNI)"),
    means("tls_alpn", "all", "protocol that the server chose in the handshake; not to be seen in TLS 1.3"),
    means("method", "all", "method, as sent"),
    means("scheme", "all", "http or https"),
    means("authority", "all", "Host header or authority of the target, as sent"),
    means("path", "all", "path without the query"),
    means("query", "all", "query without the question mark"),
    means("route", "all", "path after the route rules"),
    means("user_agent", "all", "User-Agent, as sent"),
    means("request_type", "all", "content type of the request, as sent"),
    means("response_type", "all", "content type of the response, as sent"),
    means("status", "all", "HTTP status; null when no response was seen"),
    means("rpc_service", "all", "gRPC service"),
    means("rpc_method", "all", "gRPC method"),
    means("rpc_status", "all", "gRPC status"),
    means("rpc_message", "all", "gRPC message of the status"),
    means("error", "all", "whether the request counts as an error in reports and metrics"),
    means("span_status", "all", "unset or error, by the OpenTelemetry conventions"),
    means("start_time", "all", "first byte of the request"),
    means("end_time", "all", "last byte of the response"),
    means("duration_ms", "all", "what the caller waited, milliseconds: service_ms and queue_ms"),
    means("service_ms", "all", "time in the service, milliseconds"),
    means("queue_ms", "all", "time before the process read the request, milliseconds"),
    means("handshake_ms", "all", "what the TLS handshake of the connection took, milliseconds; the same for all its requests"),
    means("request_bytes", "all", "body of the request, bytes"),
    means("response_bytes", "all", "body of the response, bytes"),
    means("request_header_bytes", "all", "head of the request as sent, bytes"),
    means("response_header_bytes", "all", "head of the response as sent, bytes"),
    means("request_messages", "all", "gRPC messages of the request"),
    means("response_messages", "all", "gRPC messages of the response"),
    means("client_address", "all", "IP address of the client"),
    means("client_port", "all", "port of the client"),
    means("server_address", "all", "IP address of the server"),
    means("server_port", "all", "port of the server"),
    means("connection", "all", "connection, as in events"),
    means("stream", "all", "HTTP/2 stream"),
    means("ordinal", "all", "place on the connection, from 0"),
    means("trace_id", "all", "trace, 32 hexadecimal digits: as sent, or made up, the same in every replay"),
    means("span_id", "all", "span of the request, 16 hexadecimal digits"),
    means("parent_id", "all", "span that made the request"),
    means("trace_state", "all", "tracestate, as sent"),
    means("end_reason", "all", "response, reset, closed, capture_end, gap, protocol_switch"),
];

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;
    use crate::arrow::{events, requests};

    /// The cells of a table in Markdown, without what is there for its looks.
    fn cells(line: &str) -> Vec<String> {
        let mut text = line.trim().trim_matches('|').replace('`', "");
        // A link is its text.
        while let Some((before, rest)) = text.split_once("](") {
            let (Some((head, shown)), Some((_, after))) = (before.rsplit_once('['), rest.split_once(')'))
            else {
                break;
            };
            text = format!("{head}{shown}{after}");
        }
        text.split('|').map(|cell| cell.trim().to_owned()).collect()
    }

    fn names(schema: &Schema) -> Vec<&str> {
        schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    fn named(columns: &[Meaning]) -> Vec<&str> {
        columns.iter().map(|column| column.name).collect()
    }

    #[test]
    fn every_column_has_a_meaning() {
        assert_eq!(named(EVENTS), names(&events::schema()));
        assert_eq!(named(REQUESTS), names(&requests::schema()));
    }

    #[test]
    fn the_documents_say_the_same() {
        let format = include_str!("../../../docs/format.md");
        let table = format.split("## Columns").nth(1).unwrap();
        let mut told = Vec::new();
        for line in table.lines().filter(|line| line.starts_with("| `")).map_while(|line| {
            // The table of causes comes after it.
            let cells = cells(line);
            (cells.len() == 4).then_some(cells)
        }) {
            for name in line[0].split(", ") {
                told.push((name.to_owned(), line[2].clone(), line[3].clone()));
            }
        }
        let owned =
            |column: &Meaning| (column.name.to_owned(), column.rows.to_owned(), column.meaning.to_owned());
        assert_eq!(told, EVENTS.iter().map(owned).collect::<Vec<_>>());

        let sql = include_str!("../../../docs/sql.md");
        for column in REQUESTS {
            assert!(sql.contains(&format!("`{}`", column.name)), "docs/sql.md does not have {}", column.name);
        }
    }
}
