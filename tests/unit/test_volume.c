/* Volumes: every pair of ten lost or damaged, and everything that is no volume of the set. */
#include "formats/volume_priv.h"
#include "tests/golden/forge.h"
#include "unit.h"

#define DATA 8
#define PARITY 2
#define ALL (DATA + PARITY)

static struct sign_seckey *key, *stranger;
static struct sign_pubkey pub;
static struct sign_trust trust = {.keys = &pub, .n = 1};
static char *path[ALL + 1]; /* by number */
static struct gs_buf whole[ALL + 1];
static struct gs_buf bundle_bytes;
static uint64_t limit;
static char set_id[VOLUME_SET_HEX];

static void slurp(const char *file, struct gs_buf *out)
{
    struct gs_err err = {0};
    gs_buf_init(out, (size_t)64 << 20);
    OK(gs_read_file(file, (size_t)32 << 20, out, &err));
}

static void put(unsigned n, const void *data, size_t len)
{
    FILE *f = fopen(path[n], "wb"); /* nothing is synced: it is many files */
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static void restore(void)
{
    for (unsigned i = 1; i <= ALL; i++)
        put(i, whole[i].data, whole[i].len);
}

static void make_bundle(const char *file, unsigned groups)
{
    struct gs_err err = {0};
    struct bundle_writer_opts o = {.threads = 1};
    struct bundle_meta m = {.set_id = "0123456789abcdef0123456789abcdef",
                            .created_at_ms = 1735787045000,
                            .via = "archive",
                            .enterprise = -1};
    const struct sign_seckey *keys[] = {key};
    GS_AUTO(bundle_writer) w = NULL;
    uint8_t seed[randombytes_SEEDBYTES] = {7}, noise[3000];
    char line[8000];
    OK(bundle_writer_new(unit_path("work"), &o, &w, &err));
    for (unsigned g = 1; g <= groups; g++) {
        struct bundle_part *p;
        char full[32];
        snprintf(full, sizeof full, g == 1 ? "top" : "top/g%u", g);
        OK(bundle_writer_group(w, g, g == 1 ? 0 : 1, full, &err));
        OK(bundle_part_open(w, g, "labels", &p, &err));
        for (unsigned i = 0; i < 4; i++) {
            seed[1]++;
            randombytes_buf_deterministic(noise, sizeof noise, seed);
            int n = snprintf(line, sizeof line, "{\"title\":\"%u\",\"description\":\"", i);
            sodium_bin2hex(line + n, sizeof line - (size_t)n, noise, sizeof noise);
            snprintf(line + n + 2 * sizeof noise, 8, "\"}");
            OK(bundle_part_add(p, line, strlen(line), &err));
        }
        OK(bundle_part_close(p, &err));
    }
    OK(bundle_writer_file(w, 1, "avatar", "a.png", noise, sizeof noise, &err));
    OK(bundle_writer_finish(w, &m, keys, 1, file, true, &err));
}

static void split_bundle(const char *file, const char *base, uint64_t most, unsigned parity,
                         const struct sign_seckey *by, const bool *only, struct volume_split_result *res)
{
    struct gs_err err = {0};
    GS_AUTO(bundle) b = NULL;
    struct bundle_opts o = {.trust = &trust};
    struct volume_split_opts so = {.limit = most, .parity = parity, .key = by, .base = base, .only = only};
    OK(bundle_open(file, &o, &b, &err));
    OK(volume_split(b, NULL, &so, res, &err));
}

static int setup(void **state)
{
    struct gs_err err = {0};
    struct volume_split_result res;
    char file[512], base[512];
    (void)state;
    OK(gs_secret_init(&err));
    key = forge_key("volumes");
    stranger = forge_key("stranger");
    sign_seckey_public(key, &pub);
    snprintf(file, sizeof file, "%s", unit_path("b.gsnap"));
    snprintf(base, sizeof base, "%s", unit_path("b"));
    make_bundle(file, 7);
    slurp(file, &bundle_bytes);
    limit = 46 << 10;
    split_bundle(file, base, limit, PARITY, key, NULL, &res);
    assert_int_equal(res.data, DATA);
    assert_int_equal(res.parity, PARITY);
    memcpy(set_id, res.set, sizeof set_id);
    for (unsigned i = 1; i <= ALL; i++) {
        path[i] = volume_file_name(base, i, ALL);
        slurp(path[i], &whole[i]);
        assert_int_equal(whole[i].len, res.bytes[i]);
        assert_true(whole[i].len <= limit);
    }
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 1; i <= ALL; i++) {
        gs_buf_release(&whole[i]);
        free(path[i]);
    }
    gs_buf_release(&bundle_bytes);
    sign_seckey_free(key);
    sign_seckey_free(stranger);
    return unit_cleanup(state);
}

