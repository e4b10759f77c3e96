#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>
#include <gfs/base/version.h>

#include "csi.pb-c.h"
#include "csictl_priv.h"

#define SECRETS_MAX 65536

static const char usage[] =
    "Usage: csictl [--endpoint unix:///PATH] [--timeout DURATION] COMMAND [FLAG...]\n"
    "Speaks CSI to a node plugin as kubelet would. Answers are JSON on stdout.\n"
    "\n"
    "Commands:\n"
    "  identity info|probe|capabilities\n"
    "  node info|capabilities\n"
    "  node stage     --volume-id ID --staging-path PATH [volume flags]\n"
    "  node unstage   --volume-id ID --staging-path PATH\n"
    "  node publish   --volume-id ID --staging-path PATH --target-path PATH [volume flags]\n"
    "  node unpublish --volume-id ID --target-path PATH\n"
    "  node stats     --volume-id ID --volume-path PATH [--staging-path PATH]\n"
    "  node expand    --volume-id ID --volume-path PATH [--staging-path PATH]\n"
    "  mount          --volume-id ID --pod UID [--name PV] [volume flags]\n"
    "                 stage and publish at kubelet's paths, making its directories\n"
    "  umount         --volume-id ID --pod UID [--name PV] [--keep-staged]\n"
    "                 unpublish, and unstage when no other pod uses the volume\n"
    "  registration info|notify [--error TEXT]   (--endpoint names the registration socket)\n"
    "\n"
    "Volume flags:\n"
    "  --attr KEY=VALUE             volume attribute, repeated (fluid_path=..., mount_type=...)\n"
    "  --publish-context KEY=VALUE  repeated\n"
    "  --access-mode MODE           RWO, ROX, RWX, RWOP or CSI's name [MULTI_NODE_READER_ONLY]\n"
    "  --mount-flag FLAG            repeated\n"
    "  --readonly\n"
    "  --fs-type TYPE\n"
    "  --mount-group GID\n"
    "  --secret-file FILE           lines KEY=VALUE\n"
    "\n"
    "Other flags:\n"
    "  --endpoint ADDRESS    [CSI_ENDPOINT, or csi-plugins/fuse.csi.fluid.io/csi.sock below the\n"
    "                        kubelet root]\n"
    "  --kubelet-root DIR    [KUBELET_ROOTDIR, or /var/lib/kubelet]\n"
    "  --timeout DURATION    [2min]\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done; 2 bad usage; 10 + N the plugin answered with gRPC status N (13:\n"
    "INVALID_ARGUMENT, 15: NOT_FOUND, 24: UNAVAILABLE or nobody there); the error is JSON on\n"
    "stderr.\n";

static const struct {
    const char *name;
    int mode;
} modes[] = {
#define MODE(name) CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__##name
    {"RWO", MODE(SINGLE_NODE_MULTI_WRITER)}, /* what kubelet sends to a plugin with this one */
    {"ROX", MODE(MULTI_NODE_READER_ONLY)},
    {"RWX", MODE(MULTI_NODE_MULTI_WRITER)},
    {"RWOP", MODE(SINGLE_NODE_SINGLE_WRITER)},
    {"SINGLE_NODE_WRITER", MODE(SINGLE_NODE_WRITER)},
    {"SINGLE_NODE_READER_ONLY", MODE(SINGLE_NODE_READER_ONLY)},
    {"MULTI_NODE_READER_ONLY", MODE(MULTI_NODE_READER_ONLY)},
    {"MULTI_NODE_SINGLE_WRITER", MODE(MULTI_NODE_SINGLE_WRITER)},
    {"MULTI_NODE_MULTI_WRITER", MODE(MULTI_NODE_MULTI_WRITER)},
    {"SINGLE_NODE_SINGLE_WRITER", MODE(SINGLE_NODE_SINGLE_WRITER)},
    {"SINGLE_NODE_MULTI_WRITER", MODE(SINGLE_NODE_MULTI_WRITER)},
    {"UNKNOWN", MODE(UNKNOWN)},
};

static int add_pair(struct ctl_map *map, const char *text, size_t len, const char *what,
                    struct gfs_err *err)
{
    const char *equals = memchr(text, '=', len);
    struct ctl_entry *e;

    if (equals == NULL || equals == text) {
        return gfs_err_set(err, GFS_EINVAL, "%s: KEY=VALUE is expected", what);
    }
    if (map->n == CTL_PAIRS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "%s: at most %d", what, CTL_PAIRS_MAX);
    }
    e = &map->entries[map->n];
    e->key = strndup(text, (size_t)(equals - text));
    e->value = strndup(equals + 1, len - (size_t)(equals - text) - 1);
    map->n++;
    return e->key != NULL && e->value != NULL ? 0 : gfs_err_set(err, GFS_ENOMEM, "out of memory");
}

static int read_secrets(struct ctl_args *args, const char *file, struct gfs_err *err)
{
    gfs_auto_buf struct gfs_buf text;
    int rc;

    gfs_buf_init(&text, SECRETS_MAX);
    rc = gfs_file_read(file, &text, err);
    for (const char *line = gfs_buf_str(&text); rc == 0 && *line != '\0';) {
        size_t len = strcspn(line, "\n");

        if (len > 0 && line[0] != '#') {
            rc = add_pair(&args->secrets, line, len, "--secret-file", err);
        }
        line += len;
        line += *line == '\n' ? 1 : 0;
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.len);
    }
    return rc;
}

enum flag_kind { TEXT, SWITCH, PAIR, SPECIAL };

struct flag {
    const char *name;
    enum flag_kind kind;
    size_t offset;
};

