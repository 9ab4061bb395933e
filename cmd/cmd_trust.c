/* trust: the keys that this user believes. */
#include "cmd/cli.h"
#include "formats/trust.h"
#include "libcommon/clock.h"

#include <string.h>
#include <unistd.h>

struct opts {
    struct cli_common c;
    const char *name, *expires, *reason, *store;
    bool revoked;
};

static const struct cli_opt opts[] = {
    {.name = "name",
     .letter = 'n',
     .type = CLI_STR,
     .offset = offsetof(struct opts, name),
     .arg = "NAME",
     .help = "add, revoke PUB: the name under which the key is kept (that of the file, without .pub)"},
    {.name = "expires",
     .type = CLI_STR,
     .offset = offsetof(struct opts, expires),
     .arg = "DATE",
     .help = "add: the key verifies nothing from this day (YYYY-MM-DD) or time (UTC) on; given for a key that is there "
             "it replaces its end"},
    {.name = "reason",
     .type = CLI_STR,
     .offset = offsetof(struct opts, reason),
     .arg = "TEXT",
     .help = "revoke: why; it is shown whenever a file turns up that the key signed"},
    {.name = "revoked",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, revoked),
     .help = "remove: also a key that was revoked"},
    {.name = "store",
     .type = CLI_STR,
     .offset = offsetof(struct opts, store),
     .arg = "DIR",
     .help = "another folder than that of this user ($XDG_CONFIG_HOME/groupsnap/trust, ~/.config/groupsnap/trust)"},
    {0},
};

struct work {
    struct cli *cli;
    const struct opts *o;
    const char *dir;
};

static const char *state_of(const struct sign_pubkey *k)
{
    return k->revoked_ms ? "revoked" : k->expires_ms && k->expires_ms <= gs_unix_ms() ? "expired" : "trusted";
}

/* ---- printing ---- */

static void json_time(struct gs_jw *w, const char *key, int64_t ms)
{
    char time[GS_TIME_LEN];
    if (ms)
        gs_time_format(ms, time);
    gs_jw_kstr(w, key, ms ? time : NULL);
}

static void json_key(struct gs_jw *w, const struct trust_key *k)
{
    char id[SIGN_KEYID_HEX], line[SIGN_PUBKEY_TEXT];
    sign_keyid_hex(k->pub.id, id);
    sign_pubkey_text(&k->pub, line);
    gs_jw_kstr(w, "name", k->name);
    gs_jw_kstr(w, "state", state_of(&k->pub));
    gs_jw_kstr(w, "key_id", id);
    gs_jw_kstr(w, "public_key", line);
    json_time(w, "added_at", k->added_ms);
    json_time(w, "expires_at", k->pub.expires_ms);
    json_time(w, "revoked_at", k->pub.revoked_ms);
    gs_jw_kstr(w, "reason", k->pub.revoked_ms ? cli_valid(k->pub.reason) : NULL);
}

static void print_key(struct cli *cli, const struct trust_key *k)
{
    char id[SIGN_KEYID_HEX], time[GS_TIME_LEN], line[SIGN_PUBKEY_TEXT];
    sign_keyid_hex(k->pub.id, id);
    sign_pubkey_text(&k->pub, line);
    cli_out(cli, "%-20s %s  %s", k->name, id, state_of(&k->pub));
    if (k->pub.revoked_ms) {
        gs_time_format(k->pub.revoked_ms, time);
        cli_out(cli, " on %.10s: %s", time, cli_safe(k->pub.reason));
    } else if (k->pub.expires_ms) {
        gs_time_format(k->pub.expires_ms, time);
        cli_out(cli, "%s%.16s", strcmp(state_of(&k->pub), "expired") == 0 ? " on " : " until ", time);
    }
    cli_out(cli, "\n%-20s %s\n", "", line);
}

