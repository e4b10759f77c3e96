// Properties whose values are in files: read where they may be, refused everywhere else.
#include <cstdlib>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <gfs/ufs/ufs.h>

#include "fake_server.h"

namespace
{

// As kubelet makes a Secret's volume: the keys are links into a directory that is a link too.
class Secrets : public testing::Test
{
  protected:
    void SetUp() override
    {
        char dir[] = "/tmp/gfs-secret-XXXXXX";

        ASSERT_NE(nullptr, mkdtemp(dir));
        root_ = std::string(dir) + "/secrets";
        outside_ = std::string(dir) + "/outside";
        ASSERT_EQ(0, mkdir(root_.c_str(), 0700));
        ASSERT_EQ(0, mkdir((root_ + "/web").c_str(), 0700));
        ASSERT_EQ(0, mkdir((root_ + "/web/..1").c_str(), 0700));
        Write(root_ + "/web/..1/password", "s3cret\n");
        Write(outside_, "key of the machine");
        ASSERT_EQ(0, symlink("..1", (root_ + "/web/..data").c_str()));
        ASSERT_EQ(0, symlink("..data/password", (root_ + "/web/password").c_str()));
        ASSERT_EQ(0, symlink(outside_.c_str(), (root_ + "/web/leak").c_str()));
        setenv("GOOSEFS_SECRETS_DIR", root_.c_str(), 1);
    }

    void TearDown() override
    {
        unsetenv("GOOSEFS_SECRETS_DIR");
        for (const char *file : {"/secrets/web/leak", "/secrets/web/password",
                                 "/secrets/web/..data", "/secrets/web/..1/password", "/outside"}) {
            unlink((root_.substr(0, root_.size() - 8) + file).c_str());
        }
        for (const char *dir : {"/web/..1", "/web", ""}) {
            rmdir((root_ + dir).c_str());
        }
        rmdir(root_.substr(0, root_.size() - 8).c_str());
    }

    static void Write(const std::string &path, const std::string &text)
    {
        std::ofstream(path) << text;
    }

    int Open(const std::string &url, const std::string &password)
    {
        gfs_props *props = gfs_props_new();

        EXPECT_EQ(0, gfs_props_set(props, "goosefs.underfs.web.user", "user"));
        EXPECT_EQ(0, gfs_props_set(props, "goosefs.underfs.web.password", password.c_str()));

        int rc = gfs_ufs_open(url.c_str(), props, nullptr, &ufs_, &err_);

        gfs_props_free(props);
        return rc;
    }

    std::string root_, outside_;
    gfs_ufs *ufs_ = nullptr;
    gfs_err err_ = GFS_ERR_INIT;
};

TEST_F(Secrets, AreSentInsteadOfTheirReference)
{
    std::string seen;
    FakeServer server([&](const FakeRequest &request) {
        seen = request.authorization;
        return FakeServer::Answer("200 OK", "", "x");
    });
    gfs_ufs_stat stat = {};

    ASSERT_EQ(0, Open(server.Url(), "${file:" + root_ + "/web/password}")) << err_.text;
    EXPECT_EQ(0, gfs_ufs_stat_path(ufs_, "x", &stat, &err_)) << err_.text;
    gfs_ufs_close(ufs_);
    EXPECT_EQ("Basic dXNlcjpzM2NyZXQ=", seen);
}

TEST_F(Secrets, OtherFilesOfTheMachineAreRefused)
{
    const std::string paths[] = {outside_,
                                 root_,
                                 root_ + "/",
                                 root_ + "x/web/password",
                                 root_ + "/../outside",
                                 root_ + "/web/leak",
                                 root_ + "/web",
                                 root_ + "/web/missing"};

    for (const std::string &path : paths) {
        EXPECT_GT(0, Open("http://h/", "${file:" + path + "}")) << path;
        EXPECT_EQ(nullptr, strstr(err_.text, "key of the machine")) << err_.text;
        EXPECT_EQ(nullptr, ufs_);
    }
}

TEST_F(Secrets, HaveALimit)
{
    Write(root_ + "/web/..1/password", std::string(4097, 'x'));
    EXPECT_EQ(GFS_EINVAL, Open("http://h/", "${file:" + root_ + "/web/password}"));
    EXPECT_EQ(nullptr, strstr(err_.text, "xxxx")) << err_.text;
}

TEST_F(Secrets, WhatOnlyLooksLikeAReferenceIsAValue)
{
    std::string seen;
    FakeServer server([&](const FakeRequest &request) {
        seen = request.authorization;
        return FakeServer::Answer("200 OK", "", "x");
    });
    gfs_ufs_stat stat = {};

    ASSERT_EQ(0, Open(server.Url(), "${file:")) << err_.text;
    EXPECT_EQ(0, gfs_ufs_stat_path(ufs_, "x", &stat, &err_)) << err_.text;
    gfs_ufs_close(ufs_);
    EXPECT_EQ("Basic dXNlcjoke2ZpbGU6", seen);
}

} // namespace
