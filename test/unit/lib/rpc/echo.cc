#include "unit/lib/rpc/echo.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

EchoServer::EchoServer(gfs_rpc_server_opts opts, const std::string &address,
                       std::function<void(gfs_rpc_server *)> before_start)
{
    gfs_err err = GFS_ERR_INIT;
    opts.name = "echo";
    if (gfs_rpc_server_new(&opts, &server_, &err) < 0) {
        throw std::runtime_error(err.text);
    }
    uint16_t port = 0;
    if (gfs_rpc_server_listen(server_, address.c_str(), nullptr, 0600, &port, &err) < 0) {
        gfs_rpc_server_free(server_);
        throw std::runtime_error(err.text);
    }
    target_ =
        port != 0 ? address.substr(0, address.rfind(':') + 1) + std::to_string(port) : address;
    const gfs_rpc_method methods[] = {
        {"Say", Say}, {"Fail", Fail}, {"Hold", Hold}, {nullptr, nullptr}};
    if (gfs_rpc_server_add_service(server_, &goosefs__test__echo__descriptor, methods, this, &err) <
        0) {
        throw std::runtime_error(err.text);
    }
    if (before_start) {
        before_start(server_);
    }
    if (gfs_rpc_server_start(server_, &err) < 0) {
        throw std::runtime_error(err.text);
    }
}

EchoServer::~EchoServer()
{
    Free();
}

void EchoServer::Free()
{
    server_ = gfs_rpc_server_free(server_);
}

void EchoServer::Say(gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    auto *self = static_cast<EchoServer *>(user);
    const auto *r = reinterpret_cast<const Goosefs__Test__SayRequest *>(request);
    {
        std::lock_guard<std::mutex> guard(self->mutex_);
        self->last_peer_ = gfs_rpc_call_peer(call);
        self->last_deadline_ = gfs_rpc_call_deadline(call);
    }
    std::string payload(r->response_bytes, 'x');
    Goosefs__Test__SayResponse response = GOOSEFS__TEST__SAY_RESPONSE__INIT;
    response.payload = r->payload;
    if (r->response_bytes > 0) {
        response.payload.data = reinterpret_cast<uint8_t *>(payload.data());
        response.payload.len = payload.size();
        self->said_large.Add();
    }
    gfs_rpc_reply(call, &response.base);
}

void EchoServer::Fail(gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    (void)user;
    const auto *r = reinterpret_cast<const Goosefs__Test__FailRequest *>(request);
    if (r->leader[0] != '\0') {
        EXPECT_EQ(gfs_rpc_call_set_trailer(call, GFS_RPC_KEY_LEADER, r->leader), 0);
    }
    if (r->code < 0) {
        gfs_rpc_fail(call, r->code, r->text);
    } else {
        gfs_rpc_fail_status(call, r->grpc_status, r->text);
    }
}

bool EchoServer::Take(gfs_rpc_call *call)
{
    std::lock_guard<std::mutex> guard(mutex_);
    auto it = std::find(calls_.begin(), calls_.end(), call);
    if (it == calls_.end()) {
        return false;
    }
    calls_.erase(it);
    return true;
}

void EchoServer::Hold(gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    (void)request;
    auto *self = static_cast<EchoServer *>(user);
    {
        std::lock_guard<std::mutex> guard(self->mutex_);
        self->calls_.push_back(call);
    }
    gfs_rpc_call_on_cancel(
        call,
        [](gfs_rpc_call *c, void *arg) {
            auto *server = static_cast<EchoServer *>(arg);
            EXPECT_TRUE(gfs_rpc_call_cancelled(c));
            if (server->reply_on_cancel && server->Take(c)) {
                gfs_rpc_fail(c, GFS_ECANCELLED, nullptr);
            }
            server->cancelled.Add();
        },
        [](void *arg) { static_cast<EchoServer *>(arg)->released.Add(); }, self);
    self->held.Add();
}

void EchoServer::ReleaseHeld()
{
    std::vector<gfs_rpc_call *> calls;
    {
        std::lock_guard<std::mutex> guard(mutex_);
        calls.swap(calls_);
    }
    for (gfs_rpc_call *call : calls) {
        Goosefs__Test__SayResponse response = GOOSEFS__TEST__SAY_RESPONSE__INIT;
        gfs_rpc_reply(call, &response.base);
    }
}

size_t EchoServer::n_held()
{
    std::lock_guard<std::mutex> guard(mutex_);
    return calls_.size();
}

