#include "fake/kube_cluster.h"

#include <chrono>
#include <cstring>

namespace fake
{
static Json Parsed(const std::string &text)
{
    Json json(json_loads(text.c_str(), 0, nullptr));
    if (json.get() == nullptr) {
        abort(); // of a test, or of a client that sends what is no JSON
    }
    return json;
}

static std::string Text(const Json &json)
{
    char *dump = json_dumps(json.get(), JSON_COMPACT);
    std::string text = dump;
    free(dump);
    return text;
}

Response KubeCluster::Error(int code, const char *reason)
{
    return Response{code,
                    "{\"kind\":\"Status\",\"code\":" + std::to_string(code) + ",\"reason\":\"" +
                        reason + "\",\"message\":\"" + reason + "\"}",
                    false};
}

static Response Okay(const Json &object)
{
    return Response{200, Text(object), false};
}

/* ---- paths and queries ---- */

std::string KubeCluster::Target::Path() const
{
    size_t plural = collection.rfind('/');
    std::string path =
        ns.empty() ? collection
                   : collection.substr(0, plural) + "/namespaces/" + ns + collection.substr(plural);
    return name.empty() ? path : path + "/" + name;
}

KubeCluster::Target KubeCluster::Parse(const std::string &path)
{
    Target t;
    std::vector<std::string> parts;
    size_t from = 1;
    while (from <= path.size()) {
        size_t end = std::min(path.find('/', from), path.size());
        parts.push_back(path.substr(from, end - from));
        from = end + 1;
    }
    size_t i = parts[0] == "api" ? 2 : 3;
    for (size_t p = 0; p < i; p++) {
        t.collection += "/" + parts[p];
    }
    if (parts.size() > i + 2 && parts[i] == "namespaces") {
        t.ns = parts[i + 1];
        i += 2;
    }
    t.collection += "/" + parts[i];
    t.name = parts.size() > i + 1 ? parts[i + 1] : "";
    t.sub = parts.size() > i + 2 ? parts[i + 2] : "";
    return t;
}

static std::string Argument(const std::string &query, const std::string &key)
{
    size_t at = ("&" + query).find("&" + key + "=");
    if (at == std::string::npos) {
        return "";
    }
    at += key.size() + 1;
    std::string value;
    for (size_t end = std::min(query.find('&', at), query.size()); at < end; at++) {
        if (query[at] == '%') {
            value += static_cast<char>(std::stoi(query.substr(at + 1, 2), nullptr, 16));
            at += 2;
        } else {
            value += query[at];
        }
    }
    return value;
}

static bool Matches(const Json &labels, const std::string &label, const std::string &value)
{
    return label.empty() || labels.text(label.c_str()) == value;
}

static void SplitSelector(const std::string &query, std::string *label, std::string *value)
{
    std::string selector = Argument(query, "labelSelector");
    size_t equals = selector.find('=');
    *label = selector.substr(0, std::min(equals, selector.size()));
    *value = equals == std::string::npos ? "" : selector.substr(equals + 1);
}

static Json Labels(const Json &object)
{
    json_t *labels = object.at("metadata", "labels");
    return Json(labels != nullptr ? json_incref(labels) : json_object());
}

/* ---- life ---- */

KubeCluster::KubeCluster()
{
    for (int n = 1; n <= NODES; n++) {
        Create("/api/v1/nodes", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":"
                                "\"node" +
                                    std::to_string(n) +
                                    "\",\"labels\":{\"kubernetes.io/hostname\":\"host-node" +
                                    std::to_string(n) + "\"}}}");
    }
    api_.Handle([this](const Request &r) { return Handle(r); });
}

KubeCluster::~KubeCluster()
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    stop_ = true;
    cond_.notify_all();
}

void KubeCluster::Create(const std::string &collection, const std::string &text)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    Json object = Parsed(text);
    Target target = Parse(collection);
    target.name = object.text("metadata", "name");
    Add(target, object);
    Settle();
}

void KubeCluster::Edit(const std::string &path, const std::string &merge_patch)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    (void)Merge(Parse(path), Parsed(merge_patch));
    Settle();
}

void KubeCluster::Delete(const std::string &path)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    BeginDelete(path);
    Settle();
}

Json KubeCluster::Get(const std::string &path)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    auto found = objects_.find(path);
    return found != objects_.end() ? Json(json_deep_copy(found->second.get())) : Json();
}

std::vector<std::string> KubeCluster::Paths(const std::string &part)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    std::vector<std::string> paths;
    for (const auto &[path, object] : objects_) {
        bool noise = path.find("/events/") != std::string::npos ||
                     path.find("/leases/") != std::string::npos || path.find("/api/v1/nodes/") == 0;
        if (!noise && path.find(part) != std::string::npos) {
            paths.push_back(path);
        }
    }
    return paths;
}

bool KubeCluster::WaitFor(const std::function<bool()> &what)
{
    std::unique_lock<std::recursive_mutex> lock(mutex_);
    return cond_.wait_for(lock, std::chrono::minutes(1), what);
}

