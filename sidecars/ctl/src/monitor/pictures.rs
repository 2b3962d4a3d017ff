//! Golden pictures: what the view shows of a known snapshot, character by character, in a small and a large terminal.
//!
//! After a wanted change of the view: `FEP_BLESS=1 cargo test -p fepctl pictures`, and look at the difference.

use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::app::App;
use super::snapshot::*;
use super::{plain, view};
use crate::clcw::ClcwRow;
use crate::failure::Failure;

/// A pass as an operator may meet it: one link as it should be, one with errors, one searching, one switched off.
fn a_pass() -> Snapshot {
    let link = |name: &str, mission: &str, state: &str, lock: &str, health: Health| LinkRow {
        name: name.into(),
        mission: mission.into(),
        transport: "tcp 127.0.0.1:4001".into(),
        enabled: health != Health::Off,
        state: state.into(),
        state_health: if health == Health::Off { Health::Off } else { Health::Good },
        lock: lock.into(),
        lock_health: health,
        ..LinkRow::default()
    };
    let npp = LinkRow {
        bits_per_s: 15_000_000.0,
        frames_per_s: 1831.0,
        received: 1_234_567,
        good: 1_234_000,
        corrected: 567,
        idle: 98_765,
        symbols_corrected: 2_345,
        published: 1_234_567,
        packets: 345_678,
        details: vec![("mission".into(), "npp/hrd".into()), ("marker bit errors".into(), "12".into())],
        ..link("npp", "npp", "connected", "lock", Health::Good)
    };
    let aqua = LinkRow {
        bits_per_s: 7_400_000.0,
        frames_per_s: 903.0,
        received: 91_000,
        good: 60_000,
        corrected: 30_000,
        uncorrectable: 1_000,
        bad: 1_000,
        idle: 800,
        symbols_corrected: 420_000,
        vc_gaps: 41,
        vc_lost: 1_002,
        published: 90_990,
        packets: 12_345,
        ..link("aqua", "aqua", "connected", "flywheel", Health::Warning)
    };
    let links = vec![
        npp,
        aqua,
        link("cso-1-payload", "cso", "connecting", "search", Health::Bad),
        link("cso-2", "cso", "disabled", "", Health::Off),
    ];
    let mut links = links;
    for name in ["north", "south"] {
        links.push(LinkRow {
            frames_per_s: 245.0,
            bits_per_s: 2_000_000.0,
            received: 7_350,
            good: 7_350,
            published: 7_350,
            merged_by: Some("orion".into()),
            ..link(name, "cso", "connected", "lock", Health::Good)
        });
    }
    let orion = LinkRow {
        transport: "merges north, south".into(),
        lock: "1/2 heard".into(),
        lock_health: Health::Warning,
        frames_per_s: 245.0,
        received: 7_400,
        good: 7_400,
        published: 7_400,
        packets: 51_000,
        is_merge: true,
        details: vec![
            ("antenna north".into(), "connected and in lock".into()),
            ("  received".into(), "7 350".into()),
        ],
        ..link("orion", "cso", "running", "", Health::Good)
    };
    let vc = |gvcid: &str, name: &str, frames: u64, lost: u64| VcRow {
        link: "npp".into(),
        gvcid: gvcid.into(),
        name: name.into(),
        frames,
        frames_per_s: 100.0,
        gaps: lost.min(2),
        lost,
        resets: 0,
        duplicates: if lost > 0 { 4 } else { 0 },
        packets: Some(frames / 4),
    };
    let reader = |ring: &str, name: &str, health: Health, credit_pct: f64, lost_records: u64| ConsumerRow {
        ring: ring.into(),
        name: name.into(),
        state: if lost_records > 0 { "evicted" } else { "gated" }.into(),
        health,
        credit_pct,
        lag_records: 120,
        lag_bytes: 133_800,
        consumed: 1_234_447,
        lost_records,
        evictions: u64::from(lost_records > 0),
        evicted_ago_s: (lost_records > 0).then_some(95.0),
    };
    let thread = |name: &str, core: u32, busy_pct: f64, policy: &str| ThreadRow {
        name: name.into(),
        tid: 100 + core,
        core,
        busy_pct,
        policy: policy.into(),
    };
    Snapshot {
        utc: "2026-03-01T12:03:04.567".into(),
        daemon: DaemonFacts { version: "0.1.0".into(), pid: 4711, uptime_s: 753, memory_bytes: 412_000_000 },
        links,
        spacecraft: vec![orion],
        vcs: vec![vc("157/16", "science", 1_135_802, 0), vc("157/63", "idle", 98_765, 3)],
        clcws: vec![ClcwRow {
            source: "npp".into(),
            gvcid: "157/3".into(),
            report_value: 41,
            farm_b_counter: 2,
            status: 0,
            remarks: vec!["lockout", "retransmit"],
            blocked: true,
            age_ms: 1_250,
        }],
        ledgers: Ledgers {
            link: vec![
                Entry::flow("accepted", 1_324_567, "frames"),
                Entry::loss("lost", 1_002, "frames"),
                Entry::loss("gaps", 41, "times"),
            ],
            reception: vec![
                Entry::flow("received", 1_325_567, "frames"),
                Entry::flow("published", 1_325_557, "frames"),
                Entry::loss("outside of blocks", 4_942, "bits"),
                Entry::loss("dropped by the kernel", 0, "datagrams"),
                Entry::loss("longer than the buffer", 0, "datagrams"),
                Entry::loss("of dropped connections", 0, "octets"),
            ],
            merge: vec![
                Entry::flow("of all antennas", 14_700, "frames"),
                Entry::flow("served", 7_400, "frames"),
            ],
            bus: vec![
                Entry::flow("published", 1_325_557, "records"),
                Entry::loss("lost by archive", 7, "records"),
                Entry::loss("lost by console", 0, "records"),
            ],
            disk: vec![],
            unbalanced: vec![],
        },
        consumers: vec![
            reader("frames", "archive", Health::Good, 97.0, 0),
            reader("packets", "console", Health::Bad, 12.0, 7),
        ],
        threads: vec![
            thread("link-npp", 2, 41.3, "fifo 50"),
            thread("link-aqua", 3, 87.0, "fifo 50"),
            thread("control", 0, 0.4, "other"),
        ],
        latencies: vec![LatencyRow {
            name: "npp published".into(),
            chunks: 1_234_567,
            p50_ns: 4_200,
            p99_ns: 11_900,
            p999_ns: 38_000,
            max_ns: 1_230_000,
        }],
        events: vec![
            EventRow {
                at_ns: 181_002,
                time: "12:03:01.002".into(),
                health: Health::Warning,
                link: "aqua".into(),
                text: "synchroniser lost lock after 3 markers".into(),
                times: 3,
            },
            EventRow {
                at_ns: 0,
                time: "12:00:00.000".into(),
                health: Health::Good,
                link: "npp".into(),
                text: "connected to 127.0.0.1:4001".into(),
                times: 1,
            },
        ],
    }
}

