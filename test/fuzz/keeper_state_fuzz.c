/* Keeper state files: anything is answered, and what is accepted is a specification a keeper may
 * act on and comes out the same after encoding it again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <gfs/base/assert.h>

#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gfsi_state_file file;
    static struct gfsi_state_file again;
    struct gfs_buf out;

    if (gfsi_state_decode(data, size, "boot", &file, NULL) != 0) {
        return 0;
    }
    GFS_ASSERT_EQ(gfs_keeper_spec_check(file.state.spec, NULL), 0);
    GFS_ASSERT(file.state.argv == NULL || file.state.argv[0][0] == '/');

    gfs_buf_init(&out, GFSI_STATE_MAX);
    GFS_ASSERT_EQ(gfsi_state_encode(&file.state, "boot", &out), 0);
    GFS_ASSERT_EQ(gfsi_state_decode(out.data, out.len, "boot", &again, NULL), 0);
    GFS_ASSERT_EQ(again.state.pid, file.state.pid);
    GFS_ASSERT(again.state.cookie == file.state.cookie);
    GFS_ASSERT(strcmp(again.state.spec->id, file.state.spec->id) == 0);
    GFS_ASSERT_EQ(again.state.argv == NULL, file.state.argv == NULL);
    gfs_buf_fini(&out);
    return 0;
}
