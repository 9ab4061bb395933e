"""The settings of a group: who may set them, at POST or only at PUT, since when, and how they cascade."""
from .auth import OWNER, ancestor_ids, level
from .errors import invalid
from .router import opt

SHARED_RUNNERS = ("disabled_and_unoverridable", "disabled_and_overridable", "enabled", "disabled_with_override")
DEFAULT_PROTECTION = {"allowed_to_push": [{"access_level": 40}], "allow_force_push": False,
                      "allowed_to_merge": [{"access_level": 40}], "developer_can_initial_push": False,
                      "code_owner_approval_required": False}


class Setting:
    def __init__(self, name, type_, default, where="both", since=(0, 0), tier="free", values=None, nullable=True,
                 top=False, admin=False, detail=False, hidden=False):
        self.name, self.type, self.default, self.where = name, type_, default, where
        self.since, self.tier, self.values, self.nullable = since, tier, values, nullable
        self.top, self.admin, self.detail, self.hidden = top, admin, detail, hidden


S = Setting
SETTINGS = [
    S("share_with_group_lock", bool, False),
    S("require_two_factor_authentication", bool, False),
    S("two_factor_grace_period", int, 48),
    S("project_creation_level", str, "developer", nullable=False,
      values=("noone", "owner", "maintainer", "developer", "administrator")),
    S("auto_devops_enabled", bool, None),
    S("subgroup_creation_level", str, "maintainer", values=("owner", "maintainer"), nullable=False),
    S("emails_enabled", bool, True, since=(16, 5)),
    S("show_diff_preview_in_email", bool, True, since=(16, 8)),
    S("mentions_disabled", bool, None),
    S("lfs_enabled", bool, True),
    S("request_access_enabled", bool, True),
    S("default_branch", str, None, since=(16, 11)),
    S("default_branch_protection", int, 2, values=(0, 1, 2, 3, 4)),
    S("default_branch_protection_defaults", dict, DEFAULT_PROTECTION, since=(17, 0)),
    S("shared_runners_setting", str, "enabled", values=SHARED_RUNNERS),
    S("enabled_git_access_protocol", str, "all", since=(16, 9), values=("ssh", "http", "all"), detail=True),
    S("math_rendering_limits_enabled", bool, True, where="put", since=(16, 7)),
    S("lock_math_rendering_limits_enabled", bool, False, where="put", since=(16, 7)),
    S("max_artifacts_size", int, None, where="put", since=(17, 6), admin=True),
    S("prevent_sharing_groups_outside_hierarchy", bool, False, where="put", top=True, detail=True),
    S("allow_mfa_for_subgroups", bool, True, where="seed", hidden=True),
    S("membership_lock", bool, False, tier="premium", detail=True),
    S("ldap_cn", str, None, tier="premium"),
    S("ldap_access", int, None, tier="premium"),
    S("shared_runners_minutes_limit", int, None, tier="premium", admin=True, detail=True),
    S("extra_shared_runners_minutes_limit", int, None, tier="premium", admin=True, detail=True),
    S("wiki_access_level", str, "enabled", tier="premium", values=("disabled", "private", "enabled")),
    S("file_template_project_id", int, None, where="put", tier="premium"),
    S("prevent_forking_outside_group", bool, None, where="put", tier="premium", detail=True),
    S("unique_project_download_limit", int, 0, where="put", tier="ultimate", detail=True),
    S("unique_project_download_limit_interval_in_seconds", int, 0, where="put", tier="ultimate", detail=True),
    S("unique_project_download_limit_allowlist", "list", [], where="put", tier="ultimate", detail=True),
    S("unique_project_download_limit_alertlist", "ints", [], where="put", tier="ultimate", detail=True),
    S("auto_ban_user_on_excessive_projects_download", bool, False, where="put", tier="ultimate", detail=True),
    S("ip_restriction_ranges", str, None, where="put", tier="premium", detail=True),
    S("allowed_email_domains_list", str, None, where="put", tier="premium", detail=True, since=(17, 4)),
    S("service_access_tokens_expiration_enforced", bool, True, where="put", tier="premium", top=True, detail=True,
      since=(16, 7)),
    S("duo_features_enabled", bool, True, tier="premium", since=(16, 10), detail=True),
    S("lock_duo_features_enabled", bool, False, tier="premium", since=(16, 10), detail=True),
    S("only_allow_merge_if_pipeline_succeeds", bool, False, where="put", tier="premium", since=(16, 11), detail=True),
    S("allow_merge_on_skipped_pipeline", bool, False, where="put", tier="premium", since=(16, 11), detail=True),
    S("only_allow_merge_if_all_discussions_are_resolved", bool, False, where="put", tier="premium", since=(16, 11),
      detail=True),
    S("web_based_commit_signing_enabled", bool, False, where="put", tier="premium", since=(18, 2), detail=True),
]
BY_NAME = {s.name: s for s in SETTINGS}
TIERS = {"free": 0, "premium": 1, "ultimate": 2}
COMMON = [opt(s.name, s.type, values=s.values, nullable=s.nullable) for s in SETTINGS if s.where == "both"]
COMMON += [opt("emails_disabled", bool)]
PUT_ONLY = [opt(s.name, s.type, values=s.values, nullable=s.nullable) for s in SETTINGS if s.where == "put"]
INACTIVE_2FA = "is forbidden by a top-level group"


