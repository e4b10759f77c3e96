#include "fakes.h"
#include "journal_record_priv.h"

namespace
{

class JournalTest : public ::testing::Test
{
  protected:
    TempDir dir;
    struct gfsi_journal *journal = nullptr;
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_volume volume = {};
    struct gfsi_use use = {};

    void SetUp() override
    {
        snprintf(volume.id, sizeof(volume.id), "default-hbase");
        snprintf(volume.fluid_path, sizeof(volume.fluid_path), "/runtime-mnt/x");
        snprintf(volume.mount_type, sizeof(volume.mount_type), "fuse.goosefs-fuse");
        snprintf(use.path, sizeof(use.path), "/var/lib/kubelet/a");
        snprintf(use.digest, sizeof(use.digest), "digest");
        use.access_mode = 5;
        use.read_only = true;
        open();
    }
    void TearDown() override
    {
        journal = gfsi_journal_free(journal);
    }
    void open()
    {
        journal = gfsi_journal_free(journal);
        ASSERT_EQ(gfsi_journal_open(dir.path().c_str(), &journal, &err), 0) << err.text;
    }
    std::vector<std::string> files(const std::string &suffix)
    {
        std::vector<std::string> out;
        FILE *p = popen(("ls " + dir.path() + "/volumes").c_str(), "r");
        char line[512];
        while (fgets(line, sizeof(line), p) != nullptr) {
            std::string name(line, strlen(line) - 1);
            if (name.size() >= suffix.size() &&
                name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0) {
                out.push_back(dir.path() + "/volumes/" + name);
            }
        }
        pclose(p);
        return out;
    }
    struct gfsi_journal_totals counts()
    {
        struct gfsi_journal_totals c;
        gfsi_journal_counts(journal, &c);
        return c;
    }
};

TEST_F(JournalTest, WhatWasPutIsThereAfterReopening)
{
    volume.clean_policy = GFS_CSI_CLEAN_ON_DEMAND;
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_STAGED, &use, &err), 0) << err.text;
    snprintf(use.path, sizeof(use.path), "/var/lib/kubelet/b");
    use.symlink = true;
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &use, &err), 0);
    open();

    struct gfsi_volume v;
    struct gfsi_use u;
    ASSERT_EQ(gfsi_journal_find(journal, "default-hbase", &v), 0);
    EXPECT_STREQ(v.fluid_path, "/runtime-mnt/x");
    EXPECT_EQ(v.clean_policy, GFS_CSI_CLEAN_ON_DEMAND);
    ASSERT_EQ(
        gfsi_journal_find_use(journal, "default-hbase", GFSI_PUBLISHED, "/var/lib/kubelet/b", &u),
        0);
    EXPECT_STREQ(u.digest, "digest");
    EXPECT_EQ(u.access_mode, 5);
    EXPECT_TRUE(u.read_only);
    EXPECT_TRUE(u.symlink);
    EXPECT_EQ(gfsi_journal_find_use(journal, "default-hbase", GFSI_PUBLISHED, "/var/lib/kubelet/a",
                                    nullptr),
              GFS_ENOENT);
}

TEST_F(JournalTest, TheLastUseTakesTheVolumeAndItsFileAlong)
{
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_STAGED, &use, &err), 0);
    EXPECT_EQ(files(".json").size(), 1u);
    ASSERT_EQ(gfsi_journal_drop(journal, "default-hbase", GFSI_STAGED, use.path, &err), 0);
    ASSERT_EQ(gfsi_journal_drop(journal, "default-hbase", GFSI_STAGED, use.path, &err), 0);
    EXPECT_EQ(gfsi_journal_find(journal, "default-hbase", nullptr), GFS_ENOENT);
    EXPECT_TRUE(files("").empty());
}

TEST_F(JournalTest, PuttingAgainReplaces)
{
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &use, &err), 0);
    snprintf(use.digest, sizeof(use.digest), "other");
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &use, &err), 0);
    EXPECT_EQ(gfsi_journal_count_uses(journal, "default-hbase", GFSI_PUBLISHED), 1u);
    struct gfsi_use u;
    ASSERT_EQ(gfsi_journal_find_use(journal, "default-hbase", GFSI_PUBLISHED, use.path, &u), 0);
    EXPECT_STREQ(u.digest, "other");
}

TEST_F(JournalTest, AVolumeIdNeverBecomesAPath)
{
    snprintf(volume.id, sizeof(volume.id), "../../../tmp/evil");
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_STAGED, &use, &err), 0) << err.text;
    ASSERT_EQ(files(".json").size(), 1u);
    open();
    EXPECT_EQ(gfsi_journal_find(journal, "../../../tmp/evil", nullptr), 0);
}

