// Names to URLs and links to names, both ways without loss.
#include <string>

#include <gtest/gtest.h>

extern "C" {
#include "web_url.h"
}

namespace
{

std::string Encode(const char *path)
{
    gfs_buf buf;

    gfs_buf_init(&buf, 4096);
    EXPECT_EQ(0, gfsi_url_encode_path(&buf, path));
    std::string text = gfs_buf_str(&buf);
    gfs_buf_fini(&buf);
    return text;
}

TEST(WebUrl, EncodesWhatWouldMeanSomethingElse)
{
    EXPECT_EQ("a%20b/100%25/x%2By/q%3F%23%3A", Encode("a b/100%/x+y/q?#:"));
    EXPECT_EQ("gr%C3%BC%C3%9Fe", Encode("gr\xC3\xBC\xC3\x9F"
                                        "e"));
    EXPECT_EQ("AZaz09-._~", Encode("AZaz09-._~"));
}

TEST(WebUrl, DecodesNamesAndLeavesStrayPercentSigns)
{
    char name[256];

    EXPECT_EQ(0, gfsi_url_decode_name(name, sizeof(name), "a%20b%2bc", 9));
    EXPECT_STREQ("a b+c", name);
    EXPECT_EQ(0, gfsi_url_decode_name(name, sizeof(name), "100%", 4));
    EXPECT_STREQ("100%", name);
    EXPECT_EQ(0, gfsi_url_decode_name(name, sizeof(name), "%zz", 3));
    EXPECT_STREQ("%zz", name);
}

TEST(WebUrl, RefusesEncodedSlashNulAndTooLong)
{
    char name[8] = "before";

    EXPECT_EQ(GFS_EINVAL, gfsi_url_decode_name(name, sizeof(name), "a%2Fb", 5));
    EXPECT_EQ(GFS_EINVAL, gfsi_url_decode_name(name, sizeof(name), "a%00b", 5));
    EXPECT_EQ(GFS_ERANGE, gfsi_url_decode_name(name, sizeof(name), "12345678", 8));
}

TEST(WebUrl, BaseLosesCredentialsAndGetsASlash)
{
    gfsi_web_base base;
    gfs_err err = GFS_ERR_INIT;

    ASSERT_EQ(0, gfsi_web_base_parse("http://me:s%20cret@h:81/a", &base, &err)) << err.text;
    EXPECT_STREQ("http://h:81/a/", base.url);
    EXPECT_STREQ("me", base.user);
    EXPECT_STREQ("s cret", base.password);
    EXPECT_FALSE(base.https);
    ASSERT_EQ(0, gfsi_web_base_parse("https://h", &base, &err)) << err.text;
    EXPECT_STREQ("https://h/", base.url);
    EXPECT_TRUE(base.https);
}

TEST(WebUrl, BaseWithQueryOrWithoutHostIsRefused)
{
    gfsi_web_base base;
    gfs_err err = GFS_ERR_INIT;

    EXPECT_EQ(GFS_EINVAL, gfsi_web_base_parse("http://h/a?b=c", &base, &err));
    EXPECT_EQ(GFS_EINVAL, gfsi_web_base_parse("http://h/a#b", &base, &err));
    EXPECT_EQ(GFS_EINVAL, gfsi_web_base_parse("http://", &base, &err));
    EXPECT_EQ(GFS_EINVAL, gfsi_web_base_parse("http://h:99999/", &base, &err));
}

struct LinkCase {
    const char *href;
    gfsi_link link;
    const char *name;
    bool directory;
};

class WebLink : public testing::TestWithParam<LinkCase>
{
};

TEST_P(WebLink, IsClassified)
{
    gfsi_web_page page;
    char name[256] = "";
    bool directory = false;

    ASSERT_EQ(0, gfsi_web_page_parse("http://h:80/pub/a%20b/index.html?x=1", &page));
    ASSERT_EQ(GetParam().link, gfsi_web_link(&page, GetParam().href, name, &directory))
        << GetParam().href;
    if (GetParam().link == GFSI_LINK_ENTRY) {
        EXPECT_STREQ(GetParam().name, name);
        EXPECT_EQ(GetParam().directory, directory);
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, WebLink,
    testing::Values(
        LinkCase{"file.txt", GFSI_LINK_ENTRY, "file.txt", false},
        LinkCase{"dir/", GFSI_LINK_ENTRY, "dir", true},
        LinkCase{"./x%20y", GFSI_LINK_ENTRY, "x y", false},
        LinkCase{" x \n", GFSI_LINK_ENTRY, "x", false},
        LinkCase{"a+b%2Bc", GFSI_LINK_ENTRY, "a+b+c", false},
        LinkCase{"/pub/a%20b/x", GFSI_LINK_ENTRY, "x", false},
        LinkCase{"/pub/%61 b/x/", GFSI_LINK_ENTRY, "x", true},
        LinkCase{"HTTP://H:80/pub/a%20b/x", GFSI_LINK_ENTRY, "x", false},
        LinkCase{"//h:80/pub/a%20b/x", GFSI_LINK_ENTRY, "x", false},
        LinkCase{"../", GFSI_LINK_PARENT, "", false}, LinkCase{"..", GFSI_LINK_PARENT, "", false},
        LinkCase{"./", GFSI_LINK_PARENT, "", false}, LinkCase{"/pub/", GFSI_LINK_PARENT, "", false},
        LinkCase{"/", GFSI_LINK_PARENT, "", false},
        LinkCase{"/pub/a%20b/", GFSI_LINK_PARENT, "", false},
        LinkCase{"?C=N;O=D", GFSI_LINK_OTHER, "", false},
        LinkCase{"x?download", GFSI_LINK_OTHER, "", false},
        LinkCase{"#top", GFSI_LINK_OTHER, "", false}, LinkCase{"", GFSI_LINK_OTHER, "", false},
        LinkCase{"a/b", GFSI_LINK_OTHER, "", false}, LinkCase{"../x", GFSI_LINK_OTHER, "", false},
        LinkCase{"%2e%2e", GFSI_LINK_OTHER, "", false},
        LinkCase{"%2E%2E/", GFSI_LINK_OTHER, "", false},
        LinkCase{"x%2fy", GFSI_LINK_OTHER, "", false}, LinkCase{"x%00", GFSI_LINK_OTHER, "", false},
        LinkCase{"/other/x", GFSI_LINK_OTHER, "", false},
        LinkCase{"http://evil/pub/a%20b/x", GFSI_LINK_OTHER, "", false},
        LinkCase{"http://h:80.evil/pub/a%20b/x", GFSI_LINK_OTHER, "", false},
        LinkCase{"//evil/pub/a%20b/x", GFSI_LINK_OTHER, "", false},
        LinkCase{"javascript:alert(1)", GFSI_LINK_OTHER, "", false},
        LinkCase{"mailto:a@b", GFSI_LINK_OTHER, "", false}));

TEST(WebUrl, LastNameOfAUrl)
{
    char name[256];
    bool directory = false;

    ASSERT_EQ(0, gfsi_url_last_name("http://h/a/b%20c/", name, sizeof(name), &directory));
    EXPECT_STREQ("b c", name);
    EXPECT_TRUE(directory);
    ASSERT_EQ(0, gfsi_url_last_name("http://h/a/f?x#y", name, sizeof(name), &directory));
    EXPECT_STREQ("f", name);
    EXPECT_FALSE(directory);
    ASSERT_EQ(0, gfsi_url_last_name("http://h", name, sizeof(name), &directory));
    EXPECT_STREQ("", name);
    EXPECT_TRUE(directory);
}

} // namespace
