/*
 * A load of many ops that was cut off half-way, and how soon it goes on.
 *
 *     big_state make FILE [GROUPS] [LABELS PER GROUP]     1000 and 1000: a million ops, every second one done
 *     big_state resume FILE                               time until the first write leaves, and the peak of memory
 *     big_state run FILE LATENCY_MS JOBS [SECONDS]        works off what is left, or as long as that: how near it comes to what the
 *                                                         latency allows, what is stored how often, and the peak of memory
 *
 * The target is threads of this program, one to a connection, that show every group and label they are asked for. `resume` ends the
 * run at the first write; with `run` every label is made, after the latency.
 */
#include "libcommon/clock.h"
#include "libreplay/engine.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile int stop;
static int64_t began_ms, first_write_ms;
static int latency_ms = -1; /* below 0: the first write ends the run */
#define FIRST_ID 1000000000ull
static atomic_ullong next_id = FIRST_ID; /* of the labels made, so that it counts them, too */

static int fail(const struct gs_err *err)
{
    fprintf(stderr, "big_state: %s\n", err->text);
    return 1;
}

static char *mutable(const char *s)
{
    return (char *)(uintptr_t)s;
}

static int add_group(struct state *s, int64_t i, int64_t labels, struct gs_err *err)
{
    char path[64];
    snprintf(path, sizeof path, i == 1 ? "root" : "root/group-%06lld", (long long)i);
    struct grp g = {.id = i, .parent = i == 1 ? 0 : 1, .depth = i > 1, .src_path = path, .dst_path = path, .name = path,
                    .visibility = mutable("private"), .target_id = i};
    struct lane create = {.grp = i, .phase = 10, .name = mutable("create"), .watermark = -1};
    struct lane lane = {.grp = i, .phase = 20, .name = mutable("labels"), .watermark = -1};
    if (state_add_grp(s, &g, err) || state_add_lane(s, &create, &create.id, err) || state_add_lane(s, &lane, &lane.id, err) ||
        state_add_lane_need(s, lane.id, create.id, err))
        return -1;
    struct op op = {.lane = create.id, .grp = i, .kind = mutable("groups"), .key = path, .ref_member = -1};
    if (state_add_op(s, &op, err))
        return -1;
    op.state = OP_DONE;
    op.target_id = i;
    if (state_op_end(s, &op, err))
        return -1;
    for (int64_t k = 0; k < labels; k++) {
        char title[64], arg[160];
        snprintf(title, sizeof title, "label-%lld-%lld", (long long)i, (long long)k);
        snprintf(arg, sizeof arg, "{\"title\":\"%s\",\"color\":\"#6699cc\",\"description\":\"made for a measurement\"}", title);
        op = (struct op){.lane = lane.id, .grp = i, .kind = mutable("labels"), .key = title, .ref_member = -1, .arg = arg};
        if (state_add_op(s, &op, err))
            return -1;
        op.state = OP_DONE;
        op.target_id = i * 1000000 + k + 1;
        if (k < labels / 2 && (state_op_end(s, &op, err) || (k == 0 && state_newest(s, "labels", op.id, err))))
            return -1;
    }
    return 0;
}

static int make(const char *path, int64_t groups, int64_t labels)
{
    struct gs_err err = {0};
    GS_AUTO(state) s = NULL;
    if (state_open(path, STATE_CREATE, &s, &err) || state_begin(s, &err))
        return fail(&err);
    for (int64_t i = 1; i <= groups; i++)
        if (add_group(s, i, labels, &err))
            return fail(&err);
    return state_commit(s, &err) ? fail(&err) : 0;
}

/* What is asked for: "GET /api/v4/groups/7..." is a group, or one of its labels. */
static void shown(const char *request, char *out, size_t cap)
{
    const char *groups = strstr(request, "/groups/");
    char *end = NULL;
    long long id = groups ? strtoll(groups + 8, &end, 10) : 1;
    if (end && strncmp(end, "/labels?", 8) == 0)
        snprintf(out, cap, "[]");
    else if (end && strncmp(end, "/labels", 7) == 0)
        snprintf(out, cap, "{\"id\":%lld,\"name\":\"x\"}", end[7] == '/' ? strtoll(end + 8, NULL, 10) : 0);
    else if (id == 1)
        snprintf(out, cap, "{\"id\":1,\"full_path\":\"root\",\"name\":\"x\",\"parent_id\":null}");
    else
        snprintf(out, cap, "{\"id\":%lld,\"full_path\":\"root/group-%06lld\",\"name\":\"x\",\"parent_id\":1}", id, id);
}

/* What a POST of a label is answered with. */
static void made(const char *body, char *out, size_t cap)
{
    const char *name = strstr(body, "\"name\":\"");
    name = name ? name + 8 : "x";
    snprintf(out, cap, "{\"id\":%llu,\"name\":\"%.*s\",\"description\":\"made for a measurement\",\"color\":\"#6699cc\"}",
             (unsigned long long)atomic_fetch_add(&next_id, 1), (int)strcspn(name, "\""), name);
}

