/* What the supervisor's tests supervise. Says "ready" on its standard output once it is.
 *
 *   wait     until SIGTERM, then status 0
 *   stubborn ignores SIGTERM
 *   crash    status 3 at once
 *   env      prints $GFS_TEST and its directory, status 0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    char directory[4096] = "";
    sigset_t term;
    int got = 0;

    if (strcmp(mode, "crash") == 0) {
        return 3;
    }
    if (strcmp(mode, "env") == 0) {
        const char *value = getenv("GFS_TEST");

        printf("%s %s\n", value != NULL ? value : "-", getcwd(directory, sizeof(directory)));
        return 0;
    }

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    printf("ready\n");
    fflush(stdout);
    do {
        sigwait(&term, &got);
    } while (strcmp(mode, "stubborn") == 0);

    return 0;
}
