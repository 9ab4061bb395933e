/* text: a table of cases, against a small world in which some things are carried, some under another name, some not. */
#include "unit.h"

#include "libreplay/text.h"

static int find(void *cookie, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    static const struct {
        enum text_ref_kind kind;
        const char *group, *name;
        int64_t number;
        enum text_found found;
        const char *to;
        int64_t to_number;
    } world[] = {
        {TEXT_GROUP, "top", NULL, 0, TEXT_CARRIED, "new/top", 0},
        {TEXT_GROUP, "top/sub", NULL, 0, TEXT_CARRIED, "new/top/sub", 0},
        {TEXT_GROUP, "top/gone", NULL, 0, TEXT_LOST, NULL, 0},
        {TEXT_GROUP, "same", NULL, 0, TEXT_CARRIED, NULL, 0},
        {TEXT_USER, NULL, "ann", 0, TEXT_CARRIED, "ann.b", 0},
        {TEXT_USER, NULL, "bob", 0, TEXT_CARRIED, NULL, 0},
        {TEXT_USER, NULL, "eve", 0, TEXT_LOST, NULL, 0},
        {TEXT_EPIC, NULL, NULL, 12, TEXT_CARRIED, NULL, 12},
        {TEXT_EPIC, NULL, NULL, 13, TEXT_CARRIED, NULL, 31},
        {TEXT_EPIC, NULL, NULL, 14, TEXT_LOST, NULL, 0},
        {TEXT_EPIC, "top/sub", NULL, 5, TEXT_CARRIED, NULL, 5},
        {TEXT_EPIC, "top", NULL, 12, TEXT_CARRIED, NULL, 12},
        {TEXT_MILESTONE, NULL, "v1", 0, TEXT_CARRIED, NULL, 0},
        {TEXT_MILESTONE, NULL, "v2", 0, TEXT_CARRIED, "v2 (sub)", 0},
        {TEXT_MILESTONE, NULL, "old one", 0, TEXT_LOST, NULL, 0},
        {TEXT_MILESTONE, NULL, NULL, 3, TEXT_CARRIED, "v1", 0},
        {TEXT_MILESTONE, NULL, NULL, 4, TEXT_CARRIED, NULL, 4},
        {TEXT_MILESTONE, "top", NULL, 4, TEXT_CARRIED, NULL, 4},
        {TEXT_LABEL, NULL, "bug", 0, TEXT_CARRIED, NULL, 0},
        {TEXT_LABEL, NULL, "to do", 0, TEXT_CARRIED, NULL, 0},
        {TEXT_LABEL, NULL, "scope::a", 0, TEXT_CARRIED, NULL, 0},
        {TEXT_LABEL, NULL, NULL, 77, TEXT_CARRIED, "to do", 0},
        {TEXT_LABEL, NULL, NULL, 78, TEXT_CARRIED, "bug", 0},
        {TEXT_BOARD, "top", NULL, 50, TEXT_CARRIED, NULL, 8},
        {TEXT_ITERATION, NULL, NULL, 9, TEXT_CARRIED, NULL, 90},
        {TEXT_ITERATION, "top", NULL, 2, TEXT_CARRIED, NULL, 2},
        {TEXT_CADENCE, "top", NULL, 4, TEXT_CARRIED, NULL, 44},
    };
    (void)cookie;
    for (size_t i = 0; i < sizeof world / sizeof *world; i++) {
        bool group = ref->group ? world[i].group && strcmp(ref->group, world[i].group) == 0 : !world[i].group;
        bool name = ref->name ? world[i].name && strcasecmp(ref->name, world[i].name) == 0 : !world[i].name;
        if (ref->kind != world[i].kind || !group || !name || ref->number != world[i].number)
            continue;
        out->found = world[i].found;
        out->name = world[i].to ? strdup(world[i].to) : NULL;
        out->number = world[i].to_number;
        return world[i].to && !out->name ? gs_fail(err, GS_E_NOMEM, "out of memory") : 0;
    }
    return 0;
}

