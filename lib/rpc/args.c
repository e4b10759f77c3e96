#include "rpc_priv.h"

#include <gfs/base/assert.h>

void gfsi_args_int(struct gfsi_args *args, const char *key, int value)
{
    GFS_ASSERT_LT(args->list.num_args, GFSI_ARGS_MAX);
    args->args[args->list.num_args++] = (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value = {.integer = value}};
}

void gfsi_args_str(struct gfsi_args *args, const char *key, const char *value)
{
    GFS_ASSERT_LT(args->list.num_args, GFSI_ARGS_MAX);
    args->args[args->list.num_args++] = (grpc_arg){.type = GRPC_ARG_STRING,
                                                   .key = (char *)(uintptr_t)key,
                                                   .value = {.string = (char *)(uintptr_t)value}};
}

void gfsi_args_init(struct gfsi_args *args, size_t max_message)
{
    args->list = (grpc_channel_args){.num_args = 0, .args = args->args};

    gfsi_args_int(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)max_message);
    gfsi_args_int(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    gfsi_args_int(args, GRPC_ARG_ENABLE_CENSUS, 0);

    /* A peer whose machine vanished is noticed after 10 + 5 s even when nothing is sent; one whose
     * process died is noticed by its kernel's reset. */
    gfsi_args_int(args, GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
    gfsi_args_int(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
    gfsi_args_int(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}
