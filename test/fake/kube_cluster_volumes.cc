// Claims of StatefulSets, the scheduler that waits for their volumes, and who binds those. A class
// waits for its first consumer: the scheduler chooses a node and says so on the claim, the class's
// provisioner, which is not here, makes the volume.
#include "fake/kube_cluster.h"

namespace fake
{
static const char VOLUMES[] = "/api/v1/persistentvolumes/";
static const char NODE_PATHS[] = "/api/v1/nodes/";
static const char BOUND_ONCE[] = "pv.kubernetes.io/bind-completed";
static const char SELECTED[] = "volume.kubernetes.io/selected-node";

static std::string ClaimPath(const std::string &ns, const std::string &name)
{
    return "/api/v1/namespaces/" + ns + "/persistentvolumeclaims/" + name;
}

void KubeCluster::ChooseNext(const std::string &node)
{
    std::lock_guard<std::recursive_mutex> lock(mutex_);
    choice_ = node;
}

/* What may have to be done now that this object is another one, or is no more. */
void KubeCluster::NoteVolumes(const std::string &path, const Json &object, bool gone)
{
    if (path.find(VOLUMES) == 0) {
        loose_.insert(path);
    } else if (path.find("/persistentvolumeclaims/") != std::string::npos) {
        if (!object.text("spec", "volumeName").empty()) {
            loose_.insert(VOLUMES + object.text("spec", "volumeName"));
        }
        if (gone) {
            going_.erase(path);
        } else if (object.at("metadata", "deletionTimestamp") != nullptr) {
            going_.insert(path);
        }
    } else if (gone && path.find("/pods/") != std::string::npos) {
        waiting_.erase(path);
    } else if (path.find(NODE_PATHS) != 0) {
        return;
    }
    volumes_ = true;
}

/* The pod waits for a node until its claims are bound. */
void KubeCluster::AwaitVolumes(const Json &set, const Target &pod, const Json &json)
{
    json_t *templates = set.at("spec", "volumeClaimTemplates");
    for (size_t i = 0; i < json_array_size(templates); i++) {
        Json claim(json_incref(json_array_get(templates, i)));
        std::string name = claim.text("metadata", "name");
        json_array_append_new(json.at("spec", "volumes"),
                              json_pack("{s:s, s:{s:s}}", "name", name.c_str(),
                                        "persistentVolumeClaim", "claimName",
                                        (name + "-" + pod.name).c_str()));
        waiting_.insert(pod.Path());
        volumes_ = true;
    }
    if (json_array_size(templates) > 0) {
        json_object_del(json.at("spec"), "nodeName");
        json_object_set_new(json.get(), "status", json_pack("{s:s}", "phase", "Pending"));
    }
}

/* The claim of that name as the pod's set has it. */
void KubeCluster::MakeClaim(const Json &pod, const std::string &ns, const std::string &name)
{
    std::string owner =
        Json(json_incref(json_array_get(pod.at("metadata", "ownerReferences"), 0))).text("name");
    Json set = objects_["/apis/apps/v1/namespaces/" + ns + "/statefulsets/" + owner];
    json_t *templates = set.at("spec", "volumeClaimTemplates");
    for (size_t i = 0; i < json_array_size(templates); i++) {
        Json claim(json_deep_copy(json_array_get(templates, i)));
        if (claim.text("metadata", "name") + "-" + pod.text("metadata", "name") != name) {
            continue;
        }
        json_object_set_new(claim.get(), "apiVersion", json_string("v1"));
        json_object_set_new(claim.get(), "kind", json_string("PersistentVolumeClaim"));
        json_object_set_new(claim.get(), "status", json_pack("{s:s}", "phase", "Pending"));
        json_object_set_new(claim.at("metadata"), "name", json_string(name.c_str()));
        json_object_set_new(claim.at("metadata"), "finalizers",
                            json_pack("[s]", "kubernetes.io/pvc-protection"));
        Target t = Parse(ClaimPath(ns, name));
        Add(t, claim);
        return;
    }
}

/* Another order each time round: who is not kept in its place gets another one. */
std::string KubeCluster::Choose()
{
    std::string chosen;
    choice_.swap(chosen);
    std::vector<std::string> nodes;
    for (auto at = objects_.lower_bound(NODE_PATHS);
         at != objects_.end() && at->first.find(NODE_PATHS) == 0; ++at) {
        nodes.push_back(at->second.text("metadata", "name"));
    }
    if (chosen.empty() && !nodes.empty()) {
        size_t n = scheduled_++;
        chosen = nodes[(n + n / nodes.size()) % nodes.size()];
    }
    return chosen;
}

/* The node where a bound claim's volume is; "" when there is none such, `any` when it may be
 * anywhere. */
std::string KubeCluster::PlaceOf(const Json &claim, bool *any)
{
    auto volume = objects_.find(VOLUMES + claim.text("spec", "volumeName"));
    if (volume == objects_.end()) {
        return "";
    }
    Json terms(json_incref(json_array_get(
        volume->second.at("spec", "nodeAffinity", "required", "nodeSelectorTerms"), 0)));
    Json wanted(json_incref(json_array_get(terms.at("matchExpressions"), 0)));
    const char *value = json_string_value(json_array_get(wanted.at("values"), 0));
    *any = value == nullptr;
    for (auto at = objects_.lower_bound(NODE_PATHS);
         at != objects_.end() && at->first.find(NODE_PATHS) == 0; ++at) {
        if (value != nullptr &&
            at->second.text("metadata", "labels", wanted.text("key").c_str()) == value) {
            return at->second.text("metadata", "name");
        }
    }
    return "";
}

void KubeCluster::Schedule(const std::string &path)
{
    Json pod = objects_[path];
    std::string ns = Parse(path).ns;
    std::string node;
    bool any = true;
    for (size_t i = 0; i < json_array_size(pod.at("spec", "volumes")); i++) {
        Json volume(json_incref(json_array_get(pod.at("spec", "volumes"), i)));
        std::string name = volume.text("persistentVolumeClaim", "claimName");
        if (name.empty()) {
            continue;
        }
        if (objects_.count(ClaimPath(ns, name)) == 0) {
            MakeClaim(pod, ns, name);
        }
        Json claim = objects_[ClaimPath(ns, name)];
        if (claim.at("metadata", "deletionTimestamp") != nullptr) {
            return;
        }
        if (!claim.text("spec", "volumeName").empty()) {
            node = PlaceOf(claim, &any);
            continue;
        }
        if (claim.text("metadata", "annotations", SELECTED).empty()) {
            Json now(json_deep_copy(claim.get()));
            json_object_set_new(now.at("metadata"), "annotations",
                                json_pack("{s:s}", SELECTED, Choose().c_str()));
            (void)Change(ClaimPath(ns, name), now);
        }
        return;
    }
    if (any) {
        node = Choose();
    }
    if (node.empty()) {
        return;
    }
    Json now(json_deep_copy(pod.get()));
    json_object_set_new(now.at("spec"), "nodeName", json_string(node.c_str()));
    json_object_set_new(now.get(), "status",
                        json_pack("{s:s, s:[{s:s, s:s}]}", "phase", "Running", "conditions", "type",
                                  "Ready", "status", "True"));
    waiting_.erase(path);
    (void)Change(path, now);
}

void KubeCluster::SetPhase(const std::string &path, const char *phase, const std::string &volume)
{
    Json now(json_deep_copy(objects_[path].get()));
    json_object_set_new(now.get(), "status", json_pack("{s:s}", "phase", phase));
    if (!volume.empty()) {
        json_object_set_new(now.at("spec"), "volumeName", json_string(volume.c_str()));
    }
    (void)Change(path, now);
}

/* As Kubernetes' binder: a claim is bound once, by its uid. A later one of its name waits; one
 * whose volume is another now is lost. */
void KubeCluster::Bind(const std::string &path)
{
    auto found = objects_.find(path);
    if (found == objects_.end()) {
        return;
    }
    Json volume = found->second;
    std::string claim_path = ClaimPath(volume.text("spec", "claimRef", "namespace"),
                                       volume.text("spec", "claimRef", "name"));
    auto at = objects_.find(claim_path);
    Json claim = at != objects_.end() ? at->second : Json();
    std::string name = volume.text("metadata", "name");
    std::string uid = volume.text("spec", "claimRef", "uid");
    if (!uid.empty() && claim.text("metadata", "uid") != uid) {
        SetPhase(path, "Released", "");
        return;
    }
    bool same_class =
        claim.text("spec", "storageClassName") == volume.text("spec", "storageClassName");
    std::string wanted = claim.text("spec", "volumeName");
    if (claim.get() == nullptr || !same_class || (!wanted.empty() && wanted != name)) {
        return;
    }
    bool once = !claim.text("metadata", "annotations", BOUND_ONCE).empty();
    if (uid.empty() && (once || wanted.empty())) {
        SetPhase(claim_path, once ? "Lost" : "Pending", wanted);
        return;
    }
    if (uid.empty()) {
        Json now(json_deep_copy(volume.get()));
        json_object_set(now.at("spec", "claimRef"), "uid", claim.at("metadata", "uid"));
        (void)Change(path, now);
    }
    if (!once) {
        Json now(json_deep_copy(claim.get()));
        if (now.at("metadata", "annotations") == nullptr) {
            json_object_set_new(now.at("metadata"), "annotations", json_object());
        }
        json_object_set_new(now.at("metadata", "annotations"), BOUND_ONCE, json_string("yes"));
        (void)Change(claim_path, now);
    }
    SetPhase(claim_path, "Bound", name);
    SetPhase(path, "Bound", "");
}

/* A claim that is deleted stays while pods have it. */
void KubeCluster::Release(const std::string &path)
{
    Target t = Parse(path);
    std::string pods = "/api/v1/namespaces/" + t.ns + "/pods/";
    for (auto at = objects_.lower_bound(pods); at != objects_.end() && at->first.find(pods) == 0;
         ++at) {
        json_t *volumes = at->second.at("spec", "volumes");
        for (size_t i = 0; i < json_array_size(volumes); i++) {
            if (Json(json_incref(json_array_get(volumes, i)))
                    .text("persistentVolumeClaim", "claimName") == t.name) {
                return;
            }
        }
    }
    Json now(json_deep_copy(objects_[path].get()));
    json_object_del(now.at("metadata"), "finalizers");
    (void)Change(path, now);
}

void KubeCluster::SyncVolumes()
{
    volumes_ = false;
    for (const auto &path : std::set<std::string>(going_)) {
        Release(path);
    }
    std::set<std::string> loose;
    loose.swap(loose_);
    for (const auto &path : loose) {
        Bind(path);
    }
    for (const auto &path : std::set<std::string>(waiting_)) {
        Schedule(path);
    }
}
} // namespace fake
