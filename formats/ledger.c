#include "ledger.h"

#include "libcommon/clock.h"
#include "libcommon/json.h"
#include "libcommon/json_scan.h"
#include "libcommon/mp.h"
#include "libcommon/utf8.h"

#include <string.h>
#include <strings.h>

/* ---- rules ---- */

const struct ledger_rule ledger_rules[] = {
    /* left out */
    {"secret-field", "a token, password or other secret that the answer or export contained is not carried", false},
    {"invalid-record", "the source gave a record that is no valid JSON object; it is not carried", true},
    {"oversize-record", "the record is larger than any GitLab could read again; it is not carried", true},
    {"oversize-file", "the file is larger than the limit; it is not carried", false},
    {"file-name", "the file has a name that not every disk can hold; it is not carried", false},
    {"file-kind", "an archive of the source holds a link, a pipe or a device among the files; it is not carried", false},
    {"boards-hidden",
     "without a licence for several boards, the API shows one board of a group; others that exist are not carried", false},
    {"file-not-readable", "the file could not be read from the source", false},
    {"avatar-not-readable", "the avatar of the group could not be read from the source", false},
    {"upload-not-readable", "the content of an uploaded file could not be read from the source", false},
    {"pending-invitation", "an invitation by e-mail that nobody has accepted is not carried", false},
    {"access-request", "a request for access that nobody has granted is not carried", false},
    {"inherited-record", "the record belongs to an ancestor group and is carried there, or lies outside the tree", true},
    {"duplicate-record", "the source gave the same record twice, by its id; it is carried once", true},
    {"group-excluded", "the group was left out because the command line says so", false},
    {"relation-excluded", "the relation was left out because the command line says so", false},
    {"group-not-visible", "a subgroup exists that the token's user may not see", true},
    {"marked-for-deletion", "the group is marked for deletion at the source", false},
    {"wiki-not-carried", "group wikis are git repositories and are not carried", false},
    {"projects-not-carried", "projects are not part of a group bundle", false},
    {"archive-extra-file", "the archive holds a file that is not part of a group export", false},
    {"redacted-record", "the record was withheld by a policy when the bundle was redacted", true},
    {"redacted-value", "a part of records was withheld by a policy when the bundle was redacted", false},
    {"redacted-file", "the file was withheld by a policy when the bundle was redacted", false},
    /* lost: carried, but poorer than at the source */
    {"relation-not-read", "the relation was not read at all", false},
    {"attribute-not-readable", "the API of this server does not show the attribute", false},
    {"timestamps-not-readable", "the API does not show when the record was made or changed", false},
    {"events-not-readable", "the API does not show the events of the record", false},
    {"notes-not-readable", "the comments of the record could not be read", false},
    {"emoji-not-readable", "the emoji reactions of the record could not be read", false},
    {"label-times-not-readable", "REST does not show when a label was made or changed, and GraphQL could not be asked", false},
    {"badge-times-not-readable", "the API does not show when a badge was made or changed", false},
    {"board-times-not-readable", "the API does not show when a board was made or changed", false},
    {"board-scope-not-readable", "the scope of the board (iteration, cadence) could not be read", false},
    {"board-lists-hidden", "REST does not show the lists Open and Closed of a board", false},
    {"cadence-not-readable", "the settings of an iteration cadence could not be read; its iterations are carried", false},
    {"iteration-title-not-exported", "the export has no titles of iterations", false},
    {"cadence-settings-not-exported", "the export has no settings for the automation of an iteration cadence", false},
    {"epic-parent-not-visible", "the parent of the epic lies where the token's user may not look", false},
    {"epic-boards-not-readable", "the epic boards, or the order of epics in them, could not be read", false},
    {"member-email-not-readable",
     "the public e-mail address of the user could not be read: he can only be matched by --user-map", false},
    {"user-not-readable", "the user could not be read: he can only be matched by --user-map", false},
    {"user-deleted", "the user does not exist any more (ghost user)", false},
    {"custom-role", "the member has a custom role, which is carried by name only", false},
    {"saved-replies-not-exported", "saved replies are not part of any export", false},
    {"custom-emoji-not-exported", "custom emoji are not part of any export", false},
    {"custom-fields-not-exported", "custom fields of work items are not part of any export", false},
    {"ci-variables-not-carried", "CI/CD variables are secrets and are not carried", false},
    {"webhooks-not-carried", "webhooks are addresses and secrets of the source network and are not carried", false},
    {"deploy-tokens-not-carried", "deploy tokens are secrets and are not carried", false},
    {"push-rules-not-carried", "push rules are not carried", false},
    {"shares-not-carried", "the group is shared with other groups, which are named and not loaded", false},
    {"saml-ldap-not-carried", "links to SAML and LDAP groups belong to the source network and are not loaded", false},
    {"feature-unlicensed", "the licence of the source does not include the feature, so there is nothing to read", false},
    {"feature-too-old", "the version of the source does not have the feature", false},
    {"forbidden", "the token's user may not read it", false},
    {"server-failed", "the server failed again and again to give it", false},
    {"source-changed", "the source changed while it was read", false},
    {"watermark-not-readable",
     "the source could not be looked at again after it was read: a change meanwhile would not be known", false},
    {"truncated-by-server", "the server gave fewer records than it announced", true},
    {NULL, NULL, false},
};