def defaults():
    return {s.name: s.default for s in SETTINGS}


def available(ctx, s):
    tier = ctx.app.config["tier"]
    return ctx.version >= s.since and TIERS[tier] >= TIERS[s.tier] and (s.tier == "free" or ctx.app.enterprise)


def accept(ctx, p, creating, top):
    """The settings of this request that this server knows, has licensed, and lets this caller set.

    Everything else is ignored in silence, as GitLab does."""
    out = {}
    for name, value in p.items():
        s = BY_NAME.get(name)
        if s is None or not available(ctx, s) or s.where == "seed" or creating and s.where == "put":
            continue
        if s.admin and not ctx.admin or s.top and not top:
            continue
        if creating and name == "shared_runners_setting" and ctx.version < (16, 0):
            continue
        if name == "default_branch_protection_defaults" and value is not None:
            value = {**DEFAULT_PROTECTION, **{k: v for k, v in value.items() if k in DEFAULT_PROTECTION}}
        if name == "shared_runners_setting" and value == "disabled_with_override":
            value = "disabled_and_overridable"
        if value is None and name not in ("auto_devops_enabled", "mentions_disabled", "default_branch", "ldap_cn",
                                          "ldap_access", "max_artifacts_size", "file_template_project_id",
                                          "ip_restriction_ranges", "allowed_email_domains_list",
                                          "shared_runners_minutes_limit", "extra_shared_runners_minutes_limit",
                                          "prevent_forking_outside_group"):
            continue
        out[name] = value
    if "emails_disabled" in p and p["emails_disabled"] is not None and "emails_enabled" not in out:
        out["emails_enabled"] = not p["emails_disabled"]
    return out


def inherit(new, parent):
    """What a new subgroup takes over from its parent."""
    if parent["share_with_group_lock"]:
        new["share_with_group_lock"] = True
    new["shared_runners_setting"] = parent["shared_runners_setting"]
    if parent["lock_math_rendering_limits_enabled"]:
        new["math_rendering_limits_enabled"] = parent["math_rendering_limits_enabled"]


def check_against_ancestors(ctx, g_tids_parent, changes, old, chain):
    """chain: settings of the ancestors, nearest last. Raises the model's complaint."""
    if not chain:
        return
    parent, top = chain[-1], chain[0]
    want = changes.get("shared_runners_setting")
    if want is not None and want != old.get("shared_runners_setting"):
        if want == "enabled" and parent["shared_runners_setting"] == "disabled_and_unoverridable":
            raise invalid(shared_runners_enabled="cannot be enabled because parent group has shared Runners disabled")
        if want == "disabled_and_overridable" and parent["shared_runners_setting"] == "disabled_and_unoverridable":
            raise invalid(allow_descendants_override_disabled_shared_runners=
                          "cannot be enabled because parent group does not allow it")
    if changes.get("share_with_group_lock") is False and old.get("share_with_group_lock") \
            and parent["share_with_group_lock"]:
        pg = ctx.db.one("SELECT * FROM groups WHERE tids=?", g_tids_parent)
        if not ctx.admin and level(ctx, pg) < OWNER:
            raise invalid(share_with_group_lock='cannot be disabled when the parent group "Share with group lock" is '
                                                'enabled, except by the owner of the parent group')
    if changes.get("require_two_factor_authentication") and not top["allow_mfa_for_subgroups"]:
        raise invalid(require_two_factor_authentication=INACTIVE_2FA)
    for name, lock, since in (("math_rendering_limits_enabled", "lock_math_rendering_limits_enabled", (16, 7)),
                              ("duo_features_enabled", "lock_duo_features_enabled", (16, 10))):
        if name in changes and changes[name] != old.get(name) and any(a[lock] for a in chain):
            raise invalid(**{name: "cannot be changed because it is locked by an ancestor"})
        if changes.get(lock) and any(a[lock] for a in chain):
            raise invalid(**{lock: "cannot be changed because it is locked by an ancestor"})


def cascade(changes):
    """What a change forces upon every descendant: {setting: value or function of the old value}."""
    out = {}
    if changes.get("share_with_group_lock"):
        out["share_with_group_lock"] = True
    sr = changes.get("shared_runners_setting")
    if sr == "disabled_and_unoverridable":
        out["shared_runners_setting"] = sr
    elif sr == "disabled_and_overridable":
        out["shared_runners_setting"] = sr
    if changes.get("lock_math_rendering_limits_enabled"):
        out["lock_math_rendering_limits_enabled"] = False
    if changes.get("lock_duo_features_enabled"):
        out["lock_duo_features_enabled"] = False
    return out


def chain_ids(tids):
    return ancestor_ids(tids)[:-1]
