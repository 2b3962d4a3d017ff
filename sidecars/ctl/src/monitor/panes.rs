//! The lower panes of the terminal view, one function each.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::app::{App, Pane};
use super::snapshot::{Entry, Health, Ledgers, LinkRow, VcRow};
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
    let captions = columns.iter().any(|(title, ..)| !title.is_empty());
    let shown = usize::from(area.height.saturating_sub(2 + u16::from(captions))).max(1);
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
    let mut table = Table::new(body, columns.iter().map(|column| column.1))
        .column_spacing(1)
        .block(frame(&title, focused));
    if captions {
        table = table.header(header);
    }
    out.render_widget(table, area);
}

/// Virtual channels of the row that is chosen.
fn chosen_channels(app: &App) -> Vec<&VcRow> {
    let name = app.selected_row().map(|row| row.name.as_str()).unwrap_or_default();
    app.snapshot.vcs.iter().filter(|vc| vc.link == name).collect()
}

fn channels(out: &mut Frame<'_>, area: Rect, app: &App) {
    let chosen = chosen_channels(app);
    type Make = fn(&VcRow) -> Span<'static>;
    let mut columns: Vec<(Column, Make)> = vec![
        (("SCID/VCID", Constraint::Length(10), false), |vc| vc.gvcid.clone().bold()),
        (("CHANNEL", Constraint::Fill(1), false), |vc| vc.name.clone().fg(Color::Gray)),
        (("FR/S", Constraint::Length(5), true), |vc| figures::per_second(vc.frames_per_s).into()),
        (("FRAMES", Constraint::Length(6), true), |vc| figures::count(vc.frames).into()),
        (("GAPS", Constraint::Length(5), true), |vc| loss(figures::count(vc.gaps), vc.gaps)),
        (("LOST", Constraint::Length(6), true), |vc| loss(figures::count(vc.lost), vc.lost)),
        (("PACKETS", Constraint::Length(7), true), |vc| {
            vc.packets.map_or("–".into(), |n| figures::count(n).into())
        }),
    ];
    // What seldom happens has a column when it has happened.
    if chosen.iter().any(|vc| vc.resets > 0) {
        columns.insert(6, (("RESETS", Constraint::Length(6), true), |vc| warning(vc.resets)));
    }
    if chosen.iter().any(|vc| vc.duplicates > 0) {
        columns.insert(6, (("TWICE", Constraint::Length(5), true), |vc| warning(vc.duplicates)));
    }
    // The name of a channel says most: rates give way to it.
    if columns.len() > 7 && area.width < 68 {
        columns.remove(2);
    }
    let rows = chosen.iter().map(|vc| columns.iter().map(|(_, make)| make(vc)).collect()).collect();
    let title = match app.selected_row() {
        None => "Channels".to_owned(),
        Some(LinkRow { name, merged_by: Some(spacecraft), .. }) => {
            format!("Channels of {name}, packets: {spacecraft}")
        }
        Some(row) => format!("Channels of {}", row.name),
    };
    let columns: Vec<Column> = columns.into_iter().map(|(column, _)| column).collect();
    let words = Words { title: &title, nothing: "No frame of a virtual channel yet." };
    table(out, area, app, Pane::Channels, &words, &columns, rows);
}

/// A count of what is no loss and yet to be looked at.
fn warning(amount: u64) -> Span<'static> {
    figures::count(amount).fg(if amount == 0 { Color::DarkGray } else { Color::Yellow })
}

/// Every entry of every ledger, with the name of the ledger.
fn ledger_rows(ledgers: &Ledgers) -> Vec<Vec<Span<'static>>> {
    let row = |ledger: &'static str, entry: &Entry| {
        let amount = figures::count(entry.amount);
        let amount = if entry.loss { loss(amount, entry.amount) } else { amount.into() };
        vec![ledger.bold(), entry.name.clone().fg(Color::Gray), amount, entry.unit.fg(Color::DarkGray)]
    };
    let mut rows = Vec::new();
    for (ledger, entries, nothing) in [
        ("link", &ledgers.link, ""),
        ("reception", &ledgers.reception, ""),
        ("merge", &ledgers.merge, ""),
        ("bus", &ledgers.bus, "no reader yet"),
        ("disk", &ledgers.disk, "no recorder"),
    ] {
        rows.extend(entries.iter().map(|entry| row(ledger, entry)));
        if entries.is_empty() && !nothing.is_empty() {
            rows.push(vec![ledger.bold(), nothing.fg(Color::DarkGray), "–".fg(Color::DarkGray), "".into()]);
        }
    }
    rows
}

