// fluid-controller run, with programs that only wait in the place of masters, workers and the node
// plugin: what the supervisor and the control socket do does not depend on what they supervise.
#include "unit/controller/fixture.h"

#include <csignal>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/file.h>

#include "platform/local/pidfile.h"
#include "platform/local/remove.h"

namespace
{

const int64_t LIMIT = 60 * GFS_NS_PER_S; // generous: only a hang runs into it

struct Result {
    int status = -1;
    std::string out, err;
};

struct Local : testing::Test {
    std::string dir;
    pid_t controller = 0;

    void SetUp() override
    {
        char name[] = "/tmp/gfs-local-XXXXXX";

        if (geteuid() != 0 || access("/dev/fuse", F_OK) != 0) {
            GTEST_SKIP() << "needs root and /dev/fuse";
        }
        ASSERT_NE(mkdtemp(name), nullptr);
        dir = name;
        ASSERT_EQ(mkdir((dir + "/bin").c_str(), 0755), 0);
        for (const char *program : {"goosefs-master", "goosefs-worker", "goosefs-fuse",
                                    "fuse-keeper", "csi-nodeplugin-fluid"}) {
            ASSERT_EQ(symlink(GFS_CHILD_PROGRAM, (dir + "/bin/" + program).c_str()), 0);
        }
        setenv("FLUID_CONTROLLER_SOCKET", (dir + "/state/control.sock").c_str(), 1);
    }

    void TearDown() override
    {
        if (dir.empty()) {
            return;
        }
        if (controller > 0) {
            stop();
        }
        gfsi_remove_tree(dir.c_str(), 0, nullptr);
    }

