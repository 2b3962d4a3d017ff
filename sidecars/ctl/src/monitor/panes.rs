//! The lower panes of the terminal view, one function each.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::app::{App, Pane};
use super::snapshot::{Entry, Health};
use super::view::{colour, frame, loss};
use crate::figures;

/// Draws one pane with its frame.
pub(super) fn draw(out: &mut Frame<'_>, area: Rect, app: &App, pane: Pane) {
    match pane {
        Pane::Channels => channels(out, area, app),
        Pane::Losses => losses(out, area, app),
        Pane::Consumers => consumers(out, area, app),
        Pane::Cores => cores(out, area, app),
        Pane::Latency => latency(out, area, app),
        Pane::Events => events(out, area, app),
        Pane::Link => link(out, area, app),
        Pane::Clcws => clcws(out, area, app),
    }
}

/// One column of a pane's table: title, width, right-aligned.
type Column = (&'static str, Constraint, bool);

/// What a pane says besides its rows.
struct Words<'a> {
    title: &'a str,
    /// Instead of rows, when there are none.
    nothing: &'a str,
}

/// A table that scrolls when its pane has the focus and says when there is nothing to show.
fn table(
    out: &mut Frame<'_>,
    area: Rect,
    app: &App,
    pane: Pane,
    words: &Words<'_>,
    columns: &[Column],
    rows: Vec<Vec<Span<'static>>>,
) {
    let Words { title, nothing } = words;
    let focused = app.pane == pane;
    let shown = usize::from(area.height.saturating_sub(3)).max(1);
    let first = if focused { app.scroll.min(rows.len().saturating_sub(shown)) } else { 0 };
    let title = if rows.len() > shown {
        format!("{title}  {}-{} of {}", first + 1, (first + shown).min(rows.len()), rows.len())
    } else {
        (*title).to_owned()
    };
    if rows.is_empty() {
        let text = Paragraph::new(Line::from(format!(" {nothing}").fg(Color::DarkGray)))
            .block(frame(&title, focused));
        out.render_widget(text, area);
        return;
    }
    let align = |right: bool| if right { Alignment::Right } else { Alignment::Left };
    let header = Row::new(
        columns.iter().map(|(title, _, right)| Cell::from(Line::raw(*title).alignment(align(*right)))),
    )
    .style(Style::new().fg(Color::DarkGray));
    // The widths that the table will have. A number that does not fit is hidden: without its first digits it would be another.
    // A text that does not fit ends with an ellipsis.
    let widths = Layout::horizontal(columns.iter().map(|column| column.1))
        .spacing(1)
        .split(frame(&title, focused).inner(area));
    let body = rows.into_iter().skip(first).take(shown).map(|cells| {
        Row::new(cells.into_iter().zip(columns).zip(widths.iter()).map(
            |((mut cell, (_, _, right)), place)| {
                if cell.width() > usize::from(place.width) {
                    cell.content = match right {
                        true => "…".into(),
                        false => figures::fitted(&cell.content, usize::from(place.width)).into(),
                    };
                }
                Cell::from(Line::from(cell).alignment(align(*right)))
            },
        ))
    });
    out.render_widget(
        Table::new(body, columns.iter().map(|column| column.1))
            .header(header)
            .column_spacing(1)
            .block(frame(&title, focused)),
        area,
    );
}

fn channels(out: &mut Frame<'_>, area: Rect, app: &App) {
    let name = app.selected_link().map(|link| link.name.as_str()).unwrap_or_default();
    let columns: [Column; 7] = [
        ("SCID/VCID", Constraint::Length(10), false),
        ("CHANNEL", Constraint::Fill(1), false),
        ("FR/S", Constraint::Length(5), true),
        ("FRAMES", Constraint::Length(6), true),
        ("GAPS", Constraint::Length(5), true),
        ("LOST", Constraint::Length(6), true),
        ("PACKETS", Constraint::Length(7), true),
    ];
    let rows = app
        .snapshot
        .vcs
        .iter()
        .filter(|vc| vc.link == name)
        .map(|vc| {
            vec![
                vc.gvcid.clone().bold(),
                vc.name.clone().fg(Color::Gray),
                figures::per_second(vc.frames_per_s).into(),
                figures::count(vc.frames).into(),
                loss(figures::count(vc.gaps), vc.gaps),
                loss(figures::count(vc.lost), vc.lost),
                figures::count(vc.packets).into(),
            ]
        })
        .collect();
    let title = if name.is_empty() { "Channels".to_owned() } else { format!("Channels of {name}") };
    table(
        out,
        area,
        app,
        Pane::Channels,
        &Words { title: &title, nothing: "No frame of a virtual channel yet." },
        &columns,
        rows,
    );
}

