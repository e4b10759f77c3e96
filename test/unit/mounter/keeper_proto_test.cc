#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include <gfs/mounter/keeper_proto.h>
#include <gfs/mounter/launch_proto.h>

namespace
{

class KeeperProto : public ::testing::Test
{
  protected:
    KeeperProto()
    {
        gfs_buf_init(&out_, GFS_KEEPER_MSG_MAX);
    }
    ~KeeperProto() override
    {
        gfs_buf_fini(&out_);
    }

    int Decode(size_t len)
    {
        return gfs_keeper_msg_decode(out_.data, len, &msg_, nullptr);
    }
    int Decode()
    {
        return Decode(out_.len);
    }

    // Appends a field by hand and completes the message.
    void Field(uint16_t tag, const std::string &value)
    {
        unsigned char header[4] = {(unsigned char)tag, (unsigned char)(tag >> 8),
                                   (unsigned char)value.size(), (unsigned char)(value.size() >> 8)};
        gfs_buf_append(&out_, header, 4);
        gfs_buf_append(&out_, value.data(), value.size());
        ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    }

    static gfs_keeper_spec Spec()
    {
        static const char *argv[] = {"/usr/bin/goosefs-fuse", "--properties", "/etc/x", nullptr};
        static const char *env[] = {"PATH=/bin", nullptr};
        gfs_keeper_spec spec = {};
        spec.id = "default-hbase";
        spec.mountpoint = "/runtime-mnt/goosefs/default/hbase/goosefs-fuse";
        spec.fstype = "fuse.goosefs-fuse";
        spec.source = "goosefs-fuse";
        spec.options = GFS_KEEPER_ALLOW_OTHER | GFS_KEEPER_READ_ONLY;
        spec.max_read = 1 << 20;
        spec.uid = 65534;
        spec.gid = 65533;
        spec.start_timeout_ms = 1000;
        spec.hang_timeout_ms = 2000;
        spec.stall_timeout_ms = 3000;
        spec.log_path = "/var/log/x.log";
        spec.launch = "/runtime-mnt/goosefs/default/hbase";
        spec.argv = argv;
        spec.env = env;
        return spec;
    }

    gfs_buf out_;
    gfs_keeper_msg msg_;
};

TEST_F(KeeperProto, ASpecComesOutAsItWentIn)
{
    gfs_keeper_spec spec = Spec();
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_MOUNT, 77);
    gfs_keeper_msg_put_spec(&out_, &spec);
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    ASSERT_EQ(Decode(), 0);

    EXPECT_EQ(msg_.type, GFS_KEEPER_MOUNT);
    EXPECT_EQ(msg_.seq, 77u);
    EXPECT_STREQ(msg_.spec.id, spec.id);
    EXPECT_STREQ(msg_.spec.mountpoint, spec.mountpoint);
    EXPECT_STREQ(msg_.spec.fstype, spec.fstype);
    EXPECT_STREQ(msg_.spec.source, spec.source);
    EXPECT_STREQ(msg_.spec.log_path, spec.log_path);
    EXPECT_EQ(msg_.spec.options, spec.options);
    EXPECT_EQ(msg_.spec.max_read, spec.max_read);
    EXPECT_EQ(msg_.spec.uid, spec.uid);
    EXPECT_EQ(msg_.spec.gid, spec.gid);
    EXPECT_EQ(msg_.spec.start_timeout_ms, spec.start_timeout_ms);
    EXPECT_EQ(msg_.spec.hang_timeout_ms, spec.hang_timeout_ms);
    EXPECT_EQ(msg_.spec.stall_timeout_ms, spec.stall_timeout_ms);
    EXPECT_STREQ(msg_.spec.launch, spec.launch);
    ASSERT_EQ(msg_.n_argv, 3u);
    EXPECT_STREQ(msg_.spec.argv[2], "/etc/x");
    EXPECT_EQ(msg_.spec.argv[3], nullptr);
    ASSERT_EQ(msg_.n_env, 1u);
    EXPECT_STREQ(msg_.spec.env[0], "PATH=/bin");
    EXPECT_EQ(gfs_keeper_spec_check(&msg_.spec, nullptr), 0);
}