static const struct {
    const char *in, *out; /* NULL: as it was */
    unsigned actions, rewritten, left;
    const char *names;
} cases[] = {
    {"", NULL, 0, 0, 0, NULL},
    {"plain text, nothing else.\n", NULL, 0, 0, 0, NULL},
    /* quick actions */
    {"/close", "\\/close", 1, 0, 0, NULL},
    {"a\n/label ~bug\nb\n/unknown_word\n", "a\n\\/label ~bug\nb\n\\/unknown_word\n", 2, 0, 0, NULL},
    {"/close\r\n/reopen\r\n", "\\/close\r\n\\/reopen\r\n", 2, 0, 0, NULL},
    {"/etc/passwd is a file\n /close\na /close\n//close\n/\n/12\n\\/close\n/close.\n", NULL, 0, 0, 0, NULL},
    {"```\n/close\n```\n/close\n", "```\n/close\n```\n\\/close\n", 1, 0, 0, NULL},
    {"~~~ sh\n/close\n```\n/close\n~~~\n", NULL, 0, 0, 0, NULL},
    {"````\n```\n/close\n````  \n", NULL, 0, 0, 0, NULL},
    {"```\n/close\n", "```\n\\/close\n", 1, 0, 0, NULL},
    {"``` a`b\n/close\n```\n", "``` a`b\n\\/close\n```\n", 1, 0, 0, NULL},
    {"   ```\n/close\n   ```\n    ```\n/close\n", "   ```\n/close\n   ```\n    ```\n\\/close\n", 1, 0, 0, NULL},
    {"`a\n/close\nb`", "`a\n\\/close\nb`", 1, 0, 0, NULL},
    /* users and groups */
    {"@ann, @Ann: (@bob) @eve. mail a@ann.example @all @", "@ann.b, @ann.b: (@bob) @eve. mail a@ann.example @all @", 0, 2, 1, "@eve"},
    {"@top/sub @top @nobody", "@new/top/sub @new/top @nobody", 0, 2, 1, "@nobody"},
    {"@ann-", "@ann.b-", 0, 1, 0, NULL},
    /* epics */
    {"&12 &13 (&14) &99", "&12 &31 (&14) &99", 0, 1, 2, "&14, &99"},
    {"&amp; &#12; &12; AT&12 a&b &12a", NULL, 0, 0, 0, NULL},
    {"see top/sub&5, top&12+ and top/gone&1, other/group&7", "see new/top/sub&5, new/top&12+ and top/gone&1, other/group&7", 0, 2, 2, "top/gone&1, other/group&7"},
    {"same&1", NULL, 0, 0, 1, "same&1"},
    /* milestones */
    {"%v1 %\"v2\" %v2. %\"old one\" %\"never\" %none 100%v1", "%v1 %\"v2 (sub)\" %\"v2 (sub)\". %\"old one\" %\"never\" %none 100%v1", 0, 2, 2, "%\"old one\", %\"never\""},
    {"%3 %4 %5 50%", "%v1 %4 %5 50%", 0, 1, 0, NULL},
    {"top%4", "new/top%4", 0, 1, 0, NULL},
    /* labels */
    {"~bug ~\"to do\" ~77 ~78 ~79 ~scope::a ~nothing ~\"no such\" ~~struck~~", "~bug ~\"to do\" ~\"to do\" ~bug ~79 ~scope::a ~nothing ~\"no such\" ~~struck~~", 0, 2, 1, "~\"no such\""},
    /* iterations */
    {"*iteration:9 *iteration:10 *iteration", "*iteration:90 *iteration:10 *iteration", 0, 1, 1, "*iteration:10"},
    /* code */
    {"`@ann &13` ``a ` &13`` `&13", "`@ann &13` ``a ` &13`` `&31", 0, 1, 0, NULL},
    {"`open &13\n\n&13`", "`open &31\n\n&31`", 0, 2, 0, NULL},
    {"\\&13 \\@ann", NULL, 0, 0, 0, NULL},
    {"```\n&13\n```\n", NULL, 0, 0, 0, NULL},
    /* links */
    {"https://src.example/git/groups/top/sub/-/epics/5 HTTP://SRC.example/git/top", "https://dst.example/groups/new/top/sub/-/epics/5 https://dst.example/new/top", 0, 2, 0, NULL},
    {"[x](https://src.example/git/groups/top/-/epics/12#note_4), <https://src.example/git/groups/top/-/milestones/4?a=1>",
     "[x](https://dst.example/groups/new/top/-/epics/12), <https://dst.example/groups/new/top/-/milestones/4?a=1>", 0, 2, 0, NULL},
    {"https://src.example/git/groups/top/-/boards/50 https://src.example/git/groups/top/-/labels https://src.example/git/ann",
     "https://dst.example/groups/new/top/-/boards/8 https://dst.example/groups/new/top/-/labels https://dst.example/ann.b", 0, 3, 0, NULL},
    {"https://src.example/git/groups/top/-/iterations/2 https://src.example/git/groups/top/-/cadences/4", "https://dst.example/groups/new/top/-/iterations/2 https://dst.example/groups/new/top/-/cadences/44", 0, 2, 0, NULL},
    {"https://src.example/git/groups/top/-/cadences/4/iterations/7", NULL, 0, 0, 1, "https://src.example/git/groups/top/-/cadences/4/iterations/7"},
    {"https://src.example/git/groups/top/-/boards/51, https://src.example/git/top/project/-/issues/3.", NULL, 0, 0, 2,
     "https://src.example/git/groups/top/-/boards/51, https://src.example/git/top/project/-/issues/3"},
    {"https://src.example/git/eve https://src.example/git/groups/elsewhere https://src.example/git", "https://src.example/git/eve https://src.example/git/groups/elsewhere https://dst.example", 0, 1, 2,
     "https://src.example/git/eve, https://src.example/git/groups/elsewhere"},
    {"https://src.example.evil/git/top https://src.example/gitx https://other.example/a&13@ann~77", NULL, 0, 0, 0, NULL},
    {"[a](/groups/top/-/epics/12) [b](/uploads/1/x.png) [c](/groups/none)", "[a](/groups/new/top/-/epics/12) [b](/uploads/1/x.png) [c](/groups/none)", 0, 1, 1, "/groups/none"},
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text_env env = {.source_url = "https://src.example/git", .target_url = "https://dst.example", .actions = true, .find = find};
        struct text_notes notes = {0};
        struct gs_err err = {0};
        gs_autobuf out;
        gs_buf_init(&out, 1 << 20);
        OK(text_convert(&env, cases[i].in, strlen(cases[i].in), &out, &notes, &err));
        const char *want = cases[i].out ? cases[i].out : cases[i].in;
        if (strcmp(gs_buf_str(&out), want) != 0 || notes.actions != cases[i].actions || notes.rewritten != cases[i].rewritten ||
            notes.left != cases[i].left || strcmp(gs_buf_str(&notes.names), cases[i].names ? cases[i].names : "") != 0)
            fail_msg("case %zu: '%s'\n  gave '%s'\n  not  '%s'\n  actions %u rewritten %u left %u (%s)", i, cases[i].in, gs_buf_str(&out), want, notes.actions,
                     notes.rewritten, notes.left, gs_buf_str(&notes.names));
        text_notes_release(&notes);
    }
}

