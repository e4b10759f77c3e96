// goosefs journal dump|verify on logs that the master's own writer made, and that were damaged.
#include "unit/goosefs/cli/fake_fs.h"

#include <raft/types.h>
#include <raft/wal.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "goosefs_journal.pb-c.h"

namespace
{

std::string Pack(const Goosefs__V1__JournalEntry &entry)
{
    std::string bytes(goosefs__v1__journal_entry__get_packed_size(&entry), '\0');
    goosefs__v1__journal_entry__pack(&entry, reinterpret_cast<uint8_t *>(bytes.data()));
    return bytes;
}

std::string Mount(const char *path, const char *uri)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__MountEntry mount = GOOSEFS__V1__MOUNT_ENTRY__INIT;
    Goosefs__V1__MountEntry__PropertiesEntry property =
        GOOSEFS__V1__MOUNT_ENTRY__PROPERTIES_ENTRY__INIT;
    Goosefs__V1__MountEntry__PropertiesEntry *properties[] = {&property};
    property.key = const_cast<char *>("fs.key");
    property.value = const_cast<char *>("hidden-value");
    mount.path = const_cast<char *>(path);
    mount.ufs_uri = const_cast<char *>(uri);
    mount.read_only = true;
    mount.n_properties = 1;
    mount.properties = properties;
    entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_MOUNT;
    entry.mount = &mount;
    return Pack(entry);
}

std::string Unmount(const char *path)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__UnmountEntry unmount = GOOSEFS__V1__UNMOUNT_ENTRY__INIT;
    unmount.path = const_cast<char *>(path);
    entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_UNMOUNT;
    entry.unmount = &unmount;
    return Pack(entry);
}

std::string Setting(const char *key, const char *value)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__SettingEntry setting = GOOSEFS__V1__SETTING_ENTRY__INIT;
    setting.key = const_cast<char *>(key);
    setting.value = const_cast<char *>(value);
    entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_SETTING;
    entry.setting = &setting;
    return Pack(entry);
}

std::string SyncDirectory()
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__SyncDirectoryEntry sync = GOOSEFS__V1__SYNC_DIRECTORY_ENTRY__INIT;
    Goosefs__V1__InodeEntry child = GOOSEFS__V1__INODE_ENTRY__INIT;
    Goosefs__V1__InodeEntry *children[] = {&child, &child};
    sync.directory_id = 7;
    sync.listing_id = 0xabc;
    sync.last = true;
    sync.n_children = 2;
    sync.children = children;
    entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_DIRECTORY;
    entry.sync_directory = &sync;
    return Pack(entry);
}

std::string SyncChild(const std::string &name, bool removed)
{
    Goosefs__V1__JournalEntry entry = GOOSEFS__V1__JOURNAL_ENTRY__INIT;
    Goosefs__V1__SyncChildEntry sync = GOOSEFS__V1__SYNC_CHILD_ENTRY__INIT;
    Goosefs__V1__InodeEntry child = GOOSEFS__V1__INODE_ENTRY__INIT;
    std::string copy = name;
    child.name.data = reinterpret_cast<uint8_t *>(copy.data());
    child.name.len = copy.size();
    sync.directory_id = 9;
    sync.child = &child;
    sync.removed = removed;
    entry.body_case = GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_CHILD;
    entry.sync_child = &sync;
    return Pack(entry);
}

size_t Count(const std::string &text, const std::string &what)
{
    size_t n = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
        n++;
    }
    return n;
}

// A journal folder; every entry is a flush of its own, so a batch of its own.
class JournalTest : public ::testing::Test
{
  protected:
    JournalTest() : folder_(dir_ / "journal"), log_(folder_ + "/raft")
    {
        std::filesystem::create_directories(folder_);
    }

