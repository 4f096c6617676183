//! The full screen: a state as cells of a terminal. Works from 80 columns and 24 rows on.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Clear, Paragraph, Row, Table, TableState},
};

use super::state::{Rate, State, VIEWS, View};
use crate::view::escaped;

const HELP: [&str; 18] = [
    "1 to 5, Tab  views",
    "j, k         next and previous row",
    "g, G         first and last row",
    "Enter        allocations of the job",
    "l            output of the job",
    "s            stop the job, or the allocation",
    "r            restart the job, or the allocation",
    "+, -         scale the job by one",
    "d            launch or dispatch the job now",
    "u            go back to the version before",
    "x            purge the job when it is stopped",
    "p            promote the canaries of the job",
    "z            pause its rollout, or let it go on",
    "n, b         next step of its rollout, or one back",
    "f            fail its rollout",
    "?            this list",
    "Esc          back to the jobs",
    "q            leave",
];

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(tabs(state), head);
    match state.view {
        View::Jobs => jobs(frame, body, state),
        View::Allocations => allocations(frame, body, state),
        View::Routes => routes(frame, body, state),
        View::Events => lines(frame, body, state, state.events.iter()),
        View::Logs => lines(frame, body, state, state.logs.iter()),
    }
    frame.render_widget(Paragraph::new(foot_line(state)), foot);
    if state.shows_help {
        help(frame);
    }
}

fn tabs(state: &State) -> Line<'static> {
    let chosen = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let mut line = Line::default();
    for (number, (view, name)) in (1..).zip(VIEWS) {
        let style = if view == state.view {
            chosen
        } else {
            Style::new()
        };
        line.push_span(ratatui::text::Span::styled(
            format!(" {number} {name} "),
            style,
        ));
    }
    if let Some((_, job)) = &state.job {
        line.push_span(ratatui::text::Span::raw(format!("  {}", escaped(job))));
    }
    line
}

fn foot_line(state: &State) -> String {
    match state.asked() {
        Some(question) => format!("{} y/n", escaped(&question)),
        None if !state.said.is_empty() => escaped(&state.said).into_owned(),
        None => "? keys   q leave".to_owned(),
    }
}

fn table<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    (heads, widths): (&[&'a str], &[Constraint]),
    rows: Vec<Row<'a>>,
) {
    if rows.is_empty() {
        frame.render_widget(Paragraph::new("There is nothing here yet."), area);
        return;
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let table = Table::new(rows, widths)
        .header(Row::new(heads.to_vec()).style(bold))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selected = TableState::default().with_selected(Some(state.selected()));
    frame.render_stateful_widget(table, area, &mut selected);
}

fn rate(rate: Option<&Rate>) -> [String; 2] {
    match rate {
        Some(rate) => [
            format!("{:.1}", rate.requests),
            format!("{:.1}", rate.failed),
        ],
        None => [String::new(), String::new()],
    }
}

fn color(status: &str) -> Style {
    match status {
        "running" | "healthy" | "successful" => Style::new().fg(Color::Green),
        "failed" | "lost" | "dead" => Style::new().fg(Color::Red),
        "pending" | "paused" | "unknown" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

fn jobs(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.jobs.iter().map(|job| {
        let status = if job.stop {
            "stopped"
        } else {
            job.status.as_str()
        };
        let rates = state
            .job_rates
            .get(&(job.namespace.clone(), job.id.clone()));
        let [requests, failed] = rate(rates);
        let counts = &job.counts;
        let note = match &job.deployment {
            Some(own) if own.status == "paused" => "paused",
            Some(own) if own.needs_promotion => "promote?",
            Some(own) if own.goes_on() || own.status == "failed" => own.status.as_str(),
            _ => "",
        };
        Row::new([
            escaped(&job.id).into_owned(),
            status.to_owned(),
            job.job_type.clone(),
            job.version.to_string(),
            format!("{}/{}", counts.running, job.wanted.max(counts.running)),
            (counts.queued + counts.starting).to_string(),
            (counts.failed + counts.lost).to_string(),
            requests,
            failed,
            note.to_owned(),
        ])
        .style(color(status))
    });
    let heads = [
        "Job", "Status", "Type", "Ver", "Run", "Wait", "Fail", "Req/s", "Err/s", "Rollout",
    ];
    let widths = [
        Constraint::Min(14),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(4),
        Constraint::Length(7),
        Constraint::Length(4),
        Constraint::Length(4),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(9),
    ];
    table(frame, area, state, (&heads, &widths), rows.collect());
}

fn allocations(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.allocs.iter().map(|alloc| {
        Row::new([
            alloc.id.chars().take(8).collect::<String>(),
            escaped(&alloc.name).into_owned(),
            alloc.client_status.clone(),
            alloc.desired_status.clone(),
            alloc.job_version.to_string(),
            escaped(&alloc.node_name).into_owned(),
        ])
        .style(color(&alloc.client_status))
    });
    let heads = ["Alloc", "Name", "Status", "Desired", "Ver", "Node"];
    let widths = [
        Constraint::Length(8),
        Constraint::Min(20),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(4),
        Constraint::Min(12),
    ];
    table(frame, area, state, (&heads, &widths), rows.collect());
}

fn routes(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.routes.iter().map(|((route, service, version), own)| {
        let [requests, failed] = rate(Some(own));
        Row::new([
            escaped(route).into_owned(),
            escaped(service).into_owned(),
            version.clone(),
            requests,
            failed,
            own.in_flight.to_string(),
        ])
    });
    let heads = ["Route", "Service", "Ver", "Req/s", "Err/s", "In flight"];
    let widths = [
        Constraint::Min(20),
        Constraint::Min(16),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(9),
    ];
    table(frame, area, state, (&heads, &widths), rows.collect());
}

/// The last lines that fit, or earlier ones if somebody went there.
fn lines<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    all: impl ExactSizeIterator<Item = &'a String>,
) {
    let height = usize::from(area.height);
    let count = all.len();
    if count == 0 {
        frame.render_widget(Paragraph::new("There is nothing here yet."), area);
        return;
    }
    let end = count.saturating_sub(state.selected()).max(height);
    let shown = all.skip(end.saturating_sub(height)).take(height);
    let shown: Vec<Line<'_>> = shown
        .map(|line| Line::raw(escaped(line).into_owned()))
        .collect();
    frame.render_widget(Paragraph::new(shown), area);
}

fn help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX);
    let (width, height) = (54.min(area.width), height.min(area.height));
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let text: Vec<Line<'_>> = HELP.into_iter().map(Line::raw).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(text).block(Block::bordered().title("Keys")),
        place,
    );
}

