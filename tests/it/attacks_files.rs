//! A task of user `nobody` that puts links, pipes and directories where the agent, which runs as
//! root, works with files: nothing outside is read, written or made, nothing hangs, and traffic
//! goes on.

use crate::harness::{Agent, DEADLINE, Echo, eventually, http, probes::Probes};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// What only the agent may read.
const SECRET: &str = "SECRET-OF-ROOT";
/// How long one attack goes on while the agent works.
const ROUNDS: usize = 40;
/// Traffic is looked at once in so many of them.
const PROBED_EVERY: usize = 10;

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
/// True, with a loud word, when this process cannot start tasks of other users.
fn lacks_root() -> bool {
    let lacks = !nix::unistd::geteuid().is_root();
    if lacks {
        eprintln!("SKIPPED: this test needs root, to run a task as another user");
    }
    lacks
}

/// An agent, its files to protect, and one task of user `nobody` that attacks.
struct Scene {
    agent: Agent,
    /// Closed for everyone but root, with one secret file.
    outside: PathBuf,
    before: BTreeMap<PathBuf, (u64, u32, Vec<u8>)>,
}

impl Scene {
    async fn start() -> Self {
        let agent = Agent::start().await;
        // Tasks of other users must reach their directories.
        fs::set_permissions(agent.dir(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let outside = agent.dir().join("outside");
        fs::create_dir_all(outside.join("dir")).expect("a directory");
        for path in ["secret", "dir/secret"] {
            fs::write(outside.join(path), SECRET).expect("a file");
            fs::set_permissions(outside.join(path), fs::Permissions::from_mode(0o600))
                .expect("a mode");
        }
        let before = everything_below(&outside);
        Self {
            agent,
            outside,
            before,
        }
    }

    /// Runs `script` as `nobody` in a service job; answers with the allocation's id once it runs.
    /// `$OUT` is the directory to protect.
    async fn attack(&self, script: &str, more: &Value) -> String {
        let script = format!("OUT={}\n{script}", self.outside.display());
        let mut task = json!({
            "Name": "t", "Driver": "raw_exec", "User": "nobody",
            "Config": {"command": "/bin/sh", "args": ["-c", script]},
            "LogConfig": {"MaxFiles": 3, "MaxFileSizeMB": 1},
            "KillTimeout": 1_000_000_000,
            "Resources": {"CPU": 10, "MemoryMB": 10}
        });
        for (key, value) in more.as_object().expect("an object") {
            task[key] = value.clone();
        }
        let job = json!({"Job": {
            "ID": "attack", "Type": "service",
            "TaskGroups": [{"Name": "g",
                "RestartPolicy": {"Attempts": 100, "Interval": 60_000_000_000_i64, "Delay": 1, "Mode": "fail"},
                "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
                "Tasks": [task]}],
        }});
        http::put(&self.agent.url("http", "/v1/jobs"), &job).await;
        self.agent
            .wait("/v1/job/attack/allocations", |allocs| {
                let alloc = allocs.get(0)?;
                let state = &alloc["TaskStates"]["t"];
                let known = state["State"] == "running" || alloc["ClientStatus"] == "failed";
                known.then(|| alloc["ID"].as_str().expect("an id").to_owned())
            })
            .await
    }

    fn alloc_dir(&self, alloc: &str) -> PathBuf {
        self.agent.dir().join("data/alloc").join(alloc)
    }

    /// Asks a file endpoint; answers within the deadline or the test fails.
    async fn ask(&self, path: &str) -> (StatusCode, String) {
        let url = self.agent.url("http", path);
        let asked = timeout(DEADLINE, http::send(Method::GET, &url, None)).await;
        let (status, body) = asked.unwrap_or_else(|_| panic!("{path} hangs"));
        assert!(!body.contains(SECRET), "{path} shows the secret");
        (status, body)
    }

    /// Nothing outside was made, changed, or given other rights.
    fn assert_untouched(&self) {
        assert_eq!(everything_below(&self.outside), self.before);
    }

    /// Waits until the answer contains `text`: what a task wrote last may still be on its way into
    /// its files.
    async fn until_shown(&self, path: &str, text: &str) {
        eventually(text, || async {
            let (status, found) = self.ask(path).await;
            assert_eq!(status, StatusCode::OK);
            let end: String = found.chars().rev().take(100).collect();
            let is_there = found.contains(text);
            is_there.then_some(()).ok_or(end)
        })
        .await;
    }

    /// Waits for a file that the attacker makes.
    async fn until_there(path: &Path) {
        let there = async {
            while fs::symlink_metadata(path).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(DEADLINE, there).await;
        assert!(waited.is_ok(), "{} was never made", path.display());
    }
}

/// Each path below `dir` with its inode, its mode and its content.
fn everything_below(dir: &Path) -> BTreeMap<PathBuf, (u64, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let content = if metadata.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
            Vec::new()
        } else {
            fs::read(&path).unwrap_or_default()
        };
        found.insert(path, (metadata.ino(), metadata.mode(), content));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_logs_are_neither_written_nor_read_through_what_a_task_puts_in_their_place() {
    if lacks_root() {
        return;
    }
    let scene = Scene::start().await;
    // Rotation goes through numbers that the attacker tries to take first, with everything that has
    // a name.
    let script = r#"
        cd "$NOMAD_ALLOC_DIR/logs" 2>/dev/null
        for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
            ln -s "$OUT/made-$n" "t.stdout.$n" 2>/dev/null
            ln -s "$OUT/secret" "t.stderr.$n" 2>/dev/null
        done
        ln "$OUT/secret" t.stdout.90 2>/dev/null
        mkfifo t.stdout.91 2>/dev/null
        mv ../logs ../logs-away 2>/dev/null
        mkdir ../logs 2>/dev/null
        touch "$NOMAD_TASK_DIR/ready"
        line=0123456789012345678901234567890123456789012345678901234567890123456789
        i=0
        while [ $i -lt 60000 ]; do echo "$i $line"; i=$((i+1)); done
        touch "$NOMAD_TASK_DIR/written"
        sleep 600"#;
    let alloc = scene.attack(script, &json!({})).await;
    Scene::until_there(&scene.alloc_dir(&alloc).join("t/local/written")).await;
    let logs = scene.alloc_dir(&alloc).join("alloc/logs");
    assert_eq!(fs::metadata(&logs).expect("logs").mode() & 0o7777, 0o755);
    let wanted = format!("/v1/client/fs/logs/{alloc}?task=t&plain=true");
    for kind in ["stdout", "stderr"] {
        for origin in ["start", "end"] {
            let path = format!("{wanted}&type={kind}&origin={origin}&offset=100000000");
            let (status, _) = scene.ask(&path).await;
            assert!(
                status == StatusCode::OK || status == StatusCode::NOT_FOUND,
                "{status}"
            );
        }
    }
    scene
        .until_shown(&format!("{wanted}&type=stdout&origin=start"), "59999 0123")
        .await;
    scene.assert_untouched();
}

/// A logs directory of an earlier version, which everybody may write to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_an_open_logs_directory_gives_a_task_no_more() {
    if lacks_root() {
        return;
    }
    let scene = Scene::start().await;
    let script = r#"
        while [ ! -e "$NOMAD_TASK_DIR/go" ]; do sleep 0.01; done
        cd "$NOMAD_ALLOC_DIR/logs"
        for n in 1 3 5; do ln -s "$OUT/made-$n" "t.stdout.$n"; done
        for n in 2 4 6; do ln -s "$OUT/secret" "t.stdout.$n"; done
        mkfifo t.stdout.7 t.stdout.70; mkdir t.stdout.8 t.stdout.80
        touch t.stdout.18446744073709551615
        touch "$NOMAD_TASK_DIR/planted"
        line=0123456789012345678901234567890123456789012345678901234567890123456789
        i=0
        while [ $i -lt 60000 ]; do echo "$i $line"; i=$((i+1)); done
        touch "$NOMAD_TASK_DIR/written"
        exec sleep 600"#;
    let alloc = scene.attack(script, &json!({})).await;
    let dir = scene.alloc_dir(&alloc);
    fs::set_permissions(dir.join("alloc/logs"), fs::Permissions::from_mode(0o777)).expect("a mode");
    fs::write(dir.join("t/local/go"), "").expect("a file");
    Scene::until_there(&dir.join("t/local/planted")).await;
    // Whatever the kernel's settings allow `nobody` to do, a hard link is there.
    fs::hard_link(
        scene.outside.join("secret"),
        dir.join("alloc/logs/t.stdout.60"),
    )
    .expect("a link");
    let base = format!("/v1/client/fs/logs/{alloc}?task=t&plain=true&type=stdout");
    for _ in 0..ROUNDS / 4 {
        scene.ask(&format!("{base}&origin=start")).await;
        scene.ask(&format!("{base}&origin=end&offset=100")).await;
    }
    Scene::until_there(&dir.join("t/local/written")).await;
    // The output goes on past what is in the way.
    scene
        .until_shown(&format!("{base}&origin=start"), "59999 0123")
        .await;
    fs::remove_file(dir.join("alloc/logs/t.stdout.60")).expect("removed");
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_the_files_api_shows_nothing_that_is_swapped_in_while_it_reads() {
    if lacks_root() {
        return;
    }
    let scene = Scene::start().await;
    let web = Echo::new("web", 1);
    web.run(&scene.agent).await;
    // Two names that change what they are as fast as a shell can.
    let script = r#"
        cd "$NOMAD_TASK_DIR"
        mkdir real; echo fine > real/secret; echo fine > plain
        mkfifo pipe
        touch ready
        while :; do
            ln -sfn "$OUT" sub; rm -rf sub 2>/dev/null
            mkdir sub 2>/dev/null; echo fine > sub/secret; rm -rf sub
            ln -sf "$OUT/secret" file; rm -f file
            ln -sf ../../../../../outside/secret file; rm -f file
            mkfifo file; rm -f file
            ln plain file; rm -f file
            echo fine > file; rm -f file
        done"#;
    let alloc = scene.attack(script, &json!({})).await;
    let dir = scene.alloc_dir(&alloc).join("t/local");
    Scene::until_there(&dir.join("ready")).await;
    fs::hard_link(scene.outside.join("secret"), dir.join("hard")).expect("a link");
    let probes = Probes::start();
    for round in 0..ROUNDS {
        for path in [
            "t/local/sub/secret",
            "t/local/file",
            "t/local/sub",
            "t/local/pipe",
        ] {
            for (verb, more) in [
                ("cat", ""),
                ("readat", "&offset=0&limit=100"),
                ("stream", "&follow=false&plain=true"),
                ("stat", ""),
                ("ls", ""),
            ] {
                let (status, body) = scene
                    .ask(&format!("/v1/client/fs/{verb}/{alloc}?path={path}{more}"))
                    .await;
                let reads = !matches!(verb, "stat" | "ls");
                assert!(
                    !reads || status != StatusCode::OK || ["fine\n", ""].contains(&body.as_str()),
                    "{verb} {path}: {status} {body}"
                );
            }
        }
        if round % PROBED_EVERY == 0 {
            probes.assert_in_time(&scene.agent, "swapped files").await;
        }
    }
    for (verb, more) in [
        ("cat", ""),
        ("readat", "&offset=0&limit=9"),
        ("stream", "&follow=false"),
    ] {
        let path = format!("/v1/client/fs/{verb}/{alloc}?path=t/local/hard{more}");
        let (status, body) = scene.ask(&path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert!(body.contains("hard links"), "{body}");
    }
    fs::remove_file(dir.join("hard")).expect("removed");
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_an_artifact_lands_nowhere_else_whatever_its_destination_becomes() {
    if lacks_root() {
        return;
    }
    let scene = Scene::start().await;
    fs::write(scene.agent.dir().join("tool"), "of the artifact").expect("a file");
    fs::set_permissions(
        scene.agent.dir().join("tool"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("a mode");
    // A first task swaps the destination of the second one while that is fetched again and again.
    let swap = format!(
        r#"OUT={}
        while [ ! -d "$NOMAD_ALLOC_DIR/../b/local" ]; do sleep 0.01; done
        cd "$NOMAD_ALLOC_DIR/../b/local"
        while :; do
            ln -sfn "$OUT" dest 2>/dev/null; rm -rf dest 2>/dev/null
            mkdir dest 2>/dev/null
            ln -s "$OUT/made" dest/tool 2>/dev/null; rm -f dest/tool 2>/dev/null
            ln -s "$OUT/secret" dest/tool 2>/dev/null; rm -f dest/tool 2>/dev/null
            mkfifo dest/tool 2>/dev/null; rm -rf dest 2>/dev/null
        done"#,
        scene.outside.display()
    );
    let task = |name: &str, script: &str, artifacts: Value| {
        json!({
            "Name": name, "Driver": "raw_exec", "User": "nobody",
            "Config": {"command": "/bin/sh", "args": ["-c", script]},
            "Artifacts": artifacts, "KillTimeout": 1_000_000_000,
            "Resources": {"CPU": 10, "MemoryMB": 10}
        })
    };
    let source = scene.agent.dir().join("tool");
    let artifacts: Vec<Value> = (0..ROUNDS)
        .map(|_| json!({"GetterSource": source, "RelativeDest": "local/dest/"}))
        .collect();
    let job = json!({"Job": {
        "ID": "attack", "Type": "batch",
        "TaskGroups": [{"Name": "g",
            "RestartPolicy": {"Attempts": 20, "Interval": 600_000_000_000_i64, "Delay": 1, "Mode": "fail"},
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
            "Tasks": [
                task("a", &swap, Value::Null),
                task("b", "exit 0", Value::Array(artifacts))
            ]}],
    }});
    http::put(&scene.agent.url("http", "/v1/jobs"), &job).await;
    // However it ends for the task, it ends: the attacker may spoil its own destination.
    let fetched = |alloc: &Value| {
        let events = alloc["TaskStates"]["b"]["Events"]
            .as_array()
            .map_or(0, Vec::len);
        let dead = alloc["TaskStates"]["b"]["State"] == "dead";
        (events >= 8 || dead).then_some(())
    };
    scene
        .agent
        .wait("/v1/job/attack/allocations", |allocs| {
            fetched(allocs.get(0)?)
        })
        .await;
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_local_artifact_is_read_with_the_rights_of_the_task_s_user() {
    if lacks_root() {
        return;
    }
    let scene = Scene::start().await;
    let shadow = scene.outside.join("secret");
    std::os::unix::fs::symlink("/etc/shadow", scene.agent.dir().join("link")).expect("a link");
    for (id, (source, expected)) in ["a", "b", "c", "d"].into_iter().zip([
        (shadow, "cannot be read as user `nobody`"),
        ("/etc/shadow".into(), "artifact_directories"),
        (
            scene.agent.dir().join("../../etc/shadow"),
            "artifact_directories",
        ),
        (scene.agent.dir().join("link"), "leads out of"),
    ]) {
        let job = json!({"Job": {
            "ID": id, "Type": "batch",
            "TaskGroups": [{"Name": "g",
                "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
                "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
                "Tasks": [{
                    "Name": "t", "Driver": "raw_exec", "User": "nobody",
                    "Config": {"command": "/bin/cat", "args": ["local/secret", "local/shadow", "local/link"]},
                    "Artifacts": [{"GetterSource": source}],
                    "Resources": {"CPU": 10, "MemoryMB": 10}}]}],
        }});
        http::put(&scene.agent.url("http", "/v1/jobs"), &job).await;
        let told = scene
            .agent
            .wait(&format!("/v1/job/{id}/allocations"), |allocs| {
                let alloc = allocs.get(0)?;
                (alloc["ClientStatus"] == "failed").then(|| alloc.to_string())
            })
            .await;
        assert!(told.contains(expected), "{}: {told}", source.display());
    }
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_directory_full_of_traps_is_removed_and_the_agent_stops() {
    if lacks_root() {
        return;
    }
    let mut scene = Scene::start().await;
    let script = r#"
        cd "$NOMAD_TASK_DIR"
        mkfifo pipe; ln -s "$OUT" out; ln -s "$OUT/secret" file
        i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i+1)); done
        ln -s "$OUT/dir" out
        touch "$NOMAD_TASK_DIR/ready"
        exec sleep 600"#;
    let alloc = scene.attack(script, &json!({})).await;
    let dir = scene.alloc_dir(&alloc);
    Scene::until_there(&dir.join("t/local/ready")).await;
    // Readers that hang on the pipe would keep the agent.
    for _ in 0..20 {
        scene
            .ask(&format!("/v1/client/fs/cat/{alloc}?path=t/local/pipe"))
            .await;
    }
    let begun = Instant::now();
    assert!(scene.agent.stop().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    assert!(!dir.exists(), "a dev agent removes what its tasks left");
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_offsets_that_no_file_has_are_refused_with_a_reason() {
    let agent = Agent::start().await;
    let job = json!({"Job": {
        "ID": "plain", "Type": "batch",
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec",
            "Config": {"command": "/bin/sh", "args": ["-c", "echo text | tee local/file"]},
            "Resources": {"CPU": 10, "MemoryMB": 10}}]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    let alloc = agent
        .wait("/v1/job/plain/allocations", |allocs| {
            let alloc = allocs.get(0)?;
            (alloc["ClientStatus"] == "complete")
                .then(|| alloc["ID"].as_str().map(str::to_owned))?
        })
        .await;
    let long_path = "a/".repeat(3000);
    let long_name = "n".repeat(300);
    let beyond = "9223372036854775808";
    for (path, expected) in [
        (format!("cat/{alloc}?path=a%00b"), "NUL"),
        (format!("ls/{alloc}?path=%00"), "NUL"),
        (format!("stat/{alloc}?path={long_path}"), "too long"),
        (format!("stat/{alloc}?path={long_name}"), "too long"),
        (format!("stream/{alloc}?path={long_name}"), "too long"),
        (
            format!("readat/{alloc}?path=t/local/file&offset={beyond}&limit=1"),
            beyond,
        ),
        (
            format!("stream/{alloc}?path=t/local/file&offset={beyond}"),
            beyond,
        ),
        (
            format!("logs/{alloc}?task=t&type=stdout&offset={beyond}"),
            beyond,
        ),
    ] {
        let url = agent.url("http", &format!("/v1/client/fs/{path}"));
        let (status, body) = http::send(Method::GET, &url, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert!(body.contains(expected), "{path}: {body}");
    }
    let url = agent.url(
        "http",
        &format!(
            "/v1/client/fs/readat/{alloc}?path=t/local/file&offset=9223372036854775807&limit=1"
        ),
    );
    let (status, body) = http::send(Method::GET, &url, None).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
}

/// CPU that a process has used, in seconds.
fn cpu_seconds(pid: i32) -> f64 {
    let usage = sys::processes::Identity::of(pid)
        .and_then(|process| process.usage())
        .expect("the agent runs");
    let ticks = u32::try_from(usage.user_ticks + usage.system_ticks).expect("a short test");
    let per_second = u32::try_from(sys::clock::ticks_per_second()).expect("a number");
    f64::from(ticks) / f64::from(per_second)
}

/// Followers wait for events. Polling ten times a second cost 41 % of a core for 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_followers_cost_next_to_nothing_and_hear_of_what_is_written() {
    const FOLLOWERS: usize = 200;
    const LOOKED_AT: Duration = Duration::from_secs(4);
    let agent = Agent::start().await;
    let job = json!({"Job": {
        "ID": "quiet", "Type": "service",
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec",
            "Config": {"command": "/bin/sh", "args": ["-c",
                "trap 'echo heard; echo heard > local/file' USR1; echo begun; while :; do sleep 0.1; done"]},
            "KillTimeout": 1_000_000_000,
            "Resources": {"CPU": 10, "MemoryMB": 10}}]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    let alloc = agent
        .wait("/v1/job/quiet/allocations", |allocs| {
            let alloc = allocs.get(0)?;
            (alloc["ClientStatus"] == "running").then(|| alloc["ID"].as_str().map(str::to_owned))?
        })
        .await;
    let url = agent.url(
        "http",
        &format!(
            "/v1/client/fs/logs/{alloc}?task=t&type=stdout&follow=true&plain=true&origin=start"
        ),
    );
    Scene::until_there(
        &agent
            .dir()
            .join("data/alloc")
            .join(&alloc)
            .join("alloc/logs/t.stdout.0"),
    )
    .await;
    let client = http::client();
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let mut response = client.get(&url).send().await.expect("a stream");
        assert_eq!(response.status(), StatusCode::OK);
        let first = response.chunk().await.expect("a piece").expect("a piece");
        assert_eq!(first, "begun\n");
        followers.push(response);
    }
    let pid = agent.pid().as_raw();
    let mut least = f64::INFINITY;
    // What else the agent has to do after the start is done at some time.
    for _ in 0..5 {
        let (before, since) = (cpu_seconds(pid), Instant::now());
        tokio::time::sleep(LOOKED_AT).await;
        let share = (cpu_seconds(pid) - before) / since.elapsed().as_secs_f64();
        least = least.min(share);
        if least < 0.10 {
            break;
        }
    }
    assert!(
        least < 0.10,
        "{FOLLOWERS} idle followers use {least:.2} of a core"
    );
    let signal = json!({"Signal": "SIGUSR1", "TaskName": "t"});
    let path = format!("/v1/client/allocation/{alloc}/signal");
    http::put(&agent.url("http", &path), &signal).await;
    for mut follower in followers {
        let next = timeout(DEADLINE, follower.chunk()).await.expect("in time");
        assert_eq!(next.expect("a piece").expect("a piece"), "heard\n");
    }
}

/// A script check whose allocation stops leaves no process behind, and its output has a limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_check_ends_with_its_allocation_and_leaves_nothing() {
    let agent = Agent::start().await;
    let mark = agent.dir().join("mark");
    // It writes much, leaves a child behind, and then hangs.
    let script = format!(
        "head -c 300000 /dev/zero; sleep 1111 & echo $! > {0}.child; echo $$ > {0}; sleep 1111",
        mark.display()
    );
    let job = json!({"Job": {
        "ID": "checked", "Type": "service",
        "TaskGroups": [{"Name": "g",
            "Tasks": [{
                "Name": "t", "Driver": "raw_exec",
                "Config": {"command": "/bin/sleep", "args": ["600"]},
                "KillTimeout": 1_000_000_000,
                "Services": [{"Name": "checked", "Checks": [{
                    "Name": "hangs", "Type": "script", "Command": "/bin/sh", "Args": ["-c", script],
                    "Interval": 1_000_000_000, "Timeout": 600_000_000_000_i64}]}],
                "Resources": {"CPU": 10, "MemoryMB": 10}}]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    // A file is there before it holds its number.
    let pid = async |path: &Path| {
        eventually("a number", || async {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().parse::<i32>().map_err(|_| text)
        })
        .await
    };
    let child = pid(&mark.with_extension("child")).await;
    let processes: Vec<_> = [pid(&mark).await, child]
        .into_iter()
        .filter_map(sys::processes::Identity::of)
        .collect();
    assert_eq!(processes.len(), 2);
    let url = agent.url("http", "/v1/job/checked");
    http::send(Method::DELETE, &url, None).await;
    let gone = async {
        while processes.iter().any(sys::processes::Identity::is_alive) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = timeout(DEADLINE, gone).await;
    for process in &processes {
        process.kill().ok();
    }
    assert!(ended.is_ok(), "the script lives on");
}
