/* Header lines of an answer (RFC 9110). What does not parse is as if it were not there. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include <gfs/base/str.h>

#include "web_client.h"

static bool header(const char *line, const char *name, const char **value)
{
    size_t len = strlen(name);

    if (strncasecmp(line, name, len) != 0 || line[len] != ':') {
        return false;
    }
    *value = line + len + 1;
    while (**value == ' ' || **value == '\t') {
        (*value)++;
    }
    return true;
}

/* "bytes 0-9/100", "bytes 0-9/" with an asterisk for a total that is not known. */
static void parse_content_range(struct gfsi_web_answer *answer, const char *value)
{
    char *end = NULL;

    if (strncasecmp(value, "bytes ", 6) != 0 || !isdigit((unsigned char)value[6])) {
        return;
    }

    unsigned long long first = strtoull(value + 6, &end, 10);

    if (*end != '-' || !isdigit((unsigned char)end[1])) {
        return;
    }
    (void)strtoull(end + 1, &end, 10);
    if (*end != '/') {
        return;
    }

    uint64_t total = UINT64_MAX;

    if (strcmp(end + 1, "*") != 0 && gfs_parse_u64(end + 1, INT64_MAX, &total) < 0) {
        return;
    }
    answer->has_range = true;
    answer->range_first = first;
    answer->range_total = total;
}

/* An ETag goes into versions, logs and wire fields: only printable ones that fit. */
static void parse_etag(struct gfsi_web_answer *answer, const char *value)
{
    for (const char *p = value; *p != '\0'; p++) {
        if (!isgraph((unsigned char)*p)) {
            return;
        }
    }
    if (value[0] == '"' || gfs_str_has_prefix(value, "W/\"")) {
        (void)gfs_str_copy(answer->etag, sizeof(answer->etag), value);
    }
}

void gfsi_web_answer_line(struct gfsi_web_answer *answer, const char *line, size_t len)
{
    char text[1024];
    const char *value = NULL;

    while (len > 0 && isspace((unsigned char)line[len - 1])) {
        len--;
    }
    if (len >= sizeof(text) || memchr(line, '\0', len) != NULL) {
        return;
    }
    memcpy(text, line, len);
    text[len] = '\0';

    if (gfs_str_has_prefix(text, "HTTP/")) {
        *answer = (struct gfsi_web_answer){.status = 0};
    } else if (header(text, "ETag", &value)) {
        parse_etag(answer, value);
    } else if (header(text, "Last-Modified", &value)) {
        time_t t = curl_getdate(value, NULL);

        answer->last_modified_ms = t > 0 ? (int64_t)t * 1000 : 0;
    } else if (header(text, "Content-Length", &value)) {
        answer->has_length = gfs_parse_u64(value, INT64_MAX, &answer->length) == 0;
    } else if (header(text, "Content-Range", &value)) {
        parse_content_range(answer, value);
    } else if (header(text, "Content-Type", &value)) {
        answer->html = strcasestr(value, "html") != NULL;
        (void)snprintf(answer->content_type, sizeof(answer->content_type), "%.90s", value);
    }
}

int gfsi_web_status_error(int status)
{
    if (status >= 200 && status <= 299) {
        return 0;
    }
    switch (status) {
    case 401:
    case 407: return GFS_EUNAUTH;
    case 403: return GFS_EPERM;
    case 404:
    case 410: return GFS_ENOENT;
    case 405:
    case 501: return GFS_EUNSUPPORTED;
    case 408:
    case 429: return GFS_EUNAVAIL;
    case 412:
    case 416: return GFS_ECHANGED;
    default: return status >= 500 && status <= 599 ? GFS_EUNAVAIL : GFS_EPROTO;
    }
}
