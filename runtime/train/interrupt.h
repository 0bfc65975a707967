/* SIGINT, SIGTERM, SIGHUP and SIGUSR1 as a wish that the training loop reads between steps.
 *
 * No signal handler may run on a thread that computes: oneDNN's generated code uses the stack pointer as one more general register,
 * pointing into the heap, and the kernel would write the handler's frame there. So the signals are blocked before any other thread
 * exists, all threads inherit that, and one thread of its own waits for them. */
#ifndef MDL_TRAIN_INTERRUPT_H
#define MDL_TRAIN_INTERRUPT_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* Call while there is one thread only. The first signal is noted. A SIGINT after it ends the process at once, as if it had not been
 * caught; others are no news, since schedulers send several. Signals that are ignored already (nohup) stay ignored. SIGPIPE is
 * ignored from here on: a log that nobody reads any more does not end a run. */
mdl_status mdl_interrupt_catch(void);
void mdl_interrupt_release(void); /* after mdl_interrupt_catch succeeded */
bool mdl_interrupted(void);
int mdl_interrupt_signal(void); /* the first one; 0: none */

#endif
