#include "session_take.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int gfsi_session_take(int fd, uint64_t cookie, struct gfs_session **out, struct gfs_err *err)
{
    struct gfs_session *session;
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    /* Only a memfd has seals: fstat asks no file system that could make us wait. */
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) != 0 ||
        st.st_size != (off_t)sizeof(*session)) {
        return gfs_err_set(err, GFS_EPROTO, "no session memfd");
    }
    session = mmap(NULL, sizeof(*session), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (session == MAP_FAILED) {
        return gfs_err_set_errno(err, errno, "mapping a session");
    }
    if (session->magic != GFS_SESSION_MAGIC || session->version != GFS_SESSION_VERSION ||
        session->cookie != cookie) {
        (void)munmap(session, sizeof(*session));
        return gfs_err_set(err, GFS_EPROTO, "another session");
    }
    *out = session;
    return 0;
}

int gfsi_session_same(int ours, int theirs, struct gfs_err *err)
{
    struct stat a;
    struct stat b;

    if (fcntl(theirs, F_GET_SEALS) < 0 || fstat(ours, &a) != 0 || fstat(theirs, &b) != 0 ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
        return gfs_err_set(err, GFS_EPROTO, "another session");
    }
    return 0;
}