fn drawn(app: &App, width: u16, height: u16) -> Buffer {
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("the test backend does not fail");
    terminal.draw(|out| view::draw(out, app)).expect("the test backend does not fail");
    terminal.backend().buffer().clone()
}

fn picture(app: &App, width: u16, height: u16) -> String {
    text_of(&drawn(app, width, height))
}

fn text_of(buffer: &Buffer) -> String {
    let rows = (0..buffer.area.height).map(|y| {
        let row: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        format!("{}\n", row.trim_end())
    });
    rows.collect()
}

fn must_equal_golden(name: &str, seen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/ctl").join(name);
    if std::env::var_os("FEP_BLESS").is_some() {
        std::fs::write(&path, seen).expect("the golden folder is writable");
    }
    let want = std::fs::read_to_string(&path).expect("a golden picture of this name");
    assert_eq!(seen, want, "{name} differs; if wanted, see the top of this file");
}

fn app_with(snapshot: Snapshot) -> App {
    let mut app = App::new();
    for bits_per_s in [3e6, 9e6, 14e6] {
        let mut earlier = snapshot.clone();
        earlier.links[0].bits_per_s = bits_per_s;
        app.update(earlier);
    }
    app.update(snapshot);
    app
}

fn press(app: &mut App, code: KeyCode) {
    app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
}

// REQ: FEP-CTL-010
#[test]
fn a_small_terminal_shows_links_and_the_chosen_pane() {
    let mut app = app_with(a_pass());
    must_equal_golden("monitor_80x24_channels.txt", &picture(&app, 80, 24));
    press(&mut app, KeyCode::Tab);
    must_equal_golden("monitor_80x24_losses.txt", &picture(&app, 80, 24));
}

// REQ: FEP-CTL-320
#[test]
fn a_merged_spacecraft_has_a_row_and_its_antennas_are_shown_when_it_is_chosen() {
    let mut app = app_with(a_pass());
    press(&mut app, KeyCode::End);
    press(&mut app, KeyCode::Char('7'));
    must_equal_golden("monitor_80x24_spacecraft.txt", &picture(&app, 80, 24));
    let seen = picture(&app, 200, 50);
    let row = |name: &str| {
        seen.lines().find(|line| line.starts_with(&format!("│{name} "))).unwrap_or_else(|| panic!("{seen}"))
    };
    assert!(row("orion").contains("1/2 heard") && row("orion").contains("51.0k"), "{seen}");
    assert!(row("north").trim_end_matches('│').ends_with("– orion"), "{seen}");
}

