/* A clock that only goes forward. */
#ifndef MDL_BASE_CLOCK_H
#define MDL_BASE_CLOCK_H

double mdl_seconds_now(void);

#endif
