#include <gfs/base/clock.h>
#include <gfs/kube/informer.h>
#include <gfs/kube/resources.h>

#include "fake/kube_api.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <gtest/gtest.h>
#include <malloc.h>
#include <mutex>
#include <string>
#include <thread>

namespace
{
std::string Pod(const std::string &name, int version)
{
    return "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"" + name +
           "\",\"resourceVersion\":\"" + std::to_string(version) + "\"}}";
}

std::string Event(const std::string &type, const std::string &object)
{
    return "{\"type\":\"" + type + "\",\"object\":" + object + "}\n";
}

std::string List(const std::string &items, int version)
{
    return "{\"metadata\":{\"resourceVersion\":\"" + std::to_string(version) + "\"},\"items\":[" +
           items + "]}";
}

class Informer : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        struct gfs_kube_config config = {};
        std::string url = api.Url();
        config.server = const_cast<char *>(url.c_str());
        struct gfs_kube_client_opts opts = {};
        opts.qps = 10000;
        opts.burst = 10000;
        ASSERT_EQ(GFS_OK, gfs_kube_client_new(&config, &opts, &client, nullptr));
        api.Handle([this](const fake::Request &r) {
            if (r.query.find("watch=true") != std::string::npos) {
                return fake::Response{200, "", true};
            }
            std::lock_guard<std::mutex> lock(mutex);
            return fake::Response{200, list, false};
        });
    }

    void TearDown() override
    {
        gfs_kube_client_cancel(client);
        gfs_kube_informer_free(informer);
        gfs_kube_client_free(client);
    }

    // `n` pods of 4 KiB in pages, as a server with a limit gives them.
    void ServePods(size_t n)
    {
        api.Handle([n](const fake::Request &r) {
            if (r.query.find("watch=true") != std::string::npos) {
                return fake::Response{200, "", true};
            }
            size_t at = r.query.find("continue=");
            size_t from = at != std::string::npos ? std::stoul(r.query.substr(at + 9)) : 0;
            at = r.query.find("limit=");
            size_t limit = at != std::string::npos ? std::stoul(r.query.substr(at + 6)) : n;
            size_t end = std::min(n, from + limit);
            std::string text = "{\"metadata\":{\"resourceVersion\":\"1\",\"continue\":\"" +
                               (end < n ? std::to_string(end) : "") + "\"},\"items\":[";
            for (size_t i = from; i < end; i++) {
                text +=
                    (i > from ? "," : "") +
                    ("{\"metadata\":{\"namespace\":\"ns\",\"name\":\"pod-" + std::to_string(i)) +
                    "\",\"resourceVersion\":\"1\"},\"spec\":\"" + std::string(4096, 'x') + "\"}";
            }
            return fake::Response{200, text + "]}", false};
        });
    }

    void Create(gfs_kube_trim_fn trim)
    {
        auto ignore = [](void *, json_t *, json_t *) {};
        ASSERT_EQ(GFS_OK, gfs_kube_informer_new(client, &gfs_kube_pods, nullptr, ignore, nullptr,
                                                &informer, nullptr));
        gfs_kube_informer_set_trim(informer, trim);
        ASSERT_EQ(GFS_OK, gfs_kube_informer_start(informer, nullptr));
    }

    void Start()
    {
        auto change = [](void *arg, json_t *before, json_t *now) {
            auto *self = static_cast<Informer *>(arg);
            std::lock_guard<std::mutex> lock(self->mutex);
            self->story += before == nullptr ? "+" : now == nullptr ? "-" : "~";
            self->story += gfs_kube_name(now != nullptr ? now : before);
            self->cond.notify_all();
        };
        ASSERT_EQ(GFS_OK, gfs_kube_informer_new(client, &gfs_kube_pods, nullptr, change, this,
                                                &informer, nullptr));
        ASSERT_EQ(GFS_OK, gfs_kube_informer_start(informer, nullptr));
        ASSERT_TRUE(gfs_kube_informer_wait_synced(informer, gfs_clock_mono() + 60 * GFS_NS_PER_S));
    }

    void SetList(const std::string &text)
    {
        std::lock_guard<std::mutex> lock(mutex);
        list = text;
    }

    void ExpectStory(const std::string &expected)
    {
        std::unique_lock<std::mutex> lock(mutex);
        cond.wait_for(lock, std::chrono::seconds(60), [&] { return story == expected; });
        EXPECT_EQ(expected, story);
    }

    fake::KubeApi api;
    struct gfs_kube_client *client = nullptr;
    struct gfs_kube_informer *informer = nullptr;
    std::mutex mutex;
    std::condition_variable cond;
    std::string story;
    std::string list = List("", 1);
};

