//! Load over TLS: nothing is lost, and no stream is mixed up with another.

use super::Service;
use crate::{http2, load, server::Kind};

#[test]
fn every_request_of_wrk_is_recorded() {
    load::every_request_of_wrk_is_recorded(Kind::Tls(Service::Nginx));
}

#[test]
fn h2load_to_go() {
    http2::every_stream_of_h2load_is_recorded(Kind::Tls(Service::Go), "/");
}

#[test]
fn h2load_to_hyper() {
    http2::every_stream_of_h2load_is_recorded(Kind::Tls(Service::Hyper), "/");
}

#[test]
fn h2load_to_nginx() {
    http2::every_stream_of_h2load_is_recorded(Kind::Tls(Service::Nginx), "/index.html");
}

#[test]
fn h2load_to_node() {
    http2::every_stream_of_h2load_is_recorded(Kind::Tls(Service::NodeHttp2), "/");
}

#[test]
fn many_streams_to_go() {
    http2::no_stream_gets_what_belongs_to_another(Kind::Tls(Service::GoHttp2));
}

#[test]
fn many_streams_to_hyper() {
    http2::no_stream_gets_what_belongs_to_another(Kind::Tls(Service::Hyper));
}

#[test]
fn many_streams_to_node() {
    http2::no_stream_gets_what_belongs_to_another(Kind::Tls(Service::NodeHttp2));
}
