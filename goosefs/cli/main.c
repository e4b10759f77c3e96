#include <stdlib.h>

#include <gfs/base/log.h>
#include <gfs/cli/cli.h>

static const char *environment(const char *name)
{
    return getenv(name);
}

int main(int argc, char **argv)
{
    (void)gfs_log_configure("error");
    return gfs_cli_run(argc, argv, environment, stdout, stderr);
}
