/* Size and date in the text behind a link of an index page. */
#ifndef GFSI_WEB_ROW_H
#define GFSI_WEB_ROW_H

#include <stdbool.h>
#include <stdint.h>

struct gfsi_web_row {
    bool size_known; /* a plain number of bytes stood behind the date */
    uint64_t size;
    int64_t mtime_ms; /* 0: no date */
    uint32_t mtime_granularity_ms;
};

/* Finds the first date in `text`, then reads the word behind it as the size when it is digits only:
 * "1.2K" is rounded and says nothing exact. Dates as nginx and Apache ("19-May-2024 10:32",
 * "2024-05-19 10:32"), lighttpd ("2024-May-19 10:32:11") and RFC 3339 ("2024-05-19T10:32:11Z")
 * print them, read as UTC. */
void gfsi_web_row_parse(const char *text, struct gfsi_web_row *out);

/* One date at the start of `s`: its length, or 0 when there is none. */
int gfsi_web_date_parse(const char *s, int64_t *out_ms, uint32_t *out_granularity_ms);

#endif
