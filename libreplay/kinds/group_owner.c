/*
 * The avatar of a group, and what becomes of the token's user, whom GitLab makes Owner of every group that he creates:
 * at the very end he gets the role that he had at the source, or leaves when somebody else owns the group.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/settings.h"
#include "libreplay/kinds/step.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- avatar ---- */

enum { A_START, A_READ, A_PUT };

struct image {
    const char *ext, *type, *magic;
    size_t len, at;
};

static const struct image images[] = {
    {"png", "image/png", "\x89PNG\r\n\x1a\n", 8, 0},
    {"jpg", "image/jpeg", "\xff\xd8\xff", 3, 0},
    {"gif", "image/gif", "GIF8", 4, 0},
    {"bmp", "image/bmp", "BM", 2, 0},
    {"tiff", "image/tiff", "II*\0", 4, 0},
    {"tiff", "image/tiff", "MM\0*", 4, 0},
    {"ico", "image/vnd.microsoft.icon", "\0\0\1\0", 4, 0},
    {"webp", "image/webp", "WEBP", 4, 8},
};

static const struct image *image_of(const void *data, size_t len)
{
    for (size_t i = 0; i < GS_COUNT(images); i++)
        if (len >= images[i].at + images[i].len &&
            memcmp((const char *)data + images[i].at, images[i].magic, images[i].len) == 0)
            return &images[i];
    return NULL;
}

static int put_avatar(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    const char *path = gs_json_str(r->rec, "file");
    if (!path)
        return step_fail(err, GS_E_INTERNAL, "avatar without a file");
    gs_buf_reset(&r->buf);
    if (bundle_read_file(run_bundle(r), path, AVATAR_MAX, &r->buf, err))
        return -1;
    const struct image *image = image_of(r->buf.data, r->buf.len);
    if (!image)
        return step_lost(r, "group-avatar-not-loaded", "no image that GitLab takes", out, err);
    static const char *const names[] = {"avatar.png",  "avatar.jpg",  "avatar.gif", "avatar.bmp",
                                        "avatar.tiff", "avatar.tiff", "avatar.ico", "avatar.webp"};
    const char *base = strrchr(path, '/'), *dot = base ? strrchr(base, '.') : NULL;
    /* the bundle's name when its ending fits what the file is (it lives as long as the run: op.arg), else one of ours
     */
    bool fits =
        dot && (strcmp(dot + 1, image->ext) == 0 || (strcmp(image->ext, "jpg") == 0 && strcmp(dot + 1, "jpeg") == 0));
    r->part = (struct gl_part){.name = "avatar",
                               .filename = fits ? base + 1 : names[image - images],
                               .content_type = image->type,
                               .data = r->buf.data,
                               .len = r->buf.len};
    struct gl_request *q = run_request(GL_PUT, NULL, "/groups/%lld", (long long)r->grp->target_id);
    if (q) {
        q->parts = &r->part;
        q->n_parts = 1;
    }
    return step_send_repeatable(r, A_PUT, q, out_req, out, err);
}

static int step_avatar(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                       struct gs_err *err)
{
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == A_PUT, &a, err))
        return -1;
    r->op.target_id = r->grp->target_id;
    if (r->phase == A_START && r->grp->existed)
        return step_send(r, A_READ,
                         run_request(GL_GET, NULL, "/groups/%lld?with_projects=false", (long long)r->grp->target_id),
                         out_req, out, err);
    if (r->phase == A_START || a == ANS_LOST)
        return put_avatar(r, out_req, out, err);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (r->phase == A_READ) {
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "reading the group");
        if (step_doc(rsp, &doc, err))
            return -1;
        if (!gs_json_str(yyjson_doc_get_root(doc), "avatar_url"))
            return put_avatar(r, out_req, out, err);
        r->op.adopted = true;
        *out = STEP_DONE;
        return 0;
    }
    if (a == ANS_REFUSED) {
        if (rsp->status == 400 || rsp->status == 413 || rsp->status == 422)
            return step_lost(r, "group-avatar-not-loaded", rsp->err.text, out, err);
        return step_refused(rsp, err, "setting the avatar");
    }
    if (step_doc(rsp, &doc, err))
        return -1;
    if (!gs_json_str(yyjson_doc_get_root(doc), "avatar_url"))
        return step_lost(r, "group-avatar-not-loaded", "the server took it and shows none", out, err);
    *out = STEP_DONE;
    return 0;
}

const struct kind kind_groups_avatar = {
    .name = "groups.avatar", .relation = "self", .ordered = false, .step = step_avatar};

/* ---- ownership ---- */

enum { O_START, O_SELF, O_OTHERS, O_OTHERS_AGAIN, O_ABOVE, O_LOWER, O_LEAVE };

static int keep(struct run *r, const char *why, enum step_result *out, struct gs_err *err)
{
    r->op.target_id = run_self(r);
    *out = STEP_DONE;
    return run_loss(r, "creator-kept-as-owner", why, err);
}

static int done(struct run *r, enum step_result *out)
{
    r->op.target_id = run_self(r);
    *out = STEP_DONE;
    return 0;
}

static int others(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0)
        n->page = 1;
    return step_send(r, O_OTHERS,
                     run_request(GL_GET, NULL, "/groups/%lld/members/all?per_page=100&page=%lld",
                                 (long long)r->grp->target_id, (long long)n->page),
                     out_req, out, err);
}

static int leave(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct gl_request *q = run_request(GL_DELETE, NULL, "/groups/%lld/members/%lld?skip_subresources=true",
                                       (long long)r->grp->target_id, (long long)run_self(r));
    return step_send_repeatable(r, O_LEAVE, q, out_req, out, err);
}

