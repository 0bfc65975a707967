/* A balanced Feistel network permutes 0 .. 4^h - 1, the smallest such range that holds n; walking along its cycle until a value is
 * below n (fewer than four steps on average) makes it a permutation of 0 .. n-1. */
#include "runtime/data/shuffle.h"

#include "runtime/data/random.h"

mdl_shuffle mdl_shuffle_make(int64_t n, uint64_t seed, int64_t epoch) {
    mdl_shuffle shuffle = {.n = n, .half_bits = 1};
    while (shuffle.half_bits < 31 && (int64_t)1 << 2 * shuffle.half_bits < n) shuffle.half_bits++;
    for (int i = 0; i < MDL_SHUFFLE_ROUNDS; i += 2) {
        mdl_random draw = mdl_random_at(seed, MDL_RANDOM_SHUFFLE, epoch, 0, i);
        shuffle.key[i] = (uint64_t)draw.word[0] << 32 | draw.word[1];
        shuffle.key[i + 1] = (uint64_t)draw.word[2] << 32 | draw.word[3];
    }
    return shuffle;
}

/* The finalizer of MurmurHash3: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

static uint64_t feistel(const mdl_shuffle *shuffle, uint64_t value) {
    uint64_t mask = ((uint64_t)1 << shuffle->half_bits) - 1;
    uint64_t left = value >> shuffle->half_bits, right = value & mask;
    for (int i = 0; i < MDL_SHUFFLE_ROUNDS; i++) {
        uint64_t next = left ^ (mix(right + shuffle->key[i]) & mask);
        left = right;
        right = next;
    }
    return left << shuffle->half_bits | right;
}

int64_t mdl_shuffle_at(const mdl_shuffle *shuffle, int64_t index) {
    uint64_t value = (uint64_t)index;
    do value = feistel(shuffle, value);
    while (value >= (uint64_t)shuffle->n);
    return (int64_t)value;
}
