/* Locals that own something: freed, closed or unlocked when they leave scope. Handing over is
 * explicit: GFS_TAKE_PTR and GFS_TAKE_FD leave the local empty. */
#ifndef GFS_BASE_AUTO_H
#define GFS_BASE_AUTO_H

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define gfs_auto_free __attribute__((cleanup(gfs_auto_free_fn))) /* char *, void *, struct * */
#define gfs_auto_fd   __attribute__((cleanup(gfs_auto_fd_fn)))   /* int, -1 when empty */
#define gfs_auto_file __attribute__((cleanup(gfs_auto_file_fn))) /* FILE * */
#define gfs_auto_dir  __attribute__((cleanup(gfs_auto_dir_fn)))  /* DIR * */
/* pthread_mutex_t *, locked. Unused: the guard is there for its end only. */
#define gfs_auto_mutex __attribute__((cleanup(gfs_auto_mutex_fn), unused))

static inline void gfs_auto_free_fn(void *p)
{
    free(*(void **)p);
}

static inline void gfs_auto_fd_fn(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static inline void gfs_auto_file_fn(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

static inline void gfs_auto_dir_fn(DIR **d)
{
    if (*d != NULL) {
        (void)closedir(*d);
    }
}

static inline void gfs_auto_mutex_fn(pthread_mutex_t **m)
{
    if (*m != NULL) {
        (void)pthread_mutex_unlock(*m);
    }
}

/* Locks `m` and returns it: pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&x->mutex); */
static inline pthread_mutex_t *gfs_lock(pthread_mutex_t *m)
{
    (void)pthread_mutex_lock(m);
    return m;
}

#define GFS_TAKE_PTR(p)                                                                            \
    __extension__({                                                                                \
        __typeof__(p) gfs_taken_ = (p);                                                            \
        (p) = NULL;                                                                                \
        gfs_taken_;                                                                                \
    })

#define GFS_TAKE_FD(fd)                                                                            \
    __extension__({                                                                                \
        int gfs_taken_ = (fd);                                                                     \
        (fd) = -1;                                                                                 \
        gfs_taken_;                                                                                \
    })

#ifdef __cplusplus
}
#endif
#endif
