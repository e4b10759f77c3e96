// The state directory and the addresses: what is refused, and what survives a restart.
#include "unit/controller/fixture.h"

#include <memory>
#include <set>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/file.h>

#include "platform/local/address.h"
#include "platform/local/events.h"
#include "platform/local/remove.h"
#include "platform/local/state.h"

namespace
{

struct State : testing::Test {
    std::string dir;

    void SetUp() override
    {
        char name[] = "/tmp/gfs-state-XXXXXX";

        ASSERT_NE(mkdtemp(name), nullptr);
        dir = name;
    }

    void TearDown() override
    {
        EXPECT_EQ(gfsi_remove_tree(dir.c_str(), 0, nullptr), 0);
        EXPECT_NE(access(dir.c_str(), F_OK), 0);
    }

    void write(const std::string &name, const std::string &text)
    {
        std::ofstream(dir + "/" + name) << text;
    }
};

TEST_F(State, OneInstanceAtATime)
{
    gfs_err err = GFS_ERR_INIT;
    int lock = -1;
    int second = -1;

    ASSERT_EQ(gfsi_state_open(dir.c_str(), &lock, &err), 0) << err.text;
    EXPECT_EQ(gfsi_state_open(dir.c_str(), &second, &err), GFS_EBUSY);
    EXPECT_EQ(std::string(err.text), "another fluid-controller (pid " + std::to_string(getpid()) +
                                         ") uses " + dir +
                                         ": stop it, or give this one another --state-dir");
    close(lock);
    EXPECT_EQ(gfsi_state_open(dir.c_str(), &lock, &err), 0) << err.text;
    close(lock);
}

TEST_F(State, AnotherVersionIsRefusedAndLeftAlone)
{
    gfs_err err = GFS_ERR_INIT;
    int lock = -1;

    write("version", "fluid-local 2\n");
    EXPECT_EQ(gfsi_state_open(dir.c_str(), &lock, &err), GFS_EUNSUPPORTED);
    EXPECT_NE(std::string(err.text).find("was written by another version ('fluid-local 2', this "
                                         "one writes 'fluid-local 1')"),
              std::string::npos)
        << err.text;
    EXPECT_EQ(slurp(dir + "/version"), "fluid-local 2\n");
}

TEST_F(State, ADirectoryOfSomethingElseIsRefused)
{
    gfs_err err = GFS_ERR_INIT;
    int lock = -1;

    write("thesis.txt", "x");
    EXPECT_EQ(gfsi_state_open(dir.c_str(), &lock, &err), GFS_EEXIST);
    EXPECT_NE(std::string(err.text).find("not a state directory"), std::string::npos);
    EXPECT_NE(access((dir + "/version").c_str(), F_OK), 0);
}

TEST_F(State, ObjectsComeBackAsTheyWere)
{
    std::vector<gfs_object *> loaded;
    Object dataset(sample("dataset.yaml"), "team-a");
    Object runtime(sample("runtime.yaml"));
    gfs_err err = GFS_ERR_INIT;
    int lock = -1;
    auto each = [](void *arg, gfs_object *object, int64_t created_ms) {
        EXPECT_EQ(created_ms, 1700000000123);
        static_cast<std::vector<gfs_object *> *>(arg)->push_back(object);
    };

    ASSERT_EQ(gfsi_state_open(dir.c_str(), &lock, &err), 0) << err.text;
    ASSERT_EQ(gfsi_state_save(dir.c_str(), dataset.ptr, 1700000000123, &err), 0) << err.text;
    ASSERT_EQ(gfsi_state_save(dir.c_str(), runtime.ptr, 1700000000123, &err), 0) << err.text;
    write("objects/dataset.default.broken.json", "{\"kind\": ");
    ASSERT_EQ(gfsi_state_load(dir.c_str(), each, &loaded, &err), 0) << err.text;
    ASSERT_EQ(loaded.size(), 2u) << "the broken one is skipped";
    for (gfs_object *object : loaded) {
        const gfs_object *want = object->kind == GFS_KIND_DATASET ? dataset.ptr : runtime.ptr;

        EXPECT_STREQ(object->json, want->json);
        EXPECT_STREQ(object->ns, want->ns);
        gfs_object_free(object);
    }

    ASSERT_EQ(gfsi_state_remove(dir.c_str(), dataset.ptr, &err), 0);
    ASSERT_EQ(gfsi_state_remove(dir.c_str(), dataset.ptr, &err), 0) << "twice is fine";
    loaded.clear();
    ASSERT_EQ(gfsi_state_load(dir.c_str(), each, &loaded, &err), 0);
    ASSERT_EQ(loaded.size(), 1u);
    gfs_object_free(loaded[0]);
    close(lock);
}

const uint16_t PORTS[] = {26000, 0};

TEST_F(State, AddressesAreDistinctInRangeAndKept)
{
    gfsi_addresses *a = nullptr;
    std::set<std::string> seen;
    std::string first;
    char address[GFSI_ADDRESS_SIZE];

    ASSERT_EQ(gfsi_addresses_load(dir.c_str(), "seed", &a, nullptr), 0);
    for (int i = 0; i < 500; i++) {
        std::string name = "hbase-worker-" + std::to_string(i);
        in_addr in;

        ASSERT_EQ(gfsi_addresses_get(a, "default", name.c_str(), PORTS, address, nullptr), 0);
        EXPECT_TRUE(seen.insert(address).second);
        ASSERT_EQ(inet_pton(AF_INET, address, &in), 1);
        EXPECT_EQ(ntohl(in.s_addr) & 0xffc00000u, 0x7f400000u) << address;
        first = first.empty() ? address : first;
    }
    ASSERT_EQ(gfsi_addresses_get(a, "other", "hbase-worker-0", PORTS, address, nullptr), 0);
    EXPECT_NE(address, first) << "the same name in another namespace";
    ASSERT_EQ(gfsi_addresses_save(a, "default", nullptr), 1);
    ASSERT_EQ(gfsi_addresses_save(a, "default", nullptr), 0) << "nothing changed";
    ASSERT_EQ(gfsi_addresses_save(a, "other", nullptr), 1);
    gfsi_addresses_free(a);

    EXPECT_NE(slurp(dir + "/hosts").find(first + " hbase-worker-0 hbase-worker-0.default\n"),
              std::string::npos);
    EXPECT_EQ(slurp(dir + "/hosts-other"),
              std::string(address) + " hbase-worker-0 hbase-worker-0.other\n");
    ASSERT_EQ(gfsi_addresses_load(dir.c_str(), "another seed", &a, nullptr), 0);
    ASSERT_EQ(gfsi_addresses_get(a, "default", "hbase-worker-0", PORTS, address, nullptr), 0);
    EXPECT_EQ(address, first);
    gfsi_addresses_free(a);
}

TEST_F(State, AnAddressWhosePortIsInUseIsPassedOver)
{
    gfsi_addresses *a = nullptr;
    char address[GFSI_ADDRESS_SIZE];
    char again[GFSI_ADDRESS_SIZE];
    sockaddr_in in = {};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ASSERT_EQ(gfsi_addresses_load(dir.c_str(), "seed", &a, nullptr), 0);
    ASSERT_EQ(gfsi_addresses_get(a, "default", "x", PORTS, address, nullptr), 0);
    gfsi_addresses_drop(a, "default", "x");

    in.sin_family = AF_INET;
    in.sin_port = htons(PORTS[0]);
    ASSERT_EQ(inet_pton(AF_INET, address, &in.sin_addr), 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&in), sizeof(in)), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    ASSERT_EQ(gfsi_addresses_get(a, "default", "x", PORTS, again, nullptr), 0);
    EXPECT_STRNE(address, again);
    close(fd);
    gfsi_addresses_free(a);
}

