/*
 * bench/server: serves recorded answers after a fixed latency, far faster than the simulator they come from.
 *
 *     server RECORDING PORT LATENCY_MS [LOG]
 *
 * The recording (made by tests/bench/record) is a sequence of entries: one line "METHOD TARGET request-body-length STATUS
 * head-length body-length", then the request's body, the answer's header lines and its body. A request is answered with the
 * first entry of the same method, target and body; 404 when there is none. One thread, epoll, HTTP/1.1 with connections kept
 * open. Prints "ready" when it listens; SIGTERM ends it, after a line with the number of requests and of unknown ones. LOG gets a
 * line for each request that comes and each answer that goes: microseconds, + or -, requests in flight, and for + what it was.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_REQUEST ((size_t)64 << 10)

struct entry {
    const char *method, *target, *req_body, *head, *body;
    size_t method_len, target_len, req_len, head_len, body_len;
    int status;
};

struct conn {
    int fd;
    bool waiting, dead;
    char *in;
    size_t in_len;
    char *out;
    size_t out_len, out_at;
    const struct entry *answer;
    int64_t due_us;
    struct conn *next; /* in the order of due times */
};

static struct entry *entries;
static size_t n_entries, cap_slots;
static uint32_t *slots; /* open addressing: number of the entry + 1 */
static struct conn *first_due, *last_due;
static int64_t latency_us;
static uint64_t served, unknown;
static volatile sig_atomic_t stop;
static FILE *trace;
static unsigned in_flight;

static void on_signal(int sig)
{
    stop = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint64_t hash(uint64_t h, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    return h;
}

static bool same(const char *a, size_t na, const char *b, size_t nb)
{
    return na == nb && memcmp(a, b, na) == 0;
}

static size_t slot_of(const char *method, size_t ml, const char *target, size_t tl, const char *body, size_t bl)
{
    uint64_t h = hash(hash(hash(0xcbf29ce484222325u, method, ml), target, tl), body, bl);
    size_t i = (size_t)(h ^ h >> 32) & (cap_slots - 1);
    for (; slots[i]; i = (i + 1) & (cap_slots - 1)) {
        const struct entry *e = &entries[slots[i] - 1];
        if (same(e->method, e->method_len, method, ml) && same(e->target, e->target_len, target, tl) &&
            same(e->req_body, e->req_len, body, bl))
            break;
    }
    return i;
}

static void load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        die(path);
    char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0), *end = p + st.st_size;
    if (p == MAP_FAILED)
        die(path);
    close(fd);
    size_t cap = 0;
    while (p < end) {
        char *nl = memchr(p, '\n', (size_t)(end - p));
        char *sp = nl ? memchr(p, ' ', (size_t)(nl - p)) : NULL, *sp2 = sp ? memchr(sp + 1, ' ', (size_t)(nl - sp - 1)) : NULL;
        size_t n[4] = {0}; /* body of the request, status, head, body; not with sscanf(), which measures all that follows each time */
        struct entry e = {.method = p};
        char *at = sp2;
        for (size_t i = 0; at && i < 4; i++)
            n[i] = strtoul(at, &at, 10);
        size_t req = n[0], head = n[2], body = n[3];
        if (!sp2 || at != nl || req + head + body > (size_t)(end - nl)) {
            fprintf(stderr, "server: '%s' is no recording\n", path);
            exit(1);
        }
        e.status = (int)n[1];
        e.method_len = (size_t)(sp - p);
        e.target = sp + 1;
        e.target_len = (size_t)(sp2 - sp - 1);
        e.req_body = nl + 1;
        e.req_len = req;
        e.head = e.req_body + req;
        e.head_len = head;
        e.body = e.head + head;
        e.body_len = body;
        p = nl + 1 + req + head + body;
        if (n_entries == cap && !(entries = realloc(entries, (cap = cap ? cap * 2 : 1024) * sizeof *entries)))
            die("memory");
        entries[n_entries++] = e;
    }
    for (cap_slots = 64; cap_slots < n_entries * 2;)
        cap_slots *= 2;
    if (!(slots = calloc(cap_slots, sizeof *slots)))
        die("memory");
    for (size_t i = 0; i < n_entries; i++) {
        const struct entry *e = &entries[i];
        size_t s = slot_of(e->method, e->method_len, e->target, e->target_len, e->req_body, e->req_len);
        if (!slots[s])
            slots[s] = (uint32_t)i + 1;
    }
}

