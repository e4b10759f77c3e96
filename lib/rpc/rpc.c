#include <gfs/rpc/rpc.h>

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/support/log.h>

#include <gfs/base/log.h>

/* gRPC logs failed connects as errors; to us they are results, returned to the caller. */
static void log_from_grpc(gpr_log_func_args *args)
{
    gfs_debug("grpc", "library message", "text=%s", GFS_Q(args->message));
}

/* Debian builds Abseil, which gRPC's mutexes are from, with its debug check for deadlocks: each
 * lock and unlock goes through one graph of the whole process behind one spin lock, 10 to 20 % of
 * the CPU time of a busy server. The switch is C++, its name depends on the build: where it is not
 * found nothing changes. 0 is kIgnore. */
static void stop_watching_for_deadlocks(void)
{
    static const char name[] =
        "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE";
    void (*set_mode)(int);
    void *found = dlsym(RTLD_DEFAULT, name);

    if (found != NULL) {
        memcpy(&set_mode, &found, sizeof(set_mode));
        set_mode(0);
    }
}

/* How gRPC waits for sockets. Its epoll has one set for the process, which one thread at a time
 * waits on: what comes for another thread's queue is read by that one and handed over, two switches
 * for most messages of a process with more than one queue. With poll each thread waits for its own
 * sockets. That costs time per socket: 100 connections to a server are well on poll's side, at 500
 * both are equal, beyond it GRPC_POLL_STRATEGY=epoll1 in the environment is better. Set before
 * main, as no thread reads the environment yet. */
__attribute__((constructor)) static void wait_by_poll(void)
{
    (void)setenv("GRPC_POLL_STRATEGY", "poll", 0);
}

void gfs_rpc_init(void)
{
    /* The library's own threads must not take the daemon's signals. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);

    gpr_set_log_function(log_from_grpc);
    stop_watching_for_deadlocks();
    grpc_init();

    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void gfs_rpc_shutdown(void)
{
    grpc_shutdown();
}

const char *gfs_rpc_status_name(int grpc_status)
{
    static const char *const names[] = {
        [GRPC_STATUS_OK] = "OK",
        [GRPC_STATUS_CANCELLED] = "CANCELLED",
        [GRPC_STATUS_UNKNOWN] = "UNKNOWN",
        [GRPC_STATUS_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [GRPC_STATUS_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [GRPC_STATUS_NOT_FOUND] = "NOT_FOUND",
        [GRPC_STATUS_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [GRPC_STATUS_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [GRPC_STATUS_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [GRPC_STATUS_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [GRPC_STATUS_ABORTED] = "ABORTED",
        [GRPC_STATUS_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [GRPC_STATUS_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [GRPC_STATUS_INTERNAL] = "INTERNAL",
        [GRPC_STATUS_UNAVAILABLE] = "UNAVAILABLE",
        [GRPC_STATUS_DATA_LOSS] = "DATA_LOSS",
        [GRPC_STATUS_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    if (grpc_status < 0 || grpc_status >= (int)(sizeof(names) / sizeof(names[0]))) {
        return "UNKNOWN";
    }
    return names[grpc_status];
}
