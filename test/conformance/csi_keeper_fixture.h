// Launch mode "process": a real fuse-keeper that runs a real FUSE client for the plugin.
#ifndef CSI_KEEPER_FIXTURE_H
#define CSI_KEEPER_FIXTURE_H

#include "csi_fixture.h"

namespace csi
{

class Keeper : public Fixture
{
  protected:
    pid_t keeper = -1;
    std::string keeper_socket, program;

    void SetUp() override
    {
        Fixture::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (access("/dev/fuse", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "no /dev/fuse here";
        }
        keeper_socket = dir + "/keeper.sock";
        program = dir + "/goosefs-fuse";
        std::ofstream(program) << "#!/bin/sh\n"
                                  "test \"$1\" = --properties && test -r \"$2\" || exit 1\n"
                                  "export ASAN_OPTIONS=detect_leaks=0\n"
                                  "exec " SURVIVAL_CLIENT_PATH " --size 1M --entries 10\n";
        ASSERT_EQ(chmod(program.c_str(), 0755), 0);
        write_config("goosefs.master.rpc.addresses=m:26000\n");
        start_keeper();
        start_plugin();
    }
    void TearDown() override
    {
        if (keeper > 0) {
            int status = 0;
            kill(keeper, SIGTERM);
            waitpid(keeper, &status, 0);
        }
        Fixture::TearDown();
    }
    std::vector<std::string> flags() override
    {
        return {"--keeper-socket=" + keeper_socket, "--fuse-program=" + program};
    }
    void write_config(const std::string &text)
    {
        std::string conf = runtime + "/goosefs/default/hbase/conf";
        std::filesystem::create_directories(conf);
        std::ofstream(conf + "/goosefs-site.properties") << text;
    }
    void start_keeper()
    {
        keeper = fork();
        ASSERT_GE(keeper, 0);
        if (keeper == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            execl(KEEPER_PATH, KEEPER_PATH, "--socket", keeper_socket.c_str(), "--client-user", "0",
                  nullptr);
            _exit(127);
        }
        ASSERT_TRUE(eventually([&] { return exists(keeper_socket); }));
    }
    Volume goosefs(const std::string &pod, const char *policy = "OnDemand")
    {
        Volume v = volume(pod, "fuse.goosefs-fuse");
        v.context.push_back({"fuse_clean_policy", policy});
        return v;
    }
};

} // namespace csi

#endif
