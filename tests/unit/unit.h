/* unit: what the unit tests of the common and format layers share. */
#ifndef GS_UNIT_H
#define GS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/bundle.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The call succeeds; `err` must be its error object. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct gs_err *err_ = unit_err(err);                                                                           \
        if (call)                                                                                                      \
            fail_msg("%s: %s [%s]", #call, err_->text, gs_code_name(err_->code));                                      \
    } while (0)
/* The call fails with this code, and leaves a text. */
#define FAILS(want, call)                                                                                              \
    do {                                                                                                               \
        struct gs_err *err_ = unit_err(err);                                                                           \
        memset(err_, 0, sizeof *err_);                                                                                 \
        if ((call) == 0)                                                                                               \
            fail_msg("%s: succeeded", #call);                                                                          \
        if (err_->code != (want))                                                                                      \
            fail_msg("%s: %s [%s], not [%s]", #call, err_->text, gs_code_name(err_->code), gs_code_name(want));        \
        assert_true(err_->text[0] != 0);                                                                               \
        memset(err_, 0, sizeof *err_);                                                                                 \
    } while (0)
#define unit_err(e) _Generic((e), struct gs_err * : (e), struct gs_err : unit_addr(&(e)))
static inline struct gs_err *unit_addr(void *e)
{
    return e;
}

/* A path below tests/golden, wherever the test is started from. Lives until the eighth call from now. */
static inline const char *golden_path(const char *name)
{
    static char ring[8][512];
    static unsigned at;
    const char *dir = getenv("GS_GOLDEN");
    char *p = ring[at++ % 8];
    snprintf(p, sizeof ring[0], "%s/%s", dir ? dir : "tests/golden", name);
    return p;
}

/* A folder of this process alone, removed by unit_cleanup(). */
static inline const char *unit_dir(void)
{
    static char dir[256];
    if (!dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/gs-unit-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(dir))
            abort();
    }
    return dir;
}

static inline const char *unit_path(const char *name)
{
    static char ring[8][512];
    static unsigned at;
    char *p = ring[at++ % 8];
    snprintf(p, sizeof ring[0], "%s/%s", unit_dir(), name);
    return p;
}

static inline int unit_cleanup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    return gs_remove_tree(unit_dir(), &err);
}

#endif
