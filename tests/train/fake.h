/* A plan and a device for tests of what lies above them: the device records what it is asked and makes up its results. */
#ifndef MDL_TESTS_TRAIN_FAKE_H
#define MDL_TESTS_TRAIN_FAKE_H

#include "runtime/train/session.h"

/* A plan with parameters a.weight f32[2,3] and a.bias f32[3] (trained), f f32[2] (frozen), c f32[1] (carried), the tie
 * head.weight = a.weight, a layout hf with a name of its own for f, an old spelling of a.bias, and an ignored pattern; inputs ids
 * i32[8], scalars; losses one (weight 1) and two (weight 0.5); metric acc; programs init, count_*, train_*, update. */
mdl_plan *mdl_fake_plan(void);

/* On this device the first numbers of `ids` say what a batch gives: count.one = count.acc = ids[0]; sum.one = 2 * ids[0];
 * count.two = ids[1], sum.two = 3 * ids[1]; sum.acc = ids[0] / 2; grad_norm = 7. train_only gives these; count_* and the other
 * train_* add them up over the step, as a plan does. mdl_fake_log: names of programs that ran and "read" for each number that
 * was downloaded from RESULT, with a blank after each. */
extern const mdl_backend mdl_fake_backend;
extern char mdl_fake_log[1024];

#endif
