/* An event parser over libxml2's HTML parser. A row starts at a link that names an entry and ends
 * at the next link or at what closes a row in any of the layouts; the text in between carries date
 * and size. Names come from the href: link texts are cut short by nginx and Apache. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/HTMLparser.h>

#include <gfs/base/str.h>
#include <gfs/ufs/ufs.h>

#include "web_index.h"
#include "web_row.h"

#define TEXT_MAX 512 /* of a title, a link or a row; the rest is ignored */

/* libxml2 searches its stack of open elements for every end tag: bounds the work of a hostile page
 * and is far beyond any index. */
#define DEPTH_MAX 512

/* Bytes kept back until a '>' comes. */
#define PENDING_MAX (64 * 1024)

struct text {
    char bytes[TEXT_MAX];
    size_t len;
};

enum row_state { ROW_NONE, ROW_IN_LINK, ROW_BEHIND_LINK };

struct gfsi_web_index {
    struct gfsi_web_index_options options;
    struct gfsi_web_page page;
    char last_name[256]; /* of the page's URL; caddy's title */
    struct gfs_ufs_listing *out;
    htmlParserCtxtPtr parser;
    htmlSAXHandler sax;
    struct gfs_buf pending;
    int error;
    unsigned depth;

    bool in_title;
    unsigned pre_depth;
    struct text title;

    enum row_state state;
    bool row_is_entry;
    char row_name[256];
    bool row_directory;
    struct text link_text;
    struct text row_text;
    struct gfsi_web_row row_data; /* from attributes: caddy */

    bool parent_link;  /* a link with one of parent_names as text, or to the parent */
    bool machine_rows; /* data-size or <time datetime> in a row */
};

static void text_append(struct text *t, const char *s, size_t len)
{
    size_t room = TEXT_MAX - 1 - t->len;
    size_t n = len < room ? len : room;

    memcpy(t->bytes + t->len, s, n);
    t->len += n;
    t->bytes[t->len] = '\0';
}

static void text_clear(struct text *t)
{
    t->len = 0;
    t->bytes[0] = '\0';
}

static const char *text_trimmed(struct text *t)
{
    char *start = t->bytes;

    while (t->len > 0 && isspace((unsigned char)t->bytes[t->len - 1])) {
        t->bytes[--t->len] = '\0';
    }
    while (isspace((unsigned char)*start)) {
        start++;
    }
    return start;
}

/* Is one of the comma-separated `words` equal to `s`, or (contained) part of it? */
static bool matches_word(const char *words, const char *s, bool contained)
{
    const char *p = words;

    while (*p != '\0') {
        size_t len = strcspn(p, ",");
        char word[128];

        if (len > 0 && len < sizeof(word)) {
            memcpy(word, p, len);
            word[len] = '\0';
            if (contained ? strcasestr(s, word) != NULL : strcasecmp(s, word) == 0) {
                return true;
            }
        }
        p += len + (p[len] == ',');
    }
    return false;
}

static void fail(struct gfsi_web_index *index, int code)
{
    if (index->error == 0) {
        index->error = code;
    }
    xmlStopParser(index->parser);
}

static void emit_row(struct gfsi_web_index *index)
{
    struct gfsi_web_row row;

    gfsi_web_row_parse(index->row_text.bytes, &row);
    if (row.mtime_ms == 0) {
        row.mtime_ms = index->row_data.mtime_ms;
        row.mtime_granularity_ms = index->row_data.mtime_granularity_ms;
    }
    if (index->row_data.size_known) {
        row.size_known = true;
        row.size = index->row_data.size;
    }

    struct gfs_ufs_stat stat = {
        .type = index->row_directory ? GFS_UFS_DIRECTORY : GFS_UFS_FILE,
        .size_known = index->row_directory || row.size_known,
        .mode = index->row_directory ? 0555 : 0444,
        .size = index->row_directory ? 0 : row.size,
        .mtime_ms = row.mtime_ms,
        .mtime_granularity_ms = row.mtime_granularity_ms,
    };

    if (index->out != NULL) {
        int rc =
            gfs_ufs_listing_add(index->out, index->options.max_entries, index->row_name, &stat);

        if (rc < 0) {
            fail(index, rc);
        }
    }
}