    pid_t spawn(const std::vector<std::string> &args, const std::string &out,
                const std::string &err)
    {
        posix_spawn_file_actions_t actions;
        std::vector<char *> argv;
        std::string program = GFS_CONTROLLER_PROGRAM;
        pid_t pid = -1;

        argv.push_back(program.data());
        for (const std::string &arg : args) {
            argv.push_back(const_cast<char *>(arg.c_str()));
        }
        argv.push_back(nullptr);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                         0600);
        posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                         0600);
        EXPECT_EQ(
            posix_spawn(&pid, GFS_CONTROLLER_PROGRAM, &actions, nullptr, argv.data(), environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        return pid;
    }

    Result fluid(const std::vector<std::string> &args)
    {
        Result r;
        int status = 0;
        pid_t pid = spawn(args, dir + "/out", dir + "/err");

        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        r.out = slurp(dir + "/out");
        r.err = slurp(dir + "/err");
        return r;
    }

    std::vector<std::string> run_args() const
    {
        return {"run",        "--state-dir",    dir + "/state",   "--mount-root",
                dir + "/mnt", "--kubelet-root", dir + "/kubelet", "--bin-dir",
                dir + "/bin"};
    }

    void start()
    {
        controller = spawn(run_args(), dir + "/run.out", dir + "/run.err");

        // The pod exists as soon as the control socket answers.
        Result r = fluid({"wait", "--for=condition=Ready", "pod/" + system_pod(), "-n",
                          "fluid-system", "--timeout=60s"});

        ASSERT_EQ(r.status, 0) << r.err << slurp(dir + "/run.err");
    }

    // The pod that is the controller itself is ready when the controller is.
    std::string system_pod() const
    {
        char suffix[GFS_POD_SUFFIX_LEN + 1];

        gfs_pod_suffix((dir + "/state").c_str(), GFS_FLUID_NAMESPACE, "dataset-controller", 0, 0,
                       suffix);
        return std::string("dataset-controller-") + suffix;
    }

    int stop()
    {
        int status = 0;

        kill(controller, SIGTERM);
        EXPECT_EQ(waitpid(controller, &status, 0), controller);
        controller = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

    void apply_samples()
    {
        Result r = fluid({"apply", "-f", GFS_SOURCE_DIR "/deploy/samples/dataset.yaml", "-f",
                          GFS_SOURCE_DIR "/deploy/samples/runtime.yaml"});

        ASSERT_EQ(r.status, 0) << r.err;
        EXPECT_EQ(r.out, "dataset.data.fluid.io/hbase created\n"
                         "goosefsruntime.data.fluid.io/hbase created\n");
    }

    // Column `column` of every row of a table.
    static std::vector<std::string> column(const std::string &table, size_t column)
    {
        std::istringstream lines(table);
        std::vector<std::string> out;
        std::string line;

        std::getline(lines, line);
        while (std::getline(lines, line)) {
            std::istringstream words(line);
            std::string word;

            for (size_t i = 0; i <= column; i++) {
                words >> word;
            }
            out.push_back(word);
        }
        return out;
    }

    pid_t pid_of(const std::string &pod)
    {
        gfsi_pidfile file = {};

        return gfsi_pidfile_read(
                   (dir + "/state/pods/default/" + pod + "/goosefs-master.pid").c_str(), &file) == 0
                   ? file.pid
                   : 0;
    }

    template <typename F> void eventually(const char *what, F condition)
    {
        int64_t end = gfs_clock_mono() + LIMIT;

        while (!condition()) {
            ASSERT_LT(gfs_clock_mono(), end) << what << "\n" << slurp(dir + "/run.err");
            gfs_clock_sleep_until(gfs_clock_mono() + 5 * GFS_NS_PER_MS);
        }
    }

    // Processes whose command line names this test's directory.
    static std::vector<pid_t> processes(const std::string &needle)
    {
        std::vector<pid_t> out;

        for (pid_t pid = 2; pid < 4194304; pid++) {
            std::string path = "/proc/" + std::to_string(pid) + "/cmdline";

            if (access(path.c_str(), F_OK) == 0 && slurp(path).find(needle) != std::string::npos) {
                out.push_back(pid);
            }
            if (pid > 65536 && access("/proc/65537", F_OK) != 0) {
                break;
            }
        }
        return out;
    }
};

TEST_F(Local, ObjectsBecomePodsAndStoppingLeavesNothing)
{
    start();
    apply_samples();

    std::vector<std::string> names;

    eventually("seven pods", [&] {
        names = column(fluid({"get", "pods"}).out, 0);
        return names.size() == 7;
    });
    EXPECT_EQ(names[0].rfind("hbase-fuse-", 0), 0u);
    EXPECT_EQ(names[1], "hbase-master-0");
    EXPECT_EQ(names[3], "hbase-master-2");
    EXPECT_EQ(names[6].rfind("hbase-worker-", 0), 0u);
    EXPECT_EQ(fluid({"get", "dataset", "hbase"}).out.rfind("NAME    UFS TOTAL SIZE   CACHED   ", 0),
              0u);
    EXPECT_EQ(column(fluid({"get", "goosefsruntime"}).out, 1),
              std::vector<std::string>{"NotReady"});
    EXPECT_GT(pid_of("hbase-master-0"), 0);
    EXPECT_FALSE(processes(dir).empty());

    EXPECT_EQ(stop(), 0);
    EXPECT_TRUE(processes(dir).empty());
    EXPECT_EQ(access((dir + "/state/control.sock").c_str(), F_OK), -1);
}

TEST_F(Local, AppliedObjectsComeBackWithTheNextInstance)
{
    start();
    apply_samples();
    EXPECT_EQ(stop(), 0);
    start();
    EXPECT_EQ(fluid({"apply", "-f", GFS_SOURCE_DIR "/deploy/samples/runtime.yaml"}).out,
              "goosefsruntime.data.fluid.io/hbase unchanged\n");
    EXPECT_EQ(fluid({"create", "-f", GFS_SOURCE_DIR "/deploy/samples/runtime.yaml"}).err,
              "goosefsruntimes.data.fluid.io \"hbase\" already exists\n");
}

TEST_F(Local, AKilledProcessIsStartedAgainAndCounted)
{
    start();
    apply_samples();
    eventually("a master", [&] { return pid_of("hbase-master-1") > 0; });

    pid_t first = pid_of("hbase-master-1");

    kill(first, SIGKILL);
    eventually("another master",
               [&] { return pid_of("hbase-master-1") > 0 && pid_of("hbase-master-1") != first; });
    eventually("one restart", [&] {
        return column(fluid({"get", "pods", "hbase-master-1"}).out, 3) ==
               std::vector<std::string>{"1"};
    });
    EXPECT_NE(fluid({"get", "events"}).out.find("signal 9 (Killed)"), std::string::npos);
}

TEST_F(Local, ACrashLoopIsVisible)
{
    ASSERT_EQ(unlink((dir + "/bin/goosefs-worker").c_str()), 0);
    std::ofstream(dir + "/bin/goosefs-worker") << "#!/bin/sh\necho the disk is on fire\nexit 4\n";
    ASSERT_EQ(chmod((dir + "/bin/goosefs-worker").c_str(), 0755), 0);
    start();
    apply_samples();
    eventually("CrashLoopBackOff", [&] {
        return fluid({"get", "pods"}).out.find("CrashLoopBackOff") != std::string::npos;
    });

    std::string events = fluid({"get", "events"}).out;

    EXPECT_NE(events.find("Back-off restarting container goosefs-worker: exit status 4: the disk "
                          "is on fire"),
              std::string::npos)
        << events;
}

TEST_F(Local, AfterAKillTheNextInstanceAdoptsWhatRuns)
{
    start();
    apply_samples();
    eventually("a master", [&] { return pid_of("hbase-master-2") > 0; });

    pid_t pid = pid_of("hbase-master-2");

    kill(controller, SIGKILL);
    waitpid(controller, nullptr, 0);
    start();
    eventually("the same master", [&] {
        return fluid({"get", "pods", "hbase-master-2", "-o", "wide"})
                   .out.find(" " + std::to_string(pid) + "\n") != std::string::npos;
    });
    EXPECT_EQ(stop(), 0);
    EXPECT_TRUE(processes(dir).empty());
}

TEST_F(Local, WhatADeletionLeftWhenItWasCutShortGoesAtTheNextStart)
{
    start();
    apply_samples();
    eventually("a worker's cache directory", [&] {
        return access((dir + "/state/disks/mnt/disk1/default/hbase").c_str(), F_OK) == 0 ||
               access("/mnt/disk1/default/hbase", F_OK) == 0;
    });
    eventually("a master", [&] { return pid_of("hbase-master-0") > 0; });

    EXPECT_FALSE(processes(dir + "/state/pods/default").empty());
    kill(controller, SIGKILL);
    waitpid(controller, nullptr, 0);
    for (const char *object : {"dataset", "goosefsruntime"}) {
        unlink((dir + "/state/objects/" + object + ".default.hbase.json").c_str());
    }
    start();
    EXPECT_TRUE(processes(dir + "/state/pods/default").empty());
    EXPECT_NE(access((dir + "/state/pods/default/hbase-master-0").c_str(), F_OK), 0);
    EXPECT_NE(access((dir + "/state/disks/mnt/disk1/default").c_str(), F_OK), 0);
    EXPECT_EQ(fluid({"get", "pods"}).out, "");
}

TEST_F(Local, AProcessThatWasNeverWrittenDownIsStoppedAtTheNextStart)
{
    start();
    apply_samples();
    eventually("a master", [&] { return pid_of("hbase-master-0") > 0; });
    kill(controller, SIGKILL);
    waitpid(controller, nullptr, 0);

    pid_t stray = pid_of("hbase-master-0");

    unlink((dir + "/state/pods/default/hbase-master-0/goosefs-master.pid").c_str());
    start();
    eventually("another master",
               [&] { return pid_of("hbase-master-0") > 0 && pid_of("hbase-master-0") != stray; });

    std::vector<pid_t> left = processes(dir + "/state/pods/default/hbase-master-0/");

    EXPECT_EQ(left, std::vector<pid_t>{pid_of("hbase-master-0")});
}

TEST_F(Local, APortInUseIsSaidAndTriedAgain)
{
    sockaddr_in any = {};
    socklen_t len = sizeof(any);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    any.sin_family = AF_INET;
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&any), len), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&any), &len), 0);

    std::string port = std::to_string(ntohs(any.sin_port));

    std::ofstream(dir + "/runtime.yaml")
        << "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\nmetadata: {name: hbase}\n"
        << "spec: {properties: {goosefs.master.rpc.port: '" << port << "'}}\n";
    start();
    EXPECT_EQ(fluid({"apply", "-f", GFS_SOURCE_DIR "/deploy/samples/dataset.yaml", "-f",
                     dir + "/runtime.yaml"})
                  .status,
              0);
    eventually("the event", [&] {
        return fluid({"get", "events"}).out.find("is a program listening on 0.0.0.0:" + port) !=
               std::string::npos;
    });
    EXPECT_EQ(fluid({"get", "pods"}).out, "") << "nothing starts before all have an address";
    close(fd);
    eventually("a master", [&] { return pid_of("hbase-master-0") > 0; });
}

