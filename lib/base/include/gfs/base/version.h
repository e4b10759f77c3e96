/* The version of everything built from this tree. */
#ifndef GFS_BASE_VERSION_H
#define GFS_BASE_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0". Static. */
const char *gfs_version(void);

#ifdef __cplusplus
}
#endif
#endif
