/* Journal entries as bytes: whatever comes, the decoder answers, and what it accepts survives a
 * round trip. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <gfs/base/assert.h>

#include "journal_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gfsi_journal_entry *entry = NULL;
    struct gfsi_journal_entry *again = NULL;
    struct gfs_buf out;

    if (gfsi_journal_decode(data, size, &entry) != 0) {
        return 0;
    }

    gfs_buf_init(&out, 2 * GFSI_ENTRY_MAX);
    GFS_ASSERT_EQ(gfsi_journal_encode(gfsi_journal_op(entry), &out), 0);
    if (out.len <= GFSI_ENTRY_MAX) {
        GFS_ASSERT_EQ(gfsi_journal_decode(out.data, out.len, &again), 0);
        GFS_ASSERT_EQ(gfsi_journal_op(again)->type, gfsi_journal_op(entry)->type);
        GFS_ASSERT_EQ(gfsi_journal_op(again)->n_children, gfsi_journal_op(entry)->n_children);
    }

    gfsi_journal_free(again);
    gfsi_journal_free(entry);
    gfs_buf_fini(&out);
    return 0;
}
