/* The kinds this project reads and writes. */
#ifndef GFS_KUBE_RESOURCES_H
#define GFS_KUBE_RESOURCES_H

#include <gfs/kube/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, group, version, plural, kind, namespaced) */
#define GFS_KUBE_RESOURCES(X)                                                                      \
    X(pods, "", "v1", "pods", "Pod", true)                                                         \
    X(services, "", "v1", "services", "Service", true)                                             \
    X(configmaps, "", "v1", "configmaps", "ConfigMap", true)                                       \
    X(secrets, "", "v1", "secrets", "Secret", true)                                                \
    X(events, "", "v1", "events", "Event", true)                                                   \
    X(nodes, "", "v1", "nodes", "Node", false)                                                     \
    X(persistentvolumes, "", "v1", "persistentvolumes", "PersistentVolume", false)                 \
    X(persistentvolumeclaims, "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true)   \
    X(statefulsets, "apps", "v1", "statefulsets", "StatefulSet", true)                             \
    X(daemonsets, "apps", "v1", "daemonsets", "DaemonSet", true)                                   \
    X(replicasets, "apps", "v1", "replicasets", "ReplicaSet", true)                                \
    X(deployments, "apps", "v1", "deployments", "Deployment", true)                                \
    X(poddisruptionbudgets, "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true)   \
    X(leases, "coordination.k8s.io", "v1", "leases", "Lease", true)                                \
    X(customresourcedefinitions, "apiextensions.k8s.io", "v1", "customresourcedefinitions",        \
      "CustomResourceDefinition", false)                                                           \
    X(datasets, "data.fluid.io", "v1alpha1", "datasets", "Dataset", true)                          \
    X(goosefsruntimes, "data.fluid.io", "v1alpha1", "goosefsruntimes", "GooseFSRuntime", true)

#define GFS_KUBE_DECLARE_(name, group, version, plural, kind, namespaced)                          \
    extern const struct gfs_kube_resource gfs_kube_##name;
GFS_KUBE_RESOURCES(GFS_KUBE_DECLARE_)
#undef GFS_KUBE_DECLARE_

#ifdef __cplusplus
}
#endif
#endif
