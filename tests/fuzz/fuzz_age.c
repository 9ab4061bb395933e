/* An age file, identity file or recipient file that somebody else wrote. */
#include "formats/age.h"
#include "fuzz.h"

#include <string.h>

/* The files of the corpus are encrypted to it: age13aqvttdk3ujkyjh9kg2w5an6dmy5mq5a84a4uxk3hfhnugfc9p0sy5p2wh */
static const char identity[] = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG\n";

/* The derivation of a key is slow by intention, and says nothing about the file. */
static int no_passphrase(void *cookie, const char *file, struct gs_secret *out, struct gs_err *err)
{
    (void)cookie, (void)file, (void)out;
    return gs_fail(err, GS_E_AGE_PASSPHRASE, "none");
}

static void open_file(const uint8_t *data, size_t size, const struct age_identities *ids)
{
    static uint8_t buf[65536];
    struct gs_err err = {0};
    struct gs_source in, out;
    struct age_passphrase pass = {no_passphrase, NULL};
    struct age_open_opts o = {.name = "fuzz", .ids = ids, .pass = &pass};
    char id[AGE_ID_LEN];
    gs_source_mem(data, size, &in);
    bool is = age_is(&in), named = age_file_id(&in, id, &err) == 0;
    MUST(is || !named);
    gs_err_clear(&err);
    if (age_open(&in, &o, &out, &err)) {
        int code = gs_code_exit(err.code);
        MUST(code == 20 || code == 12 || code == 23 || err.code == GS_E_AGE_ARMOR);
        MUST(code != 12 || named || err.code == GS_E_AGE_WRONG_IDENTITY);
        MUST(is || err.code == GS_E_AGE_HEADER);
        return;
    }
    MUST(named && out.size < size);
    for (uint64_t off = 0; off < out.size;) {
        size_t n = 0, want = 1 + (size_t)(off % 3) * 30000;
        if (out.read_at(out.cookie, off, buf, want, &n, &err)) {
            MUST(err.code == GS_E_AGE_DAMAGED);
            break;
        }
        MUST(n > 0 && n <= want && n <= out.size - off);
        off += n;
    }
    gs_source_close(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct age_identities ids;
    struct gs_err err = {0};
    struct age_identities theirs = {0};
    if (!ids.n && (gs_secret_init(&err) || age_identities_parse(&ids, identity, strlen(identity), "fuzz", &err)))
        abort();
    open_file(data, size, &ids);
    if (age_identities_parse(&theirs, (const char *)data, size, "fuzz", &err))
        MUST(err.code == GS_E_AGE_KEY);
    else
        open_file(data, size, &theirs);
    age_identities_release(&theirs);
    char *text = strndup((const char *)data, size);
    struct age_recipients to = {0};
    if (text && strncasecmp(text, "age", 3) == 0 && strlen(text) < 100 && !strchr(text, '\n') &&
        strchr(text, '1') == text + 3) {
        if (age_recipients_add(&to, text, &err))
            MUST(err.code == GS_E_AGE_KEY);
        else
            MUST(to.n == 1);
    }
    age_recipients_release(&to);
    free(text);
    return 0;
}