static const struct flag flags[] = {
#define AT(member) offsetof(struct ctl_args, member)
    {"endpoint", TEXT, AT(endpoint)},
    {"kubelet-root", TEXT, AT(kubelet_root)},
    {"volume-id", TEXT, AT(volume_id)},
    {"staging-path", TEXT, AT(staging_path)},
    {"target-path", TEXT, AT(target_path)},
    {"volume-path", TEXT, AT(volume_path)},
    {"pod", TEXT, AT(pod)},
    {"name", TEXT, AT(name)},
    {"fs-type", TEXT, AT(fs_type)},
    {"mount-group", TEXT, AT(mount_group)},
    {"error", TEXT, AT(error)},
    {"readonly", SWITCH, AT(read_only)},
    {"keep-staged", SWITCH, AT(keep_staged)},
    {"attr", PAIR, AT(attrs)},
    {"publish-context", PAIR, AT(publish_context)},
    {"timeout", SPECIAL, 0},
    {"access-mode", SPECIAL, 0},
    {"mount-flag", SPECIAL, 0},
    {"secret-file", SPECIAL, 0},
};

static int take_special(struct ctl_args *args, const char *name, char *value, struct gfs_err *err)
{
    if (strcmp(name, "timeout") == 0) {
        return gfs_parse_duration(value, &args->timeout_ns) == 0 && args->timeout_ns > 0
                   ? 0
                   : gfs_err_set(err, GFS_EINVAL, "--timeout: '%s' is no duration", value);
    }
    if (strcmp(name, "secret-file") == 0) {
        return read_secrets(args, value, err);
    }
    if (strcmp(name, "mount-flag") == 0) {
        if (args->n_mount_flags == CTL_FLAGS_MAX) {
            return gfs_err_set(err, GFS_EINVAL, "--mount-flag: at most %d", CTL_FLAGS_MAX);
        }
        args->mount_flags[args->n_mount_flags++] = value;
        return 0;
    }
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].name, value) == 0) {
            args->access_mode = modes[i].mode;
            return 0;
        }
    }
    return gfs_err_set(err, GFS_EINVAL, "--access-mode: '%s' is not known", value);
}

/* Returns how many of argv were used. */
static int take_flag(struct ctl_args *args, int argc, char **argv, struct gfs_err *err)
{
    char *name = argv[0] + 2;
    char *value = strchr(name, '=');
    const struct flag *flag = NULL;
    size_t len = value != NULL ? (size_t)(value - name) : strlen(name);
    int used = 1;
    int rc = 0;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && flag == NULL; i++) {
        flag = strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0 ? &flags[i]
                                                                                     : NULL;
    }
    if (flag == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "unknown flag '%s' (see csictl --help)", argv[0]);
    }
    if (flag->kind == SWITCH) {
        bool *on = (bool *)((char *)args + flag->offset);

        *on = true;
        return value == NULL || gfs_parse_bool(value + 1, on) == 0
                   ? 1
                   : gfs_err_set(err, GFS_EINVAL, "--%s: true or false", flag->name);
    }
    if (value != NULL) {
        value++;
    } else if (argc >= 2) {
        value = argv[1];
        used = 2;
    } else {
        return gfs_err_set(err, GFS_EINVAL, "--%s needs a value", flag->name);
    }

    switch (flag->kind) {
    case TEXT: *(char **)((char *)args + flag->offset) = value; break;
    case PAIR:
        rc = add_pair((struct ctl_map *)((char *)args + flag->offset), value, strlen(value),
                      flag->name, err);
        break;
    case SPECIAL: rc = take_special(args, flag->name, value, err); break;
    case SWITCH: break;
    }
    return rc < 0 ? rc : used;
}

int ctl_args_parse(struct ctl_args *args, int argc, char **argv, struct gfs_err *err)
{
    size_t n_words = 0;

    memset(args, 0, sizeof(*args));
    args->timeout_ns = 120 * GFS_NS_PER_S;
    args->access_mode = MODE(MULTI_NODE_READER_ONLY);
    args->endpoint = getenv("CSI_ENDPOINT");
    args->kubelet_root = getenv("KUBELET_ROOTDIR");

    for (int i = 1; i < argc;) {
        int used = 1;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(usage, stdout);
            return 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            (void)printf("csictl %s\n", gfs_version());
            return 1;
        }
        if (strncmp(argv[i], "--", 2) == 0) {
            used = take_flag(args, argc - i, argv + i, err);
        } else if (n_words < 2) {
            args->words[n_words++] = argv[i];
        } else {
            used = gfs_err_set(err, GFS_EINVAL, "unexpected argument '%s'", argv[i]);
        }
        if (used < 0) {
            return used;
        }
        i += used;
    }

    if (n_words == 0) {
        return gfs_err_set(err, GFS_EINVAL, "a command is expected (see csictl --help)");
    }
    if (args->kubelet_root == NULL) {
        args->kubelet_root = "/var/lib/kubelet";
    }
    return 0;
}

static void free_map(struct ctl_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        if (map->entries[i].value != NULL) {
            explicit_bzero(map->entries[i].value, strlen(map->entries[i].value));
        }
        free(map->entries[i].key);
        free(map->entries[i].value);
    }
    map->n = 0;
}

void ctl_args_fini(struct ctl_args *args)
{
    free_map(&args->attrs);
    free_map(&args->publish_context);
    free_map(&args->secrets);
}

void *ctl_map_as(struct ctl_map *map, const ProtobufCMessageDescriptor *descriptor)
{
    for (size_t i = 0; i < map->n; i++) {
        struct ctl_entry *e = &map->entries[i];
        char *key = e->key;
        char *value = e->value;

        protobuf_c_message_init(descriptor, &e->base);
        e->key = key;
        e->value = value;
        map->list[i] = &e->base;
    }
    return map->list;
}
