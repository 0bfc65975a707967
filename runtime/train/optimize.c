/* One step of a run. */
#include <math.h>

#include "runtime/train/run.h"

static void count_batches(mdl_run *run) {
    for (int i = 0; i < run->config->gradient_accumulation_steps; i++) {
        run->window.tokens += run->batches[i].tokens;
        run->window.sequences += run->batches[i].sequences;
    }
}

static mdl_status check_finite(const mdl_run *run) {
    if (isfinite(run->last.loss) && isfinite(run->last.grad_norm)) return MDL_OK;
    mdl_status trouble = run->metrics ? mdl_run_trouble(run) : MDL_OK; /* a replay has no output */
    mdl_status status =
        mdl_fail(MDL_MISMATCH,
                 "step %lld: the loss is %g and the gradient norm %g, at learning rate %g; stopped, nothing of it is saved%s%s",
                 (long long)run->step, run->last.loss, run->last.grad_norm, run->lr,
                 trouble ? "; its batch cannot be written: " : "", mdl_message(trouble));
    mdl_status_free(trouble);
    return status;
}

mdl_status mdl_run_step(mdl_run *run) {
    double before = run->epoch;
    mdl_status status = mdl_loader_next(run->loader, &run->batches, &run->position, &run->epoch);
    if (status) return status;
    run->next = mdl_loader_after(run->loader);
    run->new_epoch = floor(run->epoch) > floor(before);
    run->lr = mdl_schedule_at(&run->schedule, run->step);
    status = mdl_session_set_adamw(run->session, &run->adamw, run->step + 1, run->lr);
    if (!status) status = mdl_session_step(run->session, (int)run->config->gradient_accumulation_steps, run->batches, &run->last);
    if (status) return status;
    run->step++;
    count_batches(run);
    return check_finite(run);
}
