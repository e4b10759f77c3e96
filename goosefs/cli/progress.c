#include "cli_priv.h"

#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#define SHOW_EVERY_NS (200 * GFS_NS_PER_MS)
#define SHOW_AFTER_NS (500 * GFS_NS_PER_MS) /* what is done by then needs no line */

static void show(struct gfsi_progress *p)
{
    char done[32], total[32], rate[32];
    const int64_t ns = gfs_clock_mono() - p->started;
    const double per_s = ns > 0 ? (double)p->done * (double)GFS_NS_PER_S / (double)ns : 0;
    (void)fprintf(p->err, "\r%s: %s of %s (%u%%), %s/s   ", p->what,
                  gfs_format_size(p->done, done, sizeof(done)),
                  gfs_format_size(p->total, total, sizeof(total)), gfsi_percent(p->done, p->total),
                  gfs_format_size((uint64_t)per_s, rate, sizeof(rate)));
    (void)fflush(p->err);
    p->shown = gfs_clock_mono();
}

void gfsi_progress_start(struct gfsi_progress *p, struct gfsi_cli *cli, const char *what,
                         uint64_t total)
{
    const int fd = fileno(cli->err);
    *p = (struct gfsi_progress){.err = cli->err,
                                .on = fd >= 0 && isatty(fd),
                                .what = what,
                                .total = total,
                                .started = gfs_clock_mono()};
}

void gfsi_progress_add(struct gfsi_progress *p, uint64_t bytes)
{
    p->done += bytes;
    const int64_t now = gfs_clock_mono();
    if (p->on && now - p->started >= SHOW_AFTER_NS && now - p->shown >= SHOW_EVERY_NS) {
        show(p);
    }
}

void gfsi_progress_end(struct gfsi_progress *p)
{
    if (p->shown != 0) {
        show(p);
        (void)fputc('\n', p->err);
    }
}
