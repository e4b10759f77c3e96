/* Heads of HTTP requests from arbitrary bytes: nothing is read or written beyond them, and what is
 * accepted is complete. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "head_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1); /* one for an empty input: malloc(0) may be NULL */
    struct gfsi_http_head head;
    size_t len;
    int status;

    require(bytes != NULL);
    memcpy(bytes, data, size);
    len = gfsi_http_head_length(bytes, size);
    require(len <= size);
    status = len > 0 ? gfsi_http_head_parse(bytes, len, &head) : 400;
    if (status == 0) {
        require(head.method[0] != '\0' && head.path[0] == '/' && head.host != NULL);
        require(head.n_params <= GFSI_HTTP_PARAMS_MAX);
        for (size_t i = 0; i < head.n_params; i++) {
            require(head.params[i].name[0] != '\0' && head.params[i].value != NULL);
        }
    } else {
        require(status == 400 || status == 505);
    }
    free(bytes);
    return 0;
}
