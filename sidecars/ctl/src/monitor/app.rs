//! The state of the terminal view and what keys do to it. No drawing, no I/O.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::snapshot::{EventRow, Health, LinkRow, Snapshot};
use crate::failure::Failure;
use crate::times;
use fep_client::segment as path_segment;

/// Samples of bit rate kept per link, for the little curve beside it.
pub(crate) const HISTORY: usize = 64;
/// How long a message stands where the keys are listed.
const MESSAGE_FOR: Duration = Duration::from_secs(8);

/// The lower panes. In a large terminal all are shown and one has the focus; in a small one only that one is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pane {
    Channels,
    Losses,
    Consumers,
    Cores,
    Latency,
    Events,
    Link,
    Clcws,
}

impl Pane {
    pub(crate) const ALL: [Pane; 8] = [
        Pane::Channels,
        Pane::Losses,
        Pane::Consumers,
        Pane::Cores,
        Pane::Latency,
        Pane::Events,
        Pane::Link,
        Pane::Clcws,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Pane::Channels => "Channels",
            Pane::Losses => "Losses",
            Pane::Consumers => "Consumers",
            Pane::Cores => "Cores",
            Pane::Latency => "Latency",
            Pane::Events => "Events",
            Pane::Link => "Link",
            Pane::Clcws => "CLCW",
        }
    }

    fn moved(self, by: usize) -> Pane {
        let at = Pane::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Pane::ALL[(at + by) % Pane::ALL.len()]
    }
}

/// What an operator can do to a link or to a merged spacecraft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Enable,
    Disable,
    Reset,
}

impl Action {
    /// The verb, which is also the last segment of the request path.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Action::Enable => "enable",
            Action::Disable => "disable",
            Action::Reset => "reset",
        }
    }

    /// What it does, for the question before it is done.
    pub(crate) const fn effect(self, is_merge: bool) -> &'static str {
        match self {
            Action::Enable if is_merge => "The frames of its antennas are merged and served.",
            Action::Disable if is_merge => {
                "Its links go on; their frames are not merged until it is enabled."
            }
            Action::Reset if is_merge => {
                "Its frame counters and half packets are forgotten. Figures and sequence numbers go on."
            }
            Action::Enable => "The link connects and receives.",
            Action::Disable => "The link closes its connection and receives nothing until enabled.",
            Action::Reset => "The link keeps its connection and synchronises anew. Sequence numbers go on.",
        }
    }
}

/// What an action is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) is_merge: bool,
}

impl Target {
    /// What it is.
    pub(crate) const fn noun(&self) -> &'static str {
        if self.is_merge { "spacecraft" } else { "link" }
    }

    /// Where the control interface takes the action.
    pub(crate) fn path(&self, action: Action) -> String {
        let collection = if self.is_merge { "spacecraft" } else { "links" };
        format!("/{collection}/{}/{}", path_segment(&self.name), action.verb())
    }
}

/// What lies over the panes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlay {
    None,
    Help,
    Confirm { action: Action, target: Target },
}

/// What the caller shall do after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Nothing,
    Quit,
    Command { action: Action, target: Target },
}

/// Why the figures shown are old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    /// What went wrong, in words.
    pub(crate) cause: String,
    /// Whether no daemon answers; otherwise its answer is of no use.
    pub(crate) no_daemon: bool,
    /// Age of the last snapshot; `None` when there was none.
    pub(crate) age: Option<Duration>,
}

/// Everything the view needs.
pub(crate) struct App {
    /// The last snapshot that could be taken.
    pub(crate) snapshot: Snapshot,
    /// When it was taken.
    taken: Option<Instant>,
    /// Why there is none newer, when that is so.
    pub(crate) problem: Option<Silence>,
    pub(crate) selected: usize,
    pub(crate) pane: Pane,
    pub(crate) scroll: usize,
    pub(crate) overlay: Overlay,
    /// The answer to the last command, and when it came.
    message: Option<(String, Health, Instant)>,
    /// What went wrong before the view began: shown among the events.
    pub(crate) notices: Vec<EventRow>,
    history: BTreeMap<String, VecDeque<f64>>,
}

impl App {
    /// A view of something of which these sentences are known already; the first is shown at once.
    pub(crate) fn with_notices(notices: Vec<String>) -> App {
        let more = match notices.len() {
            0 | 1 => String::new(),
            all => format!(" (and {} more, see Events)", all - 1),
        };
        let mut app = App::new();
        if let Some(first) = notices.first() {
            app.say(format!("{first}{more}"), Health::Warning);
        }
        let at_ns = fep_time::tai_now().0;
        app.notices = notices
            .into_iter()
            .map(|text| EventRow {
                at_ns,
                time: times::time_of_day(at_ns),
                health: Health::Warning,
                link: "fepctl".to_owned(),
                text,
                times: 1,
            })
            .collect();
        app
    }

