/* The goosefs command, as a function: main() calls it with the process's own streams, tests with
 * theirs. */
#ifndef GFS_CLI_CLI_H
#define GFS_CLI_CLI_H

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_CLI_OK     0
#define GFS_CLI_FAILED 1 /* the operation failed; `err` says why */
#define GFS_CLI_USAGE  2 /* the command line is wrong */

/* argv[0] is the program's name. `getenv_fn` is getenv or a fake. Returns the exit code. */
int gfs_cli_run(int argc, char *const *argv, const char *(*getenv_fn)(const char *name), FILE *out,
                FILE *err);

#ifdef __cplusplus
}
#endif
#endif
