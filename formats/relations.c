#include "relations.h"

#include <string.h>

/*
 * Attributes. Every row is {name, type, class, since, absent}. What stands in GitLab's export under an old name is turned
 * into today's by shape.c, so only today's names stand here.
 */
#define VALUE(name, type) {name, REL_##type, REL_VALUE, NULL, NULL}
#define VALUE_SINCE(name, type, since, absent) {name, REL_##type, REL_VALUE, since, absent}
#define VALUE_OR(name, type, absent) {name, REL_##type, REL_VALUE, NULL, absent}
#define SETTING(name, type, since) {name, REL_##type, REL_SETTING, since, NULL}
#define INSTANCE(name) {name, REL_INT, REL_INSTANCE, NULL, NULL}
#define SERVER(name, type) {name, REL_##type, REL_SERVER, NULL, NULL}
#define COMPUTED(name, type) {name, REL_##type, REL_COMPUTED, NULL, NULL}
#define END {NULL, REL_ANY, REL_VALUE, NULL, NULL}
#define TIMES SERVER("created_at", TIME), SERVER("updated_at", TIME)

static const struct rel_attr self_attrs[] = {
    INSTANCE("id"),
    INSTANCE("parent_id"),
    INSTANCE("organization_id"),
    INSTANCE("owner_id"),
    INSTANCE("creator_id"),
    INSTANCE("plan_id"),
    INSTANCE("file_template_project_id"),
    INSTANCE("custom_project_templates_group_id"),
    VALUE("name", STR),
    VALUE("path", STR),
    VALUE_OR("description", TEXT, "\"\""),
    VALUE_OR("visibility_level", INT, "0"),
    VALUE_OR("membership_lock", BOOL, "false"),
    VALUE_OR("share_with_group_lock", BOOL, "false"),
    VALUE_OR("request_access_enabled", BOOL, "true"),
    VALUE_OR("require_two_factor_authentication", BOOL, "false"),
    VALUE_OR("two_factor_grace_period", INT, "48"),
    SETTING("project_creation_level", INT, NULL),
    VALUE_OR("subgroup_creation_level", INT, "1"),
    SETTING("emails_enabled", BOOL, NULL),
    SETTING("mentions_disabled", BOOL, NULL),
    SETTING("lfs_enabled", BOOL, NULL),
    SETTING("auto_devops_enabled", BOOL, NULL),
    SETTING("max_artifacts_size", INT, NULL),
    SETTING("default_branch", STR, "16.11"),
    SETTING("default_branch_protection", INT, "12.9"),
    SETTING("default_branch_protection_defaults", OBJECT, "17.0"),
    SETTING("shared_runners_setting", STR, "13.5"),
    SETTING("enabled_git_access_protocol", STR, "16.9"),
    VALUE_SINCE("show_diff_preview_in_email", BOOL, "16.0", "true"),
    VALUE_SINCE("math_rendering_limits_enabled", BOOL, "16.6", "true"),
    VALUE_SINCE("lock_math_rendering_limits_enabled", BOOL, "16.6", "false"),
    VALUE_SINCE("prevent_sharing_groups_outside_hierarchy", BOOL, "14.1", "false"),
    VALUE_SINCE("prevent_forking_outside_group", BOOL, "13.3", "false"),
    VALUE_SINCE("archived", BOOL, "18.0", "false"),
    SETTING("wiki_access_level", STR, "16.2"),
    VALUE_SINCE("service_access_tokens_expiration_enforced", BOOL, "16.1", "true"),
    SETTING("ip_restriction_ranges", STR, NULL),
    SETTING("allowed_email_domains_list", STR, NULL),
    VALUE_SINCE("only_allow_merge_if_pipeline_succeeds", BOOL, "16.8", "false"),
    VALUE_SINCE("allow_merge_on_skipped_pipeline", BOOL, "16.8", "false"),
    VALUE_SINCE("only_allow_merge_if_all_discussions_are_resolved", BOOL, "16.8", "false"),
    VALUE_SINCE("web_based_commit_signing_enabled", BOOL, "18.2", "false"),
    SETTING("duo_features_enabled", BOOL, NULL),
    SETTING("lock_duo_features_enabled", BOOL, NULL),
    SETTING("shared_runners_minutes_limit", INT, NULL),
    SETTING("extra_shared_runners_minutes_limit", INT, NULL),
    SETTING("unique_project_download_limit", INT, NULL),
    SETTING("unique_project_download_limit_interval_in_seconds", INT, NULL),
    SETTING("unique_project_download_limit_allowlist", ARRAY, NULL),
    SETTING("auto_ban_user_on_excessive_projects_download", BOOL, NULL),
    SETTING("custom_attributes", ARRAY, NULL),
    COMPUTED("avatar", OBJECT), /* the file is a member of its own */
    COMPUTED("avatar_url", STR),
    COMPUTED("full_path", STR),
    COMPUTED("full_name", STR),
    COMPUTED("web_url", STR),
    COMPUTED("traversal_ids", ARRAY),
    COMPUTED("repository_storage", STR),
    COMPUTED("repository_size_limit", INT),
    COMPUTED("max_pages_size", INT),
    COMPUTED("trial_ends_on", DATE),
    COMPUTED("type", STR),
    COMPUTED("marked_for_deletion_on", DATE),
    COMPUTED("statistics", OBJECT),
    COMPUTED("shared_with_groups", ARRAY), /* groups of that instance */
    COMPUTED("ldap_cn", STR),
    COMPUTED("ldap_access", INT),
    COMPUTED("ldap_group_links", ARRAY),
    COMPUTED("saml_group_links", ARRAY),
    COMPUTED("ldap_sync_status", STR),
    COMPUTED("ldap_sync_error", STR),
    COMPUTED("ldap_sync_last_update_at", TIME),
    COMPUTED("ldap_sync_last_successful_update_at", TIME),
    COMPUTED("ldap_sync_last_sync_at", TIME),
    COMPUTED("last_ci_minutes_notification_at", TIME),
    COMPUTED("last_ci_minutes_usage_notification_level", INT),
    TIMES,
    END,
};

