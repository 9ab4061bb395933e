/*
 * The order of epics on an epic board. An epic has one place on a board, however many lists show it, so that going through list after
 * list would undo what was done for the ones before. Instead each epic goes directly behind the last of those that stand before it in any
 * list, in an order in which these have had their turn. Those that begin all their lists (roots) stay where they are; which of two of
 * them comes first on the board is asked the first time that it matters. Every move may be repeated, and all of it begun again; which it is
 * when the lists, read once more after the last move, do not stand as they should.
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/epics.h"
#include "libreplay/kinds/kinds.h"
#include "libgitlab/graphql.h"

#include <stdlib.h>
#include <string.h>

#define BOARD "Boards::EpicBoard"
#define LIST_GID "Boards::EpicList"
#define NONE UINT32_MAX

enum { START, BOARDS, CHECK, MOVE, ASK, HIDE, AGAIN };

#define ROUNDS 3 /* of run->n1 */

struct place {           /* an epic in a list */
    uint32_t epic, list;
    uint32_t before;     /* the epic that stands directly before it there; NONE */
    uint32_t shown;      /* the how manieth the target shows there; 0: it does not show it there */
};

struct one {             /* an epic of the board */
    int64_t id;
    uint32_t root;       /* NONE: it has not had its turn */
    uint32_t next;       /* behind it, of the same root */
    uint32_t rank;       /* in that row */
    uint32_t first_place, places; /* in by_epic */
};

struct known {           /* of two roots: the second comes later on the board */
    uint32_t a, b;
    bool later;
};

struct candidate {       /* what one epic has to stand behind: the last of one root */
    uint32_t root, epic, list;
};

struct order {
    struct one *epics;
    size_t n_epics;
    struct place *places; /* by list, in order */
    size_t n_places;
    uint32_t *by_epic;    /* places, grouped by epic */
    struct {
        int64_t id;
        uint32_t from, n;
    } *lists;
    size_t n_lists;
    struct known *known;
    size_t n_known;
    struct candidate *cand; /* of the epic whose turn it is */
    size_t n_cand, at;
    uint32_t turn, behind, root; /* epic, where it stands now */
    size_t list;          /* that is checked */
    size_t no_list;       /* epics whose list the target does not show */
    bool moved, refused;  /* any of them */
    uint32_t seen;        /* epics of the list that is read */
    uint32_t ask_e, ask_p; /* places in the list that is read to ask */
};

static void order_free(void *own)
{
    struct order *o = own;
    free(o->epics);
    free(o->places);
    free(o->by_epic);
    free(o->lists);
    free(o->known);
    free(o->cand);
    free(o);
}

/* ---- what is wanted ---- */

