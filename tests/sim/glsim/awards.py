"""Award emoji on epics and their notes: one of a name per user and object."""
from . import epics, features, groups
from . import db as state
from .auth import GUEST, can, need_user, record_id
from .db import now
from .errors import message, not_found, unauthorized
from .paging import PAGE_PARAMS, paginate
from .router import req, route
from . import users

state.EXTRA_TABLES.append(("award_emoji", """
CREATE TABLE award_emoji(id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, awardable_type TEXT NOT NULL,
  awardable_id INTEGER NOT NULL, name TEXT NOT NULL, user_id INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  UNIQUE(awardable_type, awardable_id, name, user_id));
"""))
groups.GROUP_TABLES.append("award_emoji")
epics.ON_DELETE.append(lambda db, part: db.run("DELETE FROM award_emoji WHERE awardable_type='Epic' AND awardable_id IN (%s)" % part))

# Enough of the emoji that GitLab knows by name; the setting extra_emoji adds more.
NAMES = frozenset("""100 1234 airplane alarm_clock alien ambulance anchor angel anger angry apple arrow_down arrow_left arrow_right
 arrow_up art astonished avocado baby balloon banana bangbang bar_chart battery beach bear bee beer beers beetle bell bike biohazard
 bird birthday black_heart blue_heart blush boat bomb book bookmark books boom bow brain bread briefcase broken_heart bug bulb bus
 butterfly cactus cake calendar camera candle car cat chart_with_downwards_trend chart_with_upwards_trend checkered_flag cheese cherries
 christmas_tree city_sunset clap clapper clipboard clock1 closed_lock_with_key cloud clown cocktail coffee cold_sweat collision computer
 confetti_ball confounded confused construction construction_worker cookie cool copyright corn cow cowboy credit_card crocodile cross
 crossed_fingers crown cry crystal_ball cupid cyclone dancer dango dart dash date deer desktop diamonds disappointed dizzy dizzy_face dog
 dolphin door doughnut dragon droplet drum duck eagle ear earth_africa earth_americas earth_asia egg eggplant elephant email envelope
 evergreen_tree exclamation expressionless eye eyes face_palm facepalm factory fallen_leaf family fast_forward fearful feet file_folder
 film_frames fire fire_engine fireworks first_place fish fist flag_white flags flashlight fleur-de-lis floppy_disk flushed fog fork_knife
 fountain four_leaf_clover fox frog frowning fuelpump game_die gear gem ghost gift globe_with_meridians goat gorilla grapes green_apple
 green_heart grey_exclamation grey_question grimacing grin grinning guardsman guitar gun hamburger hammer hamster hand_splayed handshake
 hash hatching_chick headphones hearing heart heart_eyes heartbeat heartpulse hearts heavy_check_mark heavy_division_sign
 heavy_minus_sign heavy_plus_sign helicopter herb hibiscus high_brightness honey_pot horse hot_pepper hotdog hotel hourglass house hugging
 hushed ice_cream imp inbox_tray information_source innocent interrobang iphone island jack_o_lantern jeans joy joystick key keyboard
 kiss kissing knife koala label large_blue_circle laughing leaves ledger left_facing_fist lemon leopard light_bulb link lion lips lock
 lollipop loud_sound loudspeaker love_letter mag mag_right mailbox man map maple_leaf mask medal mega melon memo metal microphone
 microscope milk money_mouth moneybag monkey moon mountain mouse movie_camera moyai muscle mushroom musical_note mute nail_care
 negative_squared_cross_mark neutral_face new newspaper night_with_stars no_entry no_entry_sign no_good no_mouth notebook notes
 nut_and_bolt o ocean octopus ok ok_hand oncoming_bus open_file_folder open_hands open_mouth orange orange_heart outbox_tray owl
 package page_facing_up palm_tree panda_face paperclip party partying_face peach peanuts pear pencil pencil2 penguin pensive performing_arts
 persevere person_frowning phone pick pig pill pineapple pizza point_down point_left point_right point_up police_car poop popcorn
 potato pouting_cat pray princess printer punch purple_heart pushpin question rabbit racehorse radio radioactive rage rainbow raised_hand
 raised_hands raising_hand ram recycle red_circle registered relaxed relieved repeat restroom rewind ribbon rice robot rocket
 rolling_eyes rooster rose rotating_light round_pushpin sailboat santa satellite satisfied saxophone scales school scissors scorpion
 scream scroll seat second_place see_no_evil seedling shark sheep shell shield ship shrimp shrug signal_strength skull sleeping sleepy
 slight_frown slight_smile smile smiley smiling_imp smirk smoking snail snake snowflake snowman sob soccer soon sos sound space_invader
 sparkle sparkles sparkling_heart speak_no_evil speaker speech_balloon speedboat spider squid star star2 stars statue_of_liberty
 steam_locomotive stew stopwatch straight_ruler strawberry stuck_out_tongue sun_with_face sunflower sunglasses sunny sunrise surfer sushi
 sweat sweat_drops sweat_smile syringe taco tada tangerine target taxi tea telephone telescope tennis tent thermometer thinking
 third_place thought_balloon thumbsdown thumbsup thunder_cloud_rain ticket tiger timer tired_face tm toilet tomato tongue tools tooth
 tophat tornado tractor traffic_light train trophy tropical_fish truck trumpet tulip turkey turtle tv two_hearts umbrella unamused
 unicorn unlock up upside_down v vertical_traffic_light violin volcano vulcan warning wastebasket watch watermelon wave wavy_dash weary
 whale wheelchair white_check_mark white_flower wind_chime wine_glass wink wolf woman worried wrench writing_hand x yellow_heart yum
 zap zipper_mouth zombie zzz""".split())
