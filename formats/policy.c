#include "policy.h"

#include "libcommon/io.h"
#include "libcommon/json.h"

#include <pthread.h>
#include <regex.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SCHEMA "groupsnap.policy/1"
#define MAX_LIST 256
#define MAX_PATTERN 1024
#define MAX_REPEATS 1000          /* of all {n,m} of a pattern together */
#define WINDOW ((size_t)16 << 10) /* longest token that a built-in pattern finds */

struct list {
    char **v;
    size_t n;
};

struct pattern {
    char name[64];
    regex_t re;
};

struct policy {
    bool emails, confidential, secrets;
    bool has_size;
    uint64_t max_file;
    struct list relations, types;
    struct pattern *patterns;
    size_t n_patterns;
    uint8_t digest[POLICY_DIGEST_LEN];
};

/* ---- what looks like a secret ---- */

static const struct {
    const char *name, *needle, *re; /* the expression begins where the needle stands */
} builtin[] = {
    {"gitlab-token", "glpat-", "^glpat-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "gldt-", "^gldt-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glrt-", "^glrt-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glptt-", "^glptt-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glcbt-", "^glcbt-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glsoat-", "^glsoat-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glagent-", "^glagent-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "gloas-", "^gloas-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glft-", "^glft-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "glimt-", "^glimt-[0-9A-Za-z_-]{20,}([.][0-9A-Za-z_-]{2,})*"},
    {"gitlab-token", "GR1348941", "^GR1348941[0-9A-Za-z_-]{20,}"},
    {"aws-key", "AKIA", "^AKIA[0-9A-Z]{16,}"},
    {"aws-key", "ASIA", "^ASIA[0-9A-Z]{16,}"},
    {"github-token", "ghp_", "^ghp_[0-9A-Za-z]{36,}"},
    {"github-token", "gho_", "^gho_[0-9A-Za-z]{36,}"},
    {"github-token", "ghs_", "^ghs_[0-9A-Za-z]{36,}"},
    {"github-token", "ghu_", "^ghu_[0-9A-Za-z]{36,}"},
    {"github-token", "github_pat_", "^github_pat_[0-9A-Za-z_]{22,}"},
    {"slack-token", "xox", "^xox[abeoprs]-[0-9A-Za-z-]{10,}"},
    {"slack-webhook", "hooks.slack.com/services/", "^hooks\\.slack\\.com/services/[0-9A-Za-z/]{20,}"},
    {"google-key", "AIza", "^AIza[0-9A-Za-z_-]{35,}"},
    {"stripe-key", "sk_live_", "^sk_live_[0-9A-Za-z]{20,}"},
    {"npm-token", "npm_", "^npm_[0-9A-Za-z]{36,}"},
    {"age-key", "AGE-SECRET-KEY-1", "^AGE-SECRET-KEY-1[0-9A-Z]{40,}"},
    {"jwt", "eyJ", "^eyJ[0-9A-Za-z_-]{10,}\\.eyJ[0-9A-Za-z_-]{10,}\\.[0-9A-Za-z_-]{10,}"},
};
static regex_t builtin_re[GS_COUNT(builtin)];
static pthread_once_t builtin_once = PTHREAD_ONCE_INIT;

static void builtin_init(void)
{
    for (size_t i = 0; i < GS_COUNT(builtin); i++)
        if (regcomp(&builtin_re[i], builtin[i].re, REG_EXTENDED))
            abort();
}

/* ---- reading a policy ---- */

static int bad(struct gs_err *err, const char *what, const char *of)
{
    return gs_fail(err, GS_E_POLICY, "the policy: %s%s%.100s%s", what, of ? " '" : "", of ? of : "", of ? "'" : "");
}

static int only_keys(yyjson_val *o, const char *const *keys, const char *of, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(o))
        return bad(err, "no object", of);
    yyjson_obj_foreach(o, i, max, k, v)
    {
        const char *const *w = keys;
        while (*w && strcmp(*w, yyjson_get_str(k)) != 0)
            w++;
        if (!*w)
            return bad(err, "unknown key", yyjson_get_str(k));
    }
    return 0;
}

static int get_flag(yyjson_val *o, const char *key, bool *out, struct gs_err *err)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    if (v && !yyjson_is_bool(v))
        return bad(err, "neither true nor false:", key);
    *out = yyjson_is_true(v) || (!v && *out);
    return 0;
}