static const struct rel_attr namespace_settings_attrs[] = {
    VALUE_SINCE("prevent_sharing_groups_outside_hierarchy", BOOL, "14.1", "false"),
    INSTANCE("namespace_id"),
    TIMES,
    END,
};

static const struct rel_attr label_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    INSTANCE("project_id"),
    VALUE("title", STR),
    VALUE("color", COLOR),
    VALUE("description", TEXT),
    VALUE_SINCE("lock_on_merge", BOOL, "16.4", "false"),
    VALUE_SINCE("archived", BOOL, "18.10", "false"),
    COMPUTED("type", STR),
    COMPUTED("template", BOOL),
    COMPUTED("text_color", STR),
    COMPUTED("priorities", ARRAY), /* of projects */
    TIMES,
    END,
};

static const struct rel_attr milestone_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    INSTANCE("project_id"),
    VALUE("iid", INT),
    VALUE("title", STR),
    VALUE("description", TEXT),
    VALUE("start_date", DATE),
    VALUE("due_date", DATE),
    VALUE_OR("state", STR, "\"active\""),
    COMPUTED("events", ARRAY),
    COMPUTED("expired", BOOL),
    COMPUTED("web_url", STR),
    COMPUTED("lock_version", INT),
    TIMES,
    END,
};

static const struct rel_attr board_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    INSTANCE("project_id"),
    INSTANCE("milestone_id"), /* ids below 0 are filters: shape.c keeps them as milestone_filter */
    INSTANCE("iteration_id"),
    INSTANCE("iteration_cadence_id"),
    VALUE("name", STR),
    VALUE_SINCE("hide_backlog_list", BOOL, "12.7", "false"),
    VALUE_SINCE("hide_closed_list", BOOL, "12.7", "false"),
    VALUE("weight", INT),
    VALUE("milestone", OBJECT),
    VALUE("milestone_filter", STR),
    VALUE("iteration", OBJECT),
    VALUE("iteration_filter", STR),
    VALUE("iteration_cadence", OBJECT),
    VALUE("board_assignee", OBJECT),
    VALUE_OR("labels", ARRAY, "[]"),
    VALUE_OR("lists", ARRAY, "[]"),
    TIMES,
    END,
};

