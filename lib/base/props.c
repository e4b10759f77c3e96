#include <gfs/base/cfg.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/file.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES (1024 * 1024)
#define PROPS_MAX      4096
#define KEY_MAX        256
#define VALUE_MAX      65536

struct prop {
    char *key;
    char *value;
};

struct gfs_props {
    struct prop *items;
    size_t n;
    size_t cap;
};

struct gfs_props *gfs_props_new(void)
{
    return calloc(1, sizeof(struct gfs_props));
}

struct gfs_props *gfs_props_free(struct gfs_props *props)
{
    if (props != NULL) {
        for (size_t i = 0; i < props->n; i++) {
            free(props->items[i].key);
            free(props->items[i].value);
        }
        free(props->items);
        free(props);
    }
    return NULL;
}

static struct prop *find(const struct gfs_props *props, const char *key)
{
    for (size_t i = 0; i < props->n; i++) {
        if (strcmp(props->items[i].key, key) == 0) {
            return &props->items[i];
        }
    }
    return NULL;
}

static int grow(struct gfs_props *props)
{
    if (props->n < props->cap) {
        return GFS_OK;
    }
    if (props->n == PROPS_MAX) {
        return GFS_ERANGE;
    }
    size_t cap = props->cap == 0 ? 32 : props->cap * 2;
    struct prop *items = reallocarray(props->items, cap, sizeof *items);
    if (items == NULL) {
        return GFS_ENOMEM;
    }
    props->items = items;
    props->cap = cap;
    return GFS_OK;
}

int gfs_props_set(struct gfs_props *props, const char *key, const char *value)
{
    size_t key_len = strlen(key);
    if (key_len == 0 || key_len > KEY_MAX || strlen(value) > VALUE_MAX) {
        return GFS_ERANGE;
    }

    char *new_value gfs_auto_free = strdup(value);
    if (new_value == NULL) {
        return GFS_ENOMEM;
    }
    struct prop *old = find(props, key);
    if (old != NULL) {
        free(old->value);
        old->value = GFS_TAKE_PTR(new_value);
        return GFS_OK;
    }

    int rc = grow(props);
    if (rc < 0) {
        return rc;
    }
    char *new_key = strdup(key);
    if (new_key == NULL) {
        return GFS_ENOMEM;
    }
    props->items[props->n++] = (struct prop){.key = new_key, .value = GFS_TAKE_PTR(new_value)};
    return GFS_OK;
}

const char *gfs_props_get(const struct gfs_props *props, const char *key)
{
    const struct prop *p = find(props, key);
    return p == NULL ? NULL : p->value;
}

size_t gfs_props_count(const struct gfs_props *props)
{
    return props->n;
}

void gfs_props_at(const struct gfs_props *props, size_t i, const char **out_key,
                  const char **out_value)
{
    *out_key = props->items[i].key;
    *out_value = props->items[i].value;
}

/* One line of Java's properties form, without continuation lines and \u escapes: goosefs files use
 * neither. */
static int parse_line(struct gfs_props *props, char *line, const char *name, size_t number,
                      struct gfs_err *err)
{
    while (isspace((unsigned char)*line)) {
        line++;
    }
    if (*line == '\0' || *line == '#' || *line == '!') {
        return GFS_OK;
    }

    char *sep = line + strcspn(line, "=:");
    if (*sep == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "%s:%zu: expected key=value", name, number);
    }
    char *value = sep + 1;
    *sep = '\0';
    while (sep > line && isspace((unsigned char)sep[-1])) {
        *--sep = '\0';
    }
    while (isspace((unsigned char)*value)) {
        value++;
    }
    size_t len = strlen(value);
    while (len > 0 && isspace((unsigned char)value[len - 1])) {
        value[--len] = '\0';
    }

    int rc = gfs_props_set(props, line, value);
    if (rc < 0) {
        return gfs_err_set(err, rc, "%s:%zu: key or value too long, or too many properties", name,
                           number);
    }
    return GFS_OK;
}

int gfs_props_parse(struct gfs_props *props, const char *text, size_t len, const char *name,
                    struct gfs_err *err)
{
    if (memchr(text, '\0', len) != NULL) {
        return gfs_err_set(err, GFS_EINVAL, "%s: holds a NUL byte", name);
    }
    char *copy gfs_auto_free = strndup(text, len);
    if (copy == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    char *rest = copy;
    size_t number = 0;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        int rc = parse_line(props, line, name, ++number, err);
        if (rc < 0) {
            return rc;
        }
    }
    return GFS_OK;
}

int gfs_props_load(struct gfs_props *props, const char *file, struct gfs_err *err)
{
    struct gfs_buf text gfs_auto_buf;
    gfs_buf_init(&text, FILE_MAX_BYTES);
    int rc = gfs_file_read(file, &text, err);
    if (rc < 0) {
        return rc;
    }
    return gfs_props_parse(props, gfs_buf_str(&text), text.len, file, err);
}
