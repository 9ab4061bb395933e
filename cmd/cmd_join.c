/* join: volumes back into the file that was divided. repair: the volumes that lack. */
#include "cmd/cli.h"
#include "cmd/volumes.h"

#include <string.h>
#include <sys/stat.h>

#define COPY ((size_t)1 << 20)

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    const char *output;
};

static const struct cli_opt join_opts[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "FILE",
     .required = true,
     .help = "the file to make; it must not exist"},
    {0},
};
static const struct cli_opt repair_opts[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "DIR",
     .help = "where the volumes that lack are made (the folder of the first one)"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

/* The set with every byte looked at, shown unless all is well; GS_E_VOLUME_* when it is not enough. */
static int open_checked(struct cli *cli, const struct opts *o, const struct sign_trust *trust, int argc, char **argv,
                        struct volume_set **out, struct gs_err *err)
{
    struct volumes_screen screen;
    struct volume_progress p = volumes_progress(&screen, cli, "checking");
    GS_AUTO(volume_set) s = NULL;
    if (volumes_open((const char *const *)argv, (size_t)argc, false, trust, &s, err) ||
        volume_set_verify(s, o->trust.threads, &p, err))
        return -1;
    cli_progress_end(cli);
    struct gs_err why = {0};
    bool enough = volume_set_enough(s, &why) == 0;
    const struct volume_seen *v;
    size_t n = volume_set_seen(s, &v), bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += v[i].state != VOLUME_GOOD;
    if ((bad || o->c.json) && volumes_show(cli, s, enough, err))
        return -1;
    if (!enough) {
        *err = why;
        return -1;
    }
    *out = gs_steal(&s);
    return 0;
}

/* ---- join ---- */

static int copy(struct cli *cli, const struct gs_source *src, struct gs_stage *st, struct gs_err *err)
{
    struct volumes_screen screen;
    struct volume_progress p = volumes_progress(&screen, cli, "joining");
    gs_autofree char *buf = malloc(COPY);
    if (!buf)
        return gs_fail(err, GS_E_NOMEM, "no memory to copy with");
    for (uint64_t off = 0; off < src->size;) {
        size_t n = src->size - off < COPY ? (size_t)(src->size - off) : COPY;
        if (cli_stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before the volumes were joined; nothing of it is left");
        if (gs_source_read(src, off, buf, n, err) || gs_write_all(st->fd, buf, n, st->path, err))
            return -1;
        off += n;
        p.tell(p.cookie, off, src->size);
    }
    return 0;
}

static int join(struct cli *cli, const struct opts *o, const struct sign_trust *trust, int argc, char **argv,
                uint64_t *out_size, struct gs_err *err)
{
    struct volume_set *s = NULL;
    struct gs_source src = {0};
    struct gs_stage st = {.fd = -1};
    if (open_checked(cli, o, trust, argc, argv, &s, err) || volume_set_source(s, &src, err))
        return -1;
    int r = gs_stage_open(&st, o->output, 0644, false, err) || copy(cli, &src, &st, err) || gs_stage_commit(&st, err)
                ? -1
                : 0;
    *out_size = src.size;
    gs_stage_release(&st);
    gs_source_close(&src);
    cli_progress_end(cli);
    return r;
}

static int run_join(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    uint64_t size;
    if (cli_trust_load(&o->trust, true, &trust, &err) || join(cli, o, &trust, argc, argv, &size, &err))
        return cli_error(cli, &err);
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "join", &err);
        gs_jw_kstr(&w, "file", cli_valid(o->output));
        gs_jw_ki64(&w, "bytes", (int64_t)size);
        return cli_json_end(cli, &w) ? cli_error(cli, &err) : 0;
    }
    cli_out(cli, "'%s' is what was divided (%s)\n", cli_safe(o->output), cli_bytes(size));
    return 0;
}

/* ---- repair ---- */