    /// Shows a message for a while.
    pub(crate) fn say(&mut self, text: String, health: Health) {
        self.message = Some((text, health, Instant::now()));
    }

    /// The message that is to be shown now.
    pub(crate) fn message(&self) -> Option<(&str, Health)> {
        let (text, health, since) = self.message.as_ref()?;
        (since.elapsed() < MESSAGE_FOR).then_some((text, *health))
    }

    /// All events and notices, newest first.
    pub(crate) fn events(&self) -> Vec<&EventRow> {
        let mut all: Vec<&EventRow> = self.notices.iter().chain(&self.snapshot.events).collect();
        all.sort_by_key(|event| std::cmp::Reverse(event.at_ns));
        all
    }

    pub(crate) fn new() -> App {
        App {
            notices: Vec::new(),
            snapshot: Snapshot::default(),
            taken: None,
            problem: None,
            selected: 0,
            pane: Pane::Channels,
            scroll: 0,
            overlay: Overlay::None,
            message: None,
            history: BTreeMap::new(),
        }
    }

    /// Takes a new snapshot.
    pub(crate) fn update(&mut self, snapshot: Snapshot) {
        self.history.retain(|name, _| snapshot.links.iter().any(|link| link.name == *name));
        for link in &snapshot.links {
            let rates = self.history.entry(link.name.clone()).or_default();
            rates.push_back(link.bits_per_s);
            if rates.len() > HISTORY {
                rates.pop_front();
            }
        }
        // The selection follows the name: a reload may have moved the rows.
        if let Some(name) = self.selected_row().map(|link| link.name.clone())
            && let Some(at) = snapshot.roles().position(|link| link.name == name)
        {
            self.selected = at;
        }
        self.selected = self.selected.min(snapshot.roles().count().saturating_sub(1));
        self.snapshot = snapshot;
        self.taken = Some(Instant::now());
        self.problem = None;
    }

    /// The daemon could not be asked: the last snapshot stays, marked as old.
    pub(crate) fn lost_sight(&mut self, failure: &Failure) {
        self.problem = Some(Silence {
            cause: failure.to_string(),
            no_daemon: failure.is_no_daemon(),
            age: self.taken.map(|taken| taken.elapsed()),
        });
    }

    /// The link or merged spacecraft that the cursor is on.
    pub(crate) fn selected_row(&self) -> Option<&LinkRow> {
        self.snapshot.roles().nth(self.selected)
    }

    /// The latest `width` bit rates of a link as bars of eight heights, newest last; the tallest is the highest rate seen.
    pub(crate) fn curve(&self, link: &str, width: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let Some(rates) = self.history.get(link) else { return String::new() };
        let top = rates.iter().copied().fold(0.0, f64::max);
        if top <= 0.0 {
            return String::new();
        }
        rates
            .iter()
            .skip(rates.len().saturating_sub(width))
            .map(|rate| BARS[((rate / top * 8.0).ceil() as usize).clamp(1, 8) - 1])
            .collect()
    }

    /// What a key does.
    pub(crate) fn on_key(&mut self, key: KeyEvent) -> Request {
        if key.kind == KeyEventKind::Release {
            return Request::Nothing;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Request::Quit;
        }
        match std::mem::replace(&mut self.overlay, Overlay::None) {
            Overlay::None => self.on_plain_key(key.code),
            // Any key closes the help; q still means leave.
            Overlay::Help if key.code == KeyCode::Char('q') => Request::Quit,
            Overlay::Help => Request::Nothing,
            Overlay::Confirm { action, target } => match key.code {
                KeyCode::Char('y' | 'Y') | KeyCode::Enter => Request::Command { action, target },
                KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Request::Nothing,
                _ => {
                    self.overlay = Overlay::Confirm { action, target };
                    Request::Nothing
                }
            },
        }
    }

