/* What there is to know of data before training on them: for people, see `mdlrun data`. */
#ifndef MDL_DATA_SUMMARY_H
#define MDL_DATA_SUMMARY_H

#include "runtime/data/dataset.h"

enum { MDL_LENGTH_BINS = 40 };

typedef struct {
    int64_t tokens, segments; /* of a batch; segments 0: no limit */
    int64_t max_length;       /* of a sequence, in tokens */
    int added;                /* tokens beside a sequence's residues */
} mdl_packing_plan;

typedef struct {
    int64_t sequences, residues;
    int64_t shortest, median, longest;
    int64_t empty, comments, stops, repeats;
    int64_t letter[256];
    int64_t bin[MDL_LENGTH_BINS]; /* sequences by length: see mdl_length_bin_start */
    int64_t batches;              /* of one epoch, the last one included */
    int64_t packed, cut;          /* tokens in them; sequences longer than max_length */
    double full;                  /* share of their tokens that belong to sequences, the last one not counted unless it is alone */
} mdl_data_summary;

/* Residues of the shortest sequence of a bin: 1, 16, 24, 32, 48, 64, 96, ... */
int64_t mdl_length_bin_start(int bin);
/* Goes over all records of an open set, which looks for repeats. */
void mdl_data_summarize(mdl_dataset *set, const mdl_packing_plan *packing, mdl_data_summary *summary);

#endif
