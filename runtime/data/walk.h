/* Going through a data set: epoch after epoch of each source, in an order of its own, sources in turns by their weights. */
#ifndef MDL_DATA_WALK_H
#define MDL_DATA_WALK_H

#include "runtime/data/dataset.h"
#include "runtime/data/shuffle.h"

typedef struct {
    const mdl_record *record;
    const mdl_corpus *corpus;
    int64_t number;   /* among all records of the set */
    int64_t epoch;    /* of its source */
    int64_t sequence; /* what its random numbers depend on: its number in the source, and the source in the bits from 48 on */
} mdl_found;

/* A place, and what was looked up on the way to it. Making one costs nothing: orders can be asked of anywhere. */
typedef struct {
    const mdl_dataset *set;
    uint64_t seed;
    bool shuffle;
    bool once; /* ends when every record was seen once, source after source */
    mdl_data_position at;
    int source;                       /* of what was found last */
    int64_t ordered[MDL_MAX_SOURCES]; /* the epoch + 1 that `order` is of; 0: none */
    mdl_shuffle order[MDL_MAX_SOURCES];
} mdl_walk;

/* The record that comes next; it is not passed by this, but those before it that do not belong to the set are. False: the end. */
bool mdl_walk_find(mdl_walk *walk, mdl_found *found);
/* Goes on behind what mdl_walk_find found. */
void mdl_walk_pass(mdl_walk *walk);

#endif
