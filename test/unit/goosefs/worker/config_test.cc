// Properties to configuration; each mistake is named.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <gfs/worker/worker.h>

namespace
{

class WorkerConfig : public testing::Test
{
  protected:
    int Load(std::vector<std::string> args)
    {
        gfs_cfg_program program = {};
        gfs_cfg *cfg = nullptr;
        std::vector<char *> argv;

        program.name = "goosefs-worker";
        program.summary = "test";
        program.options = gfs_worker_options(&program.n_options);
        args.insert(args.begin(), "goosefs-worker");
        for (std::string &a : args) {
            argv.push_back(&a[0]);
        }
        argv.push_back(nullptr);
        config_ = {};

        int rc = gfs_cfg_parse(&program, static_cast<int>(args.size()), argv.data(), &cfg, &err_);

        if (rc == 0) {
            rc = gfs_worker_config_load(cfg, &config_, &err_);
        }
        gfs_cfg_free(cfg);
        return rc;
    }

    static std::vector<std::string> Good()
    {
        return {"--rpc-addresses=m0:26000, m1:26000",
                "-Dgoosefs.worker.tieredstore.level0.alias=HDD",
                "-Dgoosefs.worker.tieredstore.level0.dirs.path=/mnt/disk1",
                "-Dgoosefs.worker.tieredstore.level0.dirs.mediumtype=HDD",
                "-Dgoosefs.worker.tieredstore.level0.dirs.quota=2G",
                "-Dgoosefs.worker.tieredstore.level0.watermark.high.ratio=0.8",
                "-Dgoosefs.worker.tieredstore.level0.watermark.low.ratio=0.7"};
    }

    void ExpectRefused(const std::string &property, const std::string &value,
                       const std::string &text)
    {
        std::vector<std::string> args = Good();

        args.push_back("-D" + property + "=" + value);
        EXPECT_EQ(GFS_EINVAL, Load(args)) << property << "=" << value;
        EXPECT_NE(nullptr, strstr(err_.text, text.c_str())) << err_.text;
    }

    gfs_worker_config config_;
    gfs_err err_ = GFS_ERR_INIT;
};

TEST_F(WorkerConfig, IsReachedElsewhereThanItIsCalled)
{
    std::vector<std::string> args = Good();

    args.push_back("-Dgoosefs.worker.hostname=hbase-worker-cx8x7");
    ASSERT_EQ(0, Load(args)) << err_.text;
    EXPECT_STREQ("hbase-worker-cx8x7", config_.data_host);
    args.push_back("-Dgoosefs.worker.container.hostname=10.244.1.7");
    ASSERT_EQ(0, Load(args)) << err_.text;
    EXPECT_STREQ("hbase-worker-cx8x7", config_.hostname);
    EXPECT_STREQ("10.244.1.7", config_.data_host);
}

TEST_F(WorkerConfig, ReadsTheDocumentsTier)
{
    ASSERT_EQ(0, Load(Good())) << err_.text;
    ASSERT_EQ(1u, config_.n_tiers);
    EXPECT_STREQ("HDD", config_.tiers[0].alias);
    EXPECT_STREQ("/mnt/disk1", config_.tiers[0].path);
    EXPECT_EQ(UINT64_C(2) << 30, config_.tiers[0].quota);
    EXPECT_DOUBLE_EQ(0.8, config_.tiers[0].high);
    EXPECT_DOUBLE_EQ(0.7, config_.tiers[0].low);
    ASSERT_EQ(2u, config_.n_masters);
    EXPECT_STREQ("m1:26000", config_.masters[1]);
    EXPECT_EQ(4u << 20, config_.block_size);
    EXPECT_EQ(9203, config_.data_port);
    EXPECT_STREQ("goosefsworker", config_.data_folder);
}

TEST_F(WorkerConfig, ReadsSeveralDirectoriesAndLevels)
{
    std::vector<std::string> args = Good();

    args.push_back("--levels=2");
    args.push_back("-Dgoosefs.worker.tieredstore.level0.dirs.path=/a, /b");
    args.push_back("-Dgoosefs.worker.tieredstore.level0.dirs.quota=1G,512MB");
    args.push_back("-Dgoosefs.worker.tieredstore.level1.dirs.path=/c");
    args.push_back("-Dgoosefs.worker.tieredstore.level1.dirs.mediumtype=SSD");
    args.push_back("-Dgoosefs.worker.tieredstore.level1.dirs.quota=10G");
    ASSERT_EQ(0, Load(args)) << err_.text;
    ASSERT_EQ(3u, config_.n_tiers);
    EXPECT_STREQ("/b", config_.tiers[1].path);
    EXPECT_EQ(UINT64_C(512) << 20, config_.tiers[1].quota);
    EXPECT_STREQ("SSD", config_.tiers[2].alias);
    EXPECT_DOUBLE_EQ(0.95, config_.tiers[2].high);
    EXPECT_DOUBLE_EQ(0.7, config_.tiers[2].low);
}

TEST_F(WorkerConfig, MistakesAreNamed)
{
    const std::string tier = "goosefs.worker.tieredstore.level0.";

    ExpectRefused(tier + "dirs.mediumtype", "TAPE", "'TAPE' is not one of MEM, SSD, HDD");
    ExpectRefused(tier + "dirs.quota", "much", "'much' is not a size");
    ExpectRefused(tier + "dirs.quota", "0", "'0' is not a size");
    ExpectRefused(tier + "dirs.path", "relative", "'relative' is not an absolute path");
    ExpectRefused(tier + "dirs.path", "/a,/b", "no quota for '/b'");
    ExpectRefused(tier + "watermark.high.ratio", "0.5", "high watermark 0.5");
    ExpectRefused(tier + "watermark.high.ratio", "1.5", "'1.5' is not a ratio");
    ExpectRefused("goosefs.worker.data.folder", "a/b", "not the name of one directory");
    ExpectRefused("goosefs.worker.data.folder", "..", "not the name of one directory");
    ExpectRefused("goosefs.worker.fill.block.size", "3MB", "power of two");
}

TEST_F(WorkerConfig, WhatIsMissingIsNamed)
{
    std::vector<std::string> args = Good();

    args[0] = "--rpc-addresses=m0:26000,nowhere";
    EXPECT_EQ(GFS_EINVAL, Load(args));
    EXPECT_NE(nullptr, strstr(err_.text, "'nowhere' is not host:port")) << err_.text;
    args = Good();
    args.erase(args.begin() + 2);
    EXPECT_EQ(GFS_EINVAL, Load(args));
    EXPECT_NE(nullptr, strstr(err_.text, "level0.dirs.path is not set")) << err_.text;
    args = Good();
    args.erase(args.begin());
    EXPECT_EQ(GFS_EINVAL, Load(args));
    EXPECT_NE(nullptr, strstr(err_.text, "goosefs.master.rpc.addresses is not set")) << err_.text;
}

} // namespace
