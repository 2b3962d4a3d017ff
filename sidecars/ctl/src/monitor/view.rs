//! Draws the terminal view. Pure: from [`App`] to a frame of characters.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Clear, Paragraph, Row, Table, Wrap};

use super::app::{App, Overlay, Pane, Silence};
use super::panes;
use super::snapshot::{Health, LinkRow};
use crate::figures;

/// From this size on all panes are shown at once.
const WIDE: (u16, u16) = (168, 34);
/// From this width on the table of links has long names and more columns.
const BROAD_FROM: u16 = 112;
/// Below this size nothing sensible can be shown.
const SMALLEST: (u16, u16) = (60, 14);

/// The colour of a health.
pub(super) const fn colour(health: Health) -> Color {
    match health {
        Health::Good => Color::Green,
        Health::Warning => Color::Yellow,
        Health::Bad => Color::Red,
        Health::Off => Color::DarkGray,
    }
}

/// A count that is a loss: silent when zero, red when not.
pub(super) fn loss(text: String, amount: u64) -> Span<'static> {
    Span::styled(
        text,
        if amount == 0 { Style::new().fg(Color::DarkGray) } else { Style::new().fg(Color::Red).bold() },
    )
}

/// A frame around a pane; the pane with the focus is drawn bright.
pub(super) fn frame(title: &str, focused: bool) -> Block<'static> {
    let (border, text) = if focused {
        (Style::new().fg(Color::Cyan), Style::new().fg(Color::Cyan).bold())
    } else {
        (Style::new().fg(Color::DarkGray), Style::new().bold())
    };
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(border)
        .title(Span::styled(format!(" {title} "), text))
}

/// Draws everything.
pub(crate) fn draw(out: &mut Frame<'_>, app: &App) {
    let area = out.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("Make the terminal at least {} x {}.", SMALLEST.0, SMALLEST.1);
        out.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let wide = area.width >= WIDE.0 && area.height >= WIDE.1;
    let rows =
        app.snapshot.roles().count().clamp(1, if wide { 14 } else { usize::from(area.height) / 2 - 4 });
    let [head, links, rest, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows as u16 + 3),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(out, head, app);
    draw_links(out, links, app);
    if wide {
        draw_all_panes(out, rest, app);
    } else {
        draw_one_pane(out, rest, app);
    }
    if app.problem.is_some() {
        // What is green is alive: old figures are grey, whatever they say.
        for old in [links, rest] {
            out.buffer_mut().set_style(old, Style::new().fg(Color::DarkGray).bg(Color::Reset));
        }
    }
    draw_foot(out, foot, app);
    match &app.overlay {
        Overlay::None => {}
        Overlay::Help => draw_help(out, area),
        Overlay::Confirm { action, target } => {
            let text = vec![
                Line::from(vec![
                    Span::raw(format!("{} {} ", capitalised(action.verb()), target.noun())),
                    Span::styled(target.name.clone(), Style::new().bold()),
                    Span::raw("?"),
                ]),
                Line::raw(""),
                Line::from(action.effect(target.is_merge).fg(Color::Gray)),
                Line::raw(""),
                Line::from(vec![
                    "y".bold().fg(Color::Cyan),
                    " yes   ".into(),
                    "n".bold().fg(Color::Cyan),
                    " no".into(),
                ]),
            ];
            draw_over(out, area, "Confirm", text, 74);
        }
    }
}

/// The head line of a view whose figures are old: it says so, and since when.
fn draw_silence(out: &mut Frame<'_>, area: Rect, app: &App, silence: &Silence) {
    let what = if silence.no_daemon { " NO DAEMON " } else { " NO FIGURES " };
    let since = match silence.age {
        None => "no figures yet".to_owned(),
        Some(age) => {
            let (_, time) = date_and_time(&app.snapshot.utc);
            format!("last figures {time} UTC, {} old", figures::uptime(age.as_secs()))
        }
    };
    let line = Line::from(vec![
        Span::styled(what, Style::new().fg(Color::White).bg(Color::Red).bold()),
        Span::styled(format!("  {since}"), Style::new().fg(Color::Red).bold()),
    ]);
    out.render_widget(Paragraph::new(line), area);
}

/// Date and time of day, to the second, of a UTC text.
fn date_and_time(utc: &str) -> (&str, &str) {
    let (date, time) = utc.split_once('T').unwrap_or(("", utc));
    (date, time.split('.').next().unwrap_or(time))
}

