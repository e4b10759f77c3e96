// Size and date behind a link: exact or not at all.
#include <gtest/gtest.h>

extern "C" {
#include "web_row.h"
}

namespace
{

gfsi_web_row Parse(const char *text)
{
    gfsi_web_row row;

    gfsi_web_row_parse(text, &row);
    return row;
}

TEST(WebRow, NginxTellsExactBytesAndMinutes)
{
    gfsi_web_row row = Parse("                19-May-2024 10:32             1234567\r");

    EXPECT_TRUE(row.size_known);
    EXPECT_EQ(1234567u, row.size);
    EXPECT_EQ(INT64_C(1716114720000), row.mtime_ms);
    EXPECT_EQ(60000u, row.mtime_granularity_ms);
}

TEST(WebRow, EmptyFileHasSizeZeroThatIsKnown)
{
    gfsi_web_row row = Parse(" 19-May-2024 10:32    0");

    EXPECT_TRUE(row.size_known);
    EXPECT_EQ(0u, row.size);
}

TEST(WebRow, RoundedSizesAreNotKnown)
{
    EXPECT_FALSE(Parse(" 2024-05-19 10:32  1.2K").size_known);
    EXPECT_FALSE(Parse(" 2024-05-19 10:32  12M ").size_known);
    EXPECT_FALSE(Parse(" 2024-05-19 10:32  12 KiB").size_known);
    EXPECT_FALSE(Parse(" 2024-05-19 10:32  -").size_known);
    EXPECT_FALSE(Parse(" 2024-05-19 10:32").size_known);
}

TEST(WebRow, NumberWithoutDateIsNoSize)
{
    gfsi_web_row row = Parse(" 1234 ");

    EXPECT_FALSE(row.size_known);
    EXPECT_EQ(0, row.mtime_ms);
    EXPECT_EQ(0u, row.mtime_granularity_ms);
}

TEST(WebRow, NumberTooLargeForASizeIsNotKnown)
{
    EXPECT_FALSE(Parse(" 19-May-2024 10:32 99999999999999999999").size_known);
}

TEST(WebRow, LighttpdDatesHaveSeconds)
{
    gfsi_web_row row = Parse(" 2024-May-19 10:32:11 1.2K\xC2\xA0");

    EXPECT_EQ(INT64_C(1716114731000), row.mtime_ms);
    EXPECT_EQ(1000u, row.mtime_granularity_ms);
    EXPECT_FALSE(row.size_known);
}

TEST(WebRow, NonBreakingSpaceSeparates)
{
    gfsi_web_row row = Parse(" 2024-05-19 10:32\xC2\xA0\xC2\xA0 123\xC2\xA0");

    EXPECT_TRUE(row.size_known);
    EXPECT_EQ(123u, row.size);
}

TEST(WebRow, WhatIsNoDateIsNotTakenForOne)
{
    EXPECT_EQ(0, Parse("99-May-2024 10:32 5").mtime_ms);
    EXPECT_EQ(0, Parse("19-Mai-2024 10:32 5").mtime_ms);
    EXPECT_EQ(0, Parse("2024-13-19 10:32 5").mtime_ms);
    EXPECT_EQ(0, Parse("2024-05-19 25:32 5").mtime_ms);
    EXPECT_EQ(0, Parse("x19-May-2024 10:32 5").mtime_ms);
}

TEST(WebRow, ReadsRfc3339)
{
    int64_t ms = 0;
    uint32_t granularity = 0;

    EXPECT_EQ(20, gfsi_web_date_parse("2024-05-19T10:32:11Z", &ms, &granularity));
    EXPECT_EQ(INT64_C(1716114731000), ms);
    EXPECT_EQ(1000u, granularity);
}

} // namespace
