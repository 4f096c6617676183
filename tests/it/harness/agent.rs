//! A running agent of the binary under test.

use super::{DEADLINE, http};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};
use sys::{cgroups::Cgroup, faults};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, timeout},
};

/// The binary under test.
pub(crate) const TRIVET: &str = env!("CARGO_BIN_EXE_trivet");

/// A later build: it has one command and one field more, and the rules that they belong to. None
/// when nobody built it.
pub(crate) fn later_build() -> Option<PathBuf> {
    Some(Path::new(TRIVET).with_file_name("trivet-next")).filter(|program| program.is_file())
}

/// Ports per agent, so that agents of tests that run side by side do not meet.
const PORTS_PER_AGENT: u16 = 100;
/// How many of them are no dynamic ports, for listeners that a test chooses.
const OWN_PORTS: u16 = 4;
static NEXT_PORTS: AtomicU16 = AtomicU16::new(0);

/// How an agent is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `-dev`: tasks end with the agent.
    Dev,
    /// A data directory that outlives the agent, and so do the tasks.
    Durable,
    /// The same, with a server that has no client beside it.
    Server,
    /// The same, with a client and no server.
    Client,
}

/// What an agent may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// As much as there is.
    Free,
    /// Files of at most so many blocks of 512 bytes.
    Files {
        /// The limit.
        blocks: u32,
    },
    /// So many open files and sockets.
    Descriptors {
        /// The limit.
        count: u32,
    },
    /// So many open files and sockets at the start; the agent may raise it.
    SoftDescriptors {
        /// The limit.
        count: u32,
    },
    /// A data directory on a disk of its own that nobody else sees. Needs root.
    Disk {
        /// Its size, MiB.
        mib: u32,
    },
    /// A network [`namespace`] that there is. Needs root.
    Network {
        /// The network.
        lan: u8,
        /// Who it is in it.
        member: u8,
    },
}

/// The name of the namespace of a member of a network of this process.
pub(crate) fn namespace(lan: u8, member: u8) -> String {
    format!("trivet-it-{}-{lan}-{member}", std::process::id())
}

/// A running agent; killed, with all its tasks, when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    /// Listener name to its address, as the agent printed it.
    listeners: BTreeMap<String, SocketAddr>,
    dir: TempDir,
    mode: Mode,
    ports: (u16, u16),
    program: PathBuf,
}

impl Agent {
    /// A dev agent.
    pub(crate) async fn start() -> Self {
        Self::start_with(Mode::Dev, "").await
    }

    /// An agent with further lines of configuration.
    pub(crate) async fn start_with(mode: Mode, more: &str) -> Self {
        Self::start_in(mode, more, Room::Free).await
    }

    /// An agent with bounds on what it may use.
    pub(crate) async fn start_in(mode: Mode, more: &str, room: Room) -> Self {
        Self::start_below(&std::env::temp_dir(), mode, more, room, |_| ()).await
    }

    /// An agent with its directory below `base`, which is prepared before it starts.
    pub(crate) async fn start_below(
        base: &Path,
        mode: Mode,
        more: &str,
        room: Room,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("trivet-it-")
            .tempdir_in(base)
            .expect("a directory");
        let first = 20_000 + NEXT_PORTS.fetch_add(1, Ordering::Relaxed) % 110 * PORTS_PER_AGENT;
        let ports = (first, first + PORTS_PER_AGENT - OWN_PORTS - 1);
        std::fs::write(
            dir.path().join("agent.hcl"),
            configuration(dir.path(), mode, ports, more),
        )
        .expect("a configuration");
        prepare(dir.path());
        let program = PathBuf::from(TRIVET);
        let (child, listeners) = launch(&program, dir.path(), mode, room, &[]).await;
        Self {
            child,
            listeners,
            dir,
            mode,
            ports,
            program,
        }
    }

