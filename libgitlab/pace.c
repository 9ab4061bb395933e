#include "pace.h"

#include <string.h>

#define RESERVE_PART 32              /* of a limit, for others */
#define SCARCE_PART 4                /* less than this part of a limit left: spread */
#define OWN_SLACK_US ((int64_t)20000) /* by how much a late request may be made up for */
#define RESET_MARGIN_MS 20           /* servers of one instance need not agree on the time */
#define FURTHEST_RESET_S ((int64_t)2 * 86400)
#define UNKNOWN (-1)

void gl_pace_init(struct gl_pace *p, unsigned jobs, unsigned rate_per_min)
{
    *p = (struct gl_pace){.jobs = jobs ? jobs : 1, .rate_per_min = rate_per_min};
    p->window = p->jobs;
    p->own_next_us = INT64_MIN;
}

uint32_t gl_pace_class_of(const char *path, bool graphql)
{
    uint32_t h = 2166136261u;
    if (graphql)
        return h;
    for (const char *s = path; *s == '/'; s += strcspn(s, "/?")) {
        size_t n = strcspn(++s, "/?"), words = strspn(s, "abcdefghijklmnopqrstuvwxyz_");
        for (size_t i = 0; i < n && words >= n; i++)
            h = (h ^ (unsigned char)s[i]) * 16777619u;
        h = (h ^ '/') * 16777619u;
    }
    return h;
}

/* ---- announced limits ---- */

static const struct gl_pace_class *find_class(const struct gl_pace *p, uint32_t class)
{
    for (size_t i = 0; i < GL_PACE_CLASSES; i++)
        if (p->classes[i].known && p->classes[i].class == class)
            return &p->classes[i];
    return NULL;
}

static void learn_class(struct gl_pace *p, uint32_t class, int limit)
{
    for (size_t i = 0; i < GL_PACE_CLASSES; i++)
        if (p->classes[i].known && p->classes[i].class == class) {
            p->classes[i].limit = (int8_t)limit;
            return;
        }
    p->classes[p->next_class++ % GL_PACE_CLASSES] = (struct gl_pace_class){class, (int8_t)limit, true};
}

/* The limit that will count a request of this class: the one that counted the last such request, else the usual one. */
static int limit_of(const struct gl_pace *p, uint32_t class)
{
    const struct gl_pace_class *c = find_class(p, class);
    if (c)
        return c->limit;
    int best = UNKNOWN;
    for (unsigned i = 0; i < p->n_limits; i++)
        if (best < 0 || p->limits[i].answers > p->limits[best].answers)
            best = (int)i;
    return best;
}

static int find_limit(struct gl_pace *p, const char *name)
{
    for (unsigned i = 0; i < p->n_limits; i++)
        if (strncmp(p->limits[i].name, name, GL_PACE_NAME - 1) == 0)
            return (int)i;
    if (p->n_limits == GL_PACE_LIMITS)
        return UNKNOWN;
    struct gl_pace_limit *l = &p->limits[p->n_limits];
    *l = (struct gl_pace_limit){.last_sent_ms = INT64_MIN};
    size_t n = strlen(name) < GL_PACE_NAME ? strlen(name) : GL_PACE_NAME - 1;
    memcpy(l->name, name, n);
    return (int)p->n_limits++;
}

/* When the window of `l` is over by our clock: not before it is over at the server, whose clock is at least that far. */
static int64_t reset_ms(const struct gl_pace *p, const struct gl_pace_limit *l)
{
    return l->reset_s * 1000 - p->server_ahead_ms + RESET_MARGIN_MS;
}

/* How many more may be sent in this window. After its end, a whole new one is there, less what is still on the way. */
static int64_t budget(const struct gl_pace *p, const struct gl_pace_limit *l, int64_t now_ms)
{
    int64_t have = now_ms >= reset_ms(p, l) ? l->quota : l->remaining;
    int64_t reserve = (l->quota + RESERVE_PART - 1) / RESERVE_PART;
    if (l->quota <= 2)
        reserve = 0;
    return have - reserve - (int64_t)l->on_wire - (int64_t)p->on_wire_unknown;
}

static int64_t when_by_limit(const struct gl_pace *p, const struct gl_pace_limit *l, int64_t now_ms)
{
    int64_t left_ms = reset_ms(p, l) - now_ms, b = budget(p, l, now_ms);
    if (left_ms <= 0) /* the next answer will tell; somebody must ask for it */
        return b > 0 || p->on_wire == 0 ? now_ms : GL_PACE_NEVER;
    if (b <= 0)
        return now_ms + left_ms;
    if (b > l->quota / SCARCE_PART || l->last_sent_ms == INT64_MIN)
        return now_ms;
    return l->last_sent_ms + left_ms / b;
}

