//! What must hold whatever goes wrong, looked at after every step.

use jobs::model::{AllocId, Allocation, ClientStatus, Index, JobKey, JobType};
use parking_lot::Mutex;
use registration::alloc_of;
use server::{Handle, Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::client::{Kept, Machine};

/// An agent that has held a stream for so long is told of all that leaves before it ends.
const SETTLED: Duration = Duration::from_secs(2);
/// States of so many indexes are compared.
const EVERY: Index = 4;
/// States that are kept to compare those of other servers with.
const STATES_MAX: usize = 400;
/// What a node has; its agent says so.
const NODE_CPU: i64 = 1000;

/// A write that an operator was told of.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) job: JobKey,
    /// Number of the operation, in the version that it made; none for a stop.
    pub(crate) number: Option<u64>,
    pub(crate) index: Index,
}

/// What was seen until now.
#[derive(Default)]
pub(crate) struct Checks {
    /// What each server showed last.
    seen: BTreeMap<usize, Arc<Snapshot>>,
    /// States by index.
    states_seen: BTreeMap<Index, (u64, Arc<Snapshot>)>,
    /// The newest write of each job that was acknowledged.
    acked: BTreeMap<JobKey, Acked>,
    /// The newest report of each allocation that was taken.
    reported: BTreeMap<AllocId, (Index, ClientStatus)>,
}

/// Everything that a snapshot of a state keeps, a text for each row.
fn rows(snapshot: &Snapshot) -> Result<Vec<String>, String> {
    let text = |row: Result<String, serde_json::Error>| row.map_err(|error| error.to_string());
    let jobs = snapshot.jobs.saved_rows();
    let mesh = snapshot.mesh.saved_rows();
    jobs.map(|row| text(serde_json::to_string(&row)))
        .chain(mesh.map(|row| text(serde_json::to_string(&row))))
        .collect()
}

/// What tells two states apart.
fn digest(snapshot: &Snapshot) -> Result<u64, String> {
    let mut sum = crc32fast::Hasher::new();
    let mut length = 0;
    let mut add = |row: Result<Vec<u8>, rmp_serde::encode::Error>| {
        let bytes = row.map_err(|error| error.to_string())?;
        length += bytes.len() as u64;
        sum.update(&bytes);
        Ok::<_, String>(())
    };
    for row in snapshot.jobs.saved_rows() {
        add(rmp_serde::to_vec(&row))?;
    }
    for row in snapshot.mesh.saved_rows() {
        add(rmp_serde::to_vec(&row))?;
    }
    Ok(length << 32 | u64::from(sum.finalize()))
}

/// The first rows that two states do not have alike.
fn difference(one: &[String], other: &[String]) -> String {
    let only = |of: &[String], not: &[String]| {
        let mut left: Vec<&String> = not.iter().collect();
        let mut rows = Vec::new();
        for row in of {
            match left.iter().position(|other| *other == row) {
                Some(at) => drop(left.swap_remove(at)),
                None => rows.push(row.clone()),
            }
        }
        rows.truncate(2);
        rows.join("\n  ")
    };
    format!("\n  {}\nand\n  {}", only(one, other), only(other, one))
}

impl Checks {
    pub(crate) fn acked(&mut self, acked: Acked) {
        let newest = self.acked.entry(acked.job.clone());
        let newest = newest.or_insert_with(|| acked.clone());
        if newest.index < acked.index {
            *newest = acked;
        }
    }

    pub(crate) fn reported(&mut self, alloc: AllocId, index: Index, status: ClientStatus) {
        let newest = self.reported.entry(alloc).or_default();
        if newest.0 < index {
            *newest = (index, status);
        }
    }

    /// Looks at what a server shows now.
    pub(crate) fn of_server(&mut self, at: usize, handle: &Handle) -> Result<(), String> {
        let now = handle.snapshot();
        let before = self.seen.get(&at).cloned();
        if before
            .as_ref()
            .is_some_and(|before| before.index == now.index)
        {
            return Ok(());
        }
        let wrong = |text: String| format!("server {at} at index {}: {text}", now.index);
        self.same_everywhere(&now).map_err(wrong)?;
        sound(&now).map_err(wrong)?;
        if let Some(before) = before {
            // A server that starts anew shows older states at first.
            if before.index < now.index {
                follows(&before, &now).map_err(wrong)?;
            }
        }
        self.nothing_lost(&now).map_err(wrong)?;
        self.no_report_lost(&now).map_err(wrong)?;
        self.seen.insert(at, now);
        Ok(())
    }

