/*
 * page: one HTML file that needs nothing else: no script, no picture, no font, no request. It reads on a wide screen, on a phone and on
 * paper, light and dark, and with a screen reader.
 *
 *   page_begin() -> page_section(), page_text(), page_facts(), page_table() ... -> page_finish() -> page_release()
 *
 * What is given as text may come from outside: it is made harmless and escaped here. The first failure is kept, later calls do nothing, and
 * page_finish() gives it back.
 */
#ifndef CMD_PAGE_H
#define CMD_PAGE_H

#include "cmd/cli.h"
#include "libcommon/buf.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PAGE_ROWS 300 /* of a long list; the rest is counted, and the caller says where it is to be had */

struct page {
    struct gs_buf html;
    struct gs_err *err;
    bool failed;
    bool in_section;
};

/* `state` is a word about the whole ("balance 0"), `good` its colour; NULL: none. */
void page_begin(struct page *p, const char *title, const char *subtitle, const char *state, bool good, struct gs_err *err);
int page_finish(struct page *p) GS_MUST_USE;
void page_release(struct page *p);
/* Says that the file holds the report: in words, or as JSON. */
int page_told(struct cli *cli, bool json, const char *file, uint64_t bytes, struct gs_err *err) GS_MUST_USE;

/* A heading; what follows belongs to it. `id` is a word for links, unique in the page. */
void page_section(struct page *p, const char *id, const char *heading);
void page_text(struct page *p, const char *fmt, ...) GS_PRINTF(2, 3);

/* Name and value, between page_facts() and page_facts_end(). A NULL or empty value is left out. `url` may be NULL. */
void page_facts(struct page *p);
void page_fact(struct page *p, const char *name, const char *value, const char *url);
void page_facts_end(struct page *p);

/* A table; columns that begin with '#' hold numbers. `caption` is for who cannot see where it stands. */
void page_table(struct page *p, const char *caption, const char *const *columns, size_t n);
void page_row(struct page *p);
void page_cell(struct page *p, const char *text);
void page_link(struct page *p, const char *text, const char *url); /* only http and https become links */
void page_number(struct page *p, uint64_t n);
/* A cell with a word that has a colour: "good", "part", "bad", "off". The word says it without the colour. */
void page_state(struct page *p, const char *word, const char *tone);
/* Text that stands so many steps into a tree. */
void page_tree(struct page *p, unsigned depth, const char *text, const char *url);
void page_row_end(struct page *p);
void page_table_end(struct page *p);

/* A bar of parts, as wide as their share; the numbers stand beside it as text. Parts of zero are left out. */
struct page_part {
    const char *name, *tone;
    uint64_t n;
};
void page_bars(struct page *p);
void page_bar(struct page *p, const char *label, const struct page_part *parts, size_t n);
void page_bars_end(struct page *p);

/* A diagram over time: columns of equal width, and lanes below them in which something was waited for. */
struct page_wait {
    const char *why;
    int64_t from_ms, until_ms;
};
void page_timeline(struct page *p, const char *title, int64_t from_ms, int64_t until_ms, const uint64_t *columns, size_t n,
                   const struct page_wait *waits, size_t n_waits);

#endif