TEST_F(Informer, TheListAndThenTheWatchAreTold)
{
    SetList(List(Pod("a", 1) + "," + Pod("b", 2), 2));
    Start();
    ExpectStory("+a+b");
    api.Send(Event("MODIFIED", Pod("a", 3)) + Event("DELETED", Pod("b", 4)));
    api.Send(Event("ADDED", Pod("c", 5)));
    ExpectStory("+a+b~a-b+c");
    EXPECT_EQ(2u, gfs_kube_informer_count(informer));
    json_t *a = gfs_kube_informer_get(informer, "ns", "a");
    EXPECT_STREQ("3", gfs_kube_version(a));
    json_decref(a);
    EXPECT_EQ(nullptr, gfs_kube_informer_get(informer, "ns", "b"));
}

TEST_F(Informer, AnEventMayBeCutAnywhereBetweenTwoPieces)
{
    Start();
    std::string events = Event("ADDED", Pod("a", 2)) + Event("ADDED", Pod("b", 3));
    for (char c : events) {
        api.Send(std::string(1, c));
    }
    ExpectStory("+a+b");
}

TEST_F(Informer, AWatchThatEndsIsResumedFromTheLastVersionWithoutAList)
{
    Start();
    api.Send(Event("ADDED", Pod("a", 7)));
    ExpectStory("+a");
    api.Send(Event("BOOKMARK", "{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"42\"}}"));
    api.Send(Event("ADDED", Pod("b", 43)));
    ExpectStory("+a+b");
    api.EndWatches();
    ASSERT_TRUE(api.WaitForRequests("resourceVersion=43", 1));
    EXPECT_EQ(1u, gfs_kube_informer_lists(informer));
}

TEST_F(Informer, GoneMeansListAgainAndTellOnlyTheDifferences)
{
    SetList(List(Pod("a", 1) + "," + Pod("b", 2), 2));
    Start();
    ExpectStory("+a+b");
    SetList(List(Pod("a", 1) + "," + Pod("c", 9), 9));
    api.Send(Event("ERROR", "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}"));
    ExpectStory("+a+b+c-b");
    EXPECT_EQ(2u, gfs_kube_informer_lists(informer));
}

TEST_F(Informer, GarbageInAWatchEndsItAndAListRepairs)
{
    SetList(List(Pod("a", 1), 1));
    Start();
    ExpectStory("+a");
    SetList(List(Pod("a", 2), 2));
    api.Send("this is no event\n");
    ExpectStory("+a~a");
}

json_t *MetadataOnly(json_t *object)
{
    return json_pack("{s:O}", "metadata", json_object_get(object, "metadata"));
}

TEST_F(Informer, ObjectsWithATextInThemAloneAreShown)
{
    SetList(List(Pod("a", 1) + "," + Pod("b", 1) + "," + Pod("ab", 1), 1));
    Start();
    auto add = [](void *arg, json_t *object) {
        *static_cast<std::string *>(arg) += std::string(gfs_kube_name(object)) + " ";
        return true;
    };
    std::string names;
    gfs_kube_informer_each_with(informer, "\"name\":\"a\"", add, &names);
    EXPECT_EQ("a ", names);
    gfs_kube_informer_each_with(informer, "\"resourceVersion\":\"2\"", add, &names);
    EXPECT_EQ("a ", names);
}