static int get_list(yyjson_val *o, const char *key, struct list *out, struct gs_err *err)
{
    yyjson_val *list = yyjson_obj_get(o, key), *v;
    size_t i, max;
    if (!list)
        return 0;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) > MAX_LIST)
        return bad(err, "no list of texts, or too long a one:", key);
    out->v = calloc(yyjson_arr_size(list) + 1, sizeof *out->v);
    if (!out->v)
        return gs_fail(err, GS_E_NOMEM, "no memory for a policy");
    yyjson_arr_foreach(list, i, max, v)
    {
        const char *s = yyjson_get_str(v);
        if (!s || !*s || strlen(s) != yyjson_get_len(v))
            return bad(err, "no list of texts:", key);
        out->v[out->n] = strdup(s);
        if (!out->v[out->n++])
            return gs_fail(err, GS_E_NOMEM, "no memory for a policy");
    }
    return 0;
}

/* regcomp() copies what is repeated: {1000}{1000} would be a million copies. */
static bool affordable(const char *re)
{
    uint64_t all = 1;
    for (const char *p = strchr(re, '{'); p; p = strchr(p + 1, '{')) {
        uint64_t most = 0;
        for (const char *d = p + 1; *d && *d != '}';) {
            uint64_t n = 0;
            while (*d >= '0' && *d <= '9' && n < 100000)
                n = n * 10 + (uint64_t)(*d++ - '0');
            most = n > most ? n : most;
            if (*d && *d != '}' && !(*d >= '0' && *d <= '9'))
                d++;
            else if (*d != '}')
                break;
        }
        all *= most ? most : 1;
        if (all > MAX_REPEATS)
            return false;
    }
    return true;
}

static int add_pattern(struct policy *p, const char *name, yyjson_val *v, struct gs_err *err)
{
    char why[200];
    const char *re = yyjson_get_str(v);
    struct pattern *x = &p->patterns[p->n_patterns];
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof x->name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != n)
        return bad(err, "the name of a pattern is made of a-z, 0-9 and '-':", name);
    if (!re || yyjson_get_len(v) > MAX_PATTERN || strlen(re) != yyjson_get_len(v))
        return bad(err, "no pattern, or too long a one:", name);
    if (!affordable(re))
        return bad(err, "a pattern that repeats too much:", name);
    int e = regcomp(&x->re, re, REG_EXTENDED);
    if (e) {
        regerror(e, &x->re, why, sizeof why);
        return gs_fail(err, GS_E_POLICY, "the policy: pattern '%s': %s", name, why);
    }
    memcpy(x->name, name, n + 1);
    p->n_patterns++;
    return regexec(&x->re, "", 0, NULL, 0) == 0 ? bad(err, "a pattern that fits the empty text:", name) : 0;
}

static int get_text(struct policy *p, yyjson_val *o, struct gs_err *err)
{
    static const char *const keys[] = {"secrets", "patterns", NULL};
    yyjson_val *all = yyjson_obj_get(o, "patterns"), *k, *v;
    size_t i, max;
    if (!o)
        return 0;
    if (only_keys(o, keys, "text", err) || get_flag(o, "secrets", &p->secrets, err))
        return -1;
    if (!all)
        return 0;
    if (!yyjson_is_obj(all) || yyjson_obj_size(all) > MAX_LIST)
        return bad(err, "no object of patterns, or too many:", "patterns");
    p->patterns = calloc(yyjson_obj_size(all) + 1, sizeof *p->patterns);
    if (!p->patterns)
        return gs_fail(err, GS_E_NOMEM, "no memory for a policy");
    yyjson_obj_foreach(all, i, max, k, v)
    {
        if (add_pattern(p, yyjson_get_str(k), v, err))
            return -1;
    }
    return 0;
}

static int get_files(struct policy *p, yyjson_val *o, struct gs_err *err)
{
    static const char *const keys[] = {"larger_than", "types", NULL};
    int64_t n;
    if (!o)
        return 0;
    if (only_keys(o, keys, "attachments", err) || get_list(o, "types", &p->types, err))
        return -1;
    if (!yyjson_obj_get(o, "larger_than"))
        return 0;
    if (!gs_json_i64(o, "larger_than", &n) || n < 0)
        return bad(err, "no number of bytes:", "larger_than");
    p->has_size = true;
    p->max_file = (uint64_t)n;
    return 0;
}

static int read_policy(struct policy *p, yyjson_val *root, struct gs_err *err)
{
    static const char *const keys[] = {"schema", "emails", "confidential", "relations", "attachments", "text", NULL};
    const char *schema = gs_json_str(root, "schema");
    if (!schema || strcmp(schema, SCHEMA) != 0)
        return bad(err, "it is not of schema", SCHEMA);
    p->secrets = true; /* unless it says otherwise */
    if (only_keys(root, keys, NULL, err) || get_flag(root, "emails", &p->emails, err) ||
        get_flag(root, "confidential", &p->confidential, err) || get_list(root, "relations", &p->relations, err) ||
        get_files(p, yyjson_obj_get(root, "attachments"), err) || get_text(p, yyjson_obj_get(root, "text"), err))
        return -1;
    for (size_t i = 0; i < p->relations.n; i++)
        if (strcmp(p->relations.v[i], "self") == 0)
            return bad(err, "the record of a group itself cannot be withheld:", "self");
    return 0;
}

