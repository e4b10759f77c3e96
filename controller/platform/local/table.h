/* What `get` shows: kubectl's tables, and JSON. */
#ifndef GFSI_CONTROLLER_TABLE_H
#define GFSI_CONTROLLER_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#include "platform/local/local_priv.h"

#define GFSI_TABLE_COLUMNS_MAX 16

struct gfsi_table {
    const char *columns[GFSI_TABLE_COLUMNS_MAX];
    size_t n_columns;
    char ***rows; /* of n_columns texts each */
    size_t n_rows;
    size_t cap;
    int error; /* sticky */
};

void gfsi_table_fini(struct gfsi_table *table);
/* Starts a row of empty cells, then fills it from the left. */
void gfsi_table_row(struct gfsi_table *table);
void gfsi_table_cell(struct gfsi_table *table, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct gfsi_query {
    const char *ns;
    const char *name; /* "" = all */
    bool all_namespaces;
    bool wide;
};

enum gfsi_resource {
    GFSI_RESOURCE_NODE,
    GFSI_RESOURCE_POD,
    GFSI_RESOURCE_DATASET,
    GFSI_RESOURCE_RUNTIME,
    GFSI_RESOURCE_PV,
    GFSI_RESOURCE_PVC,
    GFSI_RESOURCE_EVENT,
    GFSI_RESOURCES,
};

/* By plural, singular or short name, with or without ".data.fluid.io". -1 when there is none. */
int gfsi_resource_find(const char *name);
/* "dataset.data.fluid.io", "pod". */
const char *gfsi_resource_name(enum gfsi_resource resource);

/* Fills the table. GFS_ENOENT when a name was asked for and nothing has it. */
int gfsi_table_get(struct gfsi_local *local, enum gfsi_resource resource,
                   const struct gfsi_query *query, struct gfsi_table *out, struct gfs_err *err);

/* The same as objects: a JSON list, or the one object that was asked for by name. */
int gfsi_json_get(struct gfsi_local *local, enum gfsi_resource resource,
                  const struct gfsi_query *query, struct gfs_buf *out, struct gfs_err *err);

bool gfsi_query_matches(const struct gfsi_query *query, const char *ns, const char *name);

/* "hbase" is being waited for to be Ready. */
bool gfsi_runtime_ready(const struct gfsi_pair *pair);

#endif
