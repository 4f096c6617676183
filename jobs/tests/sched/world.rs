//! A cluster without machines: the state, its controllers, and clients that do as they are told.

use jobs::{
    control::{
        Action, Blocked, Broker, Delivery, Deployments, Drains, FIRST_RETRY, Gc, GcLimits,
        Heartbeats,
        operator::{self, DrainWish, Scaling},
        rollout::{self, Act, Aim, Asked, Counts, LOOK_INTERVAL, Observed},
        triggers,
    },
    ids::Ids,
    model::{
        AllocId, Allocation, ClientStatus, Constraint, DeploymentId, DesiredStatus, DriverInfo,
        EphemeralDisk, FlatMap, HostPort, Job, JobKey, JobType, MigrateStrategy, NetworkResource,
        Node, NodeAddress, NodeId, NodeNetwork, NodeStatus, PlanResult, Port, PreemptionConfig,
        ReschedulePolicy, SchedulerAlgorithm, SchedulerConfig, ServiceSpec, Share, Span, Spread,
        Task, TaskGroup, TaskPhase, TaskState, Timestamp, Trigger, UpdateStrategy,
    },
    scheduler::{self, Context},
    state::{
        AllocUpdate, Applied, Command, DeregisterJob, RegisterJob, Rejected, Snapshot, Stamp, State,
    },
    verify::verify,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

const START: Timestamp = Timestamp::from_secs(1_000);
const SECOND: Duration = Duration::from_secs(1);
/// How long a node may be silent.
const LEASE: Duration = Duration::from_secs(30);
/// Evaluations decided about in one go.
const BATCH: usize = 16;
/// More turns than any script needs.
const TURNS_MAX: usize = 2_000;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    index: u64,
    seed: u64,
    ids: Ids,
    broker: Broker,
    blocked: Blocked,
    deployments: Deployments,
    drains: Drains,
    heartbeats: Heartbeats,
    gc: Gc,
    jobs: BTreeMap<String, Job>,
    /// Commands of users that are not written yet.
    prepared: VecDeque<Command>,
    /// Plans that are not written yet, with the index that they rest on.
    decided: Option<(u64, Vec<Delivery>, Vec<PlanResult>)>,
    /// What controllers want of rollouts, while it is on its way.
    kept: Option<VecDeque<Command>>,
    /// Where somebody wants a rollout, as it was when that was asked for.
    aimed: Option<Aim>,
    /// Evaluations are not decided about until told.
    held: bool,
    /// How far the clocks of agents are ahead of that of the leader, or behind it.
    clocks_off: Span,
    /// As of the scheduler's context.
    plan_allocs_max: usize,
    /// Alloc ids in order of appearance, for stable names.
    order: Vec<AllocId>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: State::default(),
            now: START,
            index: 0,
            seed: seed << 16 | 3 << 40,
            ids: Ids::from_seed(seed),
            broker: Broker::default(),
            blocked: Blocked::default(),
            deployments: Deployments::new(Ids::from_seed(seed | 1 << 40)),
            drains: Drains::new(Ids::from_seed(seed | 5 << 40)),
            heartbeats: Heartbeats::new(LEASE, Ids::from_seed(seed | 2 << 40)),
            gc: Gc::new(GcLimits::default()),
            jobs: BTreeMap::new(),
            prepared: VecDeque::new(),
            decided: None,
            kept: None,
            aimed: None,
            held: false,
            clocks_off: Span::ZERO,
            plan_allocs_max: 4096,
            order: Vec::new(),
        }
    }

    pub(crate) fn propose(&mut self, command: Command) -> Result<(), Rejected> {
        let mut queue = vec![Action::Propose(command)];
        let mut first = true;
        while !queue.is_empty() {
            let action = queue.remove(0);
            match action {
                Action::Propose(command) if !first && self.keeps(&command) => {}
                Action::Propose(command) => {
                    self.index += 1;
                    let at = Stamp {
                        index: self.index,
                        now: self.now,
                    };
                    match self.state.apply(at, command) {
                        Ok(applied) => {
                            check_invariants(self.state.current());
                            queue.extend(self.feed(&applied));
                        }
                        Err(rejected) if first => return Err(rejected),
                        Err(_) => {}
                    }
                    first = false;
                }
                Action::Enqueue(eval) => self.broker.on_eval(self.now, &eval),
            }
        }
        Ok(())
    }

    /// Keeps what a controller wants of a rollout, if that is to be on its way.
    fn keeps(&mut self, command: &Command) -> bool {
        let moves = matches!(
            command,
            Command::SetRollout(_) | Command::PromoteDeployment { .. }
        );
        match &mut self.kept {
            Some(kept) if moves => {
                kept.push_back(command.clone());
                true
            }
            _ => false,
        }
    }

    /// Writes what was on its way, as the loop around controllers does, and says what became of it.
    fn let_go(&mut self) -> String {
        let mut text = String::new();
        for command in self.kept.take().into_iter().flatten() {
            let said = if rollout::still_holds(self.state.current(), &command) {
                let outcome = self.propose(command);
                outcome.map_or_else(|rejected| rejected.to_string(), |()| "written".into())
            } else {
                "an operator was faster".into()
            };
            let _ = writeln!(text, "  {said}");
        }
        self.settle();
        text
    }

    fn feed(&mut self, applied: &Applied) -> Vec<Action> {
        for change in &applied.allocs {
            if change.before.is_none()
                && let Some(alloc) = &change.after
            {
                self.order.push(alloc.id);
            }
        }
        self.broker.on_applied(self.now, applied);
        self.heartbeats.on_applied(self.now, applied);
        self.gc.on_applied(self.now, self.state.current(), applied);
        let mut actions = self
            .blocked
            .on_applied(self.now, self.state.current(), applied);
        actions.extend(
            self.deployments
                .on_applied(self.now, self.state.current(), applied),
        );
        actions.extend(
            self.drains
                .on_applied(self.now, self.state.current(), applied),
        );
        actions
    }

    fn context(&self) -> Context {
        Context {
            plan_allocs_max: self.plan_allocs_max,
            ..Context::new(self.now, self.seed)
        }
    }

    /// Decides until nothing is left to decide.
    pub(crate) fn settle(&mut self) {
        if self.held {
            return;
        }
        for _ in 0..TURNS_MAX {
            let deliveries = self.broker.dequeue(self.now, BATCH);
            if deliveries.is_empty() {
                return;
            }
            let evals: Vec<_> = deliveries.iter().map(|d| Arc::clone(&d.eval)).collect();
            self.seed += 1;
            let mut cx = self.context();
            let results = scheduler::schedule_batch(self.state.current(), &evals, &mut cx);
            let seen = self.state.current().index();
            for result in &results {
                verify(self.state.current(), seen, result).expect("a fresh plan fits");
            }
            self.propose(Command::ApplyPlans(results))
                .expect("plans apply");
            for delivery in deliveries {
                let actions = self.broker.ack(self.now, delivery.eval.id, delivery.token);
                self.act(actions);
            }
        }
        panic!("the cluster does not come to rest");
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Propose(command) if self.keeps(&command) => {}
                Action::Propose(command) => {
                    let _ = self.propose(command);
                }
                Action::Enqueue(eval) => self.broker.on_eval(self.now, &eval),
            }
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        for _ in 0..TURNS_MAX {
            let due = [
                self.broker.next_tick(),
                self.deployments.next_tick(),
                self.drains.next_tick(),
                self.heartbeats.next_tick(),
                self.gc.next_tick(),
            ]
            .into_iter()
            .flatten()
            .min()
            .filter(|due| *due <= end);
            let Some(due) = due else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            let mut actions = self.broker.on_tick(self.now);
            actions.extend(self.deployments.on_tick(self.now, self.state.current()));
            actions.extend(self.drains.on_tick(self.now, self.state.current()));
            actions.extend(self.heartbeats.on_tick(self.now, self.state.current()));
            actions.extend(self.gc.on_tick(self.now, self.state.current()));
            self.act(actions);
            self.settle();
        }
        panic!("the clock does not get on");
    }

    pub(crate) fn add_node(&mut self, node: Node) {
        let evals = triggers::for_node_upsert(self.state.current(), &node, self.now, &mut self.ids);
        self.propose(Command::UpsertNode(Box::new(node)))
            .expect("a node");
        self.propose(Command::UpsertEvals(evals))
            .expect("evaluations");
    }

    pub(crate) fn register(
        &mut self,
        job: Job,
        enforce_index: Option<u64>,
    ) -> Result<(), Rejected> {
        let eval = triggers::for_job(&job, Trigger::JobRegister, self.now, &mut self.ids);
        self.propose(Command::RegisterJob(Box::new(RegisterJob {
            job,
            eval: Some(eval),
            enforce_index,
            ..RegisterJob::default()
        })))
    }

    /// Reports of clients, with the evaluations that they imply.
    pub(crate) fn report(&mut self, updates: Vec<AllocUpdate>) {
        let evals =
            triggers::for_client_updates(self.state.current(), &updates, self.now, &mut self.ids);
        self.propose(Command::UpdateAllocs { updates, evals })
            .expect("reports apply");
    }

    pub(crate) fn report_of(&self, alloc: &Allocation, what: &str) -> AllocUpdate {
        let now = self.now + self.clocks_off;
        let (status, phase, failed) = match what {
            "failed" => (ClientStatus::Failed, TaskPhase::Dead, true),
            "complete" => (ClientStatus::Complete, TaskPhase::Dead, false),
            "pending" => (ClientStatus::Pending, TaskPhase::Pending, false),
            _ => (ClientStatus::Running, TaskPhase::Running, false),
        };
        let state = TaskState {
            state: phase,
            failed,
            finished_at: if phase == TaskPhase::Dead {
                now
            } else {
                Timestamp::default()
            },
            ..TaskState::default()
        };
        let health = match what {
            "healthy" => Some((true, now)),
            "unhealthy" | "failed" => Some((false, now)),
            _ => None,
        };
        AllocUpdate {
            alloc_id: alloc.id,
            client_status: status,
            task_states: FlatMap::from([("main".into(), state)]),
            health: health.filter(|_| {
                alloc.deployment_id.is_some() || alloc.job.job_type == JobType::Service
            }),
            ..AllocUpdate::default()
        }
    }

    pub(crate) fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, rest) = words.split_first().expect("a verb");
        let outcome = self.carry_out(verb, rest);
        match outcome {
            Ok(text) => text,
            Err(rejected) => format!("rejected: {rejected}\n"),
        }
    }

    fn carry_out(&mut self, verb: &str, words: &[&str]) -> Result<String, Rejected> {
        match verb {
            "config" => self.configure(words)?,
            "clocks" => {
                let (sign, time) = match words[0].strip_prefix('-') {
                    Some(time) => (-1, time),
                    None => (1, words[0]),
                };
                let off = Span::parse(time).expect("a time");
                self.clocks_off = Span::from_nanos(sign * off.as_nanos());
            }
            "bound" => self.plan_allocs_max = words[0].parse().expect("a number"),
            "node" => {
                self.add_node(node_from(words));
                self.settle();
            }
            "job" => {
                let job = self.job_from(words);
                self.jobs.insert(job.id.to_string(), job.clone());
                let enforce = option(words, "enforce").map(|v| v.parse().expect("an index"));
                self.register(job, enforce)?;
                self.settle();
                return Ok(self.summary_of(words[0]));
            }
            "plan" => {
                let job = self.job_from(words);
                let mut cx = Context::new(self.now, self.seed);
                let preview = scheduler::preview(self.state.current(), job, &mut cx);
                return Ok(preview_text(&preview));
            }
            "stop" | "purge" => {
                let key = JobKey::new("default", words[0]);
                let eval = triggers::for_key(
                    self.state.current(),
                    &key,
                    Trigger::JobDeregister,
                    self.now,
                    &mut self.ids,
                );
                self.propose(Command::DeregisterJob(DeregisterJob {
                    namespace: key.namespace,
                    id: key.id,
                    purge: verb == "purge",
                    submit_time: self.now,
                    eval,
                }))?;
                self.settle();
            }
            "client" => {
                let updates: Vec<AllocUpdate> = self
                    .select(&words[1..])
                    .iter()
                    .map(|alloc| self.report_of(alloc, words[0]))
                    .collect();
                self.report(updates);
                self.settle();
            }
            "traffic" => self.traffic(words),
            "leader" => {
                self.deployments = Deployments::new(Ids::from_seed(self.seed | 4 << 40));
                self.drains = Drains::new(Ids::from_seed(self.seed | 6 << 40));
                let mut actions = self.deployments.restore(self.now, self.state.current());
                actions.extend(self.drains.restore(self.now, self.state.current()));
                self.act(actions);
                self.settle();
            }
            "drain" => {
                self.drain(words)?;
                self.settle();
            }
            "purge-node" => {
                let (state, id) = (self.state.current(), NodeId::named(words[0]));
                let command = operator::purge_node(state, self.now, id, &mut self.ids)?;
                self.propose(command)?;
                self.settle();
            }
            "show-node" => return Ok(self.show_node(words[0])),
            "rollout" => {
                let command = self.prepared(verb, words)?;
                self.propose(command)?;
                self.settle();
            }
            "aim" => self.aimed = Some(self.aim(words)?),
            "aimed" => {
                let aim = self.aimed.take().expect("an aim");
                let command = rollout::act(self.state.current(), self.now, &aim, &asked())?;
                self.propose(command)?;
                self.settle();
            }
            "keep" => self.kept = Some(VecDeque::new()),
            "let-go" => return Ok(self.let_go()),
            "promote" | "fail" | "pause" | "resume" => {
                let command = self.prepared(verb, words)?;
                self.propose(command)?;
                self.settle();
            }
            "revert" => {
                let key = JobKey::new("default", words[0]);
                let version = words[1].parse().expect("a version");
                let command = operator::revert(
                    self.state.current(),
                    self.now,
                    &key,
                    version,
                    None,
                    &mut self.ids,
                )?;
                self.propose(command)?;
                self.settle();
            }
            "alloc-stop" => {
                for alloc in self.select(words) {
                    let command = operator::stop_alloc(
                        self.state.current(),
                        self.now,
                        alloc.id,
                        false,
                        &mut self.ids,
                    )?;
                    self.propose(command)?;
                }
                self.settle();
            }
            "beat" => {
                for &node in words {
                    let actions = self.heartbeats.on_beat(
                        self.now,
                        NodeId::named(node),
                        LEASE,
                        self.state.current(),
                    );
                    self.act(actions);
                }
                self.settle();
            }
            "down" => {
                let named: Vec<NodeId> = words.iter().map(|word| NodeId::named(word)).collect();
                let evals =
                    triggers::for_nodes(self.state.current(), &named, self.now, &mut self.ids);
                self.propose(Command::UpdateNodeStatus {
                    node_ids: named,
                    status: NodeStatus::Down,
                    evals,
                })?;
                self.settle();
            }
            "scale" => {
                let command = self.scaling(words)?;
                self.propose(command)?;
                self.settle();
            }
            "prepare" => {
                let command = self.prepared(words[0], &words[1..])?;
                self.prepared.push_back(command);
            }
            "prepared" => return self.propose_prepared(),
            "decide" => self.decide(),
            "commit" => return Ok(self.commit()),
            "tick" => {
                let seconds: u32 = words[0].trim_end_matches('s').parse().expect("seconds");
                let end = self.now + seconds * SECOND;
                while self.now < end {
                    self.beat(&words[1..]);
                    self.advance(end.since(self.now).min(10 * SECOND));
                }
            }
            "gc" => {
                let actions = Gc::force(self.now, self.state.current());
                self.act(actions);
            }
            "evaluate" => {
                let key = JobKey::new("default", words[0]);
                let eval = triggers::for_key(
                    self.state.current(),
                    &key,
                    Trigger::JobRegister,
                    self.now,
                    &mut self.ids,
                );
                self.propose(Command::UpsertEvals(eval.into_iter().collect()))?;
                self.settle();
            }
            "hold" => self.held = true,
            "release" => {
                self.held = false;
                self.settle();
            }
            "show" => return Ok(self.show(words[0])),
            "evals" => return Ok(self.show_evals(words[0])),
            other => panic!("unknown command {other}"),
        }
        Ok(String::new())
    }

    /// `NODE deadline=60`, with `force`, `no-deadline` or `off` instead, and `ignore-system`,
    /// `keep-ineligible`: empties a node or ends that.
    fn drain(&mut self, words: &[&str]) -> Result<(), Rejected> {
        let has = |word: &str| words.contains(&word);
        let seconds = option(words, "deadline").map(|text| text.parse().expect("seconds"));
        let deadline = match seconds {
            _ if has("force") => Span::from_secs(-1),
            Some(seconds) => Span::from_secs(seconds),
            None => Span::ZERO,
        };
        let wish = DrainWish {
            drain: (!has("off")).then_some((deadline, has("ignore-system"))),
            mark_eligible: !has("keep-ineligible"),
            meta: BTreeMap::new(),
        };
        let (state, id) = (self.state.current(), NodeId::named(words[0]));
        let command = operator::drain_node(state, self.now, id, wish, &mut self.ids)?;
        self.propose(command)
    }

    fn show_node(&self, name: &str) -> String {
        let Some(node) = self.state.current().node(NodeId::named(name)) else {
            return format!("no node {name}\n");
        };
        let drain = if node.drain { " draining" } else { "" };
        let mut text = format!(
            "node {name} {}{drain}",
            node.scheduling_eligibility.as_str()
        );
        if let Some(last) = &node.last_drain {
            let _ = write!(text, " last drain {:?}", last.status);
        }
        text.push('\n');
        for event in node
            .events
            .iter()
            .filter(|event| event.subsystem == "Drain")
        {
            let _ = write!(text, "  {}", event.message);
            for (key, value) in &event.details {
                let _ = write!(text, " {key}={value}");
            }
            text.push('\n');
        }
        text
    }

    /// `JOB SECONDS rate=60 canary=0.5 stable=0 gone=2 splitter=NAME`: requests, which part of them
    /// fails, how many fail in each look at instances that are to stop, and the splitter that says
    /// the shares of the versions.
    fn traffic(&mut self, words: &[&str]) {
        let key = JobKey::new("default", words[0]);
        let seconds: u32 = words[1].trim_end_matches('s').parse().expect("seconds");
        let number = |key: &str| option(words, key).map(|v| v.parse::<f64>().expect("a number"));
        let per_look = number("rate").unwrap_or(60.0) / 4.0;
        let bad = [
            number("stable").unwrap_or(0.0),
            number("canary").unwrap_or(0.0),
        ];
        // What is owed to everybody: requests, and bad answers of each version.
        let mut owed: BTreeMap<AllocId, f64> = BTreeMap::new();
        let mut owed_bad = [0.0, 0.0];
        for look in 0..seconds * 4 {
            if look % 20 == 0 {
                self.beat(&[]);
            }
            self.advance(LOOK_INTERVAL.to_std());
            let serving: Vec<Arc<Allocation>> = self
                .state
                .current()
                .allocs_of_job(&key)
                .filter(|alloc| alloc.client_status == ClientStatus::Running)
                .filter(|alloc| !alloc.server_terminal())
                .cloned()
                .collect();
            let canaries: f64 = serving
                .iter()
                .filter_map(|alloc| alloc.traffic_share())
                .map(|share| f64::from(share) / 1e6)
                .sum();
            let others = serving
                .iter()
                .filter(|alloc| alloc.traffic_share().is_none());
            let others = others.count() as f64;
            let mut observed = Observed::default();
            let gone = number("gone").unwrap_or(0.0) as u64;
            for alloc in self.state.current().allocs_of_job(&key) {
                if alloc.server_terminal() && gone > 0 {
                    let counts = Counts {
                        attempts: gone,
                        failed: gone,
                        ..Counts::default()
                    };
                    observed.counts.push(("/".into(), alloc.id, counts));
                }
            }
            for alloc in &serving {
                let share = alloc.traffic_share().map(|share| f64::from(share) / 1e6);
                let part = share.unwrap_or((1.0 - canaries) / others);
                let due = owed.entry(alloc.id).or_default();
                *due += part * per_look;
                let attempts = *due as u64;
                *due -= attempts as f64;
                let version = usize::from(alloc.is_canary());
                owed_bad[version] += attempts as f64 * bad[version];
                let failed = owed_bad[version] as u64;
                owed_bad[version] -= failed as f64;
                let counts = Counts {
                    attempts,
                    failed,
                    ..Counts::default()
                };
                observed.counts.push(("/".into(), alloc.id, counts));
                if let Some(name) = option(words, "splitter").filter(|_| alloc.is_canary()) {
                    observed.splitters.insert(alloc.id, name.to_owned());
                }
            }
            let state = self.state.current().clone();
            let actions = self.deployments.on_counts(self.now, &state, &observed);
            self.act(actions);
            self.settle();
        }
    }

    /// `next JOB`, `back JOB`, `resume JOB` or `SHARE JOB`, as the rollout is now, and if it is at
    /// `revision=N`.
    fn aim(&self, words: &[&str]) -> Result<Aim, Rejected> {
        let act = match words[0] {
            "next" => Act::Next,
            "back" => Act::Back,
            "resume" => Act::Resume,
            share => Act::SetShare(Share::parse(share).expect("a share")),
        };
        let id = self.deployment_of(words[1])?;
        let revision = option(words, "revision").map(|text| text.parse().expect("a revision"));
        rollout::aim(self.state.current(), id, None, act, revision)
    }

    /// What a user asks for, from the state as it is now.
    fn prepared(&mut self, verb: &str, words: &[&str]) -> Result<Command, Rejected> {
        match verb {
            "scale" => return self.scaling(words),
            "rollout" => {
                let aim = self.aim(words)?;
                return rollout::act(self.state.current(), self.now, &aim, &asked());
            }
            _ => {}
        }
        let id = self.deployment_of(words[0])?;
        let (now, ids) = (self.now, &mut self.ids);
        match verb {
            "promote" => operator::promote(self.state.current(), now, id, &[], ids),
            "fail" => operator::fail(self.state.current(), now, id, ids),
            _ => operator::pause(self.state.current(), now, id, verb == "pause", ids),
        }
    }

    /// `JOB COUNT [enforce=INDEX]`
    fn scaling(&mut self, words: &[&str]) -> Result<Command, Rejected> {
        let scaling = Scaling {
            count: Some(words[1].parse().expect("a count")),
            enforce_index: option(words, "enforce").map(|v| v.parse().expect("an index")),
            ..Scaling::default()
        };
        let key = JobKey::new("default", words[0]);
        operator::scale(self.state.current(), self.now, &key, scaling, &mut self.ids)
    }

    /// Writes what was prepared, in order, and says what became of it.
    fn propose_prepared(&mut self) -> Result<String, Rejected> {
        let mut text = String::new();
        for command in std::mem::take(&mut self.prepared) {
            let outcome = self.propose(command);
            let said = outcome.map_or_else(|rejected| rejected.to_string(), |()| "written".into());
            let _ = writeln!(text, "  {said}");
        }
        self.settle();
        Ok(text)
    }

    /// Decides about everything that is ready, and keeps the plans.
    fn decide(&mut self) {
        let deliveries = self.broker.dequeue(self.now, BATCH);
        let evals: Vec<_> = deliveries.iter().map(|d| Arc::clone(&d.eval)).collect();
        self.seed += 1;
        let mut cx = self.context();
        let results = scheduler::schedule_batch(self.state.current(), &evals, &mut cx);
        self.decided = Some((self.state.current().index(), deliveries, results));
        self.held = false;
    }

    /// Verifies the plans that were kept, writes those that still fit, and decides about the others
    /// anew.
    fn commit(&mut self) -> String {
        let (seen, deliveries, results) = self.decided.take().expect("plans were decided");
        self.held = false;
        let mut text = String::new();
        for (delivery, result) in deliveries.into_iter().zip(results) {
            let verdict = verify(self.state.current(), seen, &result);
            let token = delivery.token;
            let id = delivery.eval.id;
            let actions = match verdict {
                Ok(()) => {
                    let _ = writeln!(text, "  committed");
                    let applied = self.propose(Command::ApplyPlans(vec![result]));
                    applied.expect("plans apply");
                    self.broker.ack(self.now, id, token)
                }
                Err(conflict) => {
                    let conflict = self.named(&conflict.to_string());
                    let _ = writeln!(text, "  left out: {conflict}");
                    self.broker.nack(self.now, id, token)
                }
            };
            self.act(actions);
        }
        self.advance(FIRST_RETRY);
        self.settle();
        text
    }

    /// The text with the names of allocations instead of their ids.
    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for alloc in self.state.current().allocs("") {
            text = text.replace(&alloc.id.to_string(), &alloc.name);
        }
        text
    }

    /// Renews the leases of all nodes that are up but those named.
    fn beat(&mut self, silent: &[&str]) {
        let up: Vec<NodeId> = self
            .state
            .current()
            .nodes("")
            .filter(|node| node.status == NodeStatus::Ready)
            .map(|node| node.id)
            .collect();
        for id in up {
            if silent.contains(&id.label().as_str()) {
                continue;
            }
            let actions = self
                .heartbeats
                .on_beat(self.now, id, LEASE, self.state.current());
            self.act(actions);
        }
    }

    fn deployment_of(&self, job: &str) -> Result<DeploymentId, Rejected> {
        let key = JobKey::new("default", job);
        let deployment = self.state.current().latest_deployment(&key);
        deployment.map(|d| d.id).ok_or(Rejected::NoDeployment)
    }

    /// Allocations by job, then by version (`v1`), name index (`[0]`) or status, those not over
    /// only.
    fn select(&self, words: &[&str]) -> Vec<Arc<Allocation>> {
        let key = JobKey::new("default", words[0]);
        let mut allocs: Vec<Arc<Allocation>> = self
            .state
            .current()
            .allocs_of_job(&key)
            .filter(|alloc| !alloc.client_terminal())
            .filter(|alloc| {
                words[1..].iter().all(|word| match *word {
                    "canary" => alloc.is_canary(),
                    "stopping" => alloc.server_terminal(),
                    "wanted" => !alloc.server_terminal(),
                    "undecided" => alloc.healthy().is_none() && !alloc.server_terminal(),
                    word if word.starts_with('[') => alloc.name.ends_with(word),
                    word => match word.strip_prefix('v') {
                        Some(version) => version == alloc.job_version.to_string(),
                        None => alloc.node_id.label() == word,
                    },
                })
            })
            .cloned()
            .collect();
        allocs.sort_by_key(|alloc| self.place_in_order(alloc.id));
        allocs
    }

    fn place_in_order(&self, id: AllocId) -> usize {
        self.order
            .iter()
            .position(|known| *known == id)
            .unwrap_or(usize::MAX)
    }

    fn show(&self, job: &str) -> String {
        let key = JobKey::new("default", job);
        let mut text = String::new();
        match self.state.current().job(&key) {
            Some(row) => {
                let stable = if row.stable { " stable" } else { "" };
                let _ = writeln!(
                    text,
                    "job {job} v{} {}{stable}",
                    row.version,
                    row.status.as_str()
                );
            }
            None => {
                let _ = writeln!(text, "job {job} unknown");
            }
        }
        let mut allocs: Vec<&Arc<Allocation>> = self.state.current().allocs_of_job(&key).collect();
        allocs.sort_by_key(|alloc| (&alloc.name, self.place_in_order(alloc.id)));
        for alloc in allocs {
            let _ = writeln!(text, "  {}", alloc_text(alloc));
        }
        if let Some(deployment) = self.state.current().latest_deployment(&key) {
            let _ = writeln!(
                text,
                "  deployment v{} {}: {}",
                deployment.job_version,
                deployment.status.as_str(),
                deployment.status_description
            );
            for (name, group) in &deployment.task_groups {
                let _ = writeln!(
                    text,
                    "    {name} desired {} canaries {}/{} placed {} healthy {} unhealthy {}{}",
                    group.desired_total,
                    group.placed_canaries.len(),
                    group.desired_canaries,
                    group.placed_allocs,
                    group.healthy_allocs,
                    group.unhealthy_allocs,
                    if group.promoted { " promoted" } else { "" },
                );
                if let Some(rollout) = &group.rollout {
                    let _ = writeln!(
                        text,
                        "      rollout {} {} by {}: {}",
                        rollout.phase.as_str(),
                        rollout.share,
                        rollout
                            .transitions
                            .last()
                            .map_or("nobody", |own| &own.actor),
                        rollout.reason
                    );
                }
            }
        }
        text
    }

    fn show_evals(&self, job: &str) -> String {
        let key = JobKey::new("default", job);
        let mut evals: Vec<_> = self.state.current().evals_of_job(&key).collect();
        evals.sort_by_key(|eval| (eval.create_index, eval.status.as_str(), eval.id));
        let mut text = String::new();
        for eval in evals {
            let wait = match eval.wait_until {
                due if due.is_zero() => String::new(),
                due => format!(" due at {}s", due.since(START).as_secs()),
            };
            let _ = writeln!(
                text,
                "  eval {} {}{wait} {}",
                eval.triggered_by.as_str(),
                eval.status.as_str(),
                eval.status_description
            );
        }
        text
    }

    /// `preempts=service,batch spread`: what is not named is off.
    fn configure(&mut self, words: &[&str]) -> Result<(), Rejected> {
        let on: Vec<&str> = option(words, "preempts").unwrap_or("").split(',').collect();
        let config = SchedulerConfig {
            scheduler_algorithm: if words.contains(&"spread") {
                SchedulerAlgorithm::Spread
            } else {
                SchedulerAlgorithm::Binpack
            },
            preemption_config: PreemptionConfig {
                system_scheduler_enabled: on.contains(&"system"),
                sys_batch_scheduler_enabled: on.contains(&"sysbatch"),
                batch_scheduler_enabled: on.contains(&"batch"),
                service_scheduler_enabled: on.contains(&"service"),
            },
            ..SchedulerConfig::default()
        };
        let expected = option(words, "expect").map(|index| index.parse().expect("an index"));
        self.propose(Command::SetSchedulerConfig { config, expected })?;
        self.settle();
        Ok(())
    }

    /// What the newest evaluation of the job could not place.
    fn summary_of(&self, job: &str) -> String {
        let key = JobKey::new("default", job);
        let newest = self
            .state
            .current()
            .evals_of_job(&key)
            .filter(|eval| eval.status.as_str() != "blocked")
            .max_by_key(|eval| (eval.modify_index, eval.create_index));
        newest.map_or_else(String::new, |eval| failures(&eval.failed_tg_allocs))
    }

    /// `NAME TYPE count=3 …`; what is not given comes from the earlier form of the job.
    fn job_from(&self, words: &[&str]) -> Job {
        let id = words[0];
        let mut job = self.jobs.get(id).cloned().unwrap_or_else(|| new_job(id));
        for word in &words[1..] {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            set(&mut job, key, value);
        }
        job
    }
}

fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
}

pub(crate) fn new_job(id: &str) -> Job {
    let task = Task {
        name: "main".into(),
        driver: "raw_exec".into(),
        ..Task::default()
    };
    Job {
        id: id.into(),
        name: id.into(),
        namespace: "default".into(),
        priority: 50,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        task_groups: vec![TaskGroup {
            name: "app".into(),
            count: 1,
            tasks: vec![task],
            update: Some(UpdateStrategy::default()),
            reschedule_policy: Some(ReschedulePolicy {
                delay: Span::from_secs(30),
                delay_function: "exponential".into(),
                max_delay: Span::HOUR,
                unlimited: true,
                ..ReschedulePolicy::default()
            }),
            ephemeral_disk: EphemeralDisk {
                size_mb: 10,
                ..EphemeralDisk::default()
            },
            ..TaskGroup::default()
        }]
        .into(),
        ..Job::default()
    }
}

fn set(job: &mut Job, key: &str, value: &str) {
    let number = || value.parse::<i64>().expect("a number");
    let group = &mut job.task_groups[0];
    match key {
        "batch" => {
            job.job_type = JobType::Batch;
            group.update = None;
            group.reschedule_policy = Some(ReschedulePolicy {
                attempts: 1,
                interval: 24 * Span::HOUR,
                delay: Span::from_secs(5),
                delay_function: "constant".into(),
                ..ReschedulePolicy::default()
            });
        }
        "system" => job.job_type = JobType::System,
        "sysbatch" => job.job_type = JobType::Sysbatch,
        "noupdate" => group.update = None,
        "count" => group.count = number() as u32,
        "cpu" => group.tasks[0].resources.cpu = number(),
        "mem" => group.tasks[0].resources.memory_mb = number(),
        "prio" => job.priority = number() as i32,
        "env" => {
            group.tasks[0].env.insert("V".into(), value.into());
        }
        "tag" => {
            group.meta.insert("ignored".into(), value.into());
        }
        "dc" => job.datacenters = vec![value.into()],
        "pool" => job.node_pool = value.into(),
        "port" | "static" => {
            let mut network = NetworkResource::default();
            let port = |label: &str, value| Port {
                label: label.into(),
                value,
                ..Port::default()
            };
            if key == "port" {
                network.dynamic_ports.push(port(value, 0));
            } else {
                let (label, value) = value.split_once(':').expect("label:port");
                network
                    .reserved_ports
                    .push(port(label, value.parse().expect("a port")));
            }
            group.networks = vec![network];
        }
        // `label:number@network`, without a number for one that is chosen.
        "ports" => {
            let mut network = NetworkResource::default();
            for part in value.split(',') {
                let (part, host_network) = part.split_once('@').unwrap_or((part, ""));
                let (label, value) = part.split_once(':').unwrap_or((part, "0"));
                let port = Port {
                    label: label.into(),
                    value: value.parse().expect("a port"),
                    host_network: host_network.into(),
                    ..Port::default()
                };
                match port.value {
                    0 => network.dynamic_ports.push(port),
                    _ => network.reserved_ports.push(port),
                }
            }
            group.networks = vec![network];
        }
        "constraint" => {
            let parts: Vec<&str> = value.splitn(3, ',').collect();
            job.constraints = vec![Constraint {
                l_target: parts[0].into(),
                operand: parts[1].into(),
                r_target: parts.get(2).copied().unwrap_or("").into(),
            }];
        }
        "spread" => {
            job.spreads = vec![Spread {
                attribute: value.into(),
                weight: 50,
                ..Spread::default()
            }];
        }
        "allatonce" => job.all_at_once = true,
        "migrate" => {
            group.migrate = Some(MigrateStrategy {
                max_parallel: number() as u32,
                ..MigrateStrategy::default()
            });
        }
        "enforce" => {}
        _ if key.starts_with("rollout_") => {
            if group.services.is_empty() {
                group.services.push(ServiceSpec::default());
            }
            group.services[0].meta.insert(key.into(), value.into());
        }
        _ => {
            let update = group.update.get_or_insert_default();
            match key {
                "parallel" => update.max_parallel = number() as u32,
                "canary" => update.canary = number() as u32,
                "autorevert" => update.auto_revert = true,
                "autopromote" => update.auto_promote = true,
                "progress" => update.progress_deadline = number() * Span::SECOND,
                other => panic!("unknown option {other}"),
            }
        }
    }
}

