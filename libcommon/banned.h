/* banned: functions whose ordinary use is a mistake. Force-included by the Makefile behind the system headers it names. */
#ifndef GS_BANNED_H
#define GS_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef __clang__ /* whose headers define some of these as macros; gcc builds everything too */
#pragma GCC poison strcpy strcat strncat sprintf vsprintf strtok atoi atol atoll gmtime localtime ctime asctime gets
#endif

#endif
