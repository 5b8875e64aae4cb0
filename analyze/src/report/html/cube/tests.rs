//! Bounds of the cube, and that nothing is lost on the way to them.

use beyla_schema::request::{EndReason, Kind};

use super::*;

const SECOND: i64 = 1_000_000_000;

fn request(route: &str, status: u16, duration_ns: u64) -> Request<'_> {
    Request {
        service: "shop",
        method: Some("GET"),
        route: Some(route),
        status: Some(status),
        error: status >= 500,
        end_ns: Some(duration_ns),
        duration_ns: Some(duration_ns),
        ..Request::begun(Kind::Server, 0, EndReason::Response)
    }
}

fn sum(group: &Group) -> Counts {
    let mut all = Counts::default();
    group.cells.values().for_each(|cell| all.merge(cell));
    all
}

#[test]
fn buckets_double_until_there_are_few_enough() {
    let mut cube = Cube::default();
    for second in 0..3_600 {
        cube.add(&request("/", 200, 1_000_000), second * SECOND);
    }
    assert_eq!(cube.bucket_ns(), 32 * SECOND as u128);
    assert_eq!((cube.buckets(), cube.first_ns()), (113, Some(0)));
    let [group] = cube.groups() else { panic!("{:?}", cube.groups()) };
    let counts: Vec<_> = group.cells.values().map(|cell| cell.requests).collect();
    assert_eq!(counts[..2], [32, 32]);
    assert_eq!(counts.iter().sum::<u64>(), 3_600);
}

#[test]
fn the_order_of_requests_does_not_change_the_buckets() {
    let times: Vec<i64> = (0..500).map(|number| number * number % 701 * SECOND / 3).collect();
    let [mut forth, mut back] = [Cube::default(), Cube::default()];
    for time in &times {
        forth.add(&request("/", 200, 7_000), *time);
    }
    for time in times.iter().rev() {
        back.add(&request("/", 200, 7_000), *time);
    }
    assert_eq!(forth.doublings, back.doublings);
    assert_eq!(forth.groups[0].cells, back.groups[0].cells);
}

#[test]
fn times_from_the_whole_range_of_clocks_end_in_few_buckets() {
    let mut cube = Cube::default();
    for time in [i64::MIN, -1, 0, 1, i64::MAX] {
        cube.add(&request("/", 200, 1), time);
    }
    assert!(cube.buckets() <= MAX_BUCKETS);
    assert_eq!(sum(&cube.groups[0]).requests, 5);
}

#[test]
fn histograms_that_grow_too_large_make_buckets_wider() {
    let mut cube = Cube::default();
    let mut number = 0_u64;
    for route in 0..100 {
        let route = format!("/{route}");
        for bucket in 0..100 {
            for step in 0..80 {
                number += 1;
                cube.add(
                    &request(&route, 200, (1_000 << (step % 30)) | (number % 37)),
                    bucket * NARROWEST_NS,
                );
            }
        }
    }
    assert!(cube.steps <= MAX_STEPS, "{}", cube.steps);
    assert_eq!(cube.groups.iter().map(|group| sum(group).requests).sum::<u64>(), 800_000);
}

#[test]
fn further_names_are_counted_by_class_and_their_texts_not_kept() {
    let mut cube = Cube::default();
    for number in 0..10_000 {
        let route = format!("/{number}");
        cube.add(&request(&route, if number % 10 == 0 { 503 } else { 200 }, 1), 0);
    }
    cube.add(&request("/1", 200, 1), 0);
    assert_eq!(cube.groups.len(), MAX_GROUPS + 2);
    assert_eq!(cube.unnamed(), 10_000 - MAX_GROUPS as u64);
    assert!(cube.texts().len() <= MAX_GROUPS + 2);
    let rest =
        |class| cube.groups.iter().find(|group| group.name == Name::Rest { kind: Kind::Server, class });
    let failed = sum(rest(Class::ServerError).expect("a group for the rest that failed"));
    assert_eq!((failed.requests, failed.errors), (950, 950));
}

#[test]
fn a_cell_counts_what_a_request_has() {
    let mut cube = Cube::default();
    cube.add(&request("/", 200, 3_000), 0);
    cube.add(&request("/", 200, 9_000), SECOND);
    let unanswered = Request { end_ns: None, duration_ns: None, ..request("/", 200, 0) };
    cube.add(&unanswered, SECOND);
    let Counts { requests, errors, incomplete, sum_ns, max_ns, durations } = sum(&cube.groups[0]);
    assert_eq!((requests, errors, incomplete, sum_ns, max_ns), (3, 0, 1, 12_000, 9_000));
    assert_eq!(durations.len(), 2);
}
