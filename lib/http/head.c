#include "head_priv.h"

#include <string.h>
#include <strings.h>

/* RFC 9112 section 2.2: lines end with CRLF, and a lone LF may be taken for one. */
size_t gfsi_http_head_length(const char *data, size_t len)
{
    const char *line = data;
    const char *end = data + len;

    for (;;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));

        if (lf == NULL) {
            return 0;
        }
        if (line != data && (lf == line || (lf == line + 1 && line[0] == '\r'))) {
            return (size_t)(lf + 1 - data);
        }
        line = lf + 1;
    }
}

/* Cuts the line off that begins at *at. NULL at the end, or when the line holds a control character
 * (a lone CR, a NUL): two parsers might read it in two ways. */
static char *next_line(char **at, char *end)
{
    char *line = *at;
    char *lf = memchr(line, '\n', (size_t)(end - line));
    char *stop = lf;

    if (lf == NULL) {
        return NULL;
    }
    *at = lf + 1;
    if (stop > line && stop[-1] == '\r') {
        stop--;
    }
    *stop = '\0';
    for (const char *p = line; p < stop; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) {
            return NULL;
        }
    }
    return line;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes in place. False: malformed, or a NUL that would hide the rest. */
static bool decode(char *text, bool plus_is_blank)
{
    char *out = text;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '+' && plus_is_blank) {
            *out++ = ' ';
        } else if (*p != '%') {
            *out++ = *p;
        } else {
            int high = hex_digit(p[1]);
            int low = high < 0 ? -1 : hex_digit(p[2]);

            if (low < 0 || (high == 0 && low == 0)) {
                return false;
            }
            *out++ = (char)(high << 4 | low);
            p += 2;
        }
    }
    *out = '\0';
    return true;
}

static bool parse_query(char *query, struct gfsi_http_head *out)
{
    while (query != NULL && out->n_params < GFSI_HTTP_PARAMS_MAX) {
        char *next = strchr(query, '&');
        char *value;

        if (next != NULL) {
            *next++ = '\0';
        }
        value = strchr(query, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (!decode(query, true) || (value != NULL && !decode(value, true))) {
            return false;
        }
        if (query[0] != '\0') {
            out->params[out->n_params++] =
                (struct gfsi_http_param){.name = query, .value = value != NULL ? value : ""};
        }
        query = next;
    }
    return true;
}

/* RFC 9112 section 3.2: the origin form, or the absolute one, whose host counts as the field's. */
static int parse_target(char *target, struct gfsi_http_head *out)
{
    static const char scheme[] = "http://";
    char *query;

    if (strncasecmp(target, scheme, sizeof(scheme) - 1) == 0) {
        target = strchr(target + sizeof(scheme) - 1, '/');
    }
    if (target == NULL || target[0] != '/') {
        return 400;
    }
    query = strchr(target, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    if (!decode(target, false) || !parse_query(query, out)) {
        return 400;
    }
    out->path = target;
    return 0;
}

static int parse_request_line(char *line, struct gfsi_http_head *out)
{
    char *target = strchr(line, ' ');
    char *version = target != NULL ? strchr(target + 1, ' ') : NULL;

    if (version == NULL || target == line) {
        return 400;
    }
    *target++ = '\0';
    *version++ = '\0';
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) {
        return strncmp(version, "HTTP/", sizeof("HTTP/") - 1) == 0 ? 505 : 400;
    }
    out->method = line;
    return parse_target(target, out);
}

static bool parse_field(char *line, struct gfsi_http_head *out)
{
    char *value = strchr(line, ':');

    /* RFC 9112 section 5.1: no blank before the colon, no folded lines. */
    if (value == NULL || value == line || strcspn(line, " \t") < (size_t)(value - line)) {
        return false;
    }
    *value++ = '\0';
    value += strspn(value, " \t");
    for (size_t len = strlen(value); len > 0 && strchr(" \t", value[len - 1]) != NULL; len--) {
        value[len - 1] = '\0';
    }

    if (strcasecmp(line, "Host") == 0) {
        if (out->host[0] != '\0') {
            return false; /* section 3.2: more than one */
        }
        out->host = value;
    }
    if (strcasecmp(line, "Transfer-Encoding") == 0 ||
        (strcasecmp(line, "Content-Length") == 0 && strcmp(value, "0") != 0)) {
        out->has_body = true;
    }
    return true;
}

int gfsi_http_head_parse(char *data, size_t len, struct gfsi_http_head *out)
{
    char *at = data;
    char *end = data + len;
    char *line = next_line(&at, end);
    int status;

    memset(out, 0, sizeof(*out));
    out->host = "";
    status = line != NULL ? parse_request_line(line, out) : 400;
    if (status != 0) {
        return status;
    }
    while ((line = next_line(&at, end)) != NULL && line[0] != '\0') {
        if (!parse_field(line, out)) {
            return 400;
        }
    }
    return line != NULL ? 0 : 400;
}