/* Where nothing is carried out, slashes stay; without addresses links do. */
static void plain(void **state)
{
    static const char in[] = "/close\n[a](/groups/top) https://src.example/git/top @ann\n";
    struct text_env env = {.find = find};
    struct text_notes notes = {0};
    struct gs_err err = {0};
    gs_autobuf out;
    (void)state;
    gs_buf_init(&out, 1 << 20);
    OK(text_convert(&env, in, strlen(in), &out, &notes, &err));
    assert_string_equal(gs_buf_str(&out), "/close\n[a](/groups/top) https://src.example/git/top @ann.b\n");
    assert_int_equal(notes.actions, 0);
    text_notes_release(&notes);
}

/* What a hostile record may hold takes a time that grows with its length only, and the list of names does not. */
static void long_texts(void **state)
{
    static const char *const units[] = {"`", "`` ` ", "```\n", "~~~~\n", "@nobody ", "&1", "a/", "%\"", "~\"x\" ", "https://src.example/git/", "](/", "\\", "*iteration:1"};
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct text_env env = {.source_url = "https://src.example/git", .target_url = "https://dst.example", .actions = true, .find = find};
        struct text_notes notes = {0};
        struct gs_err err = {0};
        gs_autobuf in, out;
        gs_buf_init(&in, 1 << 20);
        gs_buf_init(&out, 16 << 20);
        while (in.len < 200000)
            OK(gs_buf_addstr(&in, units[i], &err));
        OK(text_convert(&env, in.data, in.len, &out, &notes, &err));
        assert_true(notes.names.len < 1200);
        text_notes_release(&notes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(plain), cmocka_unit_test(long_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
