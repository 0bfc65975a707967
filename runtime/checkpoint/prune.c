/* Old checkpoints go, when a newer one is on disk. */
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/checkpoint/checkpoint.h"

/* Loses its name first, so that no half of it is ever taken for a checkpoint. */
static mdl_status remove_checkpoint(mdl_arena *memory, const mdl_checkpoint *c) {
    bool replaced;
    const char *aside = mdl_printf(memory, "%s.tmp-removed", c->path);
    mdl_status status = mdl_file_remove_folder(aside);
    if (!status) status = mdl_file_move_folder(c->path, aside, &replaced);
    return status ? status : mdl_file_remove_folder(aside);
}

mdl_status mdl_checkpoint_prune(mdl_arena *memory, const char *dir, const char *run, int64_t limit, bool foreign,
                                const char *best) {
    mdl_checkpoints list;
    int64_t kept = 0;
    mdl_status status = mdl_checkpoint_list(memory, dir, &list);
    for (int i = 0; i < list.n && !status; i++) {
        const mdl_checkpoint *c = &list.at[i];
        if (c->refused) continue;
        bool ours = !strcmp(c->commit.run, run), spared = best && !strcmp(c->path, best);
        bool stays = spared || (ours ? !limit || kept < limit : !foreign);
        if (ours) kept++;
        if (!stays) status = remove_checkpoint(memory, c);
    }
    return status;
}
