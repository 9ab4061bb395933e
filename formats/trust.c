#include "trust.h"

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/io.h"
#include "libcommon/json.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_NOTE ((size_t)64 << 10)
#define SCHEMA "groupsnap.trust-key/1"

/* ---- NAME.trust ---- */

static int bad_note(struct gs_err *err, const char *path, const char *what)
{
    return gs_fail(err, GS_E_TRUST_STORE, "'%s': %s", path, what);
}

/* A time, or null: 0. */
static int note_time(yyjson_val *root, const char *key, const char *path, int64_t *out, struct gs_err *err)
{
    yyjson_val *v = yyjson_obj_get(root, key);
    struct gs_err why = {0};
    *out = 0;
    if (!v || yyjson_is_null(v))
        return 0;
    if (!yyjson_is_str(v) || gs_time_parse(yyjson_get_str(v), out, &why) || *out <= 0)
        return gs_fail(err, GS_E_TRUST_STORE, "'%s': '%s' is no time", path, key);
    return 0;
}

/* "x/NAME.pub" -> "x/NAME.trust"; NULL: the file is not called *.pub, or there is no memory. */
static char *note_path(const char *pub)
{
    size_t n = strlen(pub);
    if (n <= 4 || strcmp(pub + n - 4, ".pub") != 0)
        return NULL;
    return gs_asprintf("%.*s.trust", (int)(n - 4), pub);
}

/* What is said of the key in file `pub`; nothing is said when there is no such file. */
static int read_note(const char *pub, struct sign_pubkey *k, int64_t *out_added, struct gs_err *err)
{
    gs_autofree char *path = note_path(pub);
    gs_autobuf text;
    GS_AUTO(yyjson_doc) doc = NULL;
    struct stat st;
    *out_added = 0;
    gs_buf_init(&text, MAX_NOTE);
    if (!path || (lstat(path, &st) && errno == ENOENT))
        return 0;
    if (gs_read_file(path, MAX_NOTE, &text, err))
        return -1;
    struct gs_err why = {0};
    if (gs_json_parse(gs_buf_str(&text), text.len, NULL, &doc, &why))
        return bad_note(err, path, why.text);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *schema = gs_json_str(root, "schema"), *reason = gs_json_str(root, "reason");
    if (!schema || strcmp(schema, SCHEMA) != 0)
        return bad_note(err, path, "it is not of schema '" SCHEMA "'");
    if (note_time(root, "added_at", path, out_added, err) || note_time(root, "expires_at", path, &k->expires_ms, err) ||
        note_time(root, "revoked_at", path, &k->revoked_ms, err))
        return -1;
    if (k->revoked_ms && !reason)
        return bad_note(err, path, "a key that was revoked has no reason");
    snprintf(k->reason, sizeof k->reason, "%s", reason ? reason : "");
    return 0;
}

static void put_time(struct gs_jw *w, const char *key, int64_t ms)
{
    char time[GS_TIME_LEN];
    if (ms)
        gs_time_format(ms, time);
    gs_jw_kstr(w, key, ms ? time : NULL);
}

static int write_note(const char *path, const struct trust_key *k, struct gs_err *err)
{
    char hex[SIGN_KEYID_HEX];
    struct gs_jw w;
    gs_autobuf text;
    gs_buf_init(&text, MAX_NOTE);
    sign_keyid_hex(k->pub.id, hex);
    gs_jw_init(&w, &text, 2, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "schema", SCHEMA);
    gs_jw_kstr(&w, "key_id", hex);
    put_time(&w, "added_at", k->added_ms);
    put_time(&w, "expires_at", k->pub.expires_ms);
    put_time(&w, "revoked_at", k->pub.revoked_ms);
    gs_jw_kstr(&w, "reason", k->pub.revoked_ms ? k->pub.reason : NULL);
    gs_jw_end(&w);
    if (gs_jw_finish(&w) || gs_buf_addc(&text, '\n', err))
        return -1;
    return gs_write_file(path, gs_buf_str(&text), text.len, 0644, true, err);
}

/* ---- a set of keys ---- */

static bool same_key(const struct sign_pubkey *a, const struct sign_pubkey *b)
{
    return memcmp(a->key, b->key, sizeof a->key) == 0;
}

/* What is said of a key holds for all copies of it. */
static void limit_key(struct sign_pubkey *k, const struct sign_pubkey *by)
{
    if (by->revoked_ms && !k->revoked_ms) {
        k->revoked_ms = by->revoked_ms;
        memcpy(k->reason, by->reason, sizeof k->reason);
    }
    if (by->expires_ms && (!k->expires_ms || by->expires_ms < k->expires_ms))
        k->expires_ms = by->expires_ms;
}

