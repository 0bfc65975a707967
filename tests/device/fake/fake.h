/* A driver and a cuBLASLt that work on the host's memory: what the backend asks of them can be tested without a GPU. They do what
 * is asked when it is asked; while a stream is captured they only note it. */
#ifndef MDL_TESTS_FAKE_H
#define MDL_TESTS_FAKE_H

#include <stdint.h>

/* Something in a stream: run gets a pointer to it; it is copied. */
typedef struct fake_work {
    void (*run)(const struct fake_work *work);
    const void *what[8];
    int64_t number[4];
} fake_work;

/* Does it, or notes it while capturing. Returns the error that the context has, which stays. */
int fake_add(const fake_work *work);

/* How much has been done so far. */
int64_t fake_ran(void);

/* Between two events: a product that is only timed need not be computed. */
int fake_is_timing(void);

#endif
