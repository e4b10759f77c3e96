// What disks do to the files of a master that is not running.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace raft_processes
{

constexpr size_t kBlock = 4096;

inline std::string NewestSegment(const std::string &journal)
{
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(journal)) {
        if (entry.path().extension() == ".wal") {
            names.push_back(entry.path());
        }
    }
    EXPECT_FALSE(names.empty()) << journal;
    return names.empty() ? "" : *std::max_element(names.begin(), names.end());
}

// Blocks of a file that are not all zeros: the segment's head and its records.
inline size_t UsedBlocks(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::vector<char> block(kBlock);
    size_t used = 0;
    for (size_t i = 0; file.read(block.data(), static_cast<std::streamsize>(kBlock)); i++) {
        const bool zeros = std::all_of(block.begin(), block.end(), [](char c) { return c == 0; });
        used = zeros ? used : i + 1;
    }
    return used;
}

inline void Overwrite(const std::string &path, size_t offset, size_t size, char what)
{
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    const std::string bytes(size, what);
    file.write(bytes.data(), static_cast<std::streamsize>(size));
    EXPECT_TRUE(file.good()) << path;
}

// A record in the middle turns to garbage; what was written behind it proves that it was there.
inline void DamageTheMiddle(const std::string &journal)
{
    const std::string segment = NewestSegment(journal);
    const size_t used = UsedBlocks(segment);
    ASSERT_GT(used, 4u);
    Overwrite(segment, used / 2 * kBlock, 256, '\x5a');
}

// The power went while a batch was being written behind the last one: some of it has arrived.
inline void TearTheTail(const std::string &journal)
{
    const std::string segment = NewestSegment(journal);
    Overwrite(segment, UsedBlocks(segment) * kBlock, 300, '\x5a');
}

} // namespace raft_processes