TEST_F(State, AHostsFileThatWasMeddledWithIsReadForWhatItIs)
{
    gfsi_addresses *a = nullptr;
    char address[GFSI_ADDRESS_SIZE];

    write("hosts", "# comment\n\n10.0.0.1 evil\n127.64.0.9\nnonsense line\n127.64.0.7 good\n" +
                       std::string("127.64.0.8 ") + std::string(300, 'x') + "\n");
    ASSERT_EQ(gfsi_addresses_load(dir.c_str(), "seed", &a, nullptr), 0);
    ASSERT_EQ(gfsi_addresses_get(a, "default", "good", PORTS, address, nullptr), 0);
    EXPECT_STREQ(address, "127.64.0.7");
    ASSERT_EQ(gfsi_addresses_get(a, "default", "evil", PORTS, address, nullptr), 0);
    EXPECT_EQ(std::string(address).rfind("127.", 0), 0u);
    gfsi_addresses_free(a);
}

TEST_F(State, RemovingATreeLeavesWhatLinksPointTo)
{
    gfs_err err = GFS_ERR_INIT;
    std::string tree = dir + "/a/b/c";

    ASSERT_EQ(gfs_mkdirs(tree.c_str(), 0755, &err), 0);
    write("keep", "x");
    ASSERT_EQ(symlink((dir + "/keep").c_str(), (tree + "/link").c_str()), 0);
    write("a/b/c/file", "y");
    EXPECT_EQ(gfsi_remove_tree(tree.c_str(), 1, &err), 0) << err.text;
    EXPECT_EQ(slurp(dir + "/keep"), "x");
    EXPECT_NE(access((dir + "/a/b").c_str(), F_OK), 0) << "the empty parent goes too";
    EXPECT_EQ(access((dir + "/a").c_str(), F_OK), 0) << "but only one";
    EXPECT_EQ(gfsi_remove_tree(tree.c_str(), 0, &err), 0) << "not being there is fine";
}

TEST(Events, TheSameAgainCountsAndTheOldestGoesWhenFull)
{
    auto events = std::make_unique<gfsi_events>();

    for (int i = 0; i < 3; i++) {
        gfsi_events_add(events.get(), "default", "dataset", "hbase", true, "Reason", "text", i);
    }
    ASSERT_EQ(events->n, 1u);
    EXPECT_EQ(gfsi_events_at(events.get(), 0)->count, 3u);
    EXPECT_EQ(gfsi_events_at(events.get(), 0)->first_ms, 0);
    EXPECT_EQ(gfsi_events_at(events.get(), 0)->last_ms, 2);

    for (int i = 0; i < GFSI_EVENTS_MAX; i++) {
        gfsi_events_add(events.get(), "default", "pod", ("p" + std::to_string(i)).c_str(), false,
                        "Started", "text", i);
    }
    EXPECT_EQ(events->n, (size_t)GFSI_EVENTS_MAX);
    EXPECT_STREQ(gfsi_events_at(events.get(), 0)->name, "p0");
    EXPECT_STREQ(gfsi_events_at(events.get(), GFSI_EVENTS_MAX - 1)->name, "p999");
}

} // namespace
