/* age: keys, headers, chunks at any offset, and that no change of a file goes unnoticed. The public vectors and the
 * stock tool: tests/e2e/test_age_vectors.py. */
#include "formats/age.h"
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/stat.h>

/* An identity that is in no use, 32 bytes 0..31, and its recipient, as other programs write them. */
static const char recipient_text[] = "age13aqvttdk3ujkyjh9kg2w5an6dmy5mq5a84a4uxk3hfhnugfc9p0sy5p2wh";
static const char identity[] = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG";

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    return 0;
}

struct keys {
    struct age_identities ids;
    struct age_recipients to;
};

static void make_keys(struct keys *k)
{
    struct gs_err err = {0};
    struct gs_secret file = {0};
    char recipient[AGE_RECIPIENT_TEXT];
    *k = (struct keys){0};
    OK(age_identity_new(0, &file, recipient, &err));
    OK(age_identities_parse(&k->ids, file.data, file.len, "made", &err));
    OK(age_recipients_add(&k->to, recipient, &err));
    gs_secret_release(&file);
}

static void release_keys(struct keys *k)
{
    age_identities_release(&k->ids);
    age_recipients_release(&k->to);
}

static uint8_t *pattern(size_t len)
{
    static const uint8_t seed[randombytes_SEEDBYTES] = {1};
    uint8_t *p = malloc(len + 1);
    assert_non_null(p);
    randombytes_buf_deterministic(p, len, seed);
    return p;
}

/* `data` encrypted, handed over in pieces of `piece` bytes; or, with 0, as a source to copy. The caller frees. */
static uint8_t *encrypt(struct age_seal *seal, const uint8_t *data, size_t len, size_t piece, size_t *out_len)
{
    struct gs_err err = {0};
    struct age_writer *w;
    struct gs_source src;
    struct stat st;
    const char *path = unit_path("out.age");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    gs_source_mem(data, len, &src);
    OK(age_writer_new(seal, 2, fd, path, &w, &err));
    for (size_t at = 0; piece && at < len; at += piece)
        OK(age_writer_write(w, data + at, piece < len - at ? piece : len - at, &err));
    if (!piece)
        OK(age_writer_copy(w, &src, 0, len, &err));
    OK(age_writer_finish(w, &err));
    age_writer_free(w);
    gs_source_close(&src);
    assert_int_equal(fstat(fd, &st), 0);
    *out_len = (size_t)st.st_size;
    uint8_t *file = malloc(*out_len);
    assert_int_equal(pread(fd, file, *out_len, 0), st.st_size);
    close(fd);
    return file;
}

static int open_mem(const uint8_t *file, size_t len, const struct age_identities *ids, struct gs_source *out,
                    struct gs_err *err)
{
    struct gs_source in;
    gs_source_mem(file, len, &in);
    return age_open(&in, &(struct age_open_opts){.name = "mem", .ids = ids}, out, err);
}