static struct volume_set *open_set(bool verify)
{
    struct gs_err err = {0};
    struct volume_set *s = NULL;
    OK(volume_set_open((const char *const *)path + 1, ALL, &trust, &s, &err));
    if (verify)
        OK(volume_set_verify(s, 2, NULL, &err));
    return s;
}

static void is_whole(struct gs_source *src)
{
    struct gs_err err = {0};
    gs_autofree char *buf = malloc(bundle_bytes.len);
    assert_int_equal(src->size, bundle_bytes.len);
    OK(gs_source_read(src, 0, buf, bundle_bytes.len, &err));
    assert_memory_equal(buf, bundle_bytes.data, bundle_bytes.len);
    FAILS(GS_E_TRUNCATED, gs_source_read(src, bundle_bytes.len, buf, 1, &err));
}

static const struct volume_seen *seen(const struct volume_set *s, unsigned n)
{
    const struct volume_seen *v;
    assert_true(volume_set_seen(s, &v) >= n);
    return &v[n - 1];
}

static void is_state(const struct volume_set *s, unsigned n, enum volume_state want)
{
    const struct volume_seen *v = seen(s, n);
    if (v->state != want)
        fail_msg("volume %u is %s (%s), not %s", n, volume_state_name(v->state), v->why.text, volume_state_name(want));
}

/* All 45 pairs of ten: the first lost, the second with one byte changed; both are made anew, and the bundle is read
 * meanwhile. */
static void test_pairs(void **state)
{
    (void)state;
    struct gs_err err = {0};
    unsigned pairs = 0;
    for (unsigned a = 1; a <= ALL; a++)
        for (unsigned b = a + 1; b <= ALL; b++, pairs++) {
            struct gs_source src;
            restore();
            assert_int_equal(unlink(path[a]), 0);
            gs_autofree char *bad = malloc(whole[b].len);
            memcpy(bad, whole[b].data, whole[b].len);
            bad[(pairs * 997 + 1) % whole[b].len] ^= (char)(1 << pairs % 8);
            put(b, bad, whole[b].len);
            struct volume_set *s = open_set(true);
            is_state(s, a, VOLUME_MISSING);
            assert_int_not_equal(seen(s, b)->state, VOLUME_GOOD);
            OK(volume_set_enough(s, &err));
            for (unsigned i = 0; i < 2; i++) {
                unsigned n = i ? b : a;
                gs_autobuf again;
                const char *made = unit_path("made");
                OK(volume_set_rebuild(s, n, made, NULL, &err));
                slurp(made, &again);
                assert_int_equal(again.len, whole[n].len);
                assert_memory_equal(again.data, whole[n].data, again.len);
                assert_int_equal(unlink(made), 0);
            }
            OK(volume_set_source(s, &src, &err));
            is_whole(&src);
            gs_source_close(&src);
        }
    assert_int_equal(pairs, 45);
    restore();
}

static void test_three(void **state)
{
    (void)state;
    struct gs_err err = {0};
    static const unsigned lost[][3] = {{1, 2, 3}, {1, 5, 9}, {8, 9, 10}};
    for (size_t i = 0; i < GS_COUNT(lost); i++) {
        char want[64];
        restore();
        for (unsigned k = 0; k < 3; k++)
            unlink(path[lost[i][k]]);
        struct volume_set *s = open_set(true);
        struct gs_source src;
        snprintf(want, sizeof want, "%u missing, %u missing, %u missing", lost[i][0], lost[i][1], lost[i][2]);
        assert_int_equal(volume_set_enough(s, &err), -1);
        assert_int_equal(err.code, GS_E_VOLUME_MISSING);
        assert_int_equal(gs_code_exit(err.code), 22);
        assert_non_null(strstr(err.text, want));
        FAILS(GS_E_VOLUME_MISSING, volume_set_rebuild(s, lost[i][0], unit_path("made"), NULL, &err));
        FAILS(GS_E_VOLUME_MISSING, volume_set_source(s, &src, &err)); /* closes it */
    }
    restore();
}

