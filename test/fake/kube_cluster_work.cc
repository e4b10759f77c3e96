// Trouble, watches, and the cluster's own controllers: sets of pods, and what has no owner any
// more.
#include "fake/kube_cluster.h"

namespace fake
{
/* ---- trouble ---- */

void KubeCluster::FailEvery(size_t n, unsigned seed)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    fail_every_ = n;
    fail_by_lot_ = false;
    random_.seed(seed);
}

void KubeCluster::FailSome(size_t n, unsigned seed)
{
    FailEvery(n, seed);
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    fail_by_lot_ = true;
}

void KubeCluster::Shuffle(unsigned seed)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    shuffle_ = true;
    random_.seed(seed);
}

void KubeCluster::AtWrite(size_t n, bool after, std::function<void()> then)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    at_write_ = writes_ + n;
    after_ = after;
    then_ = std::move(then);
}

/* Another way each time: an error before, a connection that ends before, in the middle of the
 * answer to, or after the work. */
bool KubeCluster::Fails(bool write, Response *answer, int *lost)
{
    if (fail_every_ == 0 || (fail_by_lot_ ? random_() : requests_) % fail_every_ != 0) {
        return false;
    }
    switch (random_() % 6) {
    case 0: *answer = Error(500, "InternalError"); return true;
    case 1: *answer = Error(429, "TooManyRequests"); return true;
    case 2: *answer = write ? Error(409, "Conflict") : Error(504, "Timeout"); return true;
    case 3: *answer = Response{0, "", false}; return true;
    case 4: *lost = 2; return false;
    default: *lost = 1; return false;
    }
}

bool KubeCluster::Told(const std::string &reason, const std::string &part)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    for (const auto &[path, object] : objects_) {
        if (path.find("/events/") != std::string::npos && object.text("reason") == reason &&
            object.text("message").find(part) != std::string::npos) {
            return true;
        }
    }
    return false;
}

/* ---- watches ---- */

static const char GONE[] = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,"
                           "\"reason\":\"Expired\",\"message\":\"too old\"}}\n";

Response KubeCluster::StartWatch(const Target &target, const std::string &query)
{
    auto watch = std::make_shared<Watch>();
    watch->collection = target.collection;
    watch->ns = target.ns;
    size_t at = query.find("resourceVersion=");
    long from = at != std::string::npos ? std::stol(query.substr(at + 16)) : version_;
    static const std::string ours = "labelSelector=fluid.io%2Fmanaged-by%3Dfluid";
    if (query.find(ours) != std::string::npos) {
        watch->label = "fluid.io/managed-by";
        watch->value = "fluid";
    }
    while (watch->next < log_.size() && log_[watch->next].version <= from) {
        watch->next++;
    }
    if (shuffle_) {
        watch->left = 1 + random_() % 20;
    }
    watches_begun_++;
    watches_.push_back(watch);
    cond_.notify_all();
    Response response;
    response.pull = [this, watch](std::string *piece) { return Pull(watch.get(), piece); };
    return response;
}

bool KubeCluster::Pending(Watch *watch)
{
    for (; watch->next < log_.size(); watch->next++) {
        const Event &e = log_[watch->next];
        if (e.collection == watch->collection && (watch->ns.empty() || watch->ns == e.ns) &&
            (watch->label.empty() || e.labels.text(watch->label.c_str()) == watch->value)) {
            return true;
        }
    }
    return false;
}

/* Of all watches that have something to tell, one at a time, drawn by lot. */
bool KubeCluster::MyTurn(Watch *watch)
{
    watch->ready = Pending(watch);
    if (!watch->ready || !shuffle_) {
        return watch->ready;
    }
    std::vector<const Watch *> ready;
    for (const auto &w : watches_) {
        if (w->ready) {
            ready.push_back(w.get());
        }
    }
    if (turn_ == nullptr) {
        turn_ = ready[random_() % ready.size()];
        cond_.notify_all();
    }
    return turn_ == watch;
}

bool KubeCluster::Pull(Watch *watch, std::string *piece)
{
    std::unique_lock<std::recursive_mutex> lock(mutex_);
    if (watch->left == 0) {
        // Too old, half an event, or just the end.
        *piece = random_() % 4 == 0 ? GONE : random_() % 2 == 0 ? "{\"type\":\"MODI" : "";
        watch->left = ~size_t{0};
        watch->next = ~size_t{0}; // the next call ends it
        return !piece->empty();
    }
    cond_.wait(lock, [&] { return stop_ || watch->next == ~size_t{0} || MyTurn(watch); });
    watch->ready = false;
    turn_ = turn_ == watch ? nullptr : turn_;
    cond_.notify_all();
    if (stop_ || watch->next == ~size_t{0}) {
        return false;
    }
    const Event &e = log_[watch->next++];
    *piece = "{\"type\":\"" + e.type + "\",\"object\":" + e.text + "}\n";
    watch->left -= watch->left != ~size_t{0};
    return true;
}

