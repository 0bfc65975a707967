/* The beginning of a run. */
#include "runtime/train/start.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/train/weights.h"

/* Of masks. One for all runs, whatever their own: figures of two runs are of the same tokens. */
enum { EVALUATION_SEED = 42 };

/* Patterns go where names go: the first place where one stands for a file is taken. */
static const char *locate(const mdl_config *c, const char *name) {
    const char *found = mdl_config_locate(c, name), *slash = c->path ? strrchr(c->path, '/') : NULL;
    mdl_file_list files = {0};
    if (name[0] == '/' || !slash || !strpbrk(name, "*?[") || !access(found, F_OK)) return found;
    const char *places[] = {name, mdl_printf(c->memory, "%.*s/%s", (int)(slash - c->path), c->path, name),
                            mdl_printf(c->memory, "%.*s/../%s", (int)(slash - c->path), c->path, name)};
    for (int i = 0; i < 3; i++) {
        mdl_status status = mdl_dataset_expand(places[i], c->memory, &files);
        mdl_status_free(status);
        if (!status) return places[i];
    }
    return name;
}

static mdl_status read_weights(const mdl_config *c, mdl_dataset_options *data) {
    if (!c->weights.n) return MDL_OK;
    if (c->weights.n != c->files.n)
        return mdl_fail(MDL_USAGE, "data.weights: %d numbers for %d entries of data.files", c->weights.n, c->files.n);
    double *weights = MDL_NEW_ARRAY(c->memory, double, c->weights.n);
    for (int i = 0; i < c->weights.n; i++) {
        char *end;
        weights[i] = strtod(c->weights.at[i], &end);
        if (*end || end == c->weights.at[i] || !(weights[i] > 0))
            return mdl_fail(MDL_USAGE, "data.weights: expected positive numbers, got \"%s\"", c->weights.at[i]);
    }
    data->weights = weights;
    return MDL_OK;
}

static void set_files(const mdl_config *c, const mdl_config_list *list, mdl_dataset_options *data) {
    const char **files = MDL_NEW_ARRAY(c->memory, const char *, list->n + 1);
    for (int i = 0; i < list->n; i++) files[i] = locate(c, list->at[i]);
    data->files = files;
    data->n_files = list->n;
}

static mdl_loader_options loader_options(const mdl_config *c, int micro_batches) {
    return (mdl_loader_options){
        .data = {.format = {.format = c->format,
                            .sequence_column = c->sequence_column,
                            .columns = c->columns.at,
                            .n_columns = c->columns.n},
                 .folder = c->cache_dir,
                 .deduplicate = c->deduplicate},
        .max_seq_length = c->max_seq_length,
        .min_seq_length = c->min_seq_length,
        .random_crop = c->random_crop,
        .mlm_probability = c->mlm_probability,
        .mask_fraction = c->mask_fraction,
        .random_fraction = c->random_fraction,
        .seed = (uint64_t)c->seed,
        .shuffle = c->shuffle,
        .micro_batches = micro_batches,
    };
}

mdl_status mdl_start_data(const mdl_config *c, const mdl_plan *plan, int micro_batches, mdl_loader **loader) {
    mdl_loader_options options = loader_options(c, micro_batches);
    set_files(c, &c->files, &options.data);
    options.data.validation_fraction = c->validation_files.n ? 0 : c->validation_fraction;
    mdl_status status = read_weights(c, &options.data);
    return status ? status : mdl_loader_open(plan, &options, loader);
}

mdl_status mdl_start_validation(const mdl_config *c, const mdl_plan *plan, mdl_loader **loader) {
    mdl_loader_options options = loader_options(c, 1);
    *loader = NULL;
    if (!c->validation_files.n && c->validation_fraction == 0) return MDL_OK;
    set_files(c, c->validation_files.n ? &c->validation_files : &c->files, &options.data);
    options.data.validation_fraction = c->validation_files.n ? 0 : c->validation_fraction;
    options.data.validation = !c->validation_files.n;
    options.random_crop = options.shuffle = false;
    options.once = true;
    options.seed = EVALUATION_SEED;
    return mdl_context(mdl_loader_open(plan, &options, loader), "validation");
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
