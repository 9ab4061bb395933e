#include "libreplay/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TICKS_MAX 16   /* a longer run of backticks is no code span here */
#define NAMES_MAX 300  /* bytes of the list of what is left */
#define NAME_MAX_LEN 255 /* of a title, path or username */
#define DIGITS_MAX 18
#define SPANS_MAX ((size_t)256 << 20)

/* ---- bytes ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Of paths of groups and of usernames. */
static bool is_path(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || c == '/';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t digits(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && is_digit(p[n]))
        n++;
    return n <= DIGITS_MAX ? n : 0;
}

/* Of digits() bytes; the text need not end with a NUL. */
static int64_t value(const char *p, size_t n)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (p[i] - '0');
    return v;
}

static size_t line_len(const char *p, const char *end)
{
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    return nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
}

/* ---- one conversion ---- */

struct scan {
    const struct text_env *env;
    const char *text, *end;
    struct gs_buf *out;
    struct text_notes *notes;
    struct gs_err *err;
    const char *no_ticks[TICKS_MAX + 1]; /* no run of this length ends a code span before here */
    const char *no_fence[2][TICKS_MAX + 1];
};

static int put(struct scan *s, const char *p, size_t n)
{
    return gs_buf_add(s->out, p, n, s->err);
}

static int leave(struct scan *s, const char *p, size_t n)
{
    struct gs_buf *b = &s->notes->names;
    s->notes->left++;
    if (b->max == 0)
        gs_buf_init(b, 4 * NAMES_MAX);
    if (b->len < NAMES_MAX && n <= NAMES_MAX) {
        if ((b->len && gs_buf_addstr(b, ", ", s->err)) || gs_buf_add(b, p, n, s->err))
            return -1;
    }
    return put(s, p, n);
}

static int ask(struct scan *s, struct text_ref ref, const char *group, size_t group_len, const char *name, size_t name_len,
               struct text_target *out)
{
    char path[NAME_MAX_LEN * 4 + 1], title[NAME_MAX_LEN * 4 + 1];
    *out = (struct text_target){0};
    if (group_len >= sizeof path || name_len >= sizeof title)
        return 0;
    if (group) {
        memcpy(path, group, group_len);
        path[group_len] = '\0';
        ref.group = path;
    }
    if (name) {
        memcpy(title, name, name_len);
        title[name_len] = '\0';
        ref.name = title;
        if (strlen(title) != name_len) /* holds a NUL: nobody's name */
            return 0;
    }
    return s->env->find(s->env->cookie, &ref, out, s->err);
}

/* Full path of a group on the target. *out NULL: the bundle has no such group, or it is not carried. */
static int ask_group(struct scan *s, const char *path, size_t len, char **out, enum text_found *found)
{
    struct text_target t;
    *out = NULL;
    if (ask(s, (struct text_ref){.kind = TEXT_GROUP}, path, len, NULL, 0, &t))
        return -1;
    *found = t.found;
    if (t.found == TEXT_CARRIED && !t.name && !(t.name = strndup(path, len)))
        return gs_fail(s->err, GS_E_NOMEM, "out of memory");
    *out = t.name;
    return 0;
}

/* Writes the new form of `n` bytes at `p`, or those bytes when it is the same. */
static int replace(struct scan *s, const char *p, size_t n, const char *with)
{
    if (!with)
        return gs_fail(s->err, GS_E_NOMEM, "out of memory");
    struct text_span span = {(size_t)(p - s->text), n, s->out->len, strlen(with)};
    bool same = span.out_len == n && memcmp(with, p, n) == 0;
    struct gs_buf *spans = &s->notes->spans;
    s->notes->rewritten += !same;
    if (s->env->spans && spans->max == 0)
        gs_buf_init(spans, SPANS_MAX);
    if (!same && s->env->spans && gs_buf_add(spans, &span, sizeof span, s->err))
        return -1;
    return gs_buf_addstr(s->out, with, s->err);
}

/* ---- references ---- */

