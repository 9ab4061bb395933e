#include "cmd/volumes.h"

#include "libcommon/clock.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- which files ---- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_volume(const char *path)
{
    struct gs_source src;
    struct gs_err err = {0};
    if (gs_source_open(path, &src, &err))
        return false;
    bool is = volume_is(&src);
    gs_source_close(&src);
    return is;
}

bool volume_paths_meant(const char *path)
{
    return is_folder(path) || is_volume(path);
}

static int add_path(struct volume_paths *p, char *path, struct gs_err *err)
{
    char **v = path ? realloc(p->v, (p->n + 1) * sizeof *v) : NULL;
    if (!v) {
        free(path);
        return gs_fail(err, GS_E_NOMEM, "no memory for a list of volumes");
    }
    p->v = v;
    p->v[p->n++] = path;
    return 0;
}

/* The volumes in a folder; `first` (or NULL) stands in front of them. */
static int add_folder(struct volume_paths *p, const char *dir, const char *first, struct gs_err *err)
{
    struct dirent **names = NULL;
    struct stat a, b;
    int n = scandir(dir, &names, NULL, alphasort), r = 0;
    if (n < 0)
        return gs_fail_sys(err, errno == ENOENT ? GS_E_NOT_FOUND : GS_E_IO, errno, "reading folder '%s'", dir);
    if (first)
        r = add_path(p, strdup(first), err);
    for (int i = 0; i < n; i++) {
        char *path = r                       ? NULL
                     : strcmp(dir, ".") == 0 ? strdup(names[i]->d_name)
                                             : gs_asprintf("%s/%s", dir, names[i]->d_name);
        bool again = path && first && stat(path, &a) == 0 && stat(first, &b) == 0 && a.st_ino == b.st_ino &&
                     a.st_dev == b.st_dev;
        if (path && !again && is_volume(path))
            r = add_path(p, path, err);
        else
            free(path);
        free(names[i]);
    }
    free(names);
    return r;
}

int volume_paths_expand(const char *const *args, size_t n, bool alone, struct volume_paths *out, struct gs_err *err)
{
    *out = (struct volume_paths){0};
    for (size_t i = 0; i < n; i++) {
        if (is_folder(args[i])) {
            size_t before = out->n;
            if (add_folder(out, args[i], NULL, err))
                return -1;
            if (out->n == before)
                return gs_fail(err, GS_E_NOT_A_BUNDLE, "no volume is in folder '%s'", args[i]);
        } else if (n == 1 && !alone && is_volume(args[i])) {
            const char *slash = strrchr(args[i], '/');
            gs_autofree char *dir =
                slash ? strndup(args[i], (size_t)(slash - args[i]) + (slash == args[i])) : strdup(".");
            if (!dir)
                return gs_fail(err, GS_E_NOMEM, "no memory for a path");
            if (add_folder(out, dir, args[i], err))
                return -1;
        } else if (add_path(out, strdup(args[i]), err)) {
            return -1;
        }
    }
    return 0;
}

void volume_paths_release(struct volume_paths *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->v[i]);
    free(p->v);
    *p = (struct volume_paths){0};
}

char *volume_base(const char *path)
{
    size_t n = strlen(path), digits = 0;
    while (digits < n && path[n - 1 - digits] >= '0' && path[n - 1 - digits] <= '9')
        digits++;
    bool ours = digits >= 2 && n > digits + 4 && memcmp(path + n - digits - 4, ".vol", 4) == 0;
    return strndup(path, ours ? n - digits - 4 : n);
}

int volumes_open(const char *const *args, size_t n, bool alone, const struct sign_trust *trust, struct volume_set **out,
                 struct gs_err *err)
{
    struct volume_paths p __attribute__((cleanup(volume_paths_release))) = {0};
    if (volume_paths_expand(args, n, alone, &p, err))
        return -1;
    return volume_set_open((const char *const *)p.v, p.n, trust, out, err);
}

/* ---- how it is shown ---- */