#[test]
fn a_failure_that_is_longer_than_the_pane_is_shown_whole() {
    let mut snapshot = a_pass();
    let failure = "cannot listen at address 203.0.113.9:22003: Cannot assign requested address (os error 99)";
    snapshot.links[0].details = vec![("failure".into(), failure.into())];
    snapshot.events[0].text = format!("link failed: {failure}");
    let mut app = app_with(snapshot);
    for key in ['6', '7'] {
        press(&mut app, KeyCode::Char(key));
        let seen = picture(&app, 80, 24);
        for words in ["203.0.113.9:22003", "Cannot", "99)"] {
            assert!(seen.contains(words), "{seen}");
        }
    }
}

// REQ: FEP-CTL-321
#[test]
fn a_link_without_synchroniser_is_neither_locked_nor_unlocked() {
    let mut snapshot = a_pass();
    snapshot.links.retain(|link| link.name != "cso-1-payload");
    snapshot.links[1].lock = "–".into();
    assert!(picture(&app_with(snapshot.clone()), 80, 24).contains(" 3/3 locked "));
    snapshot.links.truncate(2);
    snapshot.links[0].lock = "–".into();
    assert!(picture(&app_with(snapshot), 80, 24).contains(" 2 links on "));
}

// REQ: FEP-CTL-321
#[test]
fn losses_that_do_not_fit_scroll_below_their_captions_and_the_title_says_which_are_shown() {
    let mut app = app_with(a_pass());
    press(&mut app, KeyCode::Char('2'));
    let caption = |seen: &str| seen.contains("LEDGER") && seen.contains("AMOUNT");
    let first = picture(&app, 80, 24);
    assert!(caption(&first) && first.contains("  1-") && first.contains("accepted"), "{first}");
    press(&mut app, KeyCode::PageDown);
    press(&mut app, KeyCode::PageDown);
    let last = picture(&app, 80, 24);
    assert!(caption(&last) && !last.contains("accepted") && last.contains("no recorder"), "{last}");
}

// REQ: FEP-CTL-010
#[test]
fn a_large_terminal_shows_every_pane_at_once() {
    must_equal_golden("monitor_200x50.txt", &picture(&app_with(a_pass()), 200, 50));
}

// REQ: FEP-CTL-010
#[test]
fn a_middling_terminal_leaves_columns_out_rather_than_cutting_them() {
    must_equal_golden("monitor_120x32.txt", &picture(&app_with(a_pass()), 120, 32));
}

// REQ: FEP-CTL-010
#[test]
fn the_plain_snapshot_says_the_same_in_text() {
    let mut text = Vec::new();
    plain::write(&mut text, &a_pass()).expect("a vector takes everything");
    must_equal_golden("monitor_once.txt", &String::from_utf8(text).expect("plain text"));
}

// REQ: FEP-CTL-108
#[test]
fn the_pane_of_reports_shows_value_flags_and_age_of_each() {
    let mut app = app_with(a_pass());
    press(&mut app, KeyCode::Char('8'));
    let seen = picture(&app, 80, 24);
    let row = seen.lines().find(|line| line.contains("157/3 ")).unwrap_or_else(|| panic!("{seen}"));
    for cell in ["npp", " 41 ", " 2 ", "1.2 s", "lockout, retransmit"] {
        assert!(row.contains(cell), "{cell:?} is not in: {row}");
    }
}

#[test]
fn a_question_names_the_link_and_the_effect() {
    let mut app = app_with(a_pass());
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Char('d'));
    let seen = picture(&app, 80, 24);
    assert!(seen.contains("Disable link aqua?"), "{seen}");
    assert!(seen.contains("receives nothing until enabled"), "{seen}");
}

// REQ: FEP-CTL-110
#[test]
fn a_daemon_that_does_not_answer_is_reported_at_the_top_and_its_last_figures_are_old_and_grey() {
    let mut app = app_with(a_pass());
    app.lost_sight(&Failure::no_daemon("no daemon: nobody listens").hint("start one"));
    for (width, height) in [(60, 14), (80, 24), (200, 50)] {
        let buffer = drawn(&app, width, height);
        let seen = text_of(&buffer);
        let (head, rest) = seen.split_once('\n').expect("lines");
        assert!(head.starts_with(" NO DAEMON "), "{seen}");
        assert!(head.contains("last figures 12:03:04 UTC, 00:00:00 old"), "{seen}");
        assert!(!head.contains("bit/s") && !head.contains("locked"), "nothing there looks live: {seen}");
        assert!(seen.trim_end().ends_with("no daemon: nobody listens"), "{seen}");
        assert!(rest.contains("15.0"), "{seen}");
        let colourful = (1..height - 1)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .find(|at| buffer[*at].fg != Color::DarkGray || buffer[*at].bg != Color::Reset);
        assert_eq!(colourful, None, "{seen}");
    }
    app.lost_sight(&Failure::new("an answer that nobody understands"));
    assert!(picture(&app, 80, 24).starts_with(" NO FIGURES "));
    app.update(a_pass());
    assert!(picture(&app, 80, 24).starts_with(" FEP "));
}

