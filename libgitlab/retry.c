#include "retry.h"

/* Half of `full` for certain, the other half by chance: requests that failed together do not come back together. */
static int64_t jittered(int64_t full, uint32_t random)
{
    return full / 2 + (int64_t)((uint64_t)(full - full / 2) * random / UINT32_MAX);
}

static int64_t backoff(int64_t first_ms, const struct gl_try *t)
{
    int64_t b = first_ms;
    for (unsigned i = 1; i < t->tries && b < GL_WAIT_MAX_MS; i++)
        b *= 2;
    return jittered(b < GL_WAIT_MAX_MS ? b : GL_WAIT_MAX_MS, t->random);
}

static struct gl_decision stop(const char *why)
{
    return (struct gl_decision){.verdict = GL_STOP, .why = why};
}

static struct gl_decision again(const struct gl_try *t, unsigned max_tries, int64_t max_wait_ms, int64_t wait_ms,
                                const char *why)
{
    if (t->tries >= max_tries)
        return stop("tried often enough");
    if (wait_ms > max_wait_ms || t->waited_ms > max_wait_ms - wait_ms)
        return stop("waited long enough");
    return (struct gl_decision){.verdict = GL_AGAIN, .wait_ms = wait_ms, .why = why};
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct gl_decision after_answer(const struct gl_try *t)
{
    int64_t asked = t->retry_after_ms;
    if (t->status == 429) {
        /* never sooner than the server says, a little later so that its window is surely over */
        int64_t wait = asked >= 0 ? asked + 100 + jittered(400, t->random) : backoff(2000, t);
        unsigned max = t->max_tries <= 1 ? t->max_tries : t->max_tries > UINT32_MAX / 4 ? UINT32_MAX : t->max_tries * 4;
        struct gl_decision d = again(t, max, t->max_wait_ms, wait, "too many requests");
        d.pause_all = d.verdict == GL_AGAIN;
        return d;
    }
    if (t->status == 409 && t->resource_lock)
        return again(t, t->max_tries, t->max_wait_ms, backoff(1000, t), "resource lock");
    if (t->status == 408 || (t->status >= 500 && t->status != 501 && t->status != 505)) {
        if (!t->repeatable)
            return stop("the server may have acted");
        bool asks = t->status == 503 && asked >= 0;
        struct gl_decision d = again(t, t->max_tries, t->max_wait_ms,
                                     asks ? asked + jittered(400, t->random) : backoff(500, t), "server error");
        d.pause_all = asks && d.verdict == GL_AGAIN;
        return d;
    }
    return stop("answered");
}

struct gl_decision gl_retry(const struct gl_try *t)
{
    switch (t->wire) {
    case GL_WIRE_ANSWERED:
        return after_answer(t);
    case GL_WIRE_NO_CONNECT: {
        unsigned max = t->max_tries;
        int64_t wait = t->max_wait_ms;
        if (t->unlikely && max > GL_TRIES_UNLIKELY)
            max = GL_TRIES_UNLIKELY;
        if (!t->answered_before) {
            max = max > GL_TRIES_ABSENT ? GL_TRIES_ABSENT : max;
            wait = min64(wait, GL_WAIT_ABSENT_MS);
        }
        return again(t, max, wait, backoff(1000, t), "no connection");
    }
    case GL_WIRE_BROKEN:
        return t->repeatable ? again(t, t->max_tries, t->max_wait_ms, backoff(500, t), "connection broke")
                             : stop("the server may have acted");
    case GL_WIRE_TIMEOUT:
        return t->repeatable ? again(t, t->max_tries, t->max_wait_ms, backoff(500, t), "timeout")
                             : stop("the server may have acted");
    case GL_WIRE_FINAL:
        break;
    }
    return stop("would not change");
}