static int take(struct sign_trust *t, const struct sign_pubkey *in, struct gs_err *err)
{
    struct sign_pubkey pk = *in;
    bool there = false;
    for (size_t i = 0; i < t->n; i++) {
        if (!same_key(&t->keys[i], &pk))
            continue;
        limit_key(&t->keys[i], &pk);
        limit_key(&pk, &t->keys[i]);
        there |= memcmp(t->keys[i].id, pk.id, sizeof pk.id) == 0;
    }
    if (there)
        return 0;
    struct sign_pubkey *k = realloc(t->keys, (t->n + 1) * sizeof *k);
    if (!k)
        return gs_fail(err, GS_E_NOMEM, "no memory for a public key");
    t->keys = k;
    t->keys[t->n++] = pk;
    return 0;
}

static int load_key(const char *path, struct sign_pubkey *out, int64_t *out_added, struct gs_err *err)
{
    return sign_pubkey_load(path, out, err) || read_note(path, out, out_added, err) ? -1 : 0;
}

static int pub_only(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 4 && strcmp(e->d_name + n - 4, ".pub") == 0;
}

/* Calls `each` with the path of every *.pub of a folder, by name. *out_n: how many there are. */
static int each_pub(const char *dir, int (*each)(void *cookie, const char *path, struct gs_err *err), void *cookie,
                    size_t *out_n, struct gs_err *err)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, pub_only, alphasort), r = 0;
    if (n < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "reading folder '%s'", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0) {
            gs_autofree char *path = gs_asprintf("%s/%s", dir, names[i]->d_name);
            r = path ? each(cookie, path, err) : gs_fail(err, GS_E_NOMEM, "no memory for a path");
        }
        free(names[i]);
    }
    free(names);
    *out_n = (size_t)n;
    return r;
}

static int take_file(void *cookie, const char *path, struct gs_err *err)
{
    struct sign_pubkey pk;
    int64_t added;
    return load_key(path, &pk, &added, err) || take(cookie, &pk, err) ? -1 : 0;
}

static int take_revoked(void *cookie, const char *path, struct gs_err *err)
{
    struct sign_pubkey pk;
    int64_t added;
    if (load_key(path, &pk, &added, err))
        return -1;
    return pk.revoked_ms ? take(cookie, &pk, err) : 0;
}

