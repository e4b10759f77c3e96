#include <gfs/base/err.h>

#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>

TEST(Err, EveryCodeHasTextErrnoAndGrpcStatus)
{
#define CHECK_ROW(name, value, err, grpc, retry, text)                                             \
    EXPECT_STREQ(#name, gfs_err_name(GFS_E##name));                                                \
    EXPECT_STREQ(text, gfs_err_string(GFS_E##name));                                               \
    EXPECT_EQ(err, gfs_err_to_errno(GFS_E##name));                                                 \
    EXPECT_EQ(grpc, gfs_err_to_grpc(GFS_E##name));                                                 \
    EXPECT_EQ(retry, gfs_err_retryable(GFS_E##name));
    GFS_ERR_MAP(CHECK_ROW)
#undef CHECK_ROW
}

TEST(Err, SuccessMapsToSuccessEverywhere)
{
    EXPECT_EQ(0, gfs_err_to_errno(GFS_OK));
    EXPECT_EQ(0, gfs_err_to_grpc(7));
    EXPECT_EQ(GFS_OK, gfs_err_from_grpc(0));
    EXPECT_EQ(GFS_OK, gfs_err_from_errno(0));
    EXPECT_FALSE(gfs_err_retryable(GFS_OK));
}

TEST(Err, AnErrnoFindsItsPlainMeaning)
{
    EXPECT_EQ(GFS_ENOENT, gfs_err_from_errno(ENOENT));
    EXPECT_EQ(GFS_EIO, gfs_err_from_errno(EIO));
    EXPECT_EQ(GFS_EUNAVAIL, gfs_err_from_errno(ECONNREFUSED));
    EXPECT_EQ(GFS_ENOSPC, gfs_err_from_errno(EDQUOT));
    EXPECT_EQ(GFS_EIO, gfs_err_from_errno(ENOTRECOVERABLE));
}

TEST(Err, AGrpcStatusComesBackAsACodeWithThatStatus)
{
    for (int status = 1; status <= 16; status++) {
        EXPECT_EQ(status, gfs_err_to_grpc(gfs_err_from_grpc(status))) << status;
    }
    EXPECT_EQ(GFS_EUNKNOWN, gfs_err_from_grpc(4711));
}

TEST(Err, ContextIsWrappedFromTheInsideOut)
{
    struct gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(GFS_ENOENT, gfs_err_set(&err, GFS_ENOENT, "no file '%s'", "x"));
    EXPECT_EQ(GFS_ENOENT, gfs_err_wrap(&err, err.code, "mount %d", 7));
    EXPECT_STREQ("mount 7: no file 'x'", err.text);
    EXPECT_EQ(GFS_ENOENT, err.code);
}

TEST(Err, AnErrnoIsSpeltOut)
{
    struct gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(GFS_ENOENT, gfs_err_set_errno(&err, ENOENT, "can't open '%s'", "/x"));
    EXPECT_STREQ("can't open '/x': No such file or directory", err.text);
}

TEST(Err, TextIsCutAtItsMaximumAndStaysTerminated)
{
    struct gfs_err err = GFS_ERR_INIT;
    std::string lots(2 * GFS_ERR_TEXT_MAX, 'x');
    gfs_err_set(&err, GFS_EIO, "%s", lots.c_str());
    EXPECT_EQ(GFS_ERR_TEXT_MAX - 1u, strlen(err.text));
    gfs_err_wrap(&err, GFS_EIO, "%s", lots.c_str());
    EXPECT_EQ(GFS_ERR_TEXT_MAX - 1u, strlen(err.text));
}

TEST(Err, ContextIsOptional)
{
    EXPECT_EQ(GFS_EIO, gfs_err_set(nullptr, GFS_EIO, "x"));
    EXPECT_EQ(GFS_EIO, gfs_err_wrap(nullptr, GFS_EIO, "x"));
    EXPECT_EQ(GFS_ENOENT, gfs_err_set_errno(nullptr, ENOENT, "x"));
    EXPECT_STREQ("no such entry", gfs_err_text(nullptr, GFS_ENOENT));
}