/* BASE.volNN in the folder asked for, and when something bad has that name, BASE.volNN.repaired. */
static char *place_for(const struct opts *o, const char *base, unsigned number, unsigned of)
{
    struct stat st;
    const char *slash = strrchr(base, '/');
    gs_autofree char *at = o->output ? gs_asprintf("%s/%s", o->output, slash ? slash + 1 : base) : strdup(base);
    gs_autofree char *name = at ? volume_file_name(at, number, of) : NULL;
    if (!name)
        return NULL;
    return lstat(name, &st) == 0 ? gs_asprintf("%s.repaired", name) : strdup(name);
}

static int rebuild(struct cli *cli, const struct opts *o, struct volume_set *s, const char *base, struct gs_jw *w,
                   unsigned *out_made, struct gs_err *err)
{
    struct volumes_screen screen;
    struct volume_progress p = volumes_progress(&screen, cli, "computing");
    struct volume_about a;
    const struct volume_seen *v;
    volume_set_about(s, &a);
    volume_set_seen(s, &v);
    for (unsigned i = 0; i < a.data + a.parity; i++) {
        if (v[i].state == VOLUME_GOOD)
            continue;
        gs_autofree char *path = place_for(o, base, v[i].number, a.data + a.parity);
        if (!path)
            return gs_fail(err, GS_E_NOMEM, "no memory for a path");
        if (volume_set_rebuild(s, v[i].number, path, &p, err))
            return -1;
        cli_progress_end(cli);
        ++*out_made;
        if (o->c.json) {
            gs_jw_obj(w);
            gs_jw_ki64(w, "volume", v[i].number);
            gs_jw_kstr(w, "file", cli_valid(path));
            gs_jw_end(w);
        } else {
            cli_out(cli, "volume %u is in '%s' again\n", v[i].number, cli_safe(path));
        }
    }
    return 0;
}

static int repair(struct cli *cli, const struct opts *o, const struct sign_trust *trust, int argc, char **argv,
                  struct gs_err *err)
{
    GS_AUTO(volume_set) s = NULL;
    const struct volume_seen *v;
    gs_autofree char *base = NULL;
    struct gs_jw w;
    gs_autobuf buf;
    unsigned made = 0;
    gs_buf_init(&buf, 1 << 20);
    if (open_checked(cli, o, trust, argc, argv, &s, err))
        return -1;
    size_t n = volume_set_seen(s, &v);
    for (size_t i = 0; i < n && !base; i++)
        base = v[i].state == VOLUME_GOOD ? volume_base(v[i].path) : NULL;
    if (!base)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (o->c.json) {
        cli_json_begin(&w, &buf, "repair", err);
        gs_jw_key(&w, "made");
        gs_jw_arr(&w);
    }
    if (rebuild(cli, o, s, base, &w, &made, err))
        return -1;
    if (o->c.json) {
        gs_jw_end(&w);
        return cli_json_end(cli, &w);
    }
    if (made == 0)
        cli_out(cli, "nothing lacks: all volumes are there and good\n");
    return 0;
}

static int run_repair(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust __attribute__((cleanup(sign_trust_release))) = {0};
    return cli_trust_load(&o->trust, true, &trust, &err) || repair(cli, o, &trust, argc, argv, &err)
               ? cli_error(cli, &err)
               : 0;
}

const struct cli_verb cli_verb_join = {
    .name = "join",
    .args = "VOLUME...|DIR",
    .min_args = 1,
    .max_args = 4096,
    .summary = "Put volumes together into the file that was divided",
    .text = "Name one volume of several in one folder, the folder, or all of them, in any order and under any names. "
            "Every byte of them\n"
            "is checked first; what lacks is computed as far as the parity goes. The volumes stay as they are. Joining "
            "is not needed to\n"
            "read a bundle: every command takes a volume or the folder in its place.",
    .opts = join_opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run_join,
};

const struct cli_verb cli_verb_repair = {
    .name = "repair",
    .args = "VOLUME...|DIR",
    .min_args = 1,
    .max_args = 4096,
    .summary = "Make volumes anew that are lost or damaged",
    .text = "As many as the set has parity volumes can be made out of the others, data and parity alike, byte for byte "
            "as they were. No\n"
            "file is replaced or removed: when a damaged one has the name, the new one is called NAME.repaired.",
    .opts = repair_opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run_repair,
};