TEST_F(KeeperProto, RepliesCarryStatusTextAndRecords)
{
    gfs_keeper_info info = {};
    info.id = "a";
    info.mountpoint = "/m";
    info.state = GFS_KEEPER_SERVING;
    info.pid = 1234567;
    info.minor = 42;
    info.restarts = UINT64_C(5000000000);
    info.resends = 6;
    info.hangs = 7;
    info.remounts = 8;
    info.waiting = 9;
    info.since_ms = 10;
    info.launch = "/l";
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_LIST | GFS_KEEPER_REPLY, 1);
    gfs_keeper_msg_put_status(&out_, GFS_EBUSY, "too many");
    EXPECT_TRUE(gfs_keeper_msg_put_info(&out_, &info));
    gfs_keeper_msg_put_more(&out_);
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    ASSERT_EQ(Decode(), 0);

    EXPECT_EQ(msg_.type, GFS_KEEPER_LIST | GFS_KEEPER_REPLY);
    EXPECT_EQ(msg_.status, GFS_EBUSY);
    EXPECT_STREQ(msg_.text, "too many");
    EXPECT_TRUE(msg_.more);
    ASSERT_EQ(msg_.n_infos, 1u);
    EXPECT_STREQ(msg_.infos[0].id, "a");
    EXPECT_STREQ(msg_.infos[0].mountpoint, "/m");
    EXPECT_EQ(msg_.infos[0].state, (uint32_t)GFS_KEEPER_SERVING);
    EXPECT_EQ(msg_.infos[0].pid, 1234567u);
    EXPECT_EQ(msg_.infos[0].minor, 42u);
    EXPECT_EQ(msg_.infos[0].restarts, UINT64_C(5000000000));
    EXPECT_EQ(msg_.infos[0].resends, 6u);
    EXPECT_EQ(msg_.infos[0].hangs, 7u);
    EXPECT_EQ(msg_.infos[0].remounts, 8u);
    EXPECT_EQ(msg_.infos[0].waiting, 9u);
    EXPECT_EQ(msg_.infos[0].since_ms, 10u);
    EXPECT_STREQ(msg_.infos[0].launch, "/l");
}

TEST_F(KeeperProto, WhatALauncherIsToldAndSaysComesOutAsItWentIn)
{
    gfs_keeper_spec spec = Spec();
    gfs_keeper_msg_begin(&out_, GFS_LAUNCH_SPAWN, 5);
    gfs_keeper_msg_put_id(&out_, spec.id);
    gfs_keeper_msg_put_argv(&out_, spec.argv);
    gfs_keeper_msg_put_env(&out_, spec.env);
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    ASSERT_EQ(Decode(), 0);
    EXPECT_EQ(msg_.type, GFS_LAUNCH_SPAWN);
    EXPECT_EQ(msg_.n_argv, 3u);
    EXPECT_STREQ(msg_.env[0], "PATH=/bin");

    gfs_keeper_msg_begin(&out_, GFS_LAUNCH_EXITED, 5);
    gfs_keeper_msg_put_id(&out_, spec.id);
    gfs_keeper_msg_put_pid(&out_, 77);
    gfs_keeper_msg_put_signal(&out_, 9);
    gfs_keeper_msg_put_status(&out_, 256, nullptr);
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    ASSERT_EQ(Decode(), 0);
    EXPECT_EQ(msg_.pid, 77u);
    EXPECT_EQ(msg_.signal, 9u);
    EXPECT_EQ(msg_.status, 256);
}

TEST_F(KeeperProto, ARecordThatDoesNotFitLeavesRoomForMore)
{
    std::string path(GFS_KEEPER_PATH_MAX, 'p');
    gfs_keeper_info info = {};
    info.id = "a";
    info.mountpoint = path.c_str();
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_LIST | GFS_KEEPER_REPLY, 1);
    size_t n = 0;
    while (gfs_keeper_msg_put_info(&out_, &info)) {
        n++;
    }
    gfs_keeper_msg_put_more(&out_);
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    ASSERT_EQ(Decode(), 0);
    EXPECT_EQ(msg_.n_infos, n);
    EXPECT_GT(n, 10u);
    EXPECT_TRUE(msg_.more);
}

TEST_F(KeeperProto, EveryCutOffMessageIsRefused)
{
    gfs_keeper_spec spec = Spec();
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_MOUNT, 1);
    gfs_keeper_msg_put_spec(&out_, &spec);
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    for (size_t len = 0; len < out_.len; len++) {
        // A copy of just that length, so that the sanitizer sees a read behind it.
        std::vector<char> copy(out_.data, out_.data + len);
        EXPECT_EQ(gfs_keeper_msg_decode(copy.data(), len, &msg_, nullptr), GFS_EPROTO) << len;
    }
}

