#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <gfs/base/str.h>

#include "web_row.h"

static const char *const months[12] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Exactly `n` digits. */
static bool digits(const char **p, int n, int *out)
{
    int value = 0;

    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)(*p)[i])) {
            return false;
        }
        value = value * 10 + ((*p)[i] - '0');
    }
    *p += n;
    *out = value;
    return true;
}

static bool literal(const char **p, char c)
{
    if (**p != c) {
        return false;
    }
    (*p)++;
    return true;
}

static bool month_name(const char **p, int *out)
{
    for (int i = 0; i < 12; i++) {
        if (strncasecmp(*p, months[i], 3) == 0) {
            *p += 3;
            *out = i + 1;
            return true;
        }
    }
    return false;
}

/* "2024-05-19", "2024-May-19" or "19-May-2024" */
static bool date_part(const char **p, struct tm *tm)
{
    const char *s = *p;
    int year = 0;
    int month = 0;
    int day = 0;

    if (digits(&s, 4, &year)) {
        if (!literal(&s, '-') || !(month_name(&s, &month) || digits(&s, 2, &month)) ||
            !literal(&s, '-') || !digits(&s, 2, &day)) {
            return false;
        }
    } else if (!digits(&s, 2, &day) || !literal(&s, '-') || !month_name(&s, &month) ||
               !literal(&s, '-') || !digits(&s, 4, &year)) {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31) {
        return false;
    }
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    *p = s;
    return true;
}

int gfsi_web_date_parse(const char *s, int64_t *out_ms, uint32_t *out_granularity_ms)
{
    const char *p = s;
    struct tm tm = {0};
    uint32_t granularity = 60 * 1000;

    if (!date_part(&p, &tm) || (*p != ' ' && *p != 'T')) {
        return 0;
    }
    p++;
    if (!digits(&p, 2, &tm.tm_hour) || !literal(&p, ':') || !digits(&p, 2, &tm.tm_min)) {
        return 0;
    }
    if (*p == ':') {
        p++;
        if (!digits(&p, 2, &tm.tm_sec)) {
            return 0;
        }
        granularity = 1000;
    }
    if (isdigit((unsigned char)*p) || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60) {
        return 0;
    }
    if (*p == 'Z') {
        p++;
    }
    *out_ms = (int64_t)timegm(&tm) * 1000;
    *out_granularity_ms = granularity;
    return (int)(p - s);
}

/* The word behind the date: digits, then the end or white space (U+00A0 too, which Apache's table
 * and lighttpd put there). */
static void parse_size(const char *s, struct gfsi_web_row *out)
{
    char word[24];
    size_t n = 0;

    for (;;) {
        if ((unsigned char)s[0] == 0xC2 && (unsigned char)s[1] == 0xA0) {
            s += 2;
        } else if (isspace((unsigned char)*s)) {
            s++;
        } else {
            break;
        }
    }
    while (isdigit((unsigned char)s[n]) && n + 1 < sizeof(word)) {
        word[n] = s[n];
        n++;
    }
    word[n] = '\0';

    bool ends = s[n] == '\0' || isspace((unsigned char)s[n]) || (unsigned char)s[n] == 0xC2;

    /* "12 KiB": a unit of its own word makes the number rounded. */
    const char *next = s + n;

    while (isspace((unsigned char)*next)) {
        next++;
    }
    if (n > 0 && ends && !isalpha((unsigned char)*next) &&
        gfs_parse_u64(word, INT64_MAX, &out->size) == 0) {
        out->size_known = true;
    }
}

void gfsi_web_row_parse(const char *text, struct gfsi_web_row *out)
{
    struct gfsi_web_row row = {0};

    for (const char *p = text; *p != '\0'; p++) {
        if (p != text && isalnum((unsigned char)p[-1])) {
            continue; /* a date starts a word */
        }

        int len = gfsi_web_date_parse(p, &row.mtime_ms, &row.mtime_granularity_ms);

        if (len > 0) {
            parse_size(p + len, &row);
            break;
        }
    }
    *out = row;
}