static void test_keys(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct age_identities ids = {0};
    struct age_recipients to = {0};
    char text[512], lower[100];
    /* line ends, comments, blanks, several keys; the same in lower case */
    snprintf(lower, sizeof lower, "%s", identity);
    for (char *p = lower; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    snprintf(text, sizeof text, "# created: today\r\n\r\n# public key: age1\n  %s\t\r\n%s", identity, lower);
    OK(age_identities_parse(&ids, text, strlen(text), "file", &err));
    assert_int_equal(ids.n, 2);
    OK(age_recipients_add(&to, recipient_text, &err));
    assert_int_equal(to.n, 1);
    GS_AUTO(age_seal) seal = NULL;
    struct gs_source src;
    size_t len;
    OK(age_seal_new(&to, NULL, 0, &seal, &err));
    gs_autofree uint8_t *sealed = encrypt(seal, (const uint8_t *)"x", 1, 0, &len);
    OK(open_mem(sealed, len, &ids, &src, &err));
    gs_source_close(&src);
    age_recipients_release(&to);
    age_identities_release(&ids);
    /* no other text of the same length is taken, and the error does not show what was there */
    for (size_t i = 0; i < strlen(identity); i++) {
        snprintf(text, sizeof text, "%s", identity);
        text[i] = text[i] == 'Q' ? 'P' : 'Q';
        FAILS(GS_E_AGE_KEY, age_identities_parse(&ids, text, strlen(text), "file", &err));
        text[i] = (char)(identity[i] ^ 32);
        if (text[i] >= 'a')
            assert_int_equal(age_identities_parse(&ids, text, strlen(text), "file", &err), -1);
    }
    assert_null(strstr(err.text, "QQQSYQ"));
    FAILS(GS_E_AGE_KEY, age_identities_parse(&ids, identity, strlen(identity) - 1, "file", &err));
    FAILS(GS_E_AGE_KEY, age_identities_parse(&ids, "# nothing\n", 10, "file", &err));
    FAILS(GS_E_AGE_KEY, age_identities_parse(&ids, "AGE-PLUGIN-X-1QQQ\n", 18, "file", &err));
    FAILS(GS_E_NOT_FOUND, age_identities_add(&ids, unit_path("absent"), NULL, &err));

    FAILS(GS_E_AGE_KEY, age_recipients_add(&to, identity, &err));
    assert_null(strstr(err.text, "QQQSYQ"));
    FAILS(GS_E_AGE_KEY, age_recipients_add(&to, "age1qqq", &err));
    FAILS(GS_E_NOT_FOUND, age_recipients_add(&to, unit_path("absent"), &err));
    struct gs_secret file = {0};
    char one[AGE_RECIPIENT_TEXT], two[AGE_RECIPIENT_TEXT];
    OK(age_identity_new(1700000000000, &file, one, &err));
    assert_non_null(strstr(file.data, one));
    assert_non_null(strstr(file.data, "# created: 2023-11-14T22:13:20"));
    OK(age_identity_new(0, &file, two, &err));
    gs_secret_release(&file);
    snprintf(text, sizeof text, "# who\n%s\n\n%s\n%s\n", one, two, one);
    OK(gs_write_file(unit_path("to"), text, strlen(text), 0600, true, &err));
    OK(age_recipients_add(&to, unit_path("to"), &err));
    assert_int_equal(to.n, 2);
    snprintf(text, sizeof text, "%s\nssh-ed25519 AAAA\n", one);
    OK(gs_write_file(unit_path("to"), text, strlen(text), 0600, true, &err));
    age_recipients_release(&to);
    assert_int_equal(age_recipients_add(&to, unit_path("to"), &err), -1);
    assert_int_equal(err.code, GS_E_AGE_KEY);
    assert_non_null(strstr(err.text, "line 2"));
    assert_int_equal(to.n, 0);
    age_recipients_release(&to);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 16 * 65536, 16 * 65536 + 1, 3000000};
    static const size_t pieces[] = {0, 1000, 65536, 70001, 1 << 20};
    struct gs_err err = {0};
    struct keys k;
    make_keys(&k);
    for (size_t i = 0; i < GS_COUNT(sizes); i++)
        for (size_t j = 0; j < GS_COUNT(pieces); j++) {
            GS_AUTO(age_seal) seal = NULL;
            struct gs_source src;
            size_t len;
            gs_autofree uint8_t *data = pattern(sizes[i]);
            OK(age_seal_new(&k.to, NULL, 0, &seal, &err));
            gs_autofree uint8_t *file = encrypt(seal, data, sizes[i], pieces[j], &len);
            OK(open_mem(file, len, &k.ids, &src, &err));
            assert_int_equal(src.size, sizes[i]);
            gs_autofree uint8_t *back = malloc(sizes[i] + 1);
            OK(gs_source_read(&src, 0, back, sizes[i], &err));
            assert_memory_equal(back, data, sizes[i]);
            FAILS(GS_E_TRUNCATED, gs_source_read(&src, sizes[i], back, 1, &err));
            gs_source_close(&src);
            /* whoever wrote it may read it back */
            struct gs_source in;
            gs_source_mem(file, len, &in);
            OK(age_open(&in, &(struct age_open_opts){.seal = seal}, &src, &err));
            assert_int_equal(src.size, sizes[i]);
            gs_source_close(&src);
        }
    release_keys(&k);
}

struct walk {
    const struct gs_source *src;
    const uint8_t *data;
    size_t len;
    uint32_t seed;
    int bad;
};