std::string EchoServer::last_peer()
{
    std::lock_guard<std::mutex> guard(mutex_);
    return last_peer_;
}

int64_t EchoServer::last_deadline()
{
    std::lock_guard<std::mutex> guard(mutex_);
    return last_deadline_;
}

Channel::Channel(const std::string &target, gfs_rpc_channel_opts opts)
{
    if (gfs_rpc_channel_new(target.c_str(), &opts, &channel_, &err) < 0) {
        throw std::runtime_error(err.text);
    }
}

int Channel::Say(const std::string &payload, std::string *out, int64_t deadline, const char *method,
                 uint32_t response_bytes)
{
    Goosefs__Test__SayRequest request = GOOSEFS__TEST__SAY_REQUEST__INIT;
    request.payload.data = reinterpret_cast<uint8_t *>(const_cast<char *>(payload.data()));
    request.payload.len = payload.size();
    request.response_bytes = response_bytes;
    ProtobufCMessage *message = nullptr;
    err = GFS_ERR_INIT;
    const int rc = gfs_rpc_call_sync_result(channel_, &goosefs__test__echo__descriptor, method,
                                            &request.base, &message, deadline, &result, &err);
    EXPECT_EQ(rc, result.code);
    if (rc == 0) {
        auto *response = reinterpret_cast<Goosefs__Test__SayResponse *>(message);
        if (out != nullptr) {
            out->assign(reinterpret_cast<char *>(response->payload.data), response->payload.len);
        }
        protobuf_c_message_free_unpacked(message, nullptr);
    }
    return rc;
}

int Channel::Fail(int code, int grpc_status, const char *text, const char *leader)
{
    Goosefs__Test__FailRequest request = GOOSEFS__TEST__FAIL_REQUEST__INIT;
    request.code = code;
    request.grpc_status = grpc_status;
    request.text = const_cast<char *>(text);
    request.leader = const_cast<char *>(leader);
    ProtobufCMessage *message = nullptr;
    err = GFS_ERR_INIT;
    const int rc = gfs_rpc_call_sync_result(channel_, &goosefs__test__echo__descriptor, "Fail",
                                            &request.base, &message, In(kLong), &result, &err);
    EXPECT_EQ(message, nullptr);
    return rc;
}

RawResult RawCall(const std::string &target, const std::string &path, const std::string &bytes)
{
    gfs_rpc_init();
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target.c_str(), credentials, nullptr);
    grpc_completion_queue *cq = grpc_completion_queue_create_for_pluck(nullptr);
    grpc_slice method = grpc_slice_from_copied_buffer(path.data(), path.size());
    grpc_call *call =
        grpc_channel_create_call(channel, nullptr, GRPC_PROPAGATE_DEFAULTS, cq, method, nullptr,
                                 gpr_inf_future(GPR_CLOCK_MONOTONIC), nullptr);

    grpc_slice slice = grpc_slice_from_copied_buffer(bytes.data(), bytes.size());
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_byte_buffer *response = nullptr;
    grpc_metadata_array initial, trailing;
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    grpc_status_code status = GRPC_STATUS_OK;
    grpc_slice details = grpc_empty_slice();
    grpc_op ops[6] = {};
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &response;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[5].data.recv_status_on_client.status = &status;
    ops[5].data.recv_status_on_client.status_details = &details;
    EXPECT_EQ(grpc_call_start_batch(call, ops, 6, call, nullptr), GRPC_CALL_OK);
    grpc_completion_queue_pluck(cq, call, gpr_inf_future(GPR_CLOCK_MONOTONIC), nullptr);

    RawResult result = {status,
                        std::string(reinterpret_cast<const char *>(GRPC_SLICE_START_PTR(details)),
                                    GRPC_SLICE_LENGTH(details))};
    grpc_slice_unref(details);
    grpc_slice_unref(slice);
    grpc_slice_unref(method);
    grpc_byte_buffer_destroy(request);
    grpc_byte_buffer_destroy(response);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_call_unref(call);
    grpc_completion_queue_shutdown(cq);
    grpc_completion_queue_pluck(cq, nullptr, gpr_inf_future(GPR_CLOCK_MONOTONIC), nullptr);
    grpc_completion_queue_destroy(cq);
    grpc_channel_destroy(channel);
    gfs_rpc_shutdown();
    return result;
}

TempDir::TempDir()
{
    char name[] = "/tmp/gfs-rpc-test-XXXXXX";
    path_ = mkdtemp(name);
}

TempDir::~TempDir()
{
    std::filesystem::remove_all(path_);
}
