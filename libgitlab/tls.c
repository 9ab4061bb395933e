#include "http_priv.h"

#include "libcommon/io.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAX_CA_BYTES ((size_t)16 << 20)
#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

static void auto_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int add_file(const char *path, struct gs_buf *all, bool *out_found, struct gs_err *err)
{
    gs_autobuf b;
    gs_buf_init(&b, MAX_CA_BYTES);
    if (gs_read_file(path, MAX_CA_BYTES, &b, err))
        return -1;
    *out_found = memmem(gs_buf_str(&b), b.len, PEM_BEGIN, strlen(PEM_BEGIN)) != NULL;
    if (!*out_found)
        return 0;
    if (gs_buf_add(all, b.data, b.len, err) || gs_buf_addc(all, '\n', err))
        return -1;
    return 0;
}

/* Every file of a folder that holds certificates; hashed names are not needed. */
static int add_folder(const char *path, struct gs_buf *all, bool *out_found, struct gs_err *err)
{
    __attribute__((cleanup(auto_dir))) DIR *d = opendir(path);
    if (!d)
        return gs_fail_sys(err, GS_E_IO, errno, "opening folder '%s'", path);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        gs_autofree char *file = gs_asprintf("%s/%s", path, e->d_name);
        if (!file)
            return gs_fail(err, GS_E_NOMEM, "no memory for a path");
        struct stat st;
        if (stat(file, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        bool found = false;
        if (add_file(file, all, &found, err))
            return -1;
        *out_found |= found;
    }
    return 0;
}

/* A file in memory that libcurl can open by name. */
static int make_file(struct gl_ca *ca, const struct gs_buf *text, struct gs_err *err)
{
    gs_autofd int fd = memfd_create("groupsnap-ca", MFD_CLOEXEC);
    if (fd < 0)
        return 0;
    if (gs_write_all(fd, text->data, text->len, "the CAs", err))
        return -1;
    gs_autofree char *path = gs_asprintf("/proc/self/fd/%d", fd);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (access(path, R_OK) != 0)
        return 0;
    ca->path = gs_steal(&path);
    ca->fd = gs_steal_fd(&fd);
    return 0;
}

/*
 * libcurl reads and parses a CA file once and shares the result among all connections, but only when it is a file and
 * the only source: a text or a folder is parsed for every connection, which costs a megabyte and some milliseconds
 * each. So the system's bundle and our own certificates become one file.
 */
int gl_ca_load(const char *path, struct gl_ca *out, struct gs_err *err)
{
    const char *system_file = curl_version_info(CURLVERSION_NOW)->cainfo;
    bool has_system = system_file && access(system_file, R_OK) == 0, found = false;
    gs_autobuf all;
    gs_buf_init(&all, MAX_CA_BYTES);
    struct stat st;
    *out = (struct gl_ca){.fd = -1};
    if (!path) {
        out->path = has_system ? strdup(system_file) : NULL;
        return !has_system || out->path ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a path");
    }
    if (stat(path, &st) != 0)
        return gs_fail_sys(err, errno == ENOENT ? GS_E_NOT_FOUND : GS_E_IO, errno, "CA file '%s'", path);
    if (S_ISDIR(st.st_mode) ? add_folder(path, &all, &found, err) : add_file(path, &all, &found, err))
        return gs_wrap(err, "CA '%s'", path);
    if (!found)
        return gs_fail(err, GS_E_TLS, "'%s' holds no certificate in PEM form", path);
    if (has_system && add_file(system_file, &all, &found, err))
        return gs_wrap(err, "the system's CAs");
    if (has_system && make_file(out, &all, err))
        return -1;
    if (!out->path) /* libcurl adds its folder of CAs to a text */
        out->pem = gs_buf_steal(&all, &out->pem_len);
    return 0;
}

void gl_ca_release(struct gl_ca *ca)
{
    free(ca->path);
    free(ca->pem);
    if (ca->fd >= 0)
        close(ca->fd);
    *ca = (struct gl_ca){.fd = -1};
}

bool gl_pem_sha256(const char *pem, char out_hex[65])
{
    const char *b = strstr(pem, PEM_BEGIN);
    const char *e = b ? strstr(b, PEM_END) : NULL;
    if (!e)
        return false;
    b += strlen(PEM_BEGIN);
    size_t cap = (size_t)(e - b), n = 0;
    gs_autofree unsigned char *der = malloc(cap + 1);
    if (!der || sodium_base642bin(der, cap, b, cap, " \r\n\t", &n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 || n == 0)
        return false;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, der, n);
    sodium_bin2hex(out_hex, 65, digest, sizeof digest);
    return true;
}
