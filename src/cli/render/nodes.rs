//! Nodes as a table.

use super::columns;
use crate::view::View;
use jobs::wire::NodeListStub;

/// Which columns a list has beyond the minimum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// The operating system.
    pub(crate) os: bool,
    /// Running allocations, one per node.
    pub(crate) allocs: Option<Vec<usize>>,
}

/// A table of nodes of one pool, which is not named in each line.
pub(crate) fn of_pool(nodes: &[NodeListStub], view: &View) -> String {
    rows(nodes, Columns::default(), Pool::Known, view)
}

/// Whether lines name the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pool {
    Known,
    Shown,
}

/// A table of nodes.
pub(crate) fn list(nodes: &[NodeListStub], wanted: Columns, view: &View) -> String {
    rows(nodes, wanted, Pool::Shown, view)
}

fn rows(nodes: &[NodeListStub], wanted: Columns, pool: Pool, view: &View) -> String {
    let pool = pool == Pool::Shown;
    let verbose = view.verbose;
    let counted = wanted.allocs.is_some();
    let counts = wanted.allocs.unwrap_or_default();
    let mut lines = vec![columns::chosen([
        (true, "ID".into()),
        (pool, "Node Pool".into()),
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
        lines.push(columns::chosen([
            (true, view.id(node.id)),
            (pool, node.node_pool.clone()),
            (true, node.datacenter.clone()),
            (true, node.name.to_string()),
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

/// A node as the API describes it.
#[cfg(test)]
pub(crate) fn test_node() -> jobs::model::Node {
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
    crate::http::decode("", value).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    #[test]
    fn the_list_has_one_line_per_node() {
        let stub = NodeListStub::new(&test_node(), jobs::wire::NodeStubOptions::default());
        assert_eq!(
            list(&[stub], Columns::default(), &test_view()),
            "ID        Node Pool  DC   Name  Class   Drain  Eligibility  Status
7ab3c2ff  default    dc1  n1    <none>  false  eligible     ready"
        );
    }
}