static int show_json(struct cli *cli, const struct volume_set *s, bool enough, struct gs_err *err)
{
    struct volume_about a;
    const struct volume_seen *v;
    size_t n = volume_set_seen(s, &v), good = 0;
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)64 << 20);
    volume_set_about(s, &a);
    cli_json_begin(&w, &buf, "volumes", err);
    gs_jw_kstr(&w, "set", a.set);
    gs_jw_ki64(&w, "data", a.data);
    gs_jw_ki64(&w, "parity", a.parity);
    gs_jw_key(&w, "volumes");
    gs_jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        good += i < a.data + a.parity && v[i].state == VOLUME_GOOD;
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "file", v[i].path ? cli_valid(v[i].path) : NULL);
        gs_jw_key(&w, "volume");
        if (v[i].number)
            gs_jw_i64(&w, v[i].number);
        else
            gs_jw_null(&w);
        gs_jw_kstr(&w, "state", volume_state_name(v[i].state));
        gs_jw_kbool(&w, "parity", v[i].parity);
        gs_jw_ki64(&w, "bytes", (int64_t)v[i].bytes);
        gs_jw_kstr(&w, "set", v[i].set[0] ? v[i].set : NULL);
        gs_jw_kstr(&w, "code", v[i].why.code ? gs_code_name(v[i].why.code) : NULL);
        gs_jw_kstr(&w, "text", v[i].why.code ? cli_valid(v[i].why.text) : NULL);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_ki64(&w, "good", (int64_t)good);
    gs_jw_kbool(&w, "enough", enough);
    gs_jw_key(&w, "of");
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "kind", a.is_bundle ? "bundle" : "other");
    gs_jw_ki64(&w, "bytes", (int64_t)a.size);
    gs_jw_kstr(&w, "digest", a.digest[0] ? a.digest : NULL);
    gs_jw_kstr(&w, "root", a.root[0] ? a.root : NULL);
    gs_jw_kstr(&w, "created_at", a.created_at[0] ? a.created_at : NULL);
    gs_jw_end(&w);
    return cli_json_end(cli, &w);
}

int volumes_show(struct cli *cli, const struct volume_set *s, bool enough, struct gs_err *err)
{
    struct volume_about a;
    const struct volume_seen *v;
    size_t n = volume_set_seen(s, &v), good = 0;
    if (cli->common->json)
        return show_json(cli, s, enough, err);
    volume_set_about(s, &a);
    cli_out(cli, "volumes     %u of data, %u of parity, set %s\n", a.data, a.parity, a.set);
    cli_out(cli, "of          %s, %s%s%s%s%s\n", a.is_bundle ? "a bundle" : "a file", cli_bytes(a.size),
            a.root[0] ? ", group " : "", cli_safe(a.root), a.created_at[0] ? ", made " : "", cli_safe(a.created_at));
    for (size_t i = 0; i < n; i++) {
        bool of_set = i < a.data + a.parity;
        char number[16] = "-";
        if (v[i].number)
            snprintf(number, sizeof number, "%u", v[i].number);
        good += of_set && v[i].state == VOLUME_GOOD;
        cli_out(cli, "%5s %-6s %-10s %s", number, of_set && v[i].parity ? "parity" : "", volume_state_name(v[i].state),
                v[i].path ? cli_safe(v[i].path) : "");
        if (v[i].path)
            cli_out(cli, " (%s)", cli_bytes(v[i].bytes));
        cli_out(cli, "\n");
        if (v[i].why.code)
            cli_out(cli, "             %s [%s]\n", cli_safe(v[i].why.text), gs_code_name(v[i].why.code));
    }
    cli_out(cli, "enough      %s: %zu of %u are good, %u are needed\n", enough ? "yes" : "NO", good, a.data + a.parity,
            a.data);
    return 0;
}

static void tell(void *cookie, uint64_t done, uint64_t total)
{
    const struct volumes_screen *s = cookie;
    int64_t ms = gs_mono_ms() - s->begun_ms;
    cli_progress(s->cli, "%s: %s of %s, %s/s", s->what, cli_bytes(done), cli_bytes(total),
                 cli_bytes(ms > 0 ? (uint64_t)((double)done / (double)ms * 1000) : 0));
}

struct volume_progress volumes_progress(struct volumes_screen *to, struct cli *cli, const char *what)
{
    *to = (struct volumes_screen){cli, what, gs_mono_ms()};
    return (struct volume_progress){.stop = &cli_stop, .tell = tell, .cookie = to};
}
