/* report_page: the sections of the HTML report of a load, out of its state file and, where they are given, its books and its bundle. */
#ifndef REPLAY_REPORT_PAGE_H
#define REPLAY_REPORT_PAGE_H

#include "cmd/page.h"
#include "formats/bundle.h"
#include "formats/receipt.h"
#include "libreplay/report.h"

struct report_page {
    struct page page;
    struct state *state;
    const char *state_path, *books_path;
    const struct receipt *books;   /* NULL: none were named */
    const struct bundle *bundle;   /* NULL: none was named */
    bool proven;                   /* its signature was checked */
    uint64_t rows;                 /* of the list that is being written */
};

int report_page_write(struct report_page *x, struct gs_err *err) GS_MUST_USE;
/* The same of a load that was planned and not begun: what will be made, lost, and how long it takes at least. `least` may be NULL. */
int report_page_plan(struct report_page *x, const char *least, struct gs_err *err) GS_MUST_USE;

#endif
