#include <gfs/base/clock.h>
#include <gfs/kube/lease.h>

#include "fake/kube_api.h"

#include <condition_variable>
#include <cstring>
#include <gtest/gtest.h>
#include <mutex>

namespace
{
json_t *Lease(const char *holder, const char *renew, int seconds = 15)
{
    return json_pack("{s:{s:s, s:s, s:i}}", "spec", "holderIdentity", holder, "renewTime", renew,
                     "leaseDurationSeconds", seconds);
}

enum gfs_kube_lease_action Decide(struct gfs_kube_lease_view *view, json_t *lease, int64_t seconds)
{
    enum gfs_kube_lease_action action =
        gfs_kube_lease_decide(view, lease, "me", seconds * GFS_NS_PER_S);
    json_decref(lease);
    return action;
}

TEST(LeaseDecide, AFreeLeaseIsTaken)
{
    struct gfs_kube_lease_view view = {};
    EXPECT_EQ(GFS_KUBE_LEASE_TAKE, Decide(&view, nullptr, 0));
    EXPECT_EQ(GFS_KUBE_LEASE_TAKE, Decide(&view, Lease("", "t1"), 0));
}

TEST(LeaseDecide, OursIsRenewed)
{
    struct gfs_kube_lease_view view = {};
    EXPECT_EQ(GFS_KUBE_LEASE_RENEW, Decide(&view, Lease("me", "t1"), 0));
}

TEST(LeaseDecide, AnothersRunsOutByOurClockOnlyAfterItStoppedChanging)
{
    struct gfs_kube_lease_view view = {};
    EXPECT_EQ(GFS_KUBE_LEASE_WAIT, Decide(&view, Lease("other", "long ago"), 100));
    EXPECT_EQ(GFS_KUBE_LEASE_WAIT, Decide(&view, Lease("other", "long ago"), 114));
    EXPECT_EQ(GFS_KUBE_LEASE_WAIT, Decide(&view, Lease("other", "renewed"), 116));
    EXPECT_EQ(GFS_KUBE_LEASE_WAIT, Decide(&view, Lease("other", "renewed"), 131));
    EXPECT_EQ(GFS_KUBE_LEASE_TAKE, Decide(&view, Lease("other", "renewed"), 132));
}

TEST(LeaseDecide, AnAbsurdDurationIsReplacedByTheDefault)
{
    struct gfs_kube_lease_view view = {};
    EXPECT_EQ(GFS_KUBE_LEASE_WAIT, Decide(&view, Lease("other", "t", -5), 0));
    EXPECT_EQ(GFS_KUBE_LEASE_TAKE, Decide(&view, Lease("other", "t", 999999999), 16));
}

// The lease as the server keeps it: refuses writes that are not about the current version.
class LeaseServer
{
  public:
    LeaseServer()
    {
        api.Handle([this](const fake::Request &r) { return Answer(r); });
    }

    fake::Response Answer(const fake::Request &r)
    {
        std::lock_guard<std::mutex> lock(mutex);
        if (down) {
            return {503, "{}", false};
        }
        if (r.method == "GET") {
            return object.empty() ? fake::Response{404, "{\"reason\":\"NotFound\"}", false}
                                  : fake::Response{200, object, false};
        }
        json_t *o = json_loads(r.body.c_str(), 0, nullptr);
        bool current =
            r.method == "POST" ? object.empty() : std::to_string(version) == gfs_kube_version(o);
        if (!current) {
            json_decref(o);
            return {409, "{\"reason\":\"Conflict\"}", false};
        }
        json_object_set_new(json_object_get(o, "metadata"), "resourceVersion",
                            json_string(std::to_string(++version).c_str()));
        char *text = json_dumps(o, 0);
        object = text;
        free(text);
        json_decref(o);
        return {200, object, false};
    }

    std::string Holder()
    {
        std::lock_guard<std::mutex> lock(mutex);
        json_t *o = json_loads(object.c_str(), 0, nullptr);
        const char *holder = json_string_value(gfs_kube_at(o, "spec", "holderIdentity", NULL));
        std::string text = holder != nullptr ? holder : "(none)";
        json_decref(o);
        return text;
    }

    fake::KubeApi api;
    std::mutex mutex;
    std::string object;
    int version = 0;
    bool down = false;
};

class Candidate
{
  public:
    Candidate(LeaseServer *server, const char *identity)
    {
        struct gfs_kube_config config = {};
        std::string url = server->api.Url();
        config.server = const_cast<char *>(url.c_str());
        struct gfs_kube_client_opts opts = {};
        opts.qps = 10000;
        opts.burst = 10000;
        EXPECT_EQ(GFS_OK, gfs_kube_client_new(&config, &opts, &client, nullptr));
        struct gfs_kube_lease_opts lease = {};
        lease.ns = "fluid-system";
        lease.name = "goosefs.data.fluid.io";
        lease.identity = identity;
        lease.lease_ns = 3 * GFS_NS_PER_S;
        lease.renew_ns = 500 * GFS_NS_PER_MS;
        lease.retry_ns = 20 * GFS_NS_PER_MS;
        auto leading_fn = [](void *arg, bool now) {
            auto *self = static_cast<Candidate *>(arg);
            std::lock_guard<std::mutex> lock(self->mutex);
            self->leading = now;
            self->cond.notify_all();
        };
        EXPECT_EQ(GFS_OK,
                  gfs_kube_elector_start(client, &lease, leading_fn, this, &elector, nullptr));
    }

    ~Candidate()
    {
        Stop();
        gfs_kube_client_free(client);
    }

    void Stop()
    {
        elector = gfs_kube_elector_stop(elector);
    }

    bool WaitLeading(bool expected)
    {
        std::unique_lock<std::mutex> lock(mutex);
        return cond.wait_for(lock, std::chrono::seconds(60), [&] { return leading == expected; });
    }

    struct gfs_kube_client *client = nullptr;
    struct gfs_kube_elector *elector = nullptr;
    std::mutex mutex;
    std::condition_variable cond;
    bool leading = false;
};

TEST(Elector, OneOfTwoLeadsAndGivesTheLeaseBackWhenItStops)
{
    LeaseServer server;
    Candidate a(&server, "a");
    ASSERT_TRUE(a.WaitLeading(true));
    Candidate b(&server, "b");
    EXPECT_EQ("a", server.Holder());
    EXPECT_FALSE(b.leading);
    a.Stop();
    EXPECT_FALSE(a.leading);
    EXPECT_TRUE(b.WaitLeading(true));
    EXPECT_EQ("b", server.Holder());
}

TEST(Elector, ALeaderThatCannotRenewStopsLeading)
{
    LeaseServer server;
    Candidate a(&server, "a");
    ASSERT_TRUE(a.WaitLeading(true));
    {
        std::lock_guard<std::mutex> lock(server.mutex);
        server.down = true;
    }
    EXPECT_TRUE(a.WaitLeading(false));
    {
        std::lock_guard<std::mutex> lock(server.mutex);
        server.down = false;
    }
    EXPECT_TRUE(a.WaitLeading(true));
}
} // namespace
