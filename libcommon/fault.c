#include "fault.h"

#ifdef GS_FAULTS

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_KILLS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready;
static int log_fd = -1;
static unsigned long reached; /* points so far */
static unsigned long kills[MAX_KILLS];
static size_t n_kills;
static char kill_name[128];     /* empty: none */
static unsigned long name_left; /* how often that name still passes */

static unsigned long number(const char *s, char **out_end)
{
    errno = 0;
    unsigned long n = *s >= '0' && *s <= '9' ? strtoul(s, out_end, 10) : 0;
    if (errno || n == 0)
        abort();
    return n;
}

static void read_environment(void)
{
    const char *file = getenv("GROUPSNAP_FAULT_LOG"), *list = getenv("GROUPSNAP_FAULT_KILL"),
               *name = getenv("GROUPSNAP_FAULT_NAME");
    if (file && *file && (log_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        abort();
    for (char *end; list && *list; list = *end == ',' ? end + 1 : end) {
        if (n_kills == MAX_KILLS)
            abort();
        kills[n_kills++] = number(list, &end);
        if (*end != 0 && *end != ',')
            abort();
    }
    if (name && *name) {
        const char *colon = strrchr(name, ':');
        char *end;
        if (!colon || (size_t)(colon - name) >= sizeof kill_name)
            abort();
        memcpy(kill_name, name, (size_t)(colon - name));
        name_left = number(colon + 1, &end);
        if (*end)
            abort();
    }
    ready = true;
}

static bool must_die(const char *name)
{
    for (size_t i = 0; i < n_kills; i++)
        if (kills[i] == reached)
            return true;
    return strcmp(kill_name, name) == 0 && --name_left == 0;
}

void gs_fault_point(const char *name)
{
    pthread_mutex_lock(&lock);
    if (!ready)
        read_environment();
    reached++;
    if (log_fd >= 0) {
        char line[160];
        int n = snprintf(line, sizeof line, "%lu %s\n", reached, name);
        if (write(log_fd, line, (size_t)n) != n)
            abort();
    }
    if (must_die(name))
        raise(SIGKILL);
    pthread_mutex_unlock(&lock);
}

#else

typedef int gs_fault_nothing; /* a file must declare something */

#endif
