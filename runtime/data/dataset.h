/* The records that a run sees: the corpora of its files, grouped into sources, and which of their records are left out. */
#ifndef MDL_DATA_DATASET_H
#define MDL_DATA_DATASET_H

#include "runtime/data/corpus.h"
#include "runtime/data/position.h"

/* All of it is plain data. */
typedef struct {
    const char *const *files; /* names or patterns; each is a source if there are weights, else all are one */
    int n_files;
    const double *weights; /* [n_files] NULL: none. How often a source is drawn from, relative to the others */
    mdl_format_options format;
    const char *folder;         /* where corpora are kept; NULL or "": see mdl_corpus_open */
    int64_t min_residues;       /* shorter records are left out */
    bool deduplicate;           /* of records with equal residues the first alone stays */
    double validation_fraction; /* of the records are set aside; which ones depends on their residues alone */
    bool validation;            /* those that are set aside, not the others */
} mdl_dataset_options;

typedef struct {
    int64_t first, n; /* its records among all */
    uint64_t below;   /* a draw of 32 bits below this, and not below that of the one before, is its */
} mdl_data_source;

typedef struct {
    mdl_arena *memory;
    mdl_corpus *corpora;
    int n_corpora;
    int64_t *first; /* [n_corpora + 1] the number of each corpus's first record, among all */
    mdl_data_source source[MDL_MAX_SOURCES];
    int n_sources;
    mdl_dataset_options options; /* without what they point to */
    uint64_t *repeated;          /* a bit a record; NULL: none is looked for */
    const char *notes;           /* what a person should know, a line each; NULL: nothing */
} mdl_dataset;

/* MDL_USAGE: options; MDL_BAD_INPUT: files. After an error it is closed. */
mdl_status mdl_dataset_open(const mdl_dataset_options *options, mdl_arena *memory, mdl_dataset *set);
void mdl_dataset_close(mdl_dataset *set); /* all zero is allowed */

/* Record `i` of all; *corpus: where it is. */
const mdl_record *mdl_dataset_at(const mdl_dataset *set, int64_t i, const mdl_corpus **corpus);
/* Whether it belongs to what was asked for. */
bool mdl_dataset_has(const mdl_dataset *set, int64_t i, const mdl_record *record);
/* Changes with any record, with their order, and with what is left out. */
uint64_t mdl_dataset_fingerprint(const mdl_dataset *set);

/* Fills `repeated`: a bit for each record whose residues an earlier one has too. Returns their number. */
int64_t mdl_dataset_find_repeats(mdl_dataset *set);

/* The files that a name or pattern (glob) stands for, in alphabetical order: at least one. MDL_BAD_INPUT: a pattern without any. */
typedef MDL_VEC(const char *) mdl_file_list;
mdl_status mdl_dataset_expand(const char *name, mdl_arena *memory, mdl_file_list *files);

#endif