    fn on_plain_key(&mut self, key: KeyCode) -> Request {
        self.message = None;
        match key {
            KeyCode::Char('q' | 'Q') => return Request::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.overlay = Overlay::Help,
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Tab | KeyCode::Right => self.show(self.pane.moved(1)),
            KeyCode::BackTab | KeyCode::Left => self.show(self.pane.moved(Pane::ALL.len() - 1)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll = self.scroll.saturating_add(5),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(5),
            KeyCode::Char(digit @ '1'..='8') => self.show(Pane::ALL[digit as usize - '1' as usize]),
            KeyCode::Char('e') => self.ask(Action::Enable),
            KeyCode::Char('d') => self.ask(Action::Disable),
            KeyCode::Char('r') => self.ask(Action::Reset),
            _ => {}
        }
        Request::Nothing
    }

    fn select(&mut self, at: usize) {
        self.selected = at.min(self.snapshot.roles().count().saturating_sub(1));
        self.scroll = 0;
    }

    fn show(&mut self, pane: Pane) {
        self.pane = pane;
        self.scroll = 0;
    }

    fn ask(&mut self, action: Action) {
        if let Some(row) = self.selected_row() {
            let target = Target { name: row.name.clone(), is_merge: row.is_merge };
            self.overlay = Overlay::Confirm { action, target };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(names: &[&str]) -> App {
        let mut app = App::new();
        app.update(snapshot(names));
        app
    }

    fn snapshot(names: &[&str]) -> Snapshot {
        let links = names.iter().map(|name| LinkRow { name: (*name).into(), ..LinkRow::default() }).collect();
        Snapshot { links, ..Snapshot::default() }
    }

    fn link(name: &str) -> Target {
        Target { name: name.into(), is_merge: false }
    }

    fn press(app: &mut App, code: KeyCode) -> Request {
        app.on_key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    // REQ: FEP-CTL-011
    #[test]
    fn a_link_is_commanded_only_after_a_yes() {
        let mut app = app(&["a", "b"]);
        press(&mut app, KeyCode::Down);
        assert_eq!(press(&mut app, KeyCode::Char('d')), Request::Nothing);
        assert_eq!(app.overlay, Overlay::Confirm { action: Action::Disable, target: link("b") });
        assert_eq!(press(&mut app, KeyCode::Char('x')), Request::Nothing, "another key is no answer");
        let done = press(&mut app, KeyCode::Char('y'));
        assert_eq!(done, Request::Command { action: Action::Disable, target: link("b") });
        press(&mut app, KeyCode::Char('r'));
        assert_eq!(press(&mut app, KeyCode::Esc), Request::Nothing);
        assert_eq!(app.overlay, Overlay::None);
        assert_eq!(press(&mut app, KeyCode::Char('y')), Request::Nothing, "the question is gone");
    }

    // REQ: FEP-CTL-320
    #[test]
    fn a_merged_spacecraft_is_chosen_below_the_links_and_commanded_as_one() {
        let mut app = app(&["north", "south"]);
        let mut now = snapshot(&["north", "south"]);
        now.spacecraft = vec![LinkRow { name: "leo".into(), is_merge: true, ..LinkRow::default() }];
        app.update(now);
        press(&mut app, KeyCode::End);
        press(&mut app, KeyCode::Char('r'));
        let Request::Command { action, target } = press(&mut app, KeyCode::Char('y')) else {
            panic!("it is commanded")
        };
        assert_eq!((target.path(action).as_str(), target.noun()), ("/spacecraft/leo/reset", "spacecraft"));
        assert_eq!(link("north").path(Action::Enable), "/links/north/enable");
    }

    // REQ: FEP-CTL-111
    #[test]
    fn a_message_makes_room_for_the_keys_again_and_a_notice_has_the_time_it_came() {
        let mut app = App::with_notices(vec!["fep-archive does not exist".into()]);
        assert!(app.message().is_some());
        app.message = Some(("old".into(), Health::Good, Instant::now() - MESSAGE_FOR));
        assert_eq!(app.message(), None);
        let notice = app.notices[0].clone();
        assert!(!notice.time.is_empty());
        let mut now = snapshot(&["a"]);
        now.events =
            [1, -1].map(|later| EventRow { at_ns: notice.at_ns + later, ..EventRow::default() }).into();
        app.update(now);
        let places: Vec<i64> = app.events().iter().map(|event| event.at_ns - notice.at_ns).collect();
        assert_eq!(places, [1, 0, -1]);
    }

    #[test]
    fn the_cursor_follows_its_link_when_a_reload_moves_the_rows() {
        let mut app = app(&["a", "b", "c"]);
        press(&mut app, KeyCode::Down);
        app.update(snapshot(&["x", "a", "b"]));
        assert_eq!(app.selected_row().map(|link| link.name.as_str()), Some("b"));
        app.update(snapshot(&["x"]));
        assert_eq!(app.selected_row().map(|link| link.name.as_str()), Some("x"));
        app.update(snapshot(&[]));
        assert!(app.selected_row().is_none());
        assert_eq!(press(&mut app, KeyCode::Char('e')), Request::Nothing, "nothing to enable");
        assert_eq!(app.overlay, Overlay::None);
    }

    #[test]
    fn tab_goes_round_all_panes_and_back_tab_returns() {
        let mut app = app(&["a"]);
        for _ in Pane::ALL {
            press(&mut app, KeyCode::Tab);
        }
        assert_eq!(app.pane, Pane::Channels);
        press(&mut app, KeyCode::BackTab);
        assert_eq!(app.pane, Pane::Clcws);
    }

    #[test]
    fn the_curve_has_the_newest_rate_last_and_full_height_at_the_highest() {
        let mut app = App::new();
        for rate in [0.0, 50.0, 100.0, 10.0] {
            let mut now = snapshot(&["a"]);
            now.links[0].bits_per_s = rate;
            app.update(now);
        }
        assert_eq!(app.curve("a", 10), "▁▄█▁");
        assert_eq!(app.curve("a", 2), "█▁");
        assert_eq!(app.curve("nobody", 2), "");
    }
}