struct token {
    const char *p;        /* its beginning, with a path in front */
    const char *path;     /* NULL: none */
    size_t path_len;
    const char *name;     /* NULL: a number */
    size_t name_len;
    int64_t number;
    const char *end;
    bool quoted;
};

/* "x y" or x behind % and ~, digits behind all of them. False: no reference. */
static bool read_name(char sign, const char *p, const char *end, struct token *t)
{
    size_t n = digits(p, end);
    if (n && (p + n == end || !is_word(p[n]))) {
        t->number = value(p, n);
        t->end = p + n;
        return !(sign == '&' && p + n < end && p[n] == ';'); /* &12; is a character */
    }
    if (sign == '&')
        return false;
    if (p < end && *p == '"') {
        const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
        if (!close || close == p + 1 || memchr(p, '\n', (size_t)(close - p)) || close - p > NAME_MAX_LEN * 4)
            return false;
        *t = (struct token){.p = t->p, .path = t->path, .path_len = t->path_len, .name = p + 1, .name_len = (size_t)(close - p - 1),
                            .end = close + 1, .quoted = true};
        return true;
    }
    for (n = 0; p + n < end && (is_word(p[n]) || strchr(sign == '~' ? "-?.&:" : "-.", p[n])) && p[n];)
        n++;
    while (n && strchr("-?.&:", p[n - 1])) /* the end of a sentence, not of a name */
        n--;
    t->name = p;
    t->name_len = n;
    t->end = p + n;
    return n > 0 && n <= NAME_MAX_LEN;
}

/* A title behind % or ~: quoted where it must be. NULL: it cannot be written, or no memory. */
static char *titled(const char *path, char sign, const char *title)
{
    bool plain = *title != '\0' && !is_digit(*title);
    for (const char *c = title; *c; c++)
        plain = plain && (isalnum((unsigned char)*c) || *c == '_' || (*c == '-' && c[1]));
    if (strpbrk(title, "\"\n"))
        return NULL;
    return plain ? gs_asprintf("%s%c%s", path, sign, title) : gs_asprintf("%s%c\"%s\"", path, sign, title);
}

/* What is found, in the words of the target. */
static int put_found(struct scan *s, char sign, const struct token *t, const char *path, const struct text_target *found)
{
    size_t n = (size_t)(t->end - t->p);
    gs_autofree char *with = NULL;
    if (found->found == TEXT_LOST)
        return leave(s, t->p, n);
    if (t->name && !found->name)
        with = gs_asprintf("%s%c%.*s", path, sign, (int)(t->end - t->name + t->quoted), t->name - t->quoted);
    else if (found->name)
        with = titled(path, sign, found->name);
    else
        with = gs_asprintf("%s%c%lld", path, sign, (long long)found->number);
    return with ? replace(s, t->p, n, with) : leave(s, t->p, n);
}

/* &, % or ~ at t->p behind t->path. *out_taken: it was one, and is written. */
static int reference(struct scan *s, char sign, struct token *t, bool *out_taken)
{
    enum text_ref_kind kind = sign == '&' ? TEXT_EPIC : sign == '%' ? TEXT_MILESTONE : TEXT_LABEL;
    const char *from = t->path ? t->path + t->path_len : t->p;
    struct text_target found = {0};
    gs_autofree char *path = NULL;
    enum text_found known = TEXT_UNKNOWN;
    *out_taken = false;
    if (!read_name(sign, from + 1, s->end, t))
        return 0;
    if (t->path && ask_group(s, t->path, t->path_len, &path, &known))
        return -1;
    if (t->path && known == TEXT_UNKNOWN && !memchr(t->path, '/', t->path_len))
        return 0; /* a word in front of a sign */
    if (!t->path || known == TEXT_CARRIED) {
        if (ask(s, (struct text_ref){.kind = kind, .number = t->number}, t->path, t->path_len, t->name, t->name_len, &found))
            return -1;
        if (found.found == TEXT_UNKNOWN && t->path)
            found.found = TEXT_LOST;
        /* without a path it may be no reference at all; with quotes, or as an epic, it was meant as one */
        if (found.found == TEXT_UNKNOWN && (t->quoted || sign == '&'))
            found.found = TEXT_LOST;
    } else {
        found.found = TEXT_LOST; /* of a group that is not carried */
    }
    *out_taken = found.found != TEXT_UNKNOWN;
    int r = *out_taken ? put_found(s, sign, t, path ? path : "", &found) : 0;
    free(found.name);
    return r;
}

