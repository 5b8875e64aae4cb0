use beyla_schema::request::Kind;
use ratatui::{Terminal, backend::TestBackend, style::Color};

use super::*;
use crate::live::top::Name;

fn row(method: &str, route: &str, kind: Kind, rate: f64) -> Row {
    Row {
        name: Some(Name { service: "shop".into(), kind, route: route.into(), method: method.into() }),
        requests: (rate * 10.0) as u64,
        rate,
        errors: 0,
        p50_ns: Some(139_123),
        p99_ns: Some(427_000),
        max_ns: Some(1_790_000),
        last_status: Some(200),
    }
}

fn screen() -> Screen {
    let rows = vec![
        row("GET", "/products/*", Kind::Server, 1015.4),
        Row { errors: 5, p99_ns: Some(81_900_000), ..row("POST", "/checkout", Kind::Server, 42.0) },
        Row {
            p50_ns: None,
            p99_ns: None,
            max_ns: None,
            last_status: None,
            errors: 5,
            ..row("", "", Kind::Client, 0.5)
        },
    ];
    Screen {
        snapshot: Snapshot { seconds: 10, requests: 12_345, errors: 148, history: (0..60).collect(), rows },
        facts: Facts {
            elapsed: Duration::from_secs(3_725),
            events: 24_690,
            file_bytes: 5 << 20,
            targets: 2,
            ..Facts::default()
        },
    }
}

fn draw(view: &mut View, screen: &Screen, width: u16, height: u16) -> (Vec<String>, Vec<Color>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.draw(frame, screen)).unwrap();
    let cells = &terminal.backend().buffer().content;
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    let lines = cells.chunks(width.into()).map(line).collect();
    (lines, cells.iter().map(|cell| cell.fg).collect())
}

fn lines(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    draw(&mut View::new(true), screen, width, height).0
}

#[test]
fn a_narrow_terminal_has_what_matters_most() {
    assert_eq!(
        lines(&screen(), 60, 12),
        [
            "01:02:05   lost 0   24,690 events   2 processes",
            "1,058 req/s   errors 0.09%   in 10 s",
            "last 60 s, up to 59 req/s",
            "                                          ▁▁▁▂▂▃▃▃▄▄▅▅▅▆▆▇▇█",
            "                       ▁▁▂▂▂▃▃▄▄▅▅▅▆▆▇▇▇████████████████████",
            "   ▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇████████████████████████████████████████",
            "route                          req/s  errors     p50     p99",
            "GET /products/*                1,015       0  139 µs  427 µs",
            "POST /checkout                  42.0   1.19%  139 µs 81.9 ms",
            "→ - -                           0.50 100.00%       -       -",
            "",
            "q quit   s by rate   p pause   r reset   ↑↓ scroll",
        ]
    );
}

#[test]
fn a_terminal_of_100_columns_has_all_columns() {
    assert_eq!(
        lines(&screen(), 100, 7),
        [
            "01:02:05   lost 0   24,690 events   2 processes   5.0 MiB written",
            "1,058 req/s   errors 0.09%   in 10 s   12,345 requests in all   148 failed",
            "service          route                                 req/s  errors     p50     p99     max  status",
            "shop             GET /products/*                       1,015       0  139 µs  427 µs 1.79 ms     200",
            "shop             POST /checkout                         42.0   1.19%  139 µs 81.9 ms 1.79 ms     200",
            "shop             → - -                                  0.50 100.00%       -       -       -       -",
            "q quit   s by rate   p pause   r reset   ↑↓ scroll",
        ]
    );
}

#[test]
fn a_wide_terminal_gives_the_room_to_names() {
    assert_eq!(
        lines(&screen(), 160, 7),
        [
            "01:02:05   lost 0   24,690 events   2 processes   5.0 MiB written",
            "1,058 req/s   errors 0.09%   in 10 s   12,345 requests in all   148 failed",
            "service                    route                                                                                   req/s  errors     p50     p99     max  status",
            "shop                       GET /products/*                                                                         1,015       0  139 µs  427 µs 1.79 ms     200",
            "shop                       POST /checkout                                                                           42.0   1.19%  139 µs 81.9 ms 1.79 ms     200",
            "shop                       → - -                                                                                    0.50 100.00%       -       -       -       -",
            "q quit   s by rate   p pause   r reset   ↑↓ scroll",
        ]
    );
}

