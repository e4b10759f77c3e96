// Index records: what is written is read, what was damaged is refused.
#include <string>

#include <gtest/gtest.h>

extern "C" {
#include "record.h"
}

namespace
{

struct Encoded {
    unsigned char key[GFSI_INDEX_KEY_LEN];
    std::string value;
};

Encoded Encode()
{
    Encoded e;
    const uint8_t valid[] = {GFSI_RECORD_VALID, GFSI_RECORD_EMPTY, GFSI_RECORD_SUSPECT};
    const uint32_t crcs[] = {1, 0, 0xDEADBEEF};
    gfsi_record r = {};
    gfs_buf buf;

    r.block_size = 4096;
    r.extent_size = 1 << 20;
    r.file_length = 12000;
    r.seq = 7;
    r.stamp = 99;
    r.n_blocks = 3;
    r.valid = valid;
    snprintf(r.exact, sizeof(r.exact), "\"etag\"");
    gfsi_record_key(1, 0xFFFFFFFFFFFFFFFFu, 2, e.key);
    gfs_buf_init(&buf, 4096);
    EXPECT_EQ(0, gfsi_record_encode(&buf, &r, crcs));
    e.value.assign(buf.data, buf.len);
    gfs_buf_fini(&buf);
    return e;
}

TEST(Record, ReadsWhatWasWritten)
{
    Encoded e = Encode();
    gfsi_record r;

    ASSERT_EQ(0, gfsi_record_decode(e.key, e.value.data(), e.value.size(), &r));
    EXPECT_EQ(1u, r.inode_id);
    EXPECT_EQ(0xFFFFFFFFFFFFFFFFu, r.version_id);
    EXPECT_EQ(2u, r.extent);
    EXPECT_EQ(4096u, r.block_size);
    EXPECT_EQ(12000u, r.file_length);
    EXPECT_EQ(7u, r.seq);
    EXPECT_EQ(99u, r.stamp);
    ASSERT_EQ(3u, r.n_blocks);
    EXPECT_EQ(GFSI_RECORD_SUSPECT, r.valid[2]);
    EXPECT_EQ(0xDEADBEEFu, gfsi_record_crc(&r, 2));
    EXPECT_STREQ("\"etag\"", r.exact);
}

TEST(Record, EveryDamagedByteIsNoticed)
{
    Encoded e = Encode();
    gfsi_record r;

    for (size_t i = 0; i < e.value.size(); i++) {
        std::string damaged = e.value;

        damaged[i] = static_cast<char>(damaged[i] ^ 0x40);
        EXPECT_EQ(GFS_ECORRUPT, gfsi_record_decode(e.key, damaged.data(), damaged.size(), &r)) << i;
    }
    for (size_t len = 0; len < e.value.size(); len++) {
        EXPECT_EQ(GFS_ECORRUPT, gfsi_record_decode(e.key, e.value.data(), len, &r)) << len;
    }
}

} // namespace
