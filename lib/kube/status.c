#include "http_priv.h"

#include <string.h>

int gfsi_kube_status_code(long http_status, const char *reason)
{
    if (reason != NULL && strcmp(reason, "AlreadyExists") == 0) {
        return GFS_EEXIST;
    }
    if (reason != NULL && strcmp(reason, "Expired") == 0) {
        return GFS_ECHANGED;
    }
    switch (http_status) {
    case 400:
    case 413:
    case 415:
    case 422: return GFS_EINVAL;
    case 401: return GFS_EUNAUTH;
    case 403: return GFS_EPERM;
    case 404: return GFS_ENOENT;
    case 405: return GFS_EUNSUPPORTED;
    case 409: return GFS_EABORTED;
    case 410: return GFS_ECHANGED;
    case 429: return GFS_EBUSY;
    case 504: return GFS_ETIMEOUT;
    default: break;
    }
    return http_status >= 500 ? GFS_EUNAVAIL : GFS_EPROTO;
}

int gfsi_kube_status(const struct gfsi_kube_answer *answer, const char *method, const char *path,
                     struct gfs_err *err)
{
    if (answer->status >= 200 && answer->status < 300) {
        return GFS_OK;
    }
    json_t *status =
        answer->body.len == 0 ? NULL : json_loadb(answer->body.data, answer->body.len, 0, NULL);
    const char *reason = json_string_value(json_object_get(status, "reason"));
    const char *message = json_string_value(json_object_get(status, "message"));
    int rc = gfs_err_set(err, gfsi_kube_status_code(answer->status, reason), "%s %s: %ld %s",
                         method, path, answer->status, message != NULL ? message : "");
    json_decref(status);
    return rc;
}
