#include "libreplay/attribution.h"

#include "libcommon/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULE "\n\n---\n\n"
#define MARK "<!-- groupsnap:attribution"
#define END " -->"

/* A name as text: nothing in it is Markdown, a mention or the end of a line. */
static int put_name(struct gs_buf *out, const char *name, struct gs_err *err)
{
    for (; *name; name++) {
        bool control = (unsigned char)*name < 0x20 || *name == 0x7f;
        if ((ispunct((unsigned char)*name) && *name != '.' && *name != '\'' && gs_buf_addc(out, '\\', err)) ||
            gs_buf_addc(out, control ? ' ' : *name, err))
            return -1;
    }
    return 0;
}

/* GitLab's usernames are letters, digits, '_', '-' and '.'. */
static bool is_username(const char *s)
{
    size_t n = 0;
    for (; s && s[n]; n++)
        if (!isalnum((unsigned char)s[n]) && !strchr("_-.", s[n]))
            return false;
    return n > 0 && n < 256;
}

static const char *time_of(const char *s, char out[GS_TIME_LEN])
{
    struct gs_err ignored = {0};
    int64_t ms;
    if (!s || gs_time_parse(s, &ms, &ignored))
        return NULL;
    gs_time_format(ms, out);
    return out;
}

int attribution_add(const struct attribution *a, struct gs_buf *text, struct gs_err *err)
{
    char at[GS_TIME_LEN];
    const char *created = time_of(a->created_at, at), *username = is_username(a->username) ? a->username : NULL;
    bool named = a->name && *a->name;
    if (!username && !named && a->user <= 0 && !created)
        return 0;
    if (gs_buf_addstr(text, RULE "*Written", err))
        return -1;
    if ((named || username || a->user > 0) && gs_buf_addstr(text, " by ", err))
        return -1;
    if (named && (put_name(text, a->name, err) || (username && gs_buf_addf(text, err, " (`%s`)", username))))
        return -1;
    if (!named && username && gs_buf_addf(text, err, "`%s`", username))
        return -1;
    if (!named && !username && a->user > 0 && gs_buf_addf(text, err, "user %lld", (long long)a->user))
        return -1;
    if (gs_buf_addstr(text, " at the source", err) || (created && gs_buf_addf(text, err, " on %.10s %.5s UTC", created, created + 11)) ||
        gs_buf_addstr(text, "*\n" MARK, err) || (a->user > 0 && gs_buf_addf(text, err, " user=%lld", (long long)a->user)) ||
        (username && gs_buf_addf(text, err, " username=%s", username)) || (created && gs_buf_addf(text, err, " created_at=%s", created)))
        return -1;
    return gs_buf_addstr(text, END, err);
}

int attribution_of(struct state *s, int64_t user, yyjson_val *author, const char *created_at, struct gs_buf *text, struct gs_err *err)
{
    struct user_row u = {0};
    bool found = false;
    if (state_user(s, user, &u, &found, err))
        return -1;
    struct attribution a = {.user = user, .username = found && u.username && *u.username ? u.username : gs_json_str(author, "username"),
                            .name = gs_json_str(author, "name"), .created_at = created_at};
    int r = attribution_add(&a, text, err);
    if (found)
        user_row_release(&u);
    return r;
}

/* The value of "key=" among words parted by blanks, of `len` bytes. */
static bool word(const char *p, size_t len, const char *key, char *out, size_t cap)
{
    size_t k = strlen(key);
    for (size_t at = 0; at + k < len; at++) {
        if (p[at] != ' ' || at + 1 + k > len || strncmp(p + at + 1, key, k) != 0)
            continue;
        size_t from = at + 1 + k, n = 0;
        while (from + n < len && p[from + n] != ' ')
            n++;
        if (n == 0 || n >= cap)
            return false;
        memcpy(out, p + from, n);
        out[n] = '\0';
        return true;
    }
    return false;
}

/* Where `part` stands last in the text before `end`; NULL: nowhere. */
static const char *last(const char *text, const char *end, const char *part)
{
    size_t n = strlen(part);
    for (const char *p = end; p >= text + n; p--)
        if (memcmp(p - n, part, n) == 0)
            return p - n;
    return NULL;
}

bool attribution_find(const char *text, size_t len, struct attribution_found *out)
{
    char number[24];
    *out = (struct attribution_found){.text_len = len};
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    if (len < sizeof END || memcmp(text + len - (sizeof END - 1), END, sizeof END - 1) != 0)
        return false;
    const char *end = text + len - (sizeof END - 1), *mark = last(text, end, "*\n" MARK);
    const char *rule = mark ? last(text, mark, RULE "*Written") : NULL;
    if (!rule || memchr(rule + sizeof RULE, '\n', (size_t)(mark - rule) - sizeof RULE) || memchr(mark + 2, '\n', (size_t)(end - mark) - 2))
        return false;
    const char *words = mark + 2 + sizeof MARK - 1;
    size_t n = (size_t)(end - words);
    out->text_len = (size_t)(rule - text);
    if (word(words, n, "user=", number, sizeof number))
        out->user = strtoll(number, NULL, 10);
    word(words, n, "username=", out->username, sizeof out->username);
    word(words, n, "created_at=", out->created_at, sizeof out->created_at);
    return true;
}
