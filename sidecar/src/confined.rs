//! What the sidecar may ask of the kernel once it serves: a filter of system calls that the process puts on itself, so that no
//! file has to lie on every node. Whoever takes the process over starts no program, opens no socket but of the network's kind,
//! makes no memory executable and reaches no rarely used part of the kernel.
//!
//! Other calls fail as if the kernel did not know them, which libraries are prepared for: nothing is killed for a call that
//! this list lacks. The container runtime's own profile stands before it.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

/// Whatever their arguments are.
const CALLS: &[i64] = &[
    // Connections.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Bytes and files.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting, threads and time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_gettimeofday,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // About itself.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_uname,
];

/// Older forms of some of them, which this architecture still has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Kinds of sockets: the network's, the kernel's list of connections, and that of local resolvers.
const FAMILIES: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_UNIX];

/// What makes a namespace of its own, and with it a user who may do everything there. The newer call hides its flags in memory, where
/// a filter cannot see them; libraries go back to the older one.
const NAMESPACES: i32 =
    libc::CLONE_NEWCGROUP | libc::CLONE_NEWIPC | libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUSER | libc::CLONE_NEWUTS;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("make a filter of system calls")]
    Made(#[from] seccompiler::BackendError),
    #[error("put a filter of system calls on this process")]
    Applied(#[from] seccompiler::Error),
}

/// Confines every thread of this process, and those to come, for good.
///
/// # Errors
/// If the kernel takes no filter.
pub(crate) fn confine() -> Result<(), Error> {
    Ok(seccompiler::apply_filter_all_threads(&program()?)?)
}

fn program() -> Result<BpfProgram, Error> {
    let word = |argument, operator, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let families = FAMILIES.into_iter().map(|family| SeccompRule::new(vec![word(0, SeccompCmpOp::Eq, family.unsigned_abs().into())?]));
    rules.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    for (call, argument, bits) in [(libc::SYS_clone, 0, NAMESPACES), (libc::SYS_mmap, 2, libc::PROT_EXEC), (libc::SYS_mprotect, 2, libc::PROT_EXEC)] {
        rules.insert(call, vec![SeccompRule::new(vec![word(argument, SeccompCmpOp::MaskedEq(bits.unsigned_abs().into()), 0)?])?]);
    }
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    Ok(SeccompFilter::new(rules, unknown, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    use super::*;

    #[test]
    fn a_confined_thread_serves_and_does_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        // The filter is for the thread's life, so it gets one of its own; threads that it starts are confined too.
        let confined = std::thread::spawn(move || {
            seccompiler::apply_filter(&program().unwrap()).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let serving = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"served").unwrap());
            let mut got = String::new();
            client.read_to_string(&mut got).unwrap();
            serving.join().unwrap();
            assert_eq!(got, "served");
            assert!("localhost:80".to_socket_addrs().unwrap().next().is_some(), "names are resolved");
            std::fs::write(path.join("new"), "kept").unwrap();
            std::fs::rename(path.join("new"), path.join("kept")).unwrap();
            assert_eq!(std::fs::read(path.join("kept")).unwrap(), b"kept");
            assert!(crate::kernel::sock_diag::list(&mut |_, _| {}).is_ok(), "sockets are listed");

            assert!(Command::new("/bin/true").status().is_err(), "no program is started");
            assert_eq!(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER), Err(Errno::ENOSYS));
            let packets = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None);
            assert_eq!(packets.map(drop), Err(Errno::ENOSYS), "no packets are read");
        });
        confined.join().unwrap();
    }
}