    void Write(const std::vector<std::pair<uint8_t, std::string>> &entries)
    {
        raft_wal_opts opts{};
        opts.dir = log_.c_str();
        opts.cluster_id = 1;
        opts.node_id = 2;
        opts.segment_bytes = 64 << 10;
        opts.inline_spare = true;
        raft_wal *wal = nullptr;
        raft_wal_state state;
        ASSERT_EQ(raft_wal_open(&opts, &wal, &state), 0);
        ASSERT_EQ(raft_wal_add_hard_state(wal, 4, 2), 0);
        uint64_t index = state.last_index;
        for (const auto &[type, data] : entries) {
            raft_wal_entry entry{};
            entry.index = ++index;
            entry.term = 4;
            entry.type = type;
            entry.data = data.data();
            entry.len = data.size();
            ASSERT_EQ(raft_wal_add_entry(wal, &entry), 0);
            ASSERT_EQ(raft_wal_flush(wal), 0);
        }
        raft_wal_close(wal);
    }

    // Where entry `index` lies: its segment and offset, from the dump itself.
    void Damage(uint64_t index)
    {
        const Result r =
            Goosefs({"journal", "dump", "--from", std::to_string(index), "--limit", "1", folder_});
        ASSERT_EQ(r.code, 0) << r.err;
        std::istringstream line(r.out);
        std::string segment;
        uint64_t offset = 0;
        ASSERT_TRUE(line >> segment >> offset) << r.out;
        std::fstream file(log_ + "/" + segment, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(offset) + 44);
        const int byte = file.get();
        file.seekp(static_cast<std::streamoff>(offset) + 44);
        file.put(static_cast<char>(byte ^ 0x55));
        ASSERT_TRUE(file.good());
    }

    TempDir dir_;
    std::string folder_, log_;
};

const std::string kUnmount = Unmount("/a/long/enough/path");

} // namespace

TEST_F(JournalTest, DumpPrintsOneLinePerRecordWithTheCommandInWords)
{
    Write({{RAFT_ENTRY_NOOP, ""},
           {RAFT_ENTRY_CONFIG, "xyz"},
           {RAFT_ENTRY_COMMAND, Mount("/data", "https://host/x/")},
           {RAFT_ENTRY_COMMAND, kUnmount},
           {RAFT_ENTRY_COMMAND, Setting("limit", "hidden-value")},
           {RAFT_ENTRY_COMMAND, SyncDirectory()},
           {RAFT_ENTRY_COMMAND, SyncChild("one\ntwo'", false)},
           {RAFT_ENTRY_COMMAND, SyncChild("gone", true)},
           {RAFT_ENTRY_COMMAND, "\xff\xff"},
           {RAFT_ENTRY_COMMAND, ""}});
    const Result r = Goosefs({"journal", "dump", folder_});
    ASSERT_EQ(r.code, 0) << r.err;
    for (const char *text :
         {" index=1 length=0 noop\n", " index=2 length=3 members\n",
          " command: mount '/data' of 'https://host/x/' read-only properties 'fs.key'\n",
          " command: unmount '/a/long/enough/path'\n", " command: setting 'limit'\n",
          " command: sync directory 7: 2 children of listing 0000000000000abc, last batch\n",
          " command: sync child 'one\\x0atwo\\x27' of directory 9\n",
          " command: remove child 'gone' of directory 9\n",
          " index=9 length=2 command: not an entry of the namespace\n",
          " index=10 length=0 command: of a kind this version does not know\n"}) {
        EXPECT_EQ(Count(r.out, text), 1u) << text << "in\n" << r.out;
    }
    EXPECT_EQ(r.out.find("hidden-value"), std::string::npos);
    EXPECT_EQ(Count(r.out, " batch number="), 10u);
    EXPECT_EQ(Count(r.out, " hard term=4 vote=2\n"), 10u);
    EXPECT_EQ(Goosefs({"journal", "dump", log_}).out, r.out);
}

TEST_F(JournalTest, FromAndLimitCutTheDump)
{
    std::vector<std::pair<uint8_t, std::string>> entries(300, {RAFT_ENTRY_COMMAND, kUnmount});
    Write(entries); // several segments
    const Result all = Goosefs({"journal", "dump", folder_});
    ASSERT_EQ(all.code, 0) << all.err;
    EXPECT_EQ(Count(all.out, " entry term=4 "), 300u);
    const Result one = Goosefs({"journal", "dump", "--from=250", "--limit=1", folder_});
    EXPECT_EQ(one.code, 0);
    EXPECT_EQ(Count(one.out, "\n"), 1u);
    EXPECT_EQ(Count(one.out, " entry term=4 index=250 "), 1u);
    const Result rest = Goosefs({"journal", "dump", "--from", "250", folder_});
    EXPECT_EQ(Count(rest.out, " entry term=4 "), 51u);
    EXPECT_EQ(all.out.substr(all.out.size() - rest.out.size()), rest.out);
    EXPECT_EQ(Goosefs({"journal", "dump", "--limit", "0", folder_}).out, "");
    EXPECT_EQ(Goosefs({"journal", "dump", "--limit", "x", folder_}).code, 1);
}

