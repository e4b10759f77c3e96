#include <gfs/controller/diag.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/err.h>

#define TEXT_MAX 400 /* of one finding; longer ones are cut */

int gfs_diags_init(struct gfs_diags *diags, const char *file)
{
    *diags = (struct gfs_diags){.file = strdup(file)};

    return diags->file != NULL ? 0 : GFS_ENOMEM;
}

void gfs_diags_fini(struct gfs_diags *diags)
{
    for (size_t i = 0; i < diags->n; i++) {
        free(diags->items[i].text);
    }

    free(diags->file);
    *diags = (struct gfs_diags){0};
}

static void __attribute__((format(printf, 5, 0)))
add(struct gfs_diags *diags, bool warning, int line, int column, const char *fmt, va_list ap)
{
    char text[TEXT_MAX];

    if (!warning) {
        diags->errors++;
    }
    if (diags->n == GFS_DIAG_MAX) {
        diags->dropped++;
        return;
    }

    (void)vsnprintf(text, sizeof(text), fmt, ap);

    char *copy = strdup(text);

    if (copy == NULL) {
        diags->dropped++;
        return;
    }

    diags->items[diags->n++] =
        (struct gfs_diag){.warning = warning, .line = line, .column = column, .text = copy};
}

void gfs_diags_error(struct gfs_diags *diags, int line, int column, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(diags, false, line, column, fmt, ap);
    va_end(ap);
}

void gfs_diags_warn(struct gfs_diags *diags, int line, int column, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(diags, true, line, column, fmt, ap);
    va_end(ap);
}

void gfs_diags_print(const struct gfs_diags *diags, struct gfs_buf *out)
{
    for (size_t i = 0; i < diags->n; i++) {
        const struct gfs_diag *d = &diags->items[i];

        (void)gfs_buf_puts(out, diags->file);
        if (d->line > 0) {
            (void)gfs_buf_printf(out, ":%d:%d", d->line, d->column);
        }

        (void)gfs_buf_printf(out, ": %s: %s\n", d->warning ? "warning" : "error", d->text);
    }

    if (diags->dropped > 0) {
        (void)gfs_buf_printf(out, "%s: and %zu more\n", diags->file, diags->dropped);
    }
}