fn losses(out: &mut Frame<'_>, area: Rect, app: &App) {
    let ledgers = &app.snapshot.ledgers;
    let [books, verdict] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let columns: [Column; 4] = [
        ("LEDGER", Constraint::Length(9), false),
        ("WHAT", Constraint::Fill(1), false),
        ("AMOUNT", Constraint::Length(6), true),
        ("", Constraint::Length(9), false),
    ];
    let words = Words { title: "Losses, never added together", nothing: "Nothing counted yet." };
    table(out, books, app, Pane::Losses, &words, &columns, ledger_rows(ledgers));
    let text = match ledgers.unbalanced.first() {
        None => " ● received = published + dropped".fg(Color::Green),
        Some(sentence) => format!(" ○ {sentence}").fg(Color::Red).bold(),
    };
    out.render_widget(Paragraph::new(Line::from(text)), verdict);
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
        ("CHUNKS", Constraint::Length(6), true),
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
                figures::count(row.chunks).into(),
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
        &Words { title: "Latency", nothing: "Nothing measured yet." },
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
    let room = usize::from(area.width.saturating_sub(2 + 2 * 13)).max(1);
    let rows = app
        .events()
        .into_iter()
        .flat_map(|event| {
            // The whole text where the operator looks, one line of it elsewhere.
            let lines =
                if app.pane == Pane::Events { wrapped(&event.text(), room) } else { vec![event.text()] };
            lines.into_iter().enumerate().map(|(line, text)| {
                let (time, link) = if line == 0 { (&*event.time, &*event.link) } else { ("", "") };
                vec![
                    time.to_owned().fg(Color::DarkGray),
                    figures::fitted(link, 12).fg(Color::Gray),
                    match event.health {
                        Health::Good | Health::Off => text.into(),
                        worse => text.fg(colour(worse)),
                    },
                ]
            })
        })
        .collect();
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

/// A text in lines of so many characters at most, broken between words where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        for (at, letter) in word.chars().enumerate() {
            let used = lines.last().map_or(0, |line| line.chars().count());
            let needed = if at == 0 { word.trim_end().chars().count().min(width) } else { 1 };
            if used > 0 && used + needed > width && letter != ' ' {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(letter);
            }
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// What the pane of the link shows: `fepctl link show --all` has the counters of what has not happened, too.
fn shown_details(app: &App) -> impl Iterator<Item = &(String, String)> {
    let row = app.selected_row().into_iter();
    row.flat_map(|row| &row.details).filter(|(_, value)| value != "0")
}

fn link(out: &mut Frame<'_>, area: Rect, app: &App) {
    let columns: [Column; 2] = [("", Constraint::Length(28), false), ("", Constraint::Fill(1), false)];
    let title = app.selected_row().map_or_else(
        || "Link".to_owned(),
        |row| format!("{} {}", if row.is_merge { "Spacecraft" } else { "Link" }, row.name),
    );
    let room = usize::from(area.width.saturating_sub(2 + 28 + 1)).max(1);
    let rows = shown_details(app)
        .flat_map(|(name, value)| {
            let lines = wrapped(value, room).into_iter().enumerate();
            lines.map(|(line, text)| {
                vec![if line == 0 { name.clone() } else { String::new() }.fg(Color::Gray), text.into()]
            })
        })
        .collect();
    let words = Words { title: &title, nothing: "No link is chosen." };
    table(out, area, app, Pane::Link, &words, &columns, rows);
}

/// Lines that a pane would fill, its frame included.
pub(super) fn wanted_height(app: &App, pane: Pane) -> u16 {
    let rows = match pane {
        Pane::Channels => chosen_channels(app).len(),
        // The verdict has a line of its own.
        Pane::Losses => ledger_rows(&app.snapshot.ledgers).len() + 1,
        Pane::Consumers => app.snapshot.consumers.len(),
        Pane::Cores => app.snapshot.threads.len(),
        Pane::Latency => app.snapshot.latencies.len(),
        Pane::Events => app.events().len(),
        Pane::Link => shown_details(app).count(),
        Pane::Clcws => app.snapshot.clcws.len(),
    };
    // A frame, and captions where the columns have names.
    let more = if pane == Pane::Link { 2 } else { 3 };
    u16::try_from(rows.max(1) + more).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_between_words_and_a_long_word_where_it_must_be() {
        assert_eq!(wrapped("cannot listen: address in use", 14), ["cannot listen:", "address in use"]);
        assert_eq!(wrapped("a 0123456789", 4), ["a", "0123", "4567", "89"]);
        assert_eq!(wrapped("short", 80), ["short"]);
        assert_eq!(wrapped("", 80), [""]);
        assert_eq!(wrapped("ab", 1), ["a", "b"]);
    }
}