static const struct rel_attr list_attrs[] = {
    INSTANCE("id"),
    INSTANCE("board_id"),
    INSTANCE("label_id"),
    INSTANCE("user_id"),
    INSTANCE("milestone_id"),
    INSTANCE("iteration_id"),
    VALUE("list_type", STR),
    COMPUTED("position", INT), /* gaps mean nothing, the order of the array does */
    VALUE("label", OBJECT),
    VALUE("milestone", OBJECT),
    VALUE("iteration", OBJECT),
    VALUE("user", USER),
    VALUE_OR("max_issue_count", INT, "0"),
    VALUE_OR("max_issue_weight", INT, "0"),
    VALUE_SINCE("limit_metric", STR, "13.1", NULL),
    COMPUTED("board", OBJECT),
    COMPUTED("collapsed", BOOL), /* of the reading user */
    TIMES,
    END,
};

static const struct rel_attr board_assignee_attrs[] = {
    INSTANCE("id"), INSTANCE("board_id"), INSTANCE("assignee_id"), VALUE("assignee", USER), TIMES, END,
};

static const struct rel_attr badge_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    INSTANCE("project_id"),
    VALUE("name", STR),
    VALUE("link_url", STR),
    VALUE("image_url", STR),
    COMPUTED("type", STR),
    COMPUTED("kind", STR),
    COMPUTED("rendered_link_url", STR),
    COMPUTED("rendered_image_url", STR),
    TIMES,
    END,
};

static const struct rel_attr member_attrs[] = {
    INSTANCE("id"),
    INSTANCE("source_id"),
    INSTANCE("user_id"),
    INSTANCE("created_by_id"),
    INSTANCE("member_namespace_id"),
    INSTANCE("member_role_id"),
    VALUE("access_level", INT),
    VALUE("expires_at", DATE),
    VALUE("user", USER),
    VALUE("member_role", OBJECT),
    COMPUTED("source_type", STR),
    COMPUTED("type", STR),
    SERVER("notification_level", INT),
    SERVER("invite_email", STR),
    SERVER("invite_accepted_at", TIME),
    SERVER("requested_at", TIME),
    SERVER("state", INT),
    SERVER("invite_email_success", BOOL),
    SERVER("membership_state", STR),
    SERVER("ldap", BOOL),
    SERVER("override", BOOL),
    SERVER("created_by", OBJECT),
    COMPUTED("last_activity_on", DATE),
    COMPUTED("is_using_seat", BOOL),
    COMPUTED("group_saml_identity", OBJECT),
    COMPUTED("two_factor_enabled", BOOL),
    TIMES,
    END,
};

static const struct rel_attr user_attrs[] = {
    INSTANCE("id"),
    VALUE("username", STR),
    VALUE("public_email", STR),
    VALUE("name", STR),
    COMPUTED("state", STR),
    COMPUTED("kind", STR),
    COMPUTED("avatar_url", STR),
    COMPUTED("web_url", STR),
    COMPUTED("locked", BOOL),
    END,
};

