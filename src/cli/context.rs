//! What every command works with: the HTTP caller, the terminal and the program's name.

use super::http::{Dialect, Http, Target};
use super::view::{Paint, View, printable};
use super::{DEFAULT_ADDRESS, Global};
use parking_lot::Mutex;
use std::io::{IsTerminal as _, Write};
use std::sync::Arc;
use sys::clock;

type Sink = Arc<Mutex<dyn Write + Send>>;

/// Where a command prints.
#[derive(Clone)]
pub struct Output {
    out: Sink,
    err: Sink,
    terminal: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// The process's own standard output and error.
    pub fn process() -> Self {
        Self {
            out: Arc::new(Mutex::new(std::io::stdout())),
            err: Arc::new(Mutex::new(std::io::stderr())),
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Two buffers; `terminal` says whether to behave as on one.
    pub fn to(
        out: Arc<Mutex<dyn Write + Send>>,
        err: Arc<Mutex<dyn Write + Send>>,
        terminal: bool,
    ) -> Self {
        Self { out, err, terminal }
    }

    /// The same output, for another holder.
    pub(super) fn share(&self) -> Self {
        self.clone()
    }

    pub(super) fn complain(&mut self, text: &str) {
        // There is nowhere left to report a broken standard error to.
        let _ = writeln!(self.err.lock(), "{text}");
    }
}

/// What a command works with.
#[derive(Debug)]
pub(super) struct Context {
    /// The HTTP caller.
    pub(super) http: Http,
    /// The name the program was called by.
    pub(super) program: String,
    /// The namespace option, as given.
    pub(super) namespace: Option<String>,
    /// The token, as given.
    pub(super) token: Option<String>,
    output: Output,
    paint: Paint,
}

impl Context {
    pub(super) fn new(program: String, global: &Global, output: Output) -> anyhow::Result<Self> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let target = Target {
            dialect: Dialect::Jobs,
            address: given(&global.address).unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
            region: given(&global.region),
            namespace: given(&global.namespace),
            token: given(&global.token),
            ..Target::default()
        };
        Ok(Self {
            namespace: target.namespace.clone(),
            token: target.token.clone(),
            http: Http::new(target)?,
            program,
            paint: paint(global, output.terminal),
            output,
        })
    }

    /// True when the output is a terminal that can be repainted.
    pub(super) fn is_terminal(&self) -> bool {
        self.output.terminal
    }

    /// How values look at this moment.
    pub(super) fn view(&self, verbose: bool) -> View {
        View {
            now: clock::now(),
            zone: jiff::tz::TimeZone::system(),
            verbose,
            paint: self.paint,
        }
    }

    /// Prints a text and ends the line.
    ///
    /// # Errors
    /// When the output is closed.
    pub(super) fn print(&mut self, text: &str) -> anyhow::Result<()> {
        let text = printable(text, self.paint);
        self.write(format!("{text}\n").as_bytes())
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When the output is closed.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = self.output.out.lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Prints a text on standard error, in red on a terminal.
    pub(super) fn complain(&mut self, text: &str) {
        let text = self.paint.ink(super::view::Ink::Red, text);
        self.output.complain(&printable(&text, self.paint));
    }

    /// Prints a text beside the output, on standard error.
    pub(super) fn point_out(&mut self, text: &str) {
        self.output.complain(&printable(text, self.paint));
    }

    /// Prints bytes on standard error as they are.
    ///
    /// # Errors
    /// When standard error is closed.
    pub(super) fn write_error(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut err = self.output.err.lock();
        err.write_all(bytes)?;
        err.flush()?;
        Ok(())
    }
}

fn paint(global: &Global, terminal: bool) -> Paint {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if global.no_color || set("NO_COLOR") || set("NOMAD_CLI_NO_COLOR") {
        return Paint::Plain;
    }
    if terminal || global.force_color || set("NOMAD_CLI_FORCE_COLOR") {
        Paint::Color
    } else {
        Paint::Plain
    }
}

/// True when the reader of our output went away: nothing to report.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