/* The key as it stands in the store now. */
static int told(const struct work *w, const char *name, const char *did, struct gs_err *err)
{
    struct trust_store s;
    int r = trust_store_load(w->dir, &s, err);
    const struct trust_key *k = r ? NULL : trust_store_find(&s, name);
    if (!r && !k)
        r = gs_fail(err, GS_E_TRUST_NAME, "no key called '%s' is in the store '%s'", name, w->dir);
    if (!r && w->o->c.json) {
        struct gs_jw j;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&j, &buf, "trust", err);
        gs_jw_kstr(&j, "store", cli_valid(w->dir));
        gs_jw_kstr(&j, "did", did);
        json_key(&j, k);
        r = cli_json_end(w->cli, &j);
    } else if (!r) {
        print_key(w->cli, k);
    }
    trust_store_release(&s);
    return r ? -1 : 0;
}

/* ---- what is done ---- */

/* "x/alice.pub" -> "alice", or --name. */
static int name_for(const struct work *w, const char *path, char out[TRUST_NAME_MAX + 1], struct gs_err *err)
{
    const char *slash = strrchr(path, '/'), *from = w->o->name ? w->o->name : slash ? slash + 1 : path;
    size_t n = strlen(from);
    if (!w->o->name && n > 4 && strcmp(from + n - 4, ".pub") == 0)
        n -= 4;
    if (n > TRUST_NAME_MAX)
        return gs_fail(err, GS_E_USAGE, "a name has at most %d characters: choose one with --name", TRUST_NAME_MAX);
    memcpy(out, from, n);
    out[n] = 0;
    return trust_name_ok(out)
               ? 0
               : gs_fail(err, GS_E_USAGE, "'%s' is no name: letters, digits, '.', '_' and '-'; choose one with --name",
                         out);
}

static int add(const struct work *w, const char *path, struct gs_err *err)
{
    struct trust_key k = {.added_ms = gs_unix_ms()};
    struct gs_err why = {0};
    if (name_for(w, path, k.name, err) || sign_pubkey_load(path, &k.pub, err))
        return -1;
    if (w->o->expires && (gs_time_parse(w->o->expires, &k.pub.expires_ms, &why) || k.pub.expires_ms <= 0))
        return gs_fail(err, GS_E_USAGE,
                       "--expires '%s': a day such as 2027-12-31 is needed, or a time such as 2027-12-31T12:00:00Z",
                       w->o->expires);
    return trust_store_put(w->dir, &k, err) || told(w, k.name, "add", err) ? -1 : 0;
}

static int revoke_key(const struct work *w, const char *what, struct gs_err *err)
{
    struct trust_store s;
    struct trust_key k = {.added_ms = gs_unix_ms()};
    if (trust_store_load(w->dir, &s, err)) {
        trust_store_release(&s);
        return -1;
    }
    bool known = trust_store_find(&s, what) != NULL;
    if (!known && access(what, F_OK) == 0) { /* a key that is not in the store yet, or is there under another name */
        if (name_for(w, what, k.name, err) || sign_pubkey_load(what, &k.pub, err)) {
            trust_store_release(&s);
            return -1;
        }
        for (size_t i = 0; i < s.n && !known; i++)
            if (memcmp(s.keys[i].pub.key, k.pub.key, sizeof k.pub.key) == 0) {
                memcpy(k.name, s.keys[i].name, sizeof k.name);
                known = true;
            }
        what = k.name;
    } else if (!known) {
        snprintf(k.name, sizeof k.name, "%.*s", TRUST_NAME_MAX, what);
        known = true; /* and is refused by its name */
    }
    trust_store_release(&s);
    if (known) {
        if (trust_store_revoke(w->dir, what, w->o->reason, gs_unix_ms(), err))
            return -1;
    } else {
        k.pub.revoked_ms = gs_unix_ms();
        snprintf(k.pub.reason, sizeof k.pub.reason, "%s", w->o->reason);
        if (trust_store_put(w->dir, &k, err))
            return -1;
    }
    return told(w, what, "revoke", err);
}

