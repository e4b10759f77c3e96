// A cluster without nodes for tests of controllers: an API server that keeps objects, versions,
// finalizers and owners as Kubernetes does, watches, and its own controllers of sets of pods and
// of their claims (those of a class wait for its provisioner). It fails on demand, and tells before
// and after each write so that a test can end the writer there.
//
// Less than the real one: no validation, no defaults, no admission; server-side apply knows one
// owner of fields per object; what has no owner any more goes at once.
#ifndef GFS_TEST_FAKE_KUBE_CLUSTER_H
#define GFS_TEST_FAKE_KUBE_CLUSTER_H

#include <jansson.h>

#include <memory>
#include <random>
#include <set>

#include "fake/kube_api.h"

namespace fake
{
// A reference to a JSON value.
class Json
{
  public:
    Json() = default;
    explicit Json(json_t *taken) : json_(taken)
    {
    }
    Json(const Json &other) : json_(json_incref(other.json_))
    {
    }
    Json &operator=(Json other)
    {
        std::swap(json_, other.json_);
        return *this;
    }
    ~Json()
    {
        json_decref(json_);
    }
    json_t *get() const
    {
        return json_;
    }
    // By members; "" when it is not there or no text. at("metadata", "name")
    template <typename... Keys> std::string text(Keys... keys) const
    {
        const char *found = json_string_value(at(keys...));
        return found != nullptr ? found : "";
    }
    template <typename... Keys> json_t *at(Keys... keys) const
    {
        json_t *json = json_;
        for (const char *key : {keys...}) {
            json = json_object_get(json, key);
        }
        return json;
    }

  private:
    json_t *json_ = nullptr;
};

class KubeCluster
{
  public:
    KubeCluster();
    ~KubeCluster();

    std::string Url() const
    {
        return api_.Url();
    }

    // ---- what users and other controllers do; paths as the API has them ----
    void Create(const std::string &collection, const std::string &text);
    void Edit(const std::string &path, const std::string &merge_patch);
    void Delete(const std::string &path);

    // ---- looking ----
    Json Get(const std::string &path);
    // Paths of all objects whose path contains `part`; events, leases and nodes are left out.
    std::vector<std::string> Paths(const std::string &part = "");
    // Waits until `what` is true of the cluster, which may look but not write; false after a
    // minute.
    bool WaitFor(const std::function<bool()> &what);
    // Waits until no request has come for three seconds; false when it takes more than a minute.
    bool WaitQuiet();
    // Whether an event of that reason has `part` in its text.
    bool Told(const std::string &reason, const std::string &part);
    size_t Requests(); // watches aside
    size_t Writes();
    size_t Watches();
    // The same requests by what they are, such as "PATCH datasets/status".
    std::map<std::string, size_t> Tally();

    // ---- trouble ----
    // Every n-th request but watches fails, each time in another way; 0: none.
    void FailEvery(size_t n, unsigned seed);
    // The same drawn by lot: one in n.
    void FailSome(size_t n, unsigned seed);
    // Events of different kinds come in random order, and watches end early or with 410.
    void Shuffle(unsigned seed);
    // The scheduler's next choice for a claim, whether there is such a node or not.
    void ChooseNext(const std::string &node);
    // Called once, before or after the n-th write from now on is carried out.
    void AtWrite(size_t n, bool after, std::function<void()> then);

  private:
    struct Event {
        std::string type, collection, ns, text;
        Json labels;
        long version;
    };
    struct Watch {
        std::string collection, ns, label, value;
        size_t next = 0;          // in log_
        size_t left = ~size_t{0}; // events until it is cut
        bool ready = false;
    };
    struct Target {
        std::string collection, ns, name, sub;
        std::string Path() const;
    };

    static const int NODES = 3;

    static Response Error(int code, const char *reason);
    static Target Parse(const std::string &path);
    Response Handle(const Request &r);
    Response Answer(const Request &r, const Target &target);
    Response List(const Target &target, const std::string &query);
    Response StartWatch(const Target &target, const std::string &query);
    bool Pull(Watch *watch, std::string *piece);
    bool Pending(Watch *watch);
    bool MyTurn(Watch *watch);
    Response Post(const Target &target, const Json &body);
    Response Put(const Target &target, const Json &body);
    Response Apply(const Target &target, const Json &body);
    Response Merge(const Target &target, const Json &body);
    Response Change(const std::string &path, Json now);
    bool Fails(bool write, Response *answer, int *lost);
    void Add(const Target &target, Json object);
    void Store(const std::string &path, Json object, const char *type);
    void Drop(const std::string &path);
    void BeginDelete(const std::string &path);
    void Collect();
    void Settle();
    void SyncSet(const std::string &path);
    void AddPod(const Json &set, const std::string &ns, int on);
    void Lose(const std::string &path, const Json &pod);
    void NoteVolumes(const std::string &path, const Json &object, bool gone);
    void AwaitVolumes(const Json &set, const Target &pod, const Json &json);
    void MakeClaim(const Json &pod, const std::string &ns, const std::string &name);
    std::string Choose();
    std::string PlaceOf(const Json &claim, bool *any);
    void Schedule(const std::string &path);
    void SetPhase(const std::string &path, const char *phase, const std::string &volume);
    void Bind(const std::string &path);
    void Release(const std::string &path);
    void SyncVolumes();

    std::recursive_mutex mutex_;
    std::condition_variable_any cond_;
    std::map<std::string, Json> objects_;
    std::map<std::string, Json> applied_;               // what the last apply of an object said
    std::set<std::string> uids_;                        // of all objects
    std::map<std::string, std::set<std::string>> pods_; // of a set, by its uid
    std::set<std::string> dirty_;                       // sets to look at
    std::set<std::string> waiting_;                     // pods, for their volumes
    std::set<std::string> loose_;                       // volumes to look at
    std::set<std::string> going_;                       // claims that are deleted and still there
    bool volumes_ = false;                              // any of them may have something to do
    std::string choice_;                                // of the scheduler
    size_t scheduled_ = 0;
    bool orphans_ = false; // there may be some
    std::vector<Event> log_;
    std::vector<std::shared_ptr<Watch>> watches_;
    std::mt19937 random_;
    long version_ = 1;
    int uid_ = 0;
    int pod_ = 0;
    std::map<std::string, size_t> tally_;
    size_t requests_ = 0, writes_ = 0, watches_begun_ = 0;
    size_t fail_every_ = 0;
    bool fail_by_lot_ = false;
    bool shuffle_ = false;
    bool stop_ = false;
    const Watch *turn_ = nullptr;
    size_t at_write_ = 0;
    bool after_ = false;
    std::function<void()> then_;
    KubeApi api_; // last: its threads end first
};
} // namespace fake
#endif