bool KubeCluster::WaitQuiet()
{
    std::unique_lock<std::recursive_mutex> lock(mutex_);
    auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < limit) {
        size_t before = requests_;
        if (!cond_.wait_for(lock, std::chrono::seconds(3), [&] { return requests_ != before; })) {
            return true;
        }
    }
    return false;
}

size_t KubeCluster::Requests()
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    return requests_;
}

size_t KubeCluster::Writes()
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    return writes_;
}

std::map<std::string, size_t> KubeCluster::Tally()
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    return tally_;
}

size_t KubeCluster::Watches()
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    return watches_begun_;
}

/* ---- requests ---- */

Response KubeCluster::Handle(const Request &r)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    Target target = Parse(r.path);
    if (r.method == "GET" && r.query.find("watch=true") != std::string::npos) {
        return StartWatch(target, r.query);
    }
    bool write = r.method != "GET";
    int lost = 0; // done, but who asked is not told: 1; half told: 2
    Response answer;
    requests_++;
    tally_[r.method + " " + target.collection.substr(target.collection.rfind('/') + 1) +
           (target.sub.empty() ? "" : "/" + target.sub)]++;
    if (Fails(write, &answer, &lost)) {
        return answer;
    }
    writes_ += write;
    auto then = write && writes_ == at_write_ ? std::move(then_) : nullptr;
    if (then && !after_) {
        then();
        cond_.notify_all();
        return Response{0, "", false};
    }
    answer = Answer(r, target);
    Settle();
    if (then) {
        then();
    }
    cond_.notify_all();
    answer.cut = lost == 2;
    return lost == 1 ? Response{0, "", false} : answer;
}

Response KubeCluster::Answer(const Request &r, const Target &target)
{
    if (r.method == "GET" && target.name.empty()) {
        return List(target, r.query);
    }
    if (r.method == "POST") {
        return Post(target, Parsed(r.body));
    }
    if (r.method == "PATCH" && r.content_type.find("apply") != std::string::npos) {
        return Apply(target, Parsed(r.body));
    }
    auto found = objects_.find(target.Path());
    if (found == objects_.end()) {
        return Error(404, "NotFound");
    }
    if (r.method == "GET") {
        return Okay(found->second);
    }
    if (r.method == "PUT") {
        return Put(target, Parsed(r.body));
    }
    if (r.method == "PATCH") {
        return Merge(target, Parsed(r.body));
    }
    BeginDelete(target.Path());
    return Response{200, "{}", false};
}

Response KubeCluster::List(const Target &target, const std::string &query)
{
    std::string label;
    std::string value;
    SplitSelector(query, &label, &value);
    std::string items;
    for (const auto &[path, object] : objects_) {
        Target t = Parse(path);
        if (t.collection == target.collection && (target.ns.empty() || t.ns == target.ns) &&
            Matches(Labels(object), label, value)) {
            items += (items.empty() ? "" : ",") + Text(object);
        }
    }
    return Response{200,
                    "{\"metadata\":{\"resourceVersion\":\"" + std::to_string(version_) +
                        "\"},\"items\":[" + items + "]}",
                    false};
}

Response KubeCluster::Post(const Target &target, const Json &body)
{
    Target t = target;
    t.name = body.text("metadata", "name");
    if (objects_.count(t.Path()) != 0) {
        return Error(409, "AlreadyExists");
    }
    if (t.collection == "/api/v1/pods") { // one that does its work and ends
        json_object_set_new(body.get(), "status", json_pack("{s:s}", "phase", "Succeeded"));
    }
    Add(t, body);
    auto found = objects_.find(t.Path());
    return found != objects_.end() ? Okay(found->second) : Okay(body);
}

Response KubeCluster::Put(const Target &target, const Json &body)
{
    Json before = objects_[target.Path()];
    if (body.text("metadata", "resourceVersion") != before.text("metadata", "resourceVersion")) {
        return Error(409, "Conflict");
    }
    return Change(target.Path(), Json(json_deep_copy(body.get())));
}

static void MergeInto(json_t *into, json_t *from)
{
    const char *key = nullptr;
    json_t *value = nullptr;
    json_object_foreach(from, key, value)
    {
        json_t *old = json_object_get(into, key);
        if (json_is_null(value)) {
            json_object_del(into, key);
        } else if (json_is_object(old) && json_is_object(value)) {
            MergeInto(old, value);
        } else {
            json_object_set_new(into, key, json_deep_copy(value));
        }
    }
}

/* What the last apply said and this one does not goes. */
static void Forget(json_t *object, json_t *last, json_t *now)
{
    const char *key = nullptr;
    json_t *value = nullptr;
    json_object_foreach(last, key, value)
    {
        json_t *kept = json_object_get(now, key);
        if (kept == nullptr) {
            json_object_del(object, key);
        } else if (json_is_object(value)) {
            Forget(json_object_get(object, key), value, kept);
        }
    }
}

