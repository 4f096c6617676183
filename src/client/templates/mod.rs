//! The templates of a task: rendered before its first start, and again whenever what they read is
//! different. What a change asks for is handed to the runner of the task, once for all that
//! changed together.
//!
//! `files` is where they lie, `world` where their values come from, `catalog` what of that the
//! agent holds itself. The language is the package `templates`.

mod catalog;
mod files;
#[cfg(test)]
mod tests;
mod world;

pub(crate) use catalog::Place;

use crate::allocdir::AllocDir;
use config::TemplateRules;
use files::Files;
use jobs::model::{ChangeScript, Span, Template};
use parking_lot::Mutex;
use rpc::session;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use sys::{random, threads::Threads};
use templates::{Options, Rendered, World};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use world::{Changes, TaskWorld};

/// How long values must be calm before they are rendered, unless a template says so.
const CALM_MIN: Duration = Duration::from_millis(50);
/// The longest that rendering waits for them to be calm, unless a template says so.
const CALM_MAX: Duration = Duration::from_secs(2);
/// How long something may be missing before the task says so.
const MISSING_PAUSE: Duration = Duration::from_secs(3);
/// What is missing is named up to this number.
const MISSING_NAMED_MAX: usize = 3;
/// Signal of a change unless the template names one.
const USUAL_SIGNAL: &str = "SIGHUP";

/// Values by name.
pub(super) type Variables = Arc<BTreeMap<String, String>>;

/// Why a task has no templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Template failed: {dest}: {reason}")]
pub(super) struct TemplateError {
    /// As the job names it.
    dest: String,
    reason: String,
}

/// What templates have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Something is missing.
    Waits,
    /// All are there.
    Ready {
        /// The variables that they add.
        variables: Variables,
        /// How often they were rendered.
        round: u64,
    },
    Failed(TemplateError),
}

/// What changed templates ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Action {
    /// Restart the task; nothing else is to be done then.
    pub(super) restart: bool,
    /// Signals by name.
    pub(super) signals: BTreeSet<String>,
    /// Commands to run in the task, each once.
    pub(super) scripts: Vec<ChangeScript>,
}

impl Action {
    fn add(&mut self, template: &Template) {
        match template.change_mode.as_str() {
            "noop" => {}
            "signal" => {
                let name = match template.change_signal.as_str() {
                    "" => USUAL_SIGNAL,
                    name => name,
                };
                self.signals.insert(name.to_owned());
            }
            "script" => self.add_script(template),
            _ => self.restart = true,
        }
    }

    fn add_script(&mut self, template: &Template) {
        let script = template.change_script.as_deref();
        let new = script.filter(|one| !self.scripts.contains(one)).cloned();
        self.scripts.extend(new);
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn merge(&mut self, later: Self) {
        self.restart |= later.restart;
        self.signals.extend(later.signals);
        for script in later.scripts {
            if !self.scripts.contains(&script) {
                self.scripts.push(script);
            }
        }
    }
}

/// What waits to be done for a task.
#[derive(Debug, Default)]
struct Pending {
    asked: Mutex<Asked>,
    /// After the next start of the task.
    on_start: Mutex<Action>,
    woken: Notify,
}

/// What changes ask for.
#[derive(Debug, Default)]
struct Asked {
    action: Action,
    /// The task was started with what this round gave: what it and those before it ask for is done.
    known: u64,
}

/// A file that is followed: what a template gives, or a token.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Where it is written, and what becomes of a change.
    pub(super) template: Template,
    /// In the place of the template's text.
    pub(super) token: Option<Token>,
}

impl From<Template> for Wanted {
    fn from(template: Template) -> Self {
        Self {
            template,
            token: None,
        }
    }
}

/// A token that says who the task is.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Name of the identity.
    pub(super) identity: String,
    /// A variable that holds it, too.
    pub(super) variable: Option<String>,
    /// Whether there is a file of it at all.
    pub(super) is_file: bool,
}

/// What templates need of the task's runner.
pub(super) struct Setting {
    /// Of the allocation.
    pub(super) dir: AllocDir,
    /// Name of the task.
    pub(super) task: String,
    /// The task's environment.
    pub(super) variables: Variables,
    /// Where the task is.
    pub(super) place: Place,
    /// The way to the servers.
    pub(super) session: session::Handle,
    /// Where rendering holds nobody up.
    pub(super) threads: Threads,
    /// In the order of the job, with their paths resolved.
    pub(super) wanted: Vec<Wanted>,
    /// What the operator says of them.
    pub(super) rules: TemplateRules,
    /// Takes what is to be told about them.
    pub(super) tell: Box<dyn Fn(String) + Send + Sync>,
    /// Takes the variables that they add, whenever they are others.
    pub(super) add: Box<dyn Fn(Variables) + Send + Sync>,
}