int policy_parse(const char *text, size_t len, struct policy **out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    GS_AUTO(policy) p = calloc(1, sizeof *p);
    struct gs_json_opts o = {.max_bytes = POLICY_MAX, .max_depth = 8};
    struct gs_err why = {0};
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for a policy");
    if (gs_json_parse(text, len, &o, &doc, &why))
        return why.code == GS_E_NOMEM ? gs_fail(err, GS_E_NOMEM, "no memory for a policy") : bad(err, why.text, NULL);
    crypto_generichash(p->digest, sizeof p->digest, (const uint8_t *)text, len, NULL, 0);
    if (read_policy(p, yyjson_doc_get_root(doc), err))
        return -1;
    pthread_once(&builtin_once, builtin_init);
    *out = gs_steal(&p);
    return 0;
}

int policy_load(const char *path, struct policy **out, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, POLICY_MAX);
    if (gs_read_file(path, POLICY_MAX, &text, err))
        return err->code == GS_E_LIMIT ? gs_fail(err, GS_E_POLICY, "'%s' is too long for a policy", path) : -1;
    return policy_parse(gs_buf_str(&text), text.len, out, err) ? gs_wrap(err, "'%s'", path) : 0;
}

static void free_list(struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    free_list(&p->relations);
    free_list(&p->types);
    for (size_t i = 0; i < p->n_patterns; i++)
        regfree(&p->patterns[i].re);
    free(p->patterns);
    free(p);
}

/* ---- questions ---- */

const uint8_t *policy_digest(const struct policy *p)
{
    return p->digest;
}

bool policy_withholds_relation(const struct policy *p, const char *relation)
{
    for (size_t i = 0; i < p->relations.n; i++)
        if (strcmp(p->relations.v[i], relation) == 0)
            return true;
    return false;
}

bool policy_withholds_file(const struct policy *p, const char *name, uint64_t bytes)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < p->types.n; i++) {
        const char *t = p->types.v[i];
        size_t k = strlen(t);
        if (n > k && name[n - k - 1] == '.' && strcasecmp(name + n - k, t) == 0)
            return true;
    }
    return p->has_size && bytes > p->max_file;
}

bool policy_withholds_confidential(const struct policy *p)
{
    return p->confidential;
}

