//! `node …`: the machines.

use super::context::Context;
use super::http::{Http, decode, segment};
use super::structured::Structured;
use super::view::{View, bytes, duration, megabytes, quoted};
use super::{alloc, columns, lookup};
use anyhow::{Context as _, bail};
use jobs::model::{ClientStatus, Eligibility, Node};
use jobs::wire::{
    AgentSelf, AllocResourceUsage, Allocation, AllocationListStub, HostStats,
    NodeEligibilityRequest, NodeListStub, NodeUpdateResponse, StubOptions,
};

/// Running allocations counted at the same time is one request each, so a list has a limit.
const COUNTED_NODES_MAX: usize = 1000;

/// Look at and act on nodes.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List nodes, or show one
    Status(StatusArguments),
    /// Say whether a node takes new allocations
    Eligibility(EligibilityArguments),
}

/// Arguments of `node status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StatusArguments {
    /// Node id or its beginning; without one, all are listed
    id: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "id")]
    own: bool,
    /// Show the head and the allocations only
    #[arg(long)]
    short: bool,
    /// Show the operating system in the list
    #[arg(long)]
    os: bool,
    /// Count the running allocations in the list
    #[arg(long)]
    allocs: bool,
    /// Show every figure that was measured
    #[arg(long)]
    stats: bool,
    /// Print ids only
    #[arg(long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show full ids, absolute times and attributes
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of `node eligibility`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EligibilityArguments {
    /// Node id or its beginning
    id: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "id")]
    own: bool,
    /// It takes new allocations
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// It takes none
    #[arg(long)]
    disable: bool,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Status(arguments) => Box::pin(status(cx, &arguments)).await,
        Command::Eligibility(arguments) => eligibility(cx, &arguments).await,
    }
}

/// Shows the node with this id, as `status` does.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn show_id(cx: &mut Context, id: &str, verbose: bool) -> anyhow::Result<u8> {
    let arguments = StatusArguments {
        id: Some(id.to_owned()),
        verbose,
        ..StatusArguments::default()
    };
    status(cx, &arguments).await
}

async fn status(cx: &mut Context, arguments: &StatusArguments) -> anyhow::Result<u8> {
    let id = match (&arguments.id, arguments.own) {
        (Some(id), _) => id.clone(),
        (None, true) => own_id(&cx.http).await?,
        (None, false) => return list_all(cx, arguments).await,
    };
    let found = lookup::node(cx, &id).await?;
    let path = format!("/v1/node/{}", segment(found.id));
    let querying = "Error querying node info";
    let value = cx.http.get_value(&path, &[]).await.context(querying)?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let node: jobs::wire::Node = decode(&path, value)?;
    let allocs: Vec<Allocation> = cx
        .http
        .get(&format!("{path}/allocations"), &[("namespace", "*")])
        .await
        .context("Error querying node allocations")?;
    let view = cx.view(arguments.verbose);
    if arguments.short {
        cx.print(&short(&node.row))?;
    } else {
        let usage = usage(cx, &node.row, &allocs).await?;
        cx.print(&detail(&node.row, &allocs, &usage, arguments.stats, &view))?;
    }
    cx.print(&allocations(&allocs, &view))?;
    if arguments.verbose {
        cx.print(&attributes(&node.row, &view))?;
    }
    Ok(0)
}

async fn own_id(http: &Http) -> anyhow::Result<String> {
    let agent: AgentSelf = http
        .get("/v1/agent/self", &[])
        .await
        .context("Error querying agent info")?;
    let client = agent
        .stats
        .get("client")
        .context("the agent is not running in client mode")?;
    let id = client.get("node_id").filter(|id| !id.is_empty());
    Ok(id.context("Failed to determine node ID")?.clone())
}

/// Which columns a list has beyond the minimum.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    os: bool,
    /// Running allocations, one per node.
    allocs: Option<Vec<usize>>,
}

async fn list_all(cx: &mut Context, arguments: &StatusArguments) -> anyhow::Result<u8> {
    let path = "/v1/nodes";
    let query: &[(&str, &str)] = if arguments.os { &[("os", "true")] } else { &[] };
    let value = cx.http.get_value(path, query).await;
    let value = value.context("Error querying node status")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let nodes: Vec<NodeListStub> = decode(path, value)?;
    if nodes.is_empty() {
        cx.print("No nodes registered")?;
        return Ok(0);
    }
    if arguments.quiet {
        let ids: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
        cx.print(&ids.join("\n"))?;
        return Ok(0);
    }
    let allocs = match arguments.allocs {
        true => Some(running_counts(&cx.http, &nodes).await?),
        false => None,
    };
    let wanted = Columns {
        os: arguments.os,
        allocs,
    };
    cx.print(&list(&nodes, wanted, &cx.view(arguments.verbose)))?;
    Ok(0)
}