static const struct rel_attr epic_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    INSTANCE("author_id"),
    INSTANCE("assignee_id"),
    INSTANCE("updated_by_id"),
    INSTANCE("last_edited_by_id"),
    INSTANCE("closed_by_id"),
    INSTANCE("parent_id"),
    INSTANCE("milestone_id"),
    INSTANCE("issue_id"),
    INSTANCE("work_item_id"),
    INSTANCE("work_item_parent_link_id"),
    INSTANCE("start_date_sourcing_milestone_id"),
    INSTANCE("due_date_sourcing_milestone_id"),
    INSTANCE("start_date_sourcing_epic_id"),
    INSTANCE("due_date_sourcing_epic_id"),
    VALUE("iid", INT),
    VALUE("title", STR),
    VALUE("description", TEXT),
    VALUE_OR("state", STR, "\"opened\""),
    VALUE_SINCE("confidential", BOOL, "13.0", "false"),
    VALUE_SINCE("color", COLOR, "14.9", "\"#1068bf\""),
    VALUE_OR("start_date_is_fixed", BOOL, "false"),
    VALUE_OR("due_date_is_fixed", BOOL, "false"),
    VALUE("start_date_fixed", DATE),
    VALUE("due_date_fixed", DATE),
    COMPUTED("start_date", DATE), /* follows from the fixed dates, or from what the epic inherits them from */
    COMPUTED("end_date", DATE),
    COMPUTED("due_date", DATE),
    VALUE("parent", OBJECT),
    VALUE_OR("label_links", ARRAY, "[]"),
    VALUE_OR("award_emoji", ARRAY, "[]"),
    VALUE_OR("notes", ARRAY, "[]"),
    COMPUTED("relative_position", INT), /* gaps mean nothing, and the API shows no number */
    VALUE("health_status", ANY),
    VALUE("weight", INT),
    SERVER("author", USER),
    SERVER("closed_at", TIME),
    SERVER("closed_by", USER),
    SERVER("last_edited_at", TIME),
    SERVER("events", ARRAY),
    SERVER("resource_state_events", ARRAY),
    SERVER("resource_label_events", ARRAY),
    SERVER("imported_from", ANY),
    SERVER("imported", BOOL),
    COMPUTED("lock_version", INT),
    COMPUTED("external_key", STR),
    COMPUTED("text_color", STR),
    COMPUTED("parent_iid", INT),
    COMPUTED("total_opened_issue_weight", INT),
    COMPUTED("total_closed_issue_weight", INT),
    COMPUTED("total_opened_issue_count", INT),
    COMPUTED("total_closed_issue_count", INT),
    COMPUTED("upvotes", INT),
    COMPUTED("downvotes", INT),
    COMPUTED("web_url", STR),
    COMPUTED("references", OBJECT),
    TIMES,
    END,
};

/* What an epic is called is told of itself, and is not what finds it again. */
static const struct rel_attr epic_ref_attrs[] = {
    INSTANCE("id"), INSTANCE("group_id"), VALUE("iid", INT), COMPUTED("title", STR), VALUE("group_path", STR), END,
};

static const struct rel_attr listed_epic_attrs[] = {
    INSTANCE("id"), INSTANCE("group_id"), VALUE("iid", INT), COMPUTED("title", STR), VALUE("group_path", STR), END,
};

static const struct rel_attr label_link_attrs[] = {
    INSTANCE("id"), INSTANCE("label_id"), INSTANCE("target_id"), COMPUTED("target_type", STR), VALUE("label", OBJECT), TIMES, END,
};

static const struct rel_attr label_ref_attrs[] = {
    INSTANCE("id"), INSTANCE("group_id"), INSTANCE("project_id"), VALUE("title", STR), VALUE("group_path", STR), END,
};

static const struct rel_attr milestone_ref_attrs[] = {
    INSTANCE("id"), INSTANCE("group_id"), INSTANCE("project_id"), VALUE("title", STR), VALUE("group_path", STR), END,
};

static const struct rel_attr award_attrs[] = {
    INSTANCE("id"), INSTANCE("user_id"), INSTANCE("awardable_id"), COMPUTED("awardable_type", STR),
    VALUE("name", STR), VALUE("user", USER), COMPUTED("url", STR), TIMES, END,
};

