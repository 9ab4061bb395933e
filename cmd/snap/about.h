/* about: the prose of the manual page (rules of cli_verb.text). */
#ifndef SNAP_ABOUT_H
#define SNAP_ABOUT_H

extern const char snap_description[], snap_files[], snap_environment[], snap_examples[], snap_see_also[];

#endif