async fn running_counts(http: &Http, nodes: &[NodeListStub]) -> anyhow::Result<Vec<usize>> {
    if nodes.len() > COUNTED_NODES_MAX {
        bail!("-allocs counts on at most {COUNTED_NODES_MAX} nodes");
    }
    let mut counts = Vec::with_capacity(nodes.len());
    for node in nodes {
        let path = format!("/v1/node/{}/allocations", segment(node.id));
        let allocs: Vec<Allocation> = http
            .get(&path, &[("namespace", "*")])
            .await
            .context("Error querying node allocations")?;
        counts.push(allocs.iter().filter(|alloc| is_running(alloc)).count());
    }
    Ok(counts)
}

fn is_running(alloc: &Allocation) -> bool {
    alloc.row.client_status == ClientStatus::Running
}

/// A table of nodes.
pub(super) fn list(nodes: &[NodeListStub], wanted: Columns, view: &View) -> String {
    let verbose = view.verbose;
    let counted = wanted.allocs.is_some();
    let counts = wanted.allocs.unwrap_or_default();
    let row = |cells: [(bool, String); 12]| -> Vec<String> {
        cells
            .into_iter()
            .filter_map(|(shown, cell)| shown.then_some(cell))
            .collect()
    };
    let mut lines = vec![row([
        (true, "ID".into()),
        (true, "Node Pool".into()),
        (true, "DC".into()),
        (true, "Name".into()),
        (true, "Class".into()),
        (wanted.os, "OS".into()),
        (verbose, "Address".into()),
        (verbose, "Version".into()),
        (true, "Drain".into()),
        (true, "Eligibility".into()),
        (true, "Status".into()),
        (counted, "Running Allocs".into()),
    ])];
    for (at, node) in nodes.iter().enumerate() {
        let os = node.attributes.as_ref().and_then(|all| all.get("os.name"));
        let count = counts.get(at).map(ToString::to_string).unwrap_or_default();
        lines.push(row([
            (true, view.id(node.id)),
            (true, node.node_pool.clone()),
            (true, node.datacenter.clone()),
            (true, node.name.clone()),
            (true, node.node_class.clone()),
            (wanted.os, os.cloned().unwrap_or_default()),
            (verbose, node.address.clone()),
            (verbose, node.version.clone()),
            (true, node.drain.to_string()),
            (true, node.scheduling_eligibility.as_str().to_owned()),
            (true, node.status.as_str().to_owned()),
            (counted, count),
        ]));
    }
    columns::list(&lines)
}

/// What a machine and its allocations use at the moment.
#[derive(Debug, Default)]
struct Usage {
    host: Option<HostStats>,
    /// CPU in MHz and memory in bytes of all running allocations.
    allocs: Option<(f64, u64)>,
}

async fn usage(cx: &mut Context, node: &Node, allocs: &[Allocation]) -> anyhow::Result<Usage> {
    let id = node.id.to_string();
    let query = [("node_id", id.as_str())];
    let host = match cx.http.get::<HostStats>("/v1/client/stats", &query).await {
        Ok(host) => Some(host),
        Err(error) => {
            cx.complain(&format!("error fetching node stats: {error}"));
            return Ok(Usage::default());
        }
    };
    let mut total = Some((0.0, 0_u64));
    for alloc in allocs.iter().filter(|alloc| is_running(alloc)) {
        let path = format!("/v1/client/allocation/{}/stats", segment(&alloc.row.id));
        let query = [("namespace", alloc.row.namespace.as_str())];
        let used = cx.http.get::<AllocResourceUsage>(&path, &query).await;
        // A figure without one of its parts would be wrong, so it is left out.
        total = match (total, used) {
            (Some((cpu, memory)), Ok(used)) => Some((
                cpu + used.resource_usage.cpu_stats.total_ticks,
                memory + alloc::status::used_memory(&used.resource_usage),
            )),
            _ => None,
        };
    }
    Ok(Usage {
        host,
        allocs: total,
    })
}

