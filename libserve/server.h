/*
 * server: the wire of `replay serve`: HTTPS, tokens, limits, and an end that lets downloads finish.
 *
 *   server_bind() -> server_start() -> server_tick() a few times each second, while threads answer -> server_stop()
 *
 * Who cannot show the token learns nothing. A connection that does not bring a whole request in time, or does not take what it asked
 * for, is closed.
 */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "libcommon/log.h"
#include "libcommon/secret.h"
#include "libserve/source.h"

#define SERVER_MAX_BODY GQL_MAX_DOCUMENT /* of a request */

struct server_opts {
    int fd;                  /* of server_bind(); the server's when it started */
    const char *cert, *key;  /* PEM text; NULL: plain HTTP */
    const struct gs_secret *token;
    unsigned connections;    /* at once, 0: 64 */
    unsigned rate;           /* requests per second over all clients, 0: 200 */
    unsigned request_ms;     /* for a request to arrive, 0: 20 s */
    unsigned idle_ms;        /* without a byte in either direction, 0: 60 s */
    const struct gs_log *log;
};

/* Takes an address, to which nobody can connect before server_start(). `port` 0: any that is free. GS_E_NOT_FOUND (no address of this
 * machine), GS_E_IO (it is taken, or not allowed). */
int server_bind(const char *host, unsigned port, int *out_fd, unsigned *out_port, struct gs_err *err) GS_MUST_USE;

struct server;
/* GS_E_IO, GS_E_TLS (certificate or key). The source outlives it. */
int server_start(struct source *source, const struct server_opts *o, struct server **out, struct gs_err *err) GS_MUST_USE;
/* Closes connections whose time is over. */
void server_tick(struct server *s);
/* Takes no more requests, waits at most `grace_ms` for answers that are on their way, and ends. NULL is fine. */
void server_stop(struct server *s, unsigned grace_ms);

#endif
