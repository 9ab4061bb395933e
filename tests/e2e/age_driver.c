/*
 * Drives formats/age for the tests and measurements that are no C.
 *
 *   age_driver open FILE [-i IDENTITY]... [-p PASSPHRASE_FILE]   the plaintext on stdout; an error's stable name on
 * stderr, exit 1 age_driver seal FILE [-r RECIPIENT]... [-p PASSPHRASE_FILE] [-w WORK_FACTOR]   the encrypted file on
 * stdout
 */
#include "formats/age.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)1 << 20)

struct args {
    struct age_identities ids;
    struct age_recipients to;
    const char *passphrase_file;
    unsigned work_factor;
};

static int ask(void *cookie, const char *file, struct gs_secret *out, struct gs_err *err)
{
    const struct args *a = cookie;
    (void)file;
    if (!a->passphrase_file)
        return gs_fail(err, GS_E_AGE_PASSPHRASE, "no passphrase file");
    return gs_secret_from_file(out, a->passphrase_file, err);
}

static int open_file(struct args *a, const char *path, struct gs_err *err)
{
    struct age_passphrase pass = {.ask = ask, .cookie = a};
    struct age_open_opts o = {.name = path, .ids = &a->ids, .pass = &pass};
    struct gs_source in, out;
    gs_autofree char *piece = malloc(PIECE);
    if (!piece || gs_source_open(path, &in, err) || age_open(&in, &o, &out, err))
        return -1;
    int r = 0;
    for (uint64_t off = 0; off < out.size && r == 0;) {
        size_t n = 0;
        r = out.read_at(out.cookie, off, piece, PIECE, &n, err) || gs_write_all(STDOUT_FILENO, piece, n, "stdout", err);
        off += n;
    }
    gs_source_close(&out);
    return r;
}

static int seal_file(struct args *a, const char *path, struct gs_err *err)
{
    struct gs_secret pass = {0};
    GS_AUTO(age_seal) seal = NULL;
    GS_AUTO(age_writer) w = NULL;
    struct gs_source in;
    if (gs_source_open(path, &in, err) || (a->passphrase_file && gs_secret_from_file(&pass, a->passphrase_file, err)) ||
        age_seal_new(&a->to, a->passphrase_file ? &pass : NULL, a->work_factor, &seal, err) ||
        age_writer_new(seal, 0, STDOUT_FILENO, "stdout", &w, err))
        return -1;
    gs_secret_release(&pass);
    int r = age_writer_copy(w, &in, 0, in.size, err);
    if (r == 0)
        r = age_writer_finish(w, err);
    age_writer_free(gs_steal(&w)); /* its threads read from the source */
    gs_source_close(&in);
    return r;
}

int main(int argc, char **argv)
{
    struct args a = {0};
    struct gs_err err = {0};
    int r = gs_secret_init(&err);
    if (argc < 3)
        return 2;
    for (int i = 3; i + 1 < argc && r == 0; i += 2) {
        if (strcmp(argv[i], "-i") == 0)
            r = age_identities_add(&a.ids, argv[i + 1], NULL, &err);
        else if (strcmp(argv[i], "-r") == 0)
            r = age_recipients_add(&a.to, argv[i + 1], &err);
        else if (strcmp(argv[i], "-p") == 0)
            a.passphrase_file = argv[i + 1];
        else if (strcmp(argv[i], "-w") == 0)
            a.work_factor = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else
            return 2;
    }
    if (r == 0)
        r = strcmp(argv[1], "seal") == 0 ? seal_file(&a, argv[2], &err) : open_file(&a, argv[2], &err);
    age_identities_release(&a.ids);
    age_recipients_release(&a.to);
    if (r)
        fprintf(stderr, "%s\n%s\n", gs_code_name(err.code), err.text);
    return r ? 1 : 0;
}
