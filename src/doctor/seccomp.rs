//! A seccomp profile under which io_uring works.
//!
//! Docker's own profile is a long list of what is allowed, without io_uring, and changes with each
//! of its releases. A copy of it would age here, and in Kubernetes it would even be read wrongly:
//! its conditions on capabilities are Docker's own, and containerd, which knows only the fields
//! of the runtime specification, would grant what stands behind them to everybody. So the profile
//! here turns it round: it allows by default, denies by name what that list is there to keep out
//! (mounts, namespaces, kernel modules, other processes' memory, the clock, BPF and so on), and
//! uses only fields that Docker, Podman, containerd and CRI-O all know.
//!
//! The price: a system call that a future kernel adds is allowed until it is named here. Where
//! that is too much, take the profile that is in use and add the three calls to it (the command
//! does, with `--seccomp-base`).

use crate::driver::survey::Call;

/// The three system calls of io_uring.
const CALLS: [&str; 3] = [
    Call::Setup.name(),
    Call::Enter.name(),
    Call::Register.name(),
];

/// Denied with `EPERM`, whatever their arguments.
const DENIED: &[&str] = &[
    // The machine: its modules, its clock, its name, its devices, its swap, its log.
    "create_module",
    "delete_module",
    "finit_module",
    "get_kernel_syms",
    "init_module",
    "query_module",
    "kexec_file_load",
    "kexec_load",
    "reboot",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "clock_settime64",
    "settimeofday",
    "stime",
    "sethostname",
    "setdomainname",
    "ioperm",
    "iopl",
    "vm86",
    "vm86old",
    "acct",
    "quotactl",
    "quotactl_fd",
    "swapoff",
    "swapon",
    "syslog",
    "vhangup",
    // What leads out of the container: mounts, namespaces, handles.
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "listmount",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "statmount",
    "umount",
    "umount2",
    "setns",
    "unshare",
    "fanotify_init",
    "name_to_handle_at",
    "open_by_handle_at",
    // Other processes, and the kernel's insides.
    "bpf",
    "kcmp",
    "lookup_dcookie",
    "perf_event_open",
    "personality",
    "pidfd_getfd",
    "process_vm_readv",
    "process_vm_writev",
    "userfaultfd",
    // Keys, which have no namespace of their own.
    "add_key",
    "keyctl",
    "request_key",
    // Where memory lies.
    "get_mempolicy",
    "mbind",
    "migrate_pages",
    "move_pages",
    "set_mempolicy",
    "set_mempolicy_home_node",
    // What nothing uses any more.
    "_sysctl",
    "nfsservctl",
    "sysfs",
    "uselib",
    "ustat",
];

/// `CLONE_NEW..`: a namespace of this kind for the new process. (That of time is not to be had
/// through `clone`, whose lowest bits are a signal.)
const NAMESPACES: [u32; 7] = [
    0x0002_0000, // mounts
    0x0200_0000, // cgroups
    0x0400_0000, // host name
    0x0800_0000, // queues
    0x1000_0000, // users
    0x2000_0000, // processes
    0x4000_0000, // network
];
/// Sockets of these families: those of the hypervisor, and the kernel's own cryptography.
const FAMILIES: [u32; 2] = [40, 38];

/// A profile for `docker run --security-opt seccomp=FILE`, in JSON, under which a runtime can be
/// built. Docker, Podman, containerd and CRI-O read it; Kubernetes takes it as a profile of the
/// type `Localhost`.
///
/// It allows by default, and denies by name what containers are kept from: mounts and namespaces,
/// kernel modules, the clock, other processes' memory, keys, BPF. Docker's default profile works
/// the other way round and is stricter towards system calls that future kernels add; to keep it,
/// add the three calls of io_uring to it (`corering doctor --write-seccomp FILE --seccomp-base
/// DEFAULT`).
///
/// ```
/// let profile = corering::doctor::seccomp_profile();
/// assert!(profile.contains("io_uring_setup"));
/// ```
pub fn seccomp_profile() -> String {
    let mut rules = vec![
        rule(&CALLS, "SCMP_ACT_ALLOW", ""),
        rule(DENIED, "SCMP_ACT_ERRNO", ", \"errnoRet\": 1"),
        // A C library that finds no clone3 takes clone, whose flags a filter can see (ENOSYS).
        rule(&["clone3"], "SCMP_ACT_ERRNO", ", \"errnoRet\": 38"),
    ];
    rules.extend(NAMESPACES.map(|flag| {
        let masked =
            format!("\"value\": {flag}, \"valueTwo\": {flag}, \"op\": \"SCMP_CMP_MASKED_EQ\"");
        rule(
            &["clone"],
            "SCMP_ACT_ERRNO",
            &argument(CLONE_FLAGS, &masked),
        )
    }));
    rules.extend(FAMILIES.map(|family| {
        let equal = format!("\"value\": {family}, \"op\": \"SCMP_CMP_EQ\"");
        rule(&["socket"], "SCMP_ACT_ERRNO", &argument(0, &equal))
    }));
    format!(
        "{{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\",\n  \"architectures\": [{}],\n  \
         \"syscalls\": [\n{}\n  ]\n}}\n",
        quoted(ARCHITECTURES),
        rules.join(",\n")
    )
}

/// The argument of `clone` that has the flags.
const CLONE_FLAGS: u32 = if cfg!(target_arch = "s390x") { 1 } else { 0 };

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
/// None is the machine's own.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: &[&str] = &[];

fn rule(names: &[&str], action: &str, rest: &str) -> String {
    let names = quoted(names);
    format!("    {{\"names\": [{names}], \"action\": \"{action}\"{rest}}}")
}

fn argument(index: u32, condition: &str) -> String {
    format!(", \"errnoRet\": 1, \"args\": [{{\"index\": {index}, {condition}}}]")
}

/// The names need no escapes: they are letters, digits and underscores.
fn quoted(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