static void end_row(struct gfsi_web_index *index)
{
    if (index->state == ROW_NONE) {
        return;
    }

    bool is_parent =
        matches_word(index->options.parent_names, text_trimmed(&index->link_text), false);

    index->state = ROW_NONE;
    if (is_parent) {
        index->parent_link = true;
    }

    /* A file may be called "Parent Directory"; only a link that leads up is the parent. */
    if (index->row_is_entry) {
        emit_row(index);
    }
}

static void begin_row(struct gfsi_web_index *index, const char *href)
{
    end_row(index);

    enum gfsi_link link = gfsi_web_link(&index->page, href, index->row_name, &index->row_directory);

    if (link == GFSI_LINK_PARENT) {
        index->parent_link = true;
    }
    index->state = ROW_IN_LINK;
    index->row_is_entry = link == GFSI_LINK_ENTRY;
    index->row_data = (struct gfsi_web_row){0};
    text_clear(&index->link_text);
    text_clear(&index->row_text);
}

static const char *attribute(const xmlChar **atts, const char *name)
{
    for (size_t i = 0; atts != NULL && atts[i] != NULL; i += 2) {
        if (strcasecmp((const char *)atts[i], name) == 0) {
            return (const char *)atts[i + 1];
        }
    }
    return NULL;
}

/* What caddy says for machines: <td class="size" data-size="1234"> and <time datetime="...">. */
static void row_attributes(struct gfsi_web_index *index, const char *name, const xmlChar **atts)
{
    const char *size = strcmp(name, "td") == 0 ? attribute(atts, "data-size") : NULL;
    const char *date = strcmp(name, "time") == 0 ? attribute(atts, "datetime") : NULL;
    struct gfsi_web_row *row = &index->row_data;

    if (!index->row_is_entry) {
        return;
    }
    if (size != NULL && gfs_parse_u64(size, INT64_MAX, &row->size) == 0) {
        row->size_known = true;
        index->machine_rows = true;
    }
    if (date != NULL && gfsi_web_date_parse(date, &row->mtime_ms, &row->mtime_granularity_ms) > 0) {
        index->machine_rows = true;
    }
}

/* What ends a row in one of the layouts. <br>: layouts with one line per entry, where the next
 * line's text stands before its link. */
