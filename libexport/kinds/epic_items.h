/*
 * epic_items: an epic that is a work item (work_items_epics.graphql), in the form in which the documents of epics show one (group_epics.graphql),
 * so that one record is made of either. Its ids are those of the work item.
 */
#ifndef EXPORT_EPIC_ITEMS_H
#define EXPORT_EPIC_ITEMS_H

#include "libcommon/json.h"

struct epic_item {
    int64_t parent;      /* id of its parent; 0: it has none */
    bool closed;
    bool start_unsure;   /* its start is said to be fixed, by the one switch for both dates, and there is none */
    bool due_unsure;
    bool unfixed;        /* its dates follow from others: which fixed ones are kept aside is not shown */
};

/* Appends the epic as JSON to `out`. GS_E_NOMEM, GS_E_LIMIT. */
int epic_item_shape(yyjson_val *item, struct gs_buf *out, struct epic_item *facts, struct gs_err *err) GS_MUST_USE;

#endif