fn losses(out: &mut Frame<'_>, area: Rect, app: &App) {
    let ledgers = &app.snapshot.ledgers;
    let focused = app.pane == Pane::Losses;
    let block = frame("Losses: four ledgers, never added together", focused);
    let inside = block.inner(area);
    out.render_widget(block, area);
    let [books, verdict] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(inside);
    let columns = Layout::horizontal([Constraint::Fill(1); 4]).spacing(2).split(books);
    let four = [
        ("LINK", "space to station", &ledgers.link, ""),
        ("RECEPTION", "station to ring", &ledgers.reception, ""),
        ("BUS", "ring to readers", &ledgers.bus, "no reader yet"),
        ("DISK", "ring to archive", &ledgers.disk, "no recorder"),
    ];
    for ((title, between, entries, nothing), place) in four.into_iter().zip(columns.iter()) {
        let mut lines = vec![Line::from(title.bold()), Line::from(between.fg(Color::DarkGray))];
        lines.extend(entries.iter().map(|entry| entry_line(entry, usize::from(place.width))));
        if entries.is_empty() {
            lines.push(Line::from(nothing.fg(Color::DarkGray)));
        }
        let hidden = lines.len().saturating_sub(usize::from(place.height));
        let scroll = if focused { app.scroll.min(hidden) } else { 0 };
        out.render_widget(Paragraph::new(lines).scroll((scroll as u16, 0)), *place);
    }
    let text = match ledgers.unbalanced.first() {
        None => "● received = published + dropped".fg(Color::Green),
        Some(sentence) => format!("○ {sentence}").fg(Color::Red).bold(),
    };
    out.render_widget(Paragraph::new(Line::from(text)), verdict);
}

/// Name on the left, amount on the right of a column.
fn entry_line(entry: &Entry, width: usize) -> Line<'static> {
    let amount = figures::count(entry.amount);
    let room = width.saturating_sub(amount.chars().count() + 1);
    let name = figures::fitted(&entry.name, room);
    let gap = width.saturating_sub(name.chars().count() + amount.chars().count());
    let amount = if entry.loss { loss(amount, entry.amount) } else { amount.into() };
    Line::from(vec![name.fg(Color::Gray), " ".repeat(gap).into(), amount])
}

fn consumers(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 7] = [
        ("READER", Constraint::Fill(3), false),
        ("RING", Constraint::Fill(3), false),
        ("STATE", Constraint::Length(8), false),
        ("CREDIT", Constraint::Length(10), false),
        ("LAG", Constraint::Length(6), true),
        ("READ", Constraint::Length(6), true),
        ("LOST", Constraint::Length(6), true),
    ];
    let rows = app
        .snapshot
        .consumers
        .iter()
        .map(|reader| {
            vec![
                reader.name.clone().bold(),
                reader.ring.clone().fg(Color::Gray),
                figures::fitted(&reader.state, 8).fg(colour(reader.health)),
                credit_bar(reader.credit_pct),
                figures::count(reader.lag_records).into(),
                figures::count(reader.consumed).into(),
                loss(figures::count(reader.lost_records), reader.lost_records),
            ]
        })
        .collect();
    table(
        out,
        area,
        app,
        Pane::Consumers,
        &Words { title: "Consumers", nothing: "Nobody reads the rings." },
        &columns,
        rows,
    );
}

/// Room left, as a bar of six and a number.
fn credit_bar(pct: f64) -> Span<'static> {
    let pct = pct.clamp(0.0, 100.0);
    let full = (pct / 100.0 * 6.0).round() as usize;
    let health = match pct {
        p if p < 25.0 => Health::Bad,
        p if p < 50.0 => Health::Warning,
        _ => Health::Good,
    };
    format!("{}{}{pct:>4.0}", "━".repeat(full), "╌".repeat(6 - full)).fg(colour(health))
}

