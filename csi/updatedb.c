#include "updatedb_priv.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#define HEADER   "# Modified by csi-nodeplugin-fluid\n"
#define FILE_MAX (1u << 20)

static const char separators[] = " ,\t";

static bool has_word(const char *list, size_t len, const char *word, size_t n)
{
    for (size_t i = 0; i < len;) {
        size_t end;

        while (i < len && strchr(" \t\"", list[i]) != NULL) {
            i++;
        }
        for (end = i; end < len && strchr(" \t\"", list[end]) == NULL;) {
            end++;
        }
        if (end - i == n && memcmp(list + i, word, n) == 0) {
            return true;
        }
        i = end;
    }
    return false;
}

/* Appends those of `words` that `list` does not have; returns how many. */
static int add_missing(const char *list, size_t len, const char *words, struct gfs_buf *out)
{
    int added = 0;

    for (const char *w = words + strspn(words, separators); *w != '\0';) {
        size_t n = strcspn(w, separators);

        if (!has_word(list, len, w, n)) {
            (void)gfs_buf_printf(out, "%s%.*s", len > 0 || added > 0 ? " " : "", (int)n, w);
            added++;
        }
        w += n;
        w += strspn(w, separators);
    }
    return added;
}

/* One line `KEY = "words"`; false when it is something else. */
static bool edit_line(const char *line, size_t len, const char *key, const char *words,
                      struct gfs_buf *out, int *added)
{
    size_t n = strlen(key);
    size_t value = n;
    size_t end = len;

    if (len <= n || memcmp(line, key, n) != 0) {
        return false;
    }
    value += strspn(line + value, " \t");
    if (value >= len || line[value] != '=') {
        return false;
    }
    value++;
    while (value < len && strchr(" \t\"", line[value]) != NULL) {
        value++;
    }
    while (end > value && strchr(" \t\"\r", line[end - 1]) != NULL) {
        end--;
    }

    (void)gfs_buf_printf(out, "%s = \"%.*s", key, (int)(end - value), line + value);
    *added += add_missing(line + value, end - value, words, out);
    (void)gfs_buf_puts(out, "\"");
    return true;
}

int gfsi_updatedb_edit(const char *text, const char *fs_types, const char *paths,
                       struct gfs_buf *out)
{
    const char *keys[] = {"PRUNEFS", "PRUNEPATHS"};
    const char *words[] = {fs_types, paths};
    bool found[] = {false, false};
    int added = 0;

    if (!gfs_str_has_prefix(text, HEADER)) {
        (void)gfs_buf_puts(out, HEADER);
    }
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        bool done = false;

        for (size_t k = 0; k < 2 && !done; k++) {
            done = edit_line(text, len, keys[k], words[k], out, &added);
            found[k] = found[k] || done;
        }
        if (!done) {
            (void)gfs_buf_append(out, text, len);
        }
        (void)gfs_buf_puts(out, "\n");
        text += len;
        text += *text == '\n' ? 1 : 0;
    }
    for (size_t k = 0; k < 2; k++) {
        if (!found[k]) {
            (void)gfs_buf_printf(out, "%s = \"", keys[k]);
            added += add_missing("", 0, words[k], out);
            (void)gfs_buf_puts(out, "\"\n");
        }
    }
    if (out->error != 0) {
        return out->error;
    }
    return added > 0 ? 1 : 0;
}

int gfsi_updatedb_prune(const char *file, const char *fs_types, const char *paths,
                        struct gfs_err *err)
{
    gfs_auto_buf struct gfs_buf before;
    gfs_auto_buf struct gfs_buf after;
    char *backup gfs_auto_free = NULL;
    int rc;

    gfs_buf_init(&before, FILE_MAX);
    gfs_buf_init(&after, 2 * FILE_MAX);
    if (access(file, F_OK) < 0) {
        return 0;
    }
    rc = gfs_file_read(file, &before, err);
    if (rc < 0) {
        return rc;
    }
    rc = gfsi_updatedb_edit(gfs_buf_str(&before), fs_types, paths, &after);
    if (rc <= 0) {
        return rc < 0 ? gfs_err_set(err, rc, "%s is too large", file) : 0;
    }

    if (asprintf(&backup, "%s.backup", file) < 0) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (!gfs_str_has_prefix(gfs_buf_str(&before), HEADER)) {
        rc = gfs_file_write_atomic(backup, gfs_buf_str(&before), before.len, 0644, err);
        if (rc < 0) {
            return rc;
        }
    }
    return gfs_file_write_atomic(file, gfs_buf_str(&after), after.len, 0644, err);
}
