/* The one table that drives dispatch, --help and completion. */
#include "cli_priv.h"

#include <string.h>

static const struct gfsi_flag ls_flags[] = {
    {"-d", NULL, "the directory itself, not what it holds"},
    {"-f", NULL, "look at the origin again first"},
    {"-h", NULL, "sizes for people"},
    {"-R", NULL, "directories below too"},
    {"-r", NULL, "reverse the order"},
    {"-m", NULL, "accepted and without effect: mount points are not marked"},
    {"--sort", "KEY", "by name (the default), size, time or inMemoryPercentage"},
    {0}};
static const struct gfsi_flag human_flags[] = {{"-h", NULL, "sizes for people"}, {0}};
static const struct gfsi_flag du_flags[] = {
    {"-h", NULL, "sizes for people"}, {"-s", NULL, "the sum only"}, {0}};
static const struct gfsi_flag stat_flags[] = {
    {"-f", "FORMAT", "%N name, %z size, %u owner, %g group, %y/%Y time, %b blocks, %i id"}, {0}};
static const struct gfsi_flag test_flags[] = {
    {"-d", NULL, "is a directory"},   {"-e", NULL, "exists"},
    {"-f", NULL, "is a file"},        {"-s", NULL, "directory that is not empty"},
    {"-z", NULL, "file of length 0"}, {0}};
static const struct gfsi_flag bytes_flags[] = {{"-c", "BYTES", "how much (1KB)"}, {0}};
static const struct gfsi_flag mount_flags[] = {
    {"--readonly", NULL, "nothing may be written through it"},
    {"--shared", NULL, "readable by every user"},
    {"--option", "K=V", "property of the origin; may be repeated"},
    {0}};
static const struct gfsi_flag load_metadata_flags[] = {
    {"-R", NULL, "directories below too"}, {"-F", NULL, "also what is loaded and fresh"}, {0}};
static const struct gfsi_flag load_flags[] = {{"--submit", NULL, "do not wait until it is cached"},
                                              {0}};
static const struct gfsi_flag free_flags[] = {{"-f", NULL, "also what is pinned"}, {0}};
static const struct gfsi_flag quorum_flags[] = {
    {"-domain", "DOMAIN", "MASTER"},
    {"-address", "H:P", "journal address of the master meant"},
    {"-id", "N", "add-learner: its place in its own list of masters"},
    {0}};
static const struct gfsi_flag journal_flags[] = {{"--from", "INDEX", "dump: begin with this entry"},
                                                 {"--limit", "N", "dump: at most so many lines"},
                                                 {0}};

const struct gfsi_verb gfsi_verbs[] = {
    {"fs", "cat", "PATH", 1, 1, "print a file", NULL, gfsi_run_cat},
    {"fs", "copyToLocal", "PATH LOCAL", 2, 2, "copy a file or a directory to this machine", NULL,
     gfsi_run_copy_to_local},
    {"fs", "count", "PATH", 1, 1, "number of files and directories, and their size", human_flags,
     gfsi_run_count},
    {"fs", "du", "PATH", 1, 1, "sizes, and how much of them is cached", du_flags, gfsi_run_du},
    {"fs", "free", "PATH", 1, 1, "drop what is cached of a file or a directory", free_flags,
     gfsi_run_free},
    {"fs", "head", "PATH", 1, 1, "print the start of a file", bytes_flags, gfsi_run_head},
    {"fs", "help", "[COMMAND]", 0, 1, "what there is, or how one command is used", NULL,
     gfsi_run_help},
    {"fs", "leader", "", 0, 0, "host name of the leader master", NULL, gfsi_run_leader},
    {"fs", "load", "PATH", 1, 1, "bring a file or a directory into the cache", load_flags,
     gfsi_run_load},
    {"fs", "loadMetadata", "PATH", 1, 1, "read names and sizes from the origin",
     load_metadata_flags, gfsi_run_load_metadata},
    {"fs", "location", "PATH", 1, 1, "nodes that cache a file", NULL, gfsi_run_location},
    {"fs", "ls", "PATH", 1, 1, "list a directory", ls_flags, gfsi_run_ls},
    {"fs", "masterInfo", "", 0, 0, "the leader and all masters", NULL, gfsi_run_master_info},
    {"fs", "mount", "[PATH ORIGIN]", 0, 2, "mount an origin, or list the mounts", mount_flags,
     gfsi_run_mount},
    {"fs", "stat", "PATH", 1, 1, "all about a file or a directory", stat_flags, gfsi_run_stat},
    {"fs", "tail", "PATH", 1, 1, "print the end of a file", bytes_flags, gfsi_run_tail},
    {"fs", "test", "PATH", 1, 1, "exit 0 if it is so, 1 if not", test_flags, gfsi_run_test},
    {"fs", "unmount", "PATH", 1, 1, "remove a mount", NULL, gfsi_run_unmount},
    {"fsadmin", "help", "[COMMAND]", 0, 1, "what there is, or how one command is used", NULL,
     gfsi_run_help},
    {"fsadmin", "journal", "checkpoint | quorum info|elect|add-learner|promote|remove", 1, 2,
     "the masters' Raft group", quorum_flags, gfsi_run_master_journal},
    {"fsadmin", "report", "[summary|capacity|ufs|metrics]", 0, 1, "state of the cluster", NULL,
     gfsi_run_report},
    {"fuse", "stat", "MOUNTPOINT", 1, 1, "what the client of a mount on this machine did", NULL,
     gfsi_run_fuse_stat},
    {"", "completion", "bash", 1, 1, "completion script for the shell", NULL, gfsi_run_completion},
    {"", "getConf", "[PROPERTY]", 0, 1, "value of a property, or all that are set", NULL,
     gfsi_run_get_conf},
    {"", "journal", "dump|verify DIR", 2, 2, "read a master's journal without the master",
     journal_flags, gfsi_run_journal},
    {"", "version", "", 0, 0, "the version", NULL, gfsi_run_version},
};
const size_t gfsi_n_verbs = sizeof(gfsi_verbs) / sizeof(gfsi_verbs[0]);

const struct gfsi_verb *gfsi_verb_find(const char *group, const char *name)
{
    for (size_t i = 0; i < gfsi_n_verbs; i++) {
        if (strcmp(gfsi_verbs[i].group, group) == 0 && strcmp(gfsi_verbs[i].name, name) == 0) {
            return &gfsi_verbs[i];
        }
    }
    return NULL;
}