/// `NAME cpu=4000 mem=4000 …`
pub(crate) fn node_from(words: &[&str]) -> Node {
    let name = words[0];
    let mut node = Node {
        id: NodeId::named(name),
        name: name.into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        status: NodeStatus::Ready,
        ..Node::default()
    };
    node.node_resources.cpu.cpu_shares = 4_000;
    node.node_resources.memory.memory_mb = 4_000;
    node.node_resources.disk.disk_mb = 100_000;
    node.drivers.insert(
        "raw_exec".into(),
        DriverInfo {
            detected: true,
            healthy: true,
            ..DriverInfo::default()
        },
    );
    for word in &words[1..] {
        let (key, value) = word.split_once('=').expect("key=value");
        match key {
            "cpu" => node.node_resources.cpu.cpu_shares = value.parse().expect("MHz"),
            "mem" => node.node_resources.memory.memory_mb = value.parse().expect("MB"),
            "dc" => node.datacenter = value.into(),
            "pool" => node.node_pool = value.into(),
            "class" => node.node_class = value.into(),
            // `name/address`, with ports that it keeps back behind another slash.
            "nets" => {
                node.node_resources.networks = vec![NetworkResource {
                    ip: "10.0.0.1".into(),
                    ..NetworkResource::default()
                }];
                let addresses = value.split(',').map(|part| {
                    let mut parts = part.split('/').map(str::to_owned);
                    NodeAddress {
                        alias: parts.next().expect("a name"),
                        address: parts.next().expect("an address"),
                        reserved_ports: parts.next().unwrap_or_default(),
                        ..NodeAddress::default()
                    }
                });
                node.node_resources.node_networks = vec![NodeNetwork {
                    addresses: addresses.collect(),
                    ..NodeNetwork::default()
                }];
            }
            "reserved" => node.reserved_resources.networks.reserved_host_ports = value.into(),
            "ports" => {
                let (low, high) = value.split_once('-').expect("low-high");
                node.node_resources.min_dynamic_port = low.parse().expect("a port");
                node.node_resources.max_dynamic_port = high.parse().expect("a port");
            }
            other => {
                let (facts, name) = match other.strip_prefix("meta.") {
                    Some(label) => (&mut node.meta, label),
                    None => (&mut node.attributes, other),
                };
                facts.insert(name.into(), value.into());
            }
        }
    }
    node
}

