//! A real Prometheus scrapes a capture, and is asked what people ask it.

mod queries;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use beyla_engine::prometheus::Names;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Machine,
    capture::{Capture, PROGRAM, Recording},
    client::Client,
    folder, free_port,
    server::{Kind, Server},
    shown::analyze,
    stacks::{program, report},
    turn, wait_for,
};
use queries::Variables;

/// A Prometheus.
struct Prometheus {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Prometheus {
    /// One that scrapes these ports every second, once it does.
    fn of(ports: &[u16]) -> Self {
        let targets = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect::<Vec<_>>().join(", ");
        let config = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: beyla, honor_labels: true, static_configs: [{{targets: [{targets}]}}]}}]\n"
        );
        let prometheus = Self::start(folder(), &config);
        wait_for("scrapes", || (prometheus.ask("sum(up)", None) == [ports.len() as f64]).then_some(()));
        prometheus
    }

    /// One that has what is in `folder/data`, and scrapes nothing.
    fn with_blocks(folder: TempDir) -> Self {
        Self::start(folder, "")
    }

    fn start(folder: TempDir, config: &str) -> Self {
        let port = free_port();
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "100", "prometheus", "--log.level=error"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.arg("--config.file").arg(folder.path().join("prometheus.yml"));
        command.arg("--storage.tsdb.path").arg(folder.path().join("data"));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = child.spawn().unwrap();
        let prometheus = Self { child, port, folder };
        wait_for("Prometheus", || {
            let ready = prometheus.get("/-/ready", &[]);
            ready.is_some_and(|text| text.contains("Ready")).then_some(())
        });
        prometheus
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Option<String> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        let mut curl = Command::new("curl");
        curl.args(["-sG", "--max-time", "20", &format!("http://127.0.0.1:{}{path}", self.port)]);
        for (name, value) in fields {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        Some(String::from_utf8(curl.output().unwrap().stdout).unwrap())
    }

    /// The values of the series that a query gives at `time`, seconds since 1970, or now.
    fn ask(&self, query: &str, time: Option<f64>) -> Vec<f64> {
        let time = time.map(|time| time.to_string());
        let mut fields = vec![("query", query)];
        fields.extend(time.as_deref().map(|time| ("time", time)));
        let text = self.get("/api/v1/query", &fields).unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(answer["status"], "success", "{query}: {text}");
        let series = answer["data"]["result"].as_array().unwrap().iter();
        series.map(|series| series["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The one value of a query.
    fn value(&self, query: &str, time: Option<f64>) -> f64 {
        let values = self.ask(query, time);
        let [value] = values[..] else { panic!("{query}: {values:?}") };
        value
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        let _ = &self.folder;
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What is at a port of this machine.
fn scrape(port: u16, options: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "20"]).args(options);
    let output = curl.arg(format!("http://127.0.0.1:{port}/metrics")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the samples of `name` add up to `total`.
fn wait_for_total(port: u16, name: &str, total: u64) {
    let mut last = String::new();
    wait_for(&format!("{total} of {name}"), || {
        last = scrape(port, &[]);
        let samples = last.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let sum: f64 = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        (sum as u64 == total).then_some(())
    });
}

#[test]
fn the_commands_of_the_announcement_give_what_it_shows() {
    let Some(_turn) = turn(Machine::Shared, &["go", "curl"]) else { return };
    let server = Server::start(Kind::Go);
    let (metrics, folder) = (free_port(), folder());
    let traces = folder.path().join("traces");
    let said = folder.path().join("said");
    let mut capture = Command::new("timeout");
    capture.args(["--foreground", "-k", "5", "60", PROGRAM]);
    capture.env("BEYLA_PROMETHEUS_PORT", metrics.to_string());
    capture.env("PRINT_TRACES", "true").env("OPEN_PORT", server.port.to_string());
    capture.stdin(Stdio::null());
    capture.stdout(fs::File::create(&traces).unwrap()).stderr(fs::File::create(&said).unwrap());
    let mut capture = capture.spawn().unwrap();
    wait_for("the capture", || fs::read_to_string(&said).unwrap().contains("recording ").then_some(()));

    let port = server.port;
    let curl = |arguments: &[&str], target: &str| {
        let url = format!("http://localhost:{port}{target}");
        let output = Command::new("curl").arg("-s4").args(arguments).arg(url).output().unwrap();
        assert!(output.status.success());
    };
    curl(&[], "/hello");
    curl(&["-d", "abcdef"], "/post");
    curl(&[], "/missing?status=404");
    curl(&[], "/slow?delay=200ms");
    wait_for_total(metrics, "http_server_duration_seconds_count", 4);
    let exposition = scrape(metrics, &[]);
    // It passes signals on.
    kill_process(Pid::from_child(&capture), Signal::INT).unwrap();
    assert!(capture.wait().unwrap().success(), "{}", fs::read_to_string(&said).unwrap());

    let traces = fs::read_to_string(&traces).unwrap();
    let lines: Vec<_> = traces.lines().collect();
    let ends = ["200 GET /hello", "200 POST /post", "404 GET /missing", "200 GET /slow"];
    assert_eq!(lines.len(), ends.len(), "{traces}");
    for (line, end) in lines.iter().zip(ends) {
        // 2023-04-19 13:49:04 (15.22ms[689.9µs]) 200 GET /hello [::1]->[localhost:8080] size:0B
        let bytes = if end.contains("POST") { 6 } else { 0 };
        let (time, rest) = line.split_once(" (").unwrap();
        let (durations, rest) = rest.split_once(") ").unwrap();
        assert_eq!(rest, format!("{end} [127.0.0.1]->[localhost:{port}] size:{bytes}B"));
        assert!(time.len() == 19 && time.as_bytes()[10] == b' ', "{line}");
        let (outer, inner) = durations.strip_suffix(']').and_then(|both| both.split_once('[')).unwrap();
        assert!(outer.ends_with('s') && inner.ends_with('s'), "{line}");
        assert_eq!(outer.starts_with("20") && outer.ends_with("ms"), end.contains("slow"), "{line}");
    }
    for (method, status, count) in [("GET", 200, 2), ("GET", 404, 1), ("POST", 200, 1)] {
        let labels = format!("http_method=\"{method}\",http_status_code=\"{status}\"");
        for name in ["http_server_duration_seconds", "http_server_request_size_bytes"] {
            let is_it = |line: &&str| line.starts_with(&format!("{name}_count{{")) && line.contains(&labels);
            let line = exposition.lines().find(is_it).unwrap_or_else(|| panic!("{labels}: {exposition}"));
            assert!(line.contains("service_name=") && line.ends_with(&format!(" {count}")), "{line}");
        }
    }
}

/// Asks a service for so long, so often a second: one in ten is slow, one in ten fails.
fn steady_load(port: u16, seconds: u64) -> u64 {
    const PACE: Duration = Duration::from_millis(20);
    let clients = (0..4).map(|_| {
        thread::spawn(move || {
            let mut client = Client::new(port);
            let began = Instant::now();
            let mut asked = 0;
            while began.elapsed() < Duration::from_secs(seconds) {
                client.ask(
                    "GET",
                    match asked % 10 {
                        3 => "/slow?delay=60ms",
                        7 => "/broken?status=500",
                        _ => "/hello",
                    },
                );
                asked += 1;
                thread::sleep((PACE * asked).saturating_sub(began.elapsed()));
            }
            u64::from(asked)
        })
    });
    clients.collect::<Vec<_>>().into_iter().map(|client| client.join().unwrap()).sum()
}

/// Rate, error share and 95th percentile of a service, as the panels ask for them.
fn red(prometheus: &Prometheus, time: f64) -> (f64, f64, f64) {
    let count =
        |matcher: &str| format!("sum(rate(http_server_request_duration_seconds_count{{{matcher}}}[6s]))");
    let p95 = "histogram_quantile(0.95, sum by(le)(rate(http_server_request_duration_seconds_bucket[6s])))";
    let rate = prometheus.value(&count(""), Some(time));
    let failed = prometheus.value(&count("http_response_status_code=~\"5..\""), Some(time));
    (rate, failed / rate, prometheus.value(p95, Some(time)))
}

#[test]
fn prometheus_agrees_with_the_report_live_and_from_the_file() {
    let Some(_turn) = turn(Machine::Alone, &["go", "curl", "prometheus", "promtool"]) else { return };
    let server = Server::start(Kind::Go);
    let metrics = free_port();
    let capture =
        Capture::start(&["--port", &server.port.to_string(), "--prometheus-port", &metrics.to_string()]);
    let prometheus = Prometheus::of(&[metrics]);
    let began = now();
    let asked = steady_load(server.port, 10);
    wait_for_total(metrics, "http_server_request_duration_seconds_count", asked);
    // Two scrapes more.
    thread::sleep(Duration::from_millis(2500));
    let ended = now();
    let totals = |prometheus: &Prometheus, time: f64| {
        let total = |matcher: &str| format!("sum(http_server_request_duration_seconds_count{{{matcher}}})");
        let failed = total("http_response_status_code=~\"5..\"");
        (prometheus.value(&total(""), Some(time)) as u64, prometheus.value(&failed, Some(time)) as u64)
    };
    let (live, live_totals) = (red(&prometheus, began + 9.0), totals(&prometheus, ended));
    let folder = capture.stop_and_keep();
    let file = folder.path().join("run.parquet");

    let report: Value = serde_json::from_str(&analyze(&file, &["--format", "json"])).unwrap();
    let total = &report["inbound"]["total"];
    let number = |name: &str| total[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
    let (requests, errors) = (number("requests") as u64, number("errors") as u64);
    assert_eq!(requests, asked);
    let agrees = |(rate, share, p95): (f64, f64, f64)| {
        assert!((rate / number("rate") - 1.0).abs() < 0.2, "{rate} instead of {}", number("rate"));
        assert!((share - number("error_ratio")).abs() < 0.03, "{share} instead of {}", number("error_ratio"));
        // The bucket that the exact value is in.
        let exact = number("p95_ms");
        assert!((50.0..75.0).contains(&exact) && (0.05..=0.075).contains(&p95), "{p95} instead of {exact}");
    };
    agrees(live);
    assert_eq!(live_totals, (requests, errors));

    let backfilled = self::folder();
    let openmetrics = backfilled.path().join("run.om");
    fs::write(&openmetrics, analyze(&file, &["--prometheus", "--step", "1s"])).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&openmetrics);
    let made = promtool.arg(backfilled.path().join("data")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let from_file = Prometheus::with_blocks(backfilled);
    agrees(red(&from_file, began + 9.0));
    assert_eq!(totals(&from_file, ended), (requests, errors));
}

#[test]
fn every_query_of_the_dashboards_has_an_answer() {
    let kinds = [Kind::Go, Kind::NginxProxy { backend: 0 }, Kind::Grpc];
    let programs = kinds.iter().flat_map(|kind| kind.programs().iter().copied());
    let programs: Vec<_> = programs.chain(["curl", "prometheus"]).collect();
    let Some(_turn) = turn(Machine::Alone, &programs) else { return };
    let backend = Server::start(Kind::Go);
    let proxy = Server::start(Kind::NginxProxy { backend: backend.port });
    let grpc = Server::start(Kind::Grpc);
    let ports = format!("{},{}", proxy.port, grpc.port);
    let client = program("grpc-client");
    let captures: Vec<_> = ["otel", "beyla-2023"]
        .into_iter()
        .map(|names| {
            let metrics = free_port();
            let arguments = [
                ["--port", &ports, "--exe", client.to_str().unwrap(), "--service-name", "shop"],
                ["--metric-names", names, "--prometheus-port", &metrics.to_string(), "--quiet", "--no-tls"],
            ];
            (Background::start(&arguments.concat(), metrics), metrics)
        })
        .collect();
    let prometheus = Prometheus::of(&captures.iter().map(|(_, metrics)| *metrics).collect::<Vec<_>>());
    for _ in 0..2 {
        let mut asks = Client::new(proxy.port);
        for target in ["/hello", "/users/17?status=404", "/broken?status=500"] {
            (0..5).for_each(|_| asks.ask("GET", target));
        }
        let port = grpc.port.to_string();
        report("grpc-client", &["-count", "5", &port, "unary", "server-stream"]);
        report("grpc-client", &["-count", "5", "-code", "13", &port, "fail"]);
        // Scrapes in between.
        thread::sleep(Duration::from_millis(2500));
    }
    let variables = Variables { service: "shop", interval: "1m" };
    let mut asked = BTreeMap::<_, u32>::new();
    for query in queries::public().into_iter().chain(queries::own()) {
        let text = query.with(variables);
        assert!(!prometheus.ask(&text, None).is_empty(), "{}: {text}", query.panel);
        *asked.entry(matches!(query.names, Names::Beyla2023)).or_default() += 1;
    }
    eprintln!("{asked:?} queries have answers");
    assert!(asked[&true] >= 22 && asked[&false] >= 44, "{asked:?}");
}

/// A capture without a file, which ends with its test.
struct Background(Child);

impl Background {
    fn start(arguments: &[&str], metrics: u16) -> Self {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "5", "60", PROGRAM]).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let capture = Self(child);
        wait_for("the capture", || scrape(metrics, &[]).contains("beyla_build_info").then_some(()));
        capture
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

#[test]
fn a_storm_of_scrapes_changes_nothing() {
    let Some(_turn) = turn(Machine::Alone, &["nginx", "wrk", "curl"]) else { return };
    let server = Server::start(Kind::Nginx);
    let metrics = free_port();
    let capture =
        Capture::start(&["--port", &server.port.to_string(), "--prometheus-port", &metrics.to_string()]);
    let until = Instant::now() + Duration::from_secs(4);
    let scrapers: Vec<_> = (0..100)
        .map(|number| {
            thread::spawn(move || {
                let mut scraped = 0;
                let mut client = Client::new(metrics);
                while Instant::now() < until {
                    // Some say what they want, some hang up each time.
                    if number % 2 == 0 {
                        client.hang_up();
                    }
                    client.ask("GET", "/metrics");
                    scraped += 1;
                }
                assert!(client.take_sent().iter().all(|sent| sent.status == 200));
                scraped
            })
        })
        .collect();
    let wrk = Command::new("wrk").args(["-t1", "-c8", "-d3", &server.url("/index.html")]).output().unwrap();
    assert!(wrk.status.success());
    let count: u64 = scrapers.into_iter().map(|scraper| scraper.join().unwrap()).sum();
    eprintln!("{count} scrapes");
    let shown = scrape(metrics, &["-H", "Accept: application/openmetrics-text; version=1.0.0"]);
    assert!(shown.ends_with("# EOF\n") && count > 100, "{count}");
    let recording: Recording = capture.stop();
    recording.assert_complete();
    assert!(recording.requests.len() > 1000);
}