fn head(node: &Node) -> Vec<(&'static str, String)> {
    vec![
        ("ID", node.id.to_string()),
        ("Name", node.name.clone()),
        ("Node Pool", node.node_pool.clone()),
        ("Class", node.node_class.clone()),
        ("DC", node.datacenter.clone()),
        ("Drain", node.drain.to_string()),
        (
            "Eligibility",
            node.scheduling_eligibility.as_str().to_owned(),
        ),
        ("Status", node.status.as_str().to_owned()),
        ("CSI Controllers", String::new()),
        ("CSI Drivers", String::new()),
    ]
}

fn drivers(node: &Node) -> String {
    let names: Vec<String> = node
        .drivers
        .iter()
        .filter(|(_, info)| info.detected)
        .map(|(name, info)| match info.healthy {
            true => name.clone(),
            false => format!("{name} (unhealthy)"),
        })
        .collect();
    names.join(",")
}

fn short(node: &Node) -> String {
    let mut pairs = head(node);
    pairs.push(("Host Volumes", String::new()));
    pairs.push(("Host Networks", String::new()));
    pairs.push(("CSI Volumes", String::new()));
    pairs.push(("Drivers", drivers(node)));
    columns::key_values(&pairs)
}

fn detail(node: &Node, allocs: &[Allocation], usage: &Usage, stats: bool, view: &View) -> String {
    let section = |title: &str, text: &str| format!("\n{}\n{text}", view.paint.title(title));
    let mut pairs = head(node);
    if let Some(host) = &usage.host {
        let seconds = i64::try_from(host.uptime).unwrap_or(i64::MAX);
        pairs.push(("Uptime", duration(seconds.saturating_mul(1_000_000_000))));
    }
    if !view.verbose {
        pairs.push(("Host Volumes", String::new()));
        pairs.push(("Host Networks", String::new()));
        pairs.push(("CSI Volumes", String::new()));
        pairs.push(("Driver Status", drivers(node)));
    }
    let mut out = vec![columns::key_values(&pairs)];
    if view.verbose {
        out.push(section("Drivers", &driver_table(node, view)));
    }
    out.push(section("Node Events", &events(node, view)));
    out.push(section("Allocated Resources", &allocated(node, allocs)));
    if let Some((cpu, memory)) = usage.allocs {
        let (cpu_total, memory_total, _) = total(node);
        let row = [
            format!("{:.0}/{cpu_total} MHz", cpu.floor()),
            format!("{}/{}", bytes(memory), megabytes(memory_total)),
        ];
        let text = columns::table(["CPU", "Memory"], vec![row]);
        out.push(section("Allocation Resource Utilization", &text));
    }
    if let Some(host) = &usage.host {
        out.push(section(
            "Host Resource Utilization",
            &host_usage(node, host),
        ));
        if stats {
            out.push(host_stats(host, view));
        }
    }
    out.join("\n")
}

/// CPU in MHz, memory and disk in MB that allocations may have.
fn total(node: &Node) -> (i64, i64, i64) {
    let (has, kept) = (&node.node_resources, &node.reserved_resources);
    (
        has.cpu.cpu_shares - kept.cpu.cpu_shares,
        has.memory.memory_mb - kept.memory.memory_mb,
        has.disk.disk_mb - kept.disk.disk_mb,
    )
}

fn allocated(node: &Node, allocs: &[Allocation]) -> String {
    let (cpu_total, memory_total, disk_total) = total(node);
    let (mut cpu, mut memory, mut disk, mut count) = (0, 0, 0, 0_usize);
    for alloc in allocs.iter().filter(|alloc| is_running(alloc)) {
        cpu += alloc.resources.cpu;
        memory += alloc.resources.memory_mb;
        disk += alloc.resources.disk_mb;
        count += 1;
    }
    let row = [
        format!("{cpu}/{cpu_total} MHz"),
        format!("{}/{}", megabytes(memory), megabytes(memory_total)),
        format!("{}/{}", megabytes(disk), megabytes(disk_total)),
        count.to_string(),
    ];
    columns::table(["CPU", "Memory", "Disk", "Alloc Count"], vec![row])
}