/* @user or @group/path. */
static int mention(struct scan *s, const char **io)
{
    const char *p = *io, *name = p + 1;
    size_t n = 0;
    struct text_target found = {0};
    while (name + n < s->end && is_path(name[n]))
        n++;
    while (n && !is_word(name[n - 1]))
        n--;
    if (n == 0 || n > NAME_MAX_LEN || !is_word(*name) || (n == 3 && strncasecmp(name, "all", 3) == 0)) {
        *io = p + 1;
        return put(s, p, 1);
    }
    *io = name + n;
    bool group = memchr(name, '/', n) != NULL;
    int r = group ? 0 : ask(s, (struct text_ref){.kind = TEXT_USER}, NULL, 0, name, n, &found);
    if (r == 0 && found.found == TEXT_UNKNOWN)
        r = ask(s, (struct text_ref){.kind = TEXT_GROUP}, name, n, NULL, 0, &found);
    if (r == 0) {
        gs_autofree char *with = found.name ? gs_asprintf("@%s", found.name) : NULL;
        r = found.found == TEXT_CARRIED && found.name ? replace(s, p, n + 1, with)
            : found.found == TEXT_CARRIED             ? put(s, p, n + 1)
                                                      : leave(s, p, n + 1);
    }
    free(found.name);
    return r;
}

/* *iteration:12 */
static int iteration(struct scan *s, const char **io)
{
    static const char word[] = "*iteration:";
    const char *p = *io;
    size_t have = (size_t)(s->end - p), n;
    struct text_target found = {0};
    if (have <= sizeof word || strncmp(p, word, sizeof word - 1) != 0 || (n = digits(p + sizeof word - 1, s->end)) == 0) {
        *io = p + 1;
        return put(s, p, 1);
    }
    n += sizeof word - 1;
    *io = p + n;
    if (ask(s, (struct text_ref){.kind = TEXT_ITERATION, .number = value(p + sizeof word - 1, n - sizeof word + 1)}, NULL, 0, NULL, 0, &found))
        return -1;
    free(found.name);
    gs_autofree char *with = gs_asprintf("%s%lld", word, (long long)found.number);
    return found.found == TEXT_CARRIED ? replace(s, p, n, with) : leave(s, p, n);
}

/* ---- links ---- */

/* An object behind /-/ of a group's page. */
static const struct {
    const char *word; /* followed by a number */
    enum text_ref_kind kind;
} pages[] = {
    {"epics/", TEXT_EPIC},           {"milestones/", TEXT_MILESTONE}, {"boards/", TEXT_BOARD},
    {"epic_boards/", TEXT_EPIC_BOARD}, {"iterations/", TEXT_ITERATION}, {"cadences/", TEXT_CADENCE},
};

struct page {
    const char *path; /* of the group at the source */
    size_t path_len;
    char *target;     /* its path on the target */
};

