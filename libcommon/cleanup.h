/*
 * cleanup: scope-bound ownership.
 *
 *   gs_autofree char *s = ...;       freed at the end of the scope
 *   gs_autofd int fd = ...;          closed unless -1
 *   GS_AUTO(bundle) b = NULL;        struct bundle *, released by bundle_free(); needs GS_DEFINE_AUTO(bundle, bundle_free)
 *   *out = gs_steal(&b);             moves the pointer out, so that the scope does not release it
 */
#ifndef GS_CLEANUP_H
#define GS_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void gs_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void gs_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define gs_autofree __attribute__((cleanup(gs_cleanup_free)))
#define gs_autofd __attribute__((cleanup(gs_cleanup_fd)))

#define GS_DEFINE_AUTO(type, free_fn)                                                                                  \
    static inline void gs_auto_##type(struct type **p)                                                                 \
    {                                                                                                                  \
        free_fn(*p);                                                                                                   \
    }                                                                                                                  \
    typedef struct type *gs_auto_ptr_##type

#define GS_AUTO(type) __attribute__((cleanup(gs_auto_##type))) gs_auto_ptr_##type

#define gs_steal(pp)                                                                                                   \
    __extension__({                                                                                                    \
        __typeof__(*(pp)) gs_stolen_ = *(pp);                                                                          \
        *(pp) = 0;                                                                                                     \
        gs_stolen_;                                                                                                    \
    })

static inline int gs_steal_fd(int *fd)
{
    int r = *fd;
    *fd = -1;
    return r;
}

#define GS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
