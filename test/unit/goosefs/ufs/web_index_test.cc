// The index pages of five servers, and pages that are something else.
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>

extern "C" {
#include "ufs_priv.h"
#include "web_index.h"
}

namespace
{

const gfsi_web_index_options kOptions = {"Index of,Directory listing for",
                                         "Parent Directory,..,../", 1000};

struct Parsed {
    int rc = 0;
    size_t skipped = 0;
    std::map<std::string, gfs_ufs_stat> entries;
};

// Fed in pieces of `piece` bytes: nothing may depend on where the network cuts.
Parsed Parse(const std::string &html, const char *url = "http://h/pub/", size_t piece = 7,
             const gfsi_web_index_options &options = kOptions)
{
    Parsed parsed;
    gfs_ufs_listing *listing = gfsi_listing_new();
    gfsi_web_index *index = nullptr;

    EXPECT_EQ(0, gfsi_web_index_new(url, &options, listing, &index));
    for (size_t i = 0; i < html.size() && parsed.rc == 0; i += piece) {
        std::string part = html.substr(i, piece);

        parsed.rc = gfsi_web_index_feed(index, part.data(), part.size());
    }
    if (parsed.rc == 0) {
        parsed.rc = gfsi_web_index_finish(index);
    }
    gfsi_listing_finish(listing);
    parsed.skipped = gfs_ufs_listing_skipped(listing);
    for (size_t i = 0; i < gfs_ufs_listing_count(listing); i++) {
        const gfs_ufs_entry *entry = gfs_ufs_listing_at(listing, i);

        parsed.entries[entry->name] = entry->stat;
    }
    gfs_ufs_listing_free(listing);
    gfsi_web_index_free(index);
    return parsed;
}

void ExpectFile(const Parsed &parsed, const char *name, bool size_known, uint64_t size,
                int64_t mtime_ms)
{
    ASSERT_EQ(1u, parsed.entries.count(name)) << name;

    const gfs_ufs_stat &st = parsed.entries.at(name);

    EXPECT_EQ(GFS_UFS_FILE, st.type) << name;
    EXPECT_EQ(size_known, st.size_known) << name;
    EXPECT_EQ(size, st.size) << name;
    EXPECT_EQ(mtime_ms, st.mtime_ms) << name;
}

void ExpectDirectory(const Parsed &parsed, const char *name)
{
    ASSERT_EQ(1u, parsed.entries.count(name)) << name;
    EXPECT_EQ(GFS_UFS_DIRECTORY, parsed.entries.at(name).type) << name;
}

TEST(WebIndex, Nginx)
{
    Parsed p = Parse(
        "<html>\r\n<head><title>Index of /pub/</title></head>\r\n<body>\r\n"
        "<h1>Index of /pub/</h1><hr><pre><a href=\"../\">../</a>\r\n"
        "<a href=\"sub/\">sub/</a>                    19-May-2024 10:32                   -\r\n"
        "<a href=\"a%20b.txt\">a b.txt</a>            19-May-2024 10:32                1234\r\n"
        "<a href=\"empty\">empty</a>                  19-May-2024 10:33                   0\r\n"
        "<a href=\"a-very-long-name-that-nginx-cuts-in-the-text-of-the-link-only.tar.gz\">"
        "a-very-long-name-that-nginx-cuts-in-the-text-o..&gt;</a> 19-May-2024 10:32 200000000\r\n"
        "<a href=\"50%25%2B%C3%BC\">50%+\xC3\xBC</a> 19-May-2024 10:32 7\r\n"
        "</pre><hr></body>\r\n</html>\r\n");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(5u, p.entries.size());
    ExpectDirectory(p, "sub");
    ExpectFile(p, "a b.txt", true, 1234, INT64_C(1716114720000));
    ExpectFile(p, "empty", true, 0, INT64_C(1716114780000));
    ExpectFile(p, "a-very-long-name-that-nginx-cuts-in-the-text-of-the-link-only.tar.gz", true,
               200000000, INT64_C(1716114720000));
    ExpectFile(p, "50%+\xC3\xBC", true, 7, INT64_C(1716114720000));
}

TEST(WebIndex, ApacheTable)
{
    Parsed p = Parse(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n"
        "  <title>Index of /pub</title>\n </head>\n <body>\n<h1>Index of /pub</h1>\n  <table>\n"
        "   <tr><th valign=\"top\"><img src=\"/icons/blank.gif\" alt=\"[ICO]\"></th>"
        "<th><a href=\"?C=N;O=D\">Name</a></th><th><a href=\"?C=M;O=A\">Last modified</a></th>"
        "<th><a href=\"?C=S;O=A\">Size</a></th><th><a href=\"?C=D;O=A\">Description</a></th></tr>\n"
        "   <tr><th colspan=\"5\"><hr></th></tr>\n"
        "<tr><td valign=\"top\"><img src=\"/icons/back.gif\"></td>"
        "<td><a href=\"/\">Parent Directory</a></td><td>&nbsp;</td><td align=\"right\">  - </td>"
        "<td>&nbsp;</td></tr>\n"
        "<tr><td valign=\"top\"><img src=\"/icons/folder.gif\"></td>"
        "<td><a href=\"sub/\">sub/</a></td><td align=\"right\">2024-05-19 10:32  </td>"
        "<td align=\"right\">  - </td><td>&nbsp;</td></tr>\n"
        "<tr><td valign=\"top\"><img src=\"/icons/unknown.gif\"></td>"
        "<td><a href=\"big.bin\">big.bin</a></td><td align=\"right\">2024-05-19 10:32  </td>"
        "<td align=\"right\">1.2K</td><td>&nbsp;</td></tr>\n"
        "<tr><td valign=\"top\"><img src=\"/icons/unknown.gif\"></td>"
        "<td><a href=\"small&amp;tiny\">small&amp;tiny</a></td>"
        "<td align=\"right\">2024-05-19 10:32  </td>"
        "<td align=\"right\">123 </td><td>&nbsp;</td></tr>\n"
        "   <tr><th colspan=\"5\"><hr></th></tr>\n</table>\n"
        "<address>Apache/2.4.57 (Debian) Server at h Port 80</address>\n</body></html>\n");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(3u, p.entries.size());
    ExpectDirectory(p, "sub");
    ExpectFile(p, "big.bin", false, 0, INT64_C(1716114720000));
    ExpectFile(p, "small&tiny", true, 123, INT64_C(1716114720000));
}

TEST(WebIndex, ApachePreWithIconsAsLinks)
{
    Parsed p = Parse(
        "<html><head><title>Index of /pub</title></head><body><h1>Index of /pub</h1>\n"
        "<pre><img src=\"/icons/blank.gif\" alt=\"Icon \"> <a href=\"?C=N;O=D\">Name</a>   "
        "<a href=\"?C=M;O=A\">Last modified</a>      <a href=\"?C=S;O=A\">Size</a>  <hr>"
        "<img src=\"/icons/back.gif\" alt=\"[PARENTDIR]\"> <a href=\"/\">Parent Directory</a>   -  "
        " \n"
        "<a href=\"sub/\"><img src=\"/icons/folder.gif\" alt=\"[DIR]\"></a> <a "
        "href=\"sub/\">sub/</a>"
        "             2024-05-19 10:32    -   \n"
        "<a href=\"x.tgz\"><img src=\"/icons/c.gif\" alt=\"[   ]\"></a> <a href=\"x.tgz\">x.tgz</a>"
        "            2024-05-19 10:32   12M  \n"
        "<a href=\"y.txt\"><img src=\"/icons/c.gif\" alt=\"[   ]\"></a> <a href=\"y.txt\">y.txt</a>"
        "            2024-05-19 10:32  512   \n"
        "<hr></pre>\n</body></html>\n");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(3u, p.entries.size());
    ExpectDirectory(p, "sub");
    ExpectFile(p, "x.tgz", false, 0, INT64_C(1716114720000));
    ExpectFile(p, "y.txt", true, 512, INT64_C(1716114720000));
}

TEST(WebIndex, Lighttpd)
{
    Parsed p = Parse(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>Index of /pub/</title>\n"
        "<style type=\"text/css\">a{color:red}</style>\n</head>\n<body>\n<h2>Index of /pub/</h2>\n"
        "<div class=\"list\">\n<table summary=\"Directory Listing\" cellpadding=\"0\">\n"
        "<thead><tr><th class=\"n\">Name</th><th class=\"m\">Last Modified</th><th class=\"s\">Size"
        "</th><th class=\"t\">Type</th></tr></thead>\n<tbody>\n"
        "<tr class=\"d\"><td class=\"n\"><a href=\"../\">..</a>/</td><td class=\"m\">&nbsp;</td>"
        "<td class=\"s\">- &nbsp;</td><td class=\"t\">Directory</td></tr>\n"
        "<tr class=\"d\"><td class=\"n\"><a href=\"sub/\">sub</a>/</td>"
        "<td class=\"m\">2024-May-19 10:32:11</td><td class=\"s\">- &nbsp;</td>"
        "<td class=\"t\">Directory</td></tr>\n"
        "<tr><td class=\"n\"><a href=\"x%20y\">x y</a></td><td class=\"m\">2024-May-19 "
        "10:32:11</td>"
        "<td class=\"s\">0.1K</td><td class=\"t\">application/octet-stream</td></tr>\n"
        "</tbody>\n</table>\n</div>\n<div "
        "class=\"foot\">lighttpd/1.4.69</div>\n</body>\n</html>\n");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(2u, p.entries.size());
    ExpectDirectory(p, "sub");
    ExpectFile(p, "x y", false, 0, INT64_C(1716114731000));
    EXPECT_EQ(1000u, p.entries.at("x y").mtime_granularity_ms);
}

TEST(WebIndex, PythonHttpServer)
{
    Parsed p = Parse("<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<title>Directory listing for /pub/</title>\n</head>\n<body>\n"
                     "<h1>Directory listing for /pub/</h1>\n<hr>\n<ul>\n"
                     "<li><a href=\"%2Btop%3F.txt\">+top?.txt</a></li>\n"
                     "<li><a href=\"link/\">link@</a></li>\n"
                     "<li><a href=\"gr%C3%BCn\">gr\xC3\xBCn</a></li>\n</ul>\n<hr>\n</body>\n"
                     "</html>\n");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(3u, p.entries.size());
    ExpectDirectory(p, "link");
    ExpectFile(p, "+top?.txt", false, 0, 0);
    ExpectFile(p, "gr\xC3\xBCn", false, 0, 0);
}

std::string CaddyPage(const std::string &rows)
{
    return "<!DOCTYPE html><html><head><title>pub</title><meta charset=\"utf-8\"></head><body>"
           "<header><h1><a href=\"/\">/</a><a href=\"\">pub</a></h1></header><main>"
           "<a href=\"?layout=grid\">Grid</a><table><thead><tr>"
           "<th><a href=\"?sort=name&order=desc\">Name</a></th></tr></thead><tbody>"
           "<tr class=\"clickable\"><td></td><td><a href=\"..\"><span class=\"goup\">Up</span></a>"
           "</td><td></td></tr>" +
           rows +
           "</tbody></table></main><footer>Served with <a href=\"https://caddyserver.com\">Caddy"
           "</a></footer></body></html>";
}

TEST(WebIndex, Caddy)
{
    Parsed p = Parse(CaddyPage(
        "<tr class=\"file\"><td></td><td><a href=\"./sub/\"><span "
        "class=\"name\">sub</span></a></td>"
        "<td>&mdash;</td><td class=\"timestamp\"><time datetime=\"2024-05-19T10:32:11Z\">05/19/2024"
        "</time></td></tr>"
        "<tr class=\"file\"><td></td><td><a href=\"./x%25y\"><span "
        "class=\"name\">x%y</span></a></td>"
        "<td class=\"size\" data-size=\"1234\"><div class=\"sizebar\"></div>1.2 KiB</td>"
        "<td class=\"timestamp\"><time datetime=\"2024-05-19T10:32:11Z\">05/19/2024 10:32:11 AM "
        "+00:00</time></td></tr>"));

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(2u, p.entries.size());
    ExpectDirectory(p, "sub");
    ExpectFile(p, "x%y", true, 1234, INT64_C(1716114731000));
}

TEST(WebIndex, EmptyDirectoriesAreIndexes)
{
    Parsed caddy = Parse(CaddyPage(""));
    Parsed nginx = Parse("<html><head><title>Index of /pub/</title></head><body><pre>"
                         "<a href=\"../\">../</a>\n</pre></body></html>");

    EXPECT_EQ(0, caddy.rc);
    EXPECT_EQ(0u, caddy.entries.size());
    EXPECT_EQ(0, nginx.rc);
    EXPECT_EQ(0u, nginx.entries.size());
}

TEST(WebIndex, AnOrdinaryPageIsNotAnIndex)
{
    EXPECT_EQ(GFS_ENOTDIR, Parse("<html><head><title>Welcome</title></head><body>"
                                 "<a href=\"about.html\">About</a></body></html>")
                               .rc);
    EXPECT_EQ(GFS_ENOTDIR, Parse("").rc);
    EXPECT_EQ(GFS_ENOTDIR, Parse("no markup at all").rc);
}

TEST(WebIndex, TitlesAreConfigurable)
{
    gfsi_web_index_options options = kOptions;

    options.titles = "Verzeichnis,Files in";
    EXPECT_EQ(0, Parse("<title>files in /x</title><a href=x>x</a>", "http://h/", 3, options).rc);
    EXPECT_EQ(GFS_ENOTDIR, Parse("<title>Index of /x</title>", "http://h/", 3, options).rc);
}

TEST(WebIndex, TextOfTheNextLineIsNotTheRowsOwn)
{
    // Layouts that print size and date ahead of the link.
    Parsed p = Parse("<title>Index of /</title><body>2024-05-19 10:32 111 <a href=\"a\">a</a><br>"
                     "2024-05-19 10:33 222 <a href=\"b\">b</a><br></body>");

    ASSERT_EQ(0, p.rc);
    ExpectFile(p, "a", false, 0, 0);
    ExpectFile(p, "b", false, 0, 0);
}

TEST(WebIndex, NamesAFileSystemCannotHoldAreCounted)
{
    Parsed p = Parse("<title>Index of /</title><a href=\"%FF%FE\">x</a><a href=\"%0A\">y</a>"
                     "<a href=\"ok\">ok</a>");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(1u, p.entries.size());
    EXPECT_EQ(2u, p.skipped);
}

TEST(WebIndex, MoreEntriesThanAllowedIsAnError)
{
    gfsi_web_index_options options = kOptions;

    options.max_entries = 2;
    EXPECT_EQ(GFS_ERANGE, Parse("<title>Index of /</title><a href=1>1</a><a href=2>2</a>"
                                "<a href=3>3</a><a href=4>4</a>",
                                "http://h/", 1000, options)
                              .rc);
}

TEST(WebIndex, DeepNestingEndsTheParse)
{
    std::string html = "<title>Index of /</title>";

    for (int i = 0; i < 100000; i++) {
        html += "<div>";
    }
    EXPECT_EQ(GFS_EPROTO, Parse(html, "http://h/", 4096).rc);
}

TEST(WebIndex, ScriptsAndCommentsAreNotLinks)
{
    Parsed p = Parse("<title>Index of /</title><script>var s='<a href=\"evil\">x</a>';</script>"
                     "<!-- <a href=\"hidden\">x</a> --><a href=\"real\">real</a>");

    ASSERT_EQ(0, p.rc);
    EXPECT_EQ(1u, p.entries.size());
    EXPECT_EQ(1u, p.entries.count("real"));
}

} // namespace