static void *walk(void *arg)
{
    struct walk *w = arg;
    struct gs_err err = {0};
    uint8_t *buf = malloc(w->len);
    for (int i = 0; i < 1500; i++) {
        w->seed = w->seed * 1664525 + 1013904223;
        size_t off = (w->seed >> 8) % w->len, max = w->len - off, n;
        w->seed = w->seed * 1664525 + 1013904223;
        n = (w->seed >> 8) % (i % 3 ? 5000 : 300000);
        n = n > max ? max : n;
        if (gs_source_read(w->src, off, buf, n, &err) || memcmp(buf, w->data + off, n) != 0)
            w->bad++;
    }
    free(buf);
    return NULL;
}

static void test_any_offset(void **state)
{
    (void)state;
    enum { LEN = 40 * 65536 + 17, THREADS = 4 };
    struct gs_err err = {0};
    struct keys k;
    GS_AUTO(age_seal) seal = NULL;
    struct gs_source src;
    size_t len;
    gs_autofree uint8_t *data = pattern(LEN);
    make_keys(&k);
    OK(age_seal_new(&k.to, NULL, 0, &seal, &err));
    gs_autofree uint8_t *file = encrypt(seal, data, LEN, 0, &len);
    OK(open_mem(file, len, &k.ids, &src, &err));
    pthread_t tid[THREADS];
    struct walk w[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        w[i] = (struct walk){.src = &src, .data = data, .len = LEN, .seed = i + 1};
        assert_int_equal(pthread_create(&tid[i], NULL, walk, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(tid[i], NULL);
        assert_int_equal(w[i].bad, 0);
    }
    gs_source_close(&src);
    release_keys(&k);
}

/* Opens and reads everything. What comes out before an error must be what went in. */
static int read_all(const uint8_t *file, size_t len, const struct keys *k, const uint8_t *data, size_t data_len,
                    struct gs_err *err)
{
    struct gs_source src;
    uint8_t buf[65536];
    int r = 0;
    memset(err, 0, sizeof *err);
    if (open_mem(file, len, &k->ids, &src, err))
        return -1;
    for (uint64_t off = 0; off < src.size && r == 0;) {
        size_t n = 0;
        r = src.read_at(src.cookie, off, buf, sizeof buf, &n, err);
        if (r == 0) {
            assert_true(n > 0 && off + n <= data_len);
            assert_memory_equal(buf, data + off, n);
        }
        off += n;
    }
    gs_source_close(&src);
    return r;
}

static bool says_damaged(enum gs_code c)
{
    return gs_code_exit(c) == 20 || c == GS_E_AGE_WRONG_IDENTITY || c == GS_E_SCHEMA_NEWER || c == GS_E_AGE_NO_IDENTITY;
}

static void test_every_byte_counts(void **state)
{
    (void)state;
    enum { LEN = 3 * 65536 + 100 };
    struct gs_err err = {0};
    struct keys k;
    GS_AUTO(age_seal) seal = NULL;
    size_t len;
    gs_autofree uint8_t *data = pattern(LEN);
    make_keys(&k);
    OK(age_seal_new(&k.to, NULL, 0, &seal, &err));
    gs_autofree uint8_t *file = encrypt(seal, data, LEN, 0, &len);
    OK(read_all(file, len, &k, data, LEN, &err));
    /* every byte of header, nonce and first lines, then one here and there and all around the ends of chunks */
    size_t head = len - LEN - 4 * 16, flipped = 0;
    for (size_t i = 0; i < len; i++) {
        size_t in = i < head ? 0 : (i - head) % (65536 + 16);
        if (i > head + 40 && i < len - 120 && in > 20 && in < 65530 && i % 1009)
            continue;
        flipped++;
        file[i] ^= 1;
        assert_int_equal(read_all(file, len, &k, data, LEN, &err), -1);
        if (!says_damaged(err.code))
            fail_msg("byte %zu: %s", i, err.text);
        file[i] ^= 1;
    }
    assert_true(flipped > 500);
    for (size_t n = 0; n < len; n += n < head + 100 || n > len - 200 ? 1 : 997) {
        assert_int_equal(read_all(file, n, &k, data, LEN, &err), -1);
        if (gs_code_exit(err.code) != 20)
            fail_msg("cut to %zu bytes: %s", n, err.text);
    }
    /* cut at the end of a chunk, where only its nonce tells that it is not the last */
    FAILS(GS_E_TRUNCATED, read_all(file, head + 2 * (65536 + 16), &k, data, LEN, &err));
    release_keys(&k);
}

/* A chunk that does not hold gives nothing, the others do. */
static void test_bad_chunk_gives_nothing(void **state)
{
    (void)state;
    enum { LEN = 5 * 65536, CHUNK = 2 };
    struct gs_err err = {0};
    struct keys k;
    GS_AUTO(age_seal) seal = NULL;
    struct gs_source src;
    size_t len;
    gs_autofree uint8_t *data = pattern(LEN), *buf = calloc(1, LEN);
    make_keys(&k);
    OK(age_seal_new(&k.to, NULL, 0, &seal, &err));
    gs_autofree uint8_t *file = encrypt(seal, data, LEN, 0, &len);
    size_t at = len - LEN - 5 * 16 + CHUNK * (65536 + 16);
    file[at + 65535] ^= 0x80; /* its last byte: everything before it could have been used already */
    OK(open_mem(file, len, &k.ids, &src, &err));
    FAILS(GS_E_AGE_DAMAGED, gs_source_read(&src, CHUNK * 65536, buf, 65536, &err));
    FAILS(GS_E_AGE_DAMAGED, gs_source_read(&src, CHUNK * 65536 + 5, buf, 10, &err));
    FAILS(GS_E_AGE_DAMAGED, gs_source_read(&src, 0, buf, LEN, &err));
    for (size_t i = CHUNK * 65536; i + 8 <= (CHUNK + 1) * 65536; i += 8)
        assert_memory_not_equal(buf + i, data + i, 8);
    for (size_t i = 0; i < 5; i++)
        if (i != CHUNK) {
            OK(gs_source_read(&src, i * 65536, buf, 65536, &err));
            assert_memory_equal(buf, data + i * 65536, 65536);
        }
    gs_source_close(&src);
    release_keys(&k);
}

static int give_passphrase(void *cookie, const char *file, struct gs_secret *out, struct gs_err *err)
{
    (void)file;
    return gs_secret_set(out, cookie, strlen(cookie), err);
}

static void test_who_may_open(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct keys a, b, both = {0};
    struct age_seal *seal = NULL;
    struct gs_source src, in;
    struct gs_secret pass = {0};
    size_t len, plen;
    make_keys(&a);
    make_keys(&b);
    both.to.keys = calloc(2, AGE_KEY_LEN);
    memcpy(both.to.keys[0], a.to.keys[0], AGE_KEY_LEN);
    memcpy(both.to.keys[1], b.to.keys[0], AGE_KEY_LEN);
    both.to.n = 2;
    OK(age_seal_new(&both.to, NULL, 0, &seal, &err));
    gs_autofree uint8_t *file = encrypt(seal, (const uint8_t *)"x", 1, 0, &len);
    FAILS(GS_E_INTERNAL,
          age_writer_new(seal, 1, -1, "again", &(struct age_writer *){NULL}, &err)); /* never two files under one key */
    char id[AGE_ID_LEN], file_id[AGE_ID_LEN];
    age_seal_id(seal, id);
    gs_source_mem(file, len, &in);
    assert_true(age_is(&in));
    OK(age_file_id(&in, file_id, &err));
    assert_string_equal(id, file_id);
    gs_source_close(&in);
    age_seal_free(seal);
    OK(open_mem(file, len, &a.ids, &src, &err));
    gs_source_close(&src);
    OK(open_mem(file, len, &b.ids, &src, &err));
    gs_source_close(&src);
    FAILS(GS_E_AGE_NO_IDENTITY, open_mem(file, len, NULL, &src, &err));
    struct keys c;
    make_keys(&c);
    FAILS(GS_E_AGE_WRONG_IDENTITY, open_mem(file, len, &c.ids, &src, &err));
    /* with a passphrase; the cost is low, since this is a test */
    OK(gs_secret_set(&pass, "correct horse", 13, &err));
    FAILS(GS_E_USAGE, age_seal_new(&a.to, &pass, 4, &seal, &err));
    FAILS(GS_E_USAGE, age_seal_new(NULL, NULL, 4, &seal, &err));
    FAILS(GS_E_USAGE, age_seal_new(NULL, &pass, AGE_WORK_FACTOR_MAX + 1, &seal, &err));
    OK(age_seal_new(NULL, &pass, 4, &seal, &err));
    gs_autofree uint8_t *pfile = encrypt(seal, (const uint8_t *)"y", 1, 0, &plen);
    age_seal_free(seal);
    FAILS(GS_E_AGE_PASSPHRASE, open_mem(pfile, plen, &a.ids, &src, &err));
    static const char *const tries[] = {"correct horse", "wrong horse"};
    for (int i = 0; i < 2; i++) {
        char *cookie = strdup(tries[i]);
        struct age_passphrase p = {give_passphrase, cookie};
        struct age_open_opts o = {.name = "mem", .pass = &p};
        gs_source_mem(pfile, plen, &in);
        if (i == 0) {
            OK(age_open(&in, &o, &src, &err));
            gs_source_close(&src);
        } else {
            FAILS(GS_E_AGE_PASSPHRASE, age_open(&in, &o, &src, &err));
        }
        free(cookie);
    }
    gs_secret_release(&pass);
    /* as text */
    static const char armor[] = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n";
    FAILS(GS_E_AGE_ARMOR, open_mem((const uint8_t *)armor, sizeof armor - 1, &a.ids, &src, &err));
    gs_source_mem("plain", 5, &in);
    assert_false(age_is(&in));
    gs_source_close(&in);
    release_keys(&a);
    release_keys(&b);
    release_keys(&c);
    age_recipients_release(&both.to);
}

/* An identity file that was encrypted with a passphrase, as `age-keygen | age -p` makes it. */
static void test_encrypted_identity(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct gs_secret pass = {0}, text = {0};
    char recipient[AGE_RECIPIENT_TEXT];
    GS_AUTO(age_seal) seal = NULL;
    size_t len;
    struct age_identities ids = {0};
    OK(gs_secret_set(&pass, "pw", 2, &err));
    OK(age_identity_new(0, &text, recipient, &err));
    OK(age_seal_new(NULL, &pass, 4, &seal, &err));
    gs_autofree uint8_t *file = encrypt(seal, (const uint8_t *)text.data, text.len, 0, &len);
    OK(gs_write_file(unit_path("id.age"), file, len, 0600, true, &err));
    char cookie[] = "pw";
    struct age_passphrase p = {give_passphrase, cookie};
    OK(age_identities_add(&ids, unit_path("id.age"), &p, &err));
    assert_int_equal(ids.n, 1);
    FAILS(GS_E_AGE_PASSPHRASE, age_identities_add(&ids, unit_path("id.age"), NULL, &err));
    assert_int_equal(ids.n, 1);
    age_identities_release(&ids);
    gs_secret_release(&pass);
    gs_secret_release(&text);
}

static int fail_read(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    (void)cookie, (void)buf;
    *out_n = len;
    return off >= 3 * AGE_CHUNK ? gs_fail(err, GS_E_IO, "the disk is gone") : 0;
}

static void test_source_that_fails(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct keys k;
    GS_AUTO(age_seal) seal = NULL;
    struct age_writer *w;
    struct gs_source src = {.size = 100 * AGE_CHUNK, .read_at = fail_read};
    int fd = open("/dev/null", O_WRONLY);
    make_keys(&k);
    OK(age_seal_new(&k.to, NULL, 0, &seal, &err));
    OK(age_writer_new(seal, 2, fd, "null", &w, &err));
    int r = age_writer_copy(w, &src, 0, src.size, &err) || age_writer_finish(w, &err);
    assert_int_equal(r, 1);
    assert_int_equal(err.code, GS_E_IO);
    age_writer_free(w);
    close(fd);
    release_keys(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_any_offset),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_bad_chunk_gives_nothing),
        cmocka_unit_test(test_who_may_open),
        cmocka_unit_test(test_encrypted_identity),
        cmocka_unit_test(test_source_that_fails),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("age", tests, setup, unit_cleanup);
}