TEST_F(Local, ResourcesThatAreNotThereAreSaid)
{
    start();
    apply_samples();
    eventually("a master", [&] { return pid_of("hbase-master-0") > 0; });

    Result r = fluid({"delete", "runtime/hbase"});

    EXPECT_NE(r.status, 0);
    EXPECT_NE(r.err.find("there is no resource 'runtime'"), std::string::npos) << r.err;
    EXPECT_EQ(fluid({"delete", "dataset", "nothere"}).err,
              "datasets.data.fluid.io \"nothere\" not found\n");
}

TEST_F(Local, SayWhatIsWrongAndWhatToDo)
{
    Result r = fluid({"get", "pods"});

    EXPECT_EQ(r.status, 1);
    EXPECT_NE(r.err.find("is `fluid-controller run` running?"), std::string::npos) << r.err;

    start();
    r = fluid(run_args());
    EXPECT_EQ(r.status, 1);
    EXPECT_NE(r.err.find("another fluid-controller (pid " + std::to_string(controller) + ")"),
              std::string::npos)
        << r.err;

    std::ofstream(dir + "/bad.yaml") << "apiVersion: data.fluid.io/v1alpha1\nkind: GooseFSRuntime\n"
                                        "metadata: {name: hbase}\nspec: {master: {replicas: 2}}\n";
    r = fluid(
        {"apply", "-f", GFS_SOURCE_DIR "/deploy/samples/dataset.yaml", "-f", dir + "/bad.yaml"});
    EXPECT_EQ(r.status, 1);
    EXPECT_EQ(r.err, dir + "/bad.yaml:4:27: error: spec.master.replicas must be a positive odd "
                           "number, not 2\n");
    EXPECT_EQ(fluid({"get", "datasets"}).out, "") << "a wrong file changes nothing";

    EXPECT_EQ(fluid({"get", "widgets"}).status, 1);
    EXPECT_EQ(fluid({"wait", "--for=condition=Happy", "node"}).status, 1);
    EXPECT_EQ(fluid({"wait", "--for=phase=Bound", "dataset/x", "--timeout=20ms"}).err,
              "fluid-controller: timed out waiting for phase=Bound\n");
    EXPECT_EQ(fluid({"frobnicate"}).status, 2);
    EXPECT_EQ(stop(), 0);

    unlink((dir + "/bin/goosefs-fuse").c_str());
    r = fluid(run_args());
    EXPECT_EQ(r.status, 1);
    EXPECT_NE(r.err.find("--bin-dir"), std::string::npos) << r.err;
}

