/* What the mount table and the keeper cannot tell: which volume is staged and published where, and
 * with what parameters. One JSON file per volume below {state dir}/volumes, written before a
 * call is answered. No secrets in it.
 *
 * The file's name is a digest of the volume id. Files of an earlier boot mean nothing (mounts do
 * not survive one) and are dropped when loading; a file that does not parse is set aside as
 * *.corrupt.
 *
 * Calls about one volume must not run at the same time (the engine sees to it) except `find` and
 * `each` functions, which may run any time, from any thread. */
#ifndef GFSI_CSI_JOURNAL_PRIV_H
#define GFSI_CSI_JOURNAL_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include "attrs_priv.h"
#include "digest_priv.h"
#include "request_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_JOURNAL_VOLUMES_MAX 4096 /* then GFS_EBUSY */
#define GFSI_JOURNAL_USES_MAX    1024 /* stagings or targets of one volume, then GFS_EBUSY */

enum gfsi_use_kind { GFSI_STAGED, GFSI_PUBLISHED };

/* One staging path or one target. */
struct gfsi_use {
    char path[GFSI_PATH_MAX + 1];
    char digest[GFSI_DIGEST_SIZE];
    char capability[GFSI_DIGEST_SIZE];
    int access_mode;
    bool read_only;
    bool symlink;
};

/* What all uses of a volume share. */
struct gfsi_volume {
    char id[GFSI_ID_MAX + 1];
    char fluid_path[GFSI_PATH_MAX + 1];
    char sub_path[GFSI_PATH_MAX + 1];
    char mount_type[GFSI_MOUNT_TYPE_MAX + 1];
    char label_key[GFSI_LABEL_MAX + 1];
    enum gfs_csi_clean_policy clean_policy;
};

struct gfsi_journal;

/* Loads. `state_dir` is created (0700) when missing. */
int gfsi_journal_open(const char *state_dir, struct gfsi_journal **out, struct gfs_err *err);
struct gfsi_journal *gfsi_journal_free(struct gfsi_journal *journal);

/* Of this boot; lives as long as the journal. */
const char *gfsi_journal_boot_id(const struct gfsi_journal *journal);

/* The volume; GFS_ENOENT. `out` may be NULL. */
int gfsi_journal_find(struct gfsi_journal *journal, const char *id, struct gfsi_volume *out);

/* One use of a volume; GFS_ENOENT. `out` may be NULL. */
int gfsi_journal_find_use(struct gfsi_journal *journal, const char *id, enum gfsi_use_kind kind,
                          const char *path, struct gfsi_use *out);
size_t gfsi_journal_count_uses(struct gfsi_journal *journal, const char *id,
                               enum gfsi_use_kind kind);

/* The first use whose path is not `path`; GFS_ENOENT. */
int gfsi_journal_find_other_use(struct gfsi_journal *journal, const char *id,
                                enum gfsi_use_kind kind, const char *path, struct gfsi_use *out);

/* Whether another volume than `id` is published at `path`. */
bool gfsi_journal_target_taken(struct gfsi_journal *journal, const char *id, const char *path);

/* The volume published at `path`, and that use of it (both may be NULL); GFS_ENOENT. */
int gfsi_journal_find_target(struct gfsi_journal *journal, const char *path,
                             struct gfsi_volume *out, struct gfsi_use *out_use);

/* Copies the label keys of staged volumes, each once, at most `max`; returns how many. */
size_t gfsi_journal_labels(struct gfsi_journal *journal, char (*out)[GFSI_LABEL_MAX + 1],
                           size_t max);
bool gfsi_journal_has_label(struct gfsi_journal *journal, const char *key);

/* Whether another volume than `id` is staged or published from `fluid_path`. */
bool gfsi_journal_shares_mount(struct gfsi_journal *journal, const char *id,
                               const char *fluid_path);

/* Adds or replaces; survives this process when it returns 0. On failure nothing has changed. */
int gfsi_journal_put(struct gfsi_journal *journal, const struct gfsi_volume *volume,
                     enum gfsi_use_kind kind, const struct gfsi_use *use, struct gfs_err *err);

/* Forgets one use, and the volume with its last. Success when it is not there. */
int gfsi_journal_drop(struct gfsi_journal *journal, const char *id, enum gfsi_use_kind kind,
                      const char *path, struct gfs_err *err);

/* Calls `keep` for every published target and forgets (in memory and file) where it says false. At
 * start only. */
void gfsi_journal_sweep(struct gfsi_journal *journal,
                        bool (*keep)(void *arg, const struct gfsi_volume *volume,
                                     const struct gfsi_use *use),
                        void *arg);

struct gfsi_journal_totals {
    unsigned volumes, staged, published, loaded, discarded;
};
void gfsi_journal_counts(struct gfsi_journal *journal, struct gfsi_journal_totals *out);

#ifdef __cplusplus
}
#endif
#endif
