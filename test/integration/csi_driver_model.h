// What kubelet does to a node plugin all day, and a model that says which answers are right.
#ifndef CSI_DRIVER_MODEL_H
#define CSI_DRIVER_MODEL_H

#include <sys/statvfs.h>

#include <atomic>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "conformance/csi_keeper_fixture.h"

namespace csi
{

// Disturbances (a process killed and started again): a call that overlaps one may fail in a way
// that kubelet repeats.
struct Weather {
    std::atomic<unsigned> begun{0}, over{0};
};

// What all kubelet workers together did and saw.
struct Tally {
    std::atomic<unsigned> calls{0}, unavailable{0}, stray{0}, aborted{0}, timeouts{0}, wrong{0},
        sessions{0}, late{0};
    std::mutex mutex;
    std::string first_wrong;
};

enum class Is { No, Yes, Maybe };

struct PodModel {
    Is published = Is::No;
    bool readonly = false;
    bool late = false; // a call that was given up may still arrive
};

struct VolumeModel {
    Volume base; // without target
    std::vector<PodModel> pods;
    std::vector<std::string> targets;
    Is staged = Is::No;
    bool late = false;
    bool real = false;    // a FUSE client run by the keeper, that gets killed too
    bool single = false;  // an access mode for one target
    bool symlink = false; // published as a link
    unsigned sessions = 0;
};

// One of kubelet's workers with volumes of its own: what it knows of them is exact but for calls
// that were given up.
class KubeletWorker
{
  public:
    KubeletWorker(const std::string &socket, unsigned seed, Weather &weather, Tally &tally)
        : client_(socket), second_(socket), rng_(seed), weather_(weather), tally_(tally)
    {
    }
    std::vector<VolumeModel *> volumes;
    size_t turn = 0; // the volume that is next

    // Everything that may happen to a volume between its first pod and its last.
    void session(VolumeModel &v, int steps)
    {
        for (int i = 0; i < steps; i++) {
            step(v);
        }
        v.sessions++;
        tally_.sessions++;
    }
    void tear_down(VolumeModel &v)
    {
        for (size_t pod = 0; pod < v.pods.size(); pod++) {
            if (v.pods[pod].published != Is::No) {
                until_ok(v, pod, &KubeletWorker::unpublish);
            }
        }
        if (v.staged != Is::No) {
            until_ok(v, 0, &KubeletWorker::unstage);
        }
    }
    unsigned pick(unsigned n)
    {
        return static_cast<unsigned>(rng_() % n);
    }

  private:
    using Codes = std::set<int>;
    struct Outcome {
        int code;
        bool given_up; // by us
    };

    // ---- one call and its judge ----

    // `patient`: calls that would do something else when they came to work later.
    Outcome call(const VolumeModel &v, const Volume &arguments, const char *what,
                 int (Client::*rpc)(const Volume &), Codes right, bool patient = false)
    {
        unsigned over = weather_.over;
        bool hasty = !patient && pick(20) == 0;

        client_.timeout_ns = hasty ? pick(4000) * GFS_NS_PER_US : 100 * GFS_NS_PER_S;
        int code = (client_.*rpc)(arguments);
        bool disturbed = weather_.begun != over;
        if (hasty) {
            right.insert({DEADLINE_EXCEEDED, CANCELLED});
        }
        if (v.late) {
            right.insert(ABORTED); // by one that was given up and still runs
        }
        judge(v, what, code, right, disturbed, client_.text);
        return {code, code == DEADLINE_EXCEEDED || code == CANCELLED};
    }
    void judge(const VolumeModel &v, const char *what, int code, const Codes &right, bool disturbed,
               const std::string &text)
    {
        tally_.calls++;
        tally_.aborted += code == ABORTED;
        tally_.timeouts += code == DEADLINE_EXCEEDED;
        if (code == UNAVAILABLE) {
            tally_.unavailable++;
            tally_.stray += !disturbed && !v.real;
            return; // counted: few of them without a reason are the machine's load
        }
        bool allowed = code == INTERNAL ? right.count(code) != 0 && weather_.begun > 0
                                        : right.count(code) != 0;
        if (!allowed && !(disturbed && code == CANCELLED)) {
            wrong(v, std::string(what) + " answered " + std::to_string(code) + " " + text);
        }
    }
    void wrong(const VolumeModel &v, const std::string &what)
    {
        std::lock_guard<std::mutex> guard(tally_.mutex);
        if (tally_.wrong++ == 0) {
            tally_.first_wrong = v.base.id + ": " + what;
        }
    }
    // Errors after which the work may or may not be done.
    static bool is_open(int code)
    {
        return code == UNAVAILABLE || code == DEADLINE_EXCEEDED || code == CANCELLED ||
               code == ABORTED;
    }

    // ---- the calls ----

