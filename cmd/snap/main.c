/* snap: captures a GitLab group tree into a signed bundle. */
#include "cmd/snap/about.h"
#include "cmd/snap/verbs.h"
#include "formats/ledger.h"

static const struct cli_verb *const verbs[] = {
    &snap_verb_keygen,  &snap_verb_groups, &snap_verb_preflight, &snap_verb_create, &snap_verb_status,
    &snap_verb_import_archive, &snap_verb_sign,    &snap_verb_redact, &snap_verb_seal,   &snap_verb_split, &snap_verb_reissue, &cli_verb_repair, &cli_verb_join, &cli_verb_trust,   &cli_verb_verify,  &cli_verb_inspect,    &cli_verb_cat,     &snap_verb_diff, &snap_verb_receipt_check, &snap_verb_report,
    NULL,
};

static bool rule(size_t i, const char **out_name, const char **out_text)
{
    *out_name = ledger_rules[i].name;
    *out_text = ledger_rules[i].text;
    return *out_name != NULL;
}

static const struct cli_codes codes[] = {
    {"RULES OF THE LEDGER",
     "Why something is knowingly not in a bundle, or poorer in it than at the source. preflight names what to expect, inspect sums "
     "up what happened, and the ledger holds every case.",
     rule},
    {0},
};

static const struct cli_tool tool = {
    .name = "snap",
    .summary = "Capture a GitLab group tree into one signed bundle",
    .verbs = verbs,
    .description = snap_description,
    .files = snap_files,
    .environment = snap_environment,
    .examples = snap_examples,
    .see_also = snap_see_also,
    .codes = codes,
};

int main(int argc, char **argv)
{
    return cli_main(&tool, argc, argv);
}