fn cores(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 5] = [
        ("THREAD", Constraint::Fill(1), false),
        ("CORE", Constraint::Length(4), true),
        ("POLICY", Constraint::Length(8), false),
        ("BUSY", Constraint::Length(5), true),
        ("", Constraint::Length(10), false),
    ];
    let rows = app
        .snapshot
        .threads
        .iter()
        .map(|thread| {
            let full = (thread.busy_pct / 10.0).round().clamp(0.0, 10.0) as usize;
            vec![
                thread.name.clone().bold(),
                thread.core.to_string().into(),
                thread.policy.clone().fg(Color::Gray),
                format!("{:.0}%", thread.busy_pct).into(),
                "▮".repeat(full).fg(Color::Cyan),
            ]
        })
        .collect();
    table(
        out,
        area,
        app,
        Pane::Cores,
        &Words { title: "Core use", nothing: "Not known: the daemon runs elsewhere or under another user." },
        &columns,
        rows,
    );
}

fn latency(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 6] = [
        ("FROM THE SOCKET TO", Constraint::Fill(1), false),
        ("FRAMES", Constraint::Length(6), true),
        ("P50 ≤", Constraint::Length(7), true),
        ("P99 ≤", Constraint::Length(7), true),
        ("P99.9 ≤", Constraint::Length(7), true),
        ("MAX", Constraint::Length(7), true),
    ];
    let rows = app
        .snapshot
        .latencies
        .iter()
        .map(|row| {
            vec![
                row.name.clone().bold(),
                figures::count(row.samples).into(),
                figures::time_ns(row.p50_ns).into(),
                figures::time_ns(row.p99_ns).into(),
                figures::time_ns(row.p999_ns).into(),
                figures::time_ns(row.max_ns).fg(Color::Gray),
            ]
        })
        .collect();
    table(
        out,
        area,
        app,
        Pane::Latency,
        &Words { title: "Latency", nothing: "No frame measured yet." },
        &columns,
        rows,
    );
}

fn events(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 3] = [
        ("UTC", Constraint::Length(12), false),
        ("LINK", Constraint::Length(12), false),
        ("EVENT", Constraint::Fill(1), false),
    ];
    let notices = app
        .notices
        .iter()
        .map(|notice| vec!["".into(), "fepctl".fg(Color::Gray), notice.clone().fg(colour(Health::Warning))]);
    let events = app.snapshot.events.iter().map(|event| {
        vec![
            event.time.clone().fg(Color::DarkGray),
            figures::fitted(&event.link, 12).fg(Color::Gray),
            match event.health {
                Health::Good | Health::Off => event.text().into(),
                worse => event.text().fg(colour(worse)),
            },
        ]
    });
    let rows = notices.chain(events).collect();
    table(
        out,
        area,
        app,
        Pane::Events,
        &Words { title: "Events, newest first", nothing: "Nothing happened yet." },
        &columns,
        rows,
    );
}

fn clcws(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 7] = [
        ("BY", Constraint::Length(14), false),
        ("SCID/VCID", Constraint::Length(9), false),
        ("V(R)", Constraint::Length(4), true),
        ("FARM-B", Constraint::Length(6), true),
        ("STATUS", Constraint::Length(6), true),
        ("AGE", Constraint::Length(8), true),
        ("FLAGS", Constraint::Fill(1), false),
    ];
    let rows = app
        .snapshot
        .clcws
        .iter()
        .map(|row| {
            let health = match row {
                row if row.blocked => Health::Bad,
                row if !row.remarks.is_empty() => Health::Warning,
                _ => Health::Good,
            };
            vec![
                figures::fitted(&row.source, 14).fg(Color::Gray),
                row.gvcid.clone().bold(),
                row.report_value.to_string().into(),
                row.farm_b_counter.to_string().into(),
                row.status.to_string().into(),
                row.age().fg(Color::Gray),
                row.flags().fg(colour(health)),
            ]
        })
        .collect();
    table(
        out,
        area,
        app,
        Pane::Clcws,
        &Words { title: "Telecommand reports (CLCW)", nothing: "No frame with a report yet." },
        &columns,
        rows,
    );
}

fn link(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 2] = [("", Constraint::Length(26), false), ("", Constraint::Fill(1), false)];
    let (title, rows) = match app.selected_link() {
        None => ("Link".to_owned(), Vec::new()),
        Some(link) => (
            format!("Link {}", link.name),
            link.details
                .iter()
                // `fepctl link show --all` has the counters of what has not happened.
                .filter(|(_, value)| value != "0")
                .map(|(name, value)| vec![name.clone().fg(Color::Gray), value.clone().into()])
                .collect(),
        ),
    };
    table(
        out,
        area,
        app,
        Pane::Link,
        &Words { title: &title, nothing: "No link is chosen." },
        &columns,
        rows,
    );
}