bool policy_withholds_key(const struct policy *p, const char *key)
{
    static const char *const keys[] = {"email",        "public_email",     "commit_email", "notification_email",
                                       "invite_email", "unconfirmed_email"};
    for (size_t i = 0; p->emails && i < GS_COUNT(keys); i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

/* ---- text ---- */

struct span {
    size_t from, to;
    const char *name;
};

/* How many bytes from `s` on fit an expression that begins with '^'; 0: none. */
static size_t fits(const regex_t *re, const char *s, size_t len)
{
    regmatch_t m = {.rm_so = 0, .rm_eo = (regoff_t)len};
    return regexec(re, s, 1, &m, REG_STARTEND) == 0 ? (size_t)m.rm_eo : 0;
}

static bool find_builtin(size_t i, const char *s, size_t len, size_t pos, struct span *out)
{
    size_t n = strlen(builtin[i].needle);
    for (size_t at = pos; at < len; at += n) {
        const char *hit = memmem(s + at, len - at, builtin[i].needle, n);
        if (!hit)
            return false;
        at = (size_t)(hit - s);
        size_t found = fits(&builtin_re[i], hit, len - at < WINDOW ? len - at : WINDOW);
        if (found) {
            *out = (struct span){at, at + found, builtin[i].name};
            return true;
        }
    }
    return false;
}

static bool find_pattern(const struct pattern *x, const char *s, size_t len, size_t pos, struct span *out)
{
    regmatch_t m = {.rm_so = (regoff_t)pos, .rm_eo = (regoff_t)len};
    if (regexec(&x->re, s, 1, &m, REG_STARTEND) || m.rm_eo <= m.rm_so)
        return false;
    *out = (struct span){(size_t)m.rm_so, (size_t)m.rm_eo, x->name};
    return true;
}

/* A private key in PEM, up to its end line or the end of the text. */
static bool find_pem(const char *s, size_t len, size_t pos, struct span *out)
{
    static const char begin[] = "-----BEGIN ", tail[] = "PRIVATE KEY-----", end[] = "-----END ";
    for (size_t at = pos; at < len;) {
        const char *b = memmem(s + at, len - at, begin, sizeof begin - 1);
        if (!b)
            return false;
        size_t from = (size_t)(b - s), look = len - from < 96 ? len - from : 96;
        const char *t = memmem(b, look, tail, sizeof tail - 1);
        at = from + sizeof begin - 1;
        if (!t)
            continue;
        const char *e = memmem(t, len - (size_t)(t - s), end, sizeof end - 1);
        const char *f = e ? memmem(e, len - (size_t)(e - s), tail, sizeof tail - 1) : NULL;
        *out = (struct span){from, f ? (size_t)(f - s) + sizeof tail - 1 : len, "private-key"};
        return true;
    }
    return false;
}

static bool in_local(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._%+-", c) != NULL;
}

static bool in_host(char c)
{
    return c && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-');
}

static bool find_email(const char *s, size_t len, size_t pos, struct span *out)
{
    for (size_t at = pos; at < len; at++) {
        const char *hit = memchr(s + at, '@', len - at);
        if (!hit)
            return false;
        size_t mid = (size_t)(hit - s), from = mid, to = mid + 1, dot = 0;
        at = mid;
        while (from > pos && s[from - 1] && in_local(s[from - 1]))
            from--;
        while (to < len && in_host(s[to])) {
            dot = s[to] == '.' ? to : dot;
            to++;
        }
        while (to > mid + 1 && (s[to - 1] == '.' || s[to - 1] == '-')) /* the end of a sentence */
            to--;
        for (dot = to; dot > mid + 1 && s[dot - 1] != '.';)
            dot--;
        /* a host of two parts at least, the last of two letters or more */
        if (from == mid || dot <= mid + 2 || to - dot < 2)
            continue;
        bool letters = true;
        for (size_t i = dot; i < to; i++)
            letters = letters && ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z');
        if (!letters)
            continue;
        *out = (struct span){from, to, "email"};
        return true;
    }
    return false;
}

enum { FIND_EMAIL, FIND_PEM, FIND_BUILTIN };
#define FINDERS (FIND_BUILTIN + GS_COUNT(builtin) + MAX_LIST)

/* What each way of looking found last: it is asked again only when that lies behind. */
struct finds {
    struct span at[FINDERS];
    enum { ASK, FOUND, NOTHING } state[FINDERS];
};

static bool ask(const struct policy *p, size_t i, const char *s, size_t len, size_t pos, struct span *out)
{
    if (i == FIND_EMAIL)
        return p->emails && find_email(s, len, pos, out);
    if (i == FIND_PEM)
        return p->secrets && find_pem(s, len, pos, out);
    i -= FIND_BUILTIN;
    if (i < GS_COUNT(builtin))
        return p->secrets && find_builtin(i, s, len, pos, out);
    return find_pattern(&p->patterns[i - GS_COUNT(builtin)], s, len, pos, out);
}

/* The one that begins first; of those that begin together the longest. */
static bool find_next(const struct policy *p, struct finds *f, const char *s, size_t len, size_t pos, struct span *out)
{
    size_t n = FIND_BUILTIN + GS_COUNT(builtin) + p->n_patterns;
    *out = (struct span){.name = NULL};
    for (size_t i = 0; i < n; i++) {
        if (f->state[i] == ASK || (f->state[i] == FOUND && f->at[i].from < pos))
            f->state[i] = ask(p, i, s, len, pos, &f->at[i]) ? FOUND : NOTHING;
        const struct span *x = &f->at[i];
        if (f->state[i] == FOUND && (!out->name || x->from < out->from || (x->from == out->from && x->to > out->to)))
            *out = *x;
    }
    return out->name != NULL;
}

int policy_text(const struct policy *p, const char *s, size_t len, void (*seen)(void *cookie, const char *name),
                void *cookie, bool *out_changed, struct gs_buf *out, struct gs_err *err)
{
    struct finds f;
    struct span span;
    size_t pos = 0;
    memset(f.state, 0, sizeof f.state);
    *out_changed = false;
    while (pos < len && find_next(p, &f, s, len, pos, &span)) {
        if (gs_buf_add(out, s + pos, span.from - pos, err) || gs_buf_addf(out, err, "[withheld: %s]", span.name))
            return -1;
        *out_changed = true;
        seen(cookie, span.name);
        pos = span.to;
    }
    return *out_changed ? gs_buf_add(out, s + pos, len - pos, err) : 0;
}
