// The document's objects, and every way to get them wrong: the message names file, line and column.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include <gfs/controller/object.h>

namespace
{

struct Parsed {
    int rc = 0;
    gfs_manifest *manifest = nullptr;
    std::string messages;

    Parsed(const std::string &text, const char *ns = "default")
    {
        gfs_diags diags;
        gfs_buf out;

        EXPECT_EQ(gfs_diags_init(&diags, "x.yaml"), 0);
        rc = gfs_manifest_parse(text.data(), text.size(), ns, &diags, &manifest);
        gfs_buf_init(&out, 1 << 20);
        gfs_diags_print(&diags, &out);
        messages = gfs_buf_str(&out);
        gfs_buf_fini(&out);
        gfs_diags_fini(&diags);
    }

    ~Parsed()
    {
        gfs_manifest_free(manifest);
    }

    Parsed(const Parsed &) = delete;
    Parsed &operator=(const Parsed &) = delete;

    const gfs_object &operator[](size_t i) const
    {
        return *manifest->objects[i];
    }
};

std::string dataset(const std::string &mounts)
{
    return "apiVersion: data.fluid.io/v1alpha1\nkind: Dataset\nmetadata:\n name: hbase\nspec:\n" +
           mounts;
}

std::string runtime(const std::string &spec)
{
    return "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata:\n name: "
           "hbase\nspec:\n" +
           spec;
}

std::string tier(const std::string &fields)
{
    return runtime(" tieredstore:\n   levels:\n     - " + fields);
}

std::string slurp(const std::string &path)
{
    std::ifstream in(path);
    std::stringstream out;

    EXPECT_TRUE(in.good()) << path;
    out << in.rdbuf();
    return out.str();
}

TEST(Manifest, TheDocumentsDatasetAsPrinted)
{
    Parsed p(slurp(GFS_SOURCE_DIR "/deploy/samples/dataset.yaml"));

    ASSERT_EQ(p.rc, 0) << p.messages;
    EXPECT_EQ(p.messages, "");
    ASSERT_EQ(p.manifest->n, 1u);
    EXPECT_EQ(p[0].kind, GFS_KIND_DATASET);
    EXPECT_STREQ(p[0].name, "hbase");
    EXPECT_STREQ(p[0].ns, "default");
    ASSERT_EQ(p[0].dataset->n_mounts, 1u);
    EXPECT_STREQ(p[0].dataset->mounts[0].mount_point,
                 "https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/");
    EXPECT_STREQ(p[0].dataset->mounts[0].path, "/hbase");
    EXPECT_STREQ(p[0].dataset->access_modes[0], "ReadOnlyMany");
}

TEST(Manifest, TheDocumentsRuntimeAsPrinted)
{
    Parsed p(slurp(GFS_SOURCE_DIR "/deploy/samples/runtime.yaml"));

    ASSERT_EQ(p.rc, 0) << p.messages;
    EXPECT_EQ(p.messages, "");

    const gfs_runtime &r = *p[0].runtime;

    EXPECT_EQ(r.master.replicas, 3);
    EXPECT_EQ(r.worker.replicas, 3);
    EXPECT_TRUE(r.fuse_global);
    ASSERT_EQ(r.n_tiers, 1u);
    EXPECT_EQ(r.tiers[0].medium, GFS_MEDIUM_HDD);
    EXPECT_STREQ(r.tiers[0].paths[0], "/mnt/disk1");
    EXPECT_EQ(r.tiers[0].quotas[0], 2ull << 30);
    EXPECT_DOUBLE_EQ(r.tiers[0].high, 0.8);
    EXPECT_STREQ(r.tiers[0].low_text, "0.7");
}

TEST(Manifest, TheDocumentIndentedAsInItsPageAndBothInOneFile)
{
    std::string both = slurp(GFS_SOURCE_DIR "/deploy/samples/dataset.yaml") + "---\n" +
                       slurp(GFS_SOURCE_DIR "/deploy/samples/runtime.yaml");
    std::string indented;
    std::istringstream in(slurp(GFS_SOURCE_DIR "/deploy/samples/runtime.yaml"));

    for (std::string line; std::getline(in, line);) {
        indented += "    " + line + "\n";
    }

    Parsed p(both);
    ASSERT_EQ(p.rc, 0) << p.messages;
    EXPECT_EQ(p.manifest->n, 2u);

    Parsed q(indented);
    ASSERT_EQ(q.rc, 0) << q.messages;
    EXPECT_EQ(q[0].runtime->master.replicas, 3);
}

TEST(Manifest, JsonIsYamlAndEqualObjectsHaveEqualText)
{
    Parsed a(slurp(GFS_SOURCE_DIR "/deploy/samples/runtime.yaml"), "prod");
    ASSERT_EQ(a.rc, 0);

    Parsed b(a[0].json);
    ASSERT_EQ(b.rc, 0) << b.messages;
    EXPECT_STREQ(b[0].ns, "prod");
    EXPECT_STREQ(a[0].json, b[0].json);
    EXPECT_STREQ(a[0].spec_json, b[0].spec_json);
    EXPECT_NE(std::string(a[0].json).find("\"high\":\"0.8\""), std::string::npos);
    EXPECT_NE(std::string(a[0].json).find("\"replicas\":3"), std::string::npos);
}

TEST(Manifest, TierPathsShareTheQuotaAndTiersAreSortedByMedium)
{
    Parsed p(runtime(" tieredstore:\n   levels:\n"
                     "     - {mediumtype: SSD, path: '/a/, /b', quota: 4Gi}\n"
                     "     - {mediumtype: MEM, path: /dev/shm, quota: 2G}\n"
                     "     - {mediumtype: HDD, path: '/c,/d', quotaList: '3Gi,2Gi'}\n"));

    ASSERT_EQ(p.rc, 0) << p.messages;

    const gfs_runtime &r = *p[0].runtime;

    ASSERT_EQ(r.n_tiers, 3u);
    EXPECT_EQ(r.tiers[0].medium, GFS_MEDIUM_MEM);
    EXPECT_EQ(r.tiers[1].medium, GFS_MEDIUM_SSD);
    ASSERT_EQ(r.tiers[1].n_paths, 2u);
    EXPECT_STREQ(r.tiers[1].paths[0], "/a");
    EXPECT_STREQ(r.tiers[1].paths[1], "/b");
    EXPECT_EQ(r.tiers[1].quotas[1], 2ull << 30);
    EXPECT_EQ(r.tiers[2].quotas[0], 3ull << 30);
    EXPECT_EQ(r.tiers[2].quotas[1], 2ull << 30);
}

TEST(Manifest, DefaultsOfAnEmptyRuntime)
{
    Parsed p("apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: a}\n");

    ASSERT_EQ(p.rc, 0) << p.messages;
    EXPECT_EQ(p[0].runtime->master.replicas, 1);
    EXPECT_EQ(p[0].runtime->worker.replicas, 1);
    EXPECT_EQ(p[0].runtime->tiers[0].medium, GFS_MEDIUM_MEM);
}

TEST(Manifest, UnknownFieldsAreWarningsWithTheirPosition)
{
    Parsed p(runtime(" replicas: 1\n colour: red\n master:\n   replicas: 1\n   jvmOptions: [x]\n"));

    ASSERT_EQ(p.rc, 0) << p.messages;
    EXPECT_EQ(p.messages,
              "x.yaml:7:2: warning: unknown field spec.colour is ignored\n"
              "x.yaml:10:4: warning: spec.master.jvmOptions has no effect: nothing here "
              "runs on a JVM\n");
}

TEST(Manifest, SharedOptionsReachEveryMountAndOwnOptionsWin)
{
    Parsed p(dataset(" sharedOptions: {a: '1', b: '2'}\n mounts:\n"
                     "   - {mountPoint: 'http://h/x', name: x, options: {b: '3'}}\n"
                     "   - {mountPoint: 'http://h/y', path: /p/y, readOnly: true}\n"));

    ASSERT_EQ(p.rc, 0) << p.messages;
    EXPECT_STREQ(gfs_kvs_get(&p[0].dataset->mounts[0].options, "a"), "1");
    EXPECT_STREQ(gfs_kvs_get(&p[0].dataset->mounts[0].options, "b"), "3");
    EXPECT_STREQ(gfs_kvs_get(&p[0].dataset->mounts[1].options, "b"), "2");
    EXPECT_STREQ(p[0].dataset->mounts[1].path, "/p/y");
    EXPECT_TRUE(p[0].dataset->mounts[1].read_only);
}

struct Bad {
    const char *name;
    std::string text;
    std::string message; // the whole first line after "x.yaml:"
};

void PrintTo(const Bad &bad, std::ostream *os)
{
    *os << bad.name;
}

class BadInput : public testing::TestWithParam<Bad>
{
};

TEST_P(BadInput, SaysWhatAndWhere)
{
    Parsed p(GetParam().text);

    EXPECT_EQ(p.rc, GFS_EINVAL);
    EXPECT_EQ(p.manifest, nullptr);
    EXPECT_EQ(p.messages.substr(0, p.messages.find('\n')), "x.yaml:" + GetParam().message);
}

const char ODD[] = "spec.master.replicas must be a positive odd number, not ";

std::string masters(const std::string &value)
{
    return runtime(" master:\n   replicas: " + value + "\n");
}

INSTANTIATE_TEST_SUITE_P(
    Manifest, BadInput,
    testing::Values(
        Bad{"MastersZero", masters("0"), std::string("7:14: error: ") + ODD + "0"},
        Bad{"MastersTwo", masters("2"), std::string("7:14: error: ") + ODD + "2"},
        Bad{"MastersNegative", masters("-1"), std::string("7:14: error: ") + ODD + "-1"},
        Bad{"MastersWord", masters("three"), std::string("7:14: error: ") + ODD + "three"},
        Bad{"MastersQuoted", masters("\"3\""), std::string("7:14: error: ") + ODD + "\"3\""},
        Bad{"MastersList", masters("[3]"), std::string("7:14: error: ") + ODD + "a list"},
        Bad{"MastersHuge", masters("99999999999999999999"),
            std::string("7:14: error: ") + ODD + "99999999999999999999"},
        Bad{"UnknownMedium", tier("{mediumtype: NVME, path: /a, quota: 1G}"),
            "8:21: error: unknown mediumtype 'NVME' (one of MEM, SSD, HDD)"},
        Bad{"Quota", tier("{mediumtype: HDD, path: /a, quota: 2Q}"),
            "8:43: error: quota '2Q' is not a size such as 2G, 512Mi or 10GB"},
        Bad{"QuotaZero", tier("{mediumtype: HDD, path: /a, quota: 0}"),
            "8:43: error: quota '0' is not a size such as 2G, 512Mi or 10GB"},
        Bad{"QuotaMissing", tier("{mediumtype: HDD, path: /a}"),
            "8:8: error: a tier needs quota or quotaList"},
        Bad{"QuotaListCount", tier("{mediumtype: HDD, path: '/a,/b', quotaList: '1G'}"),
            "8:52: error: quotaList has 1 quotas for 2 paths"},
        Bad{"HighBelowLow", tier("{mediumtype: HDD, path: /a, quota: 1G, high: '0.5', low: '0.7'}"),
            "8:53: error: high 0.5 is lower than low 0.7"},
        Bad{"RatioOver1", tier("{mediumtype: HDD, path: /a, quota: 1G, high: '1.5'}"),
            "8:53: error: high must be a ratio from 0 to 1 such as \"0.8\", not '1.5'"},
        Bad{"TierPathRelative", tier("{mediumtype: HDD, path: a, quota: 1G}"),
            "8:32: error: path 'a' is not an absolute directory"},
        Bad{"TwoTiersOfOneMedium",
            tier(
                "{mediumtype: HDD, path: /a, quota: 1G}\n     - {mediumtype: HDD, path: /b, quota: "
                "1G}"),
            "9:8: error: two tiers with mediumtype HDD: put their paths into one, with a comma "
            "between"},
        Bad{"ReplicasNegative", runtime(" replicas: -3\n"),
            "6:12: error: spec.replicas must be a number from 0 to 1000, not -3"},
        Bad{"FuseGlobal", runtime(" fuse: {global: maybe}\n"),
            "6:17: error: spec.fuse.global must be true or false"},
        Bad{"SpecIsList", runtime(" - a\n"), "6:2: error: spec must be a mapping, not a list"},
        Bad{"Writable",
            dataset(" accessModes: [ReadWriteMany]\n mounts:\n   - mountPoint: http://h/\n"),
            "6:15: error: spec.accessModes: ReadWriteMany is not there yet: data sets are "
            "read-only"},
        Bad{"NoMounts", dataset(" placement: Shared\n"), "6:2: error: a Dataset needs spec.mounts"},
        Bad{"NoMountPoint", dataset(" mounts:\n   - name: x\n"),
            "7:6: error: spec.mounts[] has no mountPoint"},
        Bad{"MountPointIsMapping", dataset(" mounts:\n   - mountPoint: {a: b}\n     name: x\n"),
            "7:18: error: mountPoint must be text, not a mapping"},
        Bad{"NoPlace", dataset(" mounts:\n   - mountPoint: http://h/\n"),
            "7:6: error: spec.mounts[] has neither name nor path: where should it appear?"},
        Bad{"Scheme", dataset(" mounts:\n   - mountPoint: gopher://h/\n     name: x\n"),
            "7:18: error: mountPoint 'gopher://h/': unsupported scheme 'gopher' (supported: http, "
            "https)"},
        Bad{"NotAUrl", dataset(" mounts:\n   - mountPoint: /mnt/data\n     name: x\n"),
            "7:18: error: mountPoint '/mnt/data' is not a URL (scheme://host/path)"},
        Bad{"NoHost", dataset(" mounts:\n   - mountPoint: http:///x\n     name: x\n"),
            "7:18: error: mountPoint 'http:///x' names no host"},
        Bad{"MountName", dataset(" mounts:\n   - mountPoint: http://h/\n     name: a/b\n"),
            "8:12: error: mounts[].name 'a/b' is not a directory name"},
        Bad{"DuplicateMounts",
            dataset(" mounts:\n   - {mountPoint: 'http://h/', name: x}\n   - {mountPoint: "
                    "'http://g/', name: x}\n"),
            "8:6: error: spec.mounts[] has two mounts named 'x'"},
        Bad{"NestedMounts",
            dataset(" mounts:\n   - {mountPoint: 'http://h/', path: /x}\n   - {mountPoint: "
                    "'http://g/', path: /x/y}\n"),
            "8:6: error: mounts '/x' and '/x/y' lie one inside the other"},
        Bad{"UnknownKind", "apiVersion: data.fluid.io/v1alpha1\nkind: AlluxioRuntime\n",
            "2:7: error: unknown kind 'AlluxioRuntime' (one of Dataset, GooseFSRuntime)"},
        Bad{"ApiVersion", "apiVersion: v1\nkind: Dataset\n",
            "1:13: error: unknown apiVersion 'v1' (expected data.fluid.io/v1alpha1)"},
        Bad{"NoKind", "metadata:\n name: x\n", "1:1: error: an object needs apiVersion and kind"},
        Bad{"Name",
            "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata:\n name: H_Base\n",
            "4:8: error: metadata.name 'H_Base' is not a DNS-1035 label: lower case letters, "
            "digits "
            "and '-', starting with a letter and ending with a letter or digit"},
        Bad{"NoName", "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {}\n",
            "3:11: error: an object needs metadata.name"},
        Bad{"LongName",
            "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata:\n name: " +
                std::string(51, 'a') + "\n",
            "4:8: error: metadata.name '" + std::string(51, 'a') +
                "' is longer than 50: pods are named after it"},
        Bad{"Scalar", "hello\n", "1:1: error: an object is a mapping, not text"},
        Bad{"Empty", "", " error: contains no object"},
        Bad{"DuplicateKey", "apiVersion: a\napiVersion: b\n",
            "2:1: error: duplicate key 'apiVersion'"},
        Bad{"Alias", "a: &x 1\nb: *x\n", "1:7: error: anchors and aliases are not accepted"},
        Bad{"Nul", std::string("a: \0b\n", 6), " error: not YAML text: contains a NUL byte"},
        Bad{"BrokenUtf8", "a: b\n%\xe2", "2:1: error: not YAML text: this line is not valid UTF-8"},
        Bad{"Twice", runtime(" replicas: 1\n") + "---\n" + runtime(" replicas: 1\n"),
            "8:1: error: GooseFSRuntime default/hbase is in this file twice"}),
    [](const testing::TestParamInfo<Bad> &bad) { return std::string(bad.param.name); });

TEST(Manifest, SyntaxErrorsNameLineAndColumn)
{
    Parsed p("apiVersion: data.fluid.io/v1alpha1\nkind: Dataset\n\tmetadata:\n");

    EXPECT_EQ(p.rc, GFS_EINVAL);
    EXPECT_EQ(p.messages.rfind("x.yaml:2:7: error: ", 0), 0u) << p.messages;
}

TEST(Manifest, EveryErrorOfAFileIsReported)
{
    Parsed p(runtime(" replicas: x\n master:\n   replicas: 2\n fuse: []\n"));

    EXPECT_EQ(p.rc, GFS_EINVAL);
    EXPECT_NE(p.messages.find("x.yaml:6:12: error: spec.replicas"), std::string::npos);
    EXPECT_NE(p.messages.find("x.yaml:8:14: error: spec.master.replicas"), std::string::npos);
    EXPECT_NE(p.messages.find("x.yaml:9:8: error: spec.fuse must be a mapping"), std::string::npos);
}

TEST(Manifest, LimitsAreStated)
{
    Parsed deep(std::string(200, '[') + std::string(200, ']'));
    EXPECT_EQ(deep.rc, GFS_EINVAL);
    EXPECT_NE(deep.messages.find("nested too deeply"), std::string::npos) << deep.messages;

    std::string many;
    for (int i = 0; i < 70; i++) {
        many += "---\na: b\n";
    }
    Parsed docs(many);
    EXPECT_EQ(docs.rc, GFS_EINVAL);
    EXPECT_NE(docs.messages.find("more than 64 documents"), std::string::npos) << docs.messages;

    Parsed large(std::string((1 << 20) + 1, '#'));
    EXPECT_EQ(large.rc, GFS_EINVAL);
    EXPECT_NE(large.messages.find("larger than 1 MiB"), std::string::npos);

    std::string nodes = "a: [";
    for (int i = 0; i < 21000; i++) {
        nodes += "1,";
    }
    Parsed list(nodes + "1]");
    EXPECT_EQ(list.rc, GFS_EINVAL);
    EXPECT_NE(list.messages.find("too many YAML nodes"), std::string::npos) << list.messages;
}

} // namespace