/* ---- sets of pods ---- */

/* Until nothing changes any more. */
void KubeCluster::Settle()
{
    while (orphans_ || !dirty_.empty() || volumes_) {
        Collect();
        SyncVolumes();
        std::set<std::string> now;
        now.swap(dirty_);
        for (const auto &path : now) {
            if (objects_.count(path) != 0) {
                SyncSet(path);
            }
        }
    }
}

/* Its set makes another one, if there still is one. */
void KubeCluster::Lose(const std::string &path, const Json &pod)
{
    Json owner(json_incref(json_array_get(pod.at("metadata", "ownerReferences"), 0)));
    std::string kind = owner.text("kind");
    for (char &c : kind) {
        c = static_cast<char>(tolower(c));
    }
    pods_[owner.text("uid")].erase(path);
    dirty_.insert("/apis/apps/v1/namespaces/" + Parse(path).ns + "/" + kind + "s/" +
                  owner.text("name"));
}

void KubeCluster::AddPod(const Json &set, const std::string &ns, int on)
{
    Json pod(json_deep_copy(set.at("spec", "template")));
    std::string owner = set.text("metadata", "name");
    std::string kind = set.text("kind");
    json_object_set_new(pod.get(), "apiVersion", json_string("v1"));
    json_object_set_new(pod.get(), "kind", json_string("Pod"));
    json_object_set_new(pod.at("spec"), "nodeName", json_sprintf("node%d", 1 + on % NODES));
    json_object_set_new(pod.at("metadata"), "ownerReferences",
                        json_pack("[{s:s, s:s, s:s, s:s, s:b}]", "apiVersion", "apps/v1", "kind",
                                  kind.c_str(), "name", owner.c_str(), "uid",
                                  set.text("metadata", "uid").c_str(), "controller", 1));
    json_object_set_new(pod.get(), "status",
                        json_pack("{s:s, s:[{s:s, s:s}]}", "phase", "Running", "conditions", "type",
                                  "Ready", "status", "True"));
    Target t = Parse("/api/v1/namespaces/" + ns + "/pods");
    for (int number = 0; t.name.empty(); number++) {
        // A StatefulSet's names are numbers from 0, others never come again.
        t.name = owner + "-" + std::to_string(kind == "StatefulSet" ? number : ++pod_);
        if (objects_.count(t.Path()) != 0) {
            t.name = "";
        }
    }
    json_object_set_new(pod.at("metadata"), "name", json_string(t.name.c_str()));
    pods_[set.text("metadata", "uid")].insert(t.Path());
    AwaitVolumes(set, t, pod);
    Add(t, pod);
}

void KubeCluster::SyncSet(const std::string &path)
{
    Json set = objects_[path];
    Target t = Parse(path);
    const auto &known = pods_[set.text("metadata", "uid")];
    std::vector<std::string> pods(known.begin(), known.end());
    bool nodes = set.text("kind") == "DaemonSet";
    auto wanted =
        nodes ? size_t{NODES} : static_cast<size_t>(json_integer_value(set.at("spec", "replicas")));
    for (size_t n = pods.size(); n < wanted; n++) {
        AddPod(set, t.ns, static_cast<int>(n));
    }
    for (size_t n = pods.size(); n > wanted; n--) {
        BeginDelete(pods[n - 1]);
    }
    if (nodes && json_integer_value(set.at("status", "desiredNumberScheduled")) != NODES) {
        Json now(json_deep_copy(set.get()));
        json_object_set_new(now.get(), "status",
                            json_pack("{s:i}", "desiredNumberScheduled", NODES));
        (void)Change(path, now);
    }
}

/* ---- what has no owner any more ---- */

void KubeCluster::Collect()
{
    while (orphans_) {
        orphans_ = false;
        for (const auto &path : Paths()) {
            auto found = objects_.find(path);
            if (found == objects_.end()) {
                continue;
            }
            json_t *owners = found->second.at("metadata", "ownerReferences");
            bool owned = json_array_size(owners) == 0;
            for (size_t i = 0; i < json_array_size(owners); i++) {
                Json owner(json_incref(json_array_get(owners, i)));
                owned = owned || uids_.count(owner.text("uid")) != 0;
            }
            if (!owned) {
                BeginDelete(path);
            }
        }
    }
}
} // namespace fake
