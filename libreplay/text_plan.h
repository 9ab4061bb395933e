/*
 * text_plan: which texts a load is going to change, or leave with names that mean nothing on the target, counted when it is planned: a loss of the
 * op that sends the text, which what then really happens takes the place of (engine.c).
 */
#ifndef RP_TEXT_PLAN_H
#define RP_TEXT_PLAN_H

#include "formats/bundle.h"
#include "libreplay/names.h"

/* When all ops are planned and people are matched. `names` without a group. GS_E_STATE_DAMAGED, and what a bundle gives. */
int text_plan(const struct names *names, struct bundle *b, struct gs_err *err) GS_MUST_USE;

#endif
