"""Offset paging with GitLab's headers, and the cursor paging of GraphQL connections."""
import base64
import json
from urllib.parse import quote_plus

from .errors import ApiError, message
from .router import opt

PAGE_PARAMS = (opt("page", int, default=1), opt("per_page", int, default=20, not_values=(0,)))
COUNT_LIMIT = 10000


def _query(pairs):
    out = []
    for k, v in sorted(pairs.items()):
        if isinstance(v, list):
            out += ["%s=%s" % (quote_plus(k + "[]"), quote_plus(str(x))) for x in v]
        elif isinstance(v, dict):
            out += ["%s=%s" % (quote_plus("%s[%s]" % (k, i)), quote_plus(str(x))) for i, x in v.items()]
        else:
            out.append("%s=%s" % (quote_plus(k), quote_plus("" if v is None else str(v))))
    return "&".join(out)


def _url(ctx, **changes):
    q = {k: v for k, v in ctx.query.items() if k not in ("private_token", "access_token", "sudo")}
    q.update(ctx.path_params)
    q.update(changes)
    return "%s%s?%s" % (ctx.app.base_url, ctx.path, _query(q))


def count(db, sql, args):
    """Counting costs more than a page; between two writes the answer stays the same."""
    if db.counts_at != db.con.total_changes:
        db.counts_at = db.con.total_changes
        db.counts.clear()
    key = (sql, *args)
    if key not in db.counts:
        db.counts[key] = db.val(sql, *args)
    return db.counts[key]


def paginate(ctx, p, select, where, args, order, limited=False):
    """Run `select ... where ... order` for the wanted page and set the paging headers.

    select: 'SELECT cols FROM table'; where: SQL condition. `limited`: the offset limit applies."""
    page = min(max(p.get("page") or 1, 1), 2 ** 40)
    per = min(max(p.get("per_page") or 20, 1), 100)
    offset = (page - 1) * per
    cap = ctx.app.config["offset_limit"]
    if (limited or ctx.app.config["offset_limit_everywhere"]) and cap and offset > cap:
        raise ApiError(405, {"error": "Offset pagination has a maximum allowed offset of %d for requests that return "
                             "objects of type %s. Remaining records can be retrieved using keyset pagination."
                             % (cap, limited or "record")})
    rows = ctx.db.all("%s WHERE %s ORDER BY %s LIMIT ? OFFSET ?" % (select, where, order), *args, per + 1, offset)
    more = len(rows) > per
    rows = rows[:per]
    if not more and (rows or page == 1):
        total = offset + len(rows)
    else:
        source = select[select.index(" FROM "):]
        total = count(ctx.db, "SELECT count(*) FROM (SELECT 1%s WHERE %s LIMIT %d)"
                      % (source, where, COUNT_LIMIT + 1), args)
    known = total <= COUNT_LIMIT
    h = ctx.headers_out
    pages = max((total + per - 1) // per, 1)
    if known:
        more = page < pages
    h["X-Next-Page"] = str(page + 1) if more else ""
    h["X-Page"] = str(page)
    h["X-Per-Page"] = str(per)
    h["X-Prev-Page"] = str(page - 1) if page > 1 else ""
    links = []
    if page > 1:
        links.append('<%s>; rel="prev"' % _url(ctx, page=page - 1, per_page=per))
    if more:
        links.append('<%s>; rel="next"' % _url(ctx, page=page + 1, per_page=per))
    links.append('<%s>; rel="first"' % _url(ctx, page=1, per_page=per))
    if known:
        h["X-Total"] = str(total)
        h["X-Total-Pages"] = str(pages)
        links.append('<%s>; rel="last"' % _url(ctx, page=pages, per_page=per))
    h["Link"] = ", ".join(links)
    return rows


def keyset_by_name(ctx, p, select, where, args):
    """Keyset paging over (name, id) ascending; the end is the answer without a Link header."""
    per = min(max(p.get("per_page") or 20, 1), 100)
    cursor = ctx.query.get("cursor")
    if cursor:
        try:
            c = json.loads(base64.urlsafe_b64decode(cursor))
            key = (c["name"], int(c["id"]))
        except (ValueError, KeyError, TypeError):
            raise message(400, "400 Bad request - cursor is invalid") from None
        where, args = "(%s) AND (name, id) > (?, ?)" % where, (*args, *key)
    rows = ctx.db.all("%s WHERE %s ORDER BY name, id LIMIT ?" % (select, where), *args, per + 1)
    if len(rows) > per:
        rows = rows[:per]
        last = {"name": rows[-1]["name"], "id": str(rows[-1]["id"]), "_kd": "n"}
        cur = base64.urlsafe_b64encode(json.dumps(last).encode()).decode()
        ctx.headers_out["Link"] = '<%s>; rel="next"' % _url(ctx, cursor=cur, per_page=per)
    return rows


# ---- GraphQL ---------------------------------------------------------------------------------

class CursorError(Exception):
    pass


def encode_cursor(values):
    return base64.b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def decode_cursor(text, width):
    try:
        v = json.loads(base64.b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(v, list) and len(v) == width:
            return v
    except ValueError:
        pass
    raise CursorError("Please provide a valid cursor")


def connection(db, select, where, args, keys, node, a, desc=False):
    """A Relay connection. keys: SQL expressions of a total order, all in one direction.

    node: function from row to the object that resolvers see. a: the field's arguments."""
    first, last, after, before = a.get("first"), a.get("last"), a.get("after"), a.get("before")
    if first is not None and first < 0 or last is not None and last < 0:
        raise CursorError("first and last must not be negative")
    backward = last is not None and first is None
    size = min(last if backward else (100 if first is None else first), 100)
    cond, params = "(%s)" % where, list(args)
    tup = "(%s)" % ",".join(keys)
    marks = "(%s)" % ",".join("?" * len(keys))
    for cur, op in ((after, "<" if desc else ">"), (before, ">" if desc else "<")):
        if cur:
            cond += " AND %s %s %s" % (tup, op, marks)
            params += decode_cursor(cur, len(keys))
    direction = " DESC" if desc != backward else ""
    cols = ",".join("%s AS k_%d" % (k, i) for i, k in enumerate(keys))
    head, tail = select.split(" FROM ", 1)
    sql = "%s,%s FROM %s WHERE %s ORDER BY %s LIMIT %d" % (
        head, cols, tail, cond, ",".join(k + direction for k in keys), size + 1)
    rows = db.all(sql, *params)
    extra = len(rows) > size
    rows = rows[:size]
    if backward:
        rows.reverse()
    cursors = [encode_cursor([r["k_%d" % i] for i in range(len(keys))]) for r in rows]
    nodes = [node(r) for r in rows]

    def count():
        return db.val("SELECT count(*) FROM %s WHERE %s" % (tail, where), *args)

    return {"nodes": nodes, "edges": [{"cursor": c, "node": n} for c, n in zip(cursors, nodes)], "count": count,
            "pageInfo": {"hasNextPage": bool(before) if backward else extra,
                         "hasPreviousPage": extra if backward else bool(after),
                         "startCursor": cursors[0] if cursors else None,
                         "endCursor": cursors[-1] if cursors else None}}


def plain_connection(nodes):
    """A connection over a list that is already complete and short."""
    cursors = [encode_cursor([i]) for i in range(len(nodes))]
    return {"nodes": nodes, "edges": [{"cursor": c, "node": n} for c, n in zip(cursors, nodes)],
            "count": len(nodes),
            "pageInfo": {"hasNextPage": False, "hasPreviousPage": False,
                         "startCursor": cursors[0] if cursors else None,
                         "endCursor": cursors[-1] if cursors else None}}
