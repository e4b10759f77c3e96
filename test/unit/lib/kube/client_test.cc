#include <gfs/kube/client.h>
#include <gfs/kube/event.h>
#include <gfs/kube/resources.h>

#include "fake/kube_api.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace
{
class Client : public ::testing::Test
{
  protected:
    void Make(const char *token = nullptr, const char *token_file = nullptr)
    {
        struct gfs_kube_config config = {};
        std::string url = api.Url();
        config.server = const_cast<char *>(url.c_str());
        config.token = const_cast<char *>(token);
        config.token_file = const_cast<char *>(token_file);
        struct gfs_kube_client_opts opts = {};
        opts.qps = 10000;
        opts.burst = 10000;
        ASSERT_EQ(GFS_OK, gfs_kube_client_new(&config, &opts, &client, nullptr));
    }

    void TearDown() override
    {
        gfs_kube_client_free(client);
    }

    fake::KubeApi api;
    struct gfs_kube_client *client = nullptr;
    struct gfs_err err = GFS_ERR_INIT;
};

TEST(KubePath, NamesTheResourceAndRefusesWhatCouldLeaveIt)
{
    char path[GFS_KUBE_PATH_MAX];
    EXPECT_EQ(GFS_OK, gfs_kube_path(&gfs_kube_pods, "ns", "p", nullptr, path, sizeof path));
    EXPECT_STREQ("/api/v1/namespaces/ns/pods/p", path);
    EXPECT_EQ(GFS_OK, gfs_kube_path(&gfs_kube_datasets, "ns", "d", "status", path, sizeof path));
    EXPECT_STREQ("/apis/data.fluid.io/v1alpha1/namespaces/ns/datasets/d/status", path);
    EXPECT_EQ(GFS_OK, gfs_kube_path(&gfs_kube_nodes, "ignored", "n", nullptr, path, sizeof path));
    EXPECT_STREQ("/api/v1/nodes/n", path);
    for (const char *bad : {"..", "a/b", "", "A", "a?b", "a%2fb", "."}) {
        EXPECT_EQ(GFS_EINVAL, gfs_kube_path(&gfs_kube_pods, "ns", bad, nullptr, path, sizeof path))
            << bad;
    }
    EXPECT_EQ(GFS_EINVAL, gfs_kube_path(&gfs_kube_pods, "../x", "p", nullptr, path, sizeof path));
}

TEST_F(Client, TheServersStatusBecomesAnErrorWithItsMessage)
{
    Make();
    struct {
        int http;
        const char *reason;
        int code;
    } cases[] = {{404, "NotFound", GFS_ENOENT},        {409, "AlreadyExists", GFS_EEXIST},
                 {409, "Conflict", GFS_EABORTED},      {410, "Expired", GFS_ECHANGED},
                 {422, "Invalid", GFS_EINVAL},         {401, "Unauthorized", GFS_EUNAUTH},
                 {403, "Forbidden", GFS_EPERM},        {429, "TooManyRequests", GFS_EBUSY},
                 {500, "InternalError", GFS_EUNAVAIL}, {503, "", GFS_EUNAVAIL}};
    for (auto &c : cases) {
        api.Handle([&](const fake::Request &) {
            return fake::Response{c.http,
                                  std::string("{\"kind\":\"Status\",\"message\":\"because\","
                                              "\"reason\":\"") +
                                      c.reason + "\"}",
                                  false};
        });
        json_t *out = nullptr;
        EXPECT_EQ(c.code, gfs_kube_get(client, &gfs_kube_pods, "ns", "p", &out, &err)) << c.http;
        EXPECT_NE(nullptr, strstr(err.text, "because"));
        EXPECT_EQ(nullptr, out);
    }
}

TEST_F(Client, AnAnswerThatIsNoJsonIsAProtocolError)
{
    Make();
    for (const char *body : {"", "{", "hello", "[1,", "{\"a\":1}}"}) {
        api.Handle([&](const fake::Request &) { return fake::Response{200, body, false}; });
        json_t *out = nullptr;
        EXPECT_EQ(GFS_EPROTO, gfs_kube_get(client, &gfs_kube_pods, "ns", "p", &out, &err)) << body;
        EXPECT_EQ(nullptr, out);
    }
}

TEST_F(Client, AServerThatIsNotThereIsUnavailable)
{
    struct gfs_kube_config config = {};
    config.server = const_cast<char *>("http://127.0.0.1:1");
    ASSERT_EQ(GFS_OK, gfs_kube_client_new(&config, nullptr, &client, nullptr));
    EXPECT_EQ(GFS_EUNAVAIL, gfs_kube_get(client, &gfs_kube_pods, "ns", "p", nullptr, &err));
    EXPECT_NE(nullptr, strstr(err.text, "/api/v1/namespaces/ns/pods/p"));
}

TEST_F(Client, TheTokenIsSentAndNeverPartOfAnError)
{
    Make("very-secret");
    api.Handle([](const fake::Request &) { return fake::Response{403, "{}", false}; });
    EXPECT_EQ(GFS_EPERM, gfs_kube_get(client, &gfs_kube_pods, "ns", "p", nullptr, &err));
    EXPECT_EQ("Bearer very-secret", api.Requests()[0].authorization);
    EXPECT_EQ(nullptr, strstr(err.text, "secret"));
}

TEST_F(Client, ATokenFileIsRead)
{
    char name[] = "/tmp/gfs-kube-token-XXXXXX";
    close(mkstemp(name));
    std::ofstream(name) << "from-file\n";
    Make(nullptr, name);
    api.Handle([](const fake::Request &) { return fake::Response{200, "{}", false}; });
    EXPECT_EQ(GFS_OK, gfs_kube_get(client, &gfs_kube_pods, "ns", "p", nullptr, &err));
    EXPECT_EQ("Bearer from-file", api.Requests()[0].authorization);
    unlink(name);
}

TEST_F(Client, ApplyNamesItsManagerAndMediaType)
{
    Make();
    api.Handle([](const fake::Request &r) { return fake::Response{200, r.body, false}; });
    json_t *object = json_pack("{s:s}", "kind", "Pod");
    json_t *out = nullptr;
    ASSERT_EQ(GFS_OK, gfs_kube_apply(client, &gfs_kube_pods, "ns", "p", "status", "me", true,
                                     object, &out, &err))
        << err.text;
    fake::Request r = api.Requests()[0];
    EXPECT_EQ("PATCH", r.method);
    EXPECT_EQ("/api/v1/namespaces/ns/pods/p/status", r.path);
    EXPECT_EQ("fieldManager=me&force=true", r.query);
    EXPECT_EQ("application/apply-patch+yaml", r.content_type);
    EXPECT_EQ("{\"kind\":\"Pod\"}", r.body);
    json_decref(object);
    json_decref(out);
}

TEST_F(Client, DeleteCarriesItsPreconditions)
{
    Make();
    api.Handle([](const fake::Request &) { return fake::Response{200, "{}", false}; });
    struct gfs_kube_delete_opts opts = {"u-1", 0, "Background"};
    ASSERT_EQ(GFS_OK, gfs_kube_delete(client, &gfs_kube_pods, "ns", "p", &opts, &err));
    std::string body = api.Requests()[0].body;
    EXPECT_NE(std::string::npos, body.find("\"uid\":\"u-1\""));
    EXPECT_NE(std::string::npos, body.find("\"gracePeriodSeconds\":0"));
    EXPECT_NE(std::string::npos, body.find("\"propagationPolicy\":\"Background\""));
}

TEST_F(Client, AListFollowsItsPages)
{
    Make();
    api.Handle([](const fake::Request &r) {
        bool second = r.query.find("continue=next%2Bpage") != std::string::npos;
        return fake::Response{
            200,
            second ? "{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[{\"metadata\":{\"name\":"
                     "\"b\"}}]}"
                   : "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"next+page\"},"
                     "\"items\":[{\"metadata\":{\"name\":\"a\"}}]}",
            false};
    });
    std::string names;
    char version[64] = "";
    struct gfs_kube_selector selector = {"ns", "app=x y", nullptr};
    ASSERT_EQ(GFS_OK, gfs_kube_list(
                          client, &gfs_kube_pods, &selector,
                          [](void *arg, json_t *o) {
                              *static_cast<std::string *>(arg) += gfs_kube_name(o);
                              return 0;
                          },
                          &names, version, sizeof version, &err))
        << err.text;
    EXPECT_EQ("ab", names);
    EXPECT_STREQ("8", version);
    EXPECT_NE(std::string::npos, api.Requests()[0].query.find("labelSelector=app%3Dx%20y"));
}

TEST_F(Client, AListWithoutItemsIsAProtocolError)
{
    Make();
    api.Handle([](const fake::Request &) {
        return fake::Response{200, "{\"kind\":\"X\"}", false};
    });
    EXPECT_EQ(GFS_EPROTO, gfs_kube_list(
                              client, &gfs_kube_pods, nullptr, [](void *, json_t *) { return 0; },
                              nullptr, nullptr, 0, &err));
}

TEST_F(Client, TheSameEventRaisesItsCount)
{
    Make();
    api.Handle([](const fake::Request &) { return fake::Response{201, "{}", false}; });
    struct gfs_kube_recorder *recorder = gfs_kube_recorder_new(client, "GooseFSRuntime");
    json_t *object = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "kind", "Dataset", "apiVersion",
                               "data.fluid.io/v1alpha1", "metadata", "name", "hbase", "namespace",
                               "default", "uid", "u-1");
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(GFS_OK, gfs_kube_recorder_event(recorder, object, "Warning", "RuntimeNotReady",
                                                  "no master", &err));
    }
    ASSERT_EQ(GFS_OK,
              gfs_kube_recorder_event(recorder, object, "Normal", "Succeed", "bound", &err));
    auto requests = api.Requests();
    ASSERT_EQ(4u, requests.size());
    EXPECT_EQ("POST", requests[0].method);
    EXPECT_EQ("PATCH", requests[1].method);
    EXPECT_NE(std::string::npos, requests[2].body.find("\"count\":3"));
    EXPECT_EQ("POST", requests[3].method);
    EXPECT_NE(std::string::npos, requests[0].body.find("\"reason\":\"RuntimeNotReady\""));
    json_decref(object);
    gfs_kube_recorder_free(recorder);
}

TEST_F(Client, CancelEndsWhatWaits)
{
    Make();
    std::atomic<int> rc{1};
    api.Handle([](const fake::Request &) { return fake::Response{200, "", true}; });
    std::thread watcher([&] {
        rc = gfs_kube_watch(
            client, &gfs_kube_pods, nullptr, "1", [](void *, const char *, json_t *) { return 0; },
            nullptr, nullptr);
    });
    ASSERT_TRUE(api.WaitForRequests("watch=true", 1));
    gfs_kube_client_cancel(client);
    watcher.join();
    EXPECT_EQ(GFS_ECANCELLED, rc);
    EXPECT_EQ(GFS_ECANCELLED, gfs_kube_get(client, &gfs_kube_pods, "ns", "p", nullptr, &err));
}
} // namespace