TEST_F(Local, HelpIsThereForEveryCommand)
{
    Result all = fluid({"--help"});

    EXPECT_EQ(all.status, 0);
    for (const char *command :
         {"run", "apply", "create", "get", "delete", "wait", "exec", "logs", "validate"}) {
        Result r = fluid({command, "--help"});

        EXPECT_NE(all.out.find(std::string("\n  ") + command + " "), std::string::npos);
        EXPECT_EQ(r.status, 0) << command;
        EXPECT_EQ(r.out.rfind(std::string("Usage: fluid-controller ") + command, 0), 0u);
        EXPECT_EQ(r.err, "");
    }
}

TEST_F(Local, ExecRunsWithThePodsConfiguration)
{
    start();
    apply_samples();
    eventually("a master", [&] { return pid_of("hbase-master-0") > 0; });

    Result r =
        fluid({"exec", "-ti", "hbase-master-0", "--", "sh", "-c",
               "echo $HOSTNAME; grep master.hostname $GOOSEFS_CONF_DIR/*.properties; exit 7"});

    EXPECT_EQ(r.status, 7);
    EXPECT_EQ(r.out, "hbase-master-0\ngoosefs.master.hostname=hbase-master-0\n");
    eventually("its log", [&] { return fluid({"logs", "hbase-master-0"}).out == "ready\n"; });
    EXPECT_EQ(fluid({"exec", "nopod", "--", "true"}).err, "pods \"nopod\" not found\n");
    EXPECT_EQ(fluid({"exec", "hbase-master-0", "--", "/no/such/program"}).status, 127);
}

} // namespace
