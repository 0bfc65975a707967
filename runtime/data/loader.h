/* Training batches from protein sequences: tokenize, shuffle, mask, pack; one optimizer step ahead, in a thread. */
#ifndef MDL_DATA_LOADER_H
#define MDL_DATA_LOADER_H

#include "runtime/data/dataset.h"
#include "runtime/plan/plan.h"

/* What the batches of a run depend on. All of it is plain data: the same settings give the same batches. */
typedef struct {
    mdl_dataset_options data;              /* min_residues is set from min_seq_length */
    int64_t max_seq_length;                /* counts specials; longer ones are truncated (or cropped); 0: the plan alone limits */
    int64_t min_seq_length;                /* counts specials; shorter ones are left out */
    bool random_crop;                      /* a random window instead of the head */
    double mlm_probability;                /* 0.15 */
    double mask_fraction, random_fraction; /* 0.8, 0.1: of the selected tokens */
    uint64_t seed;
    bool shuffle;
    bool once;         /* one epoch, source after source: then batches without sequences */
    int micro_batches; /* gradient accumulation: batches per optimizer step */
} mdl_loader_options;

/* One micro-batch: for every batch input of the plan (in plan->inputs order, NULL for inputs that are not batch
 * inputs) its bytes, as uploaded. */
typedef struct {
    const void **input;
    int64_t tokens; /* that belong to a sequence */
    int64_t sequences;
} mdl_batch;

typedef struct {
    int64_t sequences, residues; /* that the run sees, and records of its files that it does not see: */
    int64_t left_out;            /* too short, repeated, on the other side of the validation split */
    int64_t truncated;           /* of the sequences */
    int64_t unknown, lower_case; /* in the files: residues that become <unk>, that are upper-cased */
    int64_t empty, comments;     /* in the files: records without residues, lines of remarks */
    int64_t stops;               /* in the files: '*' taken off the end of a record */
    int sources;                 /* entries in use of mdl_data_position.source */
    uint64_t fingerprint;        /* of the data set: a resume on another one gives other batches */
    uint64_t examples;           /* of the data set as it is cut and masked: figures of a pass compare with those of the same */
    const char *notes;           /* for a person, a line each; NULL: none */
} mdl_data_facts;

/* Who waits for whom: seconds since the loader was opened. */
typedef struct {
    double packing;   /* of its thread, at work */
    double for_room;  /* of its thread, waiting until a step is taken from it */
    double for_batch; /* of its callers, waiting until a step is packed */
} mdl_loader_times;

typedef struct mdl_loader mdl_loader;

/* Opens the data set and starts the packing thread. `plan` gives T, S, the batch inputs, the vocabulary and its special ids;
 * nothing of it is kept. Errors name the option, the plan's input, or file and line. */
mdl_status mdl_loader_open(const mdl_plan *plan, const mdl_loader_options *options, mdl_loader **loader);
void mdl_loader_close(mdl_loader *loader);
const mdl_data_facts *mdl_loader_facts(const mdl_loader *loader);
/* The next optimizer step's micro-batches (options.micro_batches of them), valid until the next call. Never ends: epochs follow one
 * another, unless options.once. position: before this step's first sequence. epoch is fractional: epochs consumed after this step,
 * over all sources. */
mdl_status mdl_loader_next(mdl_loader *loader, const mdl_batch **batches, mdl_data_position *position, double *epoch);
/* Where the step after the one last taken begins: what a checkpoint keeps. */
mdl_data_position mdl_loader_after(const mdl_loader *loader);
/* Where an epoch begins that no source has begun yet: for an old position, of another data set. */
mdl_data_position mdl_loader_next_epoch(const mdl_loader *loader, const mdl_data_position *old);
/* Which n sequences batches take from a position on: their numbers among all records of all files, from 0. */
void mdl_loader_sequences(const mdl_loader *loader, mdl_data_position from, int64_t n, int64_t *ids);
/* Where such a record is: "a.fa.gz: line 17". In `memory`. */
const char *mdl_loader_place(const mdl_loader *loader, int64_t id, mdl_arena *memory);
mdl_loader_times mdl_loader_spent(mdl_loader *loader); /* up to now; packing: of steps that are packed */
/* Continue from a position; batches given out before are no longer valid. MDL_BAD_INPUT when it lies outside the data set. */
mdl_status mdl_loader_seek(mdl_loader *loader, mdl_data_position position);

#endif