/// The templates of one task, which are followed until this is dropped.
#[derive(Debug)]
pub(super) struct Templates {
    progress: watch::Receiver<Progress>,
    pending: Arc<Pending>,
    following: JoinHandle<()>,
}

impl Drop for Templates {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Whether the task runs already when its templates begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// It starts after them.
    BeforeStart,
    /// It runs with what an earlier agent has rendered.
    Running,
}

impl Templates {
    /// Begins to render and to follow them.
    pub(super) fn begin(setting: Setting, begin: Begin) -> Self {
        let (sender, progress) = watch::channel(Progress::Waits);
        let pending = Arc::<Pending>::default();
        let following =
            tokio::spawn(Follower::new(setting, sender, Arc::clone(&pending)).run(begin));
        Self {
            progress,
            pending,
            following,
        }
    }

    /// Before a start: waits until every file is there; the variables that templates add, as they
    /// are now. What changed before asks for nothing any more.
    ///
    /// # Errors
    /// [`TemplateError`] when one of them can never be rendered as things are.
    pub(super) async fn ready(&mut self) -> Result<Variables, TemplateError> {
        let decided = self
            .progress
            .wait_for(|progress| *progress != Progress::Waits)
            .await;
        match decided.as_deref() {
            Ok(Progress::Ready { variables, round }) => {
                let action = std::mem::take(&mut *self.pending.on_start.lock());
                let known = *round;
                *self.pending.asked.lock() = Asked { action, known };
                Ok(Arc::clone(variables))
            }
            Ok(Progress::Failed(error)) => Err(error.clone()),
            Ok(Progress::Waits) | Err(_) => Err(TemplateError {
                dest: String::new(),
                reason: "rendering broke".into(),
            }),
        }
    }

    /// Waits for a change that asks for something.
    pub(super) async fn action(&self) -> Action {
        loop {
            let action = std::mem::take(&mut self.pending.asked.lock().action);
            if !action.is_nothing() {
                return action;
            }
            self.pending.woken.notified().await;
        }
    }
}

/// What one look at all templates gave.
#[derive(Debug, Default)]
struct Round {
    texts: Vec<Option<String>>,
    missing: BTreeSet<String>,
}

/// How long values must be calm before they are rendered, and the longest that rendering waits for
/// that: the longest that any template says, or what the operator says where none does, within what
/// the operator allows.
fn calm(wanted: &[Wanted], rules: &TemplateRules) -> (Duration, Duration) {
    let waits = wanted.iter();
    let mut waits = waits
        .filter_map(|one| one.template.wait.as_deref())
        .peekable();
    let usual = match rules.calm {
        Some(calm) if waits.peek().is_none() => calm,
        _ => (CALM_MIN, CALM_MAX),
    };
    let given = |span: Option<Span>| span.map_or(Duration::ZERO, Span::to_std);
    let (least, most) = waits.fold(usual, |(least, most), wait| {
        (least.max(given(wait.min)), most.max(given(wait.max)))
    });
    match rules.calm_bounds {
        Some((lower, upper)) => {
            let upper = upper.max(lower);
            (least.clamp(lower, upper), most.clamp(lower, upper))
        }
        None => (least, most),
    }
}

struct Follower {
    world: Arc<TaskWorld>,
    files: Files,
    wanted: Arc<Vec<Wanted>>,
    /// Functions that none may use.
    denied: Arc<BTreeSet<String>>,
    /// How long values must be calm, and are waited for at most.
    calm: (Duration, Duration),
    /// What each was rendered to last.
    texts: Vec<Option<String>>,
    threads: Threads,
    tell: Box<dyn Fn(String) + Send + Sync>,
    add: Box<dyn Fn(Variables) + Send + Sync>,
    progress: watch::Sender<Progress>,
    pending: Arc<Pending>,
}

impl Follower {
    fn new(setting: Setting, progress: watch::Sender<Progress>, pending: Arc<Pending>) -> Self {
        let files = Files {
            dir: setting.dir,
            task: setting.task,
        };
        let world = TaskWorld::new(
            setting.variables,
            files.clone(),
            setting.place,
            setting.session,
        );
        Self {
            world: Arc::new(world),
            files,
            calm: calm(&setting.wanted, &setting.rules),
            denied: Arc::new(setting.rules.denied_functions),
            texts: vec![None; setting.wanted.len()],
            wanted: Arc::new(setting.wanted),
            threads: setting.threads,
            tell: setting.tell,
            add: setting.add,
            progress,
            pending,
        }
    }

