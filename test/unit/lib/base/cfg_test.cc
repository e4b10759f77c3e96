#include <gfs/base/cfg.h>

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace
{
const struct gfs_cfg_option options[] = {
    {"rpc-port", "goosefs.master.rpc.port", GFS_CFG_INT, "9200", 1, 65535, "PORT", "port"},
    {"quota", "goosefs.quota", GFS_CFG_SIZE, "1G", 0, 0, "SIZE", "quota"},
    {"wait", "goosefs.wait", GFS_CFG_DURATION, "20s", 0, 0, "TIME", "wait"},
    {"verbose", "goosefs.verbose", GFS_CFG_BOOL, "true", 0, 0, nullptr, "verbose"},
    {"high", "goosefs.high", GFS_CFG_RATIO, "0.8", 0, 0, "RATIO", "high"},
    {"name", nullptr, GFS_CFG_STR, nullptr, 0, 0, "NAME", "name"},
    {nullptr, "goosefs.only.property", GFS_CFG_STR, "x", 0, 0, "TEXT", "property"},
};

struct gfs_cfg_program Program(const char *operands = nullptr)
{
    struct gfs_cfg_program p = {};
    p.name = "prog";
    p.summary = "A program";
    p.operands = operands;
    p.options = options;
    p.n_options = sizeof options / sizeof options[0];
    return p;
}

int Parse(std::vector<const char *> args, struct gfs_cfg **out, struct gfs_err *err = nullptr,
          const char *operands = nullptr)
{
    static struct gfs_cfg_program program;
    program = Program(operands);
    args.insert(args.begin(), "prog");
    return gfs_cfg_parse(&program, static_cast<int>(args.size()),
                         const_cast<char *const *>(args.data()), out, err);
}

TEST(Cfg, DefaultsHold)
{
    struct gfs_cfg *cfg = nullptr;
    ASSERT_EQ(GFS_OK, Parse({}, &cfg));
    EXPECT_EQ(9200, gfs_cfg_int(cfg, "rpc-port"));
    EXPECT_EQ(9200, gfs_cfg_int(cfg, "goosefs.master.rpc.port"));
    EXPECT_EQ(1u << 30, gfs_cfg_size(cfg, "quota"));
    EXPECT_EQ(INT64_C(20000000000), gfs_cfg_duration(cfg, "wait"));
    EXPECT_TRUE(gfs_cfg_bool(cfg, "verbose"));
    EXPECT_DOUBLE_EQ(0.8, gfs_cfg_ratio(cfg, "high"));
    EXPECT_STREQ("", gfs_cfg_str(cfg, "name"));
    EXPECT_STREQ("x", gfs_cfg_property(cfg, "goosefs.only.property"));
    EXPECT_FALSE(gfs_cfg_is_set(cfg, "rpc-port"));
    gfs_cfg_free(cfg);
}

TEST(Cfg, FlagBeatsEnvironmentBeatsDefineBeatsFileBeatsDefault)
{
    char name[] = "/tmp/gfs-cfg-test-XXXXXX";
    int fd = mkstemp(name);
    ASSERT_GE(fd, 0);
    std::ofstream(name) << "# site\ngoosefs.master.rpc.port = 1\ngoosefs.quota: 3G\n"
                        << "goosefs.unknown=kept\n";
    struct gfs_cfg *cfg = nullptr;

    ASSERT_EQ(GFS_OK, Parse({"--properties", name}, &cfg));
    EXPECT_EQ(1, gfs_cfg_int(cfg, "rpc-port"));
    EXPECT_EQ(3ull << 30, gfs_cfg_size(cfg, "quota"));
    EXPECT_STREQ("kept", gfs_cfg_property(cfg, "goosefs.unknown"));
    EXPECT_EQ(nullptr, gfs_cfg_property(cfg, "goosefs.missing"));
    gfs_cfg_free(cfg);

    ASSERT_EQ(GFS_OK, Parse({"--properties", name, "-Dgoosefs.master.rpc.port=2"}, &cfg));
    EXPECT_EQ(2, gfs_cfg_int(cfg, "rpc-port"));
    gfs_cfg_free(cfg);

    setenv("GOOSEFS_MASTER_RPC_PORT", "3", 1);
    ASSERT_EQ(GFS_OK, Parse({"-Dgoosefs.master.rpc.port=2"}, &cfg));
    EXPECT_EQ(3, gfs_cfg_int(cfg, "rpc-port"));
    gfs_cfg_free(cfg);

    ASSERT_EQ(GFS_OK, Parse({"--rpc-port=4"}, &cfg));
    EXPECT_EQ(4, gfs_cfg_int(cfg, "rpc-port"));
    EXPECT_TRUE(gfs_cfg_is_set(cfg, "rpc-port"));
    gfs_cfg_free(cfg);
    unsetenv("GOOSEFS_MASTER_RPC_PORT");
    close(fd);
    unlink(name);
}

TEST(Cfg, BoolFlagsNeedNoValueAndCanBeNegated)
{
    struct gfs_cfg *cfg = nullptr;
    ASSERT_EQ(GFS_OK, Parse({"--no-verbose"}, &cfg));
    EXPECT_FALSE(gfs_cfg_bool(cfg, "verbose"));
    gfs_cfg_free(cfg);
    ASSERT_EQ(GFS_OK, Parse({"--verbose=no"}, &cfg));
    EXPECT_FALSE(gfs_cfg_bool(cfg, "verbose"));
    gfs_cfg_free(cfg);
}

TEST(Cfg, AWrongValueNamesItsOptionAndWhatIsExpected)
{
    struct {
        std::vector<const char *> args;
        const char *text;
    } cases[] = {
        {{"--rpc-port", "0"}, "--rpc-port: '0' is not between 1 and 65535"},
        {{"--rpc-port", "many"}, "--rpc-port: 'many' is not a whole number"},
        {{"--quota=lots"}, "--quota: 'lots' is not a size such as 512MB or 2G"},
        {{"--wait=soon"}, "--wait: 'soon' is not a duration such as 300ms, 20s or 2min"},
        {{"--high=2"}, "--high: '2' is not a number between 0 and 1"},
        {{"--verbose=maybe"}, "--verbose: 'maybe' is not true or false"},
        {{"--nonsense"}, "unknown option '--nonsense' (see prog --help)"},
        {{"-x"}, "unknown option '-x' (see prog --help)"},
        {{"--name"}, "option '--name' needs a value"},
        {{"-Dnovalue"}, "option '-Dnovalue': expected -DPROPERTY=VALUE"},
        {{"operand"}, "unexpected argument 'operand' (see prog --help)"},
        {{"--log-level=loud"},
         "--log-level: 'loud' is not debug, info, warn, error or component=level"},
    };
    for (auto &c : cases) {
        struct gfs_cfg *cfg = nullptr;
        struct gfs_err err = GFS_ERR_INIT;
        EXPECT_LT(Parse(c.args, &cfg, &err), 0) << c.text;
        EXPECT_STREQ(c.text, err.text);
        EXPECT_EQ(nullptr, cfg);
    }
}

TEST(Cfg, OperandsAreKeptInOrder)
{
    struct gfs_cfg *cfg = nullptr;
    ASSERT_EQ(GFS_OK, Parse({"a", "--name", "n", "--", "--b"}, &cfg, nullptr, "PATH..."));
    ASSERT_EQ(2u, gfs_cfg_n_operands(cfg));
    EXPECT_STREQ("a", gfs_cfg_operand(cfg, 0));
    EXPECT_STREQ("--b", gfs_cfg_operand(cfg, 1));
    EXPECT_STREQ("n", gfs_cfg_str(cfg, "name"));
    gfs_cfg_free(cfg);
}

TEST(Cfg, HelpNamesEveryOption)
{
    struct gfs_cfg *cfg = nullptr;
    testing::internal::CaptureStdout();
    EXPECT_EQ(1, Parse({"--help"}, &cfg));
    std::string help = testing::internal::GetCapturedStdout();
    for (const char *word : {"--rpc-port=PORT", "goosefs.master.rpc.port", "[9200]", "--verbose",
                             "-Dgoosefs.only.property=TEXT", "--properties=FILE", "--version"}) {
        EXPECT_NE(std::string::npos, help.find(word)) << word << " in\n" << help;
    }
    EXPECT_EQ(nullptr, cfg);
}

TEST(Props, LinesHaveJavasSimpleForm)
{
    struct gfs_props *p = gfs_props_new();
    std::string text = "! c\n  a=1 \nb : 2\nc=\nurl=http://x:1/=?\n\n";
    ASSERT_EQ(GFS_OK, gfs_props_parse(p, text.data(), text.size(), "f", nullptr));
    EXPECT_STREQ("1", gfs_props_get(p, "a"));
    EXPECT_STREQ("2", gfs_props_get(p, "b"));
    EXPECT_STREQ("", gfs_props_get(p, "c"));
    EXPECT_STREQ("http://x:1/=?", gfs_props_get(p, "url"));
    EXPECT_EQ(4u, gfs_props_count(p));
    gfs_props_free(p);
}

TEST(Props, ErrorsNameFileAndLine)
{
    struct gfs_props *p = gfs_props_new();
    struct gfs_err err = GFS_ERR_INIT;
    std::string text = "a=1\nnonsense\n";
    EXPECT_EQ(GFS_EINVAL, gfs_props_parse(p, text.data(), text.size(), "site", &err));
    EXPECT_STREQ("site:2: expected key=value", err.text);
    std::string nul("a=1\0b", 5);
    EXPECT_EQ(GFS_EINVAL, gfs_props_parse(p, nul.data(), nul.size(), "site", &err));
    std::string long_key = std::string(300, 'k') + "=v";
    EXPECT_EQ(GFS_ERANGE, gfs_props_parse(p, long_key.data(), long_key.size(), "site", &err));
    gfs_props_free(p);
}
} // namespace
