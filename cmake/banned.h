/* Included ahead of every C file of the project: functions that have a safer replacement do not
 * compile. A system header that declares one of them is included here first, so that only uses in
 * our own code are refused. */
#ifndef GFS_BANNED_H
#define GFS_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#undef strncpy
#undef strcpy
#undef strcat

#pragma GCC poison strcpy           /* use gfs_str_copy() or snprintf() */
#pragma GCC poison strcat           /* use struct gfs_buf */
#pragma GCC poison strncpy          /* use gfs_str_copy() */
#pragma GCC poison strncat          /* use struct gfs_buf */
#pragma GCC poison sprintf vsprintf /* use snprintf() */
#pragma GCC poison gets
#pragma GCC poison strtok                         /* use strsep() or strtok_r() */
#pragma GCC poison system popen                   /* use posix_spawn() with an argument vector */
#pragma GCC poison atoi atol atoll atof           /* use gfs_parse_*() */
#pragma GCC poison asctime ctime localtime gmtime /* use the _r forms */
#pragma GCC poison tmpnam tempnam mktemp          /* use mkstemp() or O_TMPFILE */

#endif
