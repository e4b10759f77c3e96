/* Objects from anybody who may write a file or reach the control socket. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <gfs/controller/object.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gfs_diags diags;
    struct gfs_manifest *manifest = NULL;

    if (gfs_diags_init(&diags, "fuzz") < 0) {
        return 0;
    }

    int rc = gfs_manifest_parse((const char *)data, size, "default", &diags, &manifest);

    /* Either objects or at least one error, never both. */
    if ((rc == 0) != (manifest != NULL) || (rc == GFS_EINVAL && diags.errors == 0)) {
        abort();
    }

    (void)gfs_manifest_free(manifest);
    gfs_diags_fini(&diags);
    return 0;
}