fn draw_head(out: &mut Frame<'_>, area: Rect, app: &App) {
    if let Some(silence) = &app.problem {
        return draw_silence(out, area, app, silence);
    }
    let now = &app.snapshot;
    let enabled = || now.links.iter().filter(|link| link.enabled);
    // What has nothing to search can neither be locked nor unlocked.
    let synchronised = || enabled().filter(|link| link.lock != figures::lock(""));
    let well = |link: &&LinkRow| link.lock_health == Health::Good;
    let (locked, searching) = (synchronised().filter(well).count(), synchronised().count());
    let health = match (enabled().filter(well).count(), enabled().count()) {
        (_, 0) => Health::Off,
        (some, all) if some == all => Health::Good,
        (0, _) => Health::Bad,
        _ => Health::Warning,
    };
    let bits: f64 = now.links.iter().map(|link| link.bits_per_s).sum();
    let frames: f64 = now.links.iter().map(|link| link.frames_per_s).sum();
    let dim = Style::new().fg(Color::Gray);
    let mut left = vec![
        Span::styled(" FEP ", Style::new().fg(Color::Black).bg(colour(health)).bold()),
        Span::raw(if searching > 0 {
            format!("  {locked}/{searching} locked")
        } else {
            format!("  {} on", figures::counted(enabled().count(), "link", "links"))
        })
        .bold(),
        Span::styled("  │  ", Style::new().fg(Color::DarkGray)),
        Span::raw(figures::bit_rate(bits)).bold(),
        Span::styled("  │  ", Style::new().fg(Color::DarkGray)),
        Span::raw(format!("{} frames/s", figures::per_second(frames))),
    ];
    let mut right = vec![];
    if area.width >= HEAD_FROM {
        right.push(Span::styled(
            format!(
                "fepd {}  pid {}  {}   ",
                now.daemon.version,
                now.daemon.pid,
                figures::octets(now.daemon.memory_bytes)
            ),
            dim,
        ));
    }
    right.push(Span::styled(format!("up {}  ", figures::uptime(now.daemon.uptime_s)), dim));
    // Date and time of day in a wide terminal, time of day in a narrow one.
    let (date, time) = date_and_time(&now.utc);
    right.push(Span::raw(if area.width >= HEAD_FROM {
        format!("{date} {time} UTC ")
    } else {
        format!("{time} UTC ")
    }));
    // Two figures never lie over one another: first the time of operation gives way, then the frames.
    let overlap = |left: &[Span<'_>], right: &[Span<'_>]| {
        // Two characters keep them apart.
        left.iter().chain(right).map(Span::width).sum::<usize>() + 2 > usize::from(area.width)
    };
    if overlap(&left, &right) {
        right.drain(..right.len() - 1);
    }
    if overlap(&left, &right) {
        left.truncate(left.len() - 2);
    }
    out.render_widget(Paragraph::new(Line::from(left)), area);
    out.render_widget(Paragraph::new(Line::from(right)).alignment(Alignment::Right), area);
}

/// One column of the table of links.
struct Column {
    title: &'static str,
    width: u16,
    right: bool,
    cell: fn(&App, &LinkRow, usize) -> Span<'static>,
}

/// From this width on the head line has room for the process and the date.
const HEAD_FROM: u16 = 132;

/// Columns of the broad table that are left out first where it does not fit, in this order.
const SHED: [&str; 7] = ["TRANSPORT", "", "SYMBOLS", "PUBLISHED", "GAPS", "MISSION", "IDLE"];

/// The same of the narrow table.
const SHED_NARROW: [&str; 4] = ["IDLE", "FR/S", "CORR", "STATE"];

