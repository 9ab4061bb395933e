/*
 * persona_driver: acts as others by command line, for tests/e2e/test_people.py, the way the engine does.
 *
 *   persona_driver STATE URL check:USER | revoke | alive | act:USER[,USER...]
 *
 * The token is in GITLAB_TOKEN. act asks as each user over REST (GET /user) and over GraphQL (currentUser), all at once, and then revokes. One
 * line per answer: "rest 7 7", "graphql 7 7"; the user asked for, and who the target says that is; "refused 7 CODE". With PERSONA_STAY the
 * tokens are not revoked, with PERSONA_KILL=N it ends by SIGKILL in the Nth turn.
 */
#include "libcommon/clock.h"
#include "libcommon/secret.h"
#include "libreplay/persona.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail(const struct gs_err *err)
{
    printf("error %s: %s\n", gs_code_name(err->code), err->text);
    return 1;
}

struct answer {
    int64_t user;
    bool graphql;
};

static void on_answer(void *cookie, struct gl_request *q, struct gl_response *rsp)
{
    const struct answer *a = cookie;
    struct gs_err err = rsp->err;
    yyjson_doc *doc = NULL;
    yyjson_val *data = NULL, *who = NULL;
    (void)q;
    if (a->graphql) {
        if (gl_graphql_answer(rsp, &doc, &data, NULL, &err) == 0)
            who = yyjson_obj_get(data, "currentUser");
    } else if (err.code == GS_OK && gl_response_json(rsp, &doc, &err) == 0) {
        who = yyjson_doc_get_root(doc);
    }
    if (!who || persona_is(a->user, who, &err))
        printf("%s %lld %s\n", a->graphql ? "graphql" : "rest", (long long)a->user, gs_code_name(err.code));
    else
        printf("%s %lld %lld\n", a->graphql ? "graphql" : "rest", (long long)a->user, (long long)a->user);
    yyjson_doc_free(doc);
}

/* One request as this user. *out_done: it is on its way, or cannot be. */
static int act(struct personas *p, struct gl_client *c, struct answer *a, bool *out_done, struct gs_err *err)
{
    struct gl_request *q = a->graphql ? gl_graphql_request("query { currentUser { id } }", "{}", true) : gl_request_new(GL_GET, "/user");
    enum persona_state st;
    struct gs_err why = {0};
    if (!q || persona_ask(p, a->user, q, &st, &why, err)) {
        gl_request_free(q);
        return -1;
    }
    *out_done = st != PERSONA_WAIT;
    if (st != PERSONA_READY) {
        gl_request_free(q);
        if (st == PERSONA_REFUSED)
            printf("refused %lld %s\n", (long long)a->user, gs_code_name(why.code));
        return 0;
    }
    q->done = on_answer;
    q->cookie = a;
    q->live = true;
    return gl_submit(c, q, err);
}

static int act_all(struct state *s, struct gl_client *c, const struct gl_instance *target, const char *users, struct gs_err *err)
{
    static struct answer all[64];
    static bool done[64];
    GS_AUTO(personas) p = NULL;
    size_t n = 0, left;
    const char *kill_at = getenv("PERSONA_KILL");
    if (personas_new(s, c, target, "0123456789abcdef", NULL, &p, err))
        return -1;
    for (const char *u = users; *u && n + 1 < 64; u += *u == ',') {
        char *end;
        all[n++] = (struct answer){.user = strtoll(u, &end, 10)};
        all[n++] = (struct answer){.user = strtoll(u, &end, 10), .graphql = true};
        u = end;
    }
    for (int turn = 1; turn < 500; turn++) {
        left = 0;
        if (state_begin(s, err) || personas_turn(p, err))
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (!done[i] && act(p, c, &all[i], &done[i], err))
                return -1;
            left += !done[i];
        }
        if (state_commit(s, err) || personas_submit(p, err))
            return -1;
        if (kill_at && strtol(kill_at, NULL, 10) == turn) {
            fflush(stdout);
            kill(getpid(), SIGKILL);
        }
        if (gl_pending(c) == 0 && left == 0)
            return 0;
        if (gl_pending(c) && gl_poll(c, 100, err))
            return -1;
        if (gl_pending(c) == 0 && left)
            gs_sleep_ms(10);
    }
    return gs_fail(err, GS_E_INTERNAL, "no end");
}

int main(int argc, char **argv)
{
    struct gs_err err = {0};
    struct gs_secret token = {0};
    struct gl_client *c = NULL;
    struct gl_instance target;
    struct state *s = NULL;
    unsigned left = 0;
    int found = 0;
    if (argc != 4)
        return 2;
    if (gs_secret_init(&err) || gs_secret_from_env(&token, "GITLAB_TOKEN", &found, &err))
        return fail(&err);
    struct gl_client_opts o = {.url = argv[2], .token = &token, .jobs = 4, .max_retry_ms = 3000};
    if (gl_client_new(&o, &c, &err) || gl_instance_probe(c, false, &target, &err))
        return fail(&err);
    if (state_open(argv[1], access(argv[1], F_OK) ? STATE_CREATE : STATE_WRITE, &s, &err))
        return fail(&err);
    int rc = 0;
    if (strncmp(argv[3], "check:", 6) == 0)
        rc = personas_check(c, &target, strtoll(argv[3] + 6, NULL, 10), &err);
    else if (strcmp(argv[3], "revoke") == 0)
        rc = personas_revoke(s, c, NULL, &left, &err);
    else if (strcmp(argv[3], "alive") == 0)
        rc = personas_alive(s, &left, &err);
    else if (strncmp(argv[3], "act:", 4) == 0) {
        rc = act_all(s, c, &target, argv[3] + 4, &err);
        if (rc == 0 && !getenv("PERSONA_STAY"))
            rc = personas_revoke(s, c, NULL, &left, &err);
    }
    printf("left %u\n", left);
    if (rc)
        rc = fail(&err);
    state_close(s);
    gl_client_free(c);
    gs_secret_release(&token);
    return rc;
}
