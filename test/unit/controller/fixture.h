// Objects and plans for the tests of the controllers.
#ifndef TEST_UNIT_CONTROLLER_FIXTURE_H
#define TEST_UNIT_CONTROLLER_FIXTURE_H

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <gfs/controller/desired.h>
#include <gfs/controller/object.h>

inline std::string slurp(const std::string &path)
{
    std::ifstream in(path);
    std::stringstream out;

    EXPECT_TRUE(in.good()) << path;
    out << in.rdbuf();
    return out.str();
}

// One object from YAML text; fails the test when it does not parse.
struct Object {
    gfs_object *ptr = nullptr;

    explicit Object(const std::string &text, const char *ns = "default")
    {
        gfs_diags diags;
        gfs_manifest *manifest = nullptr;
        gfs_buf out;

        gfs_buf_init(&out, 1 << 16);
        EXPECT_EQ(gfs_diags_init(&diags, "x.yaml"), 0);
        int rc = gfs_manifest_parse(text.data(), text.size(), ns, &diags, &manifest);
        gfs_diags_print(&diags, &out);
        EXPECT_EQ(rc, 0) << gfs_buf_str(&out);
        if (rc == 0) {
            ptr = gfs_manifest_take(manifest, 0);
        }
        gfs_manifest_free(manifest);
        gfs_diags_fini(&diags);
        gfs_buf_fini(&out);
    }

    ~Object()
    {
        gfs_object_free(ptr);
    }

    Object(const Object &) = delete;
    Object &operator=(const Object &) = delete;
};

inline std::string sample(const char *name)
{
    return slurp(std::string(GFS_SOURCE_DIR "/deploy/samples/") + name);
}

// Facts of one machine with a state directory.
struct Machine {
    const char *nodes[1] = {"node-1"};
    const char *missing[1] = {"/mnt/disk1"};
    gfs_facts facts = {};

    Machine()
    {
        facts.seed = "test";
        facts.nodes = nodes;
        facts.n_nodes = 1;
        facts.mount_root = "/runtime-mnt";
        facts.hosts_file = "/state/hosts";
        facts.pods_dir = "/state/pods";
        facts.one_machine = true;
        facts.missing_paths = missing;
        facts.n_missing = 0;
        facts.stand_in_dir = "/state/disks";
    }
};

struct Plan {
    gfs_plan *ptr = nullptr;
    int rc = 0;
    gfs_err err = GFS_ERR_INIT;

    Plan(const Object &dataset, const Object &runtime, const gfs_facts &facts)
    {
        rc = gfs_desired(dataset.ptr, runtime.ptr, &facts, &ptr, &err);
    }

    ~Plan()
    {
        gfs_plan_free(ptr);
    }

    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;

    gfs_plan *operator->() const
    {
        return ptr;
    }

    std::string print() const
    {
        gfs_buf out;

        gfs_buf_init(&out, 8 << 20);
        EXPECT_EQ(gfs_plan_print(ptr, &out), 0);

        std::string text = gfs_buf_str(&out);

        gfs_buf_fini(&out);
        return text;
    }
};

// Compares with test/golden/controller/NAME; GFS_UPDATE_GOLDEN=1 writes the file instead.
inline void expect_golden(const std::string &name, const std::string &text)
{
    std::string path = std::string(GFS_SOURCE_DIR "/test/golden/controller/") + name;

    if (getenv("GFS_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(path) << text;
        return;
    }

    EXPECT_EQ(slurp(path), text) << "GFS_UPDATE_GOLDEN=1 rewrites " << path;
}

#endif
