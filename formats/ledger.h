/*
 * ledger: the books of a capture, one JSON object per line (ledger.md).
 *
 * {"entry":"fetch","group":7,"relation":"labels","via":"api","endpoint":"rest:/groups/:id/labels","announced":12,"pages":1,
 *  "records":12,"bytes":4711,"retries":0,"waits_ms":0}                one per endpoint and relation that was read
 * {"entry":"relation","group":7,"relation":"labels","announced":12,"stored":12,"left_out":0}        the balance
 * {"entry":"left_out","group":7,"relation":"labels","rule":"secret-field","what":"runners_token","count":1}
 * {"entry":"lost","group":7,"relation":"labels","rule":"label-times-not-readable","count":3,"detail":"..."}
 * {"entry":"fallback","group":7,"relation":"labels","from":"graphql","to":"rest","why":"..."}
 * {"entry":"changed","group":7,"relation":"labels","before":"...","after":"..."}
 * {"entry":"watermark","group":7,"relation":"labels","records":12,"highest_id":44,"newest":"...","seen":"all"}   looked at again
 * {"entry":"settled","group":7,"relation":"labels","pass":1,"before":"...","after":"..."}      moved, and was read again
 * {"entry":"capture","group":0,"requests":120,"repeated":2,"kept":0,"longest_pause_ms":1000,"passes":1}      once, the whole capture
 */
#ifndef GS_LEDGER_H
#define GS_LEDGER_H

#include "libcommon/buf.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rules by which something is knowingly not in the bundle, or poorer than at the source. Names are stable. */
struct ledger_rule {
    const char *name;
    const char *text; /* one sentence for people */
    bool record;      /* a left_out line of it counts whole records, which the balance of the relation needs */
};
extern const struct ledger_rule ledger_rules[]; /* ended by a NULL name */
const struct ledger_rule *ledger_rule_find(const char *name);

struct ledger_fetch {
    int64_t group_id;
    const char *relation, *via, *endpoint;
    int64_t announced; /* -1: the server did not say */
    uint64_t pages, records, bytes, retries, waits_ms;
};
int ledger_fetch_line(const struct ledger_fetch *f, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
int ledger_relation_line(int64_t group_id, const char *relation, int64_t announced, uint64_t stored, uint64_t left_out,
                         struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* `entry` is "left_out" or "lost"; `rule` must be in ledger_rules; `what` and `detail` may be NULL. */
int ledger_rule_line(const char *entry, int64_t group_id, const char *relation, const char *rule, const char *what,
                     uint64_t count, const char *detail, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* Another way was taken than the one first tried, and why. */
int ledger_fallback_line(int64_t group_id, const char *relation, const char *from, const char *to, const char *why,
                         struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* The source changed between the first and the last look: watermarks `before` and `after`. Excuses an unequal balance. */
int ledger_changed_line(int64_t group_id, const char *relation, const char *before, const char *after,
                        struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* The relation was looked at again after everything was read, and had not moved. highest_id 0 and newest_s 0: none is known. `seen`:
 * how much of it ("all", "ids", "number"). */
int ledger_watermark_line(int64_t group_id, const char *relation, uint64_t records, int64_t highest_id, int64_t newest_s,
                          const char *seen, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* The relation had moved at the look after pass `pass`, and was read again since. */
int ledger_settled_line(int64_t group_id, const char *relation, unsigned pass, const char *before, const char *after,
                        struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* What the whole capture cost. */
struct ledger_capture {
    uint64_t requests; /* sent, further tries included */
    uint64_t repeated; /* of these, further tries */
    uint64_t kept;     /* answers of an earlier run or pass that were used instead of a request */
    int64_t longest_pause_ms;
    unsigned passes;   /* how often the source was read */
};
int ledger_capture_line(const struct ledger_capture *c, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/*
 * Secrets that answers and exports contain (runners_token, saml_discovery_token, invite_token, hook tokens, anything named
 * like one). Is this key one? Case-insensitive; known harmless names that only look like one are listed in the code.
 */
bool ledger_secret_key(const char *key, size_t len);

/*
 * Takes every secret out of one JSON object (at any depth): *out_json is new text without those keys when there were any,
 * else *out_changed is false and the input may be kept byte for byte. `seen` is called once per withheld value with the
 * path of its key ("user.private_token"), never the value; a null or empty value is left as it is.
 */
int ledger_withhold(const char *json, size_t len, void (*seen)(void *cookie, const char *key_path), void *cookie,
                    bool *out_changed, struct gs_buf *out_json, struct gs_err *err) GS_MUST_USE;
/*
 * Does a quick look show one valid object within these limits, on one line, in which no key is that of a secret? false: it
 * cannot be said; ask ledger_withhold() and record_check().
 */
bool ledger_quick(const char *json, size_t len, size_t max_bytes, unsigned max_depth);

#endif
