//! A known sequence of requests over TLS to an unmodified server of each kind comes back exactly.

use std::{process::Command, thread, time::Duration};

use beyla_schema::{event::Source, request::Protocol};

use super::{
    Service,
    ask::{Ask, Client},
};
use crate::{
    Machine,
    capture::Capture,
    client, free_port, grpc, http2,
    server::{Kind, Server},
    stacks::output,
    turn,
};

/// One connection with everything, as far as the server keeps it, then one for each request.
fn known_sequence() -> Vec<Ask> {
    let targets = ["/", "/products/7?currency=eur", "/gone?status=404", "/?delay=40ms", "/?status=500"];
    let mut asked: Vec<_> = targets.map(|target| Ask::get(0, target)).into();
    asked.push(Ask { method: "HEAD", ..Ask::get(0, "/products") });
    asked.extend([3, 3000, 40_000].map(|body| Ask { method: "POST", body, ..Ask::get(0, "/cart") }));
    asked.extend(["/big?size=5000", "/big?size=300000", "/last"].map(|target| Ask::get(0, target)));
    let targets = ["/", "/a", "/gone?status=404", "/big?size=100000", "/?delay=25ms"];
    asked.extend((1..).zip(targets).map(|(number, target)| Ask { last: true, ..Ask::get(number, target) }));
    asked
}

fn come_back(service: Service, asked: &[Ask]) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let mut client = Client::of(&server);
    let sent = client.send(asked);
    client.hang_up();
    let recording = capture.stop();
    recording.assert_source(service.source());
    recording.assert_served(&sent);
    assert!(recording.stats.ciphertext_bytes > 0, "{:?}", recording.stats);
}

fn a_known_sequence_comes_back(service: Service) {
    come_back(service, &known_sequence());
}

#[test]
fn go() {
    a_known_sequence_comes_back(Service::Go);
}

#[test]
fn go_without_symbols() {
    a_known_sequence_comes_back(Service::GoStripped);
}

#[test]
fn gunicorn_with_two_workers() {
    a_known_sequence_comes_back(Service::Gunicorn);
}

#[test]
fn hyper() {
    a_known_sequence_comes_back(Service::Hyper);
}

#[test]
fn hyper_with_an_openssl_of_its_own() {
    a_known_sequence_comes_back(Service::HyperVendored);
}

#[test]
fn node() {
    a_known_sequence_comes_back(Service::Node);
}

#[test]
fn node_http2_asked_over_http1() {
    a_known_sequence_comes_back(Service::NodeHttp2);
}

#[test]
fn python() {
    a_known_sequence_comes_back(Service::Python);
}

#[test]
fn ruby() {
    a_known_sequence_comes_back(Service::Ruby);
}

#[test]
fn uvicorn_on_asyncio() {
    a_known_sequence_comes_back(Service::UvicornAsyncio);
}

#[test]
fn uvicorn_on_uvloop() {
    a_known_sequence_comes_back(Service::UvicornUvloop);
}

#[test]
fn nginx() {
    let targets = ["/", "/index.html?v=1", "/gone", "/nowhere", "/broken", "/big.bin", "/status"];
    let mut asked: Vec<_> = targets.map(|target| Ask::get(0, target)).into();
    asked.push(Ask { method: "HEAD", ..Ask::get(0, "/big.bin") });
    // An answer that comes before the body is read ends the request: none is asked for with one.
    asked.push(Ask { method: "POST", body: 0, ..Ask::get(0, "/broken") });
    let targets = ["/", "/big.bin", "/gone"];
    asked.extend((1..).zip(targets).map(|(number, target)| Ask { last: true, ..Ask::get(number, target) }));
    come_back(Service::Nginx, &asked);
}

#[test]
fn http_and_https_of_one_process_are_told_apart() {
    let http = free_port();
    let kind = Kind::Tls(Service::NodeBoth { http });
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let plain = thread::spawn(move || {
        let mut client = client::Client::new(http);
        for number in 0..50 {
            client.ask("GET", &format!("/plain/{number}?delay={}ms", number % 5));
        }
        client.ask_one_by_one(&["/plain/last", "/plain/gone?status=404"]);
        client.take_sent()
    });
    let asked: Vec<_> = (0..100)
        .map(|number| Ask::get(number % 4, format!("/tls/{number}?delay={}ms", number % 5)))
        .collect();
    let mut client = Client::of(&server);
    let mut sent = client.send(&asked);
    client.hang_up();
    sent.extend(plain.join().unwrap());
    assert_eq!(sent.len(), 152);
    let recording = capture.stop();
    recording.assert_served(&sent);
    for seen in &recording.requests {
        let is_plain = seen.target.as_ref().unwrap().starts_with("/plain");
        seen.assert_source(if is_plain { Source::Socket } else { Source::OpenSsl });
    }
}

