#include "libreplay/loss.h"

#include <stddef.h>
#include <string.h>

/* Codes are read by scripts: never rename one. */
const struct loss_rule loss_rules[] = {
    /* any relation */
    {"relation-not-loaded", "*", true,
     "records of this kind stay in the bundle, since the loader does not know how to load them"},
    {"exists-differs", "*", false,
     "an object of the same name was on the target before, and differs; it was left as it is"},
    {"user-unmatched", "*", false,
     "a person of the bundle is nobody on the target, and what names this person goes without"},
    {"made-twice", "*", false,
     "something before the target, or the target itself, did a request twice; the object that was one too many is removed where the load "
     "made the group"},
    {"text-action-kept", "*", false,
     "a line of the text that GitLab would have carried out as a quick action has a backslash in front, so that it stays text"},
    {"text-rewritten", "*", false,
     "references or links in the text were rewritten to what they mean on the target"},
    {"text-reference-left", "*", false,
     "the text names something that is not on the target, or links to it; it was left as it is"},
    /* groups */
    {"group-times", "self", false,
     "the group's creation and update times are those of the load, since the API cannot set them"},
    {"group-renamed", "self", false, "the group has another path or name on the target, as asked for or needed"},
    {"visibility-lowered", "self", false,
     "the group is less visible than at the source, since what stands above it or the target's policy allows no more"},
    {"group-description-cut", "self", false,
     "the description is cut to 255 characters, since the target takes no more"},
    {"group-setting-not-applied", "self", false,
     "the target did not take over a setting of the group (its version, edition, tier or the group above decides)"},
    {"group-ip-restriction-not-applied", "self", false,
     "allowed IP ranges are not set, since they could lock out everybody on the new network"},
    {"group-avatar-not-loaded", "self", true,
     "the group has no avatar, since the target does not take the image (200 KiB; png, jpg, gif, bmp, tiff, ico, "
     "webp)"},
    {"creator-kept-as-owner", "self", false,
     "the token's user stays Owner of the group, which GitLab made him when he created it"},
    /* labels */
    {"label-times", "labels", false,
     "creation and update times of labels are those of the load, since the API cannot set them"},
    {"label-changed", "labels", false, "the target stored another title or color than it was sent"},
    {"label-priorities", "labels", false, "the label's priority is lost, since group labels take none over the API"},
    {"label-lock-on-merge", "labels", false, "the label does not lock on merge, since the API cannot set that"},
    {"label-archived", "labels", false, "the label is not archived, since the target cannot do that (GitLab 18.10)"},
    /* milestones */
    {"milestone-times", "milestones", false,
     "creation, update and closing times of milestones are those of the load, since the API cannot set them"},
    {"milestone-iid", "milestones", false,
     "the milestone's number could not be kept, since too many numbers before it are unused"},
    {"milestone-iid-changed", "milestones", false,
     "the milestone has another number than at the source, so that references like %5 mean something else"},
    {"milestone-renamed", "milestones", false,
     "the milestone has another title, since one in the hierarchy of groups and projects has it already"},
    {"milestone-title-sanitised", "milestones", false, "the target took markup out of the milestone's title"},
    {"milestone-date-dropped", "milestones", false, "the target did not take over a date of the milestone"},
    /* iterations */
    {"iterations-not-available", "iterations_cadences", true,
     "cadences and iterations are not loaded, since the target's tier has none, or not for the token's user"},
    {"cadence-times", "iterations_cadences", false,
     "creation and update times of cadences are those of the load, since the API cannot set them"},
    {"cadence-changed", "iterations_cadences", false, "the target stored other values of the cadence than it was sent"},
    {"cadence-automation-unknown", "iterations_cadences", false,
     "the cadence is loaded as one that does not make iterations itself, since the bundle does not say whether it does"},
    {"cadence-start-date", "iterations_cadences", false,
     "the cadence makes iterations from another date on, since GitLab wants one behind the iterations that have begun"},
    {"iterations-moved", "iterations_cadences", false,
     "the target moves iterations that lie ahead, since they do not follow one another as the cadence makes them"},
    {"iteration-times", "iterations", false,
     "creation and update times of iterations are those of the load, since the API cannot set them"},
    {"iteration-iid", "iterations", false,
     "the iteration's number could not be kept, since too many numbers before it are unused"},
    {"iteration-iid-changed", "iterations", false, "the iteration has another number than at the source"},
    {"iteration-changed", "iterations", false, "the target stored other values of the iteration than it was sent"},
    {"iteration-state", "iterations", false,
     "the iteration is in another state than when it was captured, since GitLab takes that from its dates and the day"},
    {"iteration-cadence-automatic", "iterations", true,
     "the iteration is not loaded, since its cadence was on the target before and makes its iterations itself"},
    /* badges */
    {"badge-times", "badges", false,
     "creation and update times of badges are those of the load, since the API cannot set them"},
    {"badge-changed", "badges", false, "the target stored another name or URL than it was sent"},
    {"badge-source-url", "badges", false,
     "the badge still points to the source, since its URLs are carried as they are"},
    {"badge-order", "badges", false,
     "the badge stands behind others that came after it at the source, since it was loaded later than they"},
    /* boards */
    {"board-times", "boards", false,
     "creation and update times of boards and lists are those of the load, since the API cannot set them"},
    {"boards-not-available", "boards", true,
     "the board is not loaded, since the target's tier has one board per group only"},
    {"board-scope-milestone", "boards", false, "the board is not limited to its milestone, which is not on the target"},
    {"board-scope-label", "boards", false, "the board is not limited to one of its labels, which is not on the target"},
    {"board-scope-assignee", "boards", false, "the board is not limited to its assignee, who is nobody on the target"},
    {"board-scope-iteration", "boards", false,
     "the board is not limited to its iteration or cadence, which is not on the target, or is one by its state (current)"},
    {"board-scope-not-applied", "boards", false,
     "the target did not take over a part of the board's scope or settings (its tier decides)"},
    {"list-without-board", "lists", true, "the list is not loaded, since its board is not"},
    {"list-reference-missing", "lists", true, "the list is not loaded, since what it stands for is not on the target"},
    {"list-not-available", "lists", true, "the list is not loaded, since the target's tier has no lists of this kind"},
    {"list-iteration", "lists", true, "the list is not loaded, since the target's tier has no iterations"},
    {"list-order", "lists", false,
     "the list stands behind others that came after it at the source, since it was loaded later and the target did not move it"},
    {"board-list-limits", "lists", false,
     "the list has no limits of work in progress, which the target's edition or tier does not have"},
    /* members */
    {"member-times", "members", false,
     "since when people are members, and who added them, is that of the load, since the API cannot set it"},
    {"member-no-user", "members", true, "the membership is not loaded, since the person is nobody on the target"},
    {"member-expired", "members", true, "the membership is not loaded, since it has expired"},
    {"member-inherits-more", "members", true,
     "the membership is not loaded, since the person inherits a higher role from a group above"},
    {"member-minimal-access", "members", true,
     "the membership is not loaded, since Minimal Access cannot be given over the API everywhere"},
    {"member-role-unknown", "members", true, "the membership is not loaded, since the target does not know its role"},
    {"member-custom-role", "members", false, "the member has the base role only, since custom roles are not carried"},
    {"member-awaits-approval", "members", true,
     "the membership waits for an administrator of the target to approve it"},
    {"member-locked", "members", true,
     "the membership is not loaded, since memberships of the group follow LDAP or SAML"},
    {"member-changed", "members", false, "the target stored another role or expiry date than it was sent"},
    {"member-same-user", "members", true,
     "the membership is not loaded, since another person of the bundle is the same user on the target, with a role as "
     "high"},
    {"member-invitation", "members", true, "a pending invitation is not carried"},
    {"member-request", "members", true, "a pending request for access is not carried"},
    {NULL, NULL, false, NULL},
};

const struct loss_rule *loss_find(const char *code)
{
    for (const struct loss_rule *l = loss_rules; l->code; l++)
        if (strcmp(l->code, code) == 0)
            return l;
    return NULL;
}
