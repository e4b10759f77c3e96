/* The journal's records in memory, and their JSON form. Shared by journal.c and journal_record.c.
 */
#ifndef GFSI_CSI_JOURNAL_RECORD_PRIV_H
#define GFSI_CSI_JOURNAL_RECORD_PRIV_H

#include "journal_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_JOURNAL_VERSION  1
#define GFSI_JOURNAL_FILE_MAX (2u << 20) /* bytes: two times GFSI_JOURNAL_USES_MAX records */
#define GFSI_BOOT_ID_SIZE     64

/* As struct gfsi_use, in the size it needs. */
struct gfsi_record_use {
    struct gfsi_record_use *next;
    char *path;
    char digest[GFSI_DIGEST_SIZE];
    char capability[GFSI_DIGEST_SIZE];
    int access_mode;
    bool read_only;
    bool symlink;
};

struct gfsi_record {
    struct gfsi_record *next;
    char *id, *fluid_path, *sub_path, *mount_type, *label_key;
    enum gfs_csi_clean_policy clean_policy;
    struct gfsi_record_use *uses[2]; /* by enum gfsi_use_kind */
    size_t n_uses[2];
};

struct gfsi_record *gfsi_record_new(const struct gfsi_volume *volume);
struct gfsi_record *gfsi_record_free(struct gfsi_record *record); /* NULL is fine */
struct gfsi_record_use *gfsi_record_use_new(const struct gfsi_use *use);
struct gfsi_record_use *gfsi_record_use_free(struct gfsi_record_use *use);

struct gfsi_record_use *gfsi_record_find_use(struct gfsi_record *record, enum gfsi_use_kind kind,
                                             const char *path);

/* Puts `use` in front of its list, and removes another of the same path behind it. Returns the
 * removed one. */
struct gfsi_record_use *gfsi_record_link_use(struct gfsi_record *record, enum gfsi_use_kind kind,
                                             struct gfsi_record_use *use);
struct gfsi_record_use *gfsi_record_unlink_use(struct gfsi_record *record, enum gfsi_use_kind kind,
                                               const char *path);

/* Whether the record says all this already: a repeated call changes nothing, and is not worth an
 * fsync. */
bool gfsi_record_is_known(struct gfsi_record *record, const struct gfsi_record *volume,
                          enum gfsi_use_kind kind, const struct gfsi_record_use *use);

void gfsi_record_copy_use(const struct gfsi_record_use *from, struct gfsi_use *to);
void gfsi_record_copy_volume(const struct gfsi_record *from, struct gfsi_volume *to);

/* The JSON text, to be freed; NULL when out of memory. */
char *gfsi_record_encode(const struct gfsi_record *record, const char *boot_id);

/* GFS_ECORRUPT when it is no record; GFS_ECHANGED when it is one of another boot or version. The
 * text comes from a file only root can write, and is checked all the same. */
int gfsi_record_decode(const char *text, size_t len, const char *boot_id, struct gfsi_record **out,
                       struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
