/*
 * bench/fetch: asks for everything in a recording, N requests at once on connections that are kept open, and throws the
 * answers away. What a capture of the same requests is measured against: nobody can be faster than this without asking less.
 *
 *     fetch RECORDING URL N
 *
 * Prints the number of requests. Any answer but the recorded one, by status and length, ends it with 1.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *target, *body; /* NULL: GET */
    size_t body_len, answer_len;
    int status;
};

struct slot {
    CURL *easy;
    const struct entry *e;
    size_t got;
};

static struct entry *entries;
static size_t n_entries, next_entry, done;

static void fail(const char *what, const char *more)
{
    fprintf(stderr, "fetch: %s %s\n", what, more);
    exit(1);
}

static char *copy(const char *s, size_t n)
{
    char *p = malloc(n + 1);
    if (!p)
        fail("no memory", "");
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

static void load(const char *path)
{
    FILE *f = fopen(path, "rb");
    char method[16], *target = malloc(65536);
    size_t req, head, body, cap = 0;
    int status;
    if (!f || !target)
        fail("cannot read", path);
    while (fscanf(f, "%15s %65535s %zu %d %zu %zu", method, target, &req, &status, &head, &body) == 6) {
        if (fgetc(f) != '\n')
            fail("no recording:", path);
        if (n_entries == cap && !(entries = realloc(entries, (cap = cap ? cap * 2 : 1024) * sizeof *entries)))
            fail("no memory", "");
        struct entry *e = &entries[n_entries++];
        *e = (struct entry){.target = copy(target, strlen(target)), .body_len = req, .answer_len = body, .status = status};
        if (strcmp(method, "GET") != 0) {
            e->body = copy("", req);
            if (fread(e->body, 1, req, f) != req)
                fail("no recording:", path);
        }
        if (fseek(f, (long)(head + body + (e->body ? 0 : req)), SEEK_CUR))
            fail("no recording:", path);
    }
    fclose(f);
    free(target);
}

static size_t sink(char *data, size_t size, size_t n, void *arg)
{
    ((struct slot *)arg)->got += size * n;
    return size * n;
}

static bool start(CURLM *m, struct slot *s, const char *base, struct curl_slist *json)
{
    if (next_entry == n_entries)
        return false;
    s->e = &entries[next_entry++];
    s->got = 0;
    char url[70000];
    snprintf(url, sizeof url, "%s%s", base, s->e->target);
    curl_easy_reset(s->easy);
    curl_easy_setopt(s->easy, CURLOPT_URL, url);
    curl_easy_setopt(s->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, sink);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    if (s->e->body) {
        curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->e->body);
        curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE, (long)s->e->body_len);
        curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, json);
    }
    curl_multi_add_handle(m, s->easy);
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: fetch RECORDING URL N\n");
        return 2;
    }
    load(argv[1]);
    size_t n = strtoul(argv[3], NULL, 10);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *m = curl_multi_init();
    struct curl_slist *json = curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
    struct slot *slots = calloc(n ? n : 1, sizeof *slots);
    if (!m || !slots)
        fail("no memory", "");
    for (size_t i = 0; i < n; i++)
        if (!(slots[i].easy = curl_easy_init()) || !start(m, &slots[i], argv[2], json))
            break;
    for (int running = 1; done < n_entries;) {
        curl_multi_perform(m, &running);
        int left;
        for (CURLMsg *msg; (msg = curl_multi_info_read(m, &left));) {
            struct slot *s = NULL;
            long status = 0;
            curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &s);
            curl_easy_getinfo(msg->easy_handle, CURLINFO_RESPONSE_CODE, &status);
            if (msg->data.result != CURLE_OK || status != s->e->status || s->got != s->e->answer_len)
                fail("another answer than recorded:", s->e->target);
            curl_multi_remove_handle(m, s->easy);
            done++;
            start(m, s, argv[2], json);
        }
        if (running > 0 || done < n_entries)
            curl_multi_poll(m, NULL, 0, 1000, NULL);
    }
    printf("%zu\n", done);
    return 0;
}