int sign_trust_add(struct sign_trust *t, const char *path_or_dir, struct gs_err *err)
{
    struct stat st;
    size_t n;
    if (stat(path_or_dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return take_file(t, path_or_dir, err);
    if (each_pub(path_or_dir, take_file, t, &n, err))
        return -1;
    return n ? 0 : gs_fail(err, GS_E_NO_TRUST, "folder '%s' holds no file *.pub", path_or_dir);
}

int sign_trust_add_revoked(struct sign_trust *t, const char *dir, struct gs_err *err)
{
    struct stat st;
    size_t n;
    if (stat(dir, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    return each_pub(dir, take_revoked, t, &n, err);
}

void sign_trust_release(struct sign_trust *t)
{
    free(t->keys);
    *t = (struct sign_trust){0};
}

/* ---- the store ---- */

bool trust_name_ok(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n <= TRUST_NAME_MAX && strchr(letters, name[0]) && strspn(name, all) == n;
}

static int store_add(void *cookie, const char *path, struct gs_err *err)
{
    struct trust_store *s = cookie;
    struct trust_key k = {0};
    const char *file = strrchr(path, '/') + 1;
    size_t n = strlen(file) - 4;
    if (n > TRUST_NAME_MAX)
        return gs_fail(err, GS_E_TRUST_STORE, "'%s': a name of more than %d characters", path, TRUST_NAME_MAX);
    memcpy(k.name, file, n);
    if (!trust_name_ok(k.name))
        return gs_fail(err, GS_E_TRUST_STORE, "'%s': names are made of letters, digits, '.', '_' and '-'", path);
    if (load_key(path, &k.pub, &k.added_ms, err))
        return -1;
    struct trust_key *keys = realloc(s->keys, (s->n + 1) * sizeof *keys);
    if (!keys)
        return gs_fail(err, GS_E_NOMEM, "no memory for a key");
    s->keys = keys;
    s->keys[s->n++] = k;
    return 0;
}

int trust_store_load(const char *dir, struct trust_store *out, struct gs_err *err)
{
    struct stat st;
    size_t n;
    *out = (struct trust_store){0};
    if (stat(dir, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    return each_pub(dir, store_add, out, &n, err);
}

void trust_store_release(struct trust_store *s)
{
    free(s->keys);
    *s = (struct trust_store){0};
}

const struct trust_key *trust_store_find(const struct trust_store *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->keys[i].name, name) == 0)
            return &s->keys[i];
    return NULL;
}

static int paths_of(const char *dir, const char *name, char **out_pub, char **out_note, struct gs_err *err)
{
    *out_pub = gs_asprintf("%s/%s.pub", dir, name);
    *out_note = gs_asprintf("%s/%s.trust", dir, name);
    return *out_pub && *out_note ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a path");
}

/* May `k` be written? *out_there: the same key stands under this name already. */
static int may_put(const struct trust_store *s, const struct trust_key *k, bool *out_there, struct gs_err *err)
{
    *out_there = false;
    for (size_t i = 0; i < s->n; i++)
        if (s->keys[i].pub.revoked_ms && same_key(&s->keys[i].pub, &k->pub))
            return gs_fail(err, GS_E_SIG_REVOKED, "the key stands in the store as '%s', and was revoked: %s",
                           s->keys[i].name, s->keys[i].pub.reason);
    for (size_t i = 0; i < s->n; i++) {
        bool name = strcmp(s->keys[i].name, k->name) == 0, key = same_key(&s->keys[i].pub, &k->pub);
        if (name && !key)
            return gs_fail(err, GS_E_EXISTS, "the store holds another key called '%s'", k->name);
        if (key && !name)
            return gs_fail(err, GS_E_EXISTS, "the store holds this key already, as '%s'", s->keys[i].name);
        *out_there |= name && key;
    }
    return 0;
}

static int put_key(const char *dir, const struct trust_key *k, bool there, struct gs_err *err)
{
    gs_autofree char *pub = NULL, *note = NULL;
    if (paths_of(dir, k->name, &pub, &note, err) || write_note(note, k, err))
        return -1;
    return there ? 0 : sign_pubkey_write(&k->pub, pub, false, err);
}

int trust_store_put(const char *dir, const struct trust_key *k, struct gs_err *err)
{
    struct trust_store s;
    bool there = false;
    int r = trust_store_load(dir, &s, err) || may_put(&s, k, &there, err) || gs_mkdirs(dir, 0700, err) ||
            put_key(dir, k, there, err);
    trust_store_release(&s);
    return r ? -1 : 0;
}

static int not_there(struct gs_err *err, const char *name, const char *dir)
{
    return gs_fail(err, GS_E_TRUST_NAME, "no key called '%s' is in the store '%s'", name, dir);
}

static int revoke_key(const char *dir, const struct trust_store *s, const char *name, const char *reason,
                      int64_t now_ms, struct gs_err *err)
{
    const struct trust_key *k = trust_store_find(s, name);
    if (!k)
        return not_there(err, name, dir);
    if (k->pub.revoked_ms)
        return gs_fail(err, GS_E_EXISTS, "the key '%s' was revoked before: %s", name, k->pub.reason);
    struct trust_key gone = *k;
    gone.pub.revoked_ms = now_ms;
    snprintf(gone.pub.reason, sizeof gone.pub.reason, "%s", reason);
    return put_key(dir, &gone, true, err);
}

int trust_store_revoke(const char *dir, const char *name, const char *reason, int64_t now_ms, struct gs_err *err)
{
    struct trust_store s;
    int r = trust_store_load(dir, &s, err) || revoke_key(dir, &s, name, reason, now_ms, err);
    trust_store_release(&s);
    return r ? -1 : 0;
}

static int remove_key(const char *dir, const struct trust_store *s, const char *name, bool revoked_too,
                      struct gs_err *err)
{
    gs_autofree char *pub = NULL, *note = NULL;
    const struct trust_key *k = trust_store_find(s, name);
    if (!k)
        return not_there(err, name, dir);
    if (k->pub.revoked_ms && !revoked_too)
        return gs_fail(err, GS_E_USAGE,
                       "the key '%s' was revoked (%s): once removed it would be a key like any other; say --revoked if "
                       "that is meant",
                       name, k->pub.reason);
    if (paths_of(dir, name, &pub, &note, err))
        return -1;
    if (unlink(pub))
        return gs_fail_sys(err, GS_E_IO, errno, "removing '%s'", pub);
    if (unlink(note) && errno != ENOENT)
        return gs_fail_sys(err, GS_E_IO, errno, "removing '%s'", note);
    return gs_sync_parent(pub, err);
}

int trust_store_remove(const char *dir, const char *name, bool revoked_too, struct gs_err *err)
{
    struct trust_store s;
    int r = trust_store_load(dir, &s, err) || remove_key(dir, &s, name, revoked_too, err);
    trust_store_release(&s);
    return r ? -1 : 0;
}
