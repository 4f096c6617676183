//! `operator usage …`: how much the catalog holds.

use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Between the longest cell of a column and the next column.
const GAP: usize = 6;

/// See how much the catalog holds.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Count services and their instances
    Instances(Arguments),
}

/// Arguments of `operator usage instances`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Name the datacenters, and count all that are known
    #[arg(long)]
    all_datacenters: bool,
    /// Only ordinary instances
    #[arg(long)]
    billable: bool,
    /// Only instances of the mesh
    #[arg(long)]
    connect: bool,
}

/// The API's answer, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Usage {
    /// By datacenter.
    usage: BTreeMap<String, Counts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Counts {
    services: u64,
    connect_service_instances: BTreeMap<String, u64>,
    billable_service_instances: u64,
    nodes: u64,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Instances(arguments) = command;
    let http = arguments.options.http(cx)?;
    let global: &[(&str, &str)] = match arguments.all_datacenters {
        true => &[("global", "")],
        false => &[],
    };
    let query = arguments.options.read(global);
    let usage: Usage = http
        .get("/v1/operator/usage", &query)
        .await
        .context("Error fetching usage information")?;
    cx.print(&shown(&usage.usage, &arguments))?;
    Ok(0)
}

/// The sections that were asked for, with an empty line between two.
fn shown(usage: &BTreeMap<String, Counts>, arguments: &Arguments) -> String {
    let is_all = !arguments.billable && !arguments.connect;
    let by_datacenter = arguments.all_datacenters;
    let mut sections = Vec::new();
    if is_all || arguments.billable {
        sections.push(totals(usage));
        sections.push(billable(usage, by_datacenter));
    }
    if is_all {
        sections.push(nodes(usage));
    }
    if is_all || arguments.connect {
        sections.push(connect(usage, by_datacenter));
    }
    sections.join("\n\n")
}

fn totals(usage: &BTreeMap<String, Counts>) -> String {
    let count = |counts: &Counts| counts.billable_service_instances;
    let total: u64 = usage.values().map(count).sum();
    let lines = usage.iter().map(|(name, counts)| {
        let count = count(counts);
        format!("\n{name} Billable Service Instances: {count}")
    });
    let lines: String = lines.collect();
    format!("Billable Service Instances Total: {total}{lines}")
}

fn billable(usage: &BTreeMap<String, Counts>, by_datacenter: bool) -> String {
    let header = ["Datacenter", "Services", "Service instances"];
    let of = |counts: &Counts| [counts.services, counts.billable_service_instances];
    let rows = usage.iter().map(|(name, counts)| {
        let [services, instances] = of(counts);
        [name.clone(), services.to_string(), instances.to_string()]
    });
    let [services, instances] = [0, 1].map(|at| -> u64 {
        let counts = usage.values().map(|counts| of(counts)[at]);
        counts.sum()
    });
    let total = ["Total".into(), services.to_string(), instances.to_string()];
    section("Billable Services", header, rows, total, by_datacenter)
}

fn connect(usage: &BTreeMap<String, Counts>, by_datacenter: bool) -> String {
    let header = ["Datacenter", "Type", "Service instances"];
    let rows = usage.iter().flat_map(|(name, counts)| {
        let kinds = counts.connect_service_instances.iter();
        kinds.map(|(kind, count)| [name.clone(), kind.clone(), count.to_string()])
    });
    let counts = usage
        .values()
        .flat_map(|counts| counts.connect_service_instances.values());
    let total = [
        "Total".into(),
        String::new(),
        counts.sum::<u64>().to_string(),
    ];
    section("Connect Services", header, rows, total, by_datacenter)
}

/// A title and a table; only with datacenters it says them and the total.
fn section(
    title: &str,
    header: [&str; 3],
    rows: impl Iterator<Item = [String; 3]>,
    total: [String; 3],
    by_datacenter: bool,
) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows);
    if by_datacenter {
        lines.push([const { String::new() }; 3]);
        lines.push(total);
    }
    let skipped = usize::from(!by_datacenter);
    let lines: Vec<&[String]> = lines
        .iter()
        .filter_map(|line| line.get(skipped..))
        .collect();
    format!("{title}\n{}", table(&lines))
}

fn nodes(usage: &BTreeMap<String, Counts>) -> String {
    let mut lines = vec![["Datacenter".to_owned(), "Count".into()]];
    lines.extend(
        usage
            .iter()
            .map(|(name, counts)| [name.clone(), counts.nodes.to_string()]),
    );
    let total: u64 = usage.values().map(|counts| counts.nodes).sum();
    lines.extend([
        [const { String::new() }; 2],
        ["Total".into(), total.to_string()],
    ]);
    let lines: Vec<&[String]> = lines.iter().map(|line| line.as_slice()).collect();
    format!("Nodes\n{}", table(&lines))
}

/// Cells in columns; nothing stands behind the last cell of a line.
fn table(lines: &[&[String]]) -> String {
    let count = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = lines.iter().filter_map(|line| line.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(|at| width(at) + GAP).collect();
    let line = |cells: &&[String]| -> String {
        let cells = cells.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        line.trim_end().to_owned()
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(services: u64, billable: u64, nodes: u64, gateways: u64) -> Counts {
        let kinds = [("connect-proxy", 0), ("mesh-gateway", gateways)];
        Counts {
            services,
            connect_service_instances: kinds.map(|(kind, count)| (kind.into(), count)).into(),
            billable_service_instances: billable,
            nodes,
        }
    }

    #[test]
    fn one_datacenter_is_not_named_in_tables_of_services() {
        let usage = [("dc1".to_owned(), counts(2, 3, 1, 1))].into();
        let all = "Billable Service Instances Total: 3
dc1 Billable Service Instances: 3

Billable Services
Services      Service instances
2             3

Nodes
Datacenter      Count
dc1             1

Total           1

Connect Services
Type               Service instances
connect-proxy      0
mesh-gateway       1";
        assert_eq!(shown(&usage, &Arguments::default()), all);
        let (with_billable, connect) = all.split_once("\n\nConnect").unwrap();
        let only = Arguments {
            connect: true,
            ..Arguments::default()
        };
        assert_eq!(shown(&usage, &only), format!("Connect{connect}"));
        let only = Arguments {
            billable: true,
            ..Arguments::default()
        };
        let (billable, _) = with_billable.split_once("\n\nNodes").unwrap();
        assert_eq!(shown(&usage, &only), billable);
    }

    #[test]
    fn several_datacenters_are_named_and_added_up() {
        let usage = [
            ("dc1".to_owned(), counts(2, 3, 1, 1)),
            ("dc2".to_owned(), counts(1, 1, 2, 2)),
        ];
        let arguments = Arguments {
            all_datacenters: true,
            ..Arguments::default()
        };
        assert_eq!(
            shown(&usage.into(), &arguments),
            "Billable Service Instances Total: 4
dc1 Billable Service Instances: 3
dc2 Billable Service Instances: 1

Billable Services
Datacenter      Services      Service instances
dc1             2             3
dc2             1             1

Total           3             4

Nodes
Datacenter      Count
dc1             1
dc2             2

Total           3

Connect Services
Datacenter      Type               Service instances
dc1             connect-proxy      0
dc1             mesh-gateway       1
dc2             connect-proxy      0
dc2             mesh-gateway       2

Total                              3"
        );
    }
}