static const struct rel_attr note_attrs[] = {
    INSTANCE("id"),
    INSTANCE("author_id"),
    INSTANCE("project_id"),
    INSTANCE("namespace_id"),
    INSTANCE("noteable_id"),
    INSTANCE("updated_by_id"),
    INSTANCE("resolved_by_id"),
    INSTANCE("review_id"),
    INSTANCE("commit_id"),
    VALUE("note", TEXT),
    VALUE_OR("system", BOOL, "false"),
    VALUE_SINCE("internal", BOOL, "15.0", "false"),
    VALUE("type", STR),
    VALUE_OR("award_emoji", ARRAY, "[]"),
    SERVER("author", USER),
    SERVER("created_at", TIME),
    SERVER("updated_at", TIME),
    SERVER("last_edited_at", TIME),
    SERVER("resolved_at", TIME),
    SERVER("discussion_id", STR),
    SERVER("events", ARRAY),
    SERVER("system_note_metadata", OBJECT),
    COMPUTED("noteable_type", STR),
    COMPUTED("line_code", STR),
    COMPUTED("st_diff", ANY),
    COMPUTED("position", ANY),
    COMPUTED("original_position", ANY),
    COMPUTED("change_position", ANY),
    COMPUTED("resolved_by_push", BOOL),
    COMPUTED("attachment", OBJECT),
    END,
};

static const struct rel_attr event_attrs[] = {
    INSTANCE("id"), INSTANCE("author_id"), INSTANCE("target_id"), INSTANCE("project_id"), INSTANCE("group_id"),
    VALUE("action", STR), COMPUTED("target_type", STR), COMPUTED("fingerprint", STR), VALUE("push_event_payload", OBJECT),
    TIMES, END,
};

static const struct rel_attr state_event_attrs[] = {
    INSTANCE("id"), INSTANCE("user_id"), INSTANCE("epic_id"), INSTANCE("issue_id"), VALUE("state", STR), VALUE("user", USER),
    SERVER("created_at", TIME), END,
};

static const struct rel_attr label_event_attrs[] = {
    INSTANCE("id"), INSTANCE("user_id"), INSTANCE("epic_id"), INSTANCE("label_id"), VALUE("action", STR), VALUE("label", OBJECT),
    VALUE("user", USER), SERVER("created_at", TIME), END,
};

static const struct rel_attr epic_board_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    VALUE("name", STR),
    VALUE_OR("hide_backlog_list", BOOL, "false"),
    VALUE_OR("hide_closed_list", BOOL, "false"),
    VALUE_OR("display_colors", BOOL, "true"),
    VALUE_OR("labels", ARRAY, "[]"),
    VALUE_OR("epic_lists", ARRAY, "[]"),
    TIMES,
    END,
};

static const struct rel_attr epic_list_attrs[] = {
    INSTANCE("id"), INSTANCE("group_id"), INSTANCE("epic_board_id"), INSTANCE("label_id"), VALUE("list_type", STR),
    COMPUTED("position", INT), VALUE("label", OBJECT), COMPUTED("collapsed", BOOL), VALUE("epics", ARRAY), TIMES, END,
};

static const struct rel_attr cadence_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    VALUE("title", STR),
    VALUE_OR("description", TEXT, NULL),
    VALUE("start_date", DATE),
    VALUE_OR("active", BOOL, "true"),
    VALUE_OR("roll_over", BOOL, "false"),
    VALUE("automatic", BOOL),
    VALUE("duration_in_weeks", INT),
    VALUE("iterations_in_advance", INT),
    VALUE_OR("iterations", ARRAY, "[]"),
    COMPUTED("sequence", INT),
    COMPUTED("next_run_date", DATE),
    COMPUTED("last_run_date", DATE),
    TIMES,
    END,
};

