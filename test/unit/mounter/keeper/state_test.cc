#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "life.h"
#include "state.h"

namespace
{

class State : public ::testing::Test
{
  protected:
    State()
    {
        gfs_buf_init(&out_, GFSI_STATE_MAX);
        spec_.id = "a";
        spec_.mountpoint = "/m";
        spec_.fstype = "fuse.x";
        spec_.source = "s";
        spec_.argv = argv_;
        state_.cookie = UINT64_C(0x1122334455667788);
        state_.pid = 4711;
        state_.minor = 42;
        state_.made_dir = true;
        state_.spec = &spec_;
    }
    ~State() override
    {
        gfs_buf_fini(&out_);
    }
    int Decode(const std::string &bytes, const char *boot = "boot-1")
    {
        // On the heap and of that very size, so that a sanitizer sees reads behind it.
        std::vector<char> copy(bytes.begin(), bytes.end());
        return gfsi_state_decode(copy.data(), copy.size(), boot, &file_, nullptr);
    }

    const char *argv_[2] = {"/bin/x", nullptr};
    gfs_keeper_spec spec_ = {};
    gfsi_state state_ = {};
    gfs_buf out_;
    gfsi_state_file file_;
};

TEST_F(State, ComesOutAsItWentIn)
{
    const char *newer[] = {"/bin/y", "--z", nullptr};
    state_.argv = newer;
    ASSERT_EQ(gfsi_state_encode(&state_, "boot-1", &out_), 0);
    ASSERT_EQ(gfsi_state_decode(out_.data, out_.len, "boot-1", &file_, nullptr), 0);
    EXPECT_EQ(file_.state.cookie, state_.cookie);
    EXPECT_EQ(file_.state.pid, 4711);
    EXPECT_EQ(file_.state.minor, 42u);
    EXPECT_TRUE(file_.state.made_dir);
    EXPECT_STREQ(file_.state.spec->id, "a");
    EXPECT_STREQ(file_.state.spec->argv[0], "/bin/x");
    ASSERT_NE(file_.state.argv, nullptr);
    EXPECT_STREQ(file_.state.argv[1], "--z");

    state_.argv = nullptr;
    ASSERT_EQ(gfsi_state_encode(&state_, "boot-1", &out_), 0);
    ASSERT_EQ(gfsi_state_decode(out_.data, out_.len, "boot-1", &file_, nullptr), 0);
    EXPECT_EQ(file_.state.argv, nullptr);
}

TEST_F(State, OfAnotherBootIsNobodys)
{
    ASSERT_EQ(gfsi_state_encode(&state_, "boot-1", &out_), 0);
    EXPECT_EQ(Decode(std::string(out_.data, out_.len), "boot-2"), GFS_ENOENT);
}

TEST_F(State, DamageIsSeen)
{
    const char *newer[] = {"/bin/y", nullptr};
    state_.argv = newer;
    ASSERT_EQ(gfsi_state_encode(&state_, "boot-1", &out_), 0);
    const std::string good(out_.data, out_.len);
    ASSERT_EQ(Decode(good), 0);

    for (size_t len = 0; len < good.size(); len++) {
        EXPECT_LT(Decode(good.substr(0, len)), 0) << len;
    }
    EXPECT_EQ(Decode(good + "x"), GFS_ECORRUPT);
    std::string bad = good;
    bad[0] ^= 1;
    EXPECT_EQ(Decode(bad), GFS_ECORRUPT);

    // A specification that would not be accepted from a caller is not accepted from here either.
    spec_.mountpoint = "/";
    ASSERT_EQ(gfsi_state_encode(&state_, "boot-1", &out_), 0);
    EXPECT_EQ(Decode(std::string(out_.data, out_.len)), GFS_EINVAL);
}

TEST(LifeAdopted, AReadyClientServesAndAStartingOneMayStillBeGivenUp)
{
    gfs_keeper_spec spec = {};
    spec.start_timeout_ms = 100;
    int64_t now = GFS_NS_PER_S;
    gfsi_life l;
    gfsi_life_init(&l, &spec, 1);
    gfsi_life_adopt(&l, now, true);
    EXPECT_EQ(l.state, GFS_KEEPER_SERVING);
    EXPECT_EQ(gfsi_life_check(&l), nullptr);
    EXPECT_EQ(gfsi_life_exited(&l, now + GFSI_LIFE_HEALTHY_NS, true, false),
              (unsigned)GFSI_LIFE_SPAWN);

    gfsi_life_init(&l, &spec, 1);
    gfsi_life_adopt(&l, now, false);
    EXPECT_EQ(l.state, GFS_KEEPER_STARTING);
    EXPECT_EQ(gfsi_life_tick(&l, now + GFS_NS_PER_S, true), (unsigned)GFSI_LIFE_KILL);
    EXPECT_EQ(gfsi_life_exited(&l, now, true, false), (unsigned)GFSI_LIFE_FAILED);
}

} // namespace