TEST_F(JournalTest, VerifyTellsWholeFromTornFromCorrupt)
{
    Write({{RAFT_ENTRY_COMMAND, kUnmount},
           {RAFT_ENTRY_COMMAND, kUnmount},
           {RAFT_ENTRY_COMMAND, kUnmount}});
    const Result whole = Goosefs({"journal", "verify", folder_});
    EXPECT_EQ(whole.code, 0) << whole.err;
    EXPECT_NE(whole.out.find("Entries: 1 to 3\nTerm: 4\nVote: 2\nState: whole\n"),
              std::string::npos)
        << whole.out;

    Damage(3); // the last write: as a crash leaves it
    const Result torn = Goosefs({"journal", "verify", log_});
    EXPECT_EQ(torn.code, 1);
    EXPECT_NE(torn.out.find("Entries: 1 to 2\n"), std::string::npos) << torn.out;
    EXPECT_NE(torn.out.find("State: torn: "), std::string::npos) << torn.out;
    EXPECT_NE(torn.out.find(".wal"), std::string::npos) << torn.out;
    const Result dump = Goosefs({"journal", "dump", folder_});
    EXPECT_EQ(dump.code, 0);
    EXPECT_NE(dump.err.find("the last write is unfinished"), std::string::npos) << dump.err;

    Write({{RAFT_ENTRY_COMMAND, kUnmount}, {RAFT_ENTRY_COMMAND, kUnmount}});
    Damage(1); // and this one had been durable: others follow it
    const Result corrupt = Goosefs({"journal", "verify", folder_});
    EXPECT_EQ(corrupt.code, 1);
    EXPECT_NE(corrupt.out.find("State: corrupt: "), std::string::npos) << corrupt.out;
    EXPECT_NE(corrupt.out.find(".wal"), std::string::npos) << corrupt.out;
    const Result cut = Goosefs({"journal", "dump", folder_});
    EXPECT_EQ(cut.code, 1);
    EXPECT_NE(cut.err.find("journal: corrupt: "), std::string::npos) << cut.err;
}

TEST_F(JournalTest, WhatIsNoJournalIsSaid)
{
    for (const char *verb : {"dump", "verify"}) {
        Result r = Goosefs({"journal", verb, folder_});
        EXPECT_EQ(r.code, 1);
        EXPECT_NE(r.err.find("there is no journal in " + folder_), std::string::npos) << r.err;
        r = Goosefs({"journal", verb, folder_ + "/absent"});
        EXPECT_EQ(r.code, 1);
        EXPECT_NE(r.err.find("/absent"), std::string::npos) << r.err;
        EXPECT_EQ(Goosefs({"journal", verb}).code, 2);
    }
    EXPECT_EQ(Goosefs({"journal", "rewrite", folder_}).code, 1);
    Write({{RAFT_ENTRY_NOOP, ""}});
    EXPECT_EQ(Goosefs({"journal", "verify", "--limit", "1", folder_}).code, 1);
    EXPECT_EQ(Goosefs({"journal", "verify", folder_}).code, 0);
}

TEST_F(JournalTest, ReadingChangesNothing)
{
    Write({{RAFT_ENTRY_COMMAND, kUnmount}});
    const auto names = [&] {
        std::vector<std::string> list;
        for (const auto &file : std::filesystem::directory_iterator(log_)) {
            list.push_back(file.path().filename().string() + " " +
                           std::to_string(file.file_size()) + " " +
                           std::to_string(file.last_write_time().time_since_epoch().count()));
        }
        std::sort(list.begin(), list.end());
        return list;
    };
    const auto before = names();
    EXPECT_EQ(Goosefs({"journal", "verify", folder_}).code, 0);
    EXPECT_EQ(Goosefs({"journal", "dump", folder_}).code, 0);
    EXPECT_EQ(names(), before);
}
