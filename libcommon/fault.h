/*
 * fault: named moments at which a test may end the program as a power cut or the kernel would.
 *
 *   gs_fault("state.commit.before");
 *
 * In a normal build this is nothing at all, not even the name remains. Built with `make FAULTS=1` every call counts one
 * point of the run, in the order in which the threads come by, starting at 1, and three variables of the environment
 * decide:
 *
 *   GROUPSNAP_FAULT_LOG=FILE      appends a line "number name" for every point
 *   GROUPSNAP_FAULT_KILL=N[,N..]  SIGKILL at the N-th point
 *   GROUPSNAP_FAULT_NAME=NAME:K   SIGKILL at the K-th point of that name
 *
 * A value that cannot be read ends the program with SIGABRT: a campaign must not believe that it killed something.
 */
#ifndef GS_FAULT_H
#define GS_FAULT_H

#ifdef GS_FAULTS
/* Thread-safe. `name` is a literal: words with dots, from the general to the special, and .before or .after. */
void gs_fault_point(const char *name);
#define gs_fault(name) gs_fault_point(name)
#else
#define gs_fault(name) ((void)0)
#endif

#endif
