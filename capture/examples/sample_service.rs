//! A small shop to record, and customers for it.
//!
//! ```text
//! cargo run --example sample_service -- serve --port 8080
//! cargo run --example sample_service -- load --port 8080 --seconds 10 --connections 8
//! ```
//!
//! The customers follow a fixed pattern, so that every run asks for the same things in the same order.

use std::{convert::Infallible, net::Ipv4Addr, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client, header, server,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

const USAGE: &str = "\
usage: sample_service serve [--port N]
       sample_service load --port N [--seconds S] [--connections C]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, options)) if command == "serve" => serve(options).await,
        Some((command, options)) if command == "load" => load(options).await,
        _ => Err(anyhow::anyhow!("say what to do\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sample_service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The numbers given with the options called `names`, in their order.
fn numbers<const N: usize>(options: &[String], names: [&str; N]) -> anyhow::Result<[Option<u64>; N]> {
    let mut numbers = [None; N];
    for option in options.chunks(2) {
        let [name, value] = option else { bail!("{} needs a number\n{USAGE}", option[0]) };
        let Some(index) = names.iter().position(|known| known == name) else {
            bail!("there is no option {name}\n{USAGE}");
        };
        numbers[index] = Some(value.parse().with_context(|| format!("{name} {value}: not a number"))?);
    }
    Ok(numbers)
}

fn port(number: u64) -> anyhow::Result<u16> {
    u16::try_from(number).with_context(|| format!("--port {number}: ports end at 65535"))
}

/// Serves until it is stopped. Prints its port: a free one unless `--port` names it.
async fn serve(options: &[String]) -> anyhow::Result<()> {
    let [chosen] = numbers(options, ["--port"])?;
    let chosen = port(chosen.unwrap_or(0))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, chosen))
        .await
        .with_context(|| format!("cannot listen on port {chosen}: choose another with --port"))?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut connection = server::conn::http1::Builder::new();
            let connection = connection.timer(TokioTimer::new());
            // A customer who leaves in the middle is no failure of the shop.
            let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // What arrived of a body that breaks off is not worth an answer of its own.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path();
    let (status, text) = match (&head.method, path, path.strip_prefix("/products/")) {
        (&Method::GET, "/", _) => (StatusCode::OK, "welcome\n".to_owned()),
        (&Method::GET, "/products", _) => (StatusCode::OK, "a product\n".repeat(200)),
        (&Method::GET, _, Some(product)) => (StatusCode::OK, format!("product {product}\n")),
        (&Method::POST, "/cart", _) => (StatusCode::CREATED, format!("{} bytes in the cart\n", body.len())),
        (&Method::POST, "/checkout", _) => (StatusCode::INTERNAL_SERVER_ERROR, "out of order\n".to_owned()),
        (&Method::GET, "/report", _) => {
            let days = head.uri.query().and_then(|query| query.strip_prefix("days=")?.parse().ok());
            sleep(Duration::from_millis(20 * days.unwrap_or(1).clamp(1, 4))).await;
            (StatusCode::OK, "a report\n".repeat(1000))
        }
        _ => (StatusCode::NOT_FOUND, "no such page\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// Sends what customers would, and prints how many requests that were.
async fn load(options: &[String]) -> anyhow::Result<()> {
    let [at, seconds, connections] = numbers(options, ["--port", "--seconds", "--connections"])?;
    let at = port(at.with_context(|| format!("name the port of the service: --port N\n{USAGE}"))?)?;
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let mut customers = JoinSet::new();
    for customer in 0..connections.unwrap_or(8) {
        customers.spawn(shop(at, customer, until));
    }
    let mut sent = 0;
    while let Some(requests) = customers.join_next().await {
        sent += requests??;
    }
    println!("{sent} requests");
    Ok(())
}

/// One customer on one connection. Returns the number of requests.
async fn shop(at: u16, customer: u64, until: Instant) -> anyhow::Result<u64> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, at)).await.with_context(|| {
        format!("nobody listens on port {at}: start `sample_service serve --port {at}` first")
    })?;
    stream.set_nodelay(true)?;
    let (mut service, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut sent = 0;
    while Instant::now() < until {
        // Each begins elsewhere in the pattern.
        let response = service.send_request(wish(at, customer * 7 + sent)).await;
        response.context("the service hung up")?.into_body().collect().await?;
        sent += 1;
        sleep(Duration::from_millis(2)).await;
    }
    Ok(sent)
}

/// The request with this number: mostly browsing, sometimes buying, now and then something that fails.
fn wish(at: u16, number: u64) -> Request<Full<Bytes>> {
    let (method, target, body) = match number % 40 {
        0 | 20 => (Method::GET, "/".to_owned(), String::new()),
        7 | 17 | 27 | 37 => (Method::POST, "/cart".to_owned(), format!("product={number}&count=1")),
        13 => (Method::GET, "/sold-out".to_owned(), String::new()),
        23 => (Method::GET, format!("/report?days={}", number / 40 % 4 + 1), String::new()),
        39 => (Method::POST, "/checkout".to_owned(), "pay=now".to_owned()),
        step if step % 4 == 1 => (Method::GET, "/products".to_owned(), String::new()),
        step => (Method::GET, format!("/products/{step}"), String::new()),
    };
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = method;
    // Every target above is one.
    *request.uri_mut() = target.parse().unwrap_or_default();
    let host = header::HeaderValue::try_from(format!("localhost:{at}"));
    request.headers_mut().extend(host.map(|host| (header::HOST, host)));
    request
}
