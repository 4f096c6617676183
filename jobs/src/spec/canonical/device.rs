use super::{Findings, placement, shown};
use crate::model::{Numa, RequestedDevice};
use crate::wire;

/// Devices that a task needs, with their defaults.
pub(super) fn requested(
    findings: &mut Findings,
    given: Option<Vec<RequestedDevice>>,
) -> Box<[RequestedDevice]> {
    let mut all = Vec::new();
    for (at, device) in given.into_iter().flatten().enumerate() {
        let mut part = Findings::default();
        part.require(!device.name.is_empty(), || {
            "device name must be given as one of the following: type, vendor/type, or vendor/type/name".into()
        });
        let constraints = placement::constraints(&mut part, device.constraints);
        for (number, constraint) in constraints.iter().enumerate() {
            let operand = constraint.operand.as_str();
            part.require(!operand.starts_with("distinct_"), || {
                format!(
                    "Constraint {} validation failed: using unsupported operand {operand:?}",
                    number + 1
                )
            });
        }
        let affinities = device.affinities.clone().unwrap_or_default();
        let affinities = affinities.into_iter().map(|affinity| wire::Affinity {
            l_target: affinity.l_target,
            r_target: affinity.r_target,
            operand: affinity.operand,
            weight: affinity.weight.map(i64::from),
        });
        placement::affinity_rules(&mut part, affinities.collect());
        findings.nest(
            &format!(
                "device {} ({}) validation failed",
                at + 1,
                shown(&device.name)
            ),
            part,
        );
        let affinities = device.affinities.filter(|list| !list.is_empty());
        all.push(RequestedDevice {
            count: Some(device.count.unwrap_or(1)),
            constraints: Some(constraints).filter(|list| !list.is_empty()),
            affinities: affinities.map(|list| {
                list.into_iter()
                    .map(|mut affinity| {
                        affinity.weight.get_or_insert(50);
                        if affinity.operand.is_empty() {
                            "=".clone_into(&mut affinity.operand);
                        }
                        affinity
                    })
                    .collect()
            }),
            name: device.name,
        });
    }
    all.into()
}

/// A `numa` block with its defaults.
pub(super) fn numa(findings: &mut Findings, given: Option<Numa>) -> Option<Box<Numa>> {
    let mut numa = given?;
    if numa.affinity.is_empty() {
        "none".clone_into(&mut numa.affinity);
    }
    let known = ["none", "prefer", "require"];
    findings.require(known.contains(&numa.affinity.as_str()), || {
        "numa affinity must be one of none, prefer, or require".into()
    });
    numa.devices = numa.devices.filter(|list| !list.is_empty());
    Some(Box::new(numa))
}
