/* What a person sees while a run goes on: one line that rewrites itself on a terminal, plain lines elsewhere. */
#ifndef MDL_REPORT_PROGRESS_H
#define MDL_REPORT_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    int64_t step, max_steps; /* steps done */
    double loss, grad_norm, lr;
    double tokens_per_second;
    double seconds_left;
} mdl_progress_view;

typedef struct {
    FILE *out;
    bool terminal;
    double shown_at; /* seconds; of the last rewrite */
    int width;       /* of the line on the screen */
} mdl_progress;

mdl_progress mdl_progress_begin(FILE *out);
/* Call after every step. `logged`: a line of metrics was written; without a terminal that is when a line is printed. On a
 * terminal it rewrites at most ten times a second. now: a monotonic clock in seconds. */
void mdl_progress_step(mdl_progress *progress, const mdl_progress_view *view, bool logged, double now);
/* Leaves the last line standing and moves below it. */
void mdl_progress_end(mdl_progress *progress);

/* "step 120/250  loss 2.8731  lr 4.00e-04  grad 1.23  5.1k tok/s  ETA 1:23". */
int mdl_progress_line(char *line, size_t size, const mdl_progress_view *view);
/* "12:05" or "1:02:03" or "3d 04:05:06"; n/a for what is not finite or negative. */
void mdl_duration_text(char *text, size_t size, double seconds);
/* "532", "5.1k", "1.2M", "3.4G". */
void mdl_amount_text(char *text, size_t size, double amount);

#endif
