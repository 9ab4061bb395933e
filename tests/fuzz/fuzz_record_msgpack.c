/* Records in msgpack: what our walk accepts, msgpack-c reads too, and it comes back from JSON as the same JSON. */
#include "fuzz.h"

#include "formats/record.h"

#include <msgpack.h>
#include <string.h>

static const struct record_limits lim = {.max_bytes = 1 << 16, .max_depth = 24};

static void one_record(const char *data, size_t len)
{
    struct gs_err err = {0};
    struct gs_buf json, mp, again;
    gs_buf_init(&json, 1 << 20);
    gs_buf_init(&mp, 1 << 20);
    gs_buf_init(&again, 1 << 20);
    msgpack_unpacked u;
    size_t off = 0;
    msgpack_unpacked_init(&u);
    MUST(msgpack_unpack_next(&u, data, len, &off) == MSGPACK_UNPACK_SUCCESS && off == len);
    msgpack_unpacked_destroy(&u);
    MUST(record_to_json(RECORD_MSGPACK, data, len, &lim, &json, &err) == 0);
    yyjson_doc *d = NULL;
    MUST(record_parse(RECORD_MSGPACK, data, len, &lim, &d, &err) == 0);
    yyjson_doc_free(d);
    if (json.len <= lim.max_bytes) {
        MUST(record_encode(RECORD_MSGPACK, gs_buf_str(&json), json.len, &lim, &mp, &err) == 0);
        MUST(mp.len <= len); /* ours is the shortest form */
        MUST(record_to_json(RECORD_MSGPACK, mp.data, mp.len, &lim, &again, &err) == 0);
        MUST(json.len == again.len && memcmp(json.data, again.data, json.len) == 0);
    }
    gs_buf_release(&json);
    gs_buf_release(&mp);
    gs_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    while (size > 0) {
        struct gs_err err = {0};
        size_t n = 0, part = 0;
        if (record_next(RECORD_MSGPACK, p, size, true, &lim, &n, &err))
            break;
        MUST(n > 0 && n <= size);
        /* a piece of it is never a record by itself */
        MUST(record_next(RECORD_MSGPACK, p, n - 1, false, &lim, &part, &err) == 0 && part == 0);
        one_record(p, n);
        p += n;
        size -= n;
    }
    return 0;
}
