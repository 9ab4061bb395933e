#include "libexport/idset.h"

#include <stdlib.h>

void idset_init(struct idset *s)
{
    *s = (struct idset){0};
}

void idset_release(struct idset *s)
{
    free(s->slots);
    *s = (struct idset){0};
}

static size_t place(const int64_t *slots, size_t cap, int64_t id)
{
    uint64_t h = (uint64_t)id * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h >> 32) & (cap - 1);
    while (slots[i] != 0 && slots[i] != id)
        i = (i + 1) & (cap - 1);
    return i;
}

static int grow(struct idset *s, struct gs_err *err)
{
    size_t cap = s->cap ? s->cap * 2 : 64;
    int64_t *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return gs_fail(err, GS_E_NOMEM, "no memory for a set of %zu ids", cap);
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i])
            slots[place(slots, cap, s->slots[i])] = s->slots[i];
    free(s->slots);
    s->slots = slots;
    s->cap = cap;
    return 0;
}

int idset_add(struct idset *s, int64_t id, bool *out_new, struct gs_err *err)
{
    *out_new = true;
    if (id <= 0)
        return 0;
    if (s->n * 4 >= s->cap * 3 && grow(s, err))
        return -1;
    size_t i = place(s->slots, s->cap, id);
    if (s->slots[i] == id) {
        *out_new = false;
        return 0;
    }
    s->slots[i] = id;
    s->n++;
    return 0;
}

bool idset_has(const struct idset *s, int64_t id)
{
    return s->cap > 0 && id > 0 && s->slots[place(s->slots, s->cap, id)] == id;
}