static void make_answer(struct conn *c)
{
    const struct entry *e = c->answer;
    char head[256], date[64];
    time_t t = time(NULL);
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d Bench\r\nDate: %s\r\nContent-Length: %zu\r\n", e ? e->status : 404, date,
                     e ? e->body_len : 0);
    c->out_len = (size_t)n + (e ? e->head_len + e->body_len : 0) + 2;
    c->out_at = 0;
    if (!(c->out = malloc(c->out_len)))
        die("memory");
    char *p = mempcpy(c->out, head, (size_t)n);
    if (e)
        p = mempcpy(p, e->head, e->head_len);
    p = mempcpy(p, "\r\n", 2);
    if (e)
        memcpy(p, e->body, e->body_len);
}

static void await(int ep, struct conn *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static void hang_up(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    c->dead = true;
    if (c->waiting) /* freed when its time has come */
        return;
    free(c->in);
    free(c->out);
    free(c);
}

/* A whole request at the beginning of c->in? Then its answer is due after the latency. */
static void look(struct conn *c)
{
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (!end || c->waiting || c->out)
        return;
    size_t head = (size_t)(end - c->in) + 4, body = 0;
    for (char *l = c->in; l < end; l = (char *)memmem(l, (size_t)(end + 2 - l), "\r\n", 2) + 2)
        if (strncasecmp(l, "Content-Length:", 15) == 0)
            body = strtoul(l + 15, NULL, 10);
    if (c->in_len < head + body)
        return;
    char *sp = memchr(c->in, ' ', head), *sp2 = sp ? memchr(sp + 1, ' ', (size_t)(end - sp - 1)) : NULL;
    c->answer = NULL;
    if (sp2) {
        size_t s = slot_of(c->in, (size_t)(sp - c->in), sp + 1, (size_t)(sp2 - sp - 1), c->in + head, body);
        c->answer = slots[s] ? &entries[slots[s] - 1] : NULL;
    }
    served++;
    in_flight++;
    if (trace)
        fprintf(trace, "%lld + %u %d %.*s %.*s\n", (long long)now_us(), in_flight, c->answer ? c->answer->status : 404, (int)(sp2 ? sp2 - c->in : 0), c->in,
                (int)(body < 160 ? body : 160), body > 160 ? c->in + head + body - 160 : c->in + head);
    if (!c->answer && unknown++ < 1)
        fprintf(stderr, "server: not recorded: %.*s %.*s\n", (int)(sp2 ? sp2 - c->in : 0), c->in, (int)(body < 200 ? body : 200),
                c->in + head);
    memmove(c->in, c->in + head + body, c->in_len - head - body);
    c->in_len -= head + body;
    c->waiting = true;
    c->due_us = now_us() + latency_us;
    c->next = NULL;
    if (last_due)
        last_due->next = c;
    else
        first_due = c;
    last_due = c;
}

static void push(int ep, struct conn *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            await(ep, c, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n <= 0) {
            hang_up(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    free(c->out);
    c->out = NULL;
    await(ep, c, EPOLLIN);
    look(c);
}

static void pull(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, MAX_REQUEST - c->in_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->in_len += (size_t)n;
    look(c);
}

static void welcome(int ep, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct conn *c = calloc(1, sizeof *c);
    if (!c || !(c->in = malloc(MAX_REQUEST)))
        die("memory");
    c->fd = fd;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

static void answer_due(int ep)
{
    for (int64_t now = now_us(); first_due && first_due->due_us <= now;) {
        struct conn *c = first_due;
        first_due = c->next;
        if (!first_due)
            last_due = NULL;
        c->waiting = false;
        in_flight--;
        if (trace)
            fprintf(trace, "%lld - %u\n", (long long)now, in_flight);
        if (c->dead) {
            free(c->in);
            free(c);
            continue;
        }
        make_answer(c);
        push(ep, c);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: server RECORDING PORT LATENCY_MS [LOG]\n");
        return 2;
    }
    load(argv[1]);
    if (argc == 5 && !(trace = fopen(argv[4], "we")))
        die(argv[4]);
    latency_us = (int64_t)(strtod(argv[3], NULL) * 1000);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, ep = epoll_create1(EPOLL_CLOEXEC);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || ep < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024))
        die("listening");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, got[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    printf("ready\n");
    fflush(stdout);
    while (!stop) {
        int64_t wait = first_due ? first_due->due_us - now_us() : 1000000;
        struct timespec t = {.tv_sec = wait > 0 ? wait / 1000000 : 0, .tv_nsec = wait > 0 ? wait % 1000000 * 1000 : 0};
        int n = epoll_pwait2(ep, got, 256, &t, NULL);
        for (int i = 0; i < n; i++) {
            struct conn *c = got[i].data.ptr;
            if (!c)
                welcome(ep, listener);
            else if (c->out && (got[i].events & EPOLLOUT))
                push(ep, c);
            else
                pull(c);
        }
        answer_due(ep);
    }
    if (trace)
        fclose(trace);
    printf("%llu requests, %llu unknown\n", (unsigned long long)served, (unsigned long long)unknown);
    return 0;
}
