//! System calls that no extractor may make, kept from it by a filter of the kernel's (seccomp).
//! Landlock has no rules for these: changing who may read or write a file and when it was changed,
//! every network but TCP, and ways around both.
//!
//! Calls in the numbers of another architecture end the process: the filter does not know them.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// By number; no rules: whatever the arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

// Newer than the C library's list; such numbers are the same on every architecture:
// <https://github.com/torvalds/linux/blob/master/scripts/syscall.tbl>.
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;
const OPEN_TREE_ATTR: i64 = 467;
const FILE_SETATTR: i64 = 469;

/// What is true of a file beside its bytes, wherever the file is.
const ATTRIBUTES: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    REMOVEXATTRAT,
    FILE_SETATTR,
];

/// The same under older names, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Ways around this filter and Landlock, and what only the owner of a computer does.
const POWERS: &[i64] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_setns,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
];

/// What `ioctl` can do to a file that is open for reading, and to a terminal:
/// `FS_IOC_SETFLAGS`, the same of 32 bits, `FS_IOC_FSSETXATTR`, `FS_IOC_SETVERSION`,
/// `FS_IOC_ENABLE_VERITY`, `FS_IOC_SET_ENCRYPTION_POLICY`, `TIOCSTI`.
const CONTROLS: &[u64] =
    &[0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4008_7602, 0x4080_6685, 0x800c_6613, 0x5412];

/// Keeps this thread, and whatever it becomes and starts, from these calls for good. Without
/// `network` it makes no sockets, but pairs whose ends it has both. `apart_from` is the number of a
/// process group that nothing of it may join.
///
/// # Errors
/// When the kernel has no such filters, or refuses this one.
pub(super) fn forbid(network: bool, apart_from: Option<i32>) -> io::Result<()> {
    let not_permitted = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    apply(never(apart_from).and_then(|rules| program(rules, not_permitted)))?;
    if network {
        return Ok(());
    }
    let denied = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    apply(sockets().and_then(|rules| program(rules, denied)))
}

/// Whether an error of [`forbid`] says that there are no such filters here.
pub(super) fn is_unavailable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::ENOSYS | libc::EINVAL | libc::EPERM | libc::EACCES)
        )
}

fn apply(program: Result<BpfProgram, BackendError>) -> io::Result<()> {
    let program = program.map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    seccompiler::apply_filter(&program).map_err(|error| match error {
        Error::Prctl(error) | Error::Seccomp(error) => error,
        other => io::Error::other(other),
    })
}

fn program(rules: Rules, action: SeccompAction) -> Result<BpfProgram, BackendError> {
    let here = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(with_x32(rules), SeccompAction::Allow, action, here)?.try_into()
}

/// The same calls in the numbers of x32, which are of this architecture for the kernel.
fn with_x32(mut rules: Rules) -> Rules {
    const X32: i64 = 0x4000_0000;
    if cfg!(target_arch = "x86_64") {
        // What of these has a number of its own there: `ioctl`, `ptrace`, `process_vm_readv`,
        // `process_vm_writev`.
        let own = [514, 521, 539, 540].map(|number| (X32 + number, Vec::new()));
        let same: Vec<_> = rules.iter().map(|(number, of)| (X32 + number, of.clone())).collect();
        rules.extend(own);
        rules.extend(same);
    }
    rules
}

fn never(apart_from: Option<i32>) -> Result<Rules, BackendError> {
    let all = [ATTRIBUTES, OLDER, POWERS].concat();
    let mut rules: Rules = all.into_iter().map(|number| (number, Vec::new())).collect();
    let controls = CONTROLS.iter().map(|control| rule(vec![is(1, *control)?]));
    rules.insert(libc::SYS_ioctl, controls.collect::<Result<_, _>>()?);
    // The limits of another process.
    let of_another = rule(vec![is_not(0, 0)?, is_set(2)?])?;
    rules.insert(libc::SYS_prlimit64, vec![of_another]);
    if let Some(group) = apart_from {
        let group = u64::from(group.unsigned_abs());
        rules.insert(libc::SYS_setpgid, vec![rule(vec![is(1, group)?])?]);
    }
    Ok(rules)
}

/// A socket of datagrams could reach others though it is one of a pair.
fn sockets() -> Result<Rules, BackendError> {
    const KIND: u64 = 0xf;
    let kind = |kind: libc::c_int| {
        let value = u64::from(kind.unsigned_abs());
        let masked = SeccompCmpOp::MaskedEq(KIND);
        rule(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, masked, value)?])
    };
    let of_others = rule(vec![is_not(0, u64::from(libc::AF_UNIX.unsigned_abs()))?])?;
    let pairs = vec![of_others, kind(libc::SOCK_DGRAM)?, kind(libc::SOCK_RAW)?];
    Ok([(libc::SYS_socket, Vec::new()), (libc::SYS_socketpair, pairs)].into())
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions)
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

/// That it is an address, and not none.
fn is_set(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)
}
