#include <condition_variable>
#include <deque>
#include <mutex>

#include "cluster_fixture.h"
#include "transport_priv.h"

using namespace gfs_test;

namespace
{

// One end, with what it saw.
class End
{
  public:
    End(int id, const std::string &cluster = "c") : id_(id)
    {
        std::string listen = Address(id);
        gfsi_transport_opts opts{};
        opts.cluster = cluster.c_str();
        opts.self = static_cast<uint64_t>(id);
        opts.listen = listen.c_str();
        opts.max_frame = 1 << 20;
        opts.arg = this;
        opts.on_frame = [](void *arg, uint64_t peer, const void *data, size_t len) {
            auto *end = static_cast<End *>(arg);
            std::lock_guard<std::mutex> lock(end->mutex_);
            end->frames_.push_back(std::to_string(peer) + ":" +
                                   std::string(static_cast<const char *>(data), len));
        };
        opts.on_link = [](void *arg, uint64_t peer, bool up) {
            auto *end = static_cast<End *>(arg);
            std::lock_guard<std::mutex> lock(end->mutex_);
            end->links_.push_back(std::to_string(peer) + (up ? "+" : "-"));
        };
        gfs_err err = GFS_ERR_INIT;
        EXPECT_EQ(gfsi_transport_new(&opts, &t, &err), 0) << err.text;
    }
    ~End()
    {
        gfsi_transport_free(t);
    }
    static std::string Address(int id)
    {
        return Host(10 + id) + ":" + std::to_string(kJournal);
    }
    void Start(const std::vector<int> &peers)
    {
        ASSERT_EQ(gfsi_transport_start(t, nullptr), 0);
        Peers(peers);
    }
    void Peers(const std::vector<int> &peers)
    {
        std::vector<uint64_t> ids;
        std::vector<std::string> addresses;
        std::vector<const char *> list;
        for (int p : peers) {
            ids.push_back(static_cast<uint64_t>(p));
            addresses.push_back(Address(p));
        }
        for (const std::string &a : addresses) {
            list.push_back(a.c_str());
        }
        gfsi_transport_peers(t, ids.data(), list.data(), ids.size());
    }
    int Send(int to, std::vector<std::string> pieces)
    {
        std::vector<iovec> iov;
        for (std::string &p : pieces) {
            iov.push_back({p.data(), p.size()});
        }
        return gfsi_transport_send(t, static_cast<uint64_t>(to), iov.data(),
                                   static_cast<int>(iov.size()));
    }
    std::vector<std::string> Frames()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return frames_;
    }
    std::vector<std::string> Links()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return links_;
    }
    gfsi_transport *t = nullptr;

  private:
    int id_;
    std::mutex mutex_;
    std::vector<std::string> frames_;
    std::vector<std::string> links_;
};

using Strings = std::vector<std::string>;

TEST(Transport, frames_arrive_whole_and_in_order)
{
    End a(1), b(2);
    a.Start({1, 2});
    b.Start({1, 2});
    ASSERT_TRUE(Eventually([&] { return a.Send(2, {"one"}) == 0; }));
    EXPECT_EQ(a.Send(2, {"t", "w", "o", ""}), 0);
    EXPECT_EQ(a.Send(2, {"th", "ree"}), 0);
    EXPECT_TRUE(Eventually([&] { return b.Frames() == Strings{"1:one", "1:two", "1:three"}; }));
    EXPECT_TRUE(Eventually([&] { return b.Send(1, {"back"}) == 0; }));
    EXPECT_TRUE(Eventually([&] { return a.Frames() == Strings{"2:back"}; }));
    EXPECT_EQ(a.Send(3, {"nobody"}), GFS_EUNAVAIL);
    EXPECT_NE(a.Send(2, {std::string(3 << 20, 'x')}), 0);
}

TEST(Transport, a_peer_that_dies_is_reported_and_found_again)
{
    End a(1);
    a.Start({1, 2});
    EXPECT_EQ(a.Send(2, {"x"}), GFS_EUNAVAIL);
    {
        End b(2);
        b.Start({1, 2});
        ASSERT_TRUE(Eventually([&] { return a.Links() == Strings{"2+"}; }));
    }
    EXPECT_TRUE(Eventually([&] { return a.Links().back() == "2-"; }));
    EXPECT_EQ(a.Send(2, {"x"}), GFS_EUNAVAIL);
    End b(2);
    b.Start({1, 2});
    EXPECT_TRUE(Eventually([&] { return a.Send(2, {"again"}) == 0; }));
    EXPECT_TRUE(Eventually([&] { return b.Frames() == Strings{"1:again"}; }));
}

TEST(Transport, another_cluster_is_not_talked_to)
{
    End a(1, "mine"), b(2, "theirs"), c(3, "mine");
    a.Start({1, 2, 3});
    b.Start({1, 2, 3});
    c.Start({1, 2, 3});
    ASSERT_TRUE(Eventually([&] { return a.Send(3, {"hello"}) == 0; }));
    ASSERT_TRUE(Eventually([&] { return c.Frames() == Strings{"1:hello"}; }));
    EXPECT_EQ(a.Send(2, {"hello"}), GFS_EUNAVAIL);
    EXPECT_EQ(a.Links(), Strings{"3+"});
    EXPECT_TRUE(b.Links().empty());
}

TEST(Transport, a_removed_peer_is_let_go)
{
    End a(1), b(2);
    a.Start({1, 2});
    b.Start({2});
    ASSERT_TRUE(Eventually([&] { return a.Send(2, {"x"}) == 0; }));
    a.Peers({1});
    EXPECT_EQ(a.Send(2, {"x"}), GFS_EUNAVAIL);
    a.Peers({1, 2});
    EXPECT_TRUE(Eventually([&] { return a.Send(2, {"y"}) == 0; }));
    EXPECT_TRUE(Eventually([&] { return b.Frames().size() == 2; }));
}

} // namespace