    /// One index is one state, on all servers and after every restart.
    fn same_everywhere(&mut self, now: &Arc<Snapshot>) -> Result<(), String> {
        if !now.index.is_multiple_of(EVERY) {
            return Ok(());
        }
        let own = digest(now)?;
        if let Some((of_known, known)) = self.states_seen.get(&now.index) {
            if own != *of_known || now.now != known.now {
                let difference = difference(&rows(known)?, &rows(now)?);
                let (one, other) = (known.now, now.now);
                return Err(format!(
                    "another state was seen at this index, of {one:?} and {other:?}: {difference}"
                ));
            }
            return Ok(());
        }
        let mut earlier = self.states_seen.range(..now.index);
        if let Some((index, (_, state))) = earlier.next_back()
            && state.now >= now.now
        {
            return Err(format!("log time does not go on after index {index}"));
        }
        self.states_seen.insert(now.index, (own, Arc::clone(now)));
        while self.states_seen.len() > STATES_MAX {
            self.states_seen.pop_first();
        }
        Ok(())
    }

    /// What was acknowledged is there.
    fn nothing_lost(&self, now: &Snapshot) -> Result<(), String> {
        for acked in self.acked.values() {
            if acked.index > now.index {
                continue;
            }
            let Some(job) = now.jobs.job(&acked.job) else {
                return Err(format!("{acked:?} is lost: there is no such job"));
            };
            // To stop what is stopped changes nothing.
            let is_stopped = acked.number.is_none() && job.stop;
            if job.job_modify_index < acked.index && !is_stopped {
                return Err(format!(
                    "{acked:?} is lost: the job is of {}",
                    job.job_modify_index
                ));
            }
            let number = acked.number.map(|number| number.to_string());
            let is_own = job.job_modify_index == acked.index;
            if is_own && number.is_some() && job.meta.get("operation") != number.as_ref() {
                return Err(format!("{acked:?} is another job's version"));
            }
        }
        Ok(())
    }

    /// What agents were told is in the log is in the state.
    fn no_report_lost(&self, now: &Snapshot) -> Result<(), String> {
        for (id, (index, status)) in &self.reported {
            let row = now.jobs.alloc(*id).filter(|_| *index <= now.index);
            // One that says nothing new changes nothing, and neither does one of what is over.
            let is_lost = |row: &&Arc<Allocation>| {
                let is_old = row.modify_index < *index && !row.client_terminal();
                is_old && row.client_status != *status
            };
            if let Some(row) = row.filter(is_lost) {
                let row = describe(row);
                return Err(format!("a report of index {index} is lost: {row}"));
            }
        }
        Ok(())
    }