const struct ledger_rule *ledger_rule_find(const char *name)
{
    for (const struct ledger_rule *r = ledger_rules; r->name; r++)
        if (strcmp(r->name, name) == 0)
            return r;
    return NULL;
}

/* ---- lines: keys in the order of their bytes, as canonical JSON has them ---- */

static void kcount(struct gs_jw *w, const char *key, int64_t v)
{
    gs_jw_key(w, key);
    if (v < 0)
        gs_jw_null(w);
    else
        gs_jw_i64(w, v);
}

static void ku64(struct gs_jw *w, const char *key, uint64_t v)
{
    gs_jw_key(w, key);
    gs_jw_u64(w, v);
}

/*
 * Words of the other side: names of files, messages of servers, cut off at some length by whoever noted them. Nobody promised that
 * they are UTF-8, and a ledger line must be.
 */
static void ktext(struct gs_jw *w, const char *key, const char *text)
{
    size_t len = text ? strlen(text) : 0, n;
    gs_autofree char *sound = NULL;
    if (text && !mp_utf8_ok(text, len)) {
        sound = strdup(text);
        if (!sound) {
            w->failed = gs_fail(w->err, GS_E_NOMEM, "no memory for a ledger line");
            return;
        }
        for (size_t i = 0; i < len; i += n ? n : 1)
            if ((n = gs_utf8_len((unsigned char *)sound + i, len - i)) == 0)
                sound[i] = '?';
        text = sound;
    }
    gs_jw_kstr(w, key, text);
}

