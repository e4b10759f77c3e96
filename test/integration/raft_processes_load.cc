#include "raft_processes_load.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gfs/base/clock.h>

namespace raft_processes
{
namespace
{

constexpr int kPaths = 4;                     // few, so that sessions meet at them
constexpr int kRoaming = 4;                   // sessions that find the leader themselves
constexpr int64_t kPause = 2 * GFS_NS_PER_MS; // between calls: the judge has to read them all

// What the judge sees of an origin's URI: its last component.
std::string Short(const char *uri)
{
    std::string text = uri;
    while (!text.empty() && text.back() == '/') {
        text.pop_back();
    }
    return text.substr(text.rfind('/') + 1);
}

// The call had an answer that says what happened.
bool Definite(int rc)
{
    return rc == 0 || rc == GFS_EEXIST || rc == GFS_ENOENT || rc == GFS_EINVAL;
}

// A try that certainly has had no effect: the master said that it does not lead.
bool Refused(int rc, const gfs_err &err)
{
    return rc == GFS_ENOTLEADER ||
           (rc == GFS_EUNAVAIL &&
            std::string(err.text).find("have no leader") != std::string::npos);
}

std::string Table(const Goosefs__V1__ListMountsResponse *r)
{
    std::vector<std::string> rows;
    for (size_t i = 0; i < r->n_mounts; i++) {
        rows.push_back(std::string(r->mounts[i]->path) + "=" + Short(r->mounts[i]->ufs_uri) + ";");
    }
    std::sort(rows.begin(), rows.end());
    std::string table;
    for (const std::string &row : rows) {
        table += row;
    }
    return table;
}

linear::Op Begin(linear::Kind kind, const std::string &key, const std::string &arg = "")
{
    linear::Op op;
    op.kind = kind;
    op.key = key;
    op.arg = arg;
    op.start = gfs_clock_mono();
    return op;
}

} // namespace

Load::Load(const std::string &dir, uint64_t seed) : dir_(dir), random_(seed)
{
}

Load::~Load()
{
    (void)Finish();
}

void Load::Start()
{
    stop_ = false;
    longest_ns_ = 0;
    for (int i = 0; i < kRoaming + kMasters; i++) {
        auto s = std::make_unique<Session>();
        s->master = i < kRoaming ? -1 : i - kRoaming;
        s->client = Masters::Connect(Masters::All());
        s->random.seed(random_());
        sessions_.push_back(std::move(s));
        sessions_.back()->thread = std::thread(&Load::Run, this, sessions_.back().get());
    }
}

void Load::Run(Session *s)
{
    while (!stop_) {
        Step(s);
        gfs_clock_sleep_until(gfs_clock_mono() + kPause);
    }
}

void Load::Step(Session *s)
{
    const std::string path = "/k" + std::to_string(s->random() % kPaths);
    // Whoever asks one master only asks for no change while that does not answer: each would be an
    // unknown outcome, of which the judge can bear few.
    const uint64_t dice = s->lost ? 8 + s->random() % 2 : s->random() % 10;
    if (dice < 4) {
        Mount(s, path);
    } else if (dice < 8) {
        Unmount(s, path);
    } else if (dice < 9) {
        Stat(s, path);
    } else {
        (void)List(s, s->master);
    }
}

// A session that asks one master only shows what that answers when the rest has gone on without it:
// a deposed leader must neither read nor refuse from what it knew.
int Load::Call(Session *s, int master, gfs_client_method method, const ProtobufCMessage *request,
               ProtobufCMessage **out, gfs_err *err)
{
    if (master < 0) {
        return gfs_client_call(s->client.get(), method, request, out, gfs_clock_mono() + kLong,
                               err);
    }
    return gfs_client_call_master(s->client.get(), static_cast<size_t>(master), method, request,
                                  out, gfs_clock_mono() + GFS_NS_PER_S, err);
}

void Load::Note(Session *s, linear::Op op, int rc, const std::string &answer, const gfs_err &err)
{
    const bool changes = op.kind == linear::Kind::kMount || op.kind == linear::Kind::kUnmount;
    const int64_t now = gfs_clock_mono();
    s->lost = s->master >= 0 && !Definite(rc) && !Refused(rc, err);
    if (s->master >= 0 && Refused(rc, err)) {
        return;
    }
    if (Definite(rc)) {
        op.end = now;
        op.result = answer;
        (changes ? writes_ : reads_)++;
    } else if (s->master < 0 && (gfs_err_retryable(rc) || rc == GFS_EUNKNOWN)) {
        unanswered_++;
        fprintf(stderr, "unanswered: %s: %s: %s\n", op.key.c_str(), gfs_err_name(rc), err.text);
    } else if (!gfs_err_retryable(rc) && rc != GFS_EUNKNOWN &&
               (s->master < 0 || rc != GFS_ECANCELLED)) { // a master that stops cancels
        s->failures.push_back(op.key + ": " + gfs_err_name(rc) + ": " + err.text);
    }
    if (changes && s->master < 0) {
        int64_t longest = longest_ns_;
        while (now - op.start > longest &&
               !longest_ns_.compare_exchange_weak(longest, now - op.start)) {
        }
    }
    s->history.push_back(op);
}

void Load::Mount(Session *s, const std::string &path)
{
    const std::string name = "o" + std::to_string(origins_++);
    const std::string uri = "file://" + dir_ + "/" + name;
    std::filesystem::create_directory(dir_ + "/" + name);

    Goosefs__V1__MountRequest q = GOOSEFS__V1__MOUNT_REQUEST__INIT;
    uint8_t id[GFS_CLIENT_OPERATION_ID];
    gfs_client_operation_id(id);
    q.path = const_cast<char *>(path.c_str());
    q.ufs_uri = const_cast<char *>(uri.c_str());
    q.read_only = 1;
    q.operation_id = {sizeof(id), id};
    ProtobufCMessage *message = nullptr;
    gfs_err err = GFS_ERR_INIT;
    const linear::Op op = Begin(linear::Kind::kMount, path, name);
    const int rc = Call(s, s->master, GFS_CLIENT_METHOD_mount, &q.base, &message, &err);
    auto *r = reinterpret_cast<Goosefs__V1__MountResponse *>(message);
    Note(s, op, rc, rc == 0 ? "ok" : "exists", err);
    goosefs__v1__mount_response__free_unpacked(r, nullptr);
}

void Load::Unmount(Session *s, const std::string &path)
{
    Goosefs__V1__UnmountRequest q = GOOSEFS__V1__UNMOUNT_REQUEST__INIT;
    uint8_t id[GFS_CLIENT_OPERATION_ID];
    gfs_client_operation_id(id);
    q.path = const_cast<char *>(path.c_str());
    q.operation_id = {sizeof(id), id};
    ProtobufCMessage *message = nullptr;
    gfs_err err = GFS_ERR_INIT;
    const linear::Op op = Begin(linear::Kind::kUnmount, path);
    const int rc = Call(s, s->master, GFS_CLIENT_METHOD_unmount, &q.base, &message, &err);
    auto *r = reinterpret_cast<Goosefs__V1__UnmountResponse *>(message);
    Note(s, op, rc, rc == 0 ? "ok" : "absent", err);
    goosefs__v1__unmount_response__free_unpacked(r, nullptr);
}

void Load::Stat(Session *s, const std::string &path)
{
    Goosefs__V1__GetStatusRequest q = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    target.path = const_cast<char *>(path.c_str());
    q.target = &target;
    ProtobufCMessage *message = nullptr;
    gfs_err err = GFS_ERR_INIT;
    const linear::Op op = Begin(linear::Kind::kRead, path);
    const int rc = Call(s, s->master, GFS_CLIENT_METHOD_get_status, &q.base, &message, &err);
    auto *r = reinterpret_cast<Goosefs__V1__GetStatusResponse *>(message);
    Note(s, op, rc, rc == 0 ? Short(r->info->ufs_uri) : "", err);
    goosefs__v1__get_status_response__free_unpacked(r, nullptr);
}

bool Load::List(Session *s, int master)
{
    Goosefs__V1__ListMountsRequest q = GOOSEFS__V1__LIST_MOUNTS_REQUEST__INIT;
    ProtobufCMessage *message = nullptr;
    gfs_err err = GFS_ERR_INIT;
    const linear::Op op = Begin(linear::Kind::kList, "");
    const int rc = Call(s, master, GFS_CLIENT_METHOD_list_mounts, &q.base, &message, &err);
    auto *r = reinterpret_cast<Goosefs__V1__ListMountsResponse *>(message);
    Note(s, op, rc, rc == 0 ? Table(r) : "", err);
    goosefs__v1__list_mounts_response__free_unpacked(r, nullptr);
    return rc == 0;
}

bool Load::MoreWrites(int n, int64_t within)
{
    const int until = writes_ + n;
    return Eventually([&] { return writes_ >= until; }, within);
}

bool Load::MoreReads(int n, int64_t within)
{
    const int until = reads_ + n;
    return Eventually([&] { return reads_ >= until; }, within);
}

std::string Load::Save(const std::vector<linear::Op> &history) const
{
    const std::string path = dir_ + "-history.txt";
    std::ofstream file(path);
    static const char *const names[] = {"read", "write", "cas", "add", "mount", "unmount", "list"};
    for (const linear::Op &op : history) {
        file << op.start << " " << (op.end == linear::kNever ? -1 : op.end) << " "
             << names[static_cast<int>(op.kind)] << " " << op.key << " " << op.arg << " -> "
             << op.result << "\n";
    }
    return path;
}

std::string Load::Finish()
{
    if (sessions_.empty()) {
        return "";
    }
    stop_ = true;
    for (auto &s : sessions_) {
        s->thread.join();
    }
    // What each master has in the end is part of the history.
    Session *last = sessions_.front().get();
    std::string failures;
    for (int i = 0; i < kMasters; i++) {
        last->master = i; // one that was just started may not answer the first question
        if (!Eventually([&] { return List(last, i); })) {
            failures += "master " + std::to_string(i + 1) + " answers no list\n";
        }
    }
    const std::string table = last->history.back().result;
    std::vector<linear::Op> history = before_;
    for (auto &s : sessions_) {
        history.insert(history.end(), s->history.begin(), s->history.end());
        for (const std::string &failure : s->failures) {
            failures += failure + "\n";
        }
    }
    sessions_.clear();

    before_.clear();
    for (size_t from = 0; from < table.size();) {
        const size_t equals = table.find('=', from), end = table.find(';', equals);
        linear::Op op;
        op.kind = linear::Kind::kMount;
        op.key = table.substr(from, equals - from);
        op.arg = table.substr(equals + 1, end - equals - 1);
        op.result = "ok";
        op.end = 1;
        before_.push_back(op);
        from = end + 1;
    }

    const linear::Result verdict = linear::Check(linear::MountTable(), history);
    if (verdict.verdict == linear::Verdict::kYes) {
        return failures;
    }
    return failures + verdict.text + ", see " + Save(history);
}

} // namespace raft_processes
