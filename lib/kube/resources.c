#include <gfs/kube/resources.h>

#define GFS_KUBE_DEFINE_(name, group_, version_, plural_, kind_, namespaced_)                      \
    const struct gfs_kube_resource gfs_kube_##name = {.group = (group_),                           \
                                                      .version = (version_),                       \
                                                      .plural = (plural_),                         \
                                                      .kind = (kind_),                             \
                                                      .namespaced = (namespaced_)};
GFS_KUBE_RESOURCES(GFS_KUBE_DEFINE_)