/* `rest` begins behind "/-/" and may be empty. *out NULL: it is not on the target. */
static int page_rest(struct scan *s, const struct page *g, const char *rest, size_t len, struct gs_buf *out, bool *out_lost)
{
    size_t query = 0;
    for (; query < len && rest[query] != '?' && rest[query] != '#';)
        query++;
    for (size_t i = 0; i < GS_COUNT(pages); i++) {
        size_t w = strlen(pages[i].word), n;
        struct text_target found;
        if (query < w || strncmp(rest, pages[i].word, w) != 0 || (n = digits(rest + w, rest + query)) == 0)
            continue;
        if (ask(s, (struct text_ref){.kind = pages[i].kind, .number = value(rest + w, n)}, g->path, g->path_len, NULL, 0,
                &found))
            return -1;
        free(found.name);
        size_t at = w + n;
        /* what stands behind the object has numbers of its own (#note_12, cadences/1/iterations/2) */
        *out_lost = found.found != TEXT_CARRIED || found.number <= 0 || (at < len && rest[at] != '?' && rest[at] != '#');
        if (*out_lost)
            return 0;
        if (gs_buf_add(out, rest, w, s->err) || gs_buf_addf(out, s->err, "%lld", (long long)found.number))
            return -1;
        return at < len && rest[at] == '#' ? 0 : gs_buf_add(out, rest + at, len - at, s->err);
    }
    /* a page of the group itself: a list, the members ...; a number in it means something else on the target */
    for (size_t i = 0; i < query; i++)
        *out_lost |= is_digit(rest[i]);
    return *out_lost ? 0 : gs_buf_add(out, rest, len, s->err);
}

/* Longest path of a group that the bundle has, at the beginning of `p`. */
static int find_group(struct scan *s, const char *p, size_t len, struct page *out)
{
    size_t n = 0;
    enum text_found found = TEXT_UNKNOWN;
    *out = (struct page){0};
    while (n < len && is_path(p[n]) && !(p[n] == '/' && n + 2 < len && p[n + 1] == '-' && p[n + 2] == '/'))
        n++;
    for (unsigned tries = 0; n > 0 && tries < 24; tries++) {
        while (n > 0 && p[n - 1] == '/')
            n--;
        if (n == 0 || ask_group(s, p, n, &out->target, &found))
            return n == 0 ? 0 : -1;
        if (found != TEXT_UNKNOWN) {
            out->path = p;
            out->path_len = n;
            return 0;
        }
        while (n > 0 && p[n - 1] != '/')
            n--;
    }
    return 0;
}

/* The part of a link behind the instance's address: "/groups/x/-/epics/1". Appends what it is on the target. */
static int link_path(struct scan *s, const char *p, size_t len, struct gs_buf *out, bool *out_lost)
{
    static const char groups[] = "/groups/";
    bool shown = len > sizeof groups - 1 && strncmp(p, groups, sizeof groups - 1) == 0;
    size_t from = shown ? sizeof groups - 1 : 1;
    struct page g;
    *out_lost = false;
    if (len <= 1)
        return gs_buf_add(out, p, len, s->err);
    if (find_group(s, p + from, len - from, &g))
        return -1;
    gs_autofree char *target = g.target;
    const char *rest = p + from + g.path_len;
    size_t left = len - from - g.path_len;
    if (target) {
        if (gs_buf_add(out, p, from, s->err) || gs_buf_addstr(out, target, s->err))
            return -1;
        if (left == 0 || *rest == '?' || *rest == '#' || (left == 1 && *rest == '/'))
            return gs_buf_add(out, rest, left, s->err);
        if (left >= 3 && strncmp(rest, "/-/", 3) == 0)
            return gs_buf_add(out, rest, 3, s->err) ? -1 : page_rest(s, &g, rest + 3, left - 3, out, out_lost);
        *out_lost = true; /* a project, or a page that is not known */
        return 0;
    }
    struct text_target user = {0};
    size_t n = 1;
    while (n < len && p[n] != '/' && p[n] != '?' && p[n] != '#')
        n++;
    if (!g.path && !shown && n == len && ask(s, (struct text_ref){.kind = TEXT_USER}, NULL, 0, p + 1, len - 1, &user))
        return -1;
    gs_autofree char *username = user.name;
    *out_lost = user.found != TEXT_CARRIED;
    if (*out_lost)
        return 0;
    return gs_buf_addc(out, '/', s->err) || (username ? gs_buf_addstr(out, username, s->err) : gs_buf_add(out, p + 1, len - 1, s->err)) ? -1 : 0;
}

static size_t link_len(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && !strchr(" \t\r\n<>\"'`|", p[n]) && p[n] && p[n] != ')' && p[n] != ']')
        n++;
    while (n && strchr(".,;:!?*_", p[n - 1]))
        n--;
    return n;
}

