// A namespace in a temporary directory, and operations written as one would say them.
#ifndef GFS_TEST_MASTER_NS_FIXTURE_H
#define GFS_TEST_MASTER_NS_FIXTURE_H

#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "journal_priv.h"
#include "ns_priv.h"

namespace gfs_test
{

class TempDir
{
  public:
    TempDir()
    {
        std::string name = (std::filesystem::temp_directory_path() / "gfs-master-XXXXXX").string();
        path = mkdtemp(name.data());
    }
    ~TempDir()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::string path;
};

inline gfsi_str Str(const std::string &s)
{
    return {s.data(), s.size()};
}

struct Child {
    std::string name;
    bool directory = false;
    uint64_t length = 0;
    std::string version;
};

inline Child File(const std::string &name, uint64_t length, const std::string &version)
{
    return {name, false, length, version};
}

inline Child Dir(const std::string &name)
{
    return {name, true, 0, ""};
}

inline std::vector<gfsi_child> Children(const std::vector<Child> &children)
{
    std::vector<gfsi_child> out;
    for (const Child &c : children) {
        gfsi_child child{};
        child.name = Str(c.name);
        child.version = Str(c.version);
        child.directory = c.directory;
        child.length = c.length;
        child.mode = c.directory ? 0555 : 0444;
        child.mtime_ms = 1000;
        out.push_back(child);
    }
    return out;
}

inline std::string Encode(const gfsi_op &op)
{
    gfs_buf buf;
    gfs_buf_init(&buf, GFSI_ENTRY_MAX);
    EXPECT_EQ(gfsi_journal_encode(&op, &buf), 0);
    std::string out(buf.data == nullptr ? "" : buf.data, buf.len);
    gfs_buf_fini(&buf);
    return out;
}

inline std::string MountEntry(const std::string &path, const std::string &uri,
                              const std::string &id = "", int64_t begins_ms = 0)
{
    gfsi_prop props[] = {{"user", "somebody"}};
    gfsi_op op{};
    op.type = GFSI_OP_MOUNT;
    op.path = path.c_str();
    op.uri = uri.c_str();
    op.read_only = true;
    op.time_ms = begins_ms != 0 ? begins_ms : 5000;
    op.begins_numbers = begins_ms != 0;
    op.props = props;
    op.n_props = 1;
    op.has_id = !id.empty();
    memcpy(op.id, id.data(), std::min(id.size(), sizeof(op.id)));
    return Encode(op);
}

inline std::string UnmountEntry(const std::string &path, const std::string &id = "")
{
    gfsi_op op{};
    op.type = GFSI_OP_UNMOUNT;
    op.path = path.c_str();
    op.has_id = !id.empty();
    memcpy(op.id, id.data(), std::min(id.size(), sizeof(op.id)));
    return Encode(op);
}

inline std::string SyncEntry(uint64_t dir, const std::vector<Child> &children, bool first = true,
                             bool last = true, uint64_t listing = 7, int64_t time_ms = 6000)
{
    std::vector<gfsi_child> list = Children(children);
    gfsi_op op{};
    op.type = GFSI_OP_SYNC_DIRECTORY;
    op.directory_id = dir;
    op.first = first;
    op.last = last;
    op.listing_id = listing;
    op.time_ms = time_ms;
    op.children = list.data();
    op.n_children = list.size();
    return Encode(op);
}

inline std::string ChildEntry(uint64_t dir, const Child &child, bool removed = false)
{
    std::vector<Child> one = {child};
    std::vector<gfsi_child> list = Children(one);
    gfsi_op op{};
    op.type = GFSI_OP_SYNC_CHILD;
    op.directory_id = dir;
    op.removed = removed;
    op.time_ms = 6500;
    op.children = list.data();
    op.n_children = 1;
    return Encode(op);
}

inline std::string SettingEntry(const std::string &key, const std::string &value)
{
    gfsi_op op{};
    op.type = GFSI_OP_SETTING;
    op.key = key.c_str();
    op.value = value.c_str();
    return Encode(op);
}

// What a reader sees of one inode, detached from the database.
struct Seen {
    uint64_t id = 0, parent = 0, length = 0, version_id = 0, children = 0;
    uint32_t flags = 0, mount = 0;
    std::string name, version;
};

inline Seen See(const gfsi_inode &i)
{
    return {i.id,
            i.parent_id,
            i.length,
            i.version_id,
            i.child_count,
            i.flags,
            i.mount_id,
            std::string(i.name.s, i.name.len),
            std::string(i.version.s, i.version.len)};
}

class Namespace
{
  public:
    explicit Namespace(const std::string &dir, const std::string &identity = "journal-1",
                       const char *boot = "boot-1", size_t map_bytes = 0)
        : dir_(dir), identity_(identity), boot_(boot), map_(map_bytes)
    {
        Open();
    }
    ~Namespace()
    {
        if (ns != nullptr) {
            gfsi_ns_close(ns);
        }
    }
    void Open()
    {
        gfsi_ns_opts opts{};
        opts.dir = dir_.c_str();
        opts.identity = identity_.c_str();
        opts.boot_id = boot_.c_str();
        opts.map_bytes = map_;
        gfs_err err = GFS_ERR_INIT;
        rc = gfsi_ns_open(&opts, &ns, &err);
        error = err.text;
    }
    void Close()
    {
        gfsi_ns_close(ns);
        ns = nullptr;
    }
    // As if the process had been killed.
    void Kill()
    {
        gfsi_ns_abandon(ns);
        ns = nullptr;
    }
    int64_t Apply(const std::string &entry)
    {
        return ApplyAll({entry})[0];
    }
    std::vector<int64_t> ApplyAll(const std::vector<std::string> &batch)
    {
        std::vector<gfsi_ns_entry> entries;
        std::vector<int64_t> results(batch.size(), INT64_MIN);
        uint64_t index = gfsi_ns_applied(ns);
        for (const std::string &e : batch) {
            entries.push_back({++index, 1, e.data(), e.size()});
        }
        gfs_err err = GFS_ERR_INIT;
        rc = gfsi_ns_apply(ns, entries.data(), entries.size(), results.data(), &err);
        error = err.text;
        return results;
    }
    Seen Path(const std::string &path)
    {
        gfsi_view *view = nullptr;
        EXPECT_EQ(gfsi_view_open(ns, &view, nullptr), 0);
        gfsi_inode inode{};
        const char *rest = nullptr;
        rc = gfsi_view_resolve(view, path.c_str(), &inode, &rest);
        Seen seen = rc == 0 ? See(inode) : Seen{};
        gfsi_view_close(view);
        return seen;
    }
    uint64_t Id(const std::string &path)
    {
        return Path(path).id;
    }
    std::vector<std::string> List(const std::string &path, const std::string &after = "")
    {
        uint64_t id = Id(path);
        std::vector<std::string> names;
        gfsi_view *view = nullptr;
        gfsi_cursor *cursor = nullptr;
        gfsi_inode inode{};
        EXPECT_EQ(gfsi_view_open(ns, &view, nullptr), 0);
        EXPECT_EQ(gfsi_cursor_open(view, id, after.data(), after.size(), &cursor), 0);
        while (gfsi_cursor_next(cursor, &inode) == 1) {
            names.emplace_back(inode.name.s, inode.name.len);
        }
        gfsi_cursor_close(cursor);
        gfsi_view_close(view);
        return names;
    }
    uint64_t Digest()
    {
        gfsi_view *view = nullptr;
        uint64_t digest = 0;
        EXPECT_EQ(gfsi_view_open(ns, &view, nullptr), 0);
        EXPECT_EQ(gfsi_view_digest(view, &digest), 0);
        gfsi_view_close(view);
        return digest;
    }

    gfsi_ns *ns = nullptr;
    int rc = 0;
    std::string error;

  private:
    std::string dir_, identity_, boot_;
    size_t map_;
};

} // namespace gfs_test

#endif
