// What people, scrapers and scripts get from the programs: csictl, /healthz, /metrics, the sockets.
#include <arpa/inet.h>
#include <sys/socket.h>

#include "csi_keeper_fixture.h"

namespace csi
{

class Program : public Keeper
{
  protected:
    std::string address;

    void SetUp() override
    {
        address = "127.0.0.1:" + std::to_string(free_port());
        extra_flags = {"--metrics-addr=" + address};
        Keeper::SetUp();
    }
    static uint16_t free_port()
    {
        struct sockaddr_in sa = {};
        socklen_t len = sizeof(sa);
        sa.sin_family = AF_INET;
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(bind(fd, reinterpret_cast<struct sockaddr *>(&sa), sizeof(sa)), 0);
        EXPECT_EQ(getsockname(fd, reinterpret_cast<struct sockaddr *>(&sa), &len), 0);
        close(fd);
        return ntohs(sa.sin_port);
    }
    static std::string read_all(int fd)
    {
        std::string all;
        char buffer[4096];
        for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
            all.append(buffer, static_cast<size_t>(n));
        }
        close(fd);
        return all;
    }
    // Status line and all, "" while nobody listens.
    std::string get(const std::string &path)
    {
        struct sockaddr_in sa = {};
        sa.sin_family = AF_INET;
        sa.sin_port =
            htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, reinterpret_cast<struct sockaddr *>(&sa), sizeof(sa)) != 0) {
            close(fd);
            return "";
        }
        std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(request.size()));
        return read_all(fd);
    }
    // Exit status and output (both streams).
    std::pair<int, std::string> csictl(std::vector<std::string> args, const std::string &at)
    {
        args.insert(args.begin(), {CSICTL_PATH, "--endpoint=unix://" + at});
        std::vector<char *> argv;
        for (auto &a : args) {
            argv.push_back(const_cast<char *>(a.c_str()));
        }
        argv.push_back(nullptr);
        int out[2];
        EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(out[1], 1);
            dup2(out[1], 2);
            execv(argv[0], argv.data());
            _exit(127);
        }
        close(out[1]);
        std::string text = read_all(out[0]);
        int status = 0;
        waitpid(pid, &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
    }
};

TEST_F(Program, HealthAndMetricsAreServedByThePluginItself)
{
    ASSERT_TRUE(eventually([&] { return !get("/healthz").empty(); })) << log_text();
    EXPECT_EQ(get("/healthz").find("HTTP/1.1 200 "), 0u) << get("/healthz");
    Volume v = goosefs("pod-1");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    Volume nobody;
    EXPECT_EQ(client->stage(nobody), INVALID_ARGUMENT);

    std::string metrics = get("/metrics");
    for (const char *line :
         {"\nfluid_csi_volumes 1\n", "\nfluid_csi_targets 1\n", "goosefs_rpc_server_seconds_count{",
          "NodePublishVolume", "goosefs_rpc_server_errors_total{", "fluid_csi_binds_dead 0",
          "{mount=\"default.hbase\""}) {
        EXPECT_NE(metrics.find(line), std::string::npos) << line << " not in\n" << metrics;
    }

    int status = 0;
    kill(keeper, SIGKILL);
    waitpid(keeper, &status, 0);
    (void)unlink(keeper_socket.c_str());
    EXPECT_TRUE(eventually([&] { return get("/healthz").find("HTTP/1.1 503 ") == 0; }))
        << get("/healthz");
    start_keeper();
    EXPECT_TRUE(eventually([&] { return get("/healthz").find("HTTP/1.1 200 ") == 0; }))
        << get("/healthz");
}

TEST_F(Program, WithoutTheRegistrarOnlyCsiIsServed)
{
    std::string registration = kubelet + "/plugins_registry/fuse.csi.fluid.io-reg.sock";
    EXPECT_TRUE(exists(registration));
    EXPECT_EQ(stop_plugin(SIGTERM), 0);
    extra_flags.push_back("--no-registrar");
    start_plugin();
    EXPECT_FALSE(exists(registration));
    EXPECT_EQ(probe(*client), OK);
    size_t n = 0;
    for (const auto &e : std::filesystem::directory_iterator(dir + "/csi")) {
        n += e.path() == socket ? 0 : 1;
    }
    EXPECT_EQ(n, 0u) << "nothing lies beside the socket";
}

TEST_F(Program, CsictlMakesEveryCall)
{
    Volume v = goosefs("pod-1");
    std::string registration = kubelet + "/plugins_registry/fuse.csi.fluid.io-reg.sock";
    std::vector<std::string> id = {"--volume-id", v.id}, staging = {"--staging-path", v.staging},
                             target = {"--target-path", v.target},
                             path = {"--volume-path", v.target}, attributes;
    for (const auto &kv : v.context) {
        attributes.insert(attributes.end(), {"--attr", kv.first + "=" + kv.second});
    }
    auto all = [](std::initializer_list<std::vector<std::string>> parts) {
        std::vector<std::string> out;
        for (const auto &p : parts) {
            out.insert(out.end(), p.begin(), p.end());
        }
        return out;
    };
    struct {
        std::vector<std::string> args;
        std::string expect;
        int status = 0;
        bool registration = false;
    } rows[] = {
        {{"identity", "info"}, "\"fuse.csi.fluid.io\""},
        {{"identity", "probe"}, "\"ready\""},
        {{"identity", "capabilities"}, "{"},
        {{"node", "info"}, "\"node-1\""},
        {{"node", "capabilities"}, "STAGE_UNSTAGE_VOLUME"},
        {all({{"node", "stage"}, id, staging, attributes}), "{"},
        {all({{"node", "publish"}, id, staging, target, attributes}), "{"},
        {all({{"node", "stats"}, id, path}), "\"BYTES\""},
        {all({{"node", "stats"}, id, {"--volume-path", "some/path"}}), "NOT_FOUND", 10 + NOT_FOUND},
        {all({{"node", "expand"}, id, path}), "UNIMPLEMENTED", 10 + UNIMPLEMENTED},
        {all({{"node", "unpublish"}, id, target}), "{"},
        {all({{"node", "unstage"}, id, staging}), "{"},
        {{"registration", "info"}, "CSIPlugin", 0, true},
        {{"registration", "notify"}, "{", 0, true},
        {{"node", "dance"}, "unknown command", 2},
    };
    for (const auto &row : rows) {
        auto [status, text] = csictl(row.args, row.registration ? registration : socket);
        std::string what = row.args[0] + " " + row.args[1];
        EXPECT_EQ(status, row.status) << what << ": " << text;
        EXPECT_NE(text.find(row.expect), std::string::npos) << what << ": " << text;
    }
    EXPECT_TRUE(mounts_below(dir).empty());
}

} // namespace csi
