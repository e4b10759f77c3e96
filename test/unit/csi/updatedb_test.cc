#include "fakes.h"
#include "updatedb_priv.h"

namespace
{

std::string edit(const std::string &text, int *rc, const char *fs = "fuse.a fuse.b",
                 const char *paths = "/runtime-mnt")
{
    struct gfs_buf out;
    gfs_buf_init(&out, 1 << 20);
    *rc = gfsi_updatedb_edit(text.c_str(), fs, paths, &out);
    std::string result = gfs_buf_str(&out);
    gfs_buf_fini(&out);
    return result;
}

TEST(UpdatedbTest, AddsWordsAndKeepsTheRest)
{
    int rc;
    std::string out = edit("PRUNE_BIND_MOUNTS=\"yes\"\n# PRUNEFS=\"no\"\nPRUNEFS=\"NFS fuse.a\"\n"
                           "PRUNEPATHS = \"/tmp\"\n",
                           &rc);
    EXPECT_EQ(rc, 1);
    EXPECT_EQ(out,
              "# Modified by csi-nodeplugin-fluid\nPRUNE_BIND_MOUNTS=\"yes\"\n# PRUNEFS=\"no\"\n"
              "PRUNEFS = \"NFS fuse.a fuse.b\"\nPRUNEPATHS = \"/tmp /runtime-mnt\"\n");
}

TEST(UpdatedbTest, TheSecondTimeNothingIsToBeDone)
{
    int rc;
    std::string once = edit("PRUNEFS=\"NFS\"", &rc);
    EXPECT_EQ(rc, 1);
    std::string twice = edit(once, &rc);
    EXPECT_EQ(rc, 0);
    EXPECT_EQ(once, twice);
}

TEST(UpdatedbTest, MissingLinesAreAdded)
{
    int rc;
    EXPECT_EQ(edit("", &rc, "fuse.a,fuse.b"),
              "# Modified by csi-nodeplugin-fluid\nPRUNEFS = \"fuse.a fuse.b\"\n"
              "PRUNEPATHS = \"/runtime-mnt\"\n");
    EXPECT_EQ(rc, 1);
}

TEST(UpdatedbTest, APartOfAWordIsNotTheWord)
{
    int rc;
    std::string out =
        edit("PRUNEFS=\"fuse.ab fuse.b\"\nPRUNEPATHS=\"/runtime-mnt2\"\n", &rc, "fuse.a");
    EXPECT_NE(out.find("fuse.ab fuse.b fuse.a\""), std::string::npos);
    EXPECT_NE(out.find("/runtime-mnt2 /runtime-mnt\""), std::string::npos);
}

TEST(UpdatedbTest, TheFileIsReplacedAndTheFirstOneKept)
{
    TempDir dir;
    struct gfs_err err = GFS_ERR_INIT;
    std::string file = dir.path() + "/updatedb.conf";
    EXPECT_EQ(gfsi_updatedb_prune(file.c_str(), "fuse.a", "/x", &err), 0)
        << "no file, nothing to do";
    EXPECT_FALSE(exists(file));
    FILE *f = fopen(file.c_str(), "w");
    fputs("PRUNEFS=\"NFS\"\n", f);
    fclose(f);
    ASSERT_EQ(gfsi_updatedb_prune(file.c_str(), "fuse.a", "/x", &err), 0) << err.text;
    ASSERT_EQ(gfsi_updatedb_prune(file.c_str(), "fuse.b", "/x", &err), 0);
    char line[256] = {0};
    f = fopen((file + ".backup").c_str(), "r");
    ASSERT_NE(f, nullptr);
    ASSERT_NE(fgets(line, sizeof(line), f), nullptr);
    fclose(f);
    EXPECT_STREQ(line, "PRUNEFS=\"NFS\"\n");
}

} // namespace
