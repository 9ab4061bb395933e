#include "libbooks/rules.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define OF_DETAIL "@" /* those that the loss itself names: "color, description", or "color: sent ..." */

static const struct {
    const char *code, *attrs; /* separated by commas */
} rules[] = {
    {"exists-differs", OF_DETAIL},
    {"user-unmatched", ""},
    {"group-times", ""},
    {"group-renamed", "name,path"},
    {"visibility-lowered", "visibility_level"},
    {"group-description-cut", ""},
    {"group-setting-not-applied", OF_DETAIL},
    {"group-ip-restriction-not-applied", "ip_restriction_ranges"},
    {"creator-kept-as-owner", ""},
    {"label-times", ""},
    {"label-changed", OF_DETAIL},
    {"label-priorities", "priorities"},
    {"label-lock-on-merge", "lock_on_merge"},
    {"label-archived", "archived"},
    {"milestone-times", ""},
    {"milestone-iid", "iid"},
    {"milestone-iid-changed", "iid"},
    {"milestone-renamed", "title"},
    {"milestone-title-sanitised", "title"},
    {"milestone-date-dropped", OF_DETAIL},
    {"made-twice", ""},
    {"author-in-text", ""}, /* wording.c reads texts */
    {"author-no-right", "author,user"},
    {"text-action-kept", ""},
    {"text-rewritten", ""},
    {"text-reference-left", ""},
    {"cadence-times", ""},
    {"cadence-changed", OF_DETAIL},
    {"cadence-automation-unknown", "automatic,duration_in_weeks,iterations_in_advance"},
    {"cadence-start-date", "start_date"},
    {"iterations-moved", "iterations"},
    {"iteration-times", ""},
    {"iteration-iid", "iid"},
    {"iteration-iid-changed", "iid"},
    {"iteration-changed", OF_DETAIL},
    {"iteration-state", ""}, /* which follows from the dates */
    {"badge-times", ""},
    {"badge-changed", "name,link_url,image_url"},
    {"badge-source-url", ""},
    {"badge-order", ""},
    {"board-times", ""},
    {"board-scope-milestone", "milestone,milestone_filter"},
    {"board-scope-label", "labels"},
    {"board-scope-assignee", "board_assignee"},
    {"board-scope-iteration", "iteration,iteration_filter,iteration_cadence"},
    {"board-scope-not-applied", "milestone,milestone_filter,board_assignee,weight,labels,hide_backlog_list,hide_closed_list"},
    {"list-order", ""}, /* parts.c looks at elements one by one */
    {"board-list-limits", "max_issue_count,max_issue_weight,limit_metric"},
    {"epic-author", ""},
    {"epic-created-at", ""},
    {"epic-updated-at", ""},
    {"epic-closing", ""},
    {"epic-events", ""},
    {"epic-dates-inherited", "start_date_fixed,due_date_fixed,start_date_is_fixed,due_date_is_fixed"},
    {"epic-dates-together", "start_date_fixed,due_date_fixed,start_date_is_fixed,due_date_is_fixed"},
    {"epic-health", "health_status"},
    {"epic-iid", "iid"},
    {"epic-iid-changed", "iid"},
    {"epic-label-missing", ""},
    {"epic-changed", OF_DETAIL},
    {"epic-parent", "parent"},
    {"epic-parent-missing", "parent"},
    {"epic-order", "children"},
    {"note-author", ""},
    {"note-times", ""},
    {"note-edited", ""},
    {"note-changed", OF_DETAIL},
    {"award-times", ""},
    {"epic-board-times", ""},
    {"epic-board-label", ""},
    {"epic-board-order", ""},
    {"member-times", ""},
    {"member-custom-role", "member_role"},
    {"member-changed", "access_level,expires_at"},
};

/* Codes whose details say what the load found on the target. */
static const char *const told[] = {"label-changed",         "milestone-renamed",     "milestone-title-sanitised", "milestone-date-dropped", "milestone-iid-changed",
                                   "iteration-iid-changed", "epic-iid-changed",      "cadence-start-date",        "member-changed"};

/* Is the word in a list that is separated by commas and blanks, or what the text begins with, before a colon? */
static bool named(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && *p; p += strcspn(p, ", "), p += strspn(p, ", ")) {
        size_t len = strcspn(p, ", :");
        if (len == n && strncmp(p, word, n) == 0)
            return true;
        if (p[len] == ':')
            return false;
    }
    return false;
}

/* Words that the loader uses for an attribute of the record. */
static const char *spoken(const char *attr)
{
    static const char *const words[][2] = {
        {"visibility_level", "visibility"}, {"access_level", "role"}, {"board_assignee", "assignee"}, {"label_links", "labels"}, {"note", "text"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i][0], attr) == 0)
            return words[i][1];
    return attr;
}

#define DETAIL_MAX 590 /* a longer detail may have been cut */

/* Does the text hold the value as a word of its own, or in quotes? Nothing is told as '', or in words. */
static bool tells(const char *detail, const char *there)
{
    size_t n = there ? strlen(there) : 0;
    if (!detail || strlen(detail) >= DETAIL_MAX)
        return true;
    if (n == 0)
        return strstr(detail, "''") || strstr(detail, "never") || strstr(detail, "none");
    for (const char *p = strcasestr(detail, there); p; p = strcasestr(p + 1, there))
        if ((p == detail || !isalnum((unsigned char)p[-1])) && !isalnum((unsigned char)p[n]))
            return true;
    return false;
}

bool rules_explain(const char *code, const char *detail, const char *attr, const char *there)
{
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (strcmp(told[i], code) == 0 && !tells(detail, there))
            return false;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strcmp(rules[i].code, code) != 0)
            continue;
        if (strcmp(rules[i].attrs, OF_DETAIL) == 0)
            return named(detail, attr) || named(detail, spoken(attr));
        return named(rules[i].attrs, attr);
    }
    return false;
}

bool rules_known(const char *code)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (strcmp(rules[i].code, code) == 0)
            return true;
    return false;
}