/* Is the source's address, in whatever scheme and case, at the beginning of the link? Its length, or 0. */
static size_t is_source(const struct scan *s, const char *p, size_t len)
{
    const char *base = s->env->source_url ? strstr(s->env->source_url, "://") : NULL;
    const char *here = memmem(p, len < 9 ? len : 9, "://", 3);
    if (!base || !here || !s->env->target_url)
        return 0;
    size_t n = strlen(base), scheme = (size_t)(here - p);
    if (len < scheme + n || strncasecmp(here, base, n) != 0)
        return 0;
    return len == scheme + n || strchr("/?#", p[scheme + n]) ? scheme + n : 0;
}

/* http://... or https://..., or "/..." of a Markdown link, at *io. */
static int address(struct scan *s, const char **io, bool relative)
{
    const char *p = *io;
    size_t len = link_len(p, s->end), base = relative ? 0 : is_source(s, p, len);
    bool lost = false;
    gs_autobuf b;
    gs_buf_init(&b, len * 8 + 4096);
    *io = p + len;
    if (!relative && base == 0)
        return put(s, p, len); /* to somewhere else: all of it is text */
    if ((!relative && gs_buf_addstr(&b, s->env->target_url, s->err)) || link_path(s, p + base, len - base, &b, &lost))
        return -1;
    if (!lost)
        return replace(s, p, len, gs_buf_str(&b));
    return relative && (len < 8 || strncmp(p, "/groups/", 8) != 0) ? put(s, p, len) : leave(s, p, len); /* "/uploads/..." and such are told elsewhere */
}

/* ---- code ---- */

/* Length of a code span that begins with the backticks at p; 0: they are text. It ends within its paragraph. */
static size_t code_span(struct scan *s, const char *p, size_t ticks)
{
    if (ticks > TICKS_MAX || (s->no_ticks[ticks] && p < s->no_ticks[ticks]))
        return 0;
    const char *q = p + ticks;
    while (q < s->end) {
        if (*q == '\n') {
            const char *next = q + 1;
            while (next < s->end && (is_blank(*next) || *next == '\r'))
                next++;
            if (next == s->end || *next == '\n')
                break; /* a blank line */
        }
        if (*q != '`') {
            q++;
            continue;
        }
        size_t n = 0;
        while (q + n < s->end && q[n] == '`')
            n++;
        if (n == ticks)
            return (size_t)(q + n - p);
        q += n;
    }
    s->no_ticks[ticks] = q;
    return 0;
}

/* Backticks or tildes that open (`close` 0) or close a fence of that length at the beginning of a line; 0: none. */
static size_t fence(const char *p, const char *end, char sign, size_t close)
{
    size_t indent = 0, n = 0;
    while (indent < 3 && p + indent < end && p[indent] == ' ')
        indent++;
    p += indent;
    while (p + n < end && p[n] == sign)
        n++;
    if (n < 3 || (close && n < close))
        return 0;
    size_t line = line_len(p, end);
    if (!close)
        return sign == '`' && memchr(p + n, '`', line - n) ? 0 : n;
    for (size_t i = n; i < line; i++)
        if (!is_blank(p[i]) && p[i] != '\r' && p[i] != '\n')
            return 0;
    return n;
}

/* Length of the fenced code that begins with the line at p, its last line included; 0: it is none, or is not closed. */
static size_t fenced(struct scan *s, const char *p)
{
    char sign = '`';
    size_t n = fence(p, s->end, sign, 0);
    if (!n)
        n = fence(p, s->end, sign = '~', 0);
    const char **none = &s->no_fence[sign == '~'][n <= TICKS_MAX ? n : 0];
    if (!n || n > TICKS_MAX || *none)
        return 0;
    for (const char *q = p + line_len(p, s->end); q < s->end; q += line_len(q, s->end))
        if (fence(q, s->end, sign, n))
            return (size_t)(q - p) + line_len(q, s->end);
    *none = p; /* nor is a later one */
    return 0;
}

/* ---- lines ---- */

