//! Which privileges of root a task keeps.

use std::collections::BTreeSet;

/// Names by number, lowercase without `cap_`.
pub(super) const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// What tasks may have unless the operator says otherwise, and what they have unless they say
/// otherwise.
pub(super) const USUAL: [&str; 13] = [
    "audit_write",
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "mknod",
    "net_bind_service",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_chroot",
];

/// `CAP_NET_RAW`, `net_raw` and `NET_RAW` are the same.
pub(super) fn normal(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.strip_prefix("cap_").unwrap_or(&lower).to_owned()
}

/// What tasks may have: `allowed` by the operator, the usual ones when nothing is said; `all` for
/// every one.
pub(super) fn allowed(allowed: Option<&[String]>) -> BTreeSet<String> {
    let Some(names) = allowed else {
        return USUAL.map(str::to_owned).into();
    };
    let names: BTreeSet<String> = names.iter().map(|name| normal(name)).collect();
    if names.contains("all") {
        NAMES.map(str::to_owned).into()
    } else {
        names
    }
}

/// What a task has that adds and drops some.
///
/// # Errors
/// A sentence that names those that it may not have.
pub(super) fn of_task(
    may: &BTreeSet<String>,
    add: &[String],
    drop: &[String],
) -> Result<BTreeSet<String>, String> {
    let add: BTreeSet<String> = add.iter().map(|name| normal(name)).collect();
    let drop: BTreeSet<String> = drop.iter().map(|name| normal(name)).collect();
    let mut has: BTreeSet<String> = if drop.contains("all") {
        BTreeSet::new()
    } else {
        let usual = USUAL.iter().filter(|name| may.contains(**name));
        usual.map(|name| (*name).to_owned()).collect()
    };
    has.retain(|name| !drop.contains(name));
    if add.contains("all") {
        if may.len() < NAMES.len() {
            return Err(refusal(&["all"], may));
        }
        return Ok(may
            .iter()
            .filter(|name| !drop.contains(*name))
            .cloned()
            .collect());
    }
    let missing: Vec<&str> = add
        .iter()
        .filter(|name| !may.contains(*name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(refusal(&missing, may));
    }
    has.extend(add);
    Ok(has)
}

fn refusal(missing: &[&str], may: &BTreeSet<String>) -> String {
    let may: Vec<&str> = may.iter().map(String::as_str).collect();
    format!(
        "driver does not have the following capabilities allowed: {}; the agent's `allow_caps` has {}",
        missing.join(", "),
        may.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: Option<&[&str]>, add: &[&str], drop: &[&str], expected: &str) {
        let texts = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let allow = allow.map(texts);
        let may = allowed(allow.as_deref());
        let found = match of_task(&may, &texts(add), &texts(drop)) {
            Ok(has) => has.into_iter().collect::<Vec<_>>().join(" "),
            Err(refusal) => refusal.split(';').next().unwrap_or_default().to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_task_has_the_usual_ones_and_what_it_adds_within_what_is_allowed() {
        let usual = USUAL.join(" ");
        check(None, &[], &[], &usual);
        check(None, &["CAP_CHOWN"], &["all"], "chown");
        check(
            Some(&["kill", "net_raw"]),
            &["NET_RAW"],
            &[],
            "kill net_raw",
        );
        check(Some(&["kill"]), &[], &["KILL"], "");
        let refused = "driver does not have the following capabilities allowed: ";
        check(None, &["net_raw"], &[], &format!("{refused}net_raw"));
        check(None, &["all"], &[], &format!("{refused}all"));
        check(Some(&["all"]), &["sys_admin"], &["all"], "sys_admin");
    }
}