/* Wherever a byte is changed, the volume is told to be bad; an open set says so at once or when it is verified. */
static void test_every_byte(void **state)
{
    (void)state;
    struct gs_err err = {0};
    static const unsigned which[] = {1, 4, DATA, DATA + 1};
    for (size_t k = 0; k < GS_COUNT(which); k++) {
        unsigned n = which[k];
        gs_autofree char *bad = malloc(whole[n].len);
        for (size_t at = 0; at < whole[n].len; at += at < 4096 || whole[n].len - at < 6000 ? 61 : 1501) {
            struct volume_set *s = NULL;
            const char *one[] = {path[n]};
            const struct volume_seen *v;
            memcpy(bad, whole[n].data, whole[n].len);
            bad[at] ^= 4;
            put(n, bad, whole[n].len);
            bool good = volume_set_open(one, 1, &trust, &s, &err) == 0;
            if (good) {
                OK(volume_set_verify(s, 1, NULL, &err));
                volume_set_seen(s, &v);
                good = v[n - 1].state == VOLUME_GOOD;
            }
            if (good)
                fail_msg("volume %u: byte %zu may be changed", n, at);
            memset(&err, 0, sizeof err);
            volume_set_close(s);
        }
        put(n, whole[n].data, whole[n].len);
    }
}

/* What is in the files, out of which each of these is told. */
static void test_told_apart(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct volume_split_result other;
    const char *paths[ALL + 8];
    char base[512], renamed[512], copy[512];
    gs_autobuf buf;
    const struct volume_seen *v;
    struct volume_set *s;
    restore();
    /* two sets; one that the stranger signed; renamed; twice; cut; no volume; swapped heads */
    snprintf(base, sizeof base, "%s", unit_path("other"));
    split_bundle(unit_path("b.gsnap"), base, limit + 4096, PARITY, key, NULL, &other);
    assert_string_not_equal(other.set, set_id);
    snprintf(renamed, sizeof renamed, "%s", unit_path("whatever.bin"));
    snprintf(copy, sizeof copy, "%s", unit_path("copy of 4"));
    assert_int_equal(rename(path[2], renamed), 0);
    OK(gs_write_file(copy, whole[4].data, whole[4].len, 0644, true, &err));
    gs_autofree char *other2 = volume_file_name(base, 2, other.data + other.parity);
    size_t n = 0;
    for (unsigned i = ALL; i > 0; i--) /* in any order */
        if (i != 2)
            paths[n++] = path[i];
    paths[n++] = renamed;
    paths[n++] = copy;
    paths[n++] = other2;
    paths[n++] = unit_path("b.gsnap");
    OK(volume_set_open(paths, n, &trust, &s, &err));
    OK(volume_set_verify(s, 2, NULL, &err));
    assert_int_equal(volume_set_seen(s, &v), ALL + 3);
    for (unsigned i = 0; i < ALL; i++)
        assert_int_equal(v[i].state, VOLUME_GOOD);
    assert_string_equal(v[1].path, renamed);
    assert_int_equal(v[ALL].state, VOLUME_TWICE);
    assert_int_equal(v[ALL].number, 4);
    assert_int_equal(v[ALL + 1].state, VOLUME_OTHER_SET);
    assert_string_equal(v[ALL + 1].set, other.set);
    assert_int_equal(v[ALL + 2].state, VOLUME_NONE);
    volume_set_close(s);
    /* the copy takes the place of one that is damaged */
    gs_buf_init(&buf, (size_t)1 << 20);
    OK(gs_buf_add(&buf, whole[4].data, whole[4].len, &err));
    buf.data[buf.len / 2] ^= 1;
    put(4, buf.data, buf.len);
    OK(volume_set_open(paths, n, &trust, &s, &err));
    OK(volume_set_verify(s, 2, NULL, &err));
    assert_int_equal(volume_set_seen(s, &v), ALL + 3);
    assert_int_equal(v[3].state, VOLUME_GOOD);
    assert_string_equal(v[3].path, copy);
    assert_int_equal(v[ALL].state, VOLUME_DAMAGED);
    assert_string_equal(v[ALL].path, path[4]);
    volume_set_close(s);
    put(4, whole[4].data, whole[4].len);
    /* heads of 3 and 5 swapped: each label is genuine, and says that what follows it is not its own */
    struct volume_head *h3 = malloc(sizeof *h3), *h5 = malloc(sizeof *h5);
    struct gs_source src;
    struct gs_err why = {0};
    gs_source_mem(whole[3].data, whole[3].len, &src);
    OK(volume_head_read(&src, 0, &trust, h3, &why, &err));
    gs_source_close(&src);
    gs_source_mem(whole[5].data, whole[5].len, &src);
    OK(volume_head_read(&src, 0, &trust, h5, &why, &err));
    gs_source_close(&src);
    assert_int_equal(h3->bytes, h5->bytes);
    gs_buf_reset(&buf);
    OK(gs_buf_add(&buf, whole[3].data, (size_t)h3->bytes, &err));
    OK(gs_buf_add(&buf, whole[5].data + h5->bytes, whole[5].len - (size_t)h5->bytes, &err));
    put(5, buf.data, buf.len);
    unlink(path[3]);
    assert_int_equal(rename(renamed, path[2]), 0);
    s = open_set(true);
    is_state(s, 3, VOLUME_DAMAGED);
    is_state(s, 5, VOLUME_MISSING);
    volume_set_close(s);
    restore();
    /* a stranger signs the very same label */
    gs_autobuf sums, head;
    gs_buf_init(&sums, (size_t)1 << 20);
    gs_buf_init(&head, (size_t)1 << 20);
    OK(gs_buf_add(&sums, whole[3].data + h3->sums_at, (size_t)h3->label.sums_bytes, &err));
    OK(volume_head_write(&h3->label, &sums, stranger, &head, &err));
    assert_int_equal(head.len, h3->bytes);
    gs_buf_reset(&buf);
    OK(gs_buf_add(&buf, head.data, head.len, &err));
    OK(gs_buf_add(&buf, whole[3].data + head.len, whole[3].len - head.len, &err));
    put(3, buf.data, buf.len);
    s = open_set(true);
    is_state(s, 3, VOLUME_UNTRUSTED);
    assert_int_equal(seen(s, 3)->why.code, GS_E_SIG_UNKNOWN_KEY);
    OK(volume_set_enough(s, &err));
    volume_set_close(s);
    const char *only3[] = {path[3]};
    FAILS(GS_E_SIG_UNKNOWN_KEY, volume_set_open(only3, 1, &trust, &s, &err));
    /* cut anywhere, and longer */
    static const size_t cuts[] = {0, 100, 511, 512, 2000, 9000, 20000};
    for (size_t i = 0; i < GS_COUNT(cuts); i++) {
        put(3, whole[3].data, cuts[i]);
        s = open_set(true);
        assert_int_not_equal(seen(s, 3)->state, VOLUME_GOOD);
        volume_set_close(s);
    }
    put(3, whole[3].data, whole[3].len - 1);
    s = open_set(false); /* no need to read it all */
    is_state(s, 3, VOLUME_DAMAGED);
    volume_set_close(s);
    gs_buf_reset(&buf);
    OK(gs_buf_add(&buf, whole[3].data, whole[3].len, &err));
    OK(gs_buf_addc(&buf, 0, &err));
    put(3, buf.data, buf.len);
    s = open_set(false);
    is_state(s, 3, VOLUME_DAMAGED);
    volume_set_close(s);
    restore();
    free(h3);
    free(h5);
}

