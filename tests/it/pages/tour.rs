//! Every page in every state that it has: nothing is wider than the window, nothing is complained
//! of, and a screen reader has a name for whatever can be used.
//!
//! With `TRIVET_TEST_PICTURES=1` there is a picture of each at each width, light and dark, in
//! `target/tmp/web-ui`, for those who look at them.

use super::{
    TEXT, WIDTHS,
    browser::{Browser, refused},
    put_key, with_canary,
};
use crate::harness::{Agent, Echo, http, load::Load};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Tour {
    page: Browser,
    pictures: Option<PathBuf>,
    /// The command lines that were shown.
    lines: BTreeSet<String>,
    wrong: String,
}

impl Tour {
    fn new(page: Browser) -> Self {
        let pictures = std::env::var_os("TRIVET_TEST_PICTURES")
            .map(|_| Path::new(env!("CARGO_TARGET_TMPDIR")).join("web-ui"));
        if let Some(directory) = &pictures {
            std::fs::create_dir_all(directory).expect("a directory");
        }
        Self {
            page,
            pictures,
            lines: BTreeSet::new(),
            wrong: String::new(),
        }
    }

    /// Goes to a page and looks at it.
    async fn see(&mut self, name: &str, path: &str) {
        self.page.go(path).await;
        self.look(name).await;
        let text = self.page.text().await;
        assert!(!text.contains("cannot be shown"), "{name}: {text}");
    }

    /// Goes to a page and looks at it when requests are seen on it.
    async fn see_traffic(&mut self, name: &str, path: &str) {
        self.page.go(path).await;
        self.page
            .wait("/[1-9]/.test([...document.querySelectorAll('.figure b, .route-head b')].map((own) => own.innerText).join())")
            .await;
        self.look(name).await;
    }

    /// Looks at what is there.
    async fn look(&mut self, name: &str) {
        self.lines.extend(self.page.commands().await);
        for width in WIDTHS {
            self.page.size(width, 900).await;
            let beyond = self.page.beyond_window().await;
            if beyond > 0.0 {
                self.complain(&format!("{name} at {width}: {beyond} px too wide"));
            }
            if width == WIDTHS[0] {
                // Behind a question there is nothing for a screen reader.
                let is_asked = self.page.is_asked().await;
                for own in self.page.unnamed(!is_asked).await {
                    self.complain(&format!("{name}: {own}"));
                }
            }
            for (is_dark, colors) in [(true, "dark"), (false, "light")] {
                self.page.colors(is_dark).await;
                let (follows, faint) = self.page.contrast().await;
                if follows != is_dark {
                    self.complain(&format!("{name} is not {colors}"));
                }
                for own in faint {
                    self.complain(&format!("{name} at {width}, {colors}: {own}"));
                }
                if let Some(directory) = &self.pictures {
                    let file = directory.join(format!("{name}-{width}-{colors}.png"));
                    self.page.picture(&file).await;
                }
            }
        }
        self.page.size(WIDTHS[0], 900).await;
    }

    fn complain(&mut self, what: &str) {
        writeln!(self.wrong, "{what}").expect("a string takes text");
    }
}

async fn first(agent: &Agent, path: &str) -> String {
    let rows = http::get(&agent.url("http", path)).await;
    rows[0]["ID"].as_str().expect("an id").to_owned()
}

/// A job of one task that does not end by itself, or that no node has room for.
fn batch(id: &str, memory: u32) -> Value {
    json!({"Job": {
        "ID": id, "Type": "batch",
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec",
            "Config": {"command": "/bin/sleep", "args": ["1000"]},
            "Resources": {"CPU": 20, "MemoryMB": memory},
        }]}],
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_every_page_fits_the_window() {
    let agent = Agent::start().await;
    let Some(page) = Browser::at(&agent).await else {
        return;
    };
    let mut tour = Tour::new(page);
    tour.page.open("/").await;
    tour.page.wait_text("Nothing runs yet").await;
    tour.look("home-empty").await;

    let web = with_canary(2, "one");
    web.run(&agent).await;
    web.deployment(&agent, 0, "successful").await;
    put_key(&agent, "app/name", "trivet").await;
    let variable = json!({"Path": "app/db", "Items": {"user": "admin"}});
    http::put(&agent.url("http", "/v1/var/app/db"), &variable).await;
    let load = Load::start(agent.address("ingress"), "/web", 50, TIMEOUT);
    let alloc = first(&agent, "/v1/job/web/allocations").await;
    let node = first(&agent, "/v1/nodes").await;
    let eval = first(&agent, "/v1/evaluations").await;
    let job = |tab: &str| format!("/jobs/web@default{tab}");
    for (name, path) in [
        ("jobs", "/jobs".to_owned()),
        ("run", "/jobs/run".into()),
        ("job-allocations", job("/allocations")),
        ("job-deployment", job("/deployments")),
        ("job-evaluations", job("/evaluations")),
        ("job-definition", job("/definition")),
        ("job-logs", job("/logs")),
        ("allocation-logs", format!("/allocations/{alloc}/logs")),
        ("allocation-files", format!("/allocations/{alloc}/files")),
        ("allocation-terminal", format!("/allocations/{alloc}/exec")),
        ("services", "/services".into()),
        ("topology", "/topology".into()),
        ("nodes", "/topology?view=table".into()),
        ("node", format!("/clients/{node}")),
        ("servers", "/servers".into()),
        ("evaluations", "/evaluations".into()),
        ("evaluation", format!("/evaluations?currentEval={eval}")),
        ("kv", "/kv".into()),
        ("key", "/kv/app/name?key=true".into()),
        ("variables", "/variables".into()),
        ("variable", "/variables/var/app/db@default".into()),
        ("events", "/events".into()),
    ] {
        tour.see(name, &path).await;
    }
    for (name, path) in [
        ("home", "/".to_owned()),
        ("job", job("")),
        ("allocation", format!("/allocations/{alloc}")),
        ("service", "/services/web".into()),
        ("routes", "/routes?url=/web".into()),
    ] {
        tour.see_traffic(name, &path).await;
    }
    questions(&mut tour).await;
    busy(&agent, &mut tour, &node).await;
    load.stop().await;
    let Tour {
        page, lines, wrong, ..
    } = tour;
    assert!(wrong.is_empty(), "{wrong}");
    // What the pages show as command lines are some.
    assert!(lines.len() > 30, "{lines:?}");
    for line in lines {
        assert_eq!(refused(&line), None, "{line}");
    }
    page.end_clean();
}

