/* A clock that only goes forward. */
#ifndef MDL_BASE_CLOCK_H
#define MDL_BASE_CLOCK_H

#include <stdio.h>

double mdl_seconds_now(void);
/* Since this process was started, the loading of its libraries included, to 10 ms; 0 where the system does not tell. */
double mdl_seconds_of_process(void);

/* Where the time of a start goes: `what`, a literal, has ended, and took the time since the mark before it, the first since the
 * process was started. For the main thread. The first MDL_MARKS are kept. */
enum { MDL_MARKS = 32 };
void mdl_mark(const char *what);
void mdl_marks_print(FILE *out);

#endif