TEST_F(JournalTest, RecordsOfAnotherBootAreDropped)
{
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_STAGED, &use, &err), 0);
    std::string file = files(".json")[0];
    ASSERT_EQ(std::system(
                  ("sed -i 's/\"boot_id\": \"[^\"]*\"/\"boot_id\": \"earlier\"/' " + file).c_str()),
              0);
    open();
    EXPECT_EQ(gfsi_journal_find(journal, "default-hbase", nullptr), GFS_ENOENT);
    EXPECT_EQ(counts().discarded, 1u);
    EXPECT_TRUE(files("").empty());
}

TEST_F(JournalTest, FilesThatAreNoRecordsAreSetAside)
{
    const char *texts[] = {"{", "[]", "{\"boot_id\": 7}", "{\"boot_id\": \"BOOT\", \"version\": 1}",
                           "{\"boot_id\": \"BOOT\", \"version\": 1, \"volume_id\": \"\"}"};
    char boot[128] = {0};
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
    ASSERT_NE(fgets(boot, sizeof(boot), f), nullptr);
    fclose(f);
    boot[strcspn(boot, "\n")] = '\0';

    size_t n = 0;
    for (const char *text : texts) {
        std::string body = text;
        if (size_t at = body.find("BOOT"); at != std::string::npos) {
            body.replace(at, 4, boot);
        }
        f = fopen((dir.path() + "/volumes/" + std::to_string(n++) + ".json").c_str(), "w");
        fputs(body.c_str(), f);
        fclose(f);
    }
    open();
    EXPECT_EQ(counts().loaded, 0u);
    EXPECT_EQ(counts().discarded, n);
    EXPECT_EQ(files(".corrupt").size(), n);
    EXPECT_TRUE(files(".json").empty());
}

TEST_F(JournalTest, AnEmptyFileIsWhatAMachineThatDiedLeaves)
{
    FILE *f = fopen((dir.path() + "/volumes/0.json").c_str(), "w");
    fclose(f);
    open();
    EXPECT_EQ(counts().discarded, 1u);
    EXPECT_TRUE(files("").empty());
}

TEST_F(JournalTest, AFailedWriteChangesNothing)
{
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &use, &err), 0);
    std::string file = files(".json")[0];
    ASSERT_EQ(mkdir((file + ".tmp").c_str(), 0700), 0); // in the way of the new file
    struct gfsi_use other = use;
    snprintf(other.digest, sizeof(other.digest), "other");
    EXPECT_LT(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &other, &err), 0);
    struct gfsi_use u;
    ASSERT_EQ(gfsi_journal_find_use(journal, "default-hbase", GFSI_PUBLISHED, use.path, &u), 0);
    EXPECT_STREQ(u.digest, "digest");
    open();
    ASSERT_EQ(gfsi_journal_find_use(journal, "default-hbase", GFSI_PUBLISHED, use.path, &u), 0);
    EXPECT_STREQ(u.digest, "digest");
}

// A record cut anywhere, as by a disk that lost its end, is refused or whole; never half.
TEST_F(JournalTest, TruncatedRecordsNeverParse)
{
    struct gfsi_record *record = gfsi_record_new(&volume);
    ASSERT_NE(record, nullptr);
    (void)gfsi_record_link_use(record, GFSI_PUBLISHED, gfsi_record_use_new(&use));
    char *text = gfsi_record_encode(record, "boot");
    ASSERT_NE(text, nullptr);
    for (size_t len = 0; len < strlen(text); len++) {
        struct gfsi_record *out = nullptr;
        EXPECT_LT(gfsi_record_decode(text, len, "boot", &out, &err), 0) << len;
        EXPECT_EQ(out, nullptr);
    }
    struct gfsi_record *out = nullptr;
    EXPECT_EQ(gfsi_record_decode(text, strlen(text), "boot", &out, &err), 0);
    gfsi_record_free(out);
    gfsi_record_free(record);
    free(text);
}

TEST_F(JournalTest, AFileMustBeTheOneOfTheVolumeItNames)
{
    ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_STAGED, &use, &err), 0);
    std::string file = files(".json")[0];
    ASSERT_EQ(rename(file.c_str(), (dir.path() + "/volumes/0000.json").c_str()), 0);
    open();
    EXPECT_EQ(counts().volumes, 0u);
    EXPECT_EQ(files(".corrupt").size(), 1u);
}

TEST_F(JournalTest, TooManyUsesAreBusy)
{
    // Without a file per step: fill a record and check the limit on the way in.
    for (int i = 0; i < GFSI_JOURNAL_USES_MAX; i++) {
        snprintf(use.path, sizeof(use.path), "/k/%d", i);
        ASSERT_EQ(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &use, &err), 0) << err.text;
    }
    snprintf(use.path, sizeof(use.path), "/k/more");
    EXPECT_EQ(gfsi_journal_put(journal, &volume, GFSI_PUBLISHED, &use, &err), GFS_EBUSY);
    open();
    EXPECT_EQ(counts().published, static_cast<unsigned>(GFSI_JOURNAL_USES_MAX));
}

} // namespace