static bool ends_row(const char *name)
{
    static const char *const names[] = {"tr", "br", "li", "ul", "pre", "hr", "table", "tbody"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void on_start(void *arg, const xmlChar *element, const xmlChar **atts)
{
    struct gfsi_web_index *index = arg;
    const char *name = (const char *)element;

    if (index->error != 0) {
        return;
    }
    if (++index->depth > DEPTH_MAX) {
        fail(index, GFS_EPROTO);
        return;
    }
    if (strcmp(name, "a") == 0) {
        const char *href = attribute(atts, "href");

        if (href != NULL) {
            begin_row(index, href);
        }
        return;
    }
    if (ends_row(name)) {
        end_row(index);
    }
    if (strcmp(name, "title") == 0) {
        index->in_title = true;
    } else if (strcmp(name, "pre") == 0) {
        index->pre_depth++;
    } else if (index->state == ROW_BEHIND_LINK) {
        text_append(&index->row_text, " ", 1);
        row_attributes(index, name, atts);
    }
}

static void on_end(void *arg, const xmlChar *element)
{
    struct gfsi_web_index *index = arg;
    const char *name = (const char *)element;

    if (index->error != 0) {
        return;
    }
    if (index->depth > 0) {
        index->depth--;
    }
    if (strcmp(name, "a") == 0 && index->state == ROW_IN_LINK) {
        index->state = ROW_BEHIND_LINK;
    } else if (ends_row(name)) {
        end_row(index);
    } else if (strcmp(name, "title") == 0) {
        index->in_title = false;
    }
    if (strcmp(name, "pre") == 0 && index->pre_depth > 0) {
        index->pre_depth--;
    }
}

static void on_text(void *arg, const xmlChar *chars, int len)
{
    struct gfsi_web_index *index = arg;
    const char *text = (const char *)chars;
    size_t n = (size_t)len;

    if (index->error != 0) {
        return;
    }
    if (index->in_title) {
        text_append(&index->title, text, n);
        return;
    }
    if (index->state == ROW_IN_LINK) {
        text_append(&index->link_text, text, n);
        return;
    }
    if (index->state != ROW_BEHIND_LINK) {
        return;
    }

    const char *newline = index->pre_depth > 0 ? memchr(text, '\n', n) : NULL;

    text_append(&index->row_text, text, newline != NULL ? (size_t)(newline - text) : n);
    if (newline != NULL) {
        end_row(index);
    }
}

int gfsi_web_index_new(const char *url, const struct gfsi_web_index_options *options,
                       struct gfs_ufs_listing *out, struct gfsi_web_index **result)
{
    struct gfsi_web_index *index = calloc(1, sizeof(*index));

    if (index == NULL) {
        return GFS_ENOMEM;
    }
    index->options = *options;
    index->out = out;
    gfs_buf_init(&index->pending, PENDING_MAX + 1);

    bool directory = false;
    int rc = gfsi_web_page_parse(url, &index->page);

    if (rc < 0) {
        free(index);
        return rc;
    }
    (void)gfsi_url_last_name(url, index->last_name, sizeof(index->last_name), &directory);
    index->sax = (htmlSAXHandler){
        .startElement = on_start,
        .endElement = on_end,
        .characters = on_text,
        .cdataBlock = NULL, /* the content of <script> and <style> */
        .ignorableWhitespace = on_text,
    };
    index->parser =
        htmlCreatePushParserCtxt(&index->sax, index, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
    if (index->parser == NULL) {
        free(index);
        return GFS_ENOMEM;
    }
    (void)htmlCtxtUseOptions(index->parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
                                                HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
                                                HTML_PARSE_IGNORE_ENC);
    *result = index;
    return 0;
}

struct gfsi_web_index *gfsi_web_index_free(struct gfsi_web_index *index)
{
    if (index == NULL) {
        return NULL;
    }
    if (index->parser->myDoc != NULL) {
        xmlFreeDoc(index->parser->myDoc);
    }
    htmlFreeParserCtxt(index->parser);
    gfs_buf_fini(&index->pending);
    free(index);
    return NULL;
}

/* libxml2's parser misses the end of a script, and all behind it, when "</script>" is cut between
 * two chunks: chunks end behind a '>'. */
int gfsi_web_index_feed(struct gfsi_web_index *index, const char *data, size_t len)
{
    struct gfs_buf *pending = &index->pending;

    while (len > 0 && index->error == 0) {
        size_t room = PENDING_MAX - pending->len;
        size_t n = len < room ? len : room;

        if (gfs_buf_append(pending, data, n) < 0) {
            fail(index, GFS_ENOMEM);
            break;
        }
        data += n;
        len -= n;

        const char *end = memrchr(pending->data, '>', pending->len);
        size_t ready = end != NULL ? (size_t)(end + 1 - pending->data) : 0;

        if (ready == 0 && pending->len == PENDING_MAX) {
            ready = pending->len;
        }
        if (ready > 0) {
            /* Broken HTML is recovered from: the result says nothing. */
            (void)htmlParseChunk(index->parser, pending->data, (int)ready, 0);
            memmove(pending->data, pending->data + ready, pending->len - ready);
            pending->len -= ready;
        }
    }
    return index->error;
}

/* caddy's title is the directory's name; with a link up it is taken for an index even when empty.
 */
static bool is_index(struct gfsi_web_index *index)
{
    const char *title = text_trimmed(&index->title);

    return matches_word(index->options.titles, title, true) || index->machine_rows ||
           (index->parent_link && index->last_name[0] != '\0' &&
            strcmp(title, index->last_name) == 0);
}

int gfsi_web_index_finish(struct gfsi_web_index *index)
{
    if (index->error == 0) {
        (void)htmlParseChunk(index->parser, gfs_buf_str(&index->pending), (int)index->pending.len,
                             1);
    }
    if (index->error == 0) {
        end_row(index);
    }
    if (index->error != 0) {
        return index->error;
    }
    return is_index(index) ? 0 : GFS_ENOTDIR;
}
