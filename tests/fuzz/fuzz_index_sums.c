/* The texts that are parsed once the signature holds: first byte 'S': SUMS, 'M': the manifest, anything else: the
 * index. */
#include "fuzz.h"
#include "tests/golden/forge.h"

static struct sign_seckey *key;
static struct sign_pubkey pub;
static struct gs_buf good;

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
    forge_make(&(struct forge_base){.parts = true}, key, stage, path);
    gs_buf_init(&good, (size_t)1 << 24);
    FORGE_OK(gs_read_file(path, (size_t)1 << 24, &good, err));
    FORGE_OK(gs_remove_tree(dir, err));
    free(stage);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct forge f;
    struct gs_buf tar;
    struct gs_err err = {0};
    struct gs_source src;
    struct bundle *b = NULL;
    start();
    if (size == 0)
        return 0;
    struct sign_trust trust = {.keys = &pub, .n = 1};
    struct bundle_opts o = {.threads = 1, .trust = &trust};
    forge_load(&f, good.data, good.len);
    if (data[0] == 'M') {
        forge_put(forge_find(&f, BUNDLE_MANIFEST), data + 1, size - 1);
    } else if (data[0] == 'S') {
        forge_put(forge_find(&f, BUNDLE_SUMS), data + 1, size - 1);
        forge_name_sums(&f);
    } else {
        forge_set_index(&f, (const char *)data, size);
        forge_sums(&f);
        forge_name_sums(&f);
    }
    forge_sign(&f, key, BUNDLE_MANIFEST ".minisig");
    forge_pack(&f, &tar);
    gs_source_mem(tar.data, tar.len, &src);
    if (bundle_open_source(&src, &o, &b, &err) == 0) {
        const struct bundle_group *g;
        const struct bundle_member *m;
        size_t n = bundle_groups(b, &g), k = bundle_members(b, &m);
        for (size_t i = 0; i < n; i++)
            MUST(g[i].full_path[0] && (g[i].parent_id != 0) == (i != 0));
        for (size_t i = 0; i < k; i++)
            MUST(m[i].offset + m[i].stored <= bundle_size(b) && m[i].relation[0]);
        bundle_close(b);
    } else {
        int e = gs_code_exit(err.code);
        MUST(e >= 20 && e <= 23 && err.text[0]);
    }
    gs_buf_release(&tar);
    forge_release(&f);
    return 0;
}