Response KubeCluster::Apply(const Target &target, const Json &body)
{
    std::string path = target.Path();
    std::string key = path + "/" + target.sub;
    auto found = objects_.find(path);
    if (found == objects_.end()) {
        if (!target.sub.empty()) {
            return Error(404, "NotFound");
        }
        applied_[key] = body;
        Add(target, Json(json_deep_copy(body.get())));
        found = objects_.find(path);
        return found != objects_.end() ? Okay(found->second) : Okay(body);
    }
    if (path.find("/statefulsets/") != std::string::npos &&
        !json_equal(found->second.at("spec", "volumeClaimTemplates"),
                    body.at("spec", "volumeClaimTemplates"))) {
        return Error(422, "Invalid");
    }
    Json now(json_deep_copy(found->second.get()));
    if (applied_.count(key) != 0) {
        Forget(now.get(), applied_[key].get(), body.get());
    }
    MergeInto(now.get(), body.get());
    applied_[key] = body;
    return Change(path, now);
}

Response KubeCluster::Merge(const Target &target, const Json &body)
{
    auto found = objects_.find(target.Path());
    if (found == objects_.end()) {
        return Error(404, "NotFound");
    }
    std::string wanted = body.text("metadata", "resourceVersion");
    if (!wanted.empty() && wanted != found->second.text("metadata", "resourceVersion")) {
        return Error(409, "Conflict");
    }
    Json now(json_deep_copy(found->second.get()));
    MergeInto(now.get(), body.get());
    return Change(target.Path(), now);
}

/* ---- objects ---- */

/* Kinds whose spec is counted; of those used here services, volumes and configurations have none.
 */
static bool Counted(const std::string &path)
{
    return path.find("/apis/apps/") == 0 || path.find("/apis/policy/") == 0 ||
           path.find("/apis/data.fluid.io/") == 0;
}

void KubeCluster::Add(const Target &target, Json object)
{
    json_t *metadata = object.at("metadata");
    json_object_set_new(metadata, "uid", json_sprintf("uid-%d", ++uid_));
    json_object_set_new(metadata, "creationTimestamp", json_string("2024-01-01T00:00:00Z"));
    if (!target.ns.empty()) {
        json_object_set_new(metadata, "namespace", json_string(target.ns.c_str()));
    }
    if (Counted(target.Path())) {
        json_object_set_new(metadata, "generation", json_integer(1));
    }
    uids_.insert(object.text("metadata", "uid"));
    orphans_ = true;
    Store(target.Path(), object, "ADDED");
}

/* What changed nothing is no change: no event, no new version. */
Response KubeCluster::Change(const std::string &path, Json now)
{
    Json before = objects_[path];
    json_object_set(now.at("metadata"), "resourceVersion",
                    before.at("metadata", "resourceVersion"));
    if (json_equal(now.get(), before.get())) {
        return Okay(before);
    }
    if (Counted(path) && !json_equal(now.at("spec"), before.at("spec"))) {
        json_int_t generation = json_integer_value(before.at("metadata", "generation"));
        json_object_set_new(now.at("metadata"), "generation", json_integer(generation + 1));
    }
    Store(path, now, "MODIFIED");
    if (now.at("metadata", "deletionTimestamp") != nullptr &&
        json_array_size(now.at("metadata", "finalizers")) == 0) {
        Drop(path);
    }
    return Okay(now);
}

void KubeCluster::Store(const std::string &path, Json object, const char *type)
{
    Target t = Parse(path);
    version_++;
    json_object_set_new(object.at("metadata"), "resourceVersion",
                        json_string(std::to_string(version_).c_str()));
    objects_[path] = object;
    if (path.find("/apis/apps/") == 0) {
        dirty_.insert(path);
    }
    NoteVolumes(path, object, strcmp(type, "DELETED") == 0);
    log_.push_back(Event{type, t.collection, t.ns, Text(object), Labels(object), version_});
    cond_.notify_all();
}

void KubeCluster::Drop(const std::string &path)
{
    Json object = objects_[path];
    Store(path, Json(json_deep_copy(object.get())), "DELETED");
    objects_.erase(path);
    applied_.erase(path + "/");
    applied_.erase(path + "/status");
    uids_.erase(object.text("metadata", "uid"));
    orphans_ = true;
    if (path.find("/pods/") != std::string::npos) {
        Lose(path, object);
    }
}

void KubeCluster::BeginDelete(const std::string &path)
{
    auto found = objects_.find(path);
    if (found == objects_.end() || found->second.at("metadata", "deletionTimestamp") != nullptr) {
        return;
    }
    if (json_array_size(found->second.at("metadata", "finalizers")) == 0) {
        Drop(path);
        return;
    }
    Json now(json_deep_copy(found->second.get()));
    json_object_set_new(now.at("metadata"), "deletionTimestamp",
                        json_string("2024-01-01T00:00:01Z"));
    Store(path, now, "MODIFIED");
}
} // namespace fake
