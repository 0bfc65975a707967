/* TensorBoard's event files: scalars of a run as they come. */
#ifndef MDL_REPORT_TENSORBOARD_H
#define MDL_REPORT_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/report/figures.h"

typedef struct mdl_events mdl_events;

/* Makes the folder, and in it a new file events.out.tfevents.TIME.HOST.PID. */
mdl_status mdl_events_open(const char *folder, mdl_events **events);
/* Writes all figures but "step", which says where they belong, under tags as Hugging Face's Trainer gives them: "loss" as
 * "train/loss", "eval_loss" as "eval/loss". Flushed as a whole; nothing is allocated. */
mdl_status mdl_events_write(mdl_events *events, const mdl_figures *figures);
void mdl_events_close(mdl_events *events); /* NULL is allowed */

/* CRC-32C (Castagnoli), and the form that records hold: rotated and shifted, so that the CRC of data with CRCs in it stays good. */
uint32_t mdl_crc32c(const void *bytes, size_t n);
uint32_t mdl_crc32c_masked(const void *bytes, size_t n);

#endif