#[cfg(test)]
mod tests {
    use super::super::state::{Alloc, Counted, Counts, Deployment, Job, Key, News, Traffic};
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    /// What a terminal of this size shows.
    fn shown(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn state() -> State {
        let mut state = State::default();
        state.take(News::Jobs(vec![Job {
            id: "web\x1b[31m".into(),
            namespace: "default".into(),
            job_type: "service".into(),
            status: "running".into(),
            version: 3,
            wanted: 5,
            counts: Counts {
                running: 4,
                starting: 1,
                ..Counts::default()
            },
            deployment: Some(Deployment {
                needs_promotion: true,
                ..Deployment::default()
            }),
            ..Job::default()
        }]));
        state.take(News::Allocs(vec![Alloc {
            id: "034e334b-5902-486f-9f2e-1c4f04b23761".into(),
            name: "web.g[0]".into(),
            node_name: "one".into(),
            client_status: "running".into(),
            desired_status: "run".into(),
            ..Alloc::default()
        }]));
        let row = |attempts| Counted {
            route: "/web".into(),
            service: "web".into(),
            version: "v3".into(),
            job_id: "web\x1b[31m".into(),
            namespace: "default".into(),
            attempts,
            ..Counted::default()
        };
        for (time, attempts) in [(1_000_000_000, 0), (2_000_000_000, 42)] {
            state.take(News::Traffic(Traffic {
                time,
                whole: false,
                rows: vec![row(attempts)],
            }));
        }
        state
    }

    #[test]
    fn a_small_terminal_shows_every_column() {
        let text = shown(&state(), 80, 24);
        let lines: Vec<&str> = text.lines().collect();
        // What would drive the terminal is written out.
        let expected = [
            " 1 Jobs  2 Allocations  3 Routes  4 Events  5 Logs",
            "Job            Status   Type     Ver  Run     Wait Fail Req/s   Err/s  Rollout",
            "web\\x1b[31m    running  service  3    4/5     1    0    42.0    0.0    promote?",
        ];
        assert_eq!(lines[..3], expected);
        assert!(lines[3..23].iter().all(|line| line.is_empty()), "{text}");
        assert_eq!(lines[23..], ["? keys   q leave"]);
    }

    #[test]
    fn the_keys_are_told() {
        let mut state = state();
        state.take(News::Key(Key::Char('?')));
        let text = shown(&state, 80, 24);
        for line in HELP {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn every_view_and_question_is_drawn_at_any_size() {
        for (width, height) in [(80, 24), (200, 60), (20, 5), (1, 1)] {
            for keys in ["1", "2", "3", "4", "5", "?", "s"] {
                let mut state = state();
                for key in keys.chars() {
                    state.take(News::Key(Key::Char(key)));
                }
                shown(&state, width, height);
            }
        }
        let mut state = state();
        state.take(News::Key(Key::Char('3')));
        let text = shown(&state, 80, 24);
        assert!(text.contains("/web") && text.contains("42.0"), "{text}");
        state.take(News::Key(Key::Char('1')));
        state.take(News::Key(Key::Char('s')));
        assert!(shown(&state, 80, 24).ends_with("Stop the job web\\x1b[31m? y/n"));
    }
}
