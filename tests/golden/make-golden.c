/*
 * Makes the golden corpus: make-golden FOLDER. Run once per schema version; what is committed is never made again,
 * because it must stay readable as it is (or refused as it is) for ever. The key is made from a fixed seed and protects
 * nothing.
 */
#include "forge.h"

#include <sys/stat.h>

static const char *root_dir;
static struct sign_seckey *key, *other;
static struct gs_buf base, base_files, base_parts, base_msgpack;

static void save(const char *folder, const char *name, const void *data, size_t len)
{
    char *path = gs_asprintf("%s/%s/%s.gsnap", root_dir, folder, name);
    FORGE_OK(gs_write_file(path, data, len, 0644, true, err));
    free(path);
}

static void make_base(const struct forge_base *o, struct gs_buf *out)
{
    char *dir = gs_asprintf("%s/stage", root_dir), *path = gs_asprintf("%s/base.tmp", root_dir);
    forge_make(o, key, dir, path);
    gs_buf_init(out, (size_t)1 << 24);
    FORGE_OK(gs_read_file(path, (size_t)1 << 24, out, err));
    remove(path);
    free(dir);
    free(path);
}

/* ---- every case: takes the plain bundle in `f`, changes it, seals what must be sealed ---- */

static void pack(const char *folder, const char *name, struct forge *f)
{
    struct gs_buf b;
    forge_pack(f, &b);
    save(folder, name, b.data, b.len);
    gs_buf_release(&b);
    forge_release(f);
}

#define CASE(from, name, ...)                                                                                          \
    do {                                                                                                               \
        struct forge f;                                                                                                \
        forge_load(&f, (from).data, (from).len);                                                                       \
        __VA_ARGS__;                                                                                                   \
        pack("invalid", name, &f);                                                                                     \
    } while (0)

#define LABELS "groups/7/labels.ndjson.zst"
#define LABELS_MP "groups/7/labels.msgpack.zst"
#define SEAL forge_seal(&f, key)

static void raw_case(const char *name, size_t cut, long flip, const char *append)
{
    struct gs_buf b;
    gs_buf_init(&b, (size_t)1 << 24);
    FORGE_OK(gs_buf_add(&b, base.data, base.len - cut, err) || gs_buf_addstr(&b, append, err));
    if (flip >= 0)
        b.data[flip] ^= 0x01;
    save("invalid", name, b.data, b.len);
    gs_buf_release(&b);
}

static size_t data_off(const char *member)
{
    struct gs_source src;
    struct tar_head h;
    uint64_t pad = 0, off = 0;
    gs_source_mem(base.data, base.len, &src);
    for (;;) {
        FORGE_OK(tar_read_header(&src, pad, off, &h, err));
        if (h.end)
            abort();
        if (strcmp(h.name, member) == 0)
            break;
        pad = h.data_off + h.size;
        off = h.data_off + tar_padded(h.size);
    }
    gs_source_close(&src);
    return (size_t)h.data_off;
}

