/* The counters that the data pipeline draws by. */
#include "runtime/data/random.h"

mdl_random mdl_random_at(uint64_t seed, mdl_random_use use, int64_t epoch, int64_t sequence, int64_t position) {
    uint32_t high = (uint32_t)((uint64_t)sequence >> 32) & 0xffffff;
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)sequence, (uint32_t)epoch, (uint32_t)use << 24 | high};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    return mdl_philox_words(counter, key);
}
