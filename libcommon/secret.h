/*
 * secret: tokens, passphrases and secret keys, in locked memory that is wiped when released.
 *
 * gs_secret_init() once per process before anything else here. A secret never appears in err.text: the loaders below
 * name where it was looked for, never what was found.
 */
#ifndef GS_SECRET_H
#define GS_SECRET_H

#include "err.h"

#include <stddef.h>

struct gs_secret {
    char *data; /* NUL-terminated, in sodium_malloc memory; NULL while empty */
    size_t len;
};

/* Starts libsodium. */
int gs_secret_init(struct gs_err *err) GS_MUST_USE;
int gs_secret_set(struct gs_secret *s, const char *data, size_t len, struct gs_err *err) GS_MUST_USE;
void gs_secret_release(struct gs_secret *s);
/* From a file: its first line without the line end; more than 64 KiB or an empty line is an error. */
int gs_secret_from_file(struct gs_secret *s, const char *path, struct gs_err *err) GS_MUST_USE;
/* A whole file; more than `max` bytes is GS_E_LIMIT. */
int gs_secret_read_file(struct gs_secret *s, const char *path, size_t max, struct gs_err *err) GS_MUST_USE;
/* First output line of a command run by /bin/sh; a non-zero exit is an error. */
int gs_secret_from_command(struct gs_secret *s, const char *command, struct gs_err *err) GS_MUST_USE;
/* From an environment variable, which is then removed from the environment (not found: *out_found = 0). */
int gs_secret_from_env(struct gs_secret *s, const char *name, int *out_found, struct gs_err *err) GS_MUST_USE;
/* Asks on the terminal (/dev/tty) without echo. No terminal is GS_E_KEY_PASSPHRASE. */
int gs_secret_prompt(struct gs_secret *s, const char *prompt, struct gs_err *err) GS_MUST_USE;

#endif
