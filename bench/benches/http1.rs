//! Heads of HTTP/1.x messages, as real servers and clients wrote them.

#[path = "../../engine/src/http1/head.rs"]
#[allow(dead_code, reason = "pairing uses the rest")]
mod head;

use std::hint::black_box;

use beyla_bench::Capture;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FIXTURES: [&str; 6] = ["nginx", "node", "go", "java", "uvicorn", "nginx-proxy"];

fn heads(criterion: &mut Criterion) {
    let captures = FIXTURES.map(Capture::of);
    let calls: Vec<_> = captures.iter().flat_map(Capture::calls).map(|(_, data)| data.payload).collect();
    let whole: Vec<_> = calls.iter().filter_map(|call| head::end(call, 0).map(|end| &call[..end])).collect();
    let is_request = |head: &&[u8]| head::request(head).is_some();
    let (requests, responses): (Vec<_>, Vec<_>) = whole.into_iter().partition(is_request);
    let mut group = criterion.benchmark_group("http1");
    group.throughput(Throughput::Elements(requests.len() as u64));
    group.bench_function("request head", |bench| {
        bench.iter(|| {
            for bytes in black_box(&requests) {
                let end = head::end(bytes, 0);
                let request = head::request(bytes);
                let target = request.as_ref().map(|request| head::target(request.method, request.target));
                black_box((end, request.as_ref().map(|request| request.fields.framing()), target));
            }
        });
    });
    group.throughput(Throughput::Elements(responses.len() as u64));
    group.bench_function("response head", |bench| {
        bench.iter(|| {
            for bytes in black_box(&responses) {
                let end = head::end(bytes, 0);
                let response = head::response(bytes);
                black_box((end, response.map(|response| (response.status, response.fields.framing()))));
            }
        });
    });
}

criterion_group!(benches, heads);
criterion_main!(benches);