static const struct rel_attr iteration_attrs[] = {
    INSTANCE("id"),
    INSTANCE("group_id"),
    INSTANCE("project_id"),
    INSTANCE("iterations_cadence_id"),
    VALUE("iid", INT),
    VALUE("title", STR),
    VALUE("description", TEXT),
    VALUE("start_date", DATE),
    VALUE("due_date", DATE),
    COMPUTED("state", ANY), /* follows from the dates */
    COMPUTED("state_enum", ANY),
    COMPUTED("sequence", INT),
    COMPUTED("web_url", STR),
    TIMES,
    END,
};

static const struct rel_attr iteration_ref_attrs[] = {
    INSTANCE("id"), INSTANCE("group_id"), INSTANCE("iterations_cadence_id"), VALUE("iid", INT), VALUE("title", STR), VALUE("start_date", DATE),
    VALUE("due_date", DATE), VALUE("cadence", STR), END,
};

static const struct rel_attr cadence_ref_attrs[] = {
    INSTANCE("id"), VALUE("title", STR), END,
};

#define NO_MORE {NULL, NULL, false}

static const struct rel_nested board_nested[] = {
    {"lists", "lists", true},         {"labels", "label", true},        {"milestone", "milestone", false},
    {"iteration", "iteration", false}, {"iteration_cadence", "iteration_cadence", false},
    {"board_assignee", "board_assignee", false}, NO_MORE,
};
static const struct rel_nested list_nested[] = {
    {"label", "label", false}, {"milestone", "milestone", false}, {"iteration", "iteration", false}, {"user", "user", false}, NO_MORE,
};
static const struct rel_nested assignee_nested[] = {{"assignee", "user", false}, NO_MORE};
static const struct rel_nested user_nested[] = {{"user", "user", false}, NO_MORE};
static const struct rel_nested member_nested[] = {{"user", "user", false}, {"created_by", "user", false}, NO_MORE};
static const struct rel_nested epic_nested[] = {
    {"parent", "parent", false},
    {"label_links", "label_links", true},
    {"award_emoji", "award_emoji", true},
    {"notes", "notes", true},
    {"events", "events", true},
    {"resource_state_events", "resource_state_events", true},
    {"resource_label_events", "resource_label_events", true},
    {"author", "user", false},
    {"closed_by", "user", false},
    NO_MORE,
};
static const struct rel_nested label_link_nested[] = {{"label", "label", false}, NO_MORE};
static const struct rel_nested note_nested[] = {
    {"award_emoji", "award_emoji", true}, {"events", "events", true}, {"author", "user", false}, NO_MORE,
};
static const struct rel_nested label_event_nested[] = {{"label", "label", false}, {"user", "user", false}, NO_MORE};
static const struct rel_nested epic_board_nested[] = {{"epic_lists", "epic_lists", true}, {"labels", "label", true}, NO_MORE};
static const struct rel_nested epic_list_nested[] = {{"label", "label", false}, {"epics", "listed_epic", true}, NO_MORE};
static const struct rel_nested cadence_nested[] = {{"iterations", "iterations", true}, NO_MORE};