fn alloc_text(alloc: &Allocation) -> String {
    let mut text = format!(
        "{} v{} on {} {}/{}",
        alloc.name,
        alloc.job_version,
        alloc.node_id.label(),
        alloc.desired_status.as_str(),
        alloc.client_status.as_str()
    );
    if let Some(status) = &alloc.deployment_status {
        match status.healthy {
            Some(true) => text.push_str(" healthy"),
            Some(false) => text.push_str(" unhealthy"),
            None => {}
        }
        if status.canary {
            text.push_str(" canary");
        }
        if let Some(share) = status.share {
            let _ = write!(text, " share={share}");
        }
    }
    if alloc.previous_allocation.is_some() {
        text.push_str(" successor");
    }
    for (label, HostPort { address, port }) in alloc.allocated_resources.host_ports() {
        let _ = write!(text, " {label}={port}");
        if let Some(address) = address {
            let _ = write!(text, "@{address}");
        }
    }
    if !alloc.preempted_allocations.is_empty() {
        let _ = write!(text, " evicts {}", alloc.preempted_allocations.len());
    }
    if alloc.desired_status == DesiredStatus::Evict {
        let by = alloc
            .preempted_by_allocation
            .expect("an evicted one says for whom");
        assert_eq!(
            alloc.desired_description,
            format!("Preempted by alloc ID {by}").as_str()
        );
        text.push_str(" (preempted)");
    } else if alloc.desired_status != DesiredStatus::Run {
        let _ = write!(text, " ({})", alloc.desired_description);
    }
    text
}