// A full copy still takes changes of what is in it.
TEST_F(Informer, WhenThereIsNoRoomForMoreTheRestIsFollowed)
{
    ServePods(GFS_KUBE_OBJECTS_MAX);
    Create(MetadataOnly);
    ASSERT_TRUE(gfs_kube_informer_wait_synced(informer, gfs_clock_mono() + 100 * GFS_NS_PER_S));
    api.Send(Event("MODIFIED", Pod("pod-7", 2)));
    json_t *pod = nullptr;
    while (strcmp(gfs_kube_version(pod = gfs_kube_informer_get(informer, "ns", "pod-7")), "2") !=
           0) {
        json_decref(pod);
        std::this_thread::yield();
    }
    json_decref(pod);
    EXPECT_EQ(1u, gfs_kube_informer_lists(informer));
}

// What ten thousand objects cost is what is kept of them, not what they are.
TEST_F(Informer, OfTenThousandObjectsOnlyWhatIsReadIsKept)
{
    ServePods(GFS_KUBE_OBJECTS_MAX);
    size_t before = mallinfo2().uordblks; // 0 under a sanitizer, and after it too
    Create(MetadataOnly);
    ASSERT_TRUE(gfs_kube_informer_wait_synced(informer, gfs_clock_mono() + 100 * GFS_NS_PER_S));
    EXPECT_EQ(size_t{GFS_KUBE_OBJECTS_MAX}, gfs_kube_informer_count(informer));
    size_t used = mallinfo2().uordblks - before;
    printf("%d objects: %zu KiB\n", GFS_KUBE_OBJECTS_MAX, used / 1024);
    EXPECT_LT(used, 512u * GFS_KUBE_OBJECTS_MAX);

    size_t bytes = 0;
    auto add = [](void *arg, json_t *object) {
        char *text = json_dumps(object, JSON_COMPACT);
        *static_cast<size_t *>(arg) += strlen(text);
        free(text);
        return true;
    };
    gfs_kube_informer_each(informer, add, &bytes);
    EXPECT_LT(bytes, 128u * GFS_KUBE_OBJECTS_MAX);
    EXPECT_GT(bytes, 32u * GFS_KUBE_OBJECTS_MAX);
}

TEST_F(Informer, WhatIsWatchedIsTrimmedToo)
{
    Create(MetadataOnly);
    ASSERT_TRUE(gfs_kube_informer_wait_synced(informer, gfs_clock_mono() + 60 * GFS_NS_PER_S));
    api.Send("{\"type\":\"ADDED\",\"object\":{\"spec\":{\"nodeName\":\"n\"},\"metadata\":{"
             "\"namespace\":\"ns\",\"name\":\"a\",\"resourceVersion\":\"2\"}}}\n");
    json_t *a = nullptr;
    while ((a = gfs_kube_informer_get(informer, "ns", "a")) == nullptr) {
        std::this_thread::yield();
    }
    EXPECT_EQ(nullptr, json_object_get(a, "spec"));
    EXPECT_STREQ("2", gfs_kube_version(a));
    json_decref(a);
}

TEST_F(Informer, OneMoreIsRefusedAndNothingIsKept)
{
    ServePods(GFS_KUBE_OBJECTS_MAX + 1);
    Create(MetadataOnly);
    // The list has failed by the time the second one begins.
    ASSERT_TRUE(api.WaitForRequests("limit=100", GFS_KUBE_OBJECTS_MAX / 100 + 2));
    EXPECT_FALSE(gfs_kube_informer_wait_synced(informer, gfs_clock_mono()));
    EXPECT_EQ(0u, gfs_kube_informer_count(informer));
}

TEST_F(Informer, AFailingServerIsAskedAgain)
{
    int failures = 3;
    api.Handle([&](const fake::Request &r) {
        if (r.query.find("watch=true") != std::string::npos) {
            return fake::Response{200, "", true};
        }
        std::lock_guard<std::mutex> lock(mutex);
        return failures-- > 0 ? fake::Response{failures == 1 ? 0 : 503, "{}", false}
                              : fake::Response{200, List(Pod("a", 1), 1), false};
    });
    Start();
    ExpectStory("+a");
}
} // namespace