    async fn run(mut self, begin: Begin) {
        let first = match self.first().await {
            Ok(first) => first,
            Err(error) => {
                self.progress.send_replace(Progress::Failed(error));
                return;
            }
        };
        if let Err(error) = self.take(first, begin == Begin::Running).await {
            self.progress.send_replace(Progress::Failed(error));
            return;
        }
        if self.wanted.iter().all(|one| one.template.once) {
            return;
        }
        loop {
            let mut changes = self.world.changes();
            changes.next().await;
            self.calm(&mut changes).await;
            let round = match self.look().await {
                Ok(round) if round.missing.is_empty() => round,
                // What vanished stays as it was until it is there again.
                Ok(_) => continue,
                Err(error) => {
                    (self.tell)(format!("{error}; the file stays as it was"));
                    continue;
                }
            };
            if let Err(error) = self.take(round, true).await {
                (self.tell)(format!("{error}; the file stays as it was"));
            }
        }
    }

    /// Renders until everything is there.
    async fn first(&self) -> Result<Round, TemplateError> {
        let mut told = String::new();
        let mut due = Instant::now() + MISSING_PAUSE;
        loop {
            let round = self.look().await?;
            if round.missing.is_empty() {
                return Ok(round);
            }
            let missing = named(&round.missing);
            let mut changes = self.world.changes();
            loop {
                tokio::select! {
                    () = changes.next() => break,
                    () = sleep_until(due), if told != missing => {
                        (self.tell)(format!("Missing: {missing}"));
                        told.clone_from(&missing);
                        due = Instant::now() + MISSING_PAUSE;
                    }
                }
            }
        }
    }

    /// Waits until values are calm.
    async fn calm(&self, changes: &mut Changes) {
        let (least, most) = self.calm;
        let end = Instant::now() + most.max(least);
        while timeout(least, changes.next()).await.is_ok() {
            if Instant::now() + least >= end {
                sleep_until(end).await;
                return;
            }
        }
    }

    /// Renders all, those that are rendered once only if they were not yet.
    async fn look(&self) -> Result<Round, TemplateError> {
        let (world, wanted) = (Arc::clone(&self.world), Arc::clone(&self.wanted));
        let kept: Vec<Option<String>> = wanted
            .iter()
            .zip(&self.texts)
            .map(|(one, text)| text.clone().filter(|_| one.template.once))
            .collect();
        let (files, denied) = (self.files.clone(), Arc::clone(&self.denied));
        let look = move || Ok(look(&world, (&files, &denied), &wanted, kept));
        let looked = self.threads.run(look).await;
        looked.unwrap_or_else(|error| {
            Err(TemplateError {
                dest: String::new(),
                reason: error.to_string(),
            })
        })
    }

    /// Writes what is different; with `acts`, what that asks for is handed over.
    async fn take(&mut self, round: Round, acts: bool) -> Result<(), TemplateError> {
        let (files, wanted) = (self.files.clone(), Arc::clone(&self.wanted));
        let (before, texts) = (self.texts.clone(), round.texts.clone());
        let write = move || Ok(write(&files, &wanted, &before, &texts));
        let written = self.threads.run(write).await;
        let written = written.unwrap_or_else(|error| {
            Err(TemplateError {
                dest: String::new(),
                reason: error.to_string(),
            })
        })?;
        self.texts = round.texts;
        let round = match *self.progress.borrow() {
            Progress::Ready { round, .. } => round + 1,
            Progress::Waits | Progress::Failed(_) => 1,
        };
        let variables = Arc::new(written.variables);
        (self.add)(Arc::clone(&variables));
        let mut action = Action::default();
        let changed = self.wanted.iter().zip(&written.changed);
        let changed = changed.filter_map(|(one, is_changed)| is_changed.then_some(&one.template));
        let mut splay = Duration::ZERO;
        for template in changed {
            let runs_first = template
                .change_script
                .as_deref()
                .and_then(|one| one.run_on_first_render);
            if acts {
                action.add(template);
                splay = splay.max(template.splay.to_std());
            } else if round == 1 && runs_first == Some(true) {
                self.pending.on_start.lock().add_script(template);
            }
        }
        self.progress
            .send_replace(Progress::Ready { variables, round });
        if action.is_nothing() {
            return Ok(());
        }
        let part = f64::from(u16::try_from(random::seed() >> 48).unwrap_or(u16::MAX));
        sleep(splay.mul_f64(part / f64::from(u16::MAX))).await;
        let mut asked = self.pending.asked.lock();
        // A task that was started in between has it already.
        if asked.known < round {
            asked.action.merge(action);
            self.pending.woken.notify_one();
        }
        Ok(())
    }
}

