#include <gtest/gtest.h>

#include <string>

#include "unit/lib/rpc/echo.h"

extern "C" {
#include "rpc_priv.h"
}

namespace
{

// goosefs.test.FailRequest has texts in fields 3 and 4.
std::string Check(const std::string &bytes)
{
    const char *field = nullptr;
    bool good =
        gfsi_text_check(&goosefs__test__fail_request__descriptor,
                        reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), &field);
    return good ? "" : field != nullptr ? field : "malformed";
}

std::string Field(int number, const std::string &value)
{
    return std::string(1, static_cast<char>(number << 3 | 2)) +
           std::string(1, static_cast<char>(value.size())) + value;
}

} // namespace

TEST(Text, PlainTextPasses)
{
    EXPECT_EQ(Check(""), "");
    EXPECT_EQ(Check(Field(3, "why") + Field(4, "m:26000")), "");
    EXPECT_EQ(Check(Field(3, "gr\xc3\xbc\xc3\x9f\nline two\t")), "");
}

TEST(Text, NulAndBadUtf8AreNamed)
{
    EXPECT_EQ(Check(Field(3, std::string("a\0b", 3))), "text");
    EXPECT_EQ(Check(Field(3, std::string("\0", 1))), "text");
    EXPECT_EQ(Check(Field(3, "fine") + Field(4, "\xff\xfe")), "leader");
    EXPECT_EQ(Check(Field(4, "cut \xc3")), "leader");
    EXPECT_EQ(Check(Field(4, "cut \xc3\n\x9f")), "leader");
    EXPECT_EQ(Check(Field(4, "\xed\xa0\x80")), "leader") << "a surrogate";
}

TEST(Text, FieldsNobodyKnowsAreLetPass)
{
    EXPECT_EQ(Check(Field(15, std::string("\0\xff", 2))), "");
    EXPECT_EQ(Check("\x79"
                    "12345678"),
              "")
        << "a fixed64";
}

TEST(Text, BytesThatAreNoMessageAreMalformed)
{
    for (const std::string &bytes :
         {std::string("\x1a"),
          std::string("\x1a\x05"
                      "abc"),
          std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), std::string("\x1b"),
          std::string("\x79"
                      "123")}) {
        EXPECT_EQ(Check(bytes), "malformed");
    }
}

TEST(Text, AStrictServerRefusesWhatTheOthersTake)
{
    gfs_rpc_server_opts opts = {};
    EchoServer tolerant(opts);
    opts.strict_text = true;
    EchoServer strict(opts);
    const std::string status = "\x10\x06"; // what the method is to answer with
    const std::string nul = status + Field(3, std::string("a\0b", 3));
    const std::string good = status + Field(3, "ab");

    EXPECT_EQ(RawCall(tolerant.target(), "/goosefs.test.Echo/Fail", nul).status, 6);
    RawResult refused = RawCall(strict.target(), "/goosefs.test.Echo/Fail", nul);
    EXPECT_EQ(refused.status, 3);
    EXPECT_EQ(refused.text, "text is not plain UTF-8 text");
    EXPECT_EQ(RawCall(strict.target(), "/goosefs.test.Echo/Fail", good).status, 6);
    EXPECT_EQ(RawCall(strict.target(), "/goosefs.test.Echo/Fail", good).text, "ab");
}
