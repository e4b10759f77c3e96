#include "api/yaml_priv.h"

#include <string.h>

/* The header's own definition names a banned function; nothing here uses it. */
#define FY_ALLOCA_COPY_FREE(str, len) NULL
#include <libfyaml.h>

#include <gfs/base/assert.h>
#include <gfs/base/err.h>
#include <gfs/base/str.h>

#define ARENA_MAX (8u << 20) /* a file of 1 MiB with 20,000 nodes takes less than half of it */

/* Where the next node goes: one frame per open sequence or mapping. */
struct frame {
    struct gfsi_yaml *node;
    struct gfsi_yaml *key; /* mapping: key read, value not yet */
};

struct builder {
    struct gfs_diags *diags;
    struct gfsi_yaml_docs *docs;
    struct frame stack[GFSI_YAML_MAX_DEPTH];
    size_t depth;
    size_t nodes;
    int error; /* sticky: 0, GFS_EINVAL, GFS_ENOMEM */
};

static void refuse(struct builder *b, const struct gfsi_yaml *at, const char *what)
{
    gfs_diags_error(b->diags, at->line, at->column, "%s", what);
    b->error = GFS_EINVAL;
}

static struct gfsi_yaml *new_node(struct builder *b, struct fy_event *event,
                                  enum gfsi_yaml_kind kind)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    struct gfsi_yaml_doc *doc = &b->docs->items[b->docs->n - 1];
    struct gfsi_yaml *node = gfs_arena_alloc(doc->arena, sizeof(*node));

    if (node == NULL) {
        b->error = GFS_ENOMEM;
        return NULL;
    }

    node->kind = kind;
    node->line = mark != NULL ? mark->line + 1 : 1;
    node->column = mark != NULL ? mark->column + 1 : 1;
    b->nodes++;
    if (b->nodes > GFSI_YAML_MAX_NODES) {
        refuse(b, node, "too many YAML nodes in one file (at most 20000)");
        return NULL;
    }

    return node;
}

static bool key_exists(const struct gfsi_yaml *mapping, const char *key)
{
    return gfsi_yaml_get(mapping, key) != NULL;
}

/* Puts a finished or just opened node where it belongs. */
static void attach(struct builder *b, struct gfsi_yaml *node)
{
    if (b->depth == 0) {
        b->docs->items[b->docs->n - 1].root = node;
        return;
    }

    struct frame *top = &b->stack[b->depth - 1];

    GFS_ASSERT(top->node != NULL);

    if (top->node->kind == GFSI_YAML_MAPPING && top->key == NULL) {
        if (node->kind != GFSI_YAML_SCALAR) {
            refuse(b, node, "a key must be plain text");
        } else if (key_exists(top->node, node->text)) {
            gfs_diags_error(b->diags, node->line, node->column, "duplicate key '%.100s'",
                            node->text);
            b->error = GFS_EINVAL;
        }

        top->key = node;
        return;
    }

    node->key = top->key;
    top->key = NULL;
    if (top->node->last != NULL) {
        top->node->last->next = node;
    } else {
        top->node->first = node;
    }
    top->node->last = node;
}

static void on_scalar(struct builder *b, struct fy_event *event)
{
    struct gfsi_yaml *node = new_node(b, event, GFSI_YAML_SCALAR);

    if (node == NULL) {
        return;
    }

    size_t len = 0;
    const char *text = fy_token_get_text(event->scalar.value, &len);

    if (event->scalar.anchor != NULL) {
        refuse(b, node, "anchors and aliases are not accepted");
        return;
    }
    if (len > 0 && memchr(text, '\0', len) != NULL) {
        refuse(b, node, "text contains a NUL byte");
        return;
    }

    node->text = gfs_arena_dup(b->docs->items[b->docs->n - 1].arena, text != NULL ? text : "",
                               text != NULL ? len : 0);
    enum fy_node_style style = fy_event_get_node_style(event);

    node->plain = style == FYNS_PLAIN;
    if ((style == FYNS_SINGLE_QUOTED || style == FYNS_DOUBLE_QUOTED) && node->column > 1) {
        node->column--; /* libfyaml marks what is behind the quote */
    }
    if (node->text == NULL) {
        b->error = GFS_ENOMEM;
        return;
    }

    attach(b, node);
}

static void on_open(struct builder *b, struct fy_event *event, enum gfsi_yaml_kind kind,
                    const struct fy_token *anchor)
{
    struct gfsi_yaml *node = new_node(b, event, kind);

    if (node == NULL) {
        return;
    }
    if (anchor != NULL) {
        refuse(b, node, "anchors and aliases are not accepted");
        return;
    }
    if (b->depth == GFSI_YAML_MAX_DEPTH) {
        refuse(b, node, "nested too deeply (at most 32 levels)");
        return;
    }

    attach(b, node);
    b->stack[b->depth++] = (struct frame){.node = node};
}

static void on_document(struct builder *b)
{
    if (b->docs->n == GFS_MANIFEST_MAX_DOCS) {
        gfs_diags_error(b->diags, 0, 0, "more than %d documents in one file",
                        GFS_MANIFEST_MAX_DOCS);
        b->error = GFS_EINVAL;
        return;
    }

    struct gfs_arena *arena = gfs_arena_new(ARENA_MAX);

    if (arena == NULL) {
        b->error = GFS_ENOMEM;
        return;
    }

    b->docs->items[b->docs->n++] = (struct gfsi_yaml_doc){.arena = arena};
    b->depth = 0;
}