static void note_limit(struct gl_pace *p, int i, const struct gl_pace_answer *a)
{
    struct gl_pace_limit *l = &p->limits[i];
    int64_t quota = a->observed >= 0 && a->remaining > 0 ? a->observed + a->remaining : 0;
    if (quota <= 0)
        quota = l->quota > 0 ? l->quota : a->per_min > 0 ? a->per_min : a->remaining;
    l->answers++;
    if (a->per_min > 0)
        l->per_min = a->per_min;
    if (l->quota == 0 || a->reset_s > l->reset_s) {
        l->remaining = a->remaining;
        l->reset_s = a->reset_s;
        l->quota = quota;
    } else if (a->reset_s == l->reset_s && a->remaining < l->remaining) {
        l->remaining = a->remaining; /* answers overtake each other: the least counts */
    }
}

/* The server's clock shows whole seconds, so it is at least this far; the answer that came soonest after a tick tells best. */
static void note_clock(struct gl_pace *p, int64_t server_ms, int64_t head_ms)
{
    int64_t ahead = server_ms - head_ms;
    if (!p->server_known || ahead > p->server_ahead_ms || ahead < p->server_ahead_ms - 5000)
        p->server_ahead_ms = ahead; /* far behind what it was: the clock was set */
    p->server_known = true;
}

/* ---- requests ---- */

static int64_t latest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t gl_pace_when(const struct gl_pace *p, uint32_t class, int64_t now_ms)
{
    if (p->on_wire >= p->window)
        return GL_PACE_NEVER;
    int64_t when = latest(now_ms, p->pause_until);
    if (p->rate_per_min > 0 && p->own_next_us != INT64_MIN)
        when = latest(when, (p->own_next_us - OWN_SLACK_US + 999) / 1000);
    int i = limit_of(p, class);
    if (i >= 0)
        when = latest(when, when_by_limit(p, &p->limits[i], now_ms));
    return when;
}

static int64_t gap_us(const struct gl_pace *p)
{
    return (int64_t)((60000000 + p->rate_per_min - 1) / p->rate_per_min);
}

int gl_pace_sent(struct gl_pace *p, uint32_t class, int64_t now_ms)
{
    int i = limit_of(p, class);
    p->on_wire++;
    if (i >= 0) {
        p->limits[i].on_wire++;
        p->limits[i].last_sent_ms = now_ms;
    } else {
        p->on_wire_unknown++;
    }
    if (p->rate_per_min > 0)
        p->own_next_us = latest(p->own_next_us, now_ms * 1000) + gap_us(p);
    return i;
}

void gl_pace_gone(struct gl_pace *p, int number)
{
    p->on_wire--;
    if (number >= 0)
        p->limits[number].on_wire--;
    else
        p->on_wire_unknown--;
}

void gl_pace_answered(struct gl_pace *p, int number, uint32_t class, const struct gl_pace_answer *a, int64_t now_ms)
{
    gl_pace_gone(p, number);
    if (a->server_ms > 0)
        note_clock(p, a->server_ms, a->head_ms);
    if (!p->server_known || a->remaining < 0 || a->reset_s < 0)
        return;
    int64_t until = a->reset_s * 1000 - p->server_ahead_ms - now_ms;
    if (until < -60000 || until > FURTHEST_RESET_S * 1000) /* no Unix time, or nonsense */
        return;
    int i = find_limit(p, a->name ? a->name : "");
    if (i < 0)
        return;
    note_limit(p, i, a);
    learn_class(p, class, i);
}

void gl_pace_refused(struct gl_pace *p, int64_t wait_ms, int64_t now_ms)
{
    if (now_ms >= p->pause_until) { /* once per pause, not once per request that ran into it */
        p->window = p->window > 1 ? p->window / 2 : 1;
        p->credit = 0;
    }
    p->pause_until = latest(p->pause_until, now_ms + wait_ms);
}

void gl_pace_went_well(struct gl_pace *p)
{
    if (p->window < p->jobs && ++p->credit >= p->window) {
        p->window++;
        p->credit = 0;
    }
}

/* ---- for people ---- */

void gl_pace_look(const struct gl_pace *p, int64_t now_ms, struct gl_pace_view *out)
{
    *out = (struct gl_pace_view){.window = p->window, .rate_per_min = (int64_t)p->rate_per_min, .remaining = -1};
    if (p->pause_until > now_ms)
        out->paused_ms = p->pause_until - now_ms;
    for (unsigned i = 0; i < p->n_limits; i++) {
        const struct gl_pace_limit *l = &p->limits[i];
        int64_t end = reset_ms(p, l), b = budget(p, l, now_ms);
        if (end <= now_ms)
            continue;
        if (l->per_min > 0 && (out->rate_per_min == 0 || l->per_min < out->rate_per_min))
            out->rate_per_min = l->per_min;
        if (out->remaining < 0 || l->remaining < out->remaining)
            out->remaining = l->remaining;
        if (b <= 0 && p->on_wire == 0 && end - now_ms > out->paused_ms)
            out->paused_ms = end - now_ms;
    }
}
