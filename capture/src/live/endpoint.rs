//! Serves metrics over HTTP: `/metrics`, or as it is called, and `/healthz`.
//!
//! Requests are answered from the main thread with what the live side says; they cannot make it work more than a few times
//! a second, however many there are.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime},
};

use beyla_engine::prometheus::Format;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{Endpoint, Message};

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 128;

/// A client has so long to say what it wants, and so long it waits at most for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place to serve metrics from, taken before privileges are given up.
pub(super) struct Bound {
    listener: TcpListener,
    path: String,
    began: Instant,
}

impl Bound {
    /// Takes the place.
    pub(super) fn new(endpoint: &Endpoint) -> io::Result<Self> {
        let listener = TcpListener::bind((endpoint.address, endpoint.port))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: endpoint.path.clone(), began: Instant::now() })
    }

    /// Where the metrics will be.
    pub(super) fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}{}", self.listener.local_addr()?, self.path))
    }

    /// Serves as long as the runtime lives that this is called in.
    pub(super) fn serve(self, live: mpsc::Sender<Message>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let site = Arc::new(Site { path: self.path, began: self.began, live });
        tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(CONNECTIONS));
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors, or the client is gone: neither lasts.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let site = Arc::clone(&site);
                        async move { Ok::<_, Infallible>(site.answer(&request).await) }
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                    // What goes wrong on a connection is its client's business.
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                    drop(permit);
                });
            }
        });
        Ok(())
    }
}

/// What is served.
struct Site {
    path: String,
    began: Instant,
    live: mpsc::Sender<Message>,
}

impl Site {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            path if path == self.path => self.metrics(format(request)).await,
            "/healthz" => self.health(),
            _ => text(StatusCode::NOT_FOUND, format!("metrics are at {}\n", self.path)),
        }
    }

    async fn metrics(&self, format: Format) -> Response<Full<Bytes>> {
        let (ask, answer) = oneshot::channel();
        let asked = self.live.send(Message::Metrics(format, ask));
        match (asked, timeout(PATIENCE, answer).await) {
            (Ok(()), Ok(Ok(body))) => typed(format.content_type(), body),
            (Ok(()), Err(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "the live side is busy\n"),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, "the capture has ended\n"),
        }
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let now_ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let uptime_ns = self.began.elapsed().as_nanos();
        let body =
            format!("{{\"schema_version\":1,\"now_unix_ns\":{now_ns},\"process_uptime_ns\":{uptime_ns}}}\n");
        typed("application/json", body.into())
    }
}

/// The format that the client likes best.
fn format(request: &Request<Incoming>) -> Format {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    Format::negotiate(&accept.collect::<Vec<_>>().join(","))
}

fn typed(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", text.into());
    *response.status_mut() = status;
    response
}
