//! Commands beside tasks, at a terminal: what is typed and shown, its size, and its end.

use crate::harness::{
    Agent, DEADLINE,
    agent::{Mode, TRIVET},
    command::trivet,
    http,
    job::Echo,
};
use reqwest::{Method, StatusCode};
use sys::terminal::{self, Terminal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    process::Command,
    time::timeout,
};

/// What somebody at a terminal sees.
struct Shown {
    from: pipe::Receiver,
    text: String,
}

impl Shown {
    /// Reads until the text is there.
    async fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let mut piece = [0; 4096];
            let read = timeout(DEADLINE, self.from.read(&mut piece)).await;
            let read = read.unwrap_or_else(|_| panic!("no `{wanted}` in {:?}", self.text));
            let length = read.unwrap_or_else(|error| panic!("{error}: {:?}", self.text));
            self.text
                .push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_beside_a_task_has_a_terminal_that_changes_its_size() {
    let agent = Agent::start().await;
    let job = Echo::new("term", 1);
    job.run(&agent).await;
    let alloc = job.running(&agent, 1).await.remove(0);
    let id = alloc["ID"].as_str().expect("an id");
    let script = "stty size; until [ \"$(stty size)\" = '40 100' ]; do sleep 0.05; done; echo resized; \
                  read line; echo \"got $line\"; exit 5";
    let (terminal, of_program) = Terminal::open((24, 80)).expect("a terminal");
    let stream = || of_program.try_clone().expect("a descriptor");
    let mut command = Command::new(TRIVET);
    command
        .args(["alloc", "exec", "-task", "server", id, "sh", "-c", script])
        .env("NOMAD_ADDR", agent.url("http", ""))
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .kill_on_drop(true);
    terminal::controls_terminal(&mut command);
    let mut child = command.spawn().expect("it starts");
    drop((command, of_program));
    let handle = || terminal.handle().expect("a descriptor");
    let mut shown = Shown {
        from: pipe::Receiver::from_owned_fd_unchecked(handle()).expect("a stream"),
        text: String::new(),
    };
    let mut typed = pipe::Sender::from_owned_fd_unchecked(handle()).expect("a stream");
    shown.until("24 80").await;
    terminal.resize((40, 100)).expect("a new size");
    shown.until("resized").await;
    typed.write_all(b"hello\r").await.expect("what is typed");
    shown.until("got hello").await;
    let ended = timeout(DEADLINE, child.wait()).await.expect("it ends");
    assert_eq!(ended.expect("a status").code(), Some(5), "{:?}", shown.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_tasks_are_refused_where_the_operator_wants_none() {
    let client =
        "client {\n disable_remote_exec = true\n options = { \"driver.denylist\" = \"java\" }\n}\n";
    let agent = Agent::start_with(Mode::Dev, client).await;
    let job = Echo::new("term", 1);
    job.run(&agent).await;
    let alloc = job.running(&agent, 1).await.remove(0);
    let id = alloc["ID"].as_str().expect("an id");
    let exec = ["alloc", "exec", "-task", "server", id, "true"];
    let refused = trivet(&agent, &exec).await.text();
    assert!(refused.contains("Permission denied"), "{refused}");
    // Other actions on tasks stay.
    let restart = agent.url("http", &format!("/v1/client/allocation/{id}/restart"));
    let (status, body) = http::send(Method::PUT, &restart, None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let node = alloc["NodeID"].as_str().expect("a node");
    let node = http::get(&agent.url("http", &format!("/v1/node/{node}"))).await;
    let drivers = node["Drivers"].as_object().expect("drivers");
    assert!(drivers.contains_key("exec") && !drivers.contains_key("java"));
}
