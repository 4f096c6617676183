//! System calls that isolated tasks may not make: those that change the machine rather than the
//! task, and those that make or enter namespaces, in which further privileges would be had.

use nix::libc;

/// Refused with "not permitted".
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_writev,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
/// Those that only some processors have.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] =
    &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_kexec_file_load];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

/// The processor whose numbers of calls these are.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Numbers from here on are those of another way to call, which nothing here uses.
#[cfg(target_arch = "x86_64")]
const OTHER_CALLS: u32 = 0x4000_0000;

/// Flags of `clone` that make namespaces.
const NAMESPACES: u32 = 0x7e02_0000;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
/// Places in what a filter sees: number, processor, low half of the first argument.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENT_AT: u32 = 16;

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const ANSWER: u16 = 0x06;

/// The filter, as the kernel takes it.
pub(super) fn filter() -> Vec<libc::sock_filter> {
    let mut program = vec![
        step(LOAD, 0, 0, ARCHITECTURE_AT),
        step(EQUAL, 1, 0, ARCHITECTURE),
        step(ANSWER, 0, 0, KILL),
        step(LOAD, 0, 0, NUMBER_AT),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([step(AT_LEAST, 0, 1, OTHER_CALLS), refuse(libc::EPERM)]);
    for number in REFUSED.iter().chain(REFUSED_HERE) {
        program.extend([step(EQUAL, 0, 1, call(*number)), refuse(libc::EPERM)]);
    }
    // Its flags are behind a pointer; without it libraries use the older call.
    program.extend([
        step(EQUAL, 0, 1, call(libc::SYS_clone3)),
        refuse(libc::ENOSYS),
    ]);
    program.extend([
        step(EQUAL, 0, 3, call(libc::SYS_clone)),
        step(LOAD, 0, 0, ARGUMENT_AT),
        step(ANY_BIT, 0, 1, NAMESPACES),
        refuse(libc::EPERM),
        step(ANSWER, 0, 0, ALLOW),
    ]);
    program
}

fn call(number: libc::c_long) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn refuse(errno: i32) -> libc::sock_filter {
    step(ANSWER, 0, 0, ERRNO | u32::try_from(errno).unwrap_or(0))
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers to a call.
    fn answer(architecture: u32, number: libc::c_long, argument: u32) -> u32 {
        let program = filter();
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let holds = match step.code {
                LOAD => {
                    loaded = match step.k {
                        NUMBER_AT => call(number),
                        ARCHITECTURE_AT => architecture,
                        _ => argument,
                    };
                    continue;
                }
                ANSWER => return step.k,
                EQUAL => loaded == step.k,
                AT_LEAST => loaded >= step.k,
                ANY_BIT => loaded & step.k != 0,
                other => panic!("{other}"),
            };
            at += usize::from(if holds { step.jt } else { step.jf });
        }
    }

    #[test]
    fn what_changes_the_machine_is_refused_and_the_rest_is_not() {
        let refused = ERRNO | libc::EPERM as u32;
        let ask = |number, argument| answer(ARCHITECTURE, number, argument);
        assert_eq!(ask(libc::SYS_read, 0), ALLOW);
        assert_eq!(ask(libc::SYS_clone, 17), ALLOW);
        assert_eq!(ask(libc::SYS_clone, 0x1000_0000), refused);
        assert_eq!(ask(libc::SYS_mount, 0), refused);
        assert_eq!(ask(libc::SYS_unshare, 0), refused);
        assert_eq!(ask(libc::SYS_clone3, 0), ERRNO | libc::ENOSYS as u32);
        assert_eq!(answer(3, libc::SYS_read, 0), KILL);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(ask(libc::c_long::from(OTHER_CALLS), 0), refused);
    }
}