/// The columns of the table of links for so many characters, and the space between them.
fn link_columns(width: u16) -> (Vec<&'static Column>, u16) {
    let broad = width >= BROAD_FROM;
    let (all, spacing, shed): (&'static [Column], u16, &[&str]) =
        if broad { (&BROAD, 2, &SHED) } else { (&NARROW, 1, &SHED_NARROW) };
    let mut columns: Vec<&Column> = all.iter().collect();
    // The frame takes two characters, and the last column needs no space behind it.
    let needed =
        |columns: &[&Column]| columns.iter().map(|column| column.width + spacing).sum::<u16>() + 2 - spacing;
    for title in shed {
        if needed(&columns) <= width {
            break;
        }
        columns.retain(|column| column.title != *title);
    }
    (columns, spacing)
}

static NARROW: [Column; 10] = [
    Column { title: "LINK", width: 14, right: false, cell: |_, link, width| name(link, width) },
    Column { title: "STATE", width: 10, right: false, cell: |_, link, width| state(link, width) },
    Column { title: "LOCK", width: 10, right: false, cell: |_, link, width| lock(link, width) },
    Column { title: "BIT/S", width: 5, right: true, cell: |_, link, _| rate(link, figures::per_second) },
    Column {
        title: "FR/S",
        width: 5,
        right: true,
        cell: |_, link, _| figures::per_second(link.frames_per_s).into(),
    },
    Column { title: "GOOD", width: 5, right: true, cell: |_, link, _| figures::count(link.good).into() },
    Column {
        title: "CORR",
        width: 5,
        right: true,
        cell: |_, link, _| corrected(figures::count(link.corrected), link),
    },
    Column {
        title: "BAD",
        width: 5,
        right: true,
        cell: |_, link, _| loss(figures::count(link.bad), link.bad),
    },
    Column {
        title: "IDLE",
        width: 5,
        right: true,
        cell: |_, link, _| figures::count(link.idle).fg(Color::Gray),
    },
    Column {
        title: "LOST",
        width: 5,
        right: true,
        cell: |_, link, _| loss(figures::count(link.vc_lost), link.vc_lost),
    },
];

static BROAD: [Column; 17] = [
    Column { title: "LINK", width: 14, right: false, cell: |_, link, width| name(link, width) },
    Column {
        title: "MISSION",
        width: 9,
        right: false,
        cell: |_, link, width| figures::fitted(&link.mission, width).into(),
    },
    Column {
        title: "TRANSPORT",
        width: 27,
        right: false,
        cell: |_, link, width| figures::fitted(&link.transport, width).fg(Color::Gray),
    },
    Column { title: "STATE", width: 11, right: false, cell: |_, link, width| state(link, width) },
    Column { title: "LOCK", width: 10, right: false, cell: |_, link, width| lock(link, width) },
    Column { title: "BIT RATE", width: 11, right: true, cell: |_, link, _| rate(link, figures::bit_rate) },
    Column {
        title: "",
        width: 12,
        right: false,
        cell: |app, link, width| app.curve(&link.name, width).fg(Color::Cyan),
    },
    Column {
        title: "FRAMES/S",
        width: 8,
        right: true,
        cell: |_, link, _| figures::per_second(link.frames_per_s).into(),
    },
    Column { title: "GOOD", width: 7, right: true, cell: |_, link, _| figures::count(link.good).into() },
    Column {
        title: "CORRECTED",
        width: 9,
        right: true,
        cell: |_, link, _| corrected(figures::count(link.corrected), link),
    },
    Column {
        title: "SYMBOLS",
        width: 7,
        right: true,
        cell: |_, link, _| corrected(figures::count(link.symbols_corrected), link),
    },
    Column {
        title: "BAD",
        width: 7,
        right: true,
        cell: |_, link, _| loss(figures::count(link.bad), link.bad),
    },
    Column {
        title: "IDLE",
        width: 6,
        right: true,
        cell: |_, link, _| figures::count(link.idle).fg(Color::Gray),
    },
    Column {
        title: "GAPS",
        width: 6,
        right: true,
        cell: |_, link, _| loss(figures::count(link.vc_gaps), link.vc_gaps),
    },
    Column {
        title: "LOST",
        width: 6,
        right: true,
        cell: |_, link, _| loss(figures::count(link.vc_lost), link.vc_lost),
    },
    Column {
        title: "PUBLISHED",
        width: 9,
        right: true,
        cell: |_, link, _| figures::count(link.published).into(),
    },
    Column { title: "PACKETS", width: 7, right: true, cell: |_, link, width| packets(link, width) },
];

fn name(link: &LinkRow, width: usize) -> Span<'static> {
    figures::fitted(&link.name, width).bold()
}

fn state(link: &LinkRow, width: usize) -> Span<'static> {
    figures::fitted(&link.state, width).fg(colour(link.state_health))
}

fn lock(link: &LinkRow, width: usize) -> Span<'static> {
    let sign = match link.lock_health {
        Health::Good => "●",
        Health::Warning => "◐",
        Health::Bad => "○",
        Health::Off => " ",
    };
    // Nothing is searched: no state to mark. That of a merge needs the room.
    if link.lock == figures::lock("") || link.is_merge {
        return link.lock.clone().fg(colour(link.lock_health));
    }
    figures::fitted(&format!("{sign} {}", link.lock), width).fg(colour(link.lock_health))
}