int ledger_fetch_line(const struct ledger_fetch *f, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    kcount(&w, "announced", f->announced);
    ku64(&w, "bytes", f->bytes);
    gs_jw_kstr(&w, "endpoint", f->endpoint);
    gs_jw_kstr(&w, "entry", "fetch");
    gs_jw_ki64(&w, "group", f->group_id);
    ku64(&w, "pages", f->pages);
    ku64(&w, "records", f->records);
    gs_jw_kstr(&w, "relation", f->relation);
    ku64(&w, "retries", f->retries);
    gs_jw_kstr(&w, "via", f->via);
    ku64(&w, "waits_ms", f->waits_ms);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_relation_line(int64_t group_id, const char *relation, int64_t announced, uint64_t stored, uint64_t left_out,
                         struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    kcount(&w, "announced", announced);
    gs_jw_kstr(&w, "entry", "relation");
    gs_jw_ki64(&w, "group", group_id);
    ku64(&w, "left_out", left_out);
    gs_jw_kstr(&w, "relation", relation);
    ku64(&w, "stored", stored);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_rule_line(const char *entry, int64_t group_id, const char *relation, const char *rule, const char *what,
                     uint64_t count, const char *detail, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    if (strcmp(entry, "left_out") != 0 && strcmp(entry, "lost") != 0)
        return gs_fail(err, GS_E_INTERNAL, "the ledger knows no entry '%s' with a rule", entry);
    if (!ledger_rule_find(rule))
        return gs_fail(err, GS_E_INTERNAL, "the ledger knows no rule '%s'", rule);
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    ku64(&w, "count", count);
    if (detail)
        ktext(&w, "detail", detail);
    gs_jw_kstr(&w, "entry", entry);
    gs_jw_ki64(&w, "group", group_id);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_kstr(&w, "rule", rule);
    if (what)
        ktext(&w, "what", what);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_fallback_line(int64_t group_id, const char *relation, const char *from, const char *to, const char *why,
                         struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "entry", "fallback");
    gs_jw_kstr(&w, "from", from);
    gs_jw_ki64(&w, "group", group_id);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_kstr(&w, "to", to);
    ktext(&w, "why", why);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_changed_line(int64_t group_id, const char *relation, const char *before, const char *after,
                        struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    ktext(&w, "after", after);
    ktext(&w, "before", before);
    gs_jw_kstr(&w, "entry", "changed");
    gs_jw_ki64(&w, "group", group_id);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_watermark_line(int64_t group_id, const char *relation, uint64_t records, int64_t highest_id, int64_t newest_s,
                          const char *seen, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    char time[GS_TIME_LEN];
    gs_time_format(newest_s * 1000, time);
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "entry", "watermark");
    gs_jw_ki64(&w, "group", group_id);
    kcount(&w, "highest_id", highest_id ? highest_id : -1);
    gs_jw_kstr(&w, "newest", newest_s ? time : NULL);
    ku64(&w, "records", records);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_kstr(&w, "seen", seen);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_settled_line(int64_t group_id, const char *relation, unsigned pass, const char *before, const char *after,
                        struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    ktext(&w, "after", after);
    ktext(&w, "before", before);
    gs_jw_kstr(&w, "entry", "settled");
    gs_jw_ki64(&w, "group", group_id);
    gs_jw_ki64(&w, "pass", pass);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int ledger_capture_line(const struct ledger_capture *c, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "entry", "capture");
    gs_jw_ki64(&w, "group", 0);
    ku64(&w, "kept", c->kept);
    gs_jw_ki64(&w, "longest_pause_ms", c->longest_pause_ms);
    gs_jw_ki64(&w, "passes", c->passes);
    gs_jw_kstr(&w, "relation", "");
    ku64(&w, "repeated", c->repeated);
    ku64(&w, "requests", c->requests);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

/* ---- secrets ---- */

/* Of a letter, before a comparison of all: this is asked about every key of every record. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool eq(const char *key, size_t len, const char *what)
{
    return len > 0 && lower(key[0]) == what[0] && len == strlen(what) && strncasecmp(key, what, len) == 0;
}

static bool starts(const char *key, size_t len, const char *what)
{
    size_t n = strlen(what);
    return len >= n && strncasecmp(key, what, n) == 0;
}

static bool ends(const char *key, size_t len, const char *what)
{
    size_t n = strlen(what);
    return len >= n && n > 0 && lower(key[len - 1]) == what[n - 1] && strncasecmp(key + len - n, what, n) == 0;
}

/* `word` as a whole word between underscores, dashes and the ends, or as a hump of a camelCase name. */
static bool has_word(const char *key, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++) {
        if (lower(key[i]) != word[0] || strncasecmp(key + i, word, n) != 0)
            continue;
        bool left = i == 0 || key[i - 1] == '_' || key[i - 1] == '-' || (key[i] >= 'A' && key[i] <= 'Z');
        bool right = i + n == len || key[i + n] == '_' || key[i + n] == '-' || (key[i + n] >= 'A' && key[i + n] <= 'Z');
        if (left && right)
            return true;
    }
    return false;
}

/* What is said about a secret, and is none: when it ends, whether there is one, which one it is. */
static bool about_a_secret(const char *key, size_t len)
{
    static const char *const tails[] = {"_at",
                                        "_on",
                                        "_id",
                                        "_ids",
                                        "_count",
                                        "_enabled",
                                        "_enforced",
                                        "_required",
                                        "_expires",
                                        "_expired",
                                        "_lifetime",
                                        "_type",
                                        "_name",
                                        "_scopes",
                                        "_present",
                                        "_set",
                                        "_level",
                                        "_policy",
                                        "_length",
                                        "_in_days",
                                        "_interval",
                                        "_allowed",
                                        "_disabled",
                                        "_access",
                                        "_detection_enabled",
                                        "_revoked",
                                        "_active",
                                        "_automatically_set"};
    for (size_t i = 0; i < GS_COUNT(tails); i++)
        if (ends(key, len, tails[i]))
            return true;
    return false;
}

bool ledger_secret_key(const char *key, size_t len)
{
    static const char *const exact[] = {"runners_token",
                                        "runners_token_encrypted",
                                        "saml_discovery_token",
                                        "invite_token",
                                        "token",
                                        "tokens",
                                        "private_token",
                                        "access_token",
                                        "password",
                                        "encrypted_password",
                                        "otp_secret",
                                        "authorization",
                                        "ip_restriction_token",
                                        "private_key",
                                        "ssh_key",
                                        "incoming_email_token",
                                        "feed_token",
                                        "static_object_token",
                                        "reset_password_token",
                                        "confirmation_token",
                                        "unlock_token",
                                        "secret",
                                        "secrets",
                                        "credentials",
                                        "passphrase",
                                        "api_key",
                                        "apikey",
                                        "client_secret",
                                        "webhook_token",
                                        "hook_token"};
    static const char *const words[] = {"token",  "tokens",     "secret",     "secrets",     "password",
                                        "passwd", "passphrase", "credential", "credentials", "apikey"};
    for (size_t i = 0; i < GS_COUNT(exact); i++)
        if (eq(key, len, exact[i]))
            return true;
    if (about_a_secret(key, len))
        return false;
    if (starts(key, len, "encrypted_") || ends(key, len, "_encrypted") || ends(key, len, "_private_key") ||
        ends(key, len, "_api_key") || ends(key, len, "_digest") || ends(key, len, "_ciphertext"))
        return true;
    for (size_t i = 0; i < GS_COUNT(words); i++)
        if (has_word(key, len, words[i]))
            return true;
    return false;
}

/* A value that can be a secret: text that is not empty, a number, or anything that holds such. Booleans never are. */
static bool holds_something(yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *e;
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_STR:
        return yyjson_get_len(v) > 0;
    case YYJSON_TYPE_RAW:
    case YYJSON_TYPE_NUM:
        return true;
    case YYJSON_TYPE_ARR:
        yyjson_arr_foreach(v, i, max, e) if (holds_something(e)) return true;
        return false;
    case YYJSON_TYPE_OBJ:
        yyjson_obj_foreach(v, i, max, k, e) if (holds_something(e)) return true;
        return false;
    default:
        return false;
    }
}

struct withhold {
    void (*seen)(void *cookie, const char *key_path);
    void *cookie;
    bool changed;
    struct gs_buf *path;
    struct gs_err *err;
};

static bool is_secret(yyjson_val *k, yyjson_val *v)
{
    return ledger_secret_key(yyjson_get_str(k), yyjson_get_len(k)) && holds_something(v);
}

/* Is there any at all? Most records hold none, and then nothing is written. */
static bool any_secret(yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *e;
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, max, e) if (any_secret(e)) return true;
    } else if (yyjson_is_obj(v)) {
        yyjson_obj_foreach(v, i, max, k, e) if (is_secret(k, e) || any_secret(e)) return true;
    }
    return false;
}

static int copy_without(struct withhold *w, yyjson_val *v, struct gs_jw *out);

static int copy_object(struct withhold *w, yyjson_val *v, struct gs_jw *out)
{
    size_t i, max, from = w->path->len;
    yyjson_val *k, *e;
    gs_jw_obj(out);
    yyjson_obj_foreach(v, i, max, k, e)
    {
        if ((from && gs_buf_addc(w->path, '.', w->err)) ||
            gs_buf_add(w->path, yyjson_get_str(k), yyjson_get_len(k), w->err))
            return -1;
        if (is_secret(k, e)) {
            w->changed = true;
            if (w->seen)
                w->seen(w->cookie, gs_buf_str(w->path));
        } else {
            /* gs_jw_key() takes text without NUL; a key with one is written by hand */
            gs_autobuf key;
            gs_buf_init(&key, SIZE_MAX / 4);
            if (gs_json_quote(yyjson_get_str(k), yyjson_get_len(k), &key, w->err))
                return -1;
            gs_jw_raw(out, gs_buf_str(&key), key.len);
            if (!out->failed)
                out->failed = gs_buf_addc(out->out, ':', w->err);
            out->after_key = 1;
            if (copy_without(w, e, out))
                return -1;
        }
        w->path->len = from;
        w->path->data[from] = 0;
    }
    gs_jw_end(out);
    return 0;
}

static int copy_without(struct withhold *w, yyjson_val *v, struct gs_jw *out)
{
    size_t i, max;
    yyjson_val *e;
    if (yyjson_is_obj(v))
        return copy_object(w, v, out);
    if (!yyjson_is_arr(v)) {
        gs_jw_val(out, v);
        return 0;
    }
    gs_jw_arr(out);
    yyjson_arr_foreach(v, i, max, e) if (copy_without(w, e, out)) return -1;
    gs_jw_end(out);
    return 0;
}

static uint8_t classify(const char *key, size_t len)
{
    return ledger_secret_key(key, len);
}

static bool may_be_secret(void *cookie, const char *key, size_t len, const char *value, size_t left)
{
    return gs_key_class(cookie, key, len, classify) != 0;
}

bool ledger_quick(const char *json, size_t len, size_t max_bytes, unsigned max_depth)
{
    static _Thread_local struct gs_key_cache cache;
    return len > 0 && len <= max_bytes && gs_json_scan(json, len, max_depth, may_be_secret, &cache) == len;
}

int ledger_withhold(const char *json, size_t len, void (*seen)(void *cookie, const char *key_path), void *cookie,
                    bool *out_changed, struct gs_buf *out_json, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.raw_numbers = true, .max_depth = GS_JSON_MAX_DEPTH - 2};
    *out_changed = false;
    if (gs_json_parse(json, len, &o, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!any_secret(root))
        return 0;
    gs_autobuf path;
    struct withhold w = {.seen = seen, .cookie = cookie, .path = &path, .err = err};
    struct gs_jw jw;
    size_t from = out_json->len;
    gs_buf_init(&path, (size_t)64 << 20);
    if (gs_buf_reserve(&path, 64, err))
        return -1;
    gs_jw_init(&jw, out_json, 0, err);
    int r = copy_without(&w, root, &jw) || gs_jw_finish(&jw);
    if (r) {
        out_json->len = from;
        return -1;
    }
    *out_changed = w.changed;
    return 0;
}