ALIASES = {"+1": "thumbsup", "-1": "thumbsdown", "thumbs_up": "thumbsup", "thumbs_down": "thumbsdown", "hankey": "poop", "shit": "poop"}


def add(ctx, kind, target, name):
    """As the caller. -> (row, None) or (None, complaint). The awarded epic counts as changed."""
    name = ALIASES.get(name, name)
    g = group_id(ctx, kind, target)
    if name not in NAMES and name not in ctx.app.config["extra_emoji"] and not custom(ctx, g, name):
        return None, "Name is not a valid emoji name"
    if ctx.db.val("SELECT 1 FROM award_emoji WHERE awardable_type=? AND awardable_id=? AND name=? AND user_id=?", kind, target, name,
                  ctx.user["id"]):
        return None, "Name has already been taken"
    t = now()
    aid = ctx.db.insert("award_emoji", group_id=g, awardable_type=kind, awardable_id=target, name=name, user_id=ctx.user["id"],
                        created_at=t, updated_at=t)
    bump(ctx, kind, target, t)
    return ctx.db.one("SELECT * FROM award_emoji WHERE id=?", aid), None


def custom(ctx, group, name):
    """A custom emoji of the group or an ancestor, as the seed gave it."""
    import json
    g = ctx.db.one("SELECT * FROM groups WHERE id=?", group)
    from .auth import ancestor_ids
    return any(x.get("name") == name for v in ctx.db.all("SELECT value FROM seed_extra WHERE key='custom_emoji' AND group_id IN (%s)" %
                                                         ",".join(map(str, ancestor_ids(g["tids"])))) for x in json.loads(v["value"]))


def group_id(ctx, kind, target):
    return ctx.db.val("SELECT group_id FROM %s WHERE id=?" % ("epics" if kind == "Epic" else "notes"), target)


def bump(ctx, kind, target, t):
    if kind == "Epic":
        epics.touch(ctx.db, target, t)


def take_away(ctx, r):
    ctx.db.run("DELETE FROM award_emoji WHERE id=?", r["id"])
    bump(ctx, r["awardable_type"], r["awardable_id"], now())


def mine(ctx, kind, target, name):
    return ctx.db.one("SELECT * FROM award_emoji WHERE awardable_type=? AND awardable_id=? AND name=? AND user_id=?", kind, target,
                      ALIASES.get(name, name), ctx.user["id"])


def toggle(ctx, kind, target, name):
    """-> (row or None, complaint or None): the row of what was given, None for what was taken away."""
    have = mine(ctx, kind, target, name)
    if have is not None:
        take_away(ctx, have)
        return None, None
    return add(ctx, kind, target, name)


def present(ctx, r):
    out = {"id": r["id"], "name": r["name"], "user": users.basic(ctx, ctx.db.one("SELECT * FROM users WHERE id=?", r["user_id"])),
           "created_at": r["created_at"], "updated_at": r["updated_at"], "awardable_id": r["awardable_id"],
           "awardable_type": r["awardable_type"]}
    if ctx.version >= (15, 9):
        out["url"] = None
    return out


def target(ctx):
    """-> (group, kind, id) of what the path names: an epic by its iid, or a note of that epic by its id."""
    from . import notes
    features.need_epic_rest(ctx)
    need_user(ctx)
    g = epics.find_group(ctx)
    r = features.licensed(ctx) and ctx.db.one("SELECT * FROM epics WHERE group_id=? AND iid=?", g["id"],
                                              record_id(ctx.path_params["epic_iid"], "epic_iid"))
    if not r:
        raise not_found()
    if not epics.can_read_epic(ctx, r, g):
        raise not_found("Award Emoji")
    if "note_id" not in ctx.path_params:
        return g, "Epic", r["id"]
    n = ctx.db.one("SELECT * FROM notes WHERE id=? AND noteable_id=?", record_id(ctx.path_params["note_id"], "note_id"), r["id"])
    if n is None or not notes.readable(ctx, n, g):
        raise not_found()
    return g, "Note", n["id"]


def index(ctx, p):
    _, kind, tid = target(ctx)
    return 200, [present(ctx, r) for r in paginate(ctx, p, "SELECT * FROM award_emoji", "awardable_type=? AND awardable_id=?",
                                                   (kind, tid), "id")]


def find(ctx, kind, tid):
    r = ctx.db.one("SELECT * FROM award_emoji WHERE id=? AND awardable_type=? AND awardable_id=?",
                   record_id(ctx.path_params["award_id"], "award_id"), kind, tid)
    if r is None:
        raise not_found()
    return r


def show(ctx, p):
    _, kind, tid = target(ctx)
    return 200, present(ctx, find(ctx, kind, tid))


def may_award(ctx, g):
    """Whoever may write comments: members, and everybody who is logged in where the group is not private."""
    return can(ctx, g, GUEST) or g["visibility"] != "private"


def create(ctx, p):
    g, kind, tid = target(ctx)
    if not may_award(ctx, g):
        raise not_found("Award Emoji")
    r, complaint = add(ctx, kind, tid, p["name"])
    if complaint:
        raise message(404, "404 Award Emoji %s Not Found" % complaint)
    return 201, present(ctx, r)


def delete(ctx, p):
    _, kind, tid = target(ctx)
    r = find(ctx, kind, tid)
    if r["user_id"] != ctx.user["id"] and not ctx.admin:
        raise unauthorized()
    take_away(ctx, r)
    return 204, None


for _path in ("/groups/:id/epics/:epic_iid/award_emoji", "/groups/:id/epics/:epic_iid/notes/:note_id/award_emoji"):
    route("GET", _path, PAGE_PARAMS)(index)
    route("POST", _path, (req("name"),))(create)
    route("GET", _path + "/:award_id")(show)
    route("DELETE", _path + "/:award_id")(delete)
