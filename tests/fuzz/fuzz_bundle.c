/*
 * Whole bundles. An input that begins with '!' is an edit of a good bundle, after which every digest and signature
 * above the edit is made anew, so that the fuzzer gets behind them: '!', what to edit, offset (2 bytes), how much to
 * take out, what to put in. Any other input is a file, opened without a trusted key.
 */
#include "fuzz.h"
#include "tests/golden/forge.h"

static struct sign_seckey *key;
static struct sign_pubkey pub;
static struct gs_buf good[2];

static void start(void)
{
    char dir[] = "/tmp/gs-fuzz-XXXXXX";
    if (key)
        return;
    FORGE_OK(gs_secret_init(err));
    if (!mkdtemp(dir))
        abort();
    key = forge_key("fuzz");
    sign_seckey_public(key, &pub);
    char *stage = gs_asprintf("%s/stage", dir), *path = gs_asprintf("%s/b", dir);
    for (int i = 0; i < 2; i++) {
        struct forge_base o = {.encoding = (enum record_encoding)i, .files = true};
        forge_make(&o, key, stage, path);
        gs_buf_init(&good[i], (size_t)1 << 24);
        FORGE_OK(gs_read_file(path, (size_t)1 << 24, &good[i], err));
    }
    FORGE_OK(gs_remove_tree(dir, err));
    free(stage);
    free(path);
}

static void read_everything(struct bundle *b)
{
    struct gs_err err = {0};
    const struct bundle_member *m;
    struct bundle_verify_result r;
    size_t n = bundle_members(b, &m);
    bool sound = bundle_verify(b, true, &r, &err) == 0;
    uint64_t records = 0;
    for (size_t i = 0; i < n; i++) {
        struct gs_buf out;
        struct gs_err e = {0};
        gs_buf_init(&out, (size_t)1 << 24);
        if (m[i].is_file) {
            int f = bundle_read_file(b, m[i].path, (size_t)1 << 24, &out, &e);
            MUST(f == 0 || !sound);
        } else if (m[i].part == 0) {
            struct bundle_cursor *c = NULL;
            struct bundle_ref ref;
            const void *data = NULL;
            size_t len;
            if (bundle_cursor_open(b, m[i].group_id, m[i].relation, &c, &e) == 0)
                while (bundle_cursor_next(c, &data, &len, &ref, &e) == 0 && data) {
                    out.len = 0;
                    if (bundle_read_ref(b, &ref, &out, &e))
                        break;
                    MUST(out.len == len && memcmp(out.data, data, len) == 0);
                    records++;
                }
            bundle_cursor_close(c);
        }
        gs_buf_release(&out);
    }
    MUST(!sound || records == r.records);
}

static void open_bytes(const void *data, size_t len, bool trusted)
{
    struct sign_trust trust = {.keys = &pub, .n = 1};
    struct bundle_opts o = {.threads = 1,
                            .limits = {.max_index_raw = 1 << 20,
                                       .max_member_raw = 1 << 20,
                                       .max_ledger_raw = 1 << 20,
                                       .max_sums = 1 << 20,
                                       .max_window_log = 20}};
    struct gs_source src;
    struct gs_err err = {0};
    struct bundle *b = NULL;
    o.no_verify = !trusted;
    o.trust = trusted ? &trust : NULL;
    gs_source_mem(data, len, &src);
    if (bundle_open_source(&src, &o, &b, &err) == 0) {
        read_everything(b);
        bundle_close(b);
    } else {
        int e = gs_code_exit(err.code);
        MUST(e >= 20 && e <= 23 && err.text[0]);
    }
}

/* Takes `take` bytes at `off` out of `text` and puts `put` there. */
static void splice(struct gs_buf *out, const char *text, size_t len, size_t off, size_t take, const uint8_t *put,
                   size_t n)
{
    off %= len + 1;
    if (take > len - off)
        take = len - off;
    gs_buf_init(out, (size_t)1 << 24);
    FORGE_OK(gs_buf_add(out, text, off, err) || gs_buf_add(out, put, n, err) ||
             gs_buf_add(out, text + off + take, len - off - take, err));
}

static void edit(const uint8_t *d, size_t n)
{
    struct forge f;
    struct gs_buf text, tar;
    size_t len, off = d[1] | (size_t)d[2] << 8, take = d[3];
    int which = d[0] % 6, enc = d[0] / 6 % 2;
    const char *labels = enc ? "groups/7/labels.msgpack.zst" : "groups/7/labels.ndjson.zst";
    static const char *const names[] = {BUNDLE_MANIFEST, BUNDLE_SUMS, BUNDLE_INDEX, NULL, NULL, BUNDLE_LEDGER};
    const char *name = names[which] ? names[which] : labels;
    forge_load(&f, good[enc].data, good[enc].len);
    struct forge_member *m = forge_find(&f, name);
    bool packed = which == 2 || which == 3 || which == 5;
    char *raw = packed ? forge_unpack(m, &len) : NULL;
    splice(&text, raw ? raw : m->data, raw ? len : m->len, off, take, d + 4, n - 4);
    free(raw);
    const char *t = gs_buf_str(&text);
    if (which == 0 || which == 1)
        forge_put(m, t, text.len);
    else if (which == 2)
        forge_set_index(&f, t, text.len);
    else if (which == 4)
        forge_set_records(&f, name, t, text.len, 200, 3);
    else
        forge_set_text(&f, name, t, text.len, which == 3 ? 3 : 2);
    if (which > 1)
        forge_sums(&f);
    if (which > 0)
        forge_name_sums(&f);
    forge_sign(&f, key, BUNDLE_MANIFEST ".minisig");
    forge_pack(&f, &tar);
    open_bytes(tar.data, tar.len, true);
    gs_buf_release(&tar);
    gs_buf_release(&text);
    forge_release(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    if (size >= 5 && data[0] == '!')
        edit(data + 1, size - 1);
    else
        open_bytes(data, size, false);
    return 0;
}
