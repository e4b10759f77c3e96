// Labels of nodes: what they should be, from the workers there are.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <gfs/controller/desired.h>

extern "C" {
#include "platform/kubernetes/nodes.h"
}

namespace
{

const uint64_t kGi = UINT64_C(1) << 30;

// The patch as text, keys sorted; "" for none.
std::string patch(const char *labels, const std::vector<gfsi_node_cache> &caches)
{
    json_t *now = json_loads(labels, 0, nullptr);
    json_t *out = gfsi_node_labels_patch(now, caches.data(), caches.size());
    char *text = out != nullptr ? json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS) : nullptr;
    std::string result = text != nullptr ? text : "";

    std::free(text);
    json_decref(out);
    json_decref(now);
    return result;
}

// The labels after a patch, as text.
std::string merged(const std::string &labels, const std::vector<gfsi_node_cache> &caches)
{
    json_t *now = json_loads(labels.c_str(), 0, nullptr);
    json_t *out = gfsi_node_labels_patch(now, caches.data(), caches.size());
    const char *key = nullptr;
    json_t *value = nullptr;

    json_object_foreach(out, key, value)
    {
        if (json_is_null(value)) {
            json_object_del(now, key);
        } else {
            json_object_set(now, key, value);
        }
    }

    char *text = json_dumps(now, JSON_COMPACT | JSON_SORT_KEYS);
    std::string result = text;

    std::free(text);
    json_decref(out);
    json_decref(now);
    return result;
}

TEST(NodeLabels, ACacheIsShownWithFluidsKeys)
{
    EXPECT_EQ(
        "{\"fluid.io/dataset-num\":\"1\",\"fluid.io/s-default-hbase\":\"true\","
        "\"fluid.io/s-goosefs-default-hbase\":\"true\","
        "\"fluid.io/s-h-goosefs-d-default-hbase\":\"2GiB\","
        "\"fluid.io/s-h-goosefs-t-default-hbase\":\"2GiB\","
        "\"fluid_exclusive\":\"default_hbase\"}",
        patch("{\"kubernetes.io/hostname\":\"n1\"}", {{"default", "hbase", true, 0, 2 * kGi}}));
}

// Our copy of the node may be behind: without the one that says whose they are nobody would take
// the others later.
TEST(NodeLabels, WhatIsNotSeenOfACacheThatIsGoneGoesToo)
{
    std::string text = patch("{\"fluid.io/s-goosefs-default-hbase\":\"true\"}", {});

    EXPECT_NE(std::string::npos, text.find("\"fluid.io/s-default-hbase\":null")) << text;
    EXPECT_NE(std::string::npos, text.find("\"fluid.io/s-h-goosefs-t-default-hbase\":null"))
        << text;
}

TEST(NodeLabels, SizesAreWholeNumbersOfTheLargestUnit)
{
    std::string text = patch("{}", {{"a", "b", false, kGi + kGi / 2, 1953125 * UINT64_C(1024)}});

    EXPECT_NE(std::string::npos, text.find("goosefs-m-a-b\":\"1536MiB\"")) << text;
    EXPECT_NE(std::string::npos, text.find("goosefs-d-a-b\":\"1953125KiB\"")) << text;
    EXPECT_EQ(std::string::npos, text.find("fluid_exclusive")) << text;
}

TEST(NodeLabels, RightLabelsAreNotWrittenAgain)
{
    std::vector<gfsi_node_cache> both = {{"default", "hbase", false, 0, kGi},
                                         {"default", "spark", false, kGi, 0}};
    std::string labels = merged("{\"x\":\"y\"}", both);

    EXPECT_NE(std::string::npos, labels.find("dataset-num\":\"2\"")) << labels;
    EXPECT_EQ("", patch(labels.c_str(), both));
    EXPECT_EQ("", patch("{\"x\":\"y\"}", {}));
}

TEST(NodeLabels, WhatAWorkerLeftIsTakenAway)
{
    std::vector<gfsi_node_cache> both = {{"default", "hbase", false, 0, kGi},
                                         {"default", "spark", false, kGi, 0}};
    std::string labels = merged("{\"x\":\"y\"}", both);

    labels = merged(labels, {both[1]});
    EXPECT_EQ(std::string::npos, labels.find("hbase")) << labels;
    EXPECT_NE(std::string::npos, labels.find("fluid.io/s-h-goosefs-m-default-spark")) << labels;
    EXPECT_NE(std::string::npos, labels.find("dataset-num\":\"1\"")) << labels;
    EXPECT_EQ("{\"x\":\"y\"}", merged(labels, {}));
    EXPECT_EQ("{\"x\":\"y\"}", merged(merged("{\"x\":\"y\"}", {{"n", "a", true, 0, 1}}), {}));
}

TEST(NodeLabels, LabelsOfOtherRuntimesOfFluidStay)
{
    const char others[] = "{\"fluid.io/dataset-num\":\"1\",\"fluid.io/f-default-spark\":\"true\","
                          "\"fluid.io/s-alluxio-default-spark\":\"true\","
                          "\"fluid.io/s-default-spark\":\"true\","
                          "\"fluid_exclusive\":\"default_spark\"}";

    EXPECT_EQ("", patch(others, {}));
}

TEST(NodeLabels, LongNamesKeepTheLimitAndComeAway)
{
    std::string ns(63, 'n');
    std::string name(50, 'r');
    std::vector<gfsi_node_cache> caches = {{ns.c_str(), name.c_str(), true, kGi, kGi}};
    std::string labels = merged("{}", caches);
    json_t *json = json_loads(labels.c_str(), 0, nullptr);
    const char *key = nullptr;
    json_t *value = nullptr;

    EXPECT_EQ(6u, json_object_size(json)) << labels;
    json_object_foreach(json, key, value)
    {
        EXPECT_LE(strlen(key), 9 + 63u) << key;
        EXPECT_LE(json_string_length(value), 63u);
    }
    json_decref(json);
    EXPECT_EQ("", patch(labels.c_str(), caches));
    EXPECT_EQ("{}", merged(labels, {}));
}

} // namespace
