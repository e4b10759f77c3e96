/* The index parser on arbitrary pages: no crash, no name that leaves its directory. The first byte
 * says in pieces of how many bytes the page arrives. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#include "ufs_priv.h"
#include "web_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct gfsi_web_index_options options = {
        .titles = "Index of,Directory listing for",
        .parent_names = "Parent Directory,..,../",
        .max_entries = 10000,
    };

    if (size == 0) {
        return 0;
    }

    struct gfs_ufs_listing *listing = gfsi_listing_new();
    struct gfsi_web_index *index = NULL;
    size_t piece = (size_t)data[0] + 1;

    if (listing == NULL ||
        gfsi_web_index_new("http://host:80/a%20b/c/", &options, listing, &index) < 0) {
        abort();
    }

    int rc = 0;

    for (size_t i = 1; i < size && rc == 0; i += piece) {
        size_t left = size - i;

        rc = gfsi_web_index_feed(index, (const char *)data + i, left < piece ? left : piece);
    }
    (void)gfsi_web_index_finish(index);
    gfsi_listing_finish(listing);
    for (size_t i = 0; i < gfs_ufs_listing_count(listing); i++) {
        const struct gfs_ufs_entry *entry = gfs_ufs_listing_at(listing, i);

        if (!gfs_name_valid(entry->name, strlen(entry->name))) {
            abort();
        }
    }
    gfsi_web_index_free(index);
    gfs_ufs_listing_free(listing);
    return 0;
}
