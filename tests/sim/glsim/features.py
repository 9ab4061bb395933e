"""Which families of planning objects a server has: by version, edition and tier, or as the settings say."""
from .errors import ApiError, forbidden

# Epics are work items from this version on; until then no work item of a group can be reached.
WORK_ITEMS_SINCE = (17, 2)
# The GraphQL types of epics are deprecated since 17.5 and go with this version. Their REST endpoints stay until API v5.
EPIC_GRAPHQL_UNTIL = (19, 0)


def choice(config, name, by_version):
    v = (config or {}).get(name)
    return by_version if v is None else bool(v)


def families(version, config=None):
    """Names of those that are in the GraphQL schema."""
    out = set()
    if choice(config, "epic_graphql", version < EPIC_GRAPHQL_UNTIL):
        out.add("epics")
    if choice(config, "work_items", version >= WORK_ITEMS_SINCE):
        out.add("work_items")
    return frozenset(out)


def licensed(ctx):
    """Epics, epic boards, iterations: Enterprise Edition with Premium."""
    return ctx.app.enterprise and ctx.premium()


def subepics(ctx):
    """Parents of epics: Ultimate."""
    return licensed(ctx) and choice(ctx.app.config, "subepics", ctx.ultimate())


def need_route(ctx, there=True):
    """What the server does not have has no route."""
    if not ctx.app.enterprise or not there:
        raise ApiError(404, {"error": "404 Not Found"})


def need_epic_rest(ctx):
    need_route(ctx, choice(ctx.app.config, "epic_rest", True))


def need_licence(ctx):
    if not licensed(ctx):
        raise forbidden()
