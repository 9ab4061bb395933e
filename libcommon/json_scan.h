/*
 * json_scan: a fast look at JSON text that is almost always sound, without a tree and without memory.
 *
 * gs_json_scan() says "this is one valid object, and it ends here", or it says nothing. It never says that text is
 * wrong: whatever is unusual (an escape in a key, very long numbers, very many keys, damage of any kind) makes it give
 * up, and the caller asks gs_json_parse(), whose answer counts. Whatever it accepts, gs_json_parse() accepts with the
 * same limits; tests/fuzz/fuzz_record_ndjson.c holds them against each other.
 */
#ifndef GS_JSON_SCAN_H
#define GS_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Asked for each key of each object, without quotes; no key that it gets holds an escape. `value` is where its value begins,
 * with `left` bytes of text from there on, none of which was looked at. true: give up.
 */
typedef bool gs_json_key_fn(void *cookie, const char *key, size_t len, const char *value, size_t left);

/*
 * The length of the object that begins at text[0], which nests at most `max_depth` deep; nothing behind it is looked at.
 * 0: it cannot be said. A line feed between the parts of the object makes it give up, too. `key` may be NULL.
 */
size_t gs_json_scan(const char *text, size_t len, unsigned max_depth, gs_json_key_fn *key, void *cookie);
/* How many of the first bytes of `s` stand in a JSON string as they are. */
size_t gs_json_plain(const char *s, size_t len);

/*
 * What a key means, remembered: records have the same few keys again and again. Zeroed at first; `classify` gives the same
 * answer for the same key always.
 */
#define GS_KEY_SLOTS 512
struct gs_key_cache {
    struct {
        uint8_t len, class; /* len 0: empty */
        char key[30];
    } slot[GS_KEY_SLOTS];
};
uint8_t gs_key_class(struct gs_key_cache *c, const char *key, size_t len, uint8_t (*classify)(const char *key, size_t len));

#endif