static int remove_key(const struct work *w, const char *name, struct gs_err *err)
{
    if (trust_store_remove(w->dir, name, w->o->revoked, err))
        return -1;
    if (w->o->c.json) {
        struct gs_jw j;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&j, &buf, "trust", err);
        gs_jw_kstr(&j, "store", cli_valid(w->dir));
        gs_jw_kstr(&j, "did", "remove");
        gs_jw_kstr(&j, "name", name);
        return cli_json_end(w->cli, &j);
    }
    cli_out(w->cli, "'%s' is in the store no longer\n", name);
    return 0;
}

static int list_json(const struct work *w, const struct trust_store *s, struct gs_err *err)
{
    struct gs_jw j;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)64 << 20);
    cli_json_begin(&j, &buf, "trust", err);
    gs_jw_kstr(&j, "store", cli_valid(w->dir));
    gs_jw_kstr(&j, "did", "list");
    gs_jw_key(&j, "keys");
    gs_jw_arr(&j);
    for (size_t i = 0; i < s->n; i++) {
        gs_jw_obj(&j);
        json_key(&j, &s->keys[i]);
        gs_jw_end(&j);
    }
    gs_jw_end(&j);
    return cli_json_end(w->cli, &j);
}

static int list(const struct work *w, struct gs_err *err)
{
    struct trust_store s;
    int r = trust_store_load(w->dir, &s, err);
    if (!r && w->o->c.json)
        r = list_json(w, &s, err);
    for (size_t i = 0; !r && !w->o->c.json && i < s.n; i++)
        print_key(w->cli, &s.keys[i]);
    if (!r && s.n == 0)
        cli_note(w->cli, "no key is in the store '%s'", w->dir);
    trust_store_release(&s);
    return r;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    static const struct {
        const char *name;
        int arg;
    } does[] = {{"list", 0}, {"add", 1}, {"remove", 1}, {"revoke", 1}};
    const struct opts *o = optv;
    gs_autofree char *dir = o->store ? strdup(o->store) : cli_trust_dir();
    struct work w = {cli, o, dir};
    struct gs_err err = {0};
    size_t which = 0;
    while (which < GS_COUNT(does) && strcmp(does[which].name, argv[0]) != 0)
        which++;
    if (which == GS_COUNT(does))
        return cli_usage(cli, "'%s' is neither add, list, remove nor revoke", argv[0]);
    if (argc - 1 != does[which].arg)
        return cli_usage(cli, "'%s' takes %s", argv[0], does[which].arg ? "one key" : "no key");
    if (which == 3 && !o->reason)
        return cli_usage(cli, "'revoke' needs --reason TEXT: it is what others will read when they meet the key");
    if ((o->expires && which != 1) || (o->reason && which != 3) || (o->revoked && which != 2) ||
        (o->name && which != 1 && which != 3))
        return cli_usage(cli, "an option was given that '%s' does not take", argv[0]);
    if (!dir) {
        gs_fail(&err, GS_E_NOT_FOUND, "there is no home folder: name the store with --store");
        return cli_error(cli, &err);
    }
    int r = which == 0   ? list(&w, &err)
            : which == 1 ? add(&w, argv[1], &err)
            : which == 2 ? remove_key(&w, argv[1], &err)
                         : revoke_key(&w, argv[1], &err);
    return r ? cli_error(cli, &err) : 0;
}

const struct cli_verb cli_verb_trust = {
    .name = "trust",
    .args = "add|list|remove|revoke [PUB|NAME]",
    .min_args = 1,
    .max_args = 2,
    .summary = "Keep the keys that are believed: names, ends, revoked keys",
    .text =
        "The keys of the store are believed wherever --trust is not given. Compare a key with its owner over another\n"
        "channel than the bundles before it is added.\n\n"
        "A key that was revoked verifies nothing any more, whatever --trust names, and the reason is shown. It stays\n"
        "in the store so that it is known; 'revoke' takes also the file of a key that was never trusted. A key that\n"
        "has expired verifies nothing either until 'add' with a later --expires.\n\n"
        "The store is a folder: NAME.pub has minisign's format, and NAME.trust beside it holds the rest.\n\n"
        "  %s trust add alice.pub --expires 2027-12-31\n"
        "  %s trust revoke alice --reason 'laptop lost on 3 May'",
    .opts = opts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
