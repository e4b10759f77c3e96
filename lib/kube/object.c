#include <gfs/kube/client.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

json_t *gfs_kube_at(const json_t *object, ...)
{
    va_list ap;
    va_start(ap, object);
    json_t *at = (json_t *)(uintptr_t)object;
    for (const char *key = va_arg(ap, const char *); key != NULL && at != NULL;
         key = va_arg(ap, const char *)) {
        at = json_object_get(at, key);
    }
    va_end(ap);
    return at;
}

static const char *meta(const json_t *object, const char *key)
{
    const char *text = json_string_value(gfs_kube_at(object, "metadata", key, NULL));
    return text == NULL ? "" : text;
}

const char *gfs_kube_name(const json_t *object)
{
    return meta(object, "name");
}

const char *gfs_kube_namespace(const json_t *object)
{
    return meta(object, "namespace");
}

const char *gfs_kube_uid(const json_t *object)
{
    return meta(object, "uid");
}

const char *gfs_kube_version(const json_t *object)
{
    return meta(object, "resourceVersion");
}

/* RFC 1123 subdomain as Kubernetes applies it, plus ':' for the names of RBAC objects. */
static bool name_valid(const char *name)
{
    size_t len = strnlen(name, GFS_KUBE_NAME_MAX + 1);
    return len > 0 && len <= GFS_KUBE_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.:") == len;
}

int gfs_kube_path(const struct gfs_kube_resource *resource, const char *ns, const char *name,
                  const char *sub, char *out, size_t size)
{
    bool with_ns = resource->namespaced && ns != NULL && ns[0] != '\0';
    if ((with_ns && !name_valid(ns)) || (name != NULL && !name_valid(name))) {
        return GFS_EINVAL;
    }
    int k = snprintf(out, size, "%s%s/%s%s%s/%s%s%s%s%s",
                     resource->group[0] == '\0' ? "/api" : "/apis/", resource->group,
                     resource->version, with_ns ? "/namespaces/" : "", with_ns ? ns : "",
                     resource->plural, name != NULL ? "/" : "", name != NULL ? name : "",
                     sub != NULL ? "/" : "", sub != NULL ? sub : "");
    return k < 0 || (size_t)k >= size ? GFS_ENAMETOOLONG : GFS_OK;
}