fn rate(link: &LinkRow, text: fn(f64) -> String) -> Span<'static> {
    if link.is_merge {
        return "–".fg(Color::DarkGray);
    }
    let text = text(link.bits_per_s);
    if link.bits_per_s > 0.0 { text.into() } else { text.fg(Color::DarkGray) }
}

/// A link that is merged with others has no packets; its spacecraft has.
fn packets(link: &LinkRow, width: usize) -> Span<'static> {
    match &link.merged_by {
        Some(spacecraft) => figures::fitted(&format!("– {spacecraft}"), width).fg(Color::DarkGray),
        None => figures::count(link.packets).into(),
    }
}

fn corrected(text: String, link: &LinkRow) -> Span<'static> {
    text.fg(if link.corrected == 0 { Color::DarkGray } else { Color::Yellow })
}

fn draw_links(out: &mut Frame<'_>, area: Rect, app: &App) {
    let (columns, spacing) = link_columns(area.width);
    let align = |column: &Column| if column.right { Alignment::Right } else { Alignment::Left };
    let header =
        Row::new(columns.iter().map(|column| Cell::from(Line::raw(column.title).alignment(align(column)))))
            .style(Style::new().fg(Color::DarkGray));
    let shown = usize::from(area.height.saturating_sub(3)).max(1);
    let first = (app.selected + 1).saturating_sub(shown);
    let rows = app.snapshot.roles().enumerate().skip(first).take(shown).map(|(index, link)| {
        let cells = columns.iter().map(|column| {
            Cell::from(
                Line::from((column.cell)(app, link, usize::from(column.width))).alignment(align(column)),
            )
        });
        let row = Row::new(cells);
        if index == app.selected { row.style(Style::new().add_modifier(Modifier::REVERSED)) } else { row }
    });
    let name = if app.snapshot.spacecraft.is_empty() { "Links" } else { "Links and merged spacecraft" };
    let title = match app.snapshot.roles().count() {
        all if all > shown => format!("{name} {}-{} of {all}", first + 1, (first + shown).min(all)),
        _ => name.to_owned(),
    };
    let table = Table::new(rows, columns.iter().map(|column| Constraint::Length(column.width)))
        .header(header)
        .column_spacing(spacing)
        .block(frame(&title, false));
    out.render_widget(table, area);
    if app.snapshot.roles().next().is_none() {
        let inside = Rect { x: area.x + 2, y: area.y + 2, width: area.width.saturating_sub(4), height: 1 };
        let text = if app.problem.is_some() { "" } else { "No link is configured." };
        out.render_widget(Paragraph::new(text), inside);
    }
}