fn host_usage(node: &Node, host: &HostStats) -> String {
    let volume = node.attributes.get("unique.storage.volume");
    let disk = host
        .disk_stats
        .iter()
        .find(|disk| Some(&disk.device) == volume);
    let disk = match disk {
        Some(disk) => format!("{}/{}", bytes(disk.used), bytes(disk.size)),
        None => format!("({})", volume.map_or("", String::as_str)),
    };
    let row = [
        format!(
            "{:.0}/{} MHz",
            host.cpu_ticks_consumed.floor(),
            node.node_resources.cpu.cpu_shares
        ),
        format!("{}/{}", bytes(host.memory.used), bytes(host.memory.total)),
        disk,
    ];
    columns::table(["CPU", "Memory", "Disk"], vec![row])
}

fn host_stats(host: &HostStats, view: &View) -> String {
    let section = |title: &str, text: String| format!("\n{}\n{text}", view.paint.title(title));
    let cores: Vec<String> = host
        .cpu
        .iter()
        .map(|core| {
            columns::key_values(&[
                ("CPU", core.cpu.clone()),
                ("User", format!("{:.2}%", core.user)),
                ("System", format!("{:.2}%", core.system)),
                ("Idle", format!("{:.2}%", core.idle)),
            ])
        })
        .collect();
    let memory = columns::key_values(&[
        ("Total", bytes(host.memory.total)),
        ("Available", bytes(host.memory.available)),
        ("Used", bytes(host.memory.used)),
        ("Free", bytes(host.memory.free)),
    ]);
    let disks: Vec<String> = host
        .disk_stats
        .iter()
        .map(|disk| {
            columns::key_values(&[
                ("Device", disk.device.clone()),
                ("MountPoint", disk.mountpoint.clone()),
                ("Size", bytes(disk.size)),
                ("Used", bytes(disk.used)),
                ("Available", bytes(disk.available)),
                ("Used Percent", format!("{:.2}%", disk.used_percent)),
                (
                    "Inodes Percent",
                    format!("{:.2}%", disk.inodes_used_percent),
                ),
            ])
        })
        .collect();
    [
        section("CPU Stats", cores.join("\n\n")),
        section("Memory Stats", memory),
        section("Disk Stats", disks.join("\n\n")),
    ]
    .join("\n")
}

fn driver_table(node: &Node, view: &View) -> String {
    let rows = node.drivers.iter().map(|(name, info)| {
        [
            name.clone(),
            info.detected.to_string(),
            info.healthy.to_string(),
            info.health_description.clone(),
            view.time(info.update_time.0),
        ]
    });
    columns::table(
        ["Driver", "Detected", "Healthy", "Message", "Time"],
        rows.collect(),
    )
}

fn events(node: &Node, view: &View) -> String {
    let mut header = vec!["Time".to_owned(), "Subsystem".into(), "Message".into()];
    if view.verbose {
        header.push("Details".into());
    }
    let mut lines = vec![header];
    for event in node.events.iter().rev() {
        let subsystem = match event.details.get("driver") {
            Some(driver) => format!("Driver: {driver}"),
            None => event.subsystem.clone(),
        };
        let mut line = vec![
            view.time(event.timestamp.0),
            subsystem,
            event.message.clone(),
        ];
        if view.verbose {
            let details: Vec<String> = event
                .details
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            line.push(details.join(", "));
        }
        lines.push(line);
    }
    columns::list(&lines)
}

fn allocations(allocs: &[Allocation], view: &View) -> String {
    let stubs: Vec<AllocationListStub> = allocs
        .iter()
        .map(|alloc| AllocationListStub {
            job_version: alloc.job.version,
            ..AllocationListStub::new(&alloc.row, StubOptions::default())
        })
        .collect();
    let text = alloc::status::stubs(&stubs, view);
    format!("\n{}\n{text}", view.paint.title("Allocations"))
}

fn attributes(node: &Node, view: &View) -> String {
    let table = |map: &std::collections::BTreeMap<String, String>| {
        let pairs: Vec<(&str, String)> = map
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        columns::key_values(&pairs)
    };
    format!(
        "\n{}\n{}\n\n{}\n{}",
        view.paint.title("Attributes"),
        table(&node.attributes),
        view.paint.title("Meta"),
        table(&node.meta)
    )
}

