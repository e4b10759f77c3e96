#include "ns_fixture.h"

using namespace gfs_test;

namespace
{

int Decode(const std::string &bytes)
{
    gfsi_journal_entry *entry = nullptr;
    int rc = gfsi_journal_decode(bytes.data(), bytes.size(), &entry);
    gfsi_journal_free(entry);
    return rc;
}

TEST(JournalCodec, mount_survives_the_round_trip)
{
    std::string bytes = MountEntry("/hbase", "http://mirror/", "0123456789abcdef", 7000);
    gfsi_journal_entry *entry = nullptr;
    ASSERT_EQ(gfsi_journal_decode(bytes.data(), bytes.size(), &entry), 0);
    const gfsi_op *op = gfsi_journal_op(entry);
    EXPECT_EQ(op->type, GFSI_OP_MOUNT);
    EXPECT_STREQ(op->path, "/hbase");
    EXPECT_STREQ(op->uri, "http://mirror/");
    EXPECT_TRUE(op->read_only);
    EXPECT_FALSE(op->shared);
    ASSERT_EQ(op->n_props, 1u);
    EXPECT_STREQ(op->props[0].key, "user");
    EXPECT_STREQ(op->props[0].value, "somebody");
    EXPECT_EQ(op->time_ms, 7000);
    EXPECT_TRUE(op->begins_numbers);
    ASSERT_TRUE(op->has_id);
    EXPECT_EQ(memcmp(op->id, "0123456789abcdef", 16), 0);
    gfsi_journal_free(entry);
}

TEST(JournalCodec, listing_survives_the_round_trip)
{
    std::string bytes =
        SyncEntry(42, {Dir("a dir"), File("f%20\xc3\xa9", 123, "\"etag\"")}, true, false, 99, 777);
    gfsi_journal_entry *entry = nullptr;
    ASSERT_EQ(gfsi_journal_decode(bytes.data(), bytes.size(), &entry), 0);
    const gfsi_op *op = gfsi_journal_op(entry);
    EXPECT_EQ(op->type, GFSI_OP_SYNC_DIRECTORY);
    EXPECT_EQ(op->directory_id, 42u);
    EXPECT_TRUE(op->first);
    EXPECT_FALSE(op->last);
    EXPECT_EQ(op->listing_id, 99u);
    EXPECT_EQ(op->time_ms, 777);
    EXPECT_FALSE(op->has_id);
    ASSERT_EQ(op->n_children, 2u);
    EXPECT_TRUE(op->children[0].directory);
    EXPECT_EQ(std::string(op->children[1].name.s, op->children[1].name.len), "f%20\xc3\xa9");
    EXPECT_EQ(std::string(op->children[1].version.s, op->children[1].version.len), "\"etag\"");
    EXPECT_EQ(op->children[1].length, 123u);
    EXPECT_EQ(op->children[1].mode, 0444u);
    gfsi_journal_free(entry);
}

TEST(JournalCodec, refuses_what_the_state_machine_could_not_hold)
{
    EXPECT_EQ(Decode(SyncEntry(1, {File("..", 1, "v")})), GFS_EPROTO);
    EXPECT_EQ(Decode(SyncEntry(1, {File("a/b", 1, "v")})), GFS_EPROTO);
    EXPECT_EQ(Decode(SyncEntry(1, {File("", 1, "v")})), GFS_EPROTO);
    EXPECT_EQ(Decode(SyncEntry(1, {File(std::string(256, 'x'), 1, "v")})), GFS_EPROTO);
    EXPECT_EQ(Decode(SyncEntry(1, {File("a", 1, std::string(129, 'v'))})), GFS_EPROTO);
    EXPECT_EQ(Decode(SyncEntry(1, {}, true, true, 0)), GFS_EPROTO);
    EXPECT_EQ(Decode(MountEntry("hbase", "http://m/")), GFS_EPROTO);
    EXPECT_EQ(Decode(MountEntry("/a/../b", "http://m/")), GFS_EPROTO);
    EXPECT_EQ(Decode(MountEntry("/a//b", "http://m/")), GFS_EPROTO);
    EXPECT_EQ(Decode(MountEntry("/" + std::string(256, 'x'), "http://m/")), GFS_EPROTO);
    EXPECT_EQ(Decode(MountEntry("/a", std::string(GFSI_URI_MAX, 'u'))), GFS_EPROTO);
    EXPECT_EQ(Decode(SettingEntry("", "v")), GFS_EPROTO);
    EXPECT_EQ(Decode("\xff\xff\xff"), GFS_EPROTO);
}

TEST(JournalCodec, does_not_know_an_entry_of_a_newer_version)
{
    EXPECT_EQ(Decode(""), GFS_EUNSUPPORTED);
    EXPECT_EQ(Decode(std::string("\xfa\x01\x00", 3)), GFS_EUNSUPPORTED); // field 31, empty
}

TEST(JournalCodec, refuses_a_batch_over_the_limit)
{
    std::vector<Child> children;
    for (int i = 0; i <= GFSI_BATCH_MAX; i++) {
        children.push_back(File("f" + std::to_string(i), 1, "v"));
    }
    EXPECT_EQ(Decode(SyncEntry(1, children)), GFS_EPROTO);
    children.pop_back();
    EXPECT_EQ(Decode(SyncEntry(1, children)), 0);
}

} // namespace