/// A server that starts after the capture is recorded once its library has been found.
fn a_server_is_awaited(service: Service) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let port = free_port();
    let capture = Capture::of_port(port);
    let server = Server::start_on(kind, port);
    // Attaching waits for the kernel, and longer while other captures end.
    thread::sleep(Duration::from_secs(4));
    let mut client = Client::of(&server);
    let mut asked: Vec<_> =
        ["/first", "/second?status=404", "/third?delay=20ms"].map(|target| Ask::get(0, target)).into();
    asked.push(Ask { last: true, ..Ask::get(1, "/fourth") });
    let sent = client.send(&asked);
    client.hang_up();
    let recording = capture.stop();
    recording.assert_source(service.source());
    recording.assert_served(&sent);
}

#[test]
fn go_is_awaited() {
    a_server_is_awaited(Service::Go);
}

#[test]
fn gunicorn_is_awaited() {
    a_server_is_awaited(Service::Gunicorn);
}

#[test]
fn node_is_awaited() {
    a_server_is_awaited(Service::Node);
}

#[test]
fn python_is_awaited() {
    a_server_is_awaited(Service::Python);
}

/// A hundred requests of curl on one connection.
fn a_connection_of_curl_comes_back(service: Service, option: &str, protocol: Protocol) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Shared, &[&["curl"], kind.programs()].concat()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let mut curl = Command::new("curl");
    curl.args(["--silent", option, "--cacert"]).arg(server.certificate().unwrap());
    curl.args(["--output", "/dev/null", "--write-out", "%{http_code} %{local_port} %{size_download}\\n"]);
    let said = output(curl.arg(server.url("/[1-100]?a=b")));
    let recording = capture.stop();
    recording.assert_complete();
    recording.assert_source(service.source());
    let told: Vec<_> = recording
        .requests
        .iter()
        .map(|seen| {
            assert_eq!((seen.protocol, seen.method.as_deref()), (protocol, Some("GET")), "{seen:?}");
            let (status, bytes) = (seen.status.unwrap(), seen.response_bytes.unwrap());
            (seen.target.clone().unwrap(), format!("{status} {} {bytes}", seen.client.unwrap().port()))
        })
        .collect();
    let targets = (1..=100).map(|number| format!("/{number}?a=b"));
    let wanted: Vec<_> = targets.zip(said.lines().map(str::to_owned)).collect();
    assert_eq!(told, wanted);
    assert_eq!(wanted.len(), 100);
    assert!(recording.requests.iter().all(|seen| seen.connection == recording.requests[0].connection));
}

#[test]
fn curl_to_go_over_http1() {
    a_connection_of_curl_comes_back(Service::Go, "--http1.1", Protocol::Http11);
}

#[test]
fn curl_to_go_over_http2() {
    a_connection_of_curl_comes_back(Service::Go, "--http2", Protocol::Http2);
}

#[test]
fn curl_to_hyper_over_http2() {
    a_connection_of_curl_comes_back(Service::Hyper, "--http2", Protocol::Http2);
}

#[test]
fn curl_to_nginx_over_http1() {
    a_connection_of_curl_comes_back(Service::Nginx, "--http1.1", Protocol::Http11);
}

#[test]
fn curl_to_nginx_over_http2() {
    a_connection_of_curl_comes_back(Service::Nginx, "--http2", Protocol::Http2);
}

#[test]
fn curl_to_node_over_http2() {
    a_connection_of_curl_comes_back(Service::NodeHttp2, "--http2", Protocol::Http2);
}

#[test]
fn curl_to_uvloop_over_http1() {
    a_connection_of_curl_comes_back(Service::UvicornUvloop, "--http1.1", Protocol::Http11);
}

#[test]
fn several_methods_of_curl_to_go() {
    http2::every_request_of_curl_is_recorded(Kind::Tls(Service::GoHttp2));
}

#[test]
fn several_methods_of_curl_to_hyper() {
    http2::every_request_of_curl_is_recorded(Kind::Tls(Service::Hyper));
}

#[test]
fn several_methods_of_curl_to_node() {
    http2::every_request_of_curl_is_recorded(Kind::Tls(Service::NodeHttp2));
}

#[test]
fn unary_calls_of_grpc() {
    grpc::calls_of(Kind::Tls(Service::Grpc), &["-count", "2000", "-concurrency", "10"], &["unary"], 2000);
}

#[test]
fn calls_of_grpc_of_all_kinds() {
    let kinds = ["unary", "server-stream", "client-stream", "bidi", "fail", "fail-late"];
    grpc::calls_of(Kind::Tls(Service::Grpc), &["-count", "100", "-concurrency", "20"], &kinds, 100);
}

#[test]
fn large_messages_of_grpc() {
    let options = ["-count", "50", "-concurrency", "5", "-size", "100000"];
    grpc::calls_of(Kind::Tls(Service::Grpc), &options, &["unary", "bidi"], 50);
}
