// A network, three masters, a load: what every case of the suite begins with.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sched.h>
#include <string>
#include <sys/mount.h>

#include <gfs/base/clock.h>

#include "raft_processes_load.h"
#include "raft_processes_masters.h"
#include "raft_processes_net.h"

namespace raft_processes
{

class RaftProcesses : public ::testing::Test
{
  protected:
    // One network for the whole program: gRPC's threads stay in the namespace they began in.
    static void SetUpTestSuite()
    {
        if (network_ != nullptr || !why_.empty()) {
            return;
        }
        network_ = Network::Open(&why_).release();
        if (network_ == nullptr) {
            return;
        }
        // Mounts that a case makes are seen, and outlive, nobody but this process and its masters.
        if (!network_->Enter(0) || unshare(CLONE_NEWNS) != 0 ||
            mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            why_ = "no mount namespace";
            network_ = nullptr;
        }
    }

    void SetUp() override
    {
        if (network_ == nullptr) {
            GTEST_SKIP() << "needs network namespaces and tun devices: " << why_;
        }
        network_->Heal();
        std::string name = (std::filesystem::temp_directory_path() / "gfs-raft-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        dir_ = name;
        std::filesystem::create_directories(dir_ + "/origin");
        masters_ = std::make_unique<Masters>(*network_, dir_,
                                             std::vector<std::string>{"--checkpoint-entries=300"});
        load_ = std::make_unique<Load>(dir_ + "/origin", Seed());
    }

    void TearDown() override
    {
        if (network_ != nullptr) {
            network_->Heal();
        }
        load_.reset();
        masters_.reset();
        std::error_code ignored;
        if (!dir_.empty() && !HasFailure()) {
            std::filesystem::remove_all(dir_, ignored);
        }
    }

    static uint64_t Seed()
    {
        const char *text = getenv("RAFT_PROCESSES_SEED");
        return text != nullptr ? strtoull(text, nullptr, 10) : 1;
    }

    // Nothing is broken any more: all agree, and the history has an explanation.
    void ExpectHealthy()
    {
        EXPECT_TRUE(load_->MoreWrites(kSome)) << "no progress after healing";
        const std::string verdict = load_->Finish();
        EXPECT_EQ(verdict, "");
        EXPECT_EQ(masters_->Agree(), "");
    }

    void CutFromOthers(int i)
    {
        Link cut;
        cut.cut = true;
        for (int k = 1; k <= kMasters; k++) {
            if (k != i) {
                network_->SetBoth(i, k, cut);
            }
        }
    }

    static constexpr int kSome = 25; // calls: progress, not luck

    static inline Network *network_ = nullptr;
    static inline std::string why_;
    std::string dir_;
    std::unique_ptr<Masters> masters_;
    std::unique_ptr<Load> load_;
};

} // namespace raft_processes