const struct relation relations[] = {
    {"self", "group", "", true, REL_PHASE_GROUP, "14.0", false, self_attrs, NULL},
    {"namespace_settings", "group settings", "", true, REL_PHASE_LOCKS, "14.1", false, namespace_settings_attrs, NULL},
    {"labels", "labels", "title", false, REL_PHASE_LABELS, "14.0", false, label_attrs, NULL},
    {"milestones", "milestones", "title", false, REL_PHASE_MILESTONES, "14.0", false, milestone_attrs, NULL},
    {"iterations_cadences", "iteration cadences", "title", false, REL_PHASE_ITERATIONS, "15.4", true,
     cadence_attrs, cadence_nested},
    {"badges", "badges", "", false, REL_PHASE_BADGES, "14.0", false, badge_attrs, NULL},
    {"boards", "issue boards", "name", false, REL_PHASE_BOARDS, "14.0", false, board_attrs, board_nested},
    {"epics", "epics", "iid", false, REL_PHASE_EPICS, "14.0", true, epic_attrs, epic_nested},
    {"epic_boards", "epic boards", "name", false, REL_PHASE_EPIC_BOARDS, "18.4", true, epic_board_attrs,
     epic_board_nested},
    {"members", "members", "user", false, REL_PHASE_MEMBERS, "14.0", false, member_attrs, member_nested},
    {"user_contributions", "contributing users", "username", false, REL_PHASE_NONE, "18.3", false, user_attrs, NULL},
    /* nested */
    {"lists", "board lists", "", false, REL_PHASE_NONE, "14.0", false, list_attrs, list_nested},
    {"board_assignee", "board assignee", "", true, REL_PHASE_NONE, "14.0", true, board_assignee_attrs, assignee_nested},
    {"epic_lists", "epic board lists", "", false, REL_PHASE_NONE, "18.4", true, epic_list_attrs, epic_list_nested},
    {"iterations", "iterations", "start_date,due_date", false, REL_PHASE_NONE, "15.4", true, iteration_attrs, NULL},
    {"notes", "comments", "", false, REL_PHASE_NONE, "14.0", false, note_attrs, note_nested},
    {"award_emoji", "emoji reactions", "", false, REL_PHASE_NONE, "14.0", false, award_attrs, user_nested},
    {"label_links", "labels of an epic", "", false, REL_PHASE_NONE, "14.0", false, label_link_attrs, label_link_nested},
    {"events", "events", "", false, REL_PHASE_NONE, "14.0", false, event_attrs, NULL},
    {"resource_state_events", "state events", "", false, REL_PHASE_NONE, "14.0", false, state_event_attrs, user_nested},
    {"resource_label_events", "label events", "", false, REL_PHASE_NONE, "14.0", false, label_event_attrs,
     label_event_nested},
    /* what another record refers to: only what finds it again */
    {"label", "label", "title", true, REL_PHASE_NONE, "14.0", false, label_ref_attrs, NULL},
    {"milestone", "milestone", "title", true, REL_PHASE_NONE, "14.0", false, milestone_ref_attrs, NULL},
    {"iteration", "iteration", "start_date,due_date", true, REL_PHASE_NONE, "14.0", true, iteration_ref_attrs, NULL},
    {"iteration_cadence", "iteration cadence", "title", true, REL_PHASE_NONE, "15.4", true, cadence_ref_attrs, NULL},
    {"listed_epic", "epic in a list", "iid", true, REL_PHASE_NONE, "18.4", true, listed_epic_attrs, NULL},
    {"parent", "parent epic", "iid", true, REL_PHASE_NONE, "14.0", true, epic_ref_attrs, NULL},
    {"user", "user", "username", true, REL_PHASE_NONE, "14.0", false, user_attrs, NULL},
    {NULL, NULL, NULL, false, REL_PHASE_NONE, NULL, false, NULL, NULL},
};

/* Most names part in their first letter. */
static bool same(const char *a, const char *b)
{
    return *a == *b && strcmp(a, b) == 0;
}

const struct relation *relation_find(const char *name)
{
    for (const struct relation *r = relations; r->name; r++)
        if (same(r->name, name))
            return r;
    return NULL;
}

const struct rel_attr *relation_attr(const struct relation *r, const char *name)
{
    for (const struct rel_attr *a = r->attrs; a && a->name; a++)
        if (same(a->name, name))
            return a;
    return NULL;
}

bool relation_name_ok(const char *name, size_t len)
{
    if (len == 0 || len > 63 || name[0] < 'a' || name[0] > 'z')
        return false;
    for (size_t i = 1; i < len; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '_'))
            return false;
    return true;
}
