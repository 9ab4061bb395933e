/* A policy that somebody else wrote, over a text that somebody else wrote: the first line feed after a zero byte parts
 * them. */
#include "formats/policy.h"
#include "fuzz.h"

#include "libcommon/mp.h"
#include "libcommon/secret.h"

#include <string.h>

static void seen(void *cookie, const char *name)
{
    MUST(name[0] != 0);
    ++*(size_t *)cookie;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char all[] = "{\"schema\":\"groupsnap.policy/1\",\"emails\":true}";
    const char *s = (const char *)data, *zero = memchr(data, 0, size);
    size_t n = zero ? (size_t)(zero - s) : size, left = zero ? size - n - 1 : 0, count = 0, again = 0;
    struct gs_err err = {0};
    struct policy *p = NULL;
    struct gs_buf out, out2;
    bool changed = false;
    if (gs_secret_init(&err))
        abort();
    if (policy_parse(s, n, &p, &err)) {
        MUST(err.code == GS_E_POLICY || err.code == GS_E_NOMEM);
        gs_err_clear(&err);
        MUST(policy_parse(all, sizeof all - 1, &p, &err) == 0);
    }
    char text[4097]; /* ends with a zero byte, as texts of records do */
    left = left > sizeof text - 1 ? sizeof text - 1 : left;
    memcpy(text, s + size - left, left);
    text[left] = 0;
    gs_buf_init(&out, 1 << 24);
    gs_buf_init(&out2, 1 << 24);
    if (policy_text(p, text, left, seen, &count, &changed, &out, &err) == 0) {
        MUST(changed == (count > 0));
        MUST(changed || out.len == 0);
        /* the same again gives the same */
        MUST(policy_text(p, text, left, seen, &again, &changed, &out2, &err) == 0);
        MUST(again == count && out.len == out2.len && (out.len == 0 || memcmp(out.data, out2.data, out.len) == 0));
    }
    policy_withholds_file(p, "a.png", left);
    policy_withholds_relation(p, "labels");
    gs_buf_release(&out);
    gs_buf_release(&out2);
    policy_free(p);
    return 0;
}