TEST_F(KeeperProto, MalformedFieldsAreRefused)
{
    const std::pair<uint16_t, std::string> bad[] = {
        {2, std::string("a")},             // text without NUL
        {2, std::string("a\0b\0", 4)},     // with two
        {2, std::string()},                // empty value
        {2, std::string(129, 'a') + '\0'}, // too long
        {6, std::string("abc")},           // u32 of 3 bytes
        {18, std::string("x")},            // flag with a value
        {19, std::string("x")},            // record that is no field
    };
    for (const auto &field : bad) {
        gfs_keeper_msg_begin(&out_, GFS_KEEPER_STAT, 1);
        Field(field.first, field.second);
        EXPECT_EQ(Decode(), GFS_EPROTO) << "tag " << field.first;
    }
}

TEST_F(KeeperProto, AScalarGivenTwiceIsRefusedAndAListTooLong)
{
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_STAT, 1);
    gfs_keeper_msg_put_id(&out_, "a");
    gfs_keeper_msg_put_id(&out_, "b");
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    EXPECT_EQ(Decode(), GFS_EPROTO);

    gfs_keeper_msg_begin(&out_, GFS_KEEPER_RESTART, 1);
    for (int i = 0; i < GFS_KEEPER_ARGS_MAX; i++) {
        Field(13, std::string("x\0", 2));
    }
    EXPECT_EQ(Decode(), 0);
    Field(13, std::string("x\0", 2));
    EXPECT_EQ(Decode(), GFS_EPROTO);
}

TEST_F(KeeperProto, UnknownTagsAreSkippedAndOtherVersionsTold)
{
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_STAT, 9);
    Field(900, "from the future");
    gfs_keeper_msg_put_id(&out_, "a");
    ASSERT_EQ(gfs_keeper_msg_end(&out_), 0);
    ASSERT_EQ(Decode(), 0);
    EXPECT_STREQ(msg_.spec.id, "a");

    out_.data[4] = 2;
    EXPECT_EQ(Decode(), GFS_EUNSUPPORTED);
    EXPECT_EQ(msg_.seq, 9u);
    EXPECT_EQ(msg_.type, GFS_KEEPER_STAT);
}

TEST_F(KeeperProto, ARequestThatCannotBeEncodedSaysSo)
{
    std::string id(GFS_KEEPER_ID_MAX + 1, 'a');
    gfs_keeper_msg_begin(&out_, GFS_KEEPER_STAT, 1);
    gfs_keeper_msg_put_id(&out_, id.c_str());
    EXPECT_EQ(gfs_keeper_msg_end(&out_), GFS_ERANGE);
}

TEST_F(KeeperProto, TheSpecCheckNamesWhatIsWrong)
{
    gfs_keeper_spec good = Spec();
    ASSERT_EQ(gfs_keeper_spec_check(&good, nullptr), 0);

    auto refused = [](gfs_keeper_spec spec) {
        gfs_err err = GFS_ERR_INIT;
        return gfs_keeper_spec_check(&spec, &err) == GFS_EINVAL && err.text[0] != '\0';
    };
    const char *relative[] = {"goosefs-fuse", nullptr};
    const char *none[] = {nullptr};
    const char *ld[] = {"LD_PRELOAD=/x", nullptr};
    const char *reserved[] = {"GFS_KEEPER_SESSION=2", nullptr};
    const char *no_value[] = {"PATH", nullptr};

    for (const char *id : {"", ".", "a/b", "a b", "a\n"}) {
        gfs_keeper_spec s = good;
        s.id = id;
        EXPECT_TRUE(refused(s)) << id;
    }
    for (const char *path : {"", "/", "relative", "/a/../b", "/a//b", "/a/"}) {
        gfs_keeper_spec s = good;
        s.mountpoint = path;
        EXPECT_TRUE(refused(s)) << path;
    }
    for (const char *type : {"", "fuse", "fuse.", "ext4", "fuse.a,b", "fuse.a b"}) {
        gfs_keeper_spec s = good;
        s.fstype = type;
        EXPECT_TRUE(refused(s)) << type;
    }
    for (const char *const *argv : {relative, none}) {
        gfs_keeper_spec s = good;
        s.argv = argv;
        EXPECT_TRUE(refused(s));
    }
    for (const char *const *env : {ld, reserved, no_value}) {
        gfs_keeper_spec s = good;
        s.env = env;
        EXPECT_TRUE(refused(s)) << env[0];
    }
    gfs_keeper_spec s = good;
    s.options = 0x80;
    EXPECT_TRUE(refused(s));
    s = good;
    s.max_read = 1;
    EXPECT_TRUE(refused(s));
    s = good;
    s.hang_timeout_ms = UINT32_MAX;
    EXPECT_TRUE(refused(s));
    s = good;
    s.log_path = "x.log";
    EXPECT_TRUE(refused(s));
}

} // namespace
