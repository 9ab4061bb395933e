#include "http_priv.h"

#include "libcommon/io.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
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

/*
 * One text with the system's bundle and our own certificates: libcurl reads either a file or a text, so that naming only
 * our own would take the system's away where it has no folder of CAs.
 */
int gl_ca_load(const char *path, char **out_pem, size_t *out_len, struct gs_err *err)
{
    gs_autobuf all;
    gs_buf_init(&all, MAX_CA_BYTES);
    struct stat st;
    bool found = false;
    if (stat(path, &st) != 0)
        return gs_fail_sys(err, errno == ENOENT ? GS_E_NOT_FOUND : GS_E_IO, errno, "CA file '%s'", path);
    if (S_ISDIR(st.st_mode) ? add_folder(path, &all, &found, err) : add_file(path, &all, &found, err))
        return gs_wrap(err, "CA '%s'", path);
    if (!found)
        return gs_fail(err, GS_E_TLS, "'%s' holds no certificate in PEM form", path);
    const char *system_file = curl_version_info(CURLVERSION_NOW)->cainfo;
    if (system_file && stat(system_file, &st) == 0 && add_file(system_file, &all, &found, err))
        return gs_wrap(err, "the system's CAs");
    *out_pem = gs_buf_steal(&all, out_len);
    return 0;
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