static void on_event(struct builder *b, struct fy_event *event)
{
    switch (event->type) {
    case FYET_DOCUMENT_START: on_document(b); break;
    case FYET_SCALAR: on_scalar(b, event); break;
    case FYET_SEQUENCE_START:
        on_open(b, event, GFSI_YAML_SEQUENCE, event->sequence_start.anchor);
        break;
    case FYET_MAPPING_START:
        on_open(b, event, GFSI_YAML_MAPPING, event->mapping_start.anchor);
        break;
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END: b->depth--; break;
    case FYET_ALIAS: {
        struct gfsi_yaml at = {.line = 1, .column = 1};
        const struct fy_mark *mark = fy_event_start_mark(event);

        if (mark != NULL) {
            at.line = mark->line + 1;
            at.column = mark->column + 1;
        }
        refuse(b, &at, "anchors and aliases are not accepted");
        break;
    }
    default: break;
    }
}

/* What libfyaml found wrong, with its position; it reports consequences too, of which the first
 * says it all. */
static void report_syntax(struct fy_diag *diag, struct gfs_diags *diags)
{
    void *iter = NULL;
    struct fy_diag_error *e = fy_diag_errors_iterate(diag, &iter);

    if (e == NULL) {
        gfs_diags_error(diags, 0, 0, "not YAML");
        return;
    }

    gfs_diags_error(diags, e->line > 0 ? e->line : 1, e->column > 0 ? e->column : 1, "%s",
                    e->msg != NULL ? e->msg : "not YAML");
}

static struct fy_parser *open_parser(const char *text, size_t len, struct fy_diag **out_diag)
{
    struct fy_diag_cfg diag_cfg;

    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;

    struct fy_diag *diag = fy_diag_create(&diag_cfg);

    if (diag == NULL) {
        return NULL;
    }

    fy_diag_set_collect_errors(diag, true);

    struct fy_parse_cfg cfg = {.search_path = "", .flags = FYPCF_QUIET, .diag = diag};
    struct fy_parser *parser = fy_parser_create(&cfg);

    if (parser == NULL || fy_parser_set_string(parser, text, len) != 0) {
        fy_parser_destroy(parser);
        fy_diag_destroy(diag);
        return NULL;
    }

    *out_diag = diag;
    return parser;
}

static int parse_events(struct builder *b, const char *text, size_t len)
{
    struct fy_diag *diag = NULL;
    struct fy_parser *parser = open_parser(text, len, &diag);

    if (parser == NULL) {
        return GFS_ENOMEM;
    }

    struct fy_event *event = NULL;

    while (b->error == 0 && (event = fy_parser_parse(parser)) != NULL) {
        on_event(b, event);
        fy_parser_event_free(parser, event);
    }

    if (b->error == 0 && fy_parser_get_stream_error(parser)) {
        report_syntax(diag, b->diags);
        b->error = GFS_EINVAL;
    }

    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    return b->error;
}

/* The first line that is not UTF-8 (YAML 1.2.2, 5.2), 0 when all are. libfyaml looks for the end of
 * a directive that holds a broken character for ever. */
static int broken_line(const char *text, size_t len)
{
    int line = 1;

    for (size_t at = 0; at < len; at++) {
        size_t from = at;

        while (at < len && (unsigned char)text[at] >= ' ' && text[at] != '\x7f') {
            at++;
        }

        if (!gfs_utf8_valid(text + from, at - from)) {
            return line;
        }

        line += at < len && text[at] == '\n' ? 1 : 0;
    }

    return 0;
}

int gfsi_yaml_parse(const char *text, size_t len, struct gfs_diags *diags,
                    struct gfsi_yaml_docs *out)
{
    struct gfsi_yaml_docs docs = {.n = 0};
    struct builder b = {.diags = diags, .docs = &docs};

    if (len > GFS_MANIFEST_MAX_BYTES) {
        gfs_diags_error(diags, 0, 0, "larger than 1 MiB");
        return GFS_EINVAL;
    }
    if (len > 0 && memchr(text, '\0', len) != NULL) {
        gfs_diags_error(diags, 0, 0, "not YAML text: contains a NUL byte");
        return GFS_EINVAL;
    }

    int line = broken_line(text, len);

    if (line != 0) {
        gfs_diags_error(diags, line, 1, "not YAML text: this line is not valid UTF-8");
        return GFS_EINVAL;
    }

    int rc = len > 0 ? parse_events(&b, text, len) : 0;

    if (rc < 0) {
        gfsi_yaml_docs_fini(&docs);
        return rc;
    }

    *out = docs;
    return 0;
}

void gfsi_yaml_docs_fini(struct gfsi_yaml_docs *docs)
{
    for (size_t i = 0; i < docs->n; i++) {
        docs->items[i].arena = gfs_arena_free(docs->items[i].arena);
    }

    docs->n = 0;
}

const struct gfsi_yaml *gfsi_yaml_get(const struct gfsi_yaml *node, const char *key)
{
    if (node == NULL || node->kind != GFSI_YAML_MAPPING) {
        return NULL;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        if (strcmp(child->key->text, key) == 0) {
            return child;
        }
    }

    return NULL;
}

const char *gfsi_yaml_describe(const struct gfsi_yaml *node)
{
    if (node == NULL || gfsi_yaml_is_null(node)) {
        return "nothing";
    }

    switch (node->kind) {
    case GFSI_YAML_SEQUENCE: return "a list";
    case GFSI_YAML_MAPPING: return "a mapping";
    default: return "text";
    }
}

bool gfsi_yaml_is_null(const struct gfsi_yaml *node)
{
    return node->kind == GFSI_YAML_SCALAR && node->plain &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0 || strcmp(node->text, "Null") == 0 ||
            strcmp(node->text, "NULL") == 0);
}
