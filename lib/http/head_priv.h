/* The head of an HTTP/1 request, parsed in place. Pure; nothing outside the given bytes is read. */
#ifndef GFSI_HTTP_HEAD_PRIV_H
#define GFSI_HTTP_HEAD_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_HTTP_HEAD_MAX   8192u /* bytes of request line and fields, then 431 */
#define GFSI_HTTP_PARAMS_MAX 32    /* of a query; what is beyond is not seen */

struct gfsi_http_param {
    const char *name, *value; /* decoded */
};

struct gfsi_http_head {
    const char *method;
    const char *path; /* decoded, without query */
    const char *host; /* "" when missing */
    bool has_body;
    struct gfsi_http_param params[GFSI_HTTP_PARAMS_MAX];
    size_t n_params;
};

/* Length of the head at the start of `data`, with the empty line that ends it; 0: not all there. */
size_t gfsi_http_head_length(const char *data, size_t len);

/* Parses `len` bytes, a whole head, and overwrites them; `out` points into them. 0, or the HTTP
 * status to refuse it with. */
int gfsi_http_head_parse(char *data, size_t len, struct gfsi_http_head *out);

#ifdef __cplusplus
}
#endif
#endif
