/* sign_priv: what sign.c and keyfile.c share. */
#ifndef GS_SIGN_PRIV_H
#define GS_SIGN_PRIV_H

#include "formats/sign.h"

#include <stddef.h>

struct sign_seckey {
    uint8_t id[SIGN_KEYID_LEN];
    uint8_t sk[64]; /* libsodium's form: seed and public key */
};

/*
 * The lines of a minisign file. *p moves behind the line end ("\n" or "\r\n"; the last line may lack it).
 * false: no line is left.
 */
bool sign_line(const char **p, const char *end, const char **out_line, size_t *out_len);
bool sign_has_prefix(const char *line, size_t len, const char *prefix);
/* Decodes standard base64 that must give exactly `want` bytes. */
bool sign_unbase64(const char *line, size_t len, uint8_t *out, size_t want);

#endif
