/* Reed-Solomon over GF(2^8) with ISA-L: a Cauchy matrix below the unit matrix, of which any `data` rows can be
 * inverted. */
#include "volume_priv.h"

#include <isa-l/erasure_code.h>
#include <string.h>

static uint8_t *matrix(unsigned data, unsigned parity, struct gs_err *err)
{
    uint8_t *m = malloc((size_t)(data + parity) * data);
    if (!m)
        gs_fail(err, GS_E_NOMEM, "no memory for a matrix");
    else
        gf_gen_cauchy1_matrix(m, (int)(data + parity), (int)data);
    return m;
}

int volume_code_parity(unsigned data, unsigned parity, uint8_t *rows, struct gs_err *err)
{
    gs_autofree uint8_t *m = matrix(data, parity, err);
    if (!m)
        return -1;
    memcpy(rows, m + (size_t)data * data, (size_t)parity * data);
    return 0;
}

int volume_code_row(unsigned data, unsigned parity, const unsigned *from, unsigned want, uint8_t *row,
                    struct gs_err *err)
{
    size_t n = data;
    gs_autofree uint8_t *m = matrix(data, parity, err), *part = malloc(n * n), *inverse = malloc(n * n);
    if (!m)
        return -1;
    if (!part || !inverse)
        return gs_fail(err, GS_E_NOMEM, "no memory for a matrix");
    for (size_t i = 0; i < n; i++)
        memcpy(part + i * n, m + (from[i] - 1) * n, n);
    if (gf_invert_matrix(part, inverse, (int)n))
        return gs_fail(err, GS_E_INTERNAL, "the volumes do not determine each other");
    const uint8_t *w = m + (want - 1) * n; /* as a sum of data volumes, which are sums of `from` */
    for (size_t c = 0; c < n; c++) {
        uint8_t sum = 0;
        for (size_t k = 0; k < n; k++)
            sum ^= gf_mul(w[k], inverse[k * n + c]);
        row[c] = sum;
    }
    return 0;
}

uint8_t *volume_code_tables(unsigned data, unsigned rows, const uint8_t *row)
{
    uint8_t *t = malloc((size_t)32 * data * rows);
    if (t)
        ec_init_tables((int)data, (int)rows, (unsigned char *)(uintptr_t)row, t);
    return t;
}

void volume_code_apply(unsigned data, unsigned rows, const uint8_t *tables, size_t len, uint8_t **in, uint8_t **out)
{
    ec_encode_data((int)len, (int)data, (int)rows, (unsigned char *)(uintptr_t)tables, in, out);
}