#[test]
fn tiny_terminals_are_no_reason_to_panic() {
    for (width, height) in (1..30).flat_map(|width| (0..14).map(move |height| (width, height))) {
        lines(&screen(), width, height);
    }
}

#[test]
fn nothing_yet_is_drawn_too() {
    let lines = lines(&Screen::default(), 60, 6);
    assert_eq!(lines[1], "0.00 req/s   errors 0   in 0 s   0 requests in all");
    assert_eq!(lines[3..5], ["", ""]);
}

#[test]
fn texts_from_the_network_do_not_reach_the_terminal_as_they_are() {
    let mut screen = screen();
    screen.snapshot.rows = vec![row("G\x1b[2J", "/\u{202e}a\nb", Kind::Server, 1.0)];
    let lines = lines(&screen, 160, 5);
    assert!(lines[3].contains(r"G\u{1b}[2J /\u{202e}a\u{a}b"), "{lines:?}");
}

#[test]
fn what_is_missing_stands_out() {
    let mut screen = screen();
    screen.facts.lost = 7;
    screen.facts.dropped = 1_234;
    let (lines, colours) = draw(&mut View::new(true), &screen, 100, 5);
    assert!(
        lines[0].starts_with("01:02:05   1,234 not shown, only recorded   lost 7   24,690 events"),
        "{lines:?}"
    );
    assert_eq!(colours[11], Color::Red);
    let (_, colours) = draw(&mut View::new(false), &screen, 100, 20);
    assert!(colours.iter().all(|&colour| colour == Color::Reset));
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
    KeyEvent::new(code, modifiers)
}

fn press(view: &mut View, code: KeyCode) -> Action {
    view.press(key(code, KeyModifiers::NONE))
}

#[test]
fn keys_do_what_the_last_line_says() {
    let mut view = View::new(true);
    assert_eq!(press(&mut view, KeyCode::Char('q')), Action::Quit);
    assert_eq!(view.press(key(KeyCode::Char('c'), KeyModifiers::CONTROL)), Action::Quit);
    assert_eq!(view.press(key(KeyCode::Char('q'), KeyModifiers::CONTROL)), Action::Draw);
    assert_eq!(press(&mut view, KeyCode::Char('c')), Action::Draw);
    let mut up = key(KeyCode::Char('q'), KeyModifiers::NONE);
    up.kind = KeyEventKind::Release;
    assert_eq!(view.press(up), Action::Draw);
    for sort in [Sort::Errors, Sort::P99, Sort::Rate] {
        assert_eq!(press(&mut view, KeyCode::Char('s')), Action::Draw);
        assert_eq!(view.sort, sort);
    }
    press(&mut view, KeyCode::Char('p'));
    assert!(view.paused);
    assert_eq!(press(&mut view, KeyCode::Char('r')), Action::Reset);
    assert!(!view.paused, "what was asked for is shown");
}

#[test]
fn rows_are_ordered_by_what_was_chosen() {
    let mut view = View::new(true);
    let mut order = || {
        let lines = draw(&mut view, &screen(), 60, 7).0;
        press(&mut view, KeyCode::Char('s'));
        let first = |line: &String| line.split_whitespace().nth(1).unwrap_or("").to_owned();
        lines[3..6].iter().map(first).collect::<Vec<_>>()
    };
    assert_eq!(order(), ["/products/*", "/checkout", "-"]);
    assert_eq!(order(), ["-", "/checkout", "/products/*"]);
    assert_eq!(order(), ["/checkout", "/products/*", "-"]);
}

#[test]
fn scrolling_ends_with_the_table() {
    let mut screen = screen();
    screen.snapshot.rows =
        (0..20).map(|n| row("GET", &format!("/{n}"), Kind::Server, f64::from(30 - n))).collect();
    let mut view = View::new(true);
    for _ in 0..100 {
        press(&mut view, KeyCode::Down);
    }
    let (lines, _) = draw(&mut view, &screen, 60, 9);
    assert!(lines[3].starts_with("GET /15") && lines[7].starts_with("GET /19"), "{lines:?}");
    press(&mut view, KeyCode::Up);
    let (lines, _) = draw(&mut view, &screen, 60, 9);
    assert!(lines[3].starts_with("GET /14"), "{lines:?}");
}
