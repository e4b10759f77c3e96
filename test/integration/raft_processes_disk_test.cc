// Three real masters under load, and disks that are full, damaged, empty or of another version.
#include "raft_processes_fixture.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "raft_processes_damage.h"

namespace raft_processes
{
namespace
{

class Disks : public RaftProcesses
{
  protected:
    void TearDown() override
    {
        masters_.reset();
        for (const std::string &disk : disks_) {
            EXPECT_EQ(umount(disk.c_str()), 0) << disk;
        }
        RaftProcesses::TearDown();
    }

    void Begin()
    {
        masters_->StartAll();
        load_->Start();
        ASSERT_TRUE(load_->MoreWrites(kSome)) << masters_->Said(1);
        leader_ = masters_->Leader();
        follower_ = leader_ % kMasters + 1;
    }

    // Puts a file system of its own at `path`.
    void MakeDisk(const std::string &path, const std::string &size)
    {
        std::filesystem::create_directories(path);
        ASSERT_EQ(mount("tmpfs", path.c_str(), "tmpfs", 0, ("size=" + size).c_str()), 0);
        disks_.push_back(path);
    }

    // Takes all the room that is left.
    static void Fill(const std::string &disk)
    {
        struct statvfs room;
        ASSERT_EQ(statvfs(disk.c_str(), &room), 0);
        const int fd = open((disk + "/ballast").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_GE(fd, 0);
        EXPECT_EQ(posix_fallocate(fd, 0, static_cast<off_t>(room.f_bavail * room.f_frsize)), 0);
        close(fd);
    }

    // Starts a stopped master that must refuse, and returns what it says.
    std::string Refusal(int i)
    {
        const size_t before = masters_->Said(i).size();
        masters_->Start(i);
        EXPECT_EQ(masters_->Wait(i), 1);
        return masters_->Said(i).substr(before);
    }

    int leader_ = 0, follower_ = 0;
    std::vector<std::string> disks_;
};

TEST_F(Disks, a_damaged_log_costs_its_master_the_vote_until_it_is_whole_again)
{
    Begin();
    masters_->Kill(follower_);
    EXPECT_TRUE(load_->MoreWrites(kSome));
    DamageTheMiddle(masters_->Journal(follower_));
    masters_->Start(follower_);
    EXPECT_TRUE(Eventually([&] {
        return masters_->SaidSince(follower_, "raft log is whole again");
    })) << masters_->Said(follower_);
    ExpectHealthy();
}

// What two of three have lost may be what was acknowledged: better to stand still than to forget.
TEST_F(Disks, with_two_damaged_logs_nobody_is_elected)
{
    Begin();
    EXPECT_EQ(load_->Finish(), "");
    const int damaged[] = {leader_, follower_};
    for (int i : damaged) {
        masters_->Kill(i);
        DamageTheMiddle(masters_->Journal(i));
    }
    for (int i : damaged) {
        masters_->Start(i);
        EXPECT_TRUE(Eventually([&] { return masters_->SaidSince(i, "wal is damaged"); }));
        EXPECT_TRUE(Eventually([&] { return masters_->Ask(i).answered; }));
    }
    EXPECT_EQ(masters_->Leader(GFS_NS_PER_S), 0);
}

TEST_F(Disks, a_torn_tail_is_cut_off)
{
    Begin();
    masters_->Kill(follower_);
    EXPECT_TRUE(load_->MoreWrites(kSome));
    TearTheTail(masters_->Journal(follower_));
    // After a power cut the metastore, which is never flushed, is built anew.
    std::filesystem::remove_all(masters_->Directory(follower_) + "/metastore");
    masters_->Start(follower_);
    EXPECT_TRUE(Eventually([&] { return masters_->SaidSince(follower_, "torn=1"); }))
        << masters_->Said(follower_);
    ExpectHealthy();
}

TEST_F(Disks, a_metastore_without_room_ends_its_master_and_no_other)
{
    MakeDisk(masters_->Directory(1) + "/metastore", "2m");
    Begin();
    Fill(masters_->Directory(1) + "/metastore");
    EXPECT_EQ(masters_->Wait(1), 1);
    EXPECT_NE(masters_->Said(1).find("this master cannot go on"), std::string::npos);
    EXPECT_TRUE(load_->MoreWrites(kSome));
    std::filesystem::remove(masters_->Directory(1) + "/metastore/ballast");
    masters_->Start(1);
    ExpectHealthy();
}

TEST_F(Disks, what_another_version_or_master_wrote_is_refused_by_name)
{
    Begin();
    const std::string mine = masters_->Directory(follower_) + "/IDENTITY";
    const std::string saved = dir_ + "/identity";
    masters_->Stop(follower_);
    std::filesystem::copy(mine, saved);
    std::ofstream(mine) << "format=2\ncluster=x\nid=1\naddress=x\nuuid=x\n";
    std::string said = Refusal(follower_);
    EXPECT_NE(said.find("was written by another version"), std::string::npos) << said;

    const auto replace = std::filesystem::copy_options::overwrite_existing;
    std::filesystem::copy(masters_->Directory(leader_) + "/IDENTITY", mine, replace);
    said = Refusal(follower_);
    EXPECT_NE(said.find("belongs to master " + std::to_string(leader_)), std::string::npos) << said;

    std::filesystem::copy(saved, mine, replace);
    const std::string journal = masters_->Journal(follower_);
    std::filesystem::copy(journal, dir_ + "/journal", std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(journal);
    std::filesystem::copy(masters_->Journal(leader_), journal,
                          std::filesystem::copy_options::recursive);
    said = Refusal(follower_);
    EXPECT_NE(said.find("belongs to another cluster, master or version"), std::string::npos)
        << said;

    std::filesystem::remove_all(journal);
    std::filesystem::rename(dir_ + "/journal", journal);
    masters_->Start(follower_);
    ExpectHealthy();
}

} // namespace
} // namespace raft_processes
