#include "cmd/replay/filter.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

const struct cli_opt filter_opts[] = {
    {.name = "code",
     .type = CLI_STR,
     .offset = offsetof(struct filter_args, code),
     .arg = "CODE",
     .help = "only those with this stable code, as failures shows it"},
    {.name = "relation",
     .type = CLI_STR,
     .offset = offsetof(struct filter_args, relation),
     .arg = "NAME",
     .help = "only those of this relation: groups, labels, milestones, ..."},
    {.name = "group",
     .type = CLI_STR,
     .offset = offsetof(struct filter_args, group),
     .arg = "GROUP",
     .help = "only those of the group with this full path, at the source or on the target, and of the groups below it"},
    {0},
};

struct report_filter filter_of(const struct filter_args *a, const char *key)
{
    return (struct report_filter){.code = a->code, .relation = a->relation, .group = a->group, .key = key};
}

const char *filter_words(const struct report_filter *f, char *out, size_t cap)
{
    const struct {
        const char *name, *value;
    } parts[] = {{"code", f->code}, {"relation", f->relation}, {"group", f->group}, {"key", f->key}};
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < GS_COUNT(parts); i++)
        if (parts[i].value && n < cap)
            n +=
                (size_t)snprintf(out + n, cap - n, "%s%s '%s'", n ? ", " : "", parts[i].name, cli_safe(parts[i].value));
    return *out ? out : "all";
}

const char *filter_user(char *out, size_t cap)
{
    struct passwd pw, *found = NULL;
    char room[4096];
    if (getpwuid_r(getuid(), &pw, room, sizeof room, &found) == 0 && found)
        snprintf(out, cap, "%s", pw.pw_name);
    else
        snprintf(out, cap, "uid %ld", (long)getuid());
    return out;
}
