#include <gfs/kube/config.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>

namespace
{
class KubeConfig : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        char name[] = "/tmp/gfs-kubeconfig-XXXXXX";
        ASSERT_NE(nullptr, mkdtemp(name));
        dir = name;
    }

    void TearDown() override
    {
        gfs_kube_config_fini(&config);
        std::filesystem::remove_all(dir);
    }

    int Load(const std::string &text, const char *context = nullptr)
    {
        std::ofstream(dir + "/config") << text;
        err = GFS_ERR_INIT;
        return gfs_kube_config_load((dir + "/config").c_str(), context, &config, &err);
    }

    std::string dir;
    struct gfs_kube_config config = {};
    struct gfs_err err = GFS_ERR_INIT;
};

const char *const kFull = R"(apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: other
  cluster: {server: "http://other:1"}
- name: c
  cluster:
    server: https://10.0.0.1:6443/
    certificate-authority-data: UEVNCg==
contexts:
- name: lab
  context: {cluster: c, user: u, namespace: work}
- name: second
  context: {cluster: other}
users:
- name: u
  user:
    token: t
    client-certificate: cert.pem
)";

TEST_F(KubeConfig, TheCurrentContextIsUsed)
{
    std::ofstream(dir + "/cert.pem") << "CERT";
    ASSERT_EQ(GFS_OK, Load(kFull)) << err.text;
    EXPECT_STREQ("https://10.0.0.1:6443", config.server);
    EXPECT_STREQ("PEM\n", config.ca_pem);
    EXPECT_STREQ("work", config.ns);
    EXPECT_STREQ("t", config.token);
    EXPECT_STREQ("CERT", config.client_cert_pem);
    EXPECT_FALSE(config.insecure);
}

TEST_F(KubeConfig, AnotherContextCanBeNamed)
{
    ASSERT_EQ(GFS_OK, Load(kFull, "second")) << err.text;
    EXPECT_STREQ("http://other:1", config.server);
    EXPECT_STREQ("default", config.ns);
    EXPECT_EQ(nullptr, config.token);
}

TEST_F(KubeConfig, WhatIsWrongIsSaidWithTheFilesName)
{
    struct {
        const char *text;
        int code;
        const char *part;
    } cases[] = {
        {"", GFS_EINVAL, "is not a kubeconfig"},
        {"- a\n", GFS_EINVAL, "is not a kubeconfig"},
        {"{ unbalanced", GFS_EINVAL, "is not a kubeconfig"},
        {"kind: Config\n", GFS_EINVAL, "context '' or its cluster is missing"},
        {"current-context: x\n", GFS_EINVAL, "context 'x' or its cluster is missing"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: 'ftp://x'}}]\n",
         GFS_EINVAL, "no http(s) server"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x'}}]\n"
         "users: [{name: u, user: {exec: {command: x}}}]\n",
         GFS_EUNSUPPORTED, "'exec'"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: "
         "'***'}}]\n",
         GFS_EINVAL, "certificate-authority-data is not base64"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority: missing}}]\n",
         GFS_ENOENT, "missing"},
    };
    for (auto &c : cases) {
        EXPECT_EQ(c.code, Load(c.text)) << c.text;
        EXPECT_NE(nullptr, strstr(err.text, c.part)) << err.text;
        EXPECT_NE(nullptr, strstr(err.text, dir.c_str())) << err.text;
        EXPECT_EQ(nullptr, config.server);
    }
}

TEST_F(KubeConfig, OutsideAPodThereIsNoServiceAccount)
{
    unsetenv("KUBERNETES_SERVICE_HOST");
    EXPECT_EQ(GFS_ENOENT, gfs_kube_config_in_cluster(&config, &err));
}
} // namespace