/// What opens over a page, and a job while it is written.
async fn questions(tour: &mut Tour) {
    tour.page.go("/jobs/web@default").await;
    tour.page.press("Scale").await;
    tour.look("question").await;
    tour.page.press("Cancel").await;
    tour.page.paste("#search", "we").await;
    tour.page
        .wait("document.querySelector('[role=option]') !== null")
        .await;
    tour.look("search").await;
    tour.page.value("document.activeElement.blur()").await;
    tour.page
        .wait("document.querySelector('[role=option]') === null")
        .await;
    tour.page.click(".menu-button").await;
    tour.look("menu").await;
    tour.page.go("/jobs/run").await;
    let text = with_canary(2, "two").hcl();
    tour.page
        .paste(TEXT, &text.replace("count = 2", "count = -2"))
        .await;
    tour.page.wait_text("1 problem").await;
    tour.look("run-problem").await;
    tour.page.paste(TEXT, &text).await;
    tour.page.wait_text("No problems").await;
    tour.page.press("Plan").await;
    tour.page.wait_text("place 1 as canary").await;
    tour.look("run-plan").await;
    tour.page.problems();
}

/// A rollout under way, what has no place, and a node that is emptied.
async fn busy(agent: &Agent, tour: &mut Tour, node: &str) {
    let mut shop = Echo::new("shop", 3);
    shop.service =
        "meta {\n rollout_steps = \"10,50\"\n rollout_hold = \"10m\"\n rollout_warmup = \"0s\"\n}"
            .into();
    shop.update =
        "canary = 1\nmax_parallel = 3\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
            .into();
    shop.run(agent).await;
    shop.deployment(agent, 0, "successful").await;
    let load = Load::start(agent.address("ingress"), "/shop", 50, TIMEOUT);
    shop.text = "new".into();
    shop.register(agent).await;
    let jobs = agent.url("http", "/v1/jobs");
    for job in [batch("long", 20), batch("large", 10_000_000)] {
        http::put(&jobs, &job).await;
    }
    tour.page.go("/jobs/shop@default/deployments").await;
    tour.page.wait_text("Step 1 of 2").await;
    tour.page
        .wait("/Requests\\/s\\n[1-9]/.test(document.querySelector('.side.new').innerText)")
        .await;
    tour.look("job-rollout").await;
    tour.see("job-versions", "/jobs/shop@default/versions")
        .await;
    tour.see("job-waiting", "/jobs/large@default").await;
    let runs = |allocs: &Value| {
        let alloc = allocs.as_array()?.first()?;
        (alloc["ClientStatus"] == "running").then_some(())
    };
    agent.wait("/v1/job/long/allocations", runs).await;
    let wish = json!({"DrainSpec": {"Deadline": 0}, "Meta": {"message": "new disks"}});
    let drain = agent.url("http", &format!("/v1/node/{node}/drain"));
    http::put(&drain, &wish).await;
    tour.page.go(&format!("/clients/{node}")).await;
    tour.page.wait_text("It waits as long as that takes.").await;
    tour.look("node-drain").await;
    for (name, path) in [
        ("home-busy", "/"),
        ("jobs-busy", "/jobs"),
        ("evaluations-busy", "/evaluations"),
        ("topology-busy", "/topology"),
        ("routes-busy", "/routes"),
    ] {
        tour.see(name, path).await;
    }
    load.stop().await;
}