fn failures(failed: &FlatMap<jobs::model::GroupName, jobs::model::AllocMetric>) -> String {
    let mut text = String::new();
    for (group, metric) in failed {
        let _ = writeln!(
            text,
            "  {group}: failed to place {}",
            metric.coalesced_failures + 1
        );
        for (reason, count) in &metric.constraint_filtered {
            let _ = writeln!(text, "    {count} filtered: {reason}");
        }
        for (dimension, count) in &metric.dimension_exhausted {
            let _ = writeln!(text, "    {count} exhausted: {dimension}");
        }
    }
    text
}

fn preview_text(preview: &scheduler::Preview) -> String {
    let mut text = String::new();
    for (group, counts) in &preview.annotations.desired_tg_updates {
        let parts: Vec<String> = [
            ("create", counts.place),
            ("canary", counts.canary),
            ("create/destroy update", counts.destructive_update),
            ("in-place update", counts.in_place_update),
            ("migrate", counts.migrate),
            ("destroy", counts.stop),
            ("ignore", counts.ignore),
            ("preemption", counts.preemptions),
        ]
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
        let _ = writeln!(text, "  {group} ({})", parts.join(", "));
    }
    for alloc in &preview.annotations.preempted_allocs {
        let _ = writeln!(text, "  evicts {} on {}", alloc.name, alloc.node_id.label());
    }
    text.push_str(&failures(&preview.failed_tg_allocs));
    text
}