static void test_same_bytes(void **state)
{
    (void)state;
    bool only[VOLUME_MAX + 1] = {[3] = true, [9] = true};
    struct volume_split_result res;
    char base[512];
    gs_autobuf three, nine;
    snprintf(base, sizeof base, "%s", unit_path("again"));
    split_bundle(unit_path("b.gsnap"), base, limit, PARITY, key, only, &res);
    assert_string_equal(res.set, set_id);
    assert_true(res.bytes[3] && res.bytes[9] && !res.bytes[1] && !res.bytes[10]);
    slurp(unit_path("again.vol03"), &three);
    slurp(unit_path("again.vol09"), &nine);
    assert_int_equal(three.len, whole[3].len);
    assert_memory_equal(three.data, whole[3].data, three.len);
    assert_memory_equal(nine.data, whole[9].data, nine.len);
    struct gs_err err = {0};
    GS_AUTO(bundle) b = NULL;
    struct bundle_opts o = {.trust = &trust};
    struct volume_split_opts so = {.limit = limit, .parity = PARITY, .key = key, .base = base, .only = only};
    OK(bundle_open(unit_path("b.gsnap"), &o, &b, &err));
    FAILS(GS_E_EXISTS, volume_split(b, NULL, &so, &res, &err)); /* nothing is replaced */
    bool beyond[VOLUME_MAX + 1] = {[11] = true};
    so.only = beyond;
    FAILS(GS_E_USAGE, volume_split(b, NULL, &so, &res, &err));
    so.only = NULL;
    so.base = unit_path("small");
    so.limit = 24 << 10;
    FAILS(GS_E_VOLUME_SIZE, volume_split(b, NULL, &so, &res, &err)); /* no record in two volumes */
    so.limit = 1000;
    FAILS(GS_E_VOLUME_SIZE, volume_split(b, NULL, &so, &res, &err));
}