/// What is missing, the first few by name.
fn named(missing: &BTreeSet<String>) -> String {
    let names: Vec<&str> = missing
        .iter()
        .take(MISSING_NAMED_MAX)
        .map(String::as_str)
        .collect();
    let names = names.join(", ");
    match missing.len().saturating_sub(MISSING_NAMED_MAX) {
        0 => names,
        more => format!("{names}, and {more} more"),
    }
}

fn look(
    world: &Arc<TaskWorld>,
    (files, denied): (&Files, &Arc<BTreeSet<String>>),
    wanted: &[Wanted],
    kept: Vec<Option<String>>,
) -> Result<Round, TemplateError> {
    world.begin();
    let mut round = Round::default();
    let mut failed = None;
    for (one, kept) in wanted.iter().zip(kept) {
        let rendered = match (kept, &one.token) {
            (Some(text), _) => Ok(Rendered::Done(text)),
            (None, Some(token)) => Ok(world.token(&token.identity).map_or_else(
                || Rendered::Waits([format!("identity.token({})", token.identity)].into()),
                Rendered::Done,
            )),
            (None, None) => render(world, (files, denied), &one.template),
        };
        let text = match rendered {
            Ok(Rendered::Done(text)) => Some(text),
            Ok(Rendered::Waits(missing)) => {
                round.missing.extend(missing);
                None
            }
            Err(error) => {
                failed = failed.or(Some(error));
                None
            }
        };
        round.texts.push(text);
    }
    if let Some(refused) = world.finish() {
        round.missing.insert(refused);
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(round),
    }
}

fn render(
    world: &Arc<TaskWorld>,
    (files, denied): (&Files, &Arc<BTreeSet<String>>),
    template: &Template,
) -> Result<Rendered, TemplateError> {
    let failed = |reason: String| TemplateError {
        dest: template.dest_path.clone(),
        reason,
    };
    let text = match (
        template.embedded_tmpl.as_str(),
        template.source_path.as_str(),
    ) {
        (text, "") => text.to_owned(),
        ("", path) => files
            .text(path)
            .map_err(|problem| failed(problem.to_string()))?,
        _ => {
            return Err(failed(
                "it has both `data` and `source`, and needs one of them".into(),
            ));
        }
    };
    let options = Options {
        name: template.dest_path.clone(),
        left: template.left_delim.clone(),
        right: template.right_delim.clone(),
        missing_key_fails: template.err_missing_key,
        denied: Arc::clone(denied),
    };
    let world: Arc<dyn World> = Arc::<TaskWorld>::clone(world);
    templates::render(&text, &options, &world).map_err(|error| failed(error.to_string()))
}

struct Written {
    /// By template.
    changed: Vec<bool>,
    variables: BTreeMap<String, String>,
}

fn write(
    files: &Files,
    wanted: &[Wanted],
    before: &[Option<String>],
    texts: &[Option<String>],
) -> Result<Written, TemplateError> {
    let mut written = Written {
        changed: Vec::with_capacity(wanted.len()),
        variables: BTreeMap::new(),
    };
    for ((one, before), text) in wanted.iter().zip(before).zip(texts) {
        let template = &one.template;
        let failed = |reason: String| TemplateError {
            dest: template.dest_path.clone(),
            reason,
        };
        let text = text.as_deref().unwrap_or_default();
        if template.envvars {
            let variables =
                templates::variables(text).map_err(|error| failed(error.to_string()))?;
            written.variables.extend(variables);
        }
        if let Some(token) = &one.token {
            let variable = token.variable.clone();
            written
                .variables
                .extend(variable.map(|name| (name, text.to_owned())));
            if !token.is_file {
                let is_other = before.as_deref().is_some_and(|before| before != text);
                written.changed.push(is_other);
                continue;
            }
        }
        let is_there = files.holds(template, text);
        if !is_there {
            files
                .write(template, text)
                .map_err(|problem| failed(problem.to_string()))?;
        }
        written.changed.push(!is_there);
    }
    Ok(written)
}