    Volume arguments(const VolumeModel &v, size_t pod)
    {
        Volume a = v.base;
        a.target = v.targets[pod];
        a.readonly = v.pods[pod].readonly;
        return a;
    }
    size_t others(const VolumeModel &v, size_t pod, Is is)
    {
        size_t n = 0;
        for (size_t i = 0; i < v.pods.size(); i++) {
            n += i != pod && v.pods[i].published == is;
        }
        return n;
    }
    bool stage(VolumeModel &v, size_t)
    {
        Codes right = {OK};
        if (v.real) {
            right.insert(INTERNAL); // its client was killed before it was ready
        }
        Outcome o = call(v, arguments(v, 0), "stage", &Client::stage, right);
        if (o.code == OK) {
            v.staged = Is::Yes;
        } else if (is_open(o.code) && v.staged == Is::No) {
            v.staged = Is::Maybe;
        }
        v.late |= o.given_up;
        return o.code == OK;
    }
    bool publish(VolumeModel &v, size_t pod)
    {
        PodModel &p = v.pods[pod];
        Codes right = {OK};

        if (v.real) {
            right.insert(INTERNAL); // as for stage: a publish mounts again what is gone
        }
        if (v.single && others(v, pod, Is::Yes) + others(v, pod, Is::Maybe) > 0) {
            right.insert(FAILED_PRECONDITION);
            if (others(v, pod, Is::Yes) > 0) {
                right.erase(OK);
            }
        }
        Outcome o = call(v, arguments(v, pod), "publish", &Client::publish, right);
        p.late |= o.given_up;
        v.late |= o.given_up;
        if (o.code == OK) {
            p.published = Is::Yes;
            v.staged = Is::Yes; // known from the publish at least
            check_published(v, pod);
        } else if (is_open(o.code)) {
            p.published = p.published == Is::Yes ? Is::Yes : Is::Maybe;
            v.staged = v.staged == Is::Yes ? Is::Yes : Is::Maybe;
        }
        return o.code == OK;
    }
    bool unpublish(VolumeModel &v, size_t pod)
    {
        PodModel &p = v.pods[pod];
        Outcome o = call(v, arguments(v, pod), "unpublish", &Client::unpublish, {OK});

        if (o.code == OK && is_gone(v, pod)) {
            p.published = Is::No;
            p.late = false;
            return true;
        }
        p.published = p.published == Is::No ? Is::No : Is::Maybe;
        p.late |= o.given_up;
        v.late |= o.given_up;
        return false;
    }
    bool unstage(VolumeModel &v, size_t)
    {
        Codes right = {OK};
        size_t none = v.pods.size();
        if (v.staged != Is::No && others(v, none, Is::Yes) + others(v, none, Is::Maybe) > 0) {
            right.insert(FAILED_PRECONDITION);
            if (v.staged == Is::Yes && others(v, none, Is::Yes) > 0) {
                right.erase(OK);
            }
        }
        Outcome o = call(v, arguments(v, 0), "unstage", &Client::unstage, right);
        if (o.code == OK) {
            v.staged = v.late ? Is::Maybe : Is::No;
            v.late = false;
        } else if (is_open(o.code)) {
            v.staged = v.staged == Is::No ? Is::No : Is::Maybe;
        }
        v.late |= o.given_up;
        return o.code == OK && v.staged == Is::No;
    }
    void until_ok(VolumeModel &v, size_t pod, bool (KubeletWorker::*one)(VolumeModel &, size_t))
    {
        if (!eventually([&] { return (this->*one)(v, pod); }, 120)) {
            wrong(v, "no success in two minutes: " + client_.text);
        }
    }

    // ---- what must be true afterwards ----

    void check_published(const VolumeModel &v, size_t pod)
    {
        const std::string &at = v.targets[pod];
        struct statvfs fs;
        struct stat st;

        if (v.symlink) {
            if (lstat(at.c_str(), &st) != 0 || !S_ISLNK(st.st_mode)) {
                wrong(v, "published as a link, but there is none");
            }
            return;
        }
        if (!v.real && (statvfs((at + "/hello").c_str(), &fs) != 0 ||
                        ((fs.f_flag & ST_RDONLY) != 0) != v.pods[pod].readonly)) {
            wrong(v, "published, but not readable or in another way");
        }
        if (v.real && pick(4) == 0 && access((at + "/.").c_str(), F_OK) != 0) {
            wrong(v, std::string("published, but not there: ") + strerror(errno));
        }
        if (pick(16) == 0) {
            struct gfs_mounttable *table = nullptr;
            (void)gfs_mounttable_read(nullptr, &table, nullptr);
            if (gfs_mounttable_depth(table, at.c_str()) != 1) {
                wrong(v, "mounted " + std::to_string(gfs_mounttable_depth(table, at.c_str())) +
                             " times");
            }
            gfs_mounttable_free(table);
        }
    }
    bool is_gone(const VolumeModel &v, size_t pod)
    {
        struct stat st;
        if (lstat(v.targets[pod].c_str(), &st) != 0 && errno == ENOENT) {
            return true;
        }
        if (v.pods[pod].late) {
            tally_.late++;
        } else {
            wrong(v, "unpublished, but the target is there");
        }
        return false;
    }

    // ---- the day of a volume ----