    /// Where the named listener is: `http`, `catalog`, `dns`, `ingress`, `ingress_admin`.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        *self
            .listeners
            .get(listener)
            .unwrap_or_else(|| panic!("no listener {listener} among {:?}", self.listeners))
    }

    /// Whether it has the named listener.
    pub(crate) fn has(&self, listener: &str) -> bool {
        self.listeners.contains_key(listener)
    }

    /// URL of `path` on the named listener.
    pub(crate) fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.address(listener))
    }

    /// A directory of this agent's own.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has written to its log since it was made.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.dir().join("agent.log")).unwrap_or_default()
    }

    /// First and last dynamic port.
    pub(crate) fn ports(&self) -> (u16, u16) {
        self.ports
    }

    /// A port that no task gets unless it asks for it, one of [`OWN_PORTS`].
    pub(crate) fn own_port(&self, which: u16) -> u16 {
        assert!(which < OWN_PORTS, "it has no port {which}");
        self.ports.1 + 1 + which
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        let id = self.child.id().expect("the agent runs");
        Pid::from_raw(i32::try_from(id).expect("a process id"))
    }

    /// Asks the agent to stop, as Ctrl-C does, and waits for it.
    pub(crate) async fn stop(&mut self) -> std::process::ExitStatus {
        kill(self.pid(), Signal::SIGINT).expect("the agent runs");
        self.ended().await
    }

    /// Waits until the agent has ended.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        timeout(DEADLINE, self.child.wait())
            .await
            .expect("the agent stops in time")
            .expect("a status")
    }

    /// kill -9 of the agent alone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("the agent runs");
    }

    /// Starts the agent again on the same data directory and ports of its own.
    pub(crate) async fn start_again(&mut self) {
        self.start_with_faults(&[]).await;
    }

    /// From its next start on it is another build.
    pub(crate) fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Starts an agent that has ended, which refuses and ends; what it said.
    pub(crate) async fn refuses_to_start(&self) -> String {
        let mut command = command(&self.program, self.dir.path(), self.mode, Room::Free, &[]);
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let output = timeout(DEADLINE, command.output())
            .await
            .expect("it ends in time")
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "it started and ended: {said}");
        said
    }

    /// As [`Agent::start_again`]; it, or what it starts, dies at a place that the program names.
    pub(crate) async fn start_with_fault(&mut self, place: &str) {
        self.start_with_faults(&[(faults::VARIABLE, place)]).await;
    }

    /// As [`Agent::start_again`], with variables of [`faults`] and their values.
    pub(crate) async fn start_with_faults(&mut self, faults: &[(&str, &str)]) {
        let (program, dir) = (&self.program, self.dir.path());
        let (child, listeners) = launch(program, dir, self.mode, Room::Free, faults).await;
        self.child = child;
        self.listeners = listeners;
    }

    /// Processes that belong to tasks of this agent: those with an allocation directory below its
    /// own.
    pub(crate) fn task_processes(&self) -> Vec<Pid> {
        processes_of(self.dir.path())
    }

    /// The control group in which this agent's tasks get theirs; none where there are none.
    pub(crate) fn control_group(&self) -> Option<Cgroup> {
        let path = std::fs::read_to_string(self.dir.path().join("data/client/run/cgroup")).ok()?;
        Some(Cgroup::at(Path::new(&path)))
    }

    /// Registers a job file over the API; what that answers.
    pub(crate) async fn register(&self, hcl: &str) -> Value {
        let parse = self.url("http", "/v1/jobs/parse");
        let parsed = http::put(&parse, &json!({ "JobHCL": hcl })).await;
        http::put(&self.url("http", "/v1/jobs"), &json!({ "Job": parsed })).await
    }

    /// Reads `path` of the jobs API with a blocking query again and again until `wanted` finds what
    /// it wants in it.
    pub(crate) async fn wait<T>(&self, path: &str, wanted: impl FnMut(&Value) -> Option<T>) -> T {
        http::wait_until(&self.url("http", path), "x-nomad-index", wanted).await
    }

    /// As [`Agent::wait`], on the catalog API.
    pub(crate) async fn wait_catalog<T>(
        &self,
        path: &str,
        wanted: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        http::wait_until(&self.url("catalog", path), "x-consul-index", wanted).await
    }
}

/// So many bytes at the end of an agent's log are shown when its test fails.
const SHOWN_LOG: usize = 1 << 16;

#[expect(
    clippy::print_stdout,
    reason = "what a test prints is shown when it fails"
)]
fn show_log(dir: &Path) {
    let log = std::fs::read(dir.join("agent.log")).unwrap_or_default();
    let shown = &log[log.len().saturating_sub(SHOWN_LOG)..];
    println!("the agent said:\n{}", String::from_utf8_lossy(shown));
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_log(self.dir.path());
        }
        self.child.start_kill().ok();
        // A dead agent starts nothing more; what it had just started shows by the second look at
        // the latest.
        let mut empty_looks = 0;
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let is_dead = !matches!(self.child.try_wait(), Ok(None));
            let mut left = processes_of(self.dir.path());
            left.extend(helpers_of(self.dir.path()));
            empty_looks = if is_dead && left.is_empty() {
                empty_looks + 1
            } else {
                0
            };
            let gone =
                empty_looks >= 2 && self.control_group().is_none_or(|it| it.remove().is_ok());
            if gone {
                return;
            }
            for pid in left {
                kill(pid, Signal::SIGKILL).ok();
            }
            // Who was killed needs a processor to end.
            std::thread::sleep(Duration::from_millis(1));
        }
        if !std::thread::panicking() {
            panic!(
                "processes or control groups of {} are left",
                self.dir.path().display()
            );
        }
    }
}

fn configuration(dir: &Path, mode: Mode, ports: (u16, u16), more: &str) -> String {
    let roles = match mode {
        Mode::Dev => "",
        Mode::Durable => {
            "bind_addr = \"127.0.0.1\"\nserver { enabled = true }\nplugin \"raw_exec\" {\n  config { enabled = true }\n}\n"
        }
        Mode::Server => "bind_addr = \"127.0.0.1\"\n",
        Mode::Client => {
            "bind_addr = \"127.0.0.1\"\nplugin \"raw_exec\" {\n  config { enabled = true }\n}\n"
        }
    };
    let runs_tasks = mode != Mode::Server;
    format!(
        "data_dir = \"{}\"\n\
         name = \"node-{}\"\n\
         ports {{\n  http = 0\n  rpc = 0\n  catalog = 0\n  dns = 0\n  ingress = 0\n  ingress_admin = 0\n}}\n\
         client {{\n  enabled = {runs_tasks}\n  min_dynamic_port = {}\n  max_dynamic_port = {}\n  artifact_directories = [\"{}\"]\n}}\n\
         {roles}{more}\n",
        dir.join("data").display(),
        ports.0,
        ports.0,
        ports.1,
        dir.display(),
    )
}

