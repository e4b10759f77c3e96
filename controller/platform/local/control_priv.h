/* What can be waited for. */
#ifndef GFSI_CONTROLLER_CONTROL_PRIV_H
#define GFSI_CONTROLLER_CONTROL_PRIV_H

#ifdef __cplusplus
extern "C" {
#endif

enum gfsi_condition { GFSI_WAIT_READY, GFSI_WAIT_BOUND, GFSI_WAIT_NOT_BOUND, GFSI_WAIT_DELETE };

/* "condition=Ready", "phase=Bound", ...: GFS_EINVAL for others. */
int gfsi_condition_parse(const char *text, enum gfsi_condition *out);

#ifdef __cplusplus
}
#endif
#endif
