/* The commands of fluid-controller: one table, one way to read options. */
#ifndef GFSI_CONTROLLER_CMD_H
#define GFSI_CONTROLLER_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/controller/kubernetes.h>
#include <gfs/controller/local.h>
#include <gfs/controller/object.h>
#include <gfs/rpc/client.h>

#include "fluid_local.pb-c.h"

#define GFSI_DEFAULT_STATE_DIR "/var/lib/fluid-local"
#define GFSI_OPERANDS_MAX      64

/* All that any command takes; which of them, its entry in the table says. */
struct gfsi_options {
    const char *state_dir, *socket;
    const char *platform, *mount_root, *kubelet_root, *bin_dir, *log_level;
    unsigned controllers; /* GFS_CONTROLLER_... */
    bool leader_elect, launch_pod;
    const char *lease_ns, *kubeconfig, *image, *metrics_addr;
    const char *files[GFS_LOCAL_FILES_MAX];
    size_t n_files;
    const char *ns;
    bool all_namespaces;
    const char *output; /* "", "wide", "json" */
    const char *condition;
    int64_t timeout_ns;
    const char *container;
    bool follow;
    const char **operands;
    size_t n_operands;
};

struct gfsi_command {
    const char *name;
    const char *operands; /* for the usage line */
    const char *summary;
    const char *options; /* letters of OPTION_* in options.c */
    size_t min_operands, max_operands;
    int (*run)(const struct gfsi_options *options);
};

extern const struct gfsi_command gfsi_commands[]; /* ends with {NULL} */

/* 0; 1 after --help; negative after a message on stderr. */
int gfsi_options_parse(const struct gfsi_command *command, int argc, char **argv,
                       struct gfsi_options *out);
void gfsi_usage(void);

int gfsi_cmd_run(const struct gfsi_options *options);
int gfsi_run_kubernetes(const struct gfsi_options *options);
int gfsi_cmd_validate(const struct gfsi_options *options);
int gfsi_cmd_apply(const struct gfsi_options *options);
int gfsi_cmd_create(const struct gfsi_options *options);
int gfsi_cmd_get(const struct gfsi_options *options);
int gfsi_cmd_delete(const struct gfsi_options *options);
int gfsi_cmd_wait(const struct gfsi_options *options);
int gfsi_cmd_exec(const struct gfsi_options *options);
int gfsi_cmd_logs(const struct gfsi_options *options);

/* One call to the instance. `wait`: also for the instance to come up. Prints what went wrong on
 * stderr; NULL then. */
ProtobufCMessage *gfsi_call(const struct gfsi_options *options, const char *method,
                            const ProtobufCMessage *request, bool wait, int64_t timeout_ns);

/* "TYPE/NAME" or "TYPE" "NAME" or "TYPE". */
int gfsi_target_parse(const struct gfsi_options *options, char type[64], char name[64]);

/* The objects of a file; findings on stderr. */
int gfsi_parse_file(const char *file, const char *ns, struct gfs_manifest **out);

/* The whole of a file, "-" for stdin; caller frees. NULL after a message. */
char *gfsi_read_file(const char *file);

#endif