/// The program below limits, given as lines of the shell.
fn below(limits: &str, program: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{limits}; exec \"$@\""), "sh"]);
    shell.arg(program);
    shell
}

/// The command that starts an agent on a directory.
fn command(program: &Path, dir: &Path, mode: Mode, room: Room, faults: &[(&str, &str)]) -> Command {
    let mut command = match room {
        Room::Free => Command::new(program),
        Room::Files { blocks } => {
            // A write past the limit is an error, not a signal.
            below(&format!("trap '' XFSZ; ulimit -f {blocks}"), program)
        }
        Room::Descriptors { count } => below(&format!("ulimit -n {count}"), program),
        Room::SoftDescriptors { count } => below(&format!("ulimit -S -n {count}"), program),
        Room::Disk { mib } => {
            let data = dir.join("data");
            std::fs::create_dir_all(&data).expect("a directory");
            let mut own = Command::new("unshare");
            let mount = format!(
                "mount -t tmpfs -o size={mib}m tmpfs {} && exec \"$@\"",
                data.display()
            );
            own.args(["--mount", "/bin/sh", "-c", &mount, "sh"]);
            own.arg(program);
            own
        }
        Room::Network { lan, member } => {
            let mut entered = Command::new("nsenter");
            entered.arg(format!("--net=/run/netns/{}", namespace(lan, member)));
            entered.arg(program);
            entered
        }
    };
    command
        .arg("agent")
        .arg("-config")
        .arg(dir.join("agent.hcl"));
    if mode == Mode::Dev {
        command.arg("-dev");
    }
    if !faults.is_empty() {
        // What hangs where it is told to can be found.
        command.env(faults::MARK, dir).envs(faults.iter().copied());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

async fn launch(
    program: &Path,
    dir: &Path,
    mode: Mode,
    room: Room,
    faults: &[(&str, &str)],
) -> (Child, BTreeMap<String, SocketAddr>) {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("agent.log"))
        .expect("a log file");
    let mut child = command(program, dir, mode, room, faults)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut listeners = BTreeMap::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if let Some((name, address)) = line.trim().split_once(": ")
                && let Ok(address) = address.parse()
            {
                listeners.insert(name.to_owned(), address);
            }
            if line.contains("agent started") {
                return true;
            }
        }
        false
    };
    let started = timeout(DEADLINE, reading)
        .await
        .expect("the agent starts in time");
    let log = || std::fs::read_to_string(dir.join("agent.log")).unwrap_or_default();
    assert!(started, "the agent did not start: {}", log());
    // Keep the pipe open and empty.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, listeners)
}

fn all_processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").expect("procfs");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The first argument of a process; empty when there is none.
fn subcommand(pid: i32) -> Vec<u8> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let word = line.split(|&byte| byte == 0).nth(1);
    word.unwrap_or_default().to_vec()
}

/// What an agent started of its own program, such as its fork server, whatever that does or hangs
/// in. It ends by itself only after the agent.
fn helpers_of(dir: &Path) -> Vec<Pid> {
    let mark = [
        faults::MARK.as_bytes(),
        b"=",
        dir.as_os_str().as_encoded_bytes(),
    ]
    .concat();
    let is_marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        subcommand(*pid) == b"supervise" && variables.any(|variable| variable == mark)
    };
    all_processes()
        .filter(is_marked)
        .map(Pid::from_raw)
        .collect()
}

fn processes_of(dir: &Path) -> Vec<Pid> {
    let marker = dir.as_os_str().as_encoded_bytes().to_vec();
    let holds = |file: PathBuf| {
        std::fs::read(file)
            .is_ok_and(|bytes| bytes.windows(marker.len()).any(|window| window == marker))
    };
    all_processes()
        .filter(|pid| {
            let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
            let subcommand = subcommand(*pid);
            // A supervisor works in a directory of the agent, which its environment does not name.
            let works = std::fs::read_link(of("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
            let is_named = || {
                let by_environment = subcommand != b"supervise" && holds(of("environ"));
                by_environment || holds(of("cmdline"))
            };
            subcommand != b"agent" && (works || is_named())
        })
        .map(Pid::from_raw)
        .collect()
}

/// Waits until no process of the agent's tasks is left.
pub(crate) async fn no_process_left(dir: &Path) {
    let gone = async {
        while !processes_of(dir).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(DEADLINE, gone).await;
    assert!(
        waited.is_ok(),
        "processes are left: {:?}",
        processes_of(dir)
    );
}
