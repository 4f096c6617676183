//! The full screen of `top` in a terminal: what it shows, and what its keys do.

use crate::harness::{
    Agent, DEADLINE, Echo, agent::TRIVET, command::trivet, eventually, http, load::Load,
};
use serde_json::{Value, json};
use std::{
    fs::File,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use sys::terminal::{Terminal, controls_terminal};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    process::{Child, Command},
    time::timeout,
};

const ROWS: usize = 24;
const COLUMNS: usize = 80;

/// What a terminal shows after the bytes that came: text, and where the next character goes.
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Parameters of a sequence that has begun.
    sequence: Option<String>,
    /// The screen of before was given back.
    is_restored: bool,
}

impl Screen {
    fn new() -> Self {
        Self {
            cells: vec![vec![' '; COLUMNS]; ROWS],
            row: 0,
            column: 0,
            sequence: None,
            is_restored: false,
        }
    }

    fn take(&mut self, text: &str) {
        for letter in text.chars() {
            match (&mut self.sequence, letter) {
                (None, '\u{1b}') => self.sequence = Some(String::new()),
                (None, _) => self.put(letter),
                (Some(known), '[') if known.is_empty() => known.push('['),
                (Some(known), '0'..='9' | ';' | '?') if known.starts_with('[') => {
                    known.push(letter)
                }
                (Some(_), _) => {
                    let known = self.sequence.take().expect("there is one");
                    self.act(&known, letter);
                }
            }
        }
    }

    fn put(&mut self, letter: char) {
        match letter {
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            _ => {
                if let Some(cell) = self
                    .cells
                    .get_mut(self.row)
                    .and_then(|row| row.get_mut(self.column))
                {
                    *cell = letter;
                }
                self.column += 1;
            }
        }
    }

    fn act(&mut self, known: &str, end: char) {
        match (known, end) {
            ("[2", 'J') => self.cells = vec![vec![' '; COLUMNS]; ROWS],
            ("[?1049", 'l') => self.is_restored = true,
            (_, 'H') => {
                let mut numbers = known.trim_start_matches('[').split(';');
                let mut next = || numbers.next().and_then(|text| text.parse::<usize>().ok());
                self.row = next().unwrap_or(1).saturating_sub(1);
                self.column = next().unwrap_or(1).saturating_sub(1);
            }
            _ => {}
        }
    }

    fn text(&self) -> String {
        let rows = self.cells.iter();
        let lines = rows.map(|row| row.iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// `trivet top` in a terminal of 80 by 24.
struct Top {
    child: Child,
    typed: pipe::Sender,
    screen: Arc<Mutex<Screen>>,
}

impl Top {
    fn start(agent: &Agent) -> Self {
        let (terminal, program) = Terminal::open((24, 80)).expect("a terminal");
        let program = File::from(program);
        let own = || Stdio::from(program.try_clone().expect("a descriptor"));
        let mut command = Command::new(TRIVET);
        command
            .arg("top")
            .env("NOMAD_ADDR", agent.url("http", ""))
            .env("TERM", "xterm")
            .current_dir(agent.dir())
            .stdin(own())
            .stdout(own())
            .stderr(own())
            .kill_on_drop(true);
        controls_terminal(&mut command);
        let child = command.spawn().expect("it starts");
        let end = || terminal.handle().expect("a descriptor");
        let typed = pipe::Sender::from_owned_fd_unchecked(end()).expect("a terminal");
        let mut told = pipe::Receiver::from_owned_fd_unchecked(end()).expect("a terminal");
        let screen = Arc::new(Mutex::new(Screen::new()));
        let shown = Arc::clone(&screen);
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            // It fails when the program has ended.
            while told.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                // A character may come in two pieces.
                let whole = match std::str::from_utf8(&bytes) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text: Vec<u8> = bytes.drain(..whole).collect();
                let text = String::from_utf8(text).expect("whole characters");
                shown.lock().expect("no panic").take(&text);
            }
        });
        Self {
            child,
            typed,
            screen,
        }
    }

    fn text(&self) -> String {
        self.screen.lock().expect("no panic").text()
    }

    async fn shows(&self, wanted: &str) {
        eventually(&format!("`{wanted}` on the screen"), async || {
            match self.text() {
                text if text.contains(wanted) => Ok(()),
                text => Err(text),
            }
        })
        .await;
    }

