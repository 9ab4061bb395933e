/* replay: loads a signed bundle into a GitLab, resumably and exactly once. */
#include "cmd/replay/about.h"
#include "cmd/replay/verbs.h"

static const struct cli_verb *const verbs[] = {
    &cli_verb_verify, &cli_verb_inspect,     &cli_verb_cat,          &replay_verb_plan,
    &replay_verb_apply, &replay_verb_status, &replay_verb_failures, NULL,
};

static const struct cli_tool tool = {
    .name = "replay",
    .summary = "Load a signed bundle of a GitLab group tree into another GitLab",
    .verbs = verbs,
    .description = replay_description,
    .files = replay_files,
    .environment = replay_environment,
    .examples = replay_examples,
    .see_also = replay_see_also,
};

int main(int argc, char **argv)
{
    return cli_main(&tool, argc, argv);
}
