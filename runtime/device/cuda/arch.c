/* Arches by preference. */
#include "runtime/device/cuda/arch.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int version;  /* 10 major + minor */
    char feature; /* 'a', 'f', or 0 */
    bool ptx;
} code;

static bool parse(const char *word, size_t n, code *c) {
    char text[MDL_ARCH_LETTERS] = "", *end;
    if (n >= sizeof text) return false;
    memcpy(text, word, n);
    c->ptx = !strncmp(text, "compute_", 8);
    if (!c->ptx && strncmp(text, "sm_", 3)) return false;
    c->version = (int)strtol(text + (c->ptx ? 8 : 3), &end, 10);
    c->feature = *end;
    return c->version >= 10 && (!*end || ((*end == 'a' || *end == 'f') && !end[1]));
}

/* The higher, the better; 0: it does not run there. */
static int rank(const code *c, int version) {
    bool exact = c->version == version, same_major = c->version / 10 == version / 10;
    if (c->version > version || (c->feature == 'a' && !exact) || (c->feature == 'f' && !same_major)) return 0;
    if (!c->ptx && !same_major) return 0;
    int by_feature = c->feature == 'a' ? 2 : c->feature == 'f' ? 1 : 0;
    return 1 + by_feature + 3 * c->version + (c->ptx ? 0 : 10000);
}

mdl_status mdl_cuda_pick_arch(const char *list, int major, int minor, char arch[MDL_ARCH_LETTERS]) {
    int best = 0;
    for (const char *word = list; *word; word += strspn(word, ",")) {
        size_t n = strcspn(word, ",");
        code c;
        int found = parse(word, n, &c) ? rank(&c, 10 * major + minor) : 0;
        if (found > best) {
            best = found;
            memcpy(arch, word, n);
            arch[n] = 0;
        }
        word += n;
    }
    if (best) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "the plan has code for %s, this GPU is sm_%d%d: compile it with mdlc --arch sm_%d%d", list,
                    major, minor, major, minor);
}