// REQ: FEP-CTL-111
#[test]
fn what_went_wrong_before_the_view_began_is_shown_among_the_events_with_the_time() {
    let station = "station npp cannot listen on 127.0.0.1:41001";
    let mut app = App::with_notices(vec![station.into(), "fep-archive does not exist".into()]);
    app.update(a_pass());
    let foot = picture(&app, 100, 24).lines().last().unwrap_or_default().to_owned();
    assert!(foot.contains(station) && foot.contains("1 more"), "{foot}");
    press(&mut app, KeyCode::Char('6'));
    let seen = picture(&app, 100, 24);
    let line =
        |what: &str| seen.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{seen}"));
    assert!(line(station) < line("fep-archive does not exist"), "{seen}");
    assert!(
        seen.lines().any(|row| row.contains("fepctl") && row.contains(':') && row.contains(station)),
        "{seen}"
    );
    assert!(line("fep-archive does not exist") < line("synchroniser lost lock"), "{seen}");
}

// REQ: FEP-CTL-110
#[test]
fn no_size_of_the_terminal_cuts_the_first_digits_of_a_number() {
    let mut snapshot = a_pass();
    snapshot.daemon.uptime_s = 1_000_000;
    for link in &mut snapshot.links {
        link.good = 23_456_000;
        link.corrected = 23_456_000;
        link.bad = 23_456_000;
        link.idle = 23_456_000;
        link.vc_lost = 23_456_000;
    }
    let mut app = app_with(snapshot);
    for width in 60..220 {
        for key in '1'..='8' {
            press(&mut app, KeyCode::Char(key));
            let seen = picture(&app, width, 34);
            // Of `23.5M` nothing but the whole may be seen.
            for (at, _) in seen.match_indices(".5M") {
                assert!(seen[..at].ends_with("23"), "width {width}: {seen}");
            }
            assert!(!seen.contains(" 3.5M") && !seen.contains(" 5M"), "width {width}: {seen}");
            let head = seen.lines().next().unwrap_or_default();
            assert!(head.contains("3/5 locked"), "width {width}: {head}");
            assert!(head.contains("26.4 Mbit/s") && head.ends_with("12:03:04 UTC"), "width {width}: {head}");
            if head.contains("up ") {
                assert!(
                    head.contains(" frames/s") && head.contains("up 11d 13:46:40"),
                    "width {width}: {head}"
                );
            }
        }
    }
}

#[test]
fn books_that_do_not_balance_are_named() {
    let mut snapshot = a_pass();
    snapshot.ledgers.unbalanced = vec!["aqua: received 10, published 7 + dropped 2".into()];
    let mut app = app_with(snapshot);
    press(&mut app, KeyCode::Char('2'));
    let seen = picture(&app, 80, 24);
    assert!(seen.contains("aqua: received 10, published 7 + dropped 2"), "{seen}");
    assert!(!seen.contains("received = published"), "{seen}");
}

#[test]
fn no_terminal_is_too_small_or_too_strange_to_draw_on() {
    let mut app = app_with(a_pass());
    let mut empty = App::new();
    for overlay in [None, Some(KeyCode::Char('?')), Some(KeyCode::Char('r'))] {
        if let Some(key) = overlay {
            press(&mut app, key);
        }
        for (width, height) in
            [(1, 1), (3, 60), (300, 2), (60, 14), (61, 15), (139, 33), (140, 34), (400, 120)]
        {
            picture(&app, width, height);
            picture(&empty, width, height);
        }
        press(&mut app, KeyCode::Esc);
    }
    for _ in 0..20 {
        press(&mut app, KeyCode::PageDown);
        press(&mut app, KeyCode::Tab);
        press(&mut empty, KeyCode::Down);
        picture(&app, 80, 24);
        picture(&empty, 80, 24);
    }
}

#[test]
fn more_links_than_rows_scroll_with_the_cursor() {
    let mut snapshot = a_pass();
    snapshot.spacecraft.clear();
    snapshot.links =
        (0..40).map(|number| LinkRow { name: format!("link-{number:02}"), ..LinkRow::default() }).collect();
    let mut app = App::new();
    app.update(snapshot);
    assert!(picture(&app, 80, 24).contains("link-00"));
    press(&mut app, KeyCode::End);
    let seen = picture(&app, 80, 24);
    assert!(seen.contains("link-39") && !seen.contains("link-00"), "{seen}");
    assert!(seen.contains("of 40"), "{seen}");
}