static int lower(struct run *r, int64_t level, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    const char *expires = gs_json_str(r->rec, "expires_at");
    gs_autobuf body;
    gs_buf_init(&body, 256);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "access_level", level);
    if (expires && *expires) {
        gs_jw_key(&w, "expires_at");
        gs_jw_strn(&w, expires, strlen(expires) > 10 ? 10 : strlen(expires));
    }
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *q =
        run_request(GL_PUT, &body, "/groups/%lld/members/%lld", (long long)r->grp->target_id, (long long)run_self(r));
    return step_send_repeatable(r, O_LOWER, q, out_req, out, err);
}

/* He is a direct member with `have`: what next? */
static int decide(struct run *r, yyjson_val *self, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    int64_t want = 0, have = 0;
    gs_json_i64(r->rec, "access_level", &want);
    gs_json_i64(self, "access_level", &have);
    if (want == have && step_same_date(gs_json_str(r->rec, "expires_at"), gs_json_str(self, "expires_at")))
        return done(r, out);
    r->n1 = want;
    if (want == 50)
        return lower(r, want, out_req, out, err); /* an expiry date */
    /* below another group of the bundle the server counts who owns that one; at the root somebody must be left */
    if (r->grp->parent)
        return want ? lower(r, want, out_req, out, err) : leave(r, out_req, out, err);
    struct state_tally t;
    if (state_tally(r->state, &t, err))
        return -1;
    if (t.failed && r->target->is_admin != 1)
        return keep(r, "records failed, and without this role nobody could load them again with this token", out, err);
    return others(r, out_req, out, err);
}

static int counted(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                   struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        int64_t id = 0, level = 0;
        const char *state = gs_json_str(it, "state");
        gs_json_i64(it, "id", &id);
        gs_json_i64(it, "access_level", &level);
        if (level == 50 && id != run_self(r) && (!state || strcmp(state, "active") == 0))
            return r->n1 ? lower(r, r->n1, out_req, out, err) : leave(r, out_req, out, err);
    }
    if (step_next_page(n, rsp))
        return others(r, out_req, out, err);
    int64_t hidden = r->grp->owner_ms ? r->grp->owner_ms + run_lag(r) - gs_mono_ms() : 0;
    if (hidden > 0) { /* a replica may not show the one that this load has added */
        n->page = 0;
        r->phase = O_OTHERS_AGAIN;
        r->wait_ms = hidden < 800 ? hidden : 800;
        *out = STEP_AGAIN;
        return 0;
    }
    if (!r->grp->dst_parent)
        return keep(r, "nobody else owns the group", out, err);
    return step_send(r, O_ABOVE,
                     run_request(GL_GET, NULL, "/groups/%lld/members/all/%lld", (long long)r->grp->dst_parent,
                                 (long long)run_self(r)),
                     out_req, out, err);
}

static int step_owner(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == O_LOWER || r->phase == O_LEAVE, &a, err))
        return -1;
    if (r->phase == O_START || a == ANS_LOST) {
        int64_t want = 0;
        gs_json_i64(r->rec, "access_level", &want);
        r->op.adopted = r->grp->existed && want;
        if (r->grp->existed)
            return want == 50 ? done(r, out) : want ? keep(r, "the group was there before", out, err) : done(r, out);
        if (run_opts(r)->keep_owner)
            return want == 50 ? done(r, out) : keep(r, "as asked for", out, err);
        return step_send(r, O_SELF,
                         run_request(GL_GET, NULL, "/groups/%lld/members/%lld", (long long)r->grp->target_id,
                                     (long long)run_self(r)),
                         out_req, out, err);
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    int64_t level = 0;
    switch (r->phase) {
    case O_OTHERS_AGAIN:
        return others(r, out_req, out, err);
    case O_SELF:
        if (a == ANS_REFUSED) /* no direct member, or no access any more: nothing is left to put right */
            return rsp->status == 404 || rsp->status == 403 ? done(r, out)
                                                            : step_refused(rsp, err, "reading the own membership");
        return step_doc(rsp, &doc, err) ? -1 : decide(r, yyjson_doc_get_root(doc), out_req, out, err);
    case O_OTHERS:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "reading who owns the group");
        return counted(r, rsp, out_req, out, err);
    case O_ABOVE:
        if (a == ANS_OK && step_doc(rsp, &doc, err))
            return -1;
        if (a == ANS_OK && gs_json_i64(yyjson_doc_get_root(doc), "access_level", &level) && level == 50)
            return leave(r, out_req, out, err); /* he stays Owner from above */
        return keep(r, "nobody else owns the group", out, err);
    case O_LOWER:
        if (a == ANS_REFUSED) {
            if (rsp->status == 400 && strstr(gs_buf_str(&rsp->body), "inherited membership")) {
                if (run_loss(r, "member-inherits-more", rsp->err.text, err))
                    return -1;
                r->n2 = 1;
                return leave(r, out_req, out, err);
            }
            return keep(r, rsp->err.text, out, err);
        }
        return done(r, out);
    case O_LEAVE:
        if (a == ANS_REFUSED && rsp->status != 404)
            return keep(r, rsp->err.text, out, err);
        if (r->n2) { /* the role that he had could not be given */
            *out = STEP_SKIP;
            return 0;
        }
        return done(r, out);
    default:
        return gs_fail(err, GS_E_INTERNAL, "ownership in phase %d", r->phase);
    }
}

const struct kind kind_groups_owner = {.name = "groups.owner", .relation = "self", .ordered = true, .step = step_owner, .ends_access = true};
