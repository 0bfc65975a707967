/* SIGINT and SIGTERM as a wish that the training loop reads between steps. */
#ifndef MDL_TRAIN_INTERRUPT_H
#define MDL_TRAIN_INTERRUPT_H

#include <stdbool.h>

void mdl_interrupt_catch(void); /* the first signal is noted; a second one ends the process */
void mdl_interrupt_release(void);
bool mdl_interrupted(void);

#endif
