#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "head_priv.h"

namespace
{
// In memory of exactly its size, so that a sanitizer sees a read behind the end.
struct Parsed {
    explicit Parsed(const std::string &text) : bytes(new char[text.size()])
    {
        memcpy(bytes.get(), text.data(), text.size());
        length = gfsi_http_head_length(bytes.get(), text.size());
        if (length > 0) {
            status = gfsi_http_head_parse(bytes.get(), length, &head);
        }
    }
    std::unique_ptr<char[]> bytes;
    size_t length = 0;
    int status = -1;
    struct gfsi_http_head head = {};
};

TEST(HttpHead, AHeadIsCompleteWithItsEmptyLine)
{
    std::string whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t n = 0; n < whole.size(); n++) {
        EXPECT_EQ(0u, Parsed(whole.substr(0, n)).length) << n;
    }
    EXPECT_EQ(whole.size(), Parsed(whole).length);
    EXPECT_EQ(whole.size(), Parsed(whole + "body").length);
    EXPECT_EQ(17u, Parsed("GET / HTTP/1.1\n\r\nmore").length) << "lone line feeds will do";
}

TEST(HttpHead, PathQueryAndHostAreDecoded)
{
    Parsed p(
        "GET /a%20b/%7Ec?x=1+2&y=%26&z&=no&x=3 HTTP/1.1\r\nhost:  h:80 \r\nAccept: */*\r\n\r\n");
    ASSERT_EQ(0, p.status);
    EXPECT_STREQ("GET", p.head.method);
    EXPECT_STREQ("/a b/~c", p.head.path);
    EXPECT_STREQ("h:80", p.head.host);
    EXPECT_FALSE(p.head.has_body);
    ASSERT_EQ(4u, p.head.n_params);
    EXPECT_STREQ("x", p.head.params[0].name);
    EXPECT_STREQ("1 2", p.head.params[0].value);
    EXPECT_STREQ("&", p.head.params[1].value);
    EXPECT_STREQ("", p.head.params[2].value);
    EXPECT_STREQ("3", p.head.params[3].value);

    Parsed absolute("HEAD http://host/p?q HTTP/1.0\r\n\r\n");
    ASSERT_EQ(0, absolute.status);
    EXPECT_STREQ("/p", absolute.head.path);
    EXPECT_STREQ("", absolute.head.host);
}

TEST(HttpHead, BodiesAreSeen)
{
    EXPECT_TRUE(Parsed("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n").head.has_body);
    EXPECT_TRUE(Parsed("GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").head.has_body);
    EXPECT_FALSE(Parsed("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").head.has_body);
}

TEST(HttpHead, WhatIsNotHttpIsRefused)
{
    using namespace std::string_literals;
    const struct {
        std::string text;
        int status;
    } rows[] = {
        {"\n\n", 400},
        {"GET\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {" / HTTP/1.1\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\n\r\n", 400},
        {"GET http://host HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 505},
        {"GET / FTP/1.1\r\n\r\n", 400},
        {"GET /%0 HTTP/1.1\r\n\r\n", 400},
        {"GET /%zz HTTP/1.1\r\n\r\n", 400},
        {"GET /%00 HTTP/1.1\r\n\r\n", 400},
        {"GET /?a=%0 HTTP/1.1\r\n\r\n", 400},
        {"GET /a\rb HTTP/1.1\r\n\r\n", 400},
        {"GET /\0 HTTP/1.1\r\n\r\n"s, 400},
        {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n: value\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"s, 400},
    };
    for (const auto &row : rows) {
        EXPECT_EQ(row.status, Parsed(row.text).status) << row.text;
    }
}

TEST(HttpHead, ParametersAreBounded)
{
    std::string query = "a=1";
    for (int i = 0; i < 3 * GFSI_HTTP_PARAMS_MAX; i++) {
        query += "&b=2";
    }
    Parsed p("GET /?" + query + " HTTP/1.1\r\n\r\n");
    ASSERT_EQ(0, p.status);
    EXPECT_EQ(static_cast<size_t>(GFSI_HTTP_PARAMS_MAX), p.head.n_params);
}

// Damaged heads of all kinds: nothing is read or written beyond them.
TEST(HttpHead, AnyBytesAreEitherParsedOrRefused)
{
    const std::string seed = "GET /a%20b?c=%26&d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n";
    const char pool[] = {'\0', '\r', '\n', ' ', '%', '?', '&', '=', ':', '/', '\t', '\x7f', '\xff'};
    unsigned random = 1;
    for (int i = 0; i < 20000; i++) {
        std::string text = seed;
        for (int n = 0; n < 1 + i % 4; n++) {
            random = random * 1664525u + 1013904223u;
            text[(random >> 8) % text.size()] = pool[(random >> 20) % sizeof(pool)];
        }
        Parsed p(text);
        if (p.length > 0) {
            EXPECT_TRUE(p.status == 0 || p.status == 400 || p.status == 505) << text;
        }
    }
}
} // namespace
