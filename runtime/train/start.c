/* The beginning of a run. */
#include "runtime/train/start.h"

#include "runtime/train/weights.h"

mdl_status mdl_start_data(const mdl_config *c, const mdl_plan *plan, int micro_batches, mdl_loader **loader) {
    mdl_arena *scratch = mdl_arena_new();
    const char **files = MDL_NEW_ARRAY(scratch, const char *, c->files.n + 1);
    for (int i = 0; i < c->files.n; i++) files[i] = mdl_config_locate(c, c->files.at[i]);
    mdl_loader_options options = {
        .files = files,
        .n_files = c->files.n,
        .max_seq_length = c->max_seq_length,
        .random_crop = c->random_crop,
        .mlm_probability = c->mlm_probability,
        .mask_fraction = c->mask_fraction,
        .random_fraction = c->random_fraction,
        .seed = (uint64_t)c->seed,
        .shuffle = c->shuffle,
        .micro_batches = micro_batches,
    };
    mdl_status status = mdl_loader_open(plan, &options, loader);
    mdl_arena_free(scratch);
    return status;
}

mdl_status mdl_start_weights(const mdl_config *c, mdl_session *session, mdl_weight_report *report) {
    mdl_weight_rules rules = {.n_allowed = c->allow_missing.n, .allowed = c->allow_missing.at};
    mdl_weight_store store = mdl_weights_of(session);
    mdl_weight_report unread = {.memory = c->memory};
    mdl_status status = mdl_session_init(session, (uint64_t)c->seed);
    return status || !*c->init_from ? status : mdl_weights_read(&store, c->init_from, &rules, report ? report : &unread);
}

mdl_adamw mdl_start_adamw(const mdl_config *c) {
    return (mdl_adamw){c->adam_beta1, c->adam_beta2, c->adam_epsilon, c->weight_decay, c->max_grad_norm};
}