fn draw_one_pane(out: &mut Frame<'_>, area: Rect, app: &App) {
    let [bar, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let mut tabs = vec![Span::raw(" ")];
    for pane in Pane::ALL {
        let style = if pane == app.pane {
            Style::new().fg(Color::Black).bg(Color::Cyan).bold()
        } else {
            Style::new().fg(Color::Gray)
        };
        tabs.push(Span::styled(format!(" {} ", pane.title()), style));
    }
    out.render_widget(Paragraph::new(Line::from(tabs)), bar);
    panes::draw(out, body, app, app.pane);
}

/// Lines that events have at least where all panes are shown.
const EVENTS_MIN: u16 = 11;
/// Lines that a pane has at least: its frame, its captions and two rows.
const PANE_MIN: u16 = 5;

/// Every pane at once: as high as what it shows, as far as there is room, and the one with the focus before the others.
fn draw_all_panes(out: &mut Frame<'_>, area: Rect, app: &App) {
    let [left, right] = Layout::horizontal([Constraint::Fill(9), Constraint::Fill(4)]).areas(area);
    let first = [Pane::Channels, Pane::Cores];
    let second = [Pane::Latency, Pane::Consumers, Pane::Clcws];
    let wanted = |panes: &[Pane]| panes.iter().map(|pane| panes::wanted_height(app, *pane)).sum::<u16>();
    let upper = if app.pane == Pane::Events {
        left.height.saturating_sub(panes::wanted_height(app, Pane::Events)).max(3 * PANE_MIN)
    } else {
        wanted(&first).max(wanted(&second)).min(left.height - EVENTS_MIN)
    };
    let [upper, events] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(left);
    panes::draw(out, events, app, Pane::Events);
    let [narrow, broad] = Layout::horizontal([Constraint::Fill(4), Constraint::Fill(5)]).areas(upper);
    draw_column(out, narrow, app, &first);
    draw_column(out, broad, app, &second);
    draw_column(out, right, app, &[Pane::Link, Pane::Losses]);
}

fn draw_column(out: &mut Frame<'_>, area: Rect, app: &App, column: &[Pane]) {
    let wanted: Vec<u16> = column.iter().map(|pane| panes::wanted_height(app, *pane)).collect();
    let focus = column.iter().position(|pane| *pane == app.pane);
    let heights = shares(area.height, &wanted, focus);
    let places = Layout::vertical(heights.into_iter().map(Constraint::Length)).split(area);
    for (pane, place) in column.iter().zip(places.iter()) {
        panes::draw(out, *place, app, *pane);
    }
}

/// Shares `height` lines: who wants little gets it, the others share what is left, and `focus` comes first. What nobody
/// wants goes to the one that has most.
fn shares(height: u16, wanted: &[u16], focus: Option<usize>) -> Vec<u16> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|index| (focus != Some(*index), wanted[*index]));
    let mut given = vec![0; wanted.len()];
    let mut left = height;
    for (done, index) in order.iter().enumerate() {
        let others = (wanted.len() - done - 1) as u16;
        let most =
            if focus == Some(*index) { left.saturating_sub(others * PANE_MIN) } else { left / (others + 1) };
        given[*index] = wanted[*index].min(most);
        left -= given[*index];
    }
    if let Some(largest) = given.iter_mut().max() {
        *largest += left;
    }
    given
}

fn draw_foot(out: &mut Frame<'_>, area: Rect, app: &App) {
    let line = if let Some(problem) = &app.problem {
        let text = format!(" {}", problem.cause.lines().next().unwrap_or_default());
        Line::from(text.fg(Color::White).bg(Color::Red).bold())
    } else if let Some((text, health)) = app.message() {
        Line::from(format!(" {text}").fg(colour(health)).bold())
    } else {
        let keys = [
            ("↑↓", "link"),
            ("Tab", "pane"),
            ("e", "enable"),
            ("d", "disable"),
            ("r", "reset"),
            ("?", "help"),
            ("q", "quit"),
        ];
        let mut spans = vec![Span::raw(" ")];
        for (key, does) in keys {
            spans.push(key.bold().fg(Color::Cyan));
            spans.push(format!(" {does}   ").fg(Color::Gray));
        }
        Line::from(spans)
    };
    out.render_widget(Paragraph::new(line), area);
}

fn draw_help(out: &mut Frame<'_>, area: Rect) {
    let key = |key: &'static str, does: &'static str| {
        Line::from(vec![format!("{key:<14}").fg(Color::Cyan).bold(), does.into()])
    };
    let text = vec![
        key("↑ ↓  j k", "choose a link or a merged spacecraft"),
        key("Tab  ← →  1-8", "choose a pane"),
        key("PgUp PgDn", "scroll the pane"),
        key("e  d  r", "enable, disable, reset it (asks first)"),
        key("q  Ctrl-C", "leave"),
        Line::raw(""),
        Line::from("good       decoded without correction; a refused one is bad, too".fg(Color::Gray)),
        Line::from("corr.      decoded, symbols were corrected; the same".fg(Color::Gray)),
        Line::from("bad        not to be corrected, or refused: the pane Link says why".fg(Color::Gray)),
        Line::from("lost       missing by the virtual channel counters".fg(Color::Gray)),
        Line::from("– NAME     the spacecraft that has the packets of a merged link".fg(Color::Gray)),
        Line::from("chunk      received at once; latency is measured for each".fg(Color::Gray)),
        Line::from("credit     room before the ring laps a reader".fg(Color::Gray)),
        Line::from("CLCW       what the receiver on board reports of telecommands".fg(Color::Gray)),
    ];
    draw_over(out, area, "Keys and words", text, 62);
}

/// A box over the middle of the screen.
fn draw_over(out: &mut Frame<'_>, area: Rect, title: &str, text: Vec<Line<'static>>, width: u16) {
    let width = width.min(area.width);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let lines: usize = text.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    let height = (lines as u16 + 2).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    out.render_widget(Clear, place);
    let block = frame(title, true).padding(ratatui::widgets::Padding::horizontal(1));
    out.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), place);
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