/* "/word", alone on its line or with something behind a blank. */
static bool is_action(const char *p, const char *end)
{
    size_t n = 1;
    while (p + n < end && (isalpha((unsigned char)p[n]) || p[n] == '_'))
        n++;
    return n > 1 && (p + n == end || is_blank(p[n]) || p[n] == '\r' || p[n] == '\n');
}

static bool starts(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) > n && strncasecmp(p, word, n) == 0;
}

/* The beginning of a line that the server would carry out. */
static int disarm(struct scan *s, const char *p)
{
    if (!s->env->actions || *p != '/' || !is_action(p, s->end))
        return 0;
    s->notes->actions++;
    return gs_buf_addc(s->out, '\\', s->err);
}

/* A code span: GitLab looks for actions line by line, and does not see one that goes over several. */
static int put_code(struct scan *s, const char *p, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        n = line_len(p + at, p + len);
        if ((at && disarm(s, p + at)) || put(s, p + at, n))
            return -1;
    }
    return 0;
}

/* A word, which may be the path in front of a sign. */
static int word(struct scan *s, const char **io)
{
    const char *p = *io;
    size_t n = 0;
    bool taken = false;
    if (starts(p, s->end, "http://") || starts(p, s->end, "https://"))
        return address(s, io, false);
    while (p + n < s->end && (is_word(p[n]) || is_path(p[n])))
        n++;
    if (p + n < s->end && n <= NAME_MAX_LEN * 4 && strchr("&%~", p[n]) && p[n]) {
        struct token t = {.p = p, .path = p, .path_len = n};
        if (reference(s, p[n], &t, &taken))
            return -1;
        if (taken) {
            *io = t.end;
            return 0;
        }
    }
    /* behind a word a sign is none */
    *io = p + n;
    if (put(s, p, n) || *io == s->end || !strchr("&%~@", **io) || !**io)
        return s->err->code == GS_OK ? 0 : -1;
    if (put(s, *io, 1))
        return -1;
    ++*io;
    return 0;
}

/* What begins at *io, outside of code. */
static int piece(struct scan *s, const char **io)
{
    const char *p = *io;
    struct token t = {.p = p};
    bool taken = false;
    size_t n = 0, code;
    switch (*p) {
    case '`':
        while (p + n < s->end && p[n] == '`')
            n++;
        code = code_span(s, p, n);
        *io = p + (code ? code : n);
        return code ? put_code(s, p, code) : put(s, p, n);
    case '\\': /* what stands behind it is text */
        n = p + 1 < s->end && ispunct((unsigned char)p[1]) ? 2 : 1;
        *io = p + n;
        return put(s, p, n);
    case '@':
        return mention(s, io);
    case '*':
        return iteration(s, io);
    case '&':
    case '%':
    case '~':
        if (reference(s, *p, &t, &taken))
            return -1;
        *io = taken ? t.end : p + 1;
        return taken ? 0 : put(s, p, 1);
    case ']':
        n = p + 2 < s->end && p[1] == '(' && p[2] == '/' && s->env->source_url ? 2 : 1;
        *io = p + n;
        return put(s, p, n) || (n == 2 && address(s, io, true)) ? -1 : 0;
    default:
        if (is_word(*p))
            return word(s, io);
        *io = p + 1;
        return put(s, p, 1);
    }
}

void text_notes_release(struct text_notes *n)
{
    gs_buf_release(&n->names);
    gs_buf_release(&n->spans);
    *n = (struct text_notes){0};
}

int text_convert(const struct text_env *env, const char *text, size_t len, struct gs_buf *out, struct text_notes *notes,
                 struct gs_err *err)
{
    struct scan s = {.env = env, .text = text, .end = text + len, .out = out, .notes = notes, .err = err};
    const char *p = text;
    while (p < s.end) {
        bool line = p == text || p[-1] == '\n';
        size_t code = line ? fenced(&s, p) : 0;
        if (code) {
            if (put(&s, p, code))
                return -1;
            p += code;
            continue;
        }
        if ((line && disarm(&s, p)) || piece(&s, &p))
            return -1;
    }
    return 0;
}
