#include <gtest/gtest.h>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <gfs/base/clock.h>
#include <gfs/csi/labeler.h>

#include "fake/kube_api.h"
#include "fakes.h"

namespace
{

class Labeler : public ::testing::Test
{
  protected:
    TempDir dir;
    std::unique_ptr<fake::KubeApi> api = std::make_unique<fake::KubeApi>();
    struct gfs_csi_node_program *program = nullptr;
    struct gfs_err err = GFS_ERR_INIT;

    void SetUp() override
    {
        std::string config = dir.path() + "/kubelet.conf";
        std::ofstream(config) << "apiVersion: v1\nkind: Config\ncurrent-context: node\n"
                              << "clusters: [{name: c, cluster: {server: \"" << api->Url()
                              << "\"}}]\nusers: [{name: u, user: {token: secret-token}}]\n"
                              << "contexts: [{name: node, context: {cluster: c, user: u}}]\n";
        ASSERT_EQ(
            gfs_csi_node_program_new(CSI_LABELER_PATH, config.c_str(), "node-1", &program, &err), 0)
            << err.text;
    }
    void TearDown() override
    {
        (void)gfs_csi_node_program_free(program);
    }
    void Answer(int status, const std::string &body)
    {
        api->Handle([=](const fake::Request &) {
            fake::Response r;
            r.status = status;
            r.body = body;
            return r;
        });
    }
    int Set(int64_t within = 60 * GFS_NS_PER_S)
    {
        const struct gfs_csi_node_labeler *l = gfs_csi_node_program_labeler(program);
        return l->set(l->self, "fluid.io/f-default-hbase", gfs_clock_mono() + within, &err);
    }
};

} // namespace

TEST_F(Labeler, SetsAndRemovesTheLabelOfThisNodeOnly)
{
    const struct gfs_csi_node_labeler *l = gfs_csi_node_program_labeler(program);
    Answer(200, "{\"metadata\":{\"name\":\"node-1\"}}");
    ASSERT_EQ(Set(), 0) << err.text;
    ASSERT_EQ(
        l->remove(l->self, "fluid.io/f-default-hbase", gfs_clock_mono() + 60 * GFS_NS_PER_S, &err),
        0)
        << err.text;

    auto requests = api->Requests();
    ASSERT_EQ(requests.size(), 2u);
    for (const auto &r : requests) {
        EXPECT_EQ(r.method, "PATCH");
        EXPECT_EQ(r.path, "/api/v1/nodes/node-1");
        EXPECT_EQ(r.content_type, "application/merge-patch+json");
        EXPECT_EQ(r.authorization, "Bearer secret-token");
    }
    EXPECT_EQ(requests[0].body, R"({"metadata":{"labels":{"fluid.io/f-default-hbase":"true"}}})");
    EXPECT_EQ(requests[1].body, R"({"metadata":{"labels":{"fluid.io/f-default-hbase":null}}})");
}

TEST_F(Labeler, ARefusalIsFinalAndSaysWhyWithoutTheToken)
{
    Answer(403, R"({"kind":"Status","message":"node-1 may not touch node-2","code":403})");
    EXPECT_EQ(Set(), GFS_EPERM);
    EXPECT_NE(std::string(err.text).find("node-1 may not touch node-2"), std::string::npos)
        << err.text;
    EXPECT_EQ(std::string(err.text).find("secret-token"), std::string::npos);
}

TEST_F(Labeler, AnApiServerThatIsAwayIsUnavailable)
{
    Answer(503, "{}");
    EXPECT_EQ(Set(), GFS_EUNAVAIL) << err.text;
    api.reset();
    EXPECT_EQ(Set(), GFS_EUNAVAIL) << err.text;
}

TEST_F(Labeler, AnApiServerThatHangsIsUnavailableAtTheDeadline)
{
    auto hang = std::make_shared<std::atomic<bool>>(true);
    api->Handle([hang](const fake::Request &) {
        while (*hang) {
            (void)poll(nullptr, 0, 5);
        }
        return fake::Response{};
    });
    EXPECT_EQ(Set(300 * GFS_NS_PER_MS), GFS_EUNAVAIL) << err.text;
    *hang = false;
    EXPECT_EQ(Set(0), GFS_ETIMEOUT) << err.text;
}

TEST_F(Labeler, ACheckWritesOnlyWhatIsMissing)
{
    const struct gfs_csi_node_labeler *l = gfs_csi_node_program_labeler(program);
    const char *keys[] = {"fluid.io/f-a-b", "fluid.io/f-c-d", "fluid.io/f-e-f"};
    auto check = [&](size_t n) {
        return l->check(l->self, keys, n, gfs_clock_mono() + 60 * GFS_NS_PER_S, &err);
    };
    Answer(200, R"({"metadata":{"name":"node-1","labels":{"fluid.io/f-a-b":"true",)"
                R"("fluid.io/f-c-d":"false","os":"linux"}}})");
    ASSERT_EQ(check(1), 0) << err.text;
    auto requests = api->Requests();
    ASSERT_EQ(requests.size(), 1u) << "nothing is missing";
    EXPECT_EQ(requests[0].method, "GET");
    EXPECT_EQ(requests[0].path, "/api/v1/nodes/node-1");

    ASSERT_EQ(check(3), 0) << err.text;
    requests = api->Requests();
    ASSERT_EQ(requests.size(), 3u);
    EXPECT_EQ(requests[2].method, "PATCH");
    EXPECT_EQ(requests[2].body,
              R"({"metadata":{"labels":{"fluid.io/f-c-d":"true","fluid.io/f-e-f":"true"}}})");
    EXPECT_EQ(check(0), GFS_EINVAL);
    Answer(503, "{}");
    EXPECT_EQ(check(3), GFS_EUNAVAIL) << err.text;
}

TEST_F(Labeler, AProgramOrKubeconfigThatIsNotThereIsSaidAtStart)
{
    struct gfs_csi_node_program *p = nullptr;
    std::string config = dir.path() + "/kubelet.conf";
    EXPECT_EQ(gfs_csi_node_program_new("/no/such", config.c_str(), "n", &p, nullptr), GFS_EINVAL);
    EXPECT_EQ(gfs_csi_node_program_new(CSI_LABELER_PATH, "/no/such", "n", &p, nullptr), GFS_EINVAL);
}
