//! Jobs of the sample workload.

use super::{Agent, agent::TRIVET, command};
use serde_json::Value;
use std::fmt::Write;

/// A service job that runs `trivet echo`.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    /// Job id and service name.
    pub(crate) id: String,
    /// Instances.
    pub(crate) count: u32,
    /// Text that it answers.
    pub(crate) text: String,
    /// Lines of an `update` block.
    pub(crate) update: String,
    /// Further arguments of the program.
    pub(crate) args: Vec<String>,
    /// Lines of the service block.
    pub(crate) service: String,
    /// Lines of the group block.
    pub(crate) group: String,
    /// Lines of the task block.
    pub(crate) task: String,
    /// Static port instead of a dynamic one.
    pub(crate) static_port: Option<u16>,
    /// Longest time of its check: on a busy machine an instance that is well may take a while.
    pub(crate) check_timeout: String,
    /// MB of memory.
    pub(crate) memory: u32,
}

impl Echo {
    /// `count` instances of `id`, routed at `/id`, checked once a second.
    pub(crate) fn new(id: &str, count: u32) -> Self {
        Self {
            id: id.into(),
            count,
            text: "one".into(),
            update: "max_parallel = 1\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
                .into(),
            args: Vec::new(),
            service: String::new(),
            group: String::new(),
            task: "kill_timeout = \"5s\"".into(),
            static_port: None,
            check_timeout: "10s".into(),
            memory: 20,
        }
    }

    /// The job file.
    pub(crate) fn hcl(&self) -> String {
        let Self {
            id,
            count,
            update,
            service,
            group,
            task,
            check_timeout,
            memory,
            ..
        } = self;
        let mut args = format!(
            "\"echo\", \"-listen\", \"127.0.0.1:${{NOMAD_PORT_http}}\", \"-text\", \"{}\"",
            self.text
        );
        for arg in &self.args {
            write!(args, ", \"{arg}\"").expect("a string takes text");
        }
        let port = self
            .static_port
            .map(|port| format!("static = {port}"))
            .unwrap_or_default();
        format!(
            r#"
job "{id}" {{
  update {{
    {update}
  }}
  group "web" {{
    count = {count}
    {group}
    network {{
      port "http" {{ {port} }}
    }}
    restart {{
      attempts = 20
      interval = "1m"
      delay    = "0s"
      mode     = "fail"
    }}
    service {{
      name = "{id}"
      port = "http"
      tags = ["urlprefix-/{id}"]
      {service}
      check {{
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "{check_timeout}"
      }}
    }}
    task "server" {{
      driver = "raw_exec"
      {task}
      config {{
        command = "{TRIVET}"
        args    = [{args}]
      }}
      resources {{
        cpu    = 20
        memory = {memory}
      }}
    }}
  }}
}}
"#
        )
    }

    /// Registers it by the API; answers with the evaluation's id.
    pub(crate) async fn register(&self, agent: &Agent) -> String {
        let answer = agent.register(&self.hcl()).await;
        answer["EvalID"].as_str().expect("an evaluation").to_owned()
    }

    /// Registers it and waits until every instance of this version passes.
    pub(crate) async fn run(&self, agent: &Agent) {
        self.register(agent).await;
        self.passing(agent, self.count as usize).await;
    }

    /// Waits until exactly `count` instances pass.
    pub(crate) async fn passing(&self, agent: &Agent, count: usize) {
        let path = format!("/v1/health/service/{}?passing", self.id);
        agent
            .wait_catalog(&path, |entries| {
                (entries.as_array()?.len() == count).then_some(())
            })
            .await;
    }

    /// Waits until exactly `count` instances pass, all of them of `version`. The ingress and the
    /// names of the agent that is asked know no others then.
    pub(crate) async fn passing_version(&self, agent: &Agent, version: u64, count: usize) {
        let path = format!("/v1/health/service/{}?passing", self.id);
        let version = version.to_string();
        agent
            .wait_catalog(&path, |entries| {
                let entries = entries.as_array()?;
                let is_of = |entry: &Value| entry["Service"]["Meta"]["job_version"] == *version;
                (entries.len() == count && entries.iter().all(is_of)).then_some(())
            })
            .await;
    }

    /// Waits until a deployment of the job, of at least `version`, has `status`; one that failed
    /// may be followed by that of the version it went back to.
    pub(crate) async fn deployment(&self, agent: &Agent, version: u64, status: &str) -> Value {
        let path = format!("/v1/job/{}/deployments", self.id);
        agent
            .wait(&path, |deployments| {
                let mut wanted: Vec<&Value> = (deployments.as_array()?.iter())
                    .filter(|one| one["JobVersion"].as_u64() >= Some(version))
                    .collect();
                wanted.sort_by_key(|one| one["JobVersion"].as_u64());
                let found = wanted.iter().find(|one| one["Status"] == status);
                let ended =
                    |one: &&Value| one["Status"] == "failed" || one["Status"] == "cancelled";
                assert!(
                    found.is_some() || !wanted.first().is_some_and(ended),
                    "{deployments}"
                );
                found.map(|one| (*one).clone())
            })
            .await
    }

    /// Writes the job file into the agent's directory and answers with its name.
    pub(crate) fn write(&self, agent: &Agent) -> String {
        let name = format!("{}.nomad", self.id);
        std::fs::write(agent.dir().join(&name), self.hcl()).expect("a job file");
        name
    }

    /// Runs a job command on its file.
    pub(crate) async fn command(&self, agent: &Agent, args: &[&str]) -> command::Output {
        let name = self.write(agent);
        command::trivet(agent, &[args, &[&name]].concat()).await
    }

    /// Allocations of the job that the servers want and that run.
    pub(crate) async fn running(&self, agent: &Agent, count: usize) -> Vec<Value> {
        let path = format!("/v1/job/{}/allocations", self.id);
        agent
            .wait(&path, |allocs| {
                let live = |alloc: &&Value| {
                    alloc["DesiredStatus"] == "run" && alloc["ClientStatus"] == "running"
                };
                let running: Vec<Value> = allocs.as_array()?.iter().filter(live).cloned().collect();
                (running.len() == count).then_some(running)
            })
            .await
    }
}
