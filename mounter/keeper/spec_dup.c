#include "spec_dup.h"

#include <stdlib.h>
#include <string.h>

static const char *const no_args[] = {NULL};

/* Copies texts one behind the other. */
struct arena {
    char *next;
};

static size_t text_size(const char *s)
{
    return s != NULL ? strlen(s) + 1 : 1;
}

static const char *put_text(struct arena *a, const char *s)
{
    char *at = a->next;
    size_t size = text_size(s);

    memcpy(at, s != NULL ? s : "", size);
    a->next += size;
    return at;
}

static size_t args_count(const char *const *args)
{
    size_t n = 0;

    while (args[n] != NULL) {
        n++;
    }
    return n;
}

static size_t args_text_size(const char *const *args)
{
    size_t size = 0;
    size_t i;

    for (i = 0; args[i] != NULL; i++) {
        size += text_size(args[i]);
    }
    return size;
}

static void put_args(struct arena *a, const char **to, const char *const *args)
{
    size_t i;

    for (i = 0; args[i] != NULL; i++) {
        to[i] = put_text(a, args[i]);
    }
    to[i] = NULL;
}

const char **gfsi_args_dup(const char *const *args)
{
    size_t vector = (args_count(args) + 1) * sizeof(char *);
    const char **copy = malloc(vector + args_text_size(args));
    struct arena a;

    if (copy == NULL) {
        return NULL;
    }
    a.next = (char *)copy + vector;
    put_args(&a, copy, args);
    return copy;
}

struct gfs_keeper_spec *gfsi_spec_dup(const struct gfs_keeper_spec *spec)
{
    const char *const *argv = spec->argv;
    const char *const *env = spec->env != NULL ? spec->env : no_args;
    size_t n_argv = args_count(argv) + 1;
    size_t n_env = args_count(env) + 1;
    size_t texts = text_size(spec->id) + text_size(spec->mountpoint) + text_size(spec->fstype) +
                   text_size(spec->source) + text_size(spec->log_path) + text_size(spec->launch) +
                   args_text_size(argv) + args_text_size(env);
    struct gfs_keeper_spec *copy =
        malloc(sizeof(*copy) + (n_argv + n_env) * sizeof(char *) + texts);
    const char **vectors;
    struct arena a;

    if (copy == NULL) {
        return NULL;
    }
    *copy = *spec;
    vectors = (const char **)(copy + 1);
    a.next = (char *)(vectors + n_argv + n_env);
    put_args(&a, vectors, argv);
    put_args(&a, vectors + n_argv, env);
    copy->argv = vectors;
    copy->env = vectors + n_argv;
    copy->id = put_text(&a, spec->id);
    copy->mountpoint = put_text(&a, spec->mountpoint);
    copy->fstype = put_text(&a, spec->fstype);
    copy->source = put_text(&a, spec->source);
    copy->log_path = put_text(&a, spec->log_path);
    copy->launch = put_text(&a, spec->launch);
    return copy;
}

bool gfsi_args_equal(const char *const *a, const char *const *b)
{
    size_t i;

    for (i = 0; a[i] != NULL && b[i] != NULL; i++) {
        if (strcmp(a[i], b[i]) != 0) {
            return false;
        }
    }
    return a[i] == b[i];
}

static bool text_equal(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

bool gfsi_spec_equal(const struct gfs_keeper_spec *a, const struct gfs_keeper_spec *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->mountpoint, b->mountpoint) == 0 &&
           strcmp(a->fstype, b->fstype) == 0 && strcmp(a->source, b->source) == 0 &&
           a->options == b->options && a->max_read == b->max_read && a->uid == b->uid &&
           a->gid == b->gid && a->start_timeout_ms == b->start_timeout_ms &&
           a->hang_timeout_ms == b->hang_timeout_ms && a->stall_timeout_ms == b->stall_timeout_ms &&
           text_equal(a->launch, b->launch) && gfsi_args_equal(a->argv, b->argv) &&
           gfsi_args_equal(a->env != NULL ? a->env : no_args, b->env != NULL ? b->env : no_args);
}
