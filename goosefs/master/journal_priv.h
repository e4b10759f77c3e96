/* Journal entries as bytes: goosefs_journal.proto to and from struct gfsi_op. */
#ifndef GFSI_JOURNAL_PRIV_H
#define GFSI_JOURNAL_PRIV_H

#include "ns_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_ENTRY_MAX (1u << 20) /* bytes of one encoded entry */

/* Appends the entry to `out`. RANGE when it exceeds the buffer's limit. */
int gfsi_journal_encode(const struct gfsi_op *op, struct gfs_buf *out);

/* A decoded entry with the memory its strings live in. */
struct gfsi_journal_entry;

/* PROTO: does not parse, or breaks a rule (names, paths, sizes, counts); UNSUPPORTED: a type this
 * version does not know. Safe for hostile bytes. */
int gfsi_journal_decode(const void *data, size_t len, struct gfsi_journal_entry **out);
const struct gfsi_op *gfsi_journal_op(const struct gfsi_journal_entry *entry);
void gfsi_journal_free(struct gfsi_journal_entry *entry); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
