// Which journals are ours to place, and the volume a claim gets.
#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "platform/kubernetes/journal.h"
}

namespace
{

struct Json {
    json_t *ptr;

    explicit Json(const std::string &text) : Json(json_loads(text.c_str(), 0, nullptr))
    {
        EXPECT_NE(ptr, nullptr) << text;
    }
    explicit Json(json_t *taken) : ptr(taken)
    {
    }
    ~Json()
    {
        json_decref(ptr);
    }
    Json(const Json &) = delete;
    Json &operator=(const Json &) = delete;
};

const char kRuntime[] = R"({"metadata":{"namespace":"default","name":"hbase","uid":"uid-1"}})";

std::string claim_text(const std::string &notes = R"("volume.kubernetes.io/selected-node":"n1")",
                       const std::string &more = "", const std::string &klass = "goosefs-journal")
{
    return R"({"metadata":{"namespace":"default","name":"journal-hbase-master-1","uid":"uid-7",
        "labels":{"release":"hbase","role":"goosefs-master"},"annotations":{)" +
           notes + R"(}},"spec":{"storageClassName":")" + klass +
           R"(","resources":{"requests":{"storage":"5Gi"}})" + more + "}}";
}

std::string wanted(const std::string &text)
{
    Json claim(text);
    const char *node = gfsi_kube_journal_wanted(claim.ptr);

    return node != nullptr ? node : "-";
}

std::string kind(const std::string &journal)
{
    return gfsi_kube_journal_kind(Json(R"({"master":{"journal":)" + journal + "}}").ptr);
}

TEST(Journal, IsOnItsNodeUnlessSomethingElseIsSaid)
{
    EXPECT_STREQ("hostPath", gfsi_kube_journal_kind(Json("{}").ptr));
    EXPECT_EQ("hostPath", kind("{}"));
    EXPECT_EQ("hostPath", kind(R"({"volumeType":""})"));
    EXPECT_EQ("hostPath", kind(R"({"volumeType":"hostPath","storageClass":"fast"})"));
    EXPECT_EQ("pvc", kind(R"({"storageClass":"fast"})"));
    EXPECT_EQ("pvc", kind(R"({"storageClass":""})")); // a class: volumes made by hand
    EXPECT_EQ("emptyDir", kind(R"({"volumeType":"emptyDir"})"));
}

TEST(Journal, AClaimWaitsForUsOnceANodeIsChosen)
{
    EXPECT_EQ("n1", wanted(claim_text()));
    EXPECT_EQ("-", wanted(claim_text("")));
    EXPECT_EQ("-", wanted(claim_text(R"("volume.kubernetes.io/selected-node":"")")));
    EXPECT_EQ("-", wanted(claim_text(R"("volume.kubernetes.io/selected-node":"n1")",
                                     R"(,"volumeName":"pv")")));
    EXPECT_EQ("-",
              wanted(claim_text(R"("volume.kubernetes.io/selected-node":"n1")", "", "standard")));
    EXPECT_EQ(nullptr, gfsi_kube_journal_wanted(nullptr));

    Json deleted(claim_text());

    json_object_set_new(json_object_get(deleted.ptr, "metadata"), "deletionTimestamp",
                        json_string("2026-01-01T00:00:00Z"));
    EXPECT_EQ(nullptr, gfsi_kube_journal_wanted(deleted.ptr));
}

TEST(Journal, ItsVolumeIsBoundToClaimAndNode)
{
    const gfsi_kube_place place = {"image", "/runtime-mnt", "/var/lib/goosefs", "", false};
    Json claim(claim_text());
    Json runtime(kRuntime);
    Json volume(gfsi_kube_journal_volume(claim.ptr, runtime.ptr, "n1", "n1.example", &place));
    Json expected(R"({"apiVersion":"v1","kind":"PersistentVolume","metadata":{
        "name":"journal-default-hbase-master-1-8a6b1625215e9c75",
        "labels":{"release":"hbase","role":"goosefs-master"},
        "annotations":{"pv.kubernetes.io/provisioned-by":"goosefs.fluid.io/journal",
                       "goosefs.data.fluid.io/node":"n1"}},
      "spec":{"storageClassName":"goosefs-journal","capacity":{"storage":"5Gi"},
        "accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"Retain",
        "claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":"default",
                    "name":"journal-hbase-master-1","uid":"uid-7"},
        "nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[
          {"key":"kubernetes.io/hostname","operator":"In","values":["n1.example"]}]}]}},
        "hostPath":{"type":"DirectoryOrCreate",
          "path":"/var/lib/goosefs/default/hbase/uid-1/hbase-master-1-8a6b1625215e9c75"}}})");
    char *text = json_dumps(volume.ptr, JSON_INDENT(1));

    EXPECT_TRUE(json_equal(volume.ptr, expected.ptr)) << text;
    free(text);

    // The longest names there are fit, and another claim is another volume and another directory.
    std::string ns(63, 'n');

    json_object_set_new(json_object_get(claim.ptr, "metadata"), "namespace",
                        json_string(ns.c_str()));
    json_object_set_new(json_object_get(claim.ptr, "metadata"), "uid", json_string("uid-8"));

    Json other(gfsi_kube_journal_volume(claim.ptr, runtime.ptr, "n1", "n1.example", &place));
    const char *name =
        json_string_value(json_object_get(json_object_get(other.ptr, "metadata"), "name"));

    ASSERT_NE(name, nullptr);
    EXPECT_LE(std::string(name).size(), 253u);
    EXPECT_EQ(std::string(name).find("journal-" + ns + "-hbase-master-1-"), 0u);
    EXPECT_EQ(std::string(name).find("8a6b1625215e9c75"), std::string::npos);
}

TEST(Journal, ItsVolumeIsLeftWhenItsOwnClaimIsGoneAndTheClusterKnows)
{
    auto volume = [](const std::string &phase, const std::string &more = "") {
        return R"({"metadata":{"name":"v")" + more + R"(},"spec":{"claimRef":{"uid":"uid-7"}},
            "status":{"phase":")" +
               phase + "\"}}";
    };
    Json claim(claim_text());
    Json another(R"({"metadata":{"uid":"uid-8"}})");

    EXPECT_TRUE(gfsi_kube_journal_left(Json(volume("Released")).ptr, nullptr));
    EXPECT_TRUE(gfsi_kube_journal_left(Json(volume("Released")).ptr, another.ptr));
    EXPECT_FALSE(gfsi_kube_journal_left(Json(volume("Released")).ptr, claim.ptr));
    EXPECT_FALSE(gfsi_kube_journal_left(Json(volume("Bound")).ptr, nullptr));
    EXPECT_FALSE(gfsi_kube_journal_left(Json(volume("Available")).ptr, nullptr));
    EXPECT_FALSE(gfsi_kube_journal_left(
        Json(volume("Released", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")")).ptr, nullptr));
}

} // namespace
