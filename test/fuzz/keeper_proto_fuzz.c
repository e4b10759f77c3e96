/* The keeper's messages: anything is answered, and what is accepted stays within its limits and
 * comes out the same after encoding it again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/mounter/keeper_proto.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t max)
{
    GFS_ASSERT_LE(strlen(text), max);
}

static void check_limits(const struct gfs_keeper_msg *msg)
{
    size_t i;

    check_text(msg->spec.id, GFS_KEEPER_ID_MAX);
    check_text(msg->spec.mountpoint, GFS_KEEPER_PATH_MAX);
    check_text(msg->spec.launch, GFS_KEEPER_PATH_MAX);
    check_text(msg->text, GFS_ERR_TEXT_MAX - 1);
    (void)gfs_keeper_env_valid(msg->spec.env);
    GFS_ASSERT_LE(msg->n_argv, GFS_KEEPER_ARGS_MAX);
    GFS_ASSERT_LE(msg->n_env, GFS_KEEPER_ARGS_MAX);
    GFS_ASSERT(msg->argv[msg->n_argv] == NULL && msg->env[msg->n_env] == NULL);
    for (i = 0; i < msg->n_argv; i++) {
        check_text(msg->argv[i], GFS_KEEPER_PATH_MAX);
    }
    GFS_ASSERT_LE(msg->n_infos, GFS_KEEPER_INFOS_MAX);
    for (i = 0; i < msg->n_infos; i++) {
        check_text(msg->infos[i].id, GFS_KEEPER_ID_MAX);
        check_text(msg->infos[i].mountpoint, GFS_KEEPER_PATH_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gfs_keeper_msg msg;
    static struct gfs_keeper_msg again;
    struct gfs_buf out;
    size_t i;

    if (gfs_keeper_msg_decode(data, size, &msg, NULL) != 0) {
        return 0;
    }
    check_limits(&msg);
    (void)gfs_keeper_spec_check(&msg.spec, NULL);

    gfs_buf_init(&out, GFS_KEEPER_MSG_MAX);
    gfs_keeper_msg_begin(&out, msg.type, msg.seq);
    gfs_keeper_msg_put_spec(&out, &msg.spec);
    gfs_keeper_msg_put_status(&out, msg.status, msg.text);
    for (i = 0; i < msg.n_infos; i++) {
        (void)gfs_keeper_msg_put_info(&out, &msg.infos[i]);
    }
    if (gfs_keeper_msg_end(&out) == 0) {
        GFS_ASSERT_EQ(gfs_keeper_msg_decode(out.data, out.len, &again, NULL), 0);
        GFS_ASSERT_EQ(again.n_argv, msg.n_argv);
        GFS_ASSERT_EQ(again.n_env, msg.n_env);
        GFS_ASSERT_EQ(again.status, msg.status);
        GFS_ASSERT(strcmp(again.spec.id, msg.spec.id) == 0);
        GFS_ASSERT(strcmp(again.spec.launch, msg.spec.launch) == 0);
    }
    gfs_buf_fini(&out);
    return 0;
}
