use super::{Findings, shown};
use crate::model::{CsiPlugin, FlatMap, JobType, Span, TaskGroup, VolumeMount, VolumeRequest};
use std::collections::BTreeMap;

/// The volumes of a group.
pub(super) fn requests(
    findings: &mut Findings,
    given: Option<BTreeMap<String, VolumeRequest>>,
    job_type: JobType,
) -> FlatMap<String, VolumeRequest> {
    let given = given.unwrap_or_default().into_iter();
    let mut all = FlatMap::new();
    for (name, mut request) in given {
        request.name.clone_from(&name);
        let mut part = Findings::default();
        request_rules(&mut part, &request, job_type);
        findings.nest(
            &format!("Task group volume validation for {} failed", shown(&name)),
            part,
        );
        all.insert(name, request);
    }
    all
}

fn request_rules(findings: &mut Findings, request: &VolumeRequest, job_type: JobType) {
    let kind = request.volume_type.as_str();
    if !matches!(kind, "host" | "csi") {
        findings.error(format!("volume has unrecognized type {kind}"));
        return;
    }
    findings.require(!request.source.is_empty(), || {
        "volume has an empty source".into()
    });
    if request.per_alloc {
        findings.require(!super::is_system(job_type), || {
            "volume cannot be per_alloc for system or sysbatch jobs".into()
        });
        findings.require(!request.sticky, || {
            "volume cannot be per_alloc and sticky at the same time".into()
        });
    }
    let mode = request.access_mode.as_str();
    let reads_only = matches!(mode, "single-node-reader-only" | "multi-node-reader-only");
    findings.require(!reads_only || request.read_only, || {
        format!("{mode} volumes must be read-only")
    });
    if kind == "host" {
        findings.require(request.mount_options.is_none(), || {
            "host volumes cannot have mount options".into()
        });
        let known = [
            "",
            "single-node-reader-only",
            "single-node-writer",
            "single-node-single-writer",
            "single-node-multi-writer",
        ];
        findings.require(known.contains(&mode), || {
            format!("host volumes cannot be mounted with {mode} access mode")
        });
        return;
    }
    findings.require(!mode.is_empty(), || {
        "CSI volumes must have an access mode".into()
    });
    match request.attachment_mode.as_str() {
        "" => findings.error("CSI volumes must have an attachment mode"),
        "block-device" => findings.require(request.mount_options.is_none(), || {
            "block devices cannot have mount options".into()
        }),
        _ => {}
    }
}

/// Rules of volumes that need the count and the canaries of the group.
pub(super) fn whole(findings: &mut Findings, group: &TaskGroup, canaries: u32) {
    for (name, request) in &group.volumes {
        let mut part = Findings::default();
        part.require(canaries == 0 || !request.per_alloc, || {
            "volume cannot be per_alloc when canaries are in use".into()
        });
        let shared = group.count > 1 && !request.per_alloc && request.volume_type == "csi";
        let mode = request.access_mode.as_str();
        let one = match mode {
            "single-node-reader-only" => Some("reader"),
            "single-node-writer" => Some("reader or writer"),
            "multi-node-single-writer" if !request.read_only => Some("writer"),
            _ => None,
        };
        if let (true, Some(one)) = (shared, one) {
            part.error(format!(
                "volume with {mode} access mode allows only one {one}"
            ));
        }
        findings.nest(
            &format!("Task group volume validation for {} failed", shown(name)),
            part,
        );
    }
}

/// Where a task sees volumes of its group.
pub(super) fn mounts(
    findings: &mut Findings,
    given: Option<Vec<VolumeMount>>,
    volumes: &FlatMap<String, VolumeRequest>,
) -> Box<[VolumeMount]> {
    let mut all = Vec::new();
    for (at, mount) in given.into_iter().flatten().enumerate() {
        let volume = mount.volume.unwrap_or_default();
        if volume.is_empty() {
            findings.error(format!("Volume Mount ({at}) references an empty volume"));
        } else {
            // What the client resolves cannot be looked up here.
            let known = volume.contains("${") || volumes.contains_key(volume.as_str());
            findings.require(known, || {
                format!(
                    "Volume Mount ({at}) references undefined volume {}",
                    shown(&volume)
                )
            });
        }
        let propagation = mount.propagation_mode.unwrap_or_default();
        let known = ["", "private", "host-to-task", "bidirectional"];
        findings.require(known.contains(&propagation.as_str()), || {
            format!("Volume Mount ({at}) has an invalid propagation mode: {propagation:?}")
        });
        let label = mount.selinux_label.unwrap_or_default();
        findings.require(["", "z", "Z"].contains(&label.as_str()), || {
            format!("Volume Mount ({at}) has an invalid SELinux label: {label:?}")
        });
        all.push(VolumeMount {
            volume: Some(volume),
            destination: Some(mount.destination.unwrap_or_default()),
            read_only: Some(mount.read_only.unwrap_or(false)),
            propagation_mode: Some(if propagation.is_empty() {
                "private".into()
            } else {
                propagation
            }),
            selinux_label: Some(label),
        });
    }
    all.into()
}

/// A task that serves volumes, with its defaults.
pub(super) fn plugin(findings: &mut Findings, given: Option<CsiPlugin>) -> Option<Box<CsiPlugin>> {
    let mut plugin = given?;
    findings.require(!plugin.id.is_empty(), || {
        "CSIPluginConfig must have a non-empty PluginID".into()
    });
    let known = ["node", "controller", "monolith"];
    findings.require(known.contains(&plugin.plugin_type.as_str()), || {
        format!(
            "CSIPluginConfig PluginType must be one of 'node', 'controller', or 'monolith', got: {:?}",
            plugin.plugin_type
        )
    });
    let or = |text: &mut String, default: &str| {
        if text.is_empty() {
            default.clone_into(text);
        }
    };
    or(&mut plugin.mount_dir, "/csi");
    or(&mut plugin.stage_publish_base_dir, "/local/csi");
    if plugin.health_timeout.is_zero() {
        plugin.health_timeout = Span::from_secs(30);
    }
    Some(Box::new(plugin))
}
