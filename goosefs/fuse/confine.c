#include <gfs/fuse/confine.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH    AUDIT_ARCH_X86_64
#define FOREIGN 0x40000000U /* the bit of x32's numbers */
#elif defined(__aarch64__)
#define ARCH    AUDIT_ARCH_AARCH64
#define FOREIGN 0x40000000U
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* its run time looks at threads from a process of its own */
#else
#define SANITIZED 0
#endif

#ifdef ARCH

/* Calls allowed with any arguments. Sorted by what they are for; the kernel keeps the answer per
 * number (since 5.11), so their order costs nothing. */
static const unsigned allowed[] = {
    /* files and devices that are open or may be opened */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_close,
    SYS_close_range,
    SYS_lseek,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_openat,
    SYS_getdents64,
    SYS_fcntl,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_splice,
    SYS_tee,
    SYS_vmsplice,
    SYS_sendfile,
    SYS_copy_file_range,
    SYS_ioctl,
    SYS_fadvise64,
    SYS_readahead,
    SYS_memfd_create,
    SYS_ftruncate,
    SYS_getcwd,
    SYS_umask,
    /* waiting */
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_signalfd4,
    SYS_inotify_init1,
    SYS_inotify_add_watch,
    SYS_inotify_rm_watch,
    /* sockets */
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shutdown,
    /* memory */
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_msync,
    SYS_mincore,
    SYS_membarrier,
    /* threads of this process, and its end */
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_tgkill,
    SYS_exit,
    SYS_exit_group,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_restart_syscall,
    SYS_getcpu,
    /* signals to itself */
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    /* time, and facts */
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_uname,
    SYS_sysinfo,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_getgroups,
    SYS_getrusage,
    SYS_times,
    SYS_prlimit64,
#ifdef SYS_getrlimit
    SYS_getrlimit,
#endif
#ifdef __x86_64__
    /* what later machines have dropped */
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_dup2,
    SYS_pipe,
    SYS_poll,
    SYS_select,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_time,
    SYS_arch_prctl,
    SYS_inotify_init,
    SYS_getpgrp,
#endif
#if SANITIZED
    SYS_ptrace,
    SYS_wait4,
    SYS_kill,
    SYS_clone,
    SYS_prctl,
    SYS_personality,
#endif
};

#define N_ALLOWED    (sizeof(allowed) / sizeof(allowed[0]))
#define PROGRAM_SIZE (2 * N_ALLOWED + 32)

#define LOAD(field)                                                                                \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define RETURN(what)          BPF_STMT(BPF_RET | BPF_K, (what))
#define IF_EQ(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_SET(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (yes), (no))
#define FAIL(error)           RETURN(SECCOMP_RET_ERRNO | (unsigned)(error))

/* Threads, but no processes; names of threads and of memory, nothing else of prctl. The low halves
 * of the arguments are what the kernel looks at. */
static const struct sock_filter by_arguments[] = {
    IF_EQ(SYS_clone, 0, 4),
    LOAD(args[0]),
    IF_SET(CLONE_THREAD, 0, 1),
    RETURN(SECCOMP_RET_ALLOW),
    FAIL(EPERM),
    IF_EQ(SYS_prctl, 0, 6),
    LOAD(args[0]),
    IF_EQ(PR_SET_NAME, 2, 0),
    IF_EQ(PR_GET_NAME, 1, 0),
    IF_EQ(PR_SET_VMA, 0, 1),
    RETURN(SECCOMP_RET_ALLOW),
    FAIL(EPERM),
    /* Its flags are in memory, out of sight: the C library falls back to clone. */
    IF_EQ(SYS_clone3, 0, 1),
    FAIL(ENOSYS),
    FAIL(EPERM),
};

static unsigned short make_program(struct sock_filter *out)
{
    const struct sock_filter head[] = {
        LOAD(arch),
        IF_EQ(ARCH, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FOREIGN, 0, 1),
        RETURN(SECCOMP_RET_KILL_PROCESS),
    };
    size_t n = 0;
    size_t i;

    for (i = 0; i < sizeof(head) / sizeof(head[0]); i++) {
        out[n++] = head[i];
    }
    for (i = 0; i < N_ALLOWED; i++) {
        out[n++] = (struct sock_filter)IF_EQ(allowed[i], 0, 1);
        out[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    }
    for (i = 0; i < sizeof(by_arguments) / sizeof(by_arguments[0]); i++) {
        out[n++] = by_arguments[i];
    }
    return (unsigned short)n;
}

int gfs_fuse_confine(struct gfs_err *err)
{
    struct sock_filter filter[PROGRAM_SIZE];
    struct sock_fprog program = {.len = make_program(filter), .filter = filter};

    _Static_assert(sizeof(by_arguments) / sizeof(by_arguments[0]) + 6 <= 32, "PROGRAM_SIZE");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
        return gfs_err_set(err, GFS_EUNSUPPORTED, "seccomp filter: errno %d", errno);
    }
    return 0;
}

#else

int gfs_fuse_confine(struct gfs_err *err)
{
    return gfs_err_set(err, GFS_EUNSUPPORTED, "no seccomp filter for this kind of machine");
}

#endif
