#include <gtest/gtest.h>

#include <cstring>

#include "mounted.h"
#include "spec_dup.h"

namespace
{

gfsi_mounted Scan(const char *text, const char *target)
{
    gfsi_mounted out;
    FILE *in = fmemopen(const_cast<char *>(text), strlen(text), "r");
    gfsi_mounted_scan(in, target, &out);
    fclose(in);
    return out;
}

const char kTable[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "40 22 0:41 / /mnt/a rw,nosuid shared:7 master:3 - fuse.goosefs-fuse src rw,user_id=0\n"
    "41 22 0:42 / /mnt/a ro - fuse.other src rw\n"
    "42 22 0:43 / /mnt/with\\040space rw - tmpfs tmpfs rw\n"
    "43 22 0:44 / /mnt/back\\134slash rw - tmpfs tmpfs rw\n"
    "44 22 bad / /mnt/bad rw - tmpfs tmpfs rw\n"
    "45 22 0:45 / /mnt/short rw\n"
    "garbage\n";

TEST(Mounted, TheTopOfTheStackIsFoundByItsExactPath)
{
    gfsi_mounted m = Scan(kTable, "/mnt/a");
    EXPECT_EQ(m.depth, 2u);
    EXPECT_EQ(m.minor, 42u);
    EXPECT_STREQ(m.fstype, "fuse.other");
    EXPECT_EQ(Scan(kTable, "/mnt").depth, 0u);
    EXPECT_EQ(Scan(kTable, "/mnt/aa").depth, 0u);
    EXPECT_EQ(Scan(kTable, "/").depth, 1u);
}

TEST(Mounted, EscapesAreDecoded)
{
    EXPECT_EQ(Scan(kTable, "/mnt/with space").minor, 43u);
    EXPECT_EQ(Scan(kTable, "/mnt/back\\slash").minor, 44u);
}

TEST(Mounted, LinesThatDoNotParseAreSkipped)
{
    EXPECT_EQ(Scan(kTable, "/mnt/bad").depth, 0u);
    EXPECT_EQ(Scan(kTable, "/mnt/short").depth, 0u);
}

TEST(SpecDup, ACopyIsEqualAndIndependent)
{
    std::string id = "a";
    const char *argv[] = {"/bin/x", "--y", nullptr};
    const char *env[] = {"A=1", nullptr};
    gfs_keeper_spec spec = {};
    spec.id = id.c_str();
    spec.mountpoint = "/m";
    spec.fstype = "fuse.x";
    spec.source = "s";
    spec.argv = argv;
    spec.env = env;

    gfs_keeper_spec *copy = gfsi_spec_dup(&spec);
    ASSERT_NE(copy, nullptr);
    EXPECT_TRUE(gfsi_spec_equal(&spec, copy));
    EXPECT_STREQ(copy->log_path, "");
    id[0] = 'b';
    EXPECT_STREQ(copy->id, "a");
    EXPECT_FALSE(gfsi_spec_equal(&spec, copy));
    id[0] = 'a';
    spec.log_path = "/elsewhere";
    EXPECT_TRUE(gfsi_spec_equal(&spec, copy)) << "the log's place is no part of the identity";
    const char *longer[] = {"/bin/x", "--y", "z", nullptr};
    spec.argv = longer;
    EXPECT_FALSE(gfsi_spec_equal(&spec, copy));
    spec.argv = argv;
    spec.env = nullptr;
    EXPECT_FALSE(gfsi_spec_equal(&spec, copy));
    free(copy);
}

} // namespace
