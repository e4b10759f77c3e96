#include "unit/goosefs/cli/fake_fs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace
{

std::string Read(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::string text(std::filesystem::exists(path) ? std::filesystem::file_size(path) : 0, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
}

std::vector<std::string> Lines(const std::string &text)
{
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

// As awk and Fluid cut.
std::vector<std::string> Fields(const std::string &line)
{
    std::istringstream stream(line);
    return {std::istream_iterator<std::string>(stream), {}};
}

} // namespace

// ---- what needs no master ----

TEST(Cli, VersionIsOneLine)
{
    const Result r = Goosefs({"version"});
    EXPECT_EQ(r.code, 0);
    EXPECT_EQ(Lines(r.out).size(), 1u);
    EXPECT_EQ(Goosefs({"--version"}).out, r.out);
}

TEST(Cli, HelpNamesEveryVerbOnce)
{
    const Result all = Goosefs({"--help"});
    EXPECT_EQ(all.code, 0);
    for (const char *verb :
         {"masterInfo",   "ls",     "cat",    "stat",    "count",   "du",          "mount",
          "unmount",      "leader", "head",   "tail",    "test",    "copyToLocal", "location",
          "loadMetadata", "load",   "report", "getConf", "version", "journal"}) {
        EXPECT_NE(all.out.find(std::string("\n  ") + verb), std::string::npos) << verb;
    }
    EXPECT_EQ(Goosefs({"fs", "--help"}).code, 0);
    const Result ls = Goosefs({"fs", "help", "ls"});
    EXPECT_EQ(ls.code, 0);
    EXPECT_NE(ls.out.find("--sort KEY"), std::string::npos);
    EXPECT_EQ(Goosefs({"fs", "ls", "--help"}).out, ls.out);
    EXPECT_EQ(Goosefs({"fs", "help", "nosuch"}).code, 1);
}

TEST(Cli, WrongUsageExits2AndSaysWhatIsWrong)
{
    const std::vector<std::vector<std::string>> wrong = {
        {},
        {"fs"},
        {"nosuch"},
        {"fs", "nosuch"},
        {"fs", "ls"},
        {"fs", "ls", "/a", "/b"},
        {"fs", "ls", "-q", "/a"},
        {"fs", "ls", "-Rq", "/a"},
        {"fs", "ls", "/a", "--sort"},
        {"fs", "masterInfo", "x"},
        {"fs", "-Dx", "ls", "/"},
        {"fs", "ls", "-D=1", "/"},
        {"version", "x"},
    };
    for (const auto &args : wrong) {
        const Result r = Goosefs(args);
        EXPECT_EQ(r.code, 2) << ::testing::PrintToString(args);
        EXPECT_NE(r.err, "");
        EXPECT_EQ(r.out, "");
    }
}

TEST(Cli, ConfigurationComesFromTheFirstPlaceThatHasIt)
{
    TempDir dir;
    const auto write = [&](const std::string &name, const std::string &value) {
        std::filesystem::create_directories(std::filesystem::path(dir / name).parent_path());
        std::ofstream(dir / name) << "goosefs.test.key=" << value << "\n";
    };
    write("home/.goosefs/goosefs-site.properties", "user");
    write("goosefs/conf/goosefs-site.properties", "install");
    write("conf/goosefs-site.properties", "conf");
    write("file", "file");
    Env env = {{"HOME", dir / "home"}};
    const auto get = [&] { return Goosefs({"getConf", "goosefs.test.key"}, env).out; };
    EXPECT_EQ(get(), "user\n");
    env["GOOSEFS_HOME"] = dir / "goosefs";
    EXPECT_EQ(get(), "install\n");
    env["GOOSEFS_CONF_DIR"] = dir / "conf";
    EXPECT_EQ(get(), "conf\n");
    env["GOOSEFS_CONFIG_FILE"] = dir / "file";
    EXPECT_EQ(get(), "file\n");
    env["GOOSEFS_TEST_KEY"] = "environment";
    EXPECT_EQ(get(), "environment\n");
    EXPECT_EQ(Goosefs({"-Dgoosefs.test.key=flag", "getConf", "goosefs.test.key"}, env).out,
              "flag\n");
    EXPECT_EQ(Goosefs({"getConf", "goosefs.master.rpc.port"}, env).out, "9200\n");
    EXPECT_EQ(Goosefs({"getConf", "no.such.key"}, env).out, "\n");
    EXPECT_NE(Goosefs({"getConf"}, env).out.find("goosefs.test.key=environment\n"),
              std::string::npos);
}

TEST(Cli, ABrokenFileIsNamedWithItsLine)
{
    TempDir dir;
    std::ofstream(dir / "file") << "# fine\nno equals sign here\n";
    const Result r = Goosefs({"getConf"}, {{"GOOSEFS_CONFIG_FILE", dir / "file"}});
    EXPECT_EQ(r.code, 1);
    EXPECT_NE(r.err.find(dir / "file"), std::string::npos) << r.err;
}

TEST(Cli, WithoutAMasterEveryVerbFailsAndNamesTheAddresses)
{
    const Env env = {{"GOOSEFS_MASTER_RPC_ADDRESSES", "127.0.0.1:1,127.0.0.2:1"},
                     {"GOOSEFS_USER_RPC_RETRY_MAX_DURATION", "100ms"}};
    const std::vector<std::vector<std::string>> verbs = {{"fs", "ls", "/"},
                                                         {"fs", "cat", "/x"},
                                                         {"fs", "stat", "/x"},
                                                         {"fs", "count", "/"},
                                                         {"fs", "mount"},
                                                         {"fs", "leader"},
                                                         {"fs", "masterInfo"},
                                                         {"fs", "du", "-s", "/"},
                                                         {"fs", "test", "-e", "/"},
                                                         {"fsadmin", "report"},
                                                         {"fsadmin", "report", "capacity"}};
    for (const auto &args : verbs) {
        const Result r = Goosefs(args, env);
        EXPECT_EQ(r.code, 1) << ::testing::PrintToString(args);
        EXPECT_NE(r.err.find("127.0.0.1:1 127.0.0.2:1"), std::string::npos) << r.err;
        EXPECT_EQ(Lines(r.err).size(), 1u) << r.err;
    }
    EXPECT_EQ(Goosefs({"fs", "masterInfo"}, env).out, "Failed to find leader master\n");
}

TEST(Cli, CompletionIsAScriptThatBashAccepts)
{
    const Result r = Goosefs({"completion", "bash"});
    EXPECT_EQ(r.code, 0);
    TempDir dir;
    std::ofstream(dir / "completion") << r.out
                                      << "COMP_WORDS=(goosefs fs mas); COMP_CWORD=2; _goosefs\n"
                                         "{ echo \"${COMPREPLY[*]}\"\n"
                                         "COMP_WORDS=(goosefs journal ver); _goosefs\n"
                                         "echo \"${COMPREPLY[*]}\"\n"
                                         "COMP_WORDS=(goosefs fsadmin journal pro); COMP_CWORD=3\n"
                                         "_goosefs; echo \"${COMPREPLY[*]}\"; } >\""
                                      << (dir / "result") << "\"\n";
    const std::string script = dir / "completion";
    const pid_t pid = fork();
    if (pid == 0) {
        execlp("bash", "bash", "-eu", script.c_str(), nullptr);
        _exit(127);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(Read(dir / "result"), "masterInfo\nverify\npromote\n");
    EXPECT_EQ(Goosefs({"completion", "fish"}).code, 1);
}

// ---- with masters ----

TEST_F(CliTest, MasterInfoIsTheTwoLinesOfTheDocument)
{
    const Result r = Run({"fs", "masterInfo"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.out, "current leader master: hbase-master-0:26000\n"
                     "All masters: [hbase-master-0:26000, hbase-master-1:26000, "
                     "hbase-master-2:26000]\n");
    EXPECT_EQ(r.err, "");
}

TEST_F(CliTest, MasterInfoWithoutALeaderStillListsTheMasters)
{
    fs_.leader = std::string();
    const Result r = Run({"-Dgoosefs.user.rpc.retry.max.duration=100ms", "fs", "masterInfo"});
    EXPECT_EQ(r.code, 1);
    EXPECT_EQ(Lines(r.out).at(0), "Failed to find leader master");
    EXPECT_EQ(Lines(r.out).at(1).rfind("All masters: [", 0), 0u);
    EXPECT_EQ(Run({"-Dgoosefs.user.rpc.retry.max.duration=100ms", "fs", "leader"}).code, 1);
}

TEST_F(CliTest, LeaderIsTheHostName)
{
    EXPECT_EQ(Run({"fs", "leader"}).out, "hbase-master-0\n");
}

TEST_F(CliTest, LsHasTheColumnsOfGooseFs)
{
    const Result r = Run({"fs", "ls", "/hbase"});
    EXPECT_EQ(r.code, 0) << r.err;
    const auto lines = Lines(r.out);
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0].substr(0, 12), "-r--r--r--  ");
    EXPECT_EQ(lines[0].substr(12, 15), "goosefs        ");
    EXPECT_EQ(lines[0].substr(27, 15), "staff          ");
    EXPECT_EQ(lines[0].substr(42, 15), "          10000");
    EXPECT_EQ(lines[0].substr(57, 16), "       PERSISTED");
    EXPECT_EQ(lines[0].substr(97, 5), "  50%");
    EXPECT_EQ(lines[0].substr(102), " /hbase/a file");
    EXPECT_EQ(Fields(lines[1]).back(), "/hbase/dir");
    EXPECT_EQ(lines[1].substr(97, 5), "  DIR");
    EXPECT_EQ(lines[1][0], 'd');
    EXPECT_EQ(lines[1].substr(42, 15), "              1");
}

TEST_F(CliTest, LsOptions)
{
    EXPECT_EQ(Lines(Run({"fs", "ls", "-R", "/hbase"}).out).size(), 4u);
    EXPECT_EQ(Lines(Run({"fs", "ls", "-Rh", "/hbase"}).out).size(), 4u);
    EXPECT_NE(Run({"fs", "ls", "-h", "/hbase"}).out.find("9.77KB"), std::string::npos);
    const auto d = Lines(Run({"fs", "ls", "-d", "/hbase"}).out);
    ASSERT_EQ(d.size(), 1u);
    EXPECT_EQ(Fields(d[0]).back(), "/hbase");
    const auto by_size = Lines(Run({"fs", "ls", "--sort", "size", "-r", "/hbase"}).out);
    ASSERT_EQ(by_size.size(), 3u);
    EXPECT_EQ(Fields(by_size[0]).back(), "/hbase/z");
    const auto reverse = Lines(Run({"fs", "ls", "-r", "/hbase"}).out);
    EXPECT_EQ(Fields(reverse[0]).back(), "/hbase/z");
    EXPECT_EQ(Run({"fs", "ls", "--sort=colour", "/hbase"}).code, 1);
    const auto file = Lines(Run({"fs", "ls", "/hbase/z"}).out);
    ASSERT_EQ(file.size(), 1u);
    EXPECT_EQ(Fields(file[0]).back(), "/hbase/z");
    EXPECT_EQ(Run({"fs", "ls", "gfs://hbase-master-0:26000/hbase"}).out,
              Run({"fs", "ls", "/hbase//x/.."}).out);
}

TEST_F(CliTest, LsReadsPageAfterPage)
{
    fs_.page = 1;
    EXPECT_EQ(Lines(Run({"fs", "ls", "/hbase"}).out).size(), 3u);
    EXPECT_EQ(Lines(Run({"fs", "ls", "-R", "/hbase"}).out).size(), 4u);
}

TEST_F(CliTest, WhatDoesNotExistSaysSoAsFluidExpects)
{
    for (const char *verb : {"ls", "cat", "stat", "count", "du", "location"}) {
        const Result r = Run({"fs", verb, "/nope"});
        EXPECT_EQ(r.code, 1);
        EXPECT_NE(r.err.find("/nope does not exist"), std::string::npos) << r.err;
        EXPECT_EQ(r.out, "");
    }
}

TEST_F(CliTest, AMetadataSyncPropertyOfZeroAsksForAFreshListing)
{
    EXPECT_EQ(Run({"fs", "ls", "-R", "/hbase"}).code, 0);
    EXPECT_EQ(fs_.fresh_listings, 0);
    const std::string property = "-Dgoosefs.user.file.metadata.sync.interval=0";
    EXPECT_EQ(Run({"fs", property, "ls", "-R", "/hbase"}).code, 0);
    EXPECT_EQ(fs_.fresh_listings, 1);
    EXPECT_EQ(Run({"fs", "ls", "-f", "/hbase"}).code, 0);
    EXPECT_EQ(fs_.fresh_listings, 2);
}

TEST_F(CliTest, CountIsTwoLinesWithThreeIntegers)
{
    const auto lines = Lines(Run({"fs", "count", "/hbase"}).out);
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_EQ(lines[0], "File Count               Folder Count             Folder Size    ");
    EXPECT_EQ(Fields(lines[1]), (std::vector<std::string>{"3", "2", "20000123"}));
}

TEST_F(CliTest, DuSumIsTwoLinesThatFluidCuts)
{
    const auto lines = Lines(Run({"fs", "du", "-s", "/hbase"}).out);
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_EQ(Fields(lines[1]), (std::vector<std::string>{"20000123", "5000", "(0%)", "/hbase"}));
    EXPECT_EQ(Lines(Run({"fs", "du", "/hbase"}).out).size(), 4u);
}

TEST_F(CliTest, StatTellsKindAndBlocks)
{
    const Result file = Run({"fs", "stat", "/hbase/z"});
    EXPECT_EQ(file.code, 0) << file.err;
    EXPECT_EQ(Lines(file.out)[0], "/hbase/z is a file path.");
    EXPECT_NE(file.out.find("Containing the following blocks:"), std::string::npos);
    EXPECT_EQ(Lines(Run({"fs", "stat", "/hbase"}).out)[0], "/hbase is a directory path.");
    EXPECT_EQ(Run({"fs", "stat", "-f", "%N %z %u %g %i %b%%", "/hbase/z"}).out,
              "z 20000000 goosefs staff 5 1%\n");
}

TEST_F(CliTest, TestAnswersByExitCode)
{
    EXPECT_EQ(Run({"fs", "test", "-d", "/hbase"}).code, 0);
    EXPECT_EQ(Run({"fs", "test", "-f", "/hbase"}).code, 1);
    EXPECT_EQ(Run({"fs", "test", "-f", "/hbase/z"}).code, 0);
    EXPECT_EQ(Run({"fs", "test", "-z", "/hbase/z"}).code, 1);
    EXPECT_EQ(Run({"fs", "test", "-s", "/hbase"}).code, 0);
    EXPECT_EQ(Run({"fs", "test", "-e", "/nope"}).code, 1);
    EXPECT_EQ(Run({"fs", "test", "-e", "/nope"}).err, "");
}

TEST_F(CliTest, CatHeadAndTailPrintTheBytes)
{
    std::string whole;
    for (uint64_t i = 0; i < 10000; i++) {
        whole.push_back(ByteAt(i));
    }
    EXPECT_EQ(Run({"fs", "cat", "/hbase/a file"}).out, whole);
    EXPECT_EQ(Run({"fs", "head", "/hbase/a file"}).out, whole.substr(0, 1024));
    EXPECT_EQ(Run({"fs", "head", "-c", "10", "/hbase/a file"}).out, whole.substr(0, 10));
    EXPECT_EQ(Run({"fs", "tail", "-c", "5", "/hbase/a file"}).out, whole.substr(9995));
    EXPECT_EQ(Run({"fs", "tail", "-c", "1GB", "/hbase/a file"}).out, whole);
    EXPECT_EQ(Run({"fs", "head", "-c", "lots", "/hbase/a file"}).code, 1);
    EXPECT_EQ(Run({"fs", "cat", "/hbase"}).code, 1);
}

TEST_F(CliTest, OutputThatCannotBeWrittenIsAFailure)
{
    FILE *full = fopen("/dev/full", "we");
    const Result r = Run({"fs", "cat", "/hbase/z"}, full);
    EXPECT_EQ(r.code, 1);
    EXPECT_NE(r.err.find("cannot write"), std::string::npos) << r.err;
    fclose(full);
}

TEST_F(CliTest, CopyToLocalCopiesFilesAndTrees)
{
    TempDir dir;
    Result r = Run({"fs", "copyToLocal", "/hbase/z", dir / "copy"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.out, "Copied /hbase/z to file://" + (dir / "copy") + "\n");
    const std::string bytes = Read(dir / "copy");
    ASSERT_EQ(bytes.size(), 20000000u);
    for (size_t i = 0; i < bytes.size(); i += 4099) {
        ASSERT_EQ(bytes[i], ByteAt(i));
    }

    r = Run({"fs", "copyToLocal", "/hbase", "file://" + (dir / "")});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(Read(dir / "hbase/dir/small").size(), 123u);
    EXPECT_EQ(Read(dir / "hbase/a file").size(), 10000u);

    r = Run({"fs", "copyToLocal", "/hbase/z", dir / "copy"});
    EXPECT_EQ(r.code, 1);
    EXPECT_NE(r.err.find("already exists"), std::string::npos);
}

TEST_F(CliTest, AFailedCopyLeavesNothing)
{
    TempDir dir;
    worker_.status = GFS_EIO;
    EXPECT_EQ(Run({"fs", "copyToLocal", "/hbase/z", dir / "copy"}).code, 1);
    EXPECT_TRUE(std::filesystem::is_empty(dir / ""));
}

TEST_F(CliTest, NamesThatLeadOutOfTheDestinationAreRefused)
{
    TempDir dir;
    fs_.evil = std::string("/hbase/../../evil");
    const Result r = Run({"fs", "copyToLocal", "/hbase", dir / "copy"});
    EXPECT_EQ(r.code, 1);
    EXPECT_NE(r.err.find("listed"), std::string::npos) << r.err;
    EXPECT_FALSE(std::filesystem::exists(dir / "evil"));
}

TEST_F(CliTest, MountListsMountsAndUnmounts)
{
    const Result list = Run({"fs", "mount"});
    EXPECT_EQ(list.out, "https://mirror/hbase/  on  /hbase  (web, capacity=-1B, used=-1B, "
                        "read-only, not shared, properties={secret=******})\n");
    EXPECT_EQ(Fields(list.out).at(2), "/hbase");
    EXPECT_EQ(Run({"fsadmin", "report", "ufs"}).out,
              "GooseFS under storage system information:\n" + list.out);

    const Result r = Run({"fs", "mount", "--readonly", "--option", "a=b", "--option=c=d=e", "/new",
                          "cosn://bucket/"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(r.out, "Mounted cosn://bucket/ at /new\n");
    EXPECT_EQ(fs_.mounted.get(), "/new cosn://bucket/ ro a=b c=d=e");
    EXPECT_EQ(Run({"fs", "unmount", "/new"}).out, "Unmounted /new\n");
    EXPECT_EQ(Run({"fs", "mount", "/new"}).code, 1);
    const Result bad = Run({"fs", "mount", "--option", "hunter2", "/new", "x://"});
    EXPECT_EQ(bad.code, 1);
    EXPECT_EQ(bad.err.find("hunter2"), std::string::npos);
}

TEST_F(CliTest, LoadWaitsUntilEverythingIsCached)
{
    const Result submitted = Run({"fs", "load", "--submit", "/hbase"});
    EXPECT_EQ(submitted.code, 0) << submitted.err;
    EXPECT_EQ(worker_.loaded, 20010123u);
    fs_.cached_by_count = 20000123;
    const Result r = Run({"-Dgoosefs.user.rpc.retry.max.duration=3s", "fs", "load", "/hbase"});
    EXPECT_EQ(r.code, 1) << r.out; // the fake caches less than it listed
    EXPECT_NE(r.err.find("only 20000123 of 20010123"), std::string::npos) << r.err;
    fs_.cached_by_count = 20010123;
    EXPECT_EQ(Run({"fs", "load", "/hbase"}).code, 0);
    EXPECT_EQ(Run({"fs", "loadMetadata", "-R", "/hbase"}).code, 0);
    EXPECT_EQ(Run({"fs", "free", "/hbase"}).code, 0);
}

TEST_F(CliTest, LocationNamesTheWorker)
{
    EXPECT_EQ(Run({"fs", "location", "/hbase/a file"}).out,
              "/hbase/a file with file id 3 is on nodes: \nhbase-worker-a\n");
    EXPECT_EQ(Lines(Run({"fs", "location", "/hbase/z"}).out).size(), 1u);
}

TEST_F(CliTest, ReportSummaryHasTheLinesFluidReads)
{
    const Result r = Run({"fsadmin", "report"});
    EXPECT_EQ(r.code, 0) << r.err;
    const auto lines = Lines(r.out);
    EXPECT_EQ(lines[0], "GooseFS cluster summary: ");
    EXPECT_EQ(Fields(lines[1]).at(2), "hbase-master-0:26000");
    EXPECT_NE(r.out.find("\n    Total Capacity: 6.00GB\n        Tier: HDD  Size: 6.00GB\n"),
              std::string::npos)
        << r.out;
    EXPECT_NE(r.out.find("\n    Used Capacity: 19.07MB\n"), std::string::npos);
    EXPECT_NE(r.out.find("\n    Live Workers: 1\n    Lost Workers: 1\n"), std::string::npos);
    EXPECT_EQ(Run({"fsadmin", "report", "summary"}).code, 0);
    EXPECT_EQ(Run({"fsadmin", "report", "weather"}).code, 1);
}

TEST_F(CliTest, ReportCapacityHasTheFieldFluidReads)
{
    const Result r = Run({"fsadmin", "report", "capacity"});
    const auto lines = Lines(r.out);
    size_t at = 0;
    while (at < lines.size() && lines[at].rfind("Worker Name", 0) != 0) {
        at++;
    }
    ASSERT_LT(at + 2, lines.size()) << r.out;
    EXPECT_EQ(lines[at].substr(0, 61),
              "Worker Name         Last Heartbeat   Storage       HDD       ");
    const auto fields = Fields(lines[at + 1] + " " + lines[at + 2]);
    EXPECT_EQ(fields.at(0), "hbase-worker-a");
    EXPECT_EQ(fields.at(3), "6.00GB");
    EXPECT_EQ(fields.at(5), "19.07MB");
}

TEST_F(CliTest, ReportMetricsHasNamesTypesAndValues)
{
    const Result r = Run({"fsadmin", "report", "metrics"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.out.find("Master.FilesCompleted  (Type: GAUGE, Value: 3)\n"), std::string::npos)
        << r.out;
    EXPECT_NE(r.out.find("Cluster.CapacityUsed  (Type: GAUGE, Value: 19.07MB)\n"),
              std::string::npos);
}

TEST_F(CliTest, JournalQuorum)
{
    const Result r = Run({"fsadmin", "journal", "quorum", "info", "-domain", "MASTER"});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.out.find("Quorum leader\t: hbase-master-0:26002\n"), std::string::npos);
    EXPECT_NE(r.out.find("AVAILABLE   | 1        | hbase-master-0:26002\n"), std::string::npos);
    EXPECT_EQ(Run({"fsadmin", "journal", "quorum", "elect", "-address", "x:1"}).code, 0);
    EXPECT_EQ(Run({"fsadmin", "journal", "quorum", "elect"}).code, 1);
    EXPECT_EQ(Run({"fsadmin", "journal", "quorum", "nosuch"}).code, 1);
    EXPECT_EQ(Run({"fsadmin", "journal", "quorum"}).code, 1);
    EXPECT_EQ(Run({"fsadmin", "journal", "quorum", "info", "-domain", "JOB_MASTER"}).code, 1);
}

TEST_F(CliTest, JournalMembership)
{
    auto quorum = [&](std::initializer_list<std::string> more) {
        std::vector<std::string> args = {"fsadmin", "journal", "quorum"};
        args.insert(args.end(), more);
        return Run(args);
    };
    EXPECT_EQ(quorum({"add-learner", "-address", "x:1"}).out,
              "Added learner at: x:1 to quorum: MASTER, id 4\n");
    EXPECT_EQ(quorum({"add-learner", "-address", "x:1", "-id", "5"}).out,
              "Added learner at: x:1 to quorum: MASTER, id 5\n");
    EXPECT_EQ(quorum({"add-learner", "-address", "x:1", "-id", "none"}).code, 1);
    EXPECT_EQ(quorum({"promote", "-address", "x:1"}).out,
              "Promoted server at: x:1 to voter of quorum: MASTER\n");
    EXPECT_EQ(quorum({"remove", "-domain", "MASTER", "-address", "x:1"}).out,
              "Removed server at: x:1 from quorum: MASTER\n");
    EXPECT_EQ(quorum({"remove"}).code, 1);
    const Result nobody = quorum({"remove", "-address", "nobody:1"});
    EXPECT_EQ(nobody.code, 1);
    EXPECT_NE(nobody.err.find("nobody:1"), std::string::npos) << nobody.err;
    EXPECT_EQ(Run({"fsadmin", "journal", "checkpoint"}).out,
              "Successfully took a checkpoint on master hbase-master-0\n");
}