/* Another file than a bundle is cut anywhere; sizes around the blocks. */
static void test_other_files(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 511, 512, 513, 20000, 200000};
    for (size_t i = 0; i < GS_COUNT(sizes); i++) {
        struct gs_err err = {0};
        struct gs_source src, joined;
        struct volume_split_result res;
        struct volume_set *s;
        char base[512];
        const char *paths[64];
        gs_autofree char *data = malloc(sizes[i]), *back = malloc(sizes[i]);
        uint8_t seed[randombytes_SEEDBYTES] = {3};
        randombytes_buf_deterministic(data, sizes[i], seed);
        snprintf(base, sizeof base, "%s%zu", unit_path("file"), i);
        gs_source_mem(data, sizes[i], &src);
        struct volume_split_opts so = {.limit = 48 << 10, .parity = 1, .key = key, .base = base};
        OK(volume_split(NULL, &src, &so, &res, &err));
        gs_source_close(&src);
        unsigned of = res.data + res.parity;
        for (unsigned k = 0; k < of; k++)
            paths[k] = volume_file_name(base, k + 1, of);
        OK(volume_set_open(paths + 1, of - 1, &trust, &s, &err)); /* without the first */
        OK(volume_set_source(s, &joined, &err));
        assert_int_equal(joined.size, sizes[i]);
        OK(gs_source_read(&joined, 0, back, sizes[i], &err));
        assert_memory_equal(back, data, sizes[i]);
        gs_source_close(&joined);
        for (unsigned k = 0; k < of; k++)
            free((void *)(uintptr_t)paths[k]);
    }
    struct gs_err err = {0};
    struct gs_source none;
    struct volume_split_result res;
    gs_source_mem("", 0, &none);
    struct volume_split_opts so = {.limit = 48 << 10, .key = key, .base = unit_path("none")};
    FAILS(GS_E_USAGE, volume_split(NULL, &none, &so, &res, &err));
    gs_source_close(&none);
}

/* A plain file that is larger than a volume is cut; what is around it is not. */
static void test_large_file(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct bundle_writer_opts o = {.threads = 1};
    struct bundle_meta m = {.via = "archive", .enterprise = -1};
    const struct sign_seckey *keys[] = {key};
    GS_AUTO(bundle_writer) w = NULL;
    GS_AUTO(bundle) b = NULL;
    struct bundle_part *p;
    gs_autofree char *big = malloc(100001);
    uint8_t seed[randombytes_SEEDBYTES] = {9};
    char file[512];
    randombytes_buf_deterministic(big, 100001, seed);
    snprintf(file, sizeof file, "%s", unit_path("big.gsnap"));
    OK(bundle_writer_new(unit_path("bigwork"), &o, &w, &err));
    OK(bundle_writer_group(w, 1, 0, "top", &err));
    OK(bundle_part_open(w, 1, "labels", &p, &err));
    OK(bundle_part_add(p, "{\"title\":\"a\"}", 13, &err));
    OK(bundle_part_close(p, &err));
    OK(bundle_writer_file(w, 1, "avatar", "a.png", big, 100001, &err));
    OK(bundle_writer_finish(w, &m, keys, 1, file, false, &err));
    OK(bundle_open(file, &(struct bundle_opts){.trust = &trust}, &b, &err));
    struct volume_split_opts so = {.limit = 32 << 10, .key = key, .base = unit_path("big")};
    struct volume_split_result res;
    OK(volume_split(b, NULL, &so, &res, &err));
    assert_true(res.data >= 4);
    const char *paths[32];
    struct volume_set *s;
    struct gs_source src;
    gs_autobuf want;
    char base[512];
    snprintf(base, sizeof base, "%s", unit_path("big"));
    for (unsigned k = 0; k < res.data; k++)
        paths[k] = volume_file_name(base, k + 1, res.data);
    OK(volume_set_open(paths, res.data, &trust, &s, &err));
    OK(volume_set_verify(s, 1, NULL, &err));
    OK(volume_set_enough(s, &err));
    OK(volume_set_source(s, &src, &err));
    slurp(file, &want);
    gs_autofree char *got = malloc(want.len);
    assert_int_equal(src.size, want.len);
    OK(gs_source_read(&src, 0, got, want.len, &err));
    assert_memory_equal(got, want.data, want.len);
    gs_source_close(&src);
    for (unsigned k = 0; k < res.data; k++)
        free((void *)(uintptr_t)paths[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),      cmocka_unit_test(test_three),      cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_told_apart), cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_large_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
