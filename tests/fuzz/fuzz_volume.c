/* A volume that somebody else wrote: label, layout, every member; and the label's text alone. */
#include "formats/volume_set.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct volume_file f;
    static struct volume_label l;
    struct gs_err err = {0};
    if (gs_secret_init(&err))
        abort();
    memset(&f, 0, sizeof f);
    gs_source_mem(data, size, &f.src);
    if (volume_file_open(&f, NULL, &err) == 0) {
        MUST(volume_is(&f.src));
        MUST(f.state == VOLUME_GOOD);
        MUST(f.core + TAR_END_LEN <= size && f.head.bytes <= f.core);
        if (volume_file_walk(&f, NULL, NULL, &err) != 0)
            MUST(gs_code_exit(err.code) == 20);
    } else {
        MUST(gs_code_exit(err.code) >= 20 && gs_code_exit(err.code) <= 23);
    }
    gs_source_close(&f.src);
    gs_err_clear(&err);
    if (volume_label_parse((const char *)data, size, &l, &err) == 0) {
        struct gs_buf again;
        gs_buf_init(&again, VOLUME_LABEL_MAX);
        MUST(l.number >= 1 && l.number <= l.data + l.parity && l.data + l.parity <= VOLUME_MAX);
        MUST(volume_label_write(&l, &again, &err) == 0);
        MUST(again.len == size && memcmp(again.data, data, size) == 0);
        gs_buf_release(&again);
    } else {
        MUST(err.code == GS_E_VOLUME_LABEL || err.code == GS_E_SCHEMA_NEWER);
    }
    return 0;
}