/* Answers on one connection until it ends. */
static void *serve_one(void *cookie)
{
    int fd = (int)(intptr_t)cookie;
    char in[8192];
    size_t have = 0;
    for (ssize_t n; (n = recv(fd, in + have, sizeof in - 1 - have, 0)) > 0;) {
        have += (size_t)n;
        in[have] = 0;
        const char *end = strstr(in, "\r\n\r\n"), *length = strcasestr(in, "\ncontent-length:");
        if (!end || have < (size_t)(end + 4 - in) + (length && length < end ? strtoul(length + 16, NULL, 10) : 0))
            continue;
        bool post = strncmp(in, "GET", 3) != 0;
        char body[1024], out[1536];
        have = 0;
        if (post && first_write_ms == 0)
            first_write_ms = gs_mono_ms();
        if (post && latency_ms < 0) {
            stop = 1;
            break;
        }
        if (post)
            made(end, body, sizeof body);
        else
            shown(in, body, sizeof body);
        if (latency_ms > 0)
            gs_sleep_ms(latency_ms);
        int len = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                           post ? "201 Created" : "200 OK", strlen(body), body);
        if (send(fd, out, (size_t)len, MSG_NOSIGNAL) != len)
            break;
    }
    close(fd);
    return NULL;
}

static void *serve(void *cookie)
{
    for (int fd; (fd = accept((int)(intptr_t)cookie, NULL, NULL)) >= 0;) {
        pthread_t t;
        if (pthread_create(&t, NULL, serve_one, (void *)(intptr_t)fd))
            close(fd);
        else
            pthread_detach(t);
    }
    return NULL;
}

static int listen_somewhere(char *url, size_t cap)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t t;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 64) || getsockname(fd, (struct sockaddr *)&a, &len) ||
        pthread_create(&t, NULL, serve, (void *)(intptr_t)fd))
        return -1;
    pthread_detach(t);
    snprintf(url, cap, "http://127.0.0.1:%d", ntohs(a.sin_port));
    return 0;
}

/* MiB. What getrusage() says is also that of whoever started this program. */
static double peak(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoul(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return (double)kib / 1024;
}

/* Ends a run after so many seconds. */
static void *alarm_clock(void *cookie)
{
    gs_sleep_ms((int64_t)(intptr_t)cookie * 1000);
    stop = 1;
    return NULL;
}

static int go_on(const char *path, unsigned jobs, int64_t seconds)
{
    struct gs_err err = {0};
    char url[64];
    pthread_t t;
    GS_AUTO(state) s = NULL;
    GS_AUTO(gl_client) c = NULL;
    if (listen_somewhere(url, sizeof url) ||
        (seconds > 0 && pthread_create(&t, NULL, alarm_clock, (void *)(intptr_t)seconds))) {
        perror("big_state");
        return 1;
    }
    struct gl_client_opts co = {.url = url, .jobs = jobs, .stop = &stop};
    struct gl_instance target = {.version = "17.8.1-ee", .major = 17, .minor = 8, .enterprise = 1, .user_id = 2};
    struct engine_opts eo = {.stop = &stop};
    struct engine_result res;
    struct rusage u;
    began_ms = gs_mono_ms();
    if (state_open(path, STATE_WRITE, &s, &err) || gl_client_new(&co, &c, &err))
        return fail(&err);
    int rc = engine_run(s, NULL, c, &target, &eo, &res, &err);
    if (rc && err.code != GS_E_STOPPED)
        return fail(&err);
    double took = (double)(gs_mono_ms() - first_write_ms) / 1000;
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    printf("%llu ops, %llu done, %llu failed: first write after %lld ms, peak %.1f MiB", (unsigned long long)res.p.ops,
           (unsigned long long)res.p.done, (unsigned long long)res.p.failed, (long long)(first_write_ms - began_ms),
           peak());
    unsigned long long made_n = atomic_load(&next_id) - FIRST_ID;
    if (latency_ms > 0)
        printf("; %llu labels in %.2f s, %.3f x the latency / jobs", made_n, took, took * jobs * 1000 / ((double)made_n * latency_ms));
    if (latency_ms >= 0)
        printf("; %.3f commits and %.0f us CPU per request, the target's included", (double)res.commits / (double)res.p.requests,
               cpu / (double)res.p.requests * 1e6);
    putchar('\n');
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "make") == 0)
        return make(argv[2], argc > 3 ? strtoll(argv[3], NULL, 10) : 1000, argc > 4 ? strtoll(argv[4], NULL, 10) : 1000);
    if (argc == 3 && strcmp(argv[1], "resume") == 0)
        return go_on(argv[2], 8, 0);
    if (argc >= 5 && strcmp(argv[1], "run") == 0) {
        latency_ms = (int)strtol(argv[3], NULL, 10);
        return go_on(argv[2], (unsigned)strtoul(argv[4], NULL, 10), argc > 5 ? strtoll(argv[5], NULL, 10) : 0);
    }
    fprintf(stderr, "usage: big_state make FILE [GROUPS] [LABELS] | big_state resume FILE | big_state run FILE LATENCY_MS JOBS [SECONDS]\n");
    return 2;
}