    /// Looks at machines and what runs there.
    pub(crate) fn of_machines(
        &self,
        now: Duration,
        machines: &[&Arc<Mutex<Machine>>],
        is_up: &[bool],
    ) -> Result<(), String> {
        for machine in machines {
            let ended = {
                let mut machine = machine.lock();
                if let Some(fault) = machine.faults.pop() {
                    return Err(fault);
                }
                std::mem::take(&mut machine.ended)
            };
            for ended in ended {
                for (at, other) in machines.iter().enumerate() {
                    let other = other.lock();
                    let is_settled = is_up[at]
                        && other
                            .connected_since
                            .is_some_and(|since| now - since > SETTLED);
                    if is_settled && other.routed.contains(&ended.alloc) {
                        return Err(format!(
                            "{} was ended at {:?} while client {at} sent requests to it",
                            ended.alloc, ended.at
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether everything is as it was asked for, or what is missing.
    pub(crate) fn is_well(
        &self,
        handles: &[Handle],
        leader: usize,
        machines: &[&Arc<Mutex<Machine>>],
    ) -> Result<(), String> {
        let state = handles[leader].snapshot();
        for (at, handle) in handles.iter().enumerate() {
            let index = handle.snapshot().index;
            if index != state.index {
                return Err(format!("server {at} is at {index}, not {}", state.index));
            }
        }
        let mut wanted: BTreeMap<&str, BTreeSet<AllocId>> = BTreeMap::new();
        for job in state.jobs.jobs(None, "") {
            let key = job.key();
            let live: Vec<_> = state
                .jobs
                .allocs_of_job(&key)
                .filter(|alloc| !alloc.is_terminal())
                .collect();
            let running = live
                .iter()
                .filter(|alloc| alloc.client_status == ClientStatus::Running);
            let count = job.task_groups.first().map_or(0, |group| group.count);
            let count = if job.stop { 0 } else { count };
            let has_all = running.clone().count() == usize::try_from(count).unwrap_or(0)
                && live.len() == running.clone().count();
            if job.job_type == JobType::Service && !has_all {
                let waits = live
                    .iter()
                    .filter(|alloc| alloc.client_status != ClientStatus::Running)
                    .map(|alloc| {
                        let kept = machines
                            .iter()
                            .find_map(|machine| kept_of(machine, alloc.id));
                        format!("\n  {}\n  kept: {kept:?}", describe(alloc))
                    });
                return Err(format!(
                    "{} has {} of {count} running, {} live{}",
                    job.id,
                    running.count(),
                    live.len(),
                    waits.collect::<String>()
                ));
            }
            let newest = running.clone().all(|alloc| {
                alloc.job.task_groups.first().map(|group| &group.tasks)
                    == job.task_groups.first().map(|group| &group.tasks)
            });
            if !newest {
                return Err(format!("{} runs an older version", job.id));
            }
            for alloc in live {
                wanted.entry(&alloc.node_name).or_default().insert(alloc.id);
            }
        }
        let listed: BTreeSet<AllocId> = state
            .mesh
            .all_instances()
            .filter_map(|one| alloc_of(&one.service.id))
            .collect();
        for (at, machine) in machines.iter().enumerate() {
            let machine = machine.lock();
            let runs = machine.allocs.iter().filter(|(_, kept)| kept.runs);
            let runs: BTreeSet<AllocId> = runs.map(|(id, _)| *id).collect();
            let wanted = wanted.remove(format!("client-{at}").as_str());
            let wanted = wanted.unwrap_or_default();
            if let Some(id) = runs.symmetric_difference(&wanted).next() {
                let row = state.jobs.alloc(*id).map(|alloc| describe(alloc));
                let kept = machine.allocs.get(id).map(|kept| {
                    let (wanted, status) = (describe(&kept.wanted), kept.status);
                    format!(
                        "{wanted}, {status:?}, runs: {}, ran: {}",
                        kept.runs, kept.ran
                    )
                });
                let known = wanted.len();
                return Err(format!(
                    "client {at} ({known} wanted) has\n  {kept:?}\nand not\n  {row:?}"
                ));
            }
            if machine.routed != listed {
                return Err(format!(
                    "the routes of client {at} are not those of the catalog"
                ));
            }
        }
        Ok(())
    }
}

/// What holds in every state.
fn sound(now: &Snapshot) -> Result<(), String> {
    for service in now.mesh.all_services() {
        let Some(id) = alloc_of(&service.id) else {
            continue;
        };
        match now.jobs.alloc(id) {
            None => return Err(format!("{id} is in the catalog and nowhere else")),
            Some(alloc) if alloc.client_terminal() => {
                return Err(format!("{id} is over and in the catalog"));
            }
            Some(_) => {}
        }
    }
    let mut seen: BTreeMap<(String, u64), AllocId> = BTreeMap::new();
    let mut cpu: BTreeMap<String, i64> = BTreeMap::new();
    for alloc in now.jobs.allocs("") {
        if !alloc.is_terminal() {
            // One of a new version comes up beside the one that it replaces.
            let name = (alloc.name.to_string(), alloc.job_version);
            if let Some(other) = seen.insert(name, alloc.id) {
                let other = now.jobs.alloc(other).map(|other| describe(other));
                let (other, own) = (other.unwrap_or_default(), describe(alloc));
                return Err(format!("two are {}:\n  {other}\n  {own}", alloc.name));
            }
            *cpu.entry(alloc.node_name.to_string()).or_default() += cpu_of(alloc);
        }
    }
    if let Some((node, used)) = cpu.iter().find(|(_, used)| **used > NODE_CPU) {
        return Err(format!("{used} MHz of {NODE_CPU} are taken on {node}"));
    }
    Ok(())
}

fn describe(alloc: &Allocation) -> String {
    format!(
        "{} of {} version {} on {}, {:?} and {:?}, made at {}, changed at {}, before {:?}, after {:?}, {:?}",
        alloc.id,
        alloc.name,
        alloc.job_version,
        alloc.node_name,
        alloc.desired_status,
        alloc.client_status,
        alloc.create_index,
        alloc.modify_index,
        alloc.previous_allocation,
        alloc.next_allocation,
        alloc.deployment_status,
    )
}

fn describe_kept(kept: &Kept) -> String {
    let wanted = describe(&kept.wanted);
    let (status, runs, ran, is_told) = (kept.status, kept.runs, kept.ran, kept.is_told);
    format!("{wanted}, {status:?}, runs: {runs}, ran: {ran}, told: {is_told}")
}

fn kept_of(machine: &Mutex<Machine>, id: AllocId) -> Option<String> {
    machine.lock().allocs.get(&id).map(describe_kept)
}

fn cpu_of(alloc: &Allocation) -> i64 {
    let group = alloc.group();
    let tasks = group.iter().flat_map(|group| &group.tasks);
    tasks.map(|task| task.resources.cpu).sum()
}

/// What holds between a state and a later one.
fn follows(before: &Snapshot, now: &Snapshot) -> Result<(), String> {
    for alloc in before.jobs.allocs("") {
        let Some(later) = now.jobs.alloc(alloc.id) else {
            continue;
        };
        if alloc.client_terminal() && !later.client_terminal() {
            return Err(format!("{} was over and is not any more", alloc.id));
        }
        if alloc.modify_index > later.modify_index {
            return Err(format!("the row of {} went back", alloc.id));
        }
    }
    Ok(())
}
