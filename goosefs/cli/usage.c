/* Help and completion, from the table of verbs. */
#include "cli_priv.h"

#include <string.h>

static void print_verb_line(FILE *out, const struct gfsi_verb *verb)
{
    char left[96];
    (void)snprintf(left, sizeof(left), "%s %s", verb->name, verb->operands);
    (void)fprintf(out, "  %-42s %s\n", left, verb->help);
}

static void print_group(FILE *out, const char *group)
{
    for (size_t i = 0; i < gfsi_n_verbs; i++) {
        if (strcmp(gfsi_verbs[i].group, group) == 0) {
            print_verb_line(out, &gfsi_verbs[i]);
        }
    }
}

void gfsi_usage_all(FILE *out)
{
    (void)fprintf(out, "Usage: goosefs [-DPROPERTY=VALUE]... fs COMMAND [ARGUMENT]...\n"
                       "       goosefs [-DPROPERTY=VALUE]... fsadmin COMMAND [ARGUMENT]...\n"
                       "       goosefs [-DPROPERTY=VALUE]... fuse COMMAND [ARGUMENT]...\n"
                       "       goosefs COMMAND [ARGUMENT]...\n\nCommands:\n");
    print_group(out, "");
    (void)fprintf(out, "\nfs: files and masters\n");
    print_group(out, "fs");
    (void)fprintf(out, "\nfsadmin: the cluster\n");
    print_group(out, "fsadmin");
    (void)fprintf(out, "\nfuse: mounts on this machine\n");
    print_group(out, "fuse");
    (void)fprintf(
        out, "\nProperties are read from $GOOSEFS_CONFIG_FILE, "
             "$GOOSEFS_CONF_DIR/goosefs-site.properties,\n$GOOSEFS_HOME/conf, ~/.goosefs or "
             "/etc/goosefs, the first there is. The environment\n(GOOSEFS_MASTER_RPC_ADDRESSES "
             "for goosefs.master.rpc.addresses) and -D override them.\n\nExit codes: 0 done, "
             "1 failed, 2 wrong usage.\n");
}

void gfsi_usage_group(FILE *out, const char *group)
{
    (void)fprintf(out, "Usage: goosefs %s [-DPROPERTY=VALUE]... COMMAND [ARGUMENT]...\n\n", group);
    print_group(out, group);
}

void gfsi_usage_verb(FILE *out, const struct gfsi_verb *verb)
{
    (void)fprintf(out, "Usage: goosefs %s%s%s%s %s\n  %s\n", verb->group,
                  verb->group[0] != '\0' ? " " : "", verb->name,
                  verb->flags != NULL ? " [OPTION]..." : "", verb->operands, verb->help);
    for (const struct gfsi_flag *f = verb->flags; f != NULL && f->name != NULL; f++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "%s%s%s", f->name, f->value != NULL ? " " : "",
                       f->value != NULL ? f->value : "");
        (void)fprintf(out, "    %-20s %s\n", left, f->help);
    }
}

int gfsi_run_help(struct gfsi_cli *cli)
{
    if (cli->n_operands == 0) {
        gfsi_usage_group(cli->out, cli->verb->group);
        return 0;
    }
    const struct gfsi_verb *verb = gfsi_verb_find(cli->verb->group, cli->operands[0]);
    if (verb == NULL) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "there is no command '%.64s'",
                           cli->operands[0]);
    }
    gfsi_usage_verb(cli->out, verb);
    return 0;
}

/* One word list per group: 'fs ls' -> its flags are completed behind it. */
static void completion_words(FILE *out, const char *group)
{
    for (size_t i = 0; i < gfsi_n_verbs; i++) {
        if (strcmp(gfsi_verbs[i].group, group) == 0) {
            (void)fprintf(out, " %s", gfsi_verbs[i].name);
        }
    }
}

/* Operands that are words. */
static const char *operand_words(const struct gfsi_verb *verb)
{
    static const struct {
        const char *group, *verb, *words;
    } table[] = {
        {"fsadmin", "report", "summary capacity ufs metrics"},
        {"fsadmin", "journal", "checkpoint quorum info elect add-learner promote remove"},
        {"", "journal", "dump verify"},
        {"", "completion", "bash"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].group, verb->group) == 0 && strcmp(table[i].verb, verb->name) == 0) {
            return table[i].words;
        }
    }
    return "";
}

static void completion_line(FILE *out, const struct gfsi_verb *verb)
{
    const char *words = operand_words(verb);
    if (verb->flags == NULL && words[0] == '\0') {
        return;
    }
    if (verb->group[0] == '\0') { /* what follows it is in the verb's place */
        (void)fprintf(out, "    %s/*) words=(%s", verb->name, words);
    } else {
        (void)fprintf(out, "    %s/%s) words=(%s", verb->group, verb->name, words);
    }
    const char *space = words[0] == '\0' ? "" : " ";
    for (const struct gfsi_flag *f = verb->flags; f != NULL && f->name != NULL; f++) {
        (void)fprintf(out, "%s%s", space, f->name);
        space = " ";
    }
    (void)fprintf(out, ") ;;\n");
}

int gfsi_run_completion(struct gfsi_cli *cli)
{
    if (strcmp(cli->operands[0], "bash") != 0) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "there is completion for bash only");
    }
    FILE *out = cli->out;
    (void)fprintf(out, "# Load with: source <(goosefs completion bash)\n"
                       "_goosefs() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} words=() word group= verb=\n"
                       "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                       "        case $word in\n"
                       "        -*) ;;\n"
                       "        *) if [ -z \"$group\" ]; then group=$word; elif [ -z \"$verb\" ]; "
                       "then verb=$word; fi ;;\n"
                       "        esac\n"
                       "    done\n"
                       "    case $group/$verb in\n");
    (void)fprintf(out, "    /) words=(fs fsadmin fuse");
    completion_words(out, "");
    (void)fprintf(out, ") ;;\n    fs/) words=(");
    completion_words(out, "fs");
    (void)fprintf(out, ") ;;\n    fsadmin/) words=(");
    completion_words(out, "fsadmin");
    (void)fprintf(out, ") ;;\n    fuse/) words=(");
    completion_words(out, "fuse");
    (void)fprintf(out, ") ;;\n");
    for (size_t i = 0; i < gfsi_n_verbs; i++) {
        completion_line(out, &gfsi_verbs[i]);
    }
    (void)fprintf(out, "    esac\n"
                       "    mapfile -t COMPREPLY < <(compgen -W \"${words[*]}\" -- \"$cur\")\n"
                       "}\n"
                       "complete -o default -F _goosefs goosefs\n");
    return 0;
}