async fn eligibility(cx: &mut Context, arguments: &EligibilityArguments) -> anyhow::Result<u8> {
    if arguments.enable == arguments.disable {
        bail!("Either the '-enable' or '-disable' flag must be set");
    }
    let id = match (&arguments.id, arguments.own) {
        (Some(id), _) => id.clone(),
        (None, true) => own_id(&cx.http).await?,
        (None, false) => bail!("Node ID must be specified if -self isn't being used"),
    };
    let node = lookup::node(cx, &id).await?;
    let (eligibility, text) = if arguments.enable {
        (Eligibility::Eligible, "eligible for scheduling")
    } else {
        (Eligibility::Ineligible, "ineligible for scheduling")
    };
    let request = NodeEligibilityRequest {
        node_id: node.id.to_string(),
        eligibility,
    };
    let path = format!("/v1/node/{}/eligibility", segment(node.id));
    let _answer: NodeUpdateResponse = cx
        .http
        .put(&path, &[], &request)
        .await
        .context("Error updating scheduling eligibility")?;
    let id = quoted(node.id.to_string());
    cx.print(&format!("Node {id} scheduling eligibility set: {text}"))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::view::test_view;
    use super::*;

    fn fixture() -> Node {
        let value = serde_json::json!({
            "ID": "7ab3c2ff-5c5e-4a2e-a1f6-000000000000", "Name": "n1", "NodePool": "default",
            "NodeClass": null, "Datacenter": "dc1", "Status": "ready",
            "NodeResources": {"Cpu": {"CpuShares": 4000}, "Memory": {"MemoryMB": 2048},
                "Disk": {"DiskMB": 10240}},
            "ReservedResources": {"Cpu": {"CpuShares": 100}},
            "Drivers": {"raw_exec": {"Detected": true, "Healthy": true},
                "java": {"Detected": true}, "docker": {"Detected": false}},
            "Events": [{"Message": "Node registered", "Subsystem": "Cluster",
                "Timestamp": "2026-03-02T10:00:00Z"}],
        });
        decode("", value).unwrap()
    }

    #[test]
    fn the_list_has_one_line_per_node() {
        let stub = NodeListStub::new(&fixture(), jobs::wire::NodeStubOptions::default());
        assert_eq!(
            list(&[stub], Columns::default(), &test_view()),
            "ID        Node Pool  DC   Name  Class   Drain  Eligibility  Status
7ab3c2ff  default    dc1  n1    <none>  false  eligible     ready"
        );
    }

    #[test]
    fn one_node_in_full() {
        let view = test_view();
        let allocs: Vec<Allocation> = decode(
            "",
            serde_json::json!([{"ID": "51c8e77d-0000-4000-8000-000000000001", "NodeID": "7ab3c2ff-0000-4000-8000-000000000001", "TaskGroup": "app",
                "ClientStatus": "running", "Job": {"Version": 4},
                "Resources": {"CPU": 100, "MemoryMB": 256, "DiskMB": 300}}]),
        )
        .unwrap();
        let usage = Usage {
            host: Some(
                decode(
                    "",
                    serde_json::json!({"Uptime": 3661, "CPUTicksConsumed": 12.7,
                        "Memory": {"Total": 2_147_483_648_u64, "Used": 1_073_741_824}}),
                )
                .unwrap(),
            ),
            allocs: Some((7.9, 12_582_912)),
        };
        assert_eq!(
            format!(
                "{}\n{}",
                detail(&fixture(), &allocs, &usage, false, &view),
                allocations(&allocs, &view)
            ),
            "ID              = 7ab3c2ff-5c5e-4a2e-a1f6-000000000000
Name            = n1
Node Pool       = default
Class           = <none>
DC              = dc1
Drain           = false
Eligibility     = eligible
Status          = ready
CSI Controllers = <none>
CSI Drivers     = <none>
Uptime          = 1h1m1s
Host Volumes    = <none>
Host Networks   = <none>
CSI Volumes     = <none>
Driver Status   = java (unhealthy),raw_exec

Node Events
Time                  Subsystem  Message
2026-03-02T10:00:00Z  Cluster    Node registered

Allocated Resources
CPU           Memory           Disk            Alloc Count
100/3900 MHz  256 MiB/2.0 GiB  300 MiB/10 GiB  1

Allocation Resource Utilization
CPU         Memory
7/3900 MHz  12 MiB/2.0 GiB

Host Resource Utilization
CPU          Memory           Disk
12/4000 MHz  1.0 GiB/2.0 GiB  ()

Allocations
ID        Node ID   Task Group  Version  Desired  Status   Created  Modified
51c8e77d  7ab3c2ff  app         4        run      running  <none>   <none>"
        );
    }
}