static int by_id(const void *a, const void *b)
{
    const struct one *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static uint32_t find_epic(const struct order *o, int64_t id)
{
    struct one key = {.id = id}, *e = bsearch(&key, o->epics, o->n_epics, sizeof key, by_id);
    return e ? (uint32_t)(e - o->epics) : NONE;
}

/* The list of the target's board that stands for this one: by its label, or as Open or Closed. */
static int target_list(struct run *r, yyjson_val *want, yyjson_val *lists, int64_t *out, struct gs_err *err)
{
    yyjson_val *label = step_get(want, "label"), *l;
    const char *title = gs_json_str(label, "title"), *type = gs_json_str(want, "list_type");
    int64_t home = 0, id = 0;
    size_t i, max;
    *out = 0;
    gs_json_i64(label, "group_id", &home);
    if (title && step_ref(r, "labels", home, title, &id, err))
        return -1;
    yyjson_arr_foreach(lists, i, max, l)
    {
        if (title ? id && step_get(l, "label") && gid_of(step_get(l, "label")) == id
                  : step_same_text(type, gs_json_str(l, "listType")))
            *out = gid_of(l);
    }
    return 0;
}

static int add_list(struct run *r, struct order *o, yyjson_val *want, int64_t id, struct gs_err *err)
{
    yyjson_val *epics = step_get(want, "epics"), *it;
    size_t i, max, n = yyjson_arr_size(epics);
    void *lists = realloc(o->lists, (o->n_lists + 1) * sizeof *o->lists);
    struct place *places = lists ? realloc(o->places, (o->n_places + n + 1) * sizeof *places) : NULL;
    struct one *all = places ? realloc(o->epics, (o->n_epics + n + 1) * sizeof *all) : NULL;
    o->lists = lists ? lists : o->lists;
    o->places = places ? places : o->places;
    if (!all)
        return gs_fail(err, GS_E_NOMEM, "no memory for an epic board");
    o->epics = all;
    uint32_t from = (uint32_t)o->n_places;
    yyjson_arr_foreach(epics, i, max, it)
    {
        struct epic_at e;
        int64_t grp = 0, iid = 0;
        bool is;
        gs_json_i64(it, "group_id", &grp);
        gs_json_i64(it, "iid", &iid);
        gs_autofree char *key = epic_key(iid);
        if (!key)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        if (epic_find(r, grp, key, &e, &is, err))
            return -1;
        if (!is)
            continue;
        /* the place holds where the id is found until all are known */
        o->places[o->n_places] = (struct place){.epic = (uint32_t)o->n_epics, .list = (uint32_t)o->n_lists, .before = NONE};
        o->n_places++;
        o->epics[o->n_epics++] = (struct one){.id = e.id, .root = NONE, .next = NONE};
    }
    o->lists[o->n_lists].id = id;
    o->lists[o->n_lists].from = from;
    o->lists[o->n_lists].n = (uint32_t)o->n_places - from;
    o->n_lists++;
    return 0;
}

/* One entry per epic. */
static int index_epics(struct order *o, struct gs_err *err)
{
    gs_autofree int64_t *ids = calloc(o->n_places + 1, sizeof *ids);
    o->by_epic = calloc(o->n_places + 1, sizeof *o->by_epic);
    o->cand = calloc(o->n_lists + 1, sizeof *o->cand);
    if (!ids || !o->by_epic || !o->cand)
        return gs_fail(err, GS_E_NOMEM, "no memory for an epic board");
    for (size_t i = 0; i < o->n_places; i++)
        ids[i] = o->epics[o->places[i].epic].id;
    if (o->n_epics)
        qsort(o->epics, o->n_epics, sizeof *o->epics, by_id);
    size_t n = 0;
    for (size_t i = 0; i < o->n_epics; i++)
        if (n == 0 || o->epics[i].id != o->epics[n - 1].id)
            o->epics[n++] = o->epics[i];
    o->n_epics = n;
    for (size_t i = 0; i < o->n_places; i++)
        o->places[i].epic = find_epic(o, ids[i]);
    return 0;
}

/*
 * The target's lists were read. What they do not show cannot be placed in them, and is left out; for each epic the places that it
 * has. Returns how many are left out; *out_right: everything else stands as wanted.
 */
static size_t index_places(struct order *o, bool *out_right)
{
    size_t n = 0, gone = 0;
    uint32_t at = 0;
    *out_right = true;
    for (size_t l = 0; l < o->n_lists; l++) {
        size_t end = o->lists[l].from + o->lists[l].n, first = n;
        for (size_t i = o->lists[l].from; i < end; i++) {
            struct place p = o->places[i];
            gone += p.shown == 0;
            if (p.shown == 0)
                continue;
            p.before = n > first ? o->places[n - 1].epic : NONE;
            *out_right = *out_right && (n == first || o->places[n - 1].shown < p.shown);
            o->epics[p.epic].places++;
            o->places[n++] = p;
        }
        o->lists[l].from = (uint32_t)first;
        o->lists[l].n = (uint32_t)(n - first);
    }
    o->n_places = n;
    for (size_t i = 0; i < o->n_epics; i++) {
        o->epics[i].first_place = at;
        at += o->epics[i].places;
        o->epics[i].places = 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct one *e = &o->epics[o->places[i].epic];
        o->by_epic[e->first_place + e->places++] = (uint32_t)i;
    }
    return gone;
}

/* The answer with the boards of the group: from the record and the target's lists to what is wanted. */
static int prepare(struct run *r, yyjson_val *board, struct gs_err *err)
{
    struct order *o = calloc(1, sizeof *o);
    if (!o)
        return gs_fail(err, GS_E_NOMEM, "no memory for an epic board");
    r->own = o;
    r->free_own = order_free;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(step_get(r->rec, "epic_lists"), i, max, it)
    {
        int64_t id;
        if (!step_get(it, "epics"))
            continue;
        if (target_list(r, it, step_get(step_get(board, "lists"), "nodes"), &id, err) || (id && add_list(r, o, it, id, err)))
            return -1;
        o->no_list += id ? 0 : yyjson_arr_size(step_get(it, "epics"));
    }
    return index_epics(o, err);
}

/* ---- requests ---- */

/* A page of the epics in a list, from the cursor in r->buf on. */
static int read_list(struct run *r, int phase, size_t list, struct gl_request **out_req, enum step_result *out,
                     struct gs_err *err)
{
    const struct order *o = r->own;
    gs_autobuf vars;
    struct gs_jw w;
    gs_buf_init(&vars, 1 << 16);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gid_put(&w, "list", LIST_GID, o->lists[list].id);
    gs_jw_kstr(&w, "after", r->buf.len ? gs_buf_str(&r->buf) : NULL);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    return step_send(r, phase, gl_graphql_request(gl_document("epic_list_epics"), gs_buf_str(&vars), true), out_req, out, err);
}

struct move {
    int64_t board, epic, list, before;
};

static void put_move(struct gs_jw *w, void *cookie)
{
    const struct move *m = cookie;
    gid_put(w, "boardId", BOARD, m->board);
    gid_put(w, "epicId", "Epic", m->epic);
    gid_put(w, "toListId", LIST_GID, m->list);
    gid_put(w, "moveBeforeId", "Epic", m->before); /* what shall stand before it */
}

static int move(struct run *r, int64_t board, const struct candidate *c, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    const struct order *o = r->own;
    struct move m = {board, o->epics[o->turn].id, o->lists[c->list].id, o->epics[c->epic].id};
    return step_send_repeatable(r, MOVE, epic_boards_mutation("epic_move", put_move, &m, err), out_req, out, err);
}

struct hide {
    int64_t board;
    bool open, closed;
};

static void put_hide(struct gs_jw *w, void *cookie)
{
    const struct hide *h = cookie;
    gid_put(w, "id", BOARD, h->board);
    gs_jw_kbool(w, "hideBacklogList", h->open);
    gs_jw_kbool(w, "hideClosedList", h->closed);
}

/* All stand where they should: now lists may be hidden. */
static int hide(struct run *r, int64_t board, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct hide h = {board, gs_json_true(r->rec, "hide_backlog_list"), gs_json_true(r->rec, "hide_closed_list")};
    *out = STEP_DONE;
    if (!h.open && !h.closed)
        return 0;
    return step_send_repeatable(r, HIDE, epic_boards_mutation("epic_board_update", put_hide, &h, err), out_req, out, err);
}

/* ---- the turns ---- */

/* Whose turn is next: nobody before it is left. NONE: nobody's; then *out_left says whether some are. */
static uint32_t next_turn(const struct order *o, bool *out_left)
{
    *out_left = false;
    for (uint32_t i = 0; i < o->n_epics; i++) {
        const struct one *e = &o->epics[i];
        bool free = true;
        if (e->root != NONE)
            continue;
        *out_left = true;
        for (uint32_t k = 0; k < e->places && free; k++) {
            uint32_t before = o->places[o->by_epic[e->first_place + k]].before;
            free = before == NONE || o->epics[before].root != NONE;
        }
        if (free)
            return i;
    }
    return NONE;
}

/* Of each root that stands before it, the one that stands last. */
static void collect(struct order *o)
{
    const struct one *e = &o->epics[o->turn];
    o->n_cand = o->at = 0;
    for (uint32_t k = 0; k < e->places; k++) {
        const struct place *p = &o->places[o->by_epic[e->first_place + k]];
        size_t i = 0;
        if (p->before == NONE)
            continue;
        uint32_t root = o->epics[p->before].root;
        while (i < o->n_cand && o->cand[i].root != root)
            i++;
        if (i < o->n_cand && o->epics[o->cand[i].epic].rank >= o->epics[p->before].rank)
            continue;
        o->cand[i] = (struct candidate){root, p->before, p->list};
        o->n_cand += i == o->n_cand;
    }
}

/* It stands behind o->behind now. */
static void settle(struct order *o)
{
    struct one *e = &o->epics[o->turn];
    e->root = o->root;
    if (o->behind == NONE)
        return;
    e->next = o->epics[o->behind].next;
    o->epics[o->behind].next = o->turn;
    uint32_t rank = o->epics[o->behind].rank;
    for (uint32_t i = o->turn; i != NONE; i = o->epics[i].next)
        o->epics[i].rank = ++rank;
}

static const struct known *look(const struct order *o, uint32_t a, uint32_t b)
{
    for (size_t i = 0; i < o->n_known; i++)
        if (o->known[i].a == a && o->known[i].b == b)
            return &o->known[i];
    return NULL;
}

static int learn(struct order *o, uint32_t a, uint32_t b, bool later, struct gs_err *err)
{
    struct known *p = realloc(o->known, (o->n_known + 2) * sizeof *p);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for an epic board");
    o->known = p;
    p[o->n_known++] = (struct known){a, b, later};
    p[o->n_known++] = (struct known){b, a, !later};
    return 0;
}

static int begin(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (r->own)
        order_free(r->own);
    r->own = NULL;
    gs_buf_reset(&r->buf);
    return epic_boards_list(r, BOARDS, out_req, out, err);
}

/* Goes on with the epic whose turn it is, and with the next ones, up to the next request. */
static int turns(struct run *r, int64_t board, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct order *o = r->own;
    for (;;) {
        for (; o->at < o->n_cand; o->at++) {
            const struct candidate *c = &o->cand[o->at];
            const struct known *k = o->at ? look(o, o->root, c->root) : NULL;
            if (o->at && !k) {
                gs_buf_reset(&r->buf);
                o->ask_e = o->ask_p = 0;
                o->seen = 0;
                return read_list(r, ASK, c->list, out_req, out, err);
            }
            if (o->at == 0 || k->later)
                return move(r, board, c, out_req, out, err);
        }
        if (o->turn != NONE)
            settle(o);
        bool left;
        o->turn = next_turn(o, &left);
        if (o->turn == NONE) {
            if (left && run_loss(r, "epic-board-order", "its lists contradict each other", err))
                return -1;
            if (!o->moved || o->refused || left)
                return hide(r, board, out_req, out, err);
            r->n1++;
            step_hidden(r);
            return begin(r, out_req, out, err);
        }
        collect(o);
        o->root = o->turn;
        o->behind = NONE;
    }
}

/* ---- answers ---- */

static int moved(struct run *r, int64_t board, const struct gl_response *rsp, struct gl_request **out_req,
                 enum step_result *out, struct gs_err *err)
{
    struct order *o = r->own;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *epic = NULL;
    struct gs_err why = {0};
    if (epic_boards_answer(rsp, "epicMoveList", "epic", &doc, &epic, &why)) {
        if (why.scope != GS_SCOPE_ITEM) {
            *err = why;
            return -1;
        }
        if (run_loss(r, "epic-board-order", why.text, err))
            return -1;
        o->refused = true;
    }
    o->moved = true;
    o->root = o->cand[o->at].root;
    o->behind = o->cand[o->at].epic;
    o->at++;
    return turns(r, board, out_req, out, err);
}

/* A page of a list: *out_nodes its epics, *out_more with the cursor in r->buf. */
static int list_page(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_nodes,
                     bool *out_more, struct gs_err *err)
{
    yyjson_val *data = NULL;
    bool unknown = false;
    if (gl_graphql_answer(rsp, out_doc, &data, &unknown, err))
        return -1;
    yyjson_val *epics = step_get(step_get(data, "epicBoardList"), "epics"), *page = step_get(epics, "pageInfo");
    const char *cursor = gs_json_str(page, "endCursor");
    *out_more = gs_json_true(page, "hasNextPage") && cursor && strcmp(cursor, gs_buf_str(&r->buf)) != 0;
    gs_buf_reset(&r->buf);
    *out_nodes = step_get(epics, "nodes");
    return *out_more ? gs_buf_addstr(&r->buf, cursor, err) : 0;
}

/* A page of a list as it is; after the last one of the last list it is known what has to be moved. */
static int checked(struct run *r, int64_t board, const struct gl_response *rsp, struct gl_request **out_req,
                   enum step_result *out, struct gs_err *err)
{
    struct order *o = r->own;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *nodes = NULL, *it;
    bool more;
    size_t i, max;
    struct gs_err why = {0};
    if (list_page(r, rsp, &doc, &nodes, &more, &why)) {
        if (why.scope != GS_SCOPE_ITEM) {
            *err = why;
            return -1;
        }
        /* before 15.1 a list cannot be asked for */
        return run_loss(r, "epic-board-order", why.text, err) ? -1 : hide(r, board, out_req, out, err);
    }
    struct place *row = o->places + o->lists[o->list].from;
    yyjson_arr_foreach(nodes, i, max, it)
    {
        uint32_t e = find_epic(o, gid_of(it));
        o->seen++;
        for (uint32_t k = 0; e != NONE && k < o->lists[o->list].n; k++)
            if (row[k].epic == e)
                row[k].shown = o->seen;
    }
    if (more)
        return read_list(r, CHECK, o->list, out_req, out, err);
    o->seen = 0;
    if (++o->list < o->n_lists)
        return read_list(r, CHECK, o->list, out_req, out, err);
    bool right, over = true;
    size_t gone = index_places(o, &right) + o->no_list;
    if (gone && step_wait_shown(r, AGAIN, &over, out, err))
        return -1;
    if (!over)
        return 0;
    if (gone && step_loss(r, err, "epic-board-order", "%zu are not in their list there", gone))
        return -1;
    o->turn = NONE;
    if (right)
        return hide(r, board, out_req, out, err);
    if (r->n1 > 0 && step_absent(r, AGAIN, &over, out, err)) /* a replica may not show the moves yet */
        return -1;
    if (!over)
        return 0;
    if (r->n1 >= ROUNDS)
        return run_loss(r, "epic-board-order", "they do not stay where they are put", err) ? -1 : hide(r, board, out_req, out, err);
    return turns(r, board, out_req, out, err);
}

/* Which of two roots comes later: read off a list that shows one of each. */
static int asked(struct run *r, int64_t board, const struct gl_response *rsp, struct gl_request **out_req,
                 enum step_result *out, struct gs_err *err)
{
    struct order *o = r->own;
    const struct candidate *c = &o->cand[o->at];
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *nodes = NULL, *it;
    bool more;
    size_t i, max;
    if (list_page(r, rsp, &doc, &nodes, &more, err))
        return -1;
    yyjson_arr_foreach(nodes, i, max, it)
    {
        int64_t id = gid_of(it);
        o->seen++;
        if (id == o->epics[o->turn].id)
            o->ask_e = o->seen;
        if (id == o->epics[c->epic].id)
            o->ask_p = o->seen;
    }
    if (more)
        return read_list(r, ASK, c->list, out_req, out, err);
    if (learn(o, o->root, c->root, o->ask_e < o->ask_p, err))
        return -1;
    return turns(r, board, out_req, out, err);
}

static int boards(struct run *r, int64_t board, const struct gl_response *rsp, struct gl_request **out_req,
                  enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *nodes = NULL, *it, *mine = NULL;
    bool more;
    size_t i, max;
    if (epic_boards_page(r, rsp, &doc, &nodes, &more, err))
        return -1;
    yyjson_arr_foreach(nodes, i, max, it)
    {
        if (gid_of(it) == board)
            mine = it;
    }
    if (!mine && more)
        return epic_boards_list(r, BOARDS, out_req, out, err);
    bool over = true;
    if (!mine && step_wait_shown(r, AGAIN, &over, out, err))
        return -1;
    if (!over)
        return 0;
    if (!mine)
        return step_fail(err, GS_E_REF_GONE, "the epic board (id %lld on the target) is not there any more", (long long)board);
    gs_buf_reset(&r->buf);
    if (prepare(r, mine, err))
        return -1;
    const struct order *o = r->own;
    if (o->n_lists == 0 && o->no_list && step_wait_shown(r, AGAIN, &over, out, err))
        return -1;
    if (!over)
        return 0;
    return o->n_lists ? read_list(r, CHECK, 0, out_req, out, err) : hide(r, board, out_req, out, err);
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    enum step_answer a;
    int64_t board;
    bool adopted;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == MOVE || r->phase == HIDE, &a, err) || epic_board_of(r, &board, &adopted, err))
        return -1;
    *out = STEP_DONE;
    if (adopted)
        return 0;
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, "putting the epics of the board in order");
    if (a == ANS_LOST && r->phase == HIDE)
        return hide(r, board, out_req, out, err);
    if (a == ANS_LOST) { /* says where the epic is to be, so it may be said again */
        const struct order *o = r->own;
        return move(r, board, &o->cand[o->at], out_req, out, err);
    }
    switch (r->phase) {
    case AGAIN:
    case START:
        return begin(r, out_req, out, err);
    case BOARDS:
        return boards(r, board, rsp, out_req, out, err);
    case CHECK:
        return checked(r, board, rsp, out_req, out, err);
    case MOVE:
        return moved(r, board, rsp, out_req, out, err);
    case ASK:
        return asked(r, board, rsp, out_req, out, err);
    case HIDE: {
        GS_AUTO(yyjson_doc) doc = NULL;
        yyjson_val *there = NULL;
        *out = STEP_DONE;
        return epic_boards_answer(rsp, "epicBoardUpdate", "epicBoard", &doc, &there, err);
    }
    default:
        return gs_fail(err, GS_E_INTERNAL, "order of an epic board in phase %d", r->phase);
    }
}

const struct kind kind_epic_boards_order = {.name = "epic_boards.order", .relation = "epic_boards", .step = step};
