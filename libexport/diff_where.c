/* Where inside a value two records part: a board's lists differ in one number of one list, not as a whole. */
#include "libexport/diff_priv.h"

#include <string.h>

#define MAX_DEPTH 8

/* The one member in which two objects differ; NULL when there are none or several. */
static const char *odd_member(yyjson_val *a, yyjson_val *b, yyjson_val **out_a, yyjson_val **out_b)
{
    const char *odd = NULL;
    unsigned n = 0;
    yyjson_val *k;
    for (int second = 0; second < 2; second++) {
        yyjson_obj_iter it = yyjson_obj_iter_with(second ? b : a);
        while ((k = yyjson_obj_iter_next(&it))) {
            const char *name = yyjson_get_str(k);
            yyjson_val *x = yyjson_obj_get(a, name), *y = yyjson_obj_get(b, name);
            if ((second && x) || (x && y && gs_json_equal(x, y)))
                continue;
            n++;
            odd = name;
            *out_a = x;
            *out_b = y;
        }
    }
    return n == 1 ? odd : NULL;
}

/* The one element in which two arrays of one length differ; -1 when there are none or several. */
static int64_t odd_element(yyjson_val *a, yyjson_val *b)
{
    int64_t odd = -1;
    size_t n = yyjson_arr_size(a);
    if (n != yyjson_arr_size(b))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (gs_json_equal(yyjson_arr_get(a, i), yyjson_arr_get(b, i)))
            continue;
        if (odd >= 0)
            return -1;
        odd = (int64_t)i;
    }
    return odd;
}

/* Does every element of `a` stand in `b` as often as in `a`? */
static bool all_in(yyjson_val *a, yyjson_val *b)
{
    size_t i, j, max, max2;
    yyjson_val *x, *y;
    yyjson_arr_foreach(a, i, max, x)
    {
        size_t here = 0, there = 0;
        yyjson_arr_foreach(a, j, max2, y) here += gs_json_equal(x, y);
        yyjson_arr_foreach(b, j, max2, y) there += gs_json_equal(x, y);
        if (here > there)
            return false;
    }
    return true;
}

int diff_where(const char *attr, yyjson_val *a, yyjson_val *b, struct gs_buf *out, struct gs_err *err)
{
    if (gs_buf_addstr(out, attr, err))
        return -1;
    for (unsigned depth = 0; depth < MAX_DEPTH; depth++) {
        if (yyjson_is_arr(a) && yyjson_is_arr(b)) {
            int64_t i = odd_element(a, b);
            if (i < 0) {
                size_t na = yyjson_arr_size(a), nb = yyjson_arr_size(b);
                const char *how = na > nb && all_in(b, a)    ? " missing"
                                  : na < nb && all_in(a, b)  ? " extra"
                                  : na == nb && all_in(a, b) ? " order"
                                                             : "";
                return gs_buf_addstr(out, how, err);
            }
            if (gs_buf_addf(out, err, "[%lld]", (long long)i))
                return -1;
            a = yyjson_arr_get(a, (size_t)i);
            b = yyjson_arr_get(b, (size_t)i);
        } else if (yyjson_is_obj(a) && yyjson_is_obj(b)) {
            yyjson_val *x = NULL, *y = NULL;
            const char *name = odd_member(a, b, &x, &y);
            if (!name)
                return 0;
            if (gs_buf_addf(out, err, ".%s", name))
                return -1;
            a = x;
            b = y;
        } else {
            return 0;
        }
    }
    return 0;
}
