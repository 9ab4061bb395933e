#include "libreplay/print.h"

#include <sodium.h>
#include <string.h>

static bool is_nothing(yyjson_val *v)
{
    return !v || yyjson_is_null(v) || (yyjson_is_bool(v) && !yyjson_get_bool(v)) ||
           (yyjson_is_str(v) && yyjson_get_len(v) == 0) || (yyjson_is_arr(v) && yyjson_arr_size(v) == 0) ||
           (yyjson_is_int(v) && yyjson_get_uint(v) == 0);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The ids of an array of objects; their order means nothing. */
static int add_ids(yyjson_val *arr, struct gs_buf *out, struct gs_err *err)
{
    size_t i, max, n = 0;
    yyjson_val *it;
    gs_autofree int64_t *ids = calloc(yyjson_arr_size(arr) + 1, sizeof *ids);
    if (!ids)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    yyjson_arr_foreach(arr, i, max, it)
    {
        if (gs_json_i64(it, "id", &ids[n]))
            n++;
    }
    qsort(ids, n, sizeof *ids, by_value);
    for (i = 0; i < n; i++)
        if (gs_buf_addf(out, err, "%lld,", (long long)ids[i]))
            return -1;
    return 0;
}

static int add_field(yyjson_val *obj, const char *name, struct gs_buf *out, struct gs_err *err)
{
    const char *dot = strchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : strlen(name);
    bool each = dot && n > 2 && strncmp(dot - 2, "[]", 2) == 0;
    yyjson_val *v = yyjson_obj_getn(obj, name, each ? n - 2 : n);
    if (dot && !each)
        v = yyjson_obj_get(v, dot + 1);
    if (is_nothing(v))
        return 0;
    if (gs_buf_add(out, name, strlen(name) + 1, err))
        return -1;
    return (each ? add_ids(v, out, err) : gs_json_canonical(v, out, err)) || gs_buf_addc(out, 0, err) ? -1 : 0;
}

int64_t print_of(yyjson_val *obj, const char *const *fields)
{
    struct gs_err ignored = {0};
    unsigned char sum[crypto_generichash_BYTES_MIN];
    int64_t print;
    gs_autobuf text;
    gs_buf_init(&text, (size_t)256 << 20);
    if (!yyjson_is_obj(obj) || !yyjson_obj_get(obj, fields[0]))
        return 0;
    for (; *fields; fields++)
        if (add_field(obj, *fields, &text, &ignored))
            return 0;
    crypto_generichash(sum, sizeof sum, (const unsigned char *)gs_buf_str(&text), text.len, NULL, 0);
    memcpy(&print, sum, sizeof print);
    return print ? print : 1;
}

void print_answer(const struct gl_response *rsp, int64_t id, const char *const *fields, int64_t *io)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_err ignored = {0};
    if (rsp->status < 200 || rsp->status >= 300 || rsp->body.len == 0 ||
        gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, NULL, &doc, &ignored))
        return;
    yyjson_val *root = yyjson_doc_get_root(doc), *it;
    size_t i, max;
    int64_t got, print = 0;
    if (yyjson_is_obj(root) && gs_json_i64(root, "id", &got) && got == id)
        print = print_of(root, fields);
    yyjson_arr_foreach(root, i, max, it)
    {
        if (!print && gs_json_i64(it, "id", &got) && got == id)
            print = print_of(it, fields);
    }
    if (print)
        *io = print;
}
