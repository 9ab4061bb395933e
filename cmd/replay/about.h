/* about: the prose of the manual page (rules of cli_verb.text). */
#ifndef REPLAY_ABOUT_H
#define REPLAY_ABOUT_H

extern const char replay_description[], replay_files[], replay_environment[], replay_examples[], replay_see_also[];

#endif