    void step(VolumeModel &v)
    {
        size_t pod = pick(static_cast<unsigned>(v.pods.size()));
        unsigned what = pick(100);

        if (v.staged == Is::No && what < 90) {
            (void)stage(v, 0);
        } else if (what < 40) {
            if (v.pods[pod].published == Is::No) {
                v.pods[pod].readonly = pick(3) == 0 && !v.symlink;
            }
            (void)publish(v, pod);
        } else if (what < 62) {
            (void)unpublish(v, pod);
        } else if (what < 72) {
            look(v, pod);
        } else if (what < 76) {
            (void)stage(v, 0);
        } else if (what < 80) {
            (void)unstage(v, 0);
        } else if (what < 86) {
            twice(v, pod);
        } else if (what < 92) {
            against(v, pod);
        } else {
            mistaken(v, pod);
        }
    }
    void look(VolumeModel &v, size_t pod)
    {
        unsigned over = weather_.over;
        client_.timeout_ns = 100 * GFS_NS_PER_S;
        Stats s = client_.stats(v.base.id, v.targets[pod]);
        Is is = v.pods[pod].published;
        Codes right = {OK, NOT_FOUND};

        if (!v.pods[pod].late && is != Is::Maybe) {
            right.erase(is == Is::Yes ? NOT_FOUND : OK);
        }
        judge(v, "stats", s.code, right, weather_.begun != over, client_.text);
        if (s.code == OK && (s.total < 0 || s.available < 0 || s.used < 0)) {
            wrong(v, "negative figures");
        }
    }
    // The same call twice at once: one joins the other.
    void twice(VolumeModel &v, size_t pod)
    {
        Volume a = arguments(v, pod);
        unsigned over = weather_.over;
        int code = OK;
        bool single = v.single && others(v, pod, Is::Yes) + others(v, pod, Is::Maybe) > 0;
        bool late = v.late;
        std::string text;
        std::thread other([&] {
            code = second_.publish(a);
            text = second_.text;
        });
        (void)publish(v, pod);
        other.join();
        Codes right = single ? Codes{OK, FAILED_PRECONDITION} : Codes{OK};
        if (v.real) {
            right.insert(INTERNAL);
        }
        if (late) {
            right.insert(ABORTED);
        }
        judge(v, "second publish", code, right, weather_.begun != over, text);
        /* The second may have come to work after the first was given up. */
        if (code == OK && v.pods[pod].published != Is::Yes) {
            v.pods[pod].published = Is::Maybe;
        }
        if (is_open(code) && v.pods[pod].published == Is::No) {
            v.pods[pod].published = Is::Maybe;
        }
        if (code == OK || is_open(code)) {
            v.staged = v.staged == Is::Yes ? Is::Yes : Is::Maybe;
        }
    }
    // Opposite calls at once: each succeeds or is aborted, and the next one of either kind decides.
    void against(VolumeModel &v, size_t pod)
    {
        if (v.single && others(v, pod, Is::Yes) + others(v, pod, Is::Maybe) > 0) {
            return;
        }
        Volume a = arguments(v, pod);
        unsigned over = weather_.over;
        int up = OK, down = OK;
        std::string text;
        client_.timeout_ns = 100 * GFS_NS_PER_S;
        std::thread other([&] {
            down = second_.unpublish(a);
            text = second_.text;
        });
        up = client_.publish(a);
        other.join();
        bool disturbed = weather_.begun != over;
        judge(v, "publish against unpublish", up,
              v.real ? Codes{OK, ABORTED, INTERNAL} : Codes{OK, ABORTED}, disturbed, client_.text);
        judge(v, "unpublish against publish", down, {OK, ABORTED}, disturbed, text);
        v.pods[pod].published = Is::Maybe;
        v.staged = v.staged == Is::Yes || up == OK ? Is::Yes : Is::Maybe;
        until_ok(v, pod, pick(2) == 0 ? &KubeletWorker::publish : &KubeletWorker::unpublish);
    }
    // Calls that are refused and change nothing.
    void mistaken(VolumeModel &v, size_t pod)
    {
        Volume a = arguments(v, pod);

        switch (pick(4)) {
        case 0:
            a.target += "/../../escape";
            (void)call(v, a, "publish at a bad path", &Client::publish, {INVALID_ARGUMENT}, true);
            break;
        case 1:
            a.mode = 0;
            (void)call(v, a, "stage without a mode", &Client::stage, {INVALID_ARGUMENT}, true);
            break;
        case 2:
            if (v.pods[pod].published == Is::Yes && !v.symlink) {
                a.readonly = !a.readonly;
                (void)call(v, a, "publish in another way", &Client::publish, {ALREADY_EXISTS},
                           true);
            }
            break;
        default:
            if (v.staged == Is::Yes) {
                a.staging += "-elsewhere";
                a.target += "-elsewhere";
                (void)call(v, a, "publish from elsewhere", &Client::publish, {FAILED_PRECONDITION},
                           true);
            }
        }
    }

    Client client_, second_;
    std::mt19937 rng_;
    Weather &weather_;
    Tally &tally_;
};

} // namespace csi

#endif
