//! `top`: jobs, allocations, routes with live rates, events and output in a full screen; or the
//! rates of the ingress line by line where there is no terminal.

mod feed;
mod plain;
mod screen;
mod state;

use super::context::Context;
use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use state::{Key, News, State, Wish};
use std::{
    future::{Future, pending},
    io::IsTerminal as _,
    pin::Pin,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};

/// News that wait to be shown.
const NEWS_MAX: usize = 256;
/// How often the keys are asked whether anybody still wants to know.
const KEYS_WAIT: Duration = Duration::from_millis(100);

/// Arguments of `top`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    rates: plain::Rates,
    /// Print rates line by line, on a terminal too
    #[arg(long)]
    plain: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let has_terminal = cx.is_terminal() && std::io::stdin().is_terminal();
    if arguments.plain || arguments.rates.is_counted() || !has_terminal {
        return plain::run(cx, &arguments.rates).await;
    }
    // Who cannot be reached is told before the screen is taken.
    cx.http
        .get_value("/v1/agent/self", &[])
        .await
        .context("Error querying the agent")?;
    let (news, received) = mpsc::channel(NEWS_MAX);
    let listened = news.clone();
    let mut terminal = ratatui::try_init().context("cannot take the terminal")?;
    let keys = spawn_blocking(move || keys(&listened));
    let shown = Box::pin(show(cx, &mut terminal, news, received)).await;
    ratatui::restore();
    // They end soon after the screen did.
    keys.await?;
    shown?;
    Ok(0)
}

/// Hands keys on until nobody wants them.
fn keys(news: &mpsc::Sender<News>) {
    while !news.is_closed() {
        match event::poll(KEYS_WAIT) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => return,
        }
        let told = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
                key_of(key.code, is_control).map(News::Key)
            }
            Ok(Event::Resize(..)) => Some(News::Resized),
            Ok(_) => None,
            Err(_) => return,
        };
        if told.is_some_and(|told| news.blocking_send(told).is_err()) {
            return;
        }
    }
}

fn key_of(code: KeyCode, is_control: bool) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c' | 'd') if is_control => Key::Quit,
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Back,
        KeyCode::Tab => Key::Next,
        _ => return None,
    })
}

type Output = Pin<Box<dyn Future<Output = ()>>>;

async fn show(
    cx: &Context,
    terminal: &mut DefaultTerminal,
    news: mpsc::Sender<News>,
    mut received: mpsc::Receiver<News>,
) -> anyhow::Result<()> {
    let (changed, changes) = watch::channel(0);
    let (job, looked_at) = watch::channel(None);
    let feeds = async {
        tokio::join!(
            feed::events(cx.http.clone(), news.clone(), changed),
            feed::rows(cx.http.clone(), news.clone(), changes, looked_at),
        );
        pending::<()>().await;
    };
    tokio::pin!(feeds);
    let mut output: Option<Output> = None;
    let mut state = State::default();
    loop {
        terminal.draw(|frame| screen::draw(frame, &state))?;
        let followed = async {
            match &mut output {
                Some(output) => output.await,
                None => pending().await,
            }
        };
        let first = tokio::select! {
            first = received.recv() => first,
            () = &mut feeds => None,
            () = followed => {
                output = None;
                continue;
            }
        };
        let Some(first) = first else { return Ok(()) };
        let mut next = Some(first);
        while let Some(own) = next {
            match state.take(own) {
                None => {}
                Some(Wish::Quit) => return Ok(()),
                Some(Wish::Do(action)) => {
                    state.said = feed::carry_out(&cx.http, action).await;
                }
                Some(Wish::Look { namespace, job: id }) => {
                    job.send_replace(Some((namespace, id)));
                }
                Some(Wish::Follow { namespace, job: id }) => {
                    let followed = feed::output(cx.http.clone(), news.clone(), namespace, id);
                    output = Some(Box::pin(followed));
                }
            }
            next = received.try_recv().ok();
        }
    }
}