static void damaged(void)
{
    raw_case("bundle-truncated--half", base.len / 2, -1, "");
    raw_case("bundle-truncated--last-byte", 1, -1, "");
    raw_case("bundle-truncated--no-end-mark", TAR_END_LEN, -1, "");
    raw_case("bundle-truncated--first-hundred-bytes", base.len - 100, -1, "");
    raw_case("not-canonical--garbage-behind-the-end", 0, -1, "garbage");
    raw_case("not-canonical--end-mark-not-zero", 0, (long)base.len - 600, "");
    raw_case("not-canonical--mtime", 0, 136 + 10, "");
    raw_case("not-canonical--owner-name", 0, 265, "");
    raw_case("not-canonical--padding", 0, (long)data_off(BUNDLE_SUMS) - 513, "");
    raw_case("digest-mismatch--sums-flipped", 0, (long)data_off(BUNDLE_SUMS) + 5, "");
    raw_case("digest-mismatch--index-flipped", 0, (long)data_off(BUNDLE_INDEX) + 20, "");
    raw_case("digest-mismatch--records-flipped", 0, (long)data_off(LABELS) + 30, "");
    raw_case("digest-mismatch--ledger-flipped", 0, (long)data_off(BUNDLE_LEDGER) + 12, "");
    raw_case("sig-invalid--manifest-flipped", 0, (long)data_off(BUNDLE_MANIFEST) + 40, "");
    save("invalid", "not-a-bundle--empty-file", "", 0);
    char zero[2048] = {0}, text[2000];
    memset(text, 'x', sizeof text);
    save("invalid", "not-a-bundle--empty-tar", zero, TAR_END_LEN);
    save("invalid", "not-a-bundle--text", text, sizeof text);
    save("invalid", "not-a-bundle--short-text", "hello\n", 6);
    static const unsigned char gz[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    memcpy(text, gz, sizeof gz);
    save("invalid", "not-a-bundle--gzip", text, sizeof text);
}

static void members(void)
{
    CASE(base, "member-missing--records", forge_del(&f, LABELS));
    CASE(base, "member-missing--sums", forge_del(&f, BUNDLE_SUMS));
    CASE(base, "member-missing--index", forge_del(&f, BUNDLE_INDEX); SEAL);
    CASE(base, "member-missing--users", forge_del(&f, BUNDLE_USERS); SEAL);
    CASE(base, "member-missing--manifest", forge_del(&f, BUNDLE_MANIFEST));
    CASE(base, "member-extra--avatar", forge_add(&f, SIZE_MAX, "groups/7/avatar/x.png", "x", 1));
    CASE(base, "member-extra--behind-the-last", forge_add(&f, SIZE_MAX, "groups/99/labels.ndjson.zst", "x", 1));
    CASE(base, "member-twice--neighbours", forge_add(&f, f.n, f.m[f.n - 1].name, "x", 1));
    CASE(base, "member-twice--far-apart", forge_add(&f, f.n, BUNDLE_SUMS, "x", 1));
    CASE(base, "member-order--swapped", struct forge_member t = f.m[f.n - 1]; f.m[f.n - 1] = f.m[f.n - 2];
         f.m[f.n - 2] = t);
    static const char *const names[][2] = {{"traversal", "groups/7/avatar/../../../etc/passwd"},
                                           {"dots", "groups/7/avatar/.."},
                                           {"absolute", "/etc/passwd"},
                                           {"unknown", "README"},
                                           {"group-zero", "groups/0/labels.ndjson.zst"},
                                           {"group-leading-zero", "groups/07/labels.ndjson.zst"},
                                           {"group-too-large", "groups/9999999999999999999/labels.ndjson.zst"},
                                           {"relation-upper-case", "groups/7/Labels.ndjson.zst"},
                                           {"relation-not-compressed", "groups/7/labels.ndjson"},
                                           {"upload-secret", "groups/7/uploads/xyz/file"},
                                           {"file-with-newline", "groups/7/avatar/a\nb"},
                                           {"file-with-backslash", "groups/7/avatar/a\\b"},
                                           {"file-not-utf8", "groups/7/avatar/a\xff"}};
    for (size_t i = 0; i < GS_COUNT(names); i++) {
        char *name = gs_asprintf("member-name--%s", names[i][0]);
        CASE(base, name, forge_add(&f, f.n, names[i][1], "x", 1));
        free(name);
    }
    static const struct {
        const char *name;
        char type;
    } types[] = {{"symlink", '2'}, {"hardlink", '1'},      {"folder", '5'},       {"device", '3'},
                 {"fifo", '6'},    {"gnu-long-name", 'L'}, {"global-header", 'g'}};
    for (size_t i = 0; i < GS_COUNT(types); i++) {
        char *name = gs_asprintf("member-type--%s", types[i].name);
        CASE(base, name, forge_add(&f, f.n, "groups/7/avatar/x", "", 0)->type = types[i].type);
        free(name);
    }
    CASE(base, "bundle-truncated--huge-declared-size", forge_find(&f, LABELS)->claim = (uint64_t)7 << 30);
}

static void signatures(void)
{
    CASE(base, "sig-missing--none", forge_del(&f, BUNDLE_MANIFEST ".minisig"));
    CASE(base, "sig-unknown-key--other-signer", forge_sign(&f, other, BUNDLE_MANIFEST ".minisig"));
    CASE(base, "sig-invalid--other-manifest", forge_edit(&f, BUNDLE_MANIFEST, "17.8.1", "17.8.2"));
    CASE(base, "sig-invalid--trusted-comment",
         forge_edit(&f, BUNDLE_MANIFEST ".minisig", "trusted comment: file", "trusted comment: FILE"));
    CASE(base, "sig-format--untrusted-comment",
         forge_edit(&f, BUNDLE_MANIFEST ".minisig", "signature from", "Signature from"));
    CASE(base, "sig-format--text", forge_put(forge_find(&f, BUNDLE_MANIFEST ".minisig"), "hello\n", 6));
    CASE(base, "sig-format--empty", forge_put(forge_find(&f, BUNDLE_MANIFEST ".minisig"), "", 0));
    CASE(base, "sig-format--name-of-another-key", forge_sign(&f, other, BUNDLE_MANIFEST ".0123456789ABCDEF.minisig"));
    CASE(base, "limit--signature-too-long", char *t = calloc(1, 5000); memset(t, 'A', 5000);
         forge_put(forge_find(&f, BUNDLE_MANIFEST ".minisig"), t, 5000); free(t));
}

static void manifests(void)
{
    CASE(base, "schema-newer--2", forge_edit(&f, BUNDLE_MANIFEST, "groupsnap/1", "groupsnap/2"); SEAL);
    CASE(base, "feature-unknown--requires",
         forge_edit(&f, BUNDLE_MANIFEST, "\"requires\":[]", "\"requires\":[\"encrypted\"]");
         SEAL);
    CASE(base, "manifest-invalid--schema", forge_edit(&f, BUNDLE_MANIFEST, "groupsnap/1", "othersnap/1"); SEAL);
    CASE(base, "manifest-invalid--not-json", forge_edit(&f, BUNDLE_MANIFEST, "{\"capture\"", "x{\"capture\""); SEAL);
    CASE(base, "manifest-invalid--array", forge_put(forge_find(&f, BUNDLE_MANIFEST), "[]\n", 3);
         forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"));
    CASE(base, "manifest-invalid--empty", forge_put(forge_find(&f, BUNDLE_MANIFEST), "", 0);
         forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"));
    CASE(base, "manifest-invalid--key-twice",
         forge_edit(&f, BUNDLE_MANIFEST, "\"groups\":2", "\"groups\":2,\"groups\":2");
         SEAL);
    CASE(base, "manifest-invalid--serial-is-text", forge_manifest(&f, "serial", "\"1\""); SEAL);
    CASE(base, "manifest-invalid--negative-count", forge_edit(&f, BUNDLE_MANIFEST, "\"labels\":3,", "\"labels\":-3,");
         SEAL);
    CASE(base, "manifest-invalid--set-id", forge_manifest(&f, "set_id", "\"zz112233445566778899aabbccddeeff\""); SEAL);
    CASE(base, "manifest-invalid--encoding", forge_manifest(&f, "encoding", "\"xml\""); SEAL);
    CASE(base, "count-mismatch--manifest-labels",
         forge_edit(&f, BUNDLE_MANIFEST, "\"labels\":3,\"milestones\"", "\"labels\":4,\"milestones\"");
         SEAL);
    CASE(base, "count-mismatch--manifest-groups", forge_manifest(&f, "groups", "3"); SEAL);
    CASE(base, "count-mismatch--manifest-lacks-relation",
         forge_edit(&f, BUNDLE_MANIFEST, "\"labels\":3,\"milestones\"", "\"milestones\"");
         SEAL);
    CASE(base, "digest-mismatch--sums-of-another-size", SEAL; forge_manifest(&f, "size", "1");
         forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"));
}

static void sums(void)
{
    struct forge_member *s;
#define SUMS_CASE(name, from, to)                                                                                      \
    CASE(base, name, forge_edit(&f, BUNDLE_SUMS, from, to); forge_name_sums(&f);                                       \
         forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"))
    SUMS_CASE("sums-invalid--one-blank", "  index", " index");
    SUMS_CASE("sums-invalid--name-not-allowed", "  users.ndjson.zst", "  ../users.ndjson.zst");
    SUMS_CASE("sums-invalid--names-itself", "  users.ndjson.zst", "  SUMS");
    SUMS_CASE("member-missing--named-in-sums", "  users.ndjson.zst",
              "  users.ndjson.zst\n0000000000000000000000000000000000000000000000000000000000000000  "
              "groups/1/labels.ndjson.zst");
    CASE(base, "sums-invalid--no-line-feed", s = forge_find(&f, BUNDLE_SUMS); forge_put(s, s->data, s->len - 1);
         forge_name_sums(&f); forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"));
    CASE(base, "sums-invalid--upper-case-digest", s = forge_find(&f, BUNDLE_SUMS); memset(s->data, 'A', 1);
         forge_name_sums(&f); forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"));
    /* somebody changed a file and made SUMS anew, but cannot sign */
    CASE(base_files, "digest-mismatch--sums-rewritten", forge_find(&f, "groups/7/avatar/avatar.png")->data[0] ^= 1;
         forge_sums(&f));
    CASE(base, "digest-mismatch--sums-name-another-digest", s = forge_find(&f, BUNDLE_SUMS);
         s->data[0] = s->data[0] == '0' ? '1' : '0'; forge_name_sums(&f);
         forge_sign(&f, key, BUNDLE_MANIFEST ".minisig"));
}

static void indexes(void)
{
    size_t len;
    char *raw;
#define INDEX_CASE(name, from, to) CASE(base, name, forge_edit_index(&f, from, to); SEAL)
    INDEX_CASE("index-invalid--group-not-that-of-the-name", "\"group\":7,\"part\":0,\"path\":\"groups/7/labels",
               "\"group\":8,\"part\":0,\"path\":\"groups/7/labels");
    INDEX_CASE("index-invalid--relation", "\"relation\":\"labels\"", "\"relation\":\"badges\"");
    INDEX_CASE("index-invalid--unknown-entry", "\"entry\":\"member\"", "\"entry\":\"thing\"");
    INDEX_CASE("index-invalid--not-json", "{\"entry\":\"group\"", "\"entry\":\"group\"");
    INDEX_CASE("index-invalid--key-twice", "\"part\":0,", "\"part\":0,\"part\":0,");
    INDEX_CASE("index-invalid--second-root", "\"parent\":7", "\"parent\":null");
    INDEX_CASE("index-invalid--parent-unknown", "\"parent\":7", "\"parent\":9");
    INDEX_CASE("index-invalid--group-twice", "\"id\":12", "\"id\":7");
    INDEX_CASE("index-invalid--frame-offset", "\"frames\":[[0,", "\"frames\":[[1,");
    INDEX_CASE("index-invalid--path", "groups/7/labels.ndjson.zst", "groups/7/badges.ndjson.zst");
    INDEX_CASE("index-invalid--part", "\"part\":0,\"path\":\"groups/7/", "\"part\":1,\"path\":\"groups/7/");
    INDEX_CASE("count-mismatch--index-records", "\"records\":3", "\"records\":4");
    CASE(base, "index-invalid--no-line-feed-at-end", raw = forge_unpack(forge_find(&f, BUNDLE_INDEX), &len);
         forge_set_index(&f, raw, len - 1); free(raw); SEAL);
    CASE(base, "index-invalid--member-not-described", raw = forge_unpack(forge_find(&f, BUNDLE_INDEX), &len);
         char *line = strstr(raw, "{\"entry\":\"member\",\"frames\""); char *last = line;
         while ((line = strstr(line + 1, "{\"entry\":\"member\""))) last = line;
         forge_set_index(&f, raw, (size_t)(last - raw)); free(raw); SEAL);
    CASE(base, "bomb--index", raw = forge_unpack(forge_find(&f, BUNDLE_INDEX), &len); (void)len; free(raw);
         forge_manifest(&f, "raw", "10"); SEAL);
    CASE(base, "index-invalid--longer-than-announced", forge_manifest(&f, "raw", "99999"); SEAL);
    CASE(base, "limit--index-announced-huge", forge_manifest(&f, "raw", "9007199254740991"); SEAL);
    CASE(base, "frame-invalid--index-no-zstd", forge_put(forge_find(&f, BUNDLE_INDEX), "no zstd at all", 14); SEAL);
    CASE(base_parts, "index-invalid--part-missing", struct forge_member *m = NULL;
         for (size_t i = 0; i < f.n; i++) if (strstr(f.m[i].name, "labels.0001")) m = &f.m[i];
         char name[BUNDLE_NAME_MAX]; snprintf(name, sizeof name, "%s", m->name);
         char *line = forge_index_line(&f, name); char *with_lf = gs_asprintf("%s\n", line);
         forge_edit_index(&f, with_lf, ""); forge_del(&f, name); free(line); free(with_lf); SEAL);
}

/* A frame whose header says single segment and `content` bytes, with one raw block of `len` bytes behind it. */
static size_t fake_frame(unsigned char *out, uint64_t content, const char *block, size_t len)
{
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0};
    memcpy(out, magic, 5);
    for (int i = 0; i < 8; i++)
        out[5 + i] = (unsigned char)(content >> (8 * i));
    uint32_t head = 1 | (uint32_t)len << 3;
    for (int i = 0; i < 3; i++)
        out[13 + i] = (unsigned char)(head >> (8 * i));
    memcpy(out + 16, block, len);
    return 16 + len;
}

static void frames(void)
{
    unsigned char z[4096];
    size_t n;
    static const char rec[] = "{\"id\":1}\n";
    n = fake_frame(z, (uint64_t)1 << 40, rec, sizeof rec - 1);
    CASE(base, "bomb--frame-header-says-more", forge_set_records(&f, LABELS, (char *)z, n, sizeof rec - 1, 3); SEAL);
    n = fake_frame(z, 5, rec, 5);
    CASE(base, "frame-invalid--holds-less", forge_set_records(&f, LABELS, (char *)z, n, sizeof rec - 1, 3); SEAL);
    CASE(base, "frame-invalid--no-zstd", forge_set_records(&f, LABELS, "abcdefghijklmnop", 16, 30, 3); SEAL);
    n = fake_frame(z, sizeof rec - 1, rec, sizeof rec - 1);
    memcpy(z + n, "tail", 4);
    CASE(base, "frame-invalid--bytes-behind-the-frame",
         forge_set_records(&f, LABELS, (char *)z, n + 4, sizeof rec - 1, 1);
         forge_edit(&f, BUNDLE_MANIFEST, "\"labels\":3,", "\"labels\":1,"); SEAL);
    /* a window of 2 GiB: no single segment, window byte 0xa8, content size of 8 bytes */
    static const unsigned char head[] = {0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0xa8, 9, 0, 0, 0, 0, 0, 0, 0, 0x49, 0, 0};
    memcpy(z, head, sizeof head);
    memcpy(z + sizeof head, rec, sizeof rec - 1);
    CASE(base, "limit--huge-window",
         forge_set_records(&f, LABELS, (char *)z, sizeof head + sizeof rec - 1, sizeof rec - 1, 3);
         SEAL);
    CASE(base, "limit--frame-announced-huge", forge_set_records(&f, LABELS, (char *)z, n, (size_t)512 << 20, 3); SEAL);
    CASE(base, "limit--member-announced-huge", forge_set_records(&f, LABELS, (char *)z, n, (size_t)2 << 30, 3); SEAL);
}

static void records(void)
{
    char deep[200];
    memset(deep, 0, sizeof deep);
    strncpy(deep, "{\"a\":", sizeof deep - 1);
    memset(deep + 5, '[', 40);
    memset(deep + 45, ']', 40);
    memcpy(deep + 85, "}\n", 3);
#define TEXT(name, text, count) CASE(base, name, forge_set_text(&f, LABELS, text, sizeof(text) - 1, count); SEAL)
    TEXT("json-invalid--no-json", "{\"id\":1}\n{\"id\":2,}\n{\"id\":3}\n", 3);
    TEXT("json-invalid--two-values-on-a-line", "{\"id\":1} {\"id\":2}\n{\"id\":2}\n{\"id\":3}\n", 3);
    TEXT("json-invalid--empty-line", "{\"id\":1}\n\n{\"id\":3}\n", 3);
    TEXT("json-utf8--in-text", "{\"id\":1}\n{\"t\":\"a\xff\"}\n{\"id\":3}\n", 3);
    TEXT("json-key-twice--in-record", "{\"id\":1}\n{\"a\":1,\"a\":2}\n{\"id\":3}\n", 3);
    TEXT("record-invalid--array", "{\"id\":1}\n[1]\n{\"id\":3}\n", 3);
    TEXT("record-invalid--no-line-feed-at-end", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}", 3);
    TEXT("count-mismatch--fewer-records", "{\"id\":1}\n{\"id\":2}\n", 3);
    TEXT("count-mismatch--more-records", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n", 3);
    CASE(base, "json-depth--in-record", char *t = gs_asprintf("{}\n{}\n%s", deep);
         forge_set_text(&f, LABELS, t, strlen(t), 3); free(t); SEAL);
#define MP(name, text, count)                                                                                          \
    CASE(base_msgpack, name, forge_set_text(&f, LABELS_MP, text, sizeof(text) - 1, count); SEAL)
    MP("msgpack-invalid--array-of-2-to-the-32",
       "\x80\x80\x81\xa1"
       "a\xdd\xff\xff\xff\xff",
       3);
    MP("msgpack-invalid--map-of-2-to-the-32", "\x80\x80\xdf\xff\xff\xff\xff", 3);
    MP("msgpack-invalid--string-longer-than-the-data",
       "\x80\x80\x81\xa1"
       "a\xdb\xff\xff\xff\xff"
       "abc",
       3);
    MP("msgpack-invalid--float",
       "\x80\x80\x81\xa1"
       "a\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
       3);
    MP("msgpack-invalid--binary",
       "\x80\x80\x81\xa1"
       "a\xc4\x01x",
       3);
    MP("msgpack-invalid--key-is-a-number", "\x80\x80\x81\x01\x01", 3);
    MP("msgpack-invalid--unknown-extension",
       "\x80\x80\x81\xa1"
       "a\xd4\x05x",
       3);
    MP("msgpack-invalid--extension-is-no-number",
       "\x80\x80\x81\xa1"
       "a\xd4\x01x",
       3);
    MP("msgpack-invalid--cut",
       "\x80\x80\x81\xa1"
       "a",
       3);
    MP("record-invalid--msgpack-array", "\x80\x80\x91\x01", 3);
    MP("json-utf8--msgpack",
       "\x80\x80\x81\xa1"
       "a\xa1\xff",
       3);
    MP("json-key-twice--msgpack",
       "\x80\x80\x82\xa1"
       "a\x01\xa1"
       "a\x02",
       3);
    MP("count-mismatch--msgpack-trailing-record", "\x80\x80\x80\x80", 3);
    CASE(base_msgpack, "json-depth--msgpack", char *t = gs_asprintf("%c%c%ca", 0x80, 0x81, 0xa1); size_t at = 4;
         t = realloc(t, 100); memset(t + at, 0x91, 60); t[at + 60] = 1; memcpy(t + at + 61, "\x80", 1);
         forge_set_text(&f, LABELS_MP, t, at + 62, 3); free(t); SEAL);
    CASE(base_msgpack, "index-invalid--other-encoding", forge_manifest(&f, "encoding", "\"ndjson\""); SEAL);
}

/* Lines of a ledger that balances, to be put around the one that does not. */
#define L_FETCH(records)                                                                                               \
    "{\"announced\":3,\"bytes\":400,\"endpoint\":\"graphql:group.labels\",\"entry\":\"fetch\",\"group\":7,\"pages\":1,"  \
    "\"records\":" #records ",\"relation\":\"labels\",\"retries\":1,\"via\":\"api\",\"waits_ms\":20}\n"
#define L_RULE(rule, count)                                                                                            \
    "{\"count\":" #count ",\"entry\":\"left_out\",\"group\":7,\"relation\":\"labels\",\"rule\":\"" rule "\"}\n"
#define L_LABELS(announced, stored, left_out)                                                                          \
    "{\"announced\":" #announced ",\"entry\":\"relation\",\"group\":7,\"left_out\":" #left_out                          \
    ",\"relation\":\"labels\",\"stored\":" #stored "}\n"
#define L_TREE(stored, left_out)                                                                                       \
    "{\"announced\":1,\"entry\":\"relation\",\"group\":7,\"left_out\":" #left_out                                       \
    ",\"relation\":\"subgroups\",\"stored\":" #stored "}\n"
#define L_MILESTONES                                                                                                   \
    "{\"announced\":1,\"entry\":\"relation\",\"group\":12,\"left_out\":0,\"relation\":\"milestones\",\"stored\":1}\n"
#define L_EMPTY                                                                                                        \
    "{\"announced\":0,\"entry\":\"relation\",\"group\":12,\"left_out\":0,\"relation\":\"boards\",\"stored\":0}\n"
#define L_MARK(records)                                                                                                \
    "{\"entry\":\"watermark\",\"group\":7,\"highest_id\":9,\"newest\":null,\"records\":" #records                     \
    ",\"relation\":\"labels\",\"seen\":\"all\"}\n"
#define L_FILES(group, announced, records)                                                                             \
    "{\"announced\":" #announced ",\"bytes\":9,\"endpoint\":\"export:uploads\",\"entry\":\"fetch\",\"group\":" #group \
    ",\"pages\":1,\"records\":" #records ",\"relation\":\"uploads\",\"retries\":0,\"via\":\"relations\",\"waits_ms\":0}\n"
#define L_FILE_RULE(count)                                                                                             \
    "{\"count\":" #count ",\"entry\":\"left_out\",\"group\":7,\"relation\":\"uploads\",\"rule\":\"upload-not-readable\"}\n"
#define L_CAPTURE(requests, repeated)                                                                                  \
    "{\"entry\":\"capture\",\"group\":0,\"kept\":0,\"longest_pause_ms\":0,\"passes\":1,\"relation\":\"\",\"repeated\":"  \
    #repeated ",\"requests\":" #requests "}\n"

static void books(void)
{
#define LEDGER(name, text, count)                                                                                      \
    CASE(base, name, forge_set_text(&f, BUNDLE_LEDGER, text, sizeof(text) - 1, count); SEAL)
    LEDGER("ledger-unbalanced--stored", L_LABELS(4, 4, 0) L_MILESTONES, 2);
    LEDGER("ledger-unbalanced--announced", L_RULE("invalid-record", 1) L_LABELS(9, 3, 1) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--no-rule", L_LABELS(4, 3, 1) L_MILESTONES, 2);
    LEDGER("ledger-unbalanced--rule-of-values-only", L_RULE("secret-field", 1) L_LABELS(4, 3, 1) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--rule-not-in-balance", L_RULE("duplicate-record", 2) L_LABELS(3, 3, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--came-more", L_FETCH(5) L_LABELS(3, 3, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--came-less", L_FETCH(2) L_LABELS(3, 3, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--came-what-was-not-given",
           L_FETCH(4) L_RULE("truncated-by-server", 1) L_LABELS(4, 3, 1) L_MILESTONES, 4);
    LEDGER("ledger-unbalanced--relation-twice", L_LABELS(3, 3, 0) L_LABELS(3, 3, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--empty-relation-twice", L_LABELS(3, 3, 0) L_EMPTY L_EMPTY L_MILESTONES, 4);
    LEDGER("ledger-unbalanced--stored-elsewhere",
           L_LABELS(2, 2, 0) "{\"announced\":2,\"entry\":\"relation\",\"group\":12,\"left_out\":0,"
                             "\"relation\":\"milestones\",\"stored\":2}\n", 2);
    LEDGER("ledger-unbalanced--relation-missing", L_LABELS(3, 3, 0), 1);
    LEDGER("ledger-unbalanced--order", L_MILESTONES L_LABELS(3, 3, 0), 2);
    LEDGER("ledger-unbalanced--subgroups", L_LABELS(3, 3, 0) L_TREE(2, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--subgroups-announced", L_LABELS(3, 3, 0) L_TREE(0, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--more-pages-than-requests", L_CAPTURE(0, 1) L_FETCH(3) L_LABELS(3, 3, 0) L_MILESTONES, 4);
    LEDGER("ledger-unbalanced--more-retries-than-repeated", L_CAPTURE(9, 0) L_FETCH(3) L_LABELS(3, 3, 0) L_MILESTONES, 4);
    LEDGER("ledger-unbalanced--capture-twice", L_CAPTURE(9, 1) L_CAPTURE(9, 1) L_LABELS(3, 3, 0) L_MILESTONES, 4);
    LEDGER("ledger-unbalanced--changed-elsewhere",
           "{\"after\":\"4\",\"before\":\"3\",\"entry\":\"changed\",\"group\":7,\"relation\":\"badges\"}\n"
           L_LABELS(9, 3, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--more-seen-than-stored",
           L_LABELS(3, 3, 0) L_MARK(4) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--files-announced", L_LABELS(3, 3, 0) L_FILES(7, 4, 0) L_MILESTONES, 3);
    LEDGER("ledger-unbalanced--files-announced-by-rule", L_LABELS(3, 3, 0) L_FILES(7, 4, 0) L_FILE_RULE(3) L_MILESTONES, 4);
    LEDGER("ledger-unbalanced--files-that-are-not-there", L_LABELS(3, 3, 0) L_FILES(7, 1, 1) L_MILESTONES, 3);
    CASE(base_files, "ledger-unbalanced--files-of-no-line",
         forge_set_text(&f, BUNDLE_LEDGER, L_FILES(12, 0, 0), sizeof(L_FILES(12, 0, 0)) - 1, 1); SEAL);
    LEDGER("record-invalid--ledger-negative", L_LABELS(-1, 3, 0) L_MILESTONES, 2);
    LEDGER("record-invalid--ledger-rule-without-count",
           "{\"entry\":\"left_out\",\"group\":7,\"relation\":\"labels\",\"rule\":\"invalid-record\"}\n" L_LABELS(3, 3, 0)
           L_MILESTONES, 3);
    LEDGER("record-invalid--ledger-without-counts", "{\"entry\":\"relation\",\"group\":7,\"relation\":\"labels\"}\n",
           1);
    LEDGER("record-invalid--ledger-without-entry", "{\"group\":7,\"relation\":\"labels\"}\n", 1);
}

/* Every kind of line, and all equations hold. */
static void valid_books(void)
{
    struct forge f;
    static const char full[] =
        L_CAPTURE(2, 1) L_FETCH(4) L_RULE("duplicate-record", 1) L_RULE("secret-field", 7) L_RULE("truncated-by-server", 2)
        "{\"count\":3,\"entry\":\"lost\",\"group\":7,\"relation\":\"labels\",\"rule\":\"label-times-not-readable\"}\n"
        "{\"count\":8,\"entry\":\"left_out\",\"group\":7,\"relation\":\"labels\",\"rule\":\"rule-of-a-later-version\"}\n"
        L_LABELS(6, 3, 3) L_MARK(3) L_TREE(1, 0) L_FILES(7, 4, 0) L_FILE_RULE(4) L_MILESTONES;
    forge_load(&f, base.data, base.len);
    forge_set_text(&f, BUNDLE_LEDGER, full, sizeof full - 1, 13);
    forge_seal(&f, key);
    pack("valid", "books", &f);
}

static void valid(void)
{
    struct forge f;
    struct gs_buf b;
    char *dir = gs_asprintf("%s/stage", root_dir), *path = gs_asprintf("%s/valid/empty-group.gsnap", root_dir);
    struct bundle_writer *w;
    struct bundle_meta meta = {.set_id = "ffeeddccbbaa99887766554433221100",
                               .serial = 2,
                               .created_at_ms = 1735689600000,
                               .enterprise = -1,
                               .via = "archive"};
    save("valid", "ndjson", base.data, base.len);
    save("valid", "ndjson-with-files", base_files.data, base_files.len);
    save("valid", "ndjson-in-parts", base_parts.data, base_parts.len);
    save("valid", "msgpack", base_msgpack.data, base_msgpack.len);
    forge_load(&f, base.data, base.len);
    forge_edit(&f, BUNDLE_MANIFEST, "\"optional\":[]", "\"optional\":[\"receipt\"],\"zz\":{\"later\":[1,2]}");
    forge_edit_index(&f, "\"entry\":\"group\",", "\"entry\":\"group\",\"later\":true,");
    forge_seal(&f, key);
    pack("valid", "unknown-optional-fields", &f);
    forge_load(&f, base.data, base.len);
    struct sign_pubkey pk;
    char hex[SIGN_KEYID_HEX], name[96];
    sign_seckey_public(other, &pk);
    sign_keyid_hex(pk.id, hex);
    snprintf(name, sizeof name, BUNDLE_MANIFEST ".%s.minisig", hex);
    forge_sign(&f, other, name);
    pack("valid", "two-signatures", &f);
    forge_load(&f, base.data, base.len);
    static const char changed[] =
        "{\"after\":\"4\",\"before\":\"3\",\"entry\":\"changed\",\"group\":7,\"relation\":\"labels\"}\n"
        "{\"announced\":9,\"entry\":\"relation\",\"group\":7,\"left_out\":1,\"relation\":\"labels\",\"stored\":3}\n"
        "{\"announced\":1,\"entry\":\"relation\",\"group\":12,\"left_out\":0,\"relation\":\"milestones\",\"stored\":1}\n";
    forge_set_text(&f, BUNDLE_LEDGER, changed, sizeof changed - 1, 3);
    forge_seal(&f, key);
    pack("valid", "changed-source", &f);
    valid_books();
    FORGE_OK(bundle_writer_new(dir, NULL, &w, err) || bundle_writer_group(w, 3, 0, "empty", err));
    const struct sign_seckey *k = key;
    FORGE_OK(bundle_writer_finish(w, &meta, &k, 1, path, true, err));
    bundle_writer_free(w);
    (void)b;
    free(dir);
    free(path);
}

int main(int argc, char **argv)
{
    struct sign_pubkey pk;
    if (argc != 2) {
        fprintf(stderr, "usage: make-golden FOLDER\n");
        return 2;
    }
    root_dir = argv[1];
    FORGE_OK(gs_secret_init(err));
    char *v = gs_asprintf("%s/valid", root_dir), *i = gs_asprintf("%s/invalid", root_dir),
         *p = gs_asprintf("%s/golden.pub", root_dir);
    FORGE_OK(gs_mkdir(v, err) || gs_mkdir(i, err));
    key = forge_key("groupsnap golden corpus");
    other = forge_key("groupsnap golden corpus, somebody else");
    sign_seckey_public(key, &pk);
    FORGE_OK(sign_pubkey_write(&pk, p, true, err));
    make_base(&(struct forge_base){.encoding = RECORD_NDJSON}, &base);
    make_base(&(struct forge_base){.encoding = RECORD_NDJSON, .files = true}, &base_files);
    make_base(&(struct forge_base){.encoding = RECORD_NDJSON, .parts = true}, &base_parts);
    make_base(&(struct forge_base){.encoding = RECORD_MSGPACK}, &base_msgpack);
    valid();
    damaged();
    members();
    signatures();
    manifests();
    sums();
    indexes();
    frames();
    records();
    books();
    gs_buf_release(&base);
    gs_buf_release(&base_files);
    gs_buf_release(&base_parts);
    gs_buf_release(&base_msgpack);
    sign_seckey_free(key);
    sign_seckey_free(other);
    free(v);
    free(i);
    free(p);
    return 0;
}