    /// Types keys, as fast as nobody can.
    async fn keys(&mut self, keys: &str) {
        let typed = self.typed.write_all(keys.as_bytes()).await;
        typed.expect("the program reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_seen_and_stopped_in_a_terminal() {
    let agent = Agent::start().await;
    Echo::new("web", 2).run(&agent).await;
    let timeout_each = Duration::from_secs(5);
    let load = Load::start(agent.address("ingress"), "/web", 50, timeout_each);
    let mut top = Top::start(&agent);
    top.shows("1 Jobs  2 Allocations  3 Routes  4 Events  5 Logs")
        .await;
    top.shows("running  service  0    2/2").await;

    // Routes with live rates, then the allocations of the job.
    top.keys("3").await;
    top.shows("/web").await;
    eventually("requests a second on the screen", async || {
        let text = top.text();
        let row = text.lines().find(|line| line.starts_with("/web"));
        let words = row.iter().flat_map(|row| row.split_whitespace());
        // The rate is the first number with a part behind the point.
        let mut rates = words.filter(|word| word.contains('.'));
        let rate = rates.next().and_then(|word| word.parse::<f64>().ok());
        match rate {
            Some(rate) if rate > 0.0 => Ok(()),
            _ => Err(text),
        }
    })
    .await;
    load.stop().await;
    top.keys("1\r").await;
    top.shows("web.web[1]").await;
    top.keys("?").await;
    top.shows("scale the job by one").await;
    top.keys("x").await;

    // It asks before it changes something, and says what came of it.
    top.keys("1s").await;
    top.shows("Stop the job web? y/n").await;
    top.keys("n").await;
    top.shows("? keys   q leave").await;
    top.keys("+y").await;
    top.shows("web is asked to have 3").await;
    top.shows("3/3").await;
    top.keys("sy").await;
    top.shows("web stops").await;
    top.shows("stopped").await;
    let job = http::get(&agent.url("http", "/v1/job/web")).await;
    assert_eq!(job["Stop"], true, "{job}");
    top.keys("x").await;
    top.shows("Purge the job web? y/n").await;
    top.keys("y").await;
    top.shows("web is gone").await;
    top.shows("There is nothing here yet.").await;

    top.keys("q").await;
    let ended = timeout(DEADLINE, top.child.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
    eventually("the terminal of before", async || {
        match top.screen.lock().expect("no panic").is_restored {
            true => Ok(()),
            false => Err(top.text()),
        }
    })
    .await;

    // Where there is no terminal, there are rows.
    let rows = trivet(&agent, &["top", "-n", "1"]).await.ok();
    assert!(!rows.stdout.contains('\u{1b}'), "{}", rows.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_judged_and_tasks_are_restarted_in_a_terminal() {
    let agent = Agent::start().await;
    let mut web = Echo::new("web", 2);
    web.update =
        "canary = 1\nmax_parallel = 2\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
            .into();
    web.run(&agent).await;
    web.deployment(&agent, 0, "successful").await;
    let mut top = Top::start(&agent);
    top.shows("running  service  0    2/2").await;

    // A canary that waits, held and let go on, then promoted when it is well.
    web.text = "two".into();
    web.register(&agent).await;
    top.shows("promote?").await;
    let healthy = |deployment: &Value| {
        let group = &deployment["TaskGroups"]["web"];
        (group["HealthyAllocs"] == 1).then_some(())
    };
    agent.wait("/v1/job/web/deployment", healthy).await;
    top.keys("z").await;
    top.shows("Pause ").await;
    top.keys("y").await;
    top.shows("it is paused").await;
    web.deployment(&agent, 1, "paused").await;
    top.shows("paused\n").await;
    top.keys("z").await;
    top.shows("Let ").await;
    top.keys("y").await;
    top.shows("it goes on").await;
    web.deployment(&agent, 1, "running").await;
    top.shows("promote?").await;
    top.keys("p").await;
    top.shows("Promote the canaries of ").await;
    top.keys("y").await;
    top.shows("the canaries are promoted").await;
    web.deployment(&agent, 1, "successful").await;
    web.passing(&agent, 2).await;

    // What it writes, what happens, and its tasks again.
    top.keys("l").await;
    top.shows("web.web[0] server  listening on ").await;
    top.keys("4").await;
    top.shows("DeploymentPromotion").await;
    top.keys("1r").await;
    top.shows("Restart the tasks of web?").await;
    top.keys("y").await;
    top.shows("2 allocations of web restarted").await;
    top.keys("\r").await;
    top.shows("web.web[1]").await;
    top.keys("r").await;
    top.shows("Restart the tasks of ").await;
    top.keys("y").await;
    top.shows(" is restarted").await;
    top.keys("s").await;
    top.shows("Stop the allocation ").await;
    top.keys("y").await;
    top.shows(" stops").await;
    web.passing(&agent, 2).await;

    // One that goes by steps, on and back, and is given up.
    web.text = "three".into();
    web.service =
        "meta {\n rollout_steps = \"10,50\"\n rollout_hold = \"10m\"\n rollout_warmup = \"0s\"\n}"
            .into();
    web.register(&agent).await;
    top.keys("1").await;
    top.shows("promote?").await;
    let judged = |deployment: &Value| {
        let phase = deployment["TaskGroups"]["web"]["Rollout"]["Phase"].as_str();
        phase.is_some_and(|phase| phase != "warming").then_some(())
    };
    agent.wait("/v1/job/web/deployment", judged).await;
    for (key, asked, said) in [
        ("n", "Next step of ", "the rollout is one step on"),
        ("b", "One step back of ", "the rollout is one step back"),
    ] {
        top.keys(key).await;
        top.shows(asked).await;
        top.keys("y").await;
        top.shows(said).await;
    }
    top.keys("f").await;
    top.shows("Fail ").await;
    top.keys("y").await;
    top.shows("the deployment failed, as asked").await;
    web.deployment(&agent, 2, "failed").await;

    // The version before it again; and what is launched when somebody wants it.
    top.keys("u").await;
    top.shows("Revert web to version 1? y/n").await;
    top.keys("y").await;
    top.shows("web goes back to version 1").await;
    top.shows("running  service  3    2/2").await;
    top.keys("dy").await;
    top.shows("web is neither periodic nor parameterized").await;
    let yearly = json!({"Job": {
        "ID": "yearly", "Type": "batch",
        "Periodic": {"Enabled": true, "SpecType": "cron", "Spec": "0 0 1 1 *"},
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
            "Resources": {"CPU": 20, "MemoryMB": 16},
        }]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &yearly).await;
    top.shows("yearly").await;
    top.keys("G").await;
    top.keys("d").await;
    top.shows("Launch the job yearly now? y/n").await;
    top.keys("y").await;
    top.shows("yearly is launched").await;
    top.shows("yearly/periodi dead").await;
    top.keys("q").await;
    let ended = timeout(DEADLINE, top.child.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
}
