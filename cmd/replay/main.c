/* replay: loads a signed bundle into a GitLab, resumably and exactly once. */
#include "cmd/replay/about.h"
#include "cmd/replay/verbs.h"
#include "libbooks/native.h"
#include "libreplay/loss.h"

static const struct cli_verb *const verbs[] = {
    &cli_verb_trust,  &cli_verb_verify, &cli_verb_repair, &cli_verb_join, &cli_verb_inspect,     &cli_verb_cat,          &replay_verb_users,
    &replay_verb_plan,
    &replay_verb_apply, &replay_verb_status, &replay_verb_failures,
    &replay_verb_retry, &replay_verb_skip,   &replay_verb_undo,     &replay_verb_reconcile, &replay_verb_receipt, &replay_verb_report, &replay_verb_why,
    &replay_verb_archive, &replay_verb_serve,
    NULL,
};

static bool loss(size_t i, const char **out_name, const char **out_text)
{
    *out_name = loss_rules[i].code;
    *out_text = loss_rules[i].text;
    return *out_name != NULL;
}

static bool importer(size_t i, const char **out_name, const char **out_text)
{
    *out_name = native_rules[i].code;
    *out_text = native_rules[i].text;
    return *out_name != NULL;
}

static const struct cli_codes codes[] = {
    {"LOSSES",
     "What a load over the API cannot carry, one name per rule. plan counts them before anything is written; apply, status and "
     "failures name them afterwards, and --json gives them as losses[].code.",
     loss},
    {"IMPORTERS",
     "What GitLab's own importers do not carry, one name per rule. reconcile --importer names them, and so do serve --drive and archive --upload, "
     "which end with that.",
     importer},
    {0},
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
    .codes = codes,
};

int main(int argc, char **argv)
{
    return cli_main(&tool, argc, argv);
}
