/* The watch of an API server, or of who stands in its way: no crash, and what an informer keeps of
 * an object is the object. The first byte says in pieces of how many bytes the stream arrives. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What an informer does with an event: names it and keeps its text. */
static int on_event(void *arg, const char *type, json_t *object)
{
    size_t *n = arg;
    char *text = json_dumps(object, JSON_COMPACT);
    json_t *again = text != NULL ? json_loadb(text, strlen(text), 0, NULL) : NULL;

    if (type == NULL || gfs_kube_name(object) == NULL || gfs_kube_namespace(object) == NULL ||
        gfs_kube_version(object) == NULL || !json_equal(object, again)) {
        abort();
    }

    json_decref(again);
    free(text);
    (*n)++;
    return strcmp(type, "DELETED") == 0 && *n > 16 ? GFS_ECANCELLED : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_kube_events events;
    size_t n = 0;
    int rc = 0;

    if (size == 0) {
        return 0;
    }

    size_t piece = (size_t)data[0] + 1;

    gfsi_kube_events_init(&events, on_event, &n, &err);
    for (size_t i = 1; i < size && rc == 0; i += piece) {
        size_t left = size - i;

        rc = gfsi_kube_events_feed(&events, (const char *)data + i, left < piece ? left : piece);
    }
    if (rc > 0 || (rc < 0 && events.each_rc == 0 && err.text[0] == '\0')) {
        abort(); /* who waits for the watch has to be told why it ended */
    }
    gfs_buf_fini(&events.line);
    return 0;
}