fn asked() -> Asked {
    Asked {
        actor: "ada".into(),
        ..Asked::default()
    }
}

/// What holds after every entry.
pub(crate) fn check_invariants(state: &Snapshot) {
    for node in state.nodes("") {
        let mut cpu = 0;
        let mut memory = 0;
        let mut ports = Vec::new();
        let mut live = BTreeSet::new();
        for alloc in state.live_allocs_of_node(node.id) {
            live.insert(alloc.id);
        }
        for alloc in state.live_allocs_of_node(node.id) {
            // One that waits for others to stop takes over their room.
            let mut before = alloc
                .previous_allocation
                .iter()
                .chain(&alloc.preempted_allocations);
            let waits = before.any(|id| live.contains(id));
            if waits {
                continue;
            }
            let total = alloc.allocated_resources.total();
            cpu += total.cpu;
            memory += total.memory_mb;
            ports.extend(alloc.allocated_resources.host_ports().map(|(_, port)| port));
        }
        assert!(
            cpu <= node.node_resources.cpu.cpu_shares,
            "cpu of {}",
            node.id
        );
        assert!(
            memory <= node.node_resources.memory.memory_mb,
            "memory of {}",
            node.id
        );
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all, "every port of {} is held once", node.id);
    }
    for deployment in state.deployments("") {
        for (name, group) in &deployment.task_groups {
            let Some(rollout) = &group.rollout else {
                continue;
            };
            let canaries = state
                .allocs_of_deployment(deployment.id)
                .filter(|alloc| alloc.task_group == *name && !alloc.server_terminal());
            let shares: Vec<u32> = canaries.filter_map(|alloc| alloc.traffic_share()).collect();
            let sum: u32 = shares.iter().sum();
            // A canary has what the row says, or nothing, because it came a moment ago.
            assert!(
                sum <= rollout.share.ten_thousandths() * 100,
                "{name}: {shares:?}"
            );
            if !deployment.is_active() && !group.promoted {
                assert!(rollout.is_over() && sum == 0, "{name}: {shares:?}");
            }
        }
    }
}
