/* Opening files and grouping them into sources. */
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/dataset.h"

mdl_status mdl_dataset_expand(const char *name, mdl_arena *memory, mdl_file_list *files) {
    glob_t found;
    if (!strpbrk(name, "*?[") || !access(name, F_OK)) {
        MDL_PUSH(memory, *files, mdl_strdup(memory, name));
        return MDL_OK;
    }
    int error = glob(name, 0, NULL, &found);
    if (error) return mdl_fail(MDL_BAD_INPUT, "%s: no file has such a name", name);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        size_t n = strlen(found.gl_pathv[i]); /* "data/" with everything in it: not what is kept of the others */
        if (n > 8 && !strcmp(found.gl_pathv[i] + n - 8, ".mdldata")) continue;
        MDL_PUSH(memory, *files, mdl_strdup(memory, found.gl_pathv[i]));
    }
    globfree(&found);
    return files->n ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "%s: no file has such a name", name);
}

static mdl_status check_options(const mdl_dataset_options *o) {
    double total = 0;
    if (o->n_files < 1) return mdl_fail(MDL_USAGE, "no data files are given");
    if (o->weights && o->n_files > MDL_MAX_SOURCES)
        return mdl_fail(MDL_USAGE, "%d files with weights; at most %d are possible (a pattern is one)", o->n_files,
                        MDL_MAX_SOURCES);
    for (int i = 0; o->weights && i < o->n_files; i++) {
        if (!(o->weights[i] > 0 && o->weights[i] < 1e12))
            return mdl_fail(MDL_USAGE, "the weight of %s is %g; expected a positive number", o->files[i], o->weights[i]);
        total += o->weights[i];
    }
    if (!(o->validation_fraction >= 0 && o->validation_fraction < 1))
        return mdl_fail(MDL_USAGE, "validation_fraction is %g; expected 0 to below 1", o->validation_fraction);
    return MDL_OK;
}

static void note(mdl_dataset *set, mdl_text *notes, const char *text) {
    mdl_text_printf(notes, "%s%s", notes->n ? "\n" : "", text);
    set->notes = notes->at;
}

/* One entry of options.files: opens its files' corpora behind those that there are. */
static mdl_status open_files(mdl_dataset *set, const mdl_file_list *files, mdl_text *notes) {
    mdl_status status = MDL_OK;
    for (int i = 0; i < files->n && !status; i++) {
        const char *why;
        mdl_corpus *c = &set->corpora[set->n_corpora];
        status = mdl_corpus_open(files->at[i], &set->options.format, set->options.folder, set->memory, c, &why);
        if (status) break;
        if (why) note(set, notes, why);
        set->first[set->n_corpora + 1] = set->first[set->n_corpora] + c->n;
        set->n_corpora++;
    }
    return status;
}

static void add_source(mdl_dataset *set, int64_t first, double weights_so_far) {
    set->source[set->n_sources++] =
        (mdl_data_source){first, set->first[set->n_corpora] - first, (uint64_t)(weights_so_far * 4294967296.0 + 0.5)};
}

static mdl_status open_sources(mdl_dataset *set, const mdl_dataset_options *o) {
    mdl_text notes = {.arena = set->memory};
    mdl_file_list *lists = MDL_NEW_ARRAY(set->memory, mdl_file_list, o->n_files);
    int files = 0;
    for (int i = 0; i < o->n_files; i++) {
        mdl_status status = mdl_dataset_expand(o->files[i], set->memory, &lists[i]);
        if (status) return status;
        files += lists[i].n;
    }
    set->corpora = MDL_NEW_ARRAY(set->memory, mdl_corpus, files);
    set->first = MDL_NEW_ARRAY(set->memory, int64_t, files + 1);
    double total = 0, sum = 0;
    for (int i = 0; o->weights && i < o->n_files; i++) total += o->weights[i];
    for (int i = 0; i < o->n_files; i++) {
        int64_t first = set->first[set->n_corpora];
        mdl_status status = open_files(set, &lists[i], &notes);
        if (status) return status;
        if (o->weights) add_source(set, first, (sum += o->weights[i]) / total);
    }
    if (!o->weights) add_source(set, 0, 1);
    return MDL_OK;
}

mdl_status mdl_dataset_open(const mdl_dataset_options *options, mdl_arena *memory, mdl_dataset *set) {
    *set = (mdl_dataset){.memory = memory, .options = *options};
    mdl_status status = check_options(options);
    if (!status) status = open_sources(set, options);
    if (!status && options->deduplicate) mdl_dataset_find_repeats(set);
    if (status) mdl_dataset_close(set);
    return status;
}
