use std::collections::BTreeMap;

use beyla_schema::request::{EndReason, Protocol};
use proptest::prelude::*;

use super::*;

fn request(route: &str, ended_ns: u64, duration_ns: Option<u64>) -> Request<'_> {
    Request {
        service: "shop",
        pid: 1,
        tid: 1,
        method: Some("GET"),
        scheme: Some("http"),
        path: Some(route),
        route: Some(route),
        status: Some(200),
        end_ns: Some(ended_ns),
        duration_ns,
        service_ns: duration_ns,
        connection: 1,
        ended_ns,
        ..Request::begun(Kind::Server, ended_ns - duration_ns.unwrap_or(0), EndReason::Response)
    }
}

const ROUTES: [&str; 4] = ["/", "/a", "/b", "/c"];

proptest! {
    #[test]
    fn a_window_is_what_a_list_of_all_requests_tells(
        requests in proptest::collection::vec(
            (0..4usize, 100 * SECOND..180 * SECOND, proptest::option::of(0..SECOND), any::<bool>()),
            0..200,
        ),
        later in 0..3 * SECOND,
        seconds in 1..=60u64,
    ) {
        let mut window = Window::new(seconds, 90 * SECOND);
        for &(route, ended_ns, duration_ns, error) in &requests {
            window.request(&Request { error, ..request(ROUTES[route], ended_ns, duration_ns) });
        }
        let now_ns = requests.iter().map(|request| request.1).max().unwrap_or(100 * SECOND) + later;
        let snapshot = window.snapshot(now_ns);

        let now = now_ns / SECOND;
        let first = now + 1 - seconds;
        let mut expected = BTreeMap::<_, (u64, u64, Vec<u64>)>::new();
        for &(route, ended_ns, duration_ns, error) in &requests {
            if (first..=now).contains(&(ended_ns / SECOND)) {
                let of = expected.entry(ROUTES[route]).or_default();
                of.0 += 1;
                of.1 += u64::from(error);
                of.2.extend(duration_ns);
            }
        }
        prop_assert_eq!(snapshot.rows.len(), expected.len());
        for row in &snapshot.rows {
            let route = row.name.as_ref().map_or("", |name| &name.route);
            let (count, errors, durations) = expected.get_mut(route).ok_or(TestCaseError::fail("a row too many"))?;
            durations.sort_unstable();
            let of = |share: f64| {
                durations.get(((durations.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied()
            };
            prop_assert_eq!((row.requests, row.errors), (*count, *errors));
            prop_assert_eq!((row.p50_ns, row.p99_ns, row.max_ns), (of(0.5), of(0.99), durations.last().copied()));
            let length = (now_ns - (first * SECOND).max(90 * SECOND)).max(SECOND);
            prop_assert!((row.rate - *count as f64 * 1e9 / length as f64).abs() < 1e-6);
        }
        let ordered = snapshot.rows.is_sorted_by(|a, b| {
            a.requests > b.requests || a.requests == b.requests && a.name < b.name
        });
        prop_assert!(ordered, "{:?}", snapshot.rows);
        let ended_in = |second| requests.iter().filter(|request| request.1 / SECOND == second).count() as u64;
        prop_assert_eq!(snapshot.history, (now - 60..now).map(ended_in).collect::<Vec<_>>());
        prop_assert_eq!(snapshot.requests, requests.len() as u64);
        prop_assert_eq!(snapshot.errors, requests.iter().filter(|request| request.3).count() as u64);
    }
}

fn names(snapshot: &Snapshot) -> Vec<(&str, &str)> {
    let names = snapshot.rows.iter().filter_map(|row| row.name.as_ref());
    names.map(|name| (&*name.method, &*name.route)).collect()
}

#[test]
fn what_is_older_than_the_window_makes_room() {
    let mut window = Window::new(10, 0);
    for number in 0..MAX_ROUTES + 500 {
        window.request(&request(&format!("/{number}"), SECOND, Some(1)));
    }
    let snapshot = window.snapshot(2 * SECOND);
    assert_eq!(snapshot.rows.len(), MAX_ROUTES + 1);
    assert_eq!(snapshot.rows.first().map(|row| (&row.name, row.requests)), Some((&None, 500)));

    window.request(&request("/new", 11 * SECOND, Some(1)));
    assert_eq!(window.routes.len(), 1);
    assert_eq!(names(&window.snapshot(12 * SECOND)), [("GET", "/new")]);
    assert_eq!(window.snapshot(12 * SECOND).requests, MAX_ROUTES as u64 + 501);
}

#[test]
fn late_requests_count_and_make_nothing_grow() {
    let mut window = Window::new(10, 0);
    window.request(&request("/", 200 * SECOND, Some(1)));
    for second in 0..130 {
        window.request(&request("/late", second * SECOND, None));
    }
    assert_eq!((window.routes.len(), window.history.0.len()), (1, 1));
    assert_eq!(window.snapshot(200 * SECOND).requests, 131);
}

#[test]
fn names_are_cut_between_characters() {
    let long = format!("/{}", "é".repeat(1000));
    let mut window = Window::new(10, 0);
    window.request(&request(&long, SECOND, None));
    let snapshot = window.snapshot(SECOND);
    assert_eq!(names(&snapshot), [("GET", &*format!("/{}", "é".repeat(127)))]);
}

#[test]
fn a_grpc_call_is_its_full_method_and_its_own_status() {
    let mut window = Window::new(10, 0);
    let call = Request {
        protocol: Protocol::Grpc,
        method: Some("POST"),
        route: None,
        rpc_status: Some(5),
        ..request("/shop.Cart/Add", SECOND, Some(1))
    };
    window.request(&call);
    window.request(&Request { status: None, rpc_status: None, ..call });
    let snapshot = window.snapshot(SECOND);
    assert_eq!(names(&snapshot), [("gRPC", "/shop.Cart/Add")]);
    assert_eq!(snapshot.rows.first().and_then(|row| row.last_status), Some(5));
}

#[test]
fn after_a_reset_the_rate_is_that_since_then() {
    let mut window = Window::new(10, 0);
    (0..100).for_each(|_| window.request(&request("/", 20 * SECOND, Some(1))));
    assert!((window.snapshot(20 * SECOND).rows[0].rate - 100.0 / 9.0).abs() < 1e-9);
    window.reset(21 * SECOND);
    assert_eq!(window.snapshot(22 * SECOND).rows, []);
    (0..100).for_each(|_| window.request(&request("/", 24 * SECOND, Some(1))));
    let snapshot = window.snapshot(25 * SECOND);
    assert!((snapshot.rows[0].rate - 25.0).abs() < 1e-9);
    assert_eq!(snapshot.requests, 100);
}
