/* Assertions state bugs, stay on in every build and print both operands. Never for bad input. */
#ifndef GFS_BASE_ASSERT_H
#define GFS_BASE_ASSERT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Writes one FATAL log line and aborts. */
void gfs_assert_fail(const char *file, int line, const char *what, long long a, long long b)
    __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#define GFS_ASSERT(cond)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            gfs_assert_fail(__FILE__, __LINE__, #cond, 0, 0);                                      \
        }                                                                                          \
    } while (0)

#define GFS_ASSERT_OP_(a, op, b)                                                                   \
    do {                                                                                           \
        if (__builtin_expect(!((a)op(b)), 0)) {                                                    \
            gfs_assert_fail(__FILE__, __LINE__, #a " " #op " " #b, (long long)(a),                 \
                            (long long)(b));                                                       \
        }                                                                                          \
    } while (0)

#define GFS_ASSERT_EQ(a, b) GFS_ASSERT_OP_(a, ==, b)
#define GFS_ASSERT_NE(a, b) GFS_ASSERT_OP_(a, !=, b)
#define GFS_ASSERT_LE(a, b) GFS_ASSERT_OP_(a, <=, b)
#define GFS_ASSERT_LT(a, b) GFS_ASSERT_OP_(a, <, b)

#endif
