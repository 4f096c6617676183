//! How one node is shown.

use crate::render::{self, columns};
use crate::view::{View, bytes, megabytes};
use jobs::model::{Node, Span};
use jobs::wire::{Allocation, AllocationListStub, HostStats, StubOptions};

/// What a machine and its allocations use at the moment.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) host: Option<HostStats>,
    /// CPU in MHz and memory in bytes of all running allocations.
    pub(super) allocs: Option<(f64, u64)>,
}

/// The head only.
pub(super) fn short(node: &Node, view: &View) -> String {
    let mut pairs = head(node, view);
    pairs.push(("Host Volumes", String::new()));
    pairs.push(("Host Networks", host_networks(node)));
    pairs.push(("CSI Volumes", String::new()));
    pairs.push(("Drivers", drivers(node)));
    columns::key_values(&pairs)
}

/// The head, what happened, and what is given and used.
pub(super) fn full(
    node: &Node,
    allocs: &[Allocation],
    usage: &Usage,
    stats: bool,
    view: &View,
) -> String {
    let section = |title: &str, text: &str| format!("\n{}\n{text}", view.paint.title(title));
    let mut pairs = head(node, view);
    if let Some(host) = &usage.host {
        let seconds = i64::try_from(host.uptime).unwrap_or(i64::MAX);
        pairs.push(("Uptime", Span::from_secs(seconds).to_string()));
    }
    if !view.verbose {
        pairs.push(("Host Volumes", String::new()));
        pairs.push(("Host Networks", host_networks(node)));
        pairs.push(("CSI Volumes", String::new()));
        pairs.push(("Driver Status", drivers(node)));
    }
    let mut out = vec![columns::key_values(&pairs)];
    if view.verbose {
        if !node.host_networks.is_empty() {
            out.push(section("Host Networks", &host_network_table(node)));
        }
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

fn head(node: &Node, view: &View) -> Vec<(&'static str, String)> {
    vec![
        ("ID", node.id.to_string()),
        ("Name", node.name.to_string()),
        ("Node Pool", node.node_pool.clone()),
        ("Class", node.node_class.clone()),
        ("DC", node.datacenter.clone()),
        ("Drain", drain(node, view)),
        (
            "Eligibility",
            node.scheduling_eligibility.as_str().to_owned(),
        ),
        ("Status", node.status.as_str().to_owned()),
        ("CSI Controllers", String::new()),
        ("CSI Drivers", String::new()),
    ]
}

/// Whether it is being emptied, and how.
fn drain(node: &Node, view: &View) -> String {
    let Some(strategy) = &node.drain_strategy else {
        return node.drain.to_string();
    };
    let mut text = if strategy.deadline < Span::ZERO {
        "true; force drain".to_owned()
    } else if strategy.force_deadline.is_zero() {
        "true; no deadline".to_owned()
    } else {
        let deadline = view.time(strategy.force_deadline);
        format!("true; {deadline} deadline")
    };
    if strategy.ignore_system_jobs {
        text.push_str("; ignoring system jobs");
    }
    text
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
    for alloc in allocs
        .iter()
        .filter(|alloc| render::allocations::is_running(alloc))
    {
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
            view.time(info.update_time),
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
        let mut line = vec![view.time(event.timestamp), subsystem, event.message.clone()];
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

/// Names of the networks that ports may ask for.
fn host_networks(node: &Node) -> String {
    let names: Vec<&str> = node.host_networks.keys().map(String::as_str).collect();
    names.join(",")
}

fn host_network_table(node: &Node) -> String {
    let rows = node.host_networks.values().map(|network| {
        [
            network.name.clone(),
            network.cidr.clone(),
            network.interface.clone(),
            network.reserved_ports.clone(),
        ]
    });
    columns::table(
        ["Name", "CIDR", "Interface", "ReservedPorts"],
        rows.collect(),
    )
}

/// The allocations on it, with a title.
pub(super) fn allocations(allocs: &[Allocation], view: &View) -> String {
    let stubs: Vec<AllocationListStub> = allocs
        .iter()
        .map(|alloc| AllocationListStub {
            job_version: alloc.job.version,
            ..AllocationListStub::new(&alloc.row, StubOptions::default())
        })
        .collect();
    let text = render::allocations::list(&stubs, view);
    format!("\n{}\n{text}", view.paint.title("Allocations"))
}

/// Its attributes and metadata, with titles.
pub(super) fn attributes(node: &Node, view: &View) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::decode;
    use crate::render::nodes::test_node;
    use crate::view::test_view;
    use jobs::model::HostNetwork;

    #[test]
    fn networks_of_the_host_are_named_and_listed() {
        let mut node = test_node();
        for (name, cidr) in [("public", "192.0.2.0/24"), ("private", "")] {
            let network = HostNetwork {
                name: name.into(),
                cidr: cidr.into(),
                ..HostNetwork::default()
            };
            node.host_networks.insert(name.into(), network);
        }
        let mut view = test_view();
        let named = "Host Networks   = private,public";
        assert!(short(&node, &view).contains(named));
        let text = |view: &View| full(&node, &[], &Usage::default(), false, view);
        assert!(text(&view).contains(named));
        view.verbose = true;
        let listed = "Host Networks
Name     CIDR          Interface  ReservedPorts
private  <none>        <none>     <none>
public   192.0.2.0/24  <none>     <none>
";
        let text = text(&view);
        assert!(text.contains(listed), "{text}");
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
                full(&test_node(), &allocs, &usage, false, &view),
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
