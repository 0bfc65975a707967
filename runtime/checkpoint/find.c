/* The checkpoints of an output folder. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/file.h"
#include "runtime/checkpoint/checkpoint.h"

static const char prefix[] = "checkpoint-", temporary[] = ".tmp-";

/* checkpoint-12, and nothing behind the number. */
static bool is_numbered(const char *name) {
    size_t n = strlen(prefix), digits = strspn(name + (strncmp(name, prefix, n) ? 0 : n), "0123456789");
    return !strncmp(name, prefix, n) && digits && !name[n + digits];
}

static bool is_temporary(const char *name) { return !strncmp(name, prefix, strlen(prefix)) && strstr(name, temporary); }

/* model.safetensors.tmp-123: a file that was being written (runtime/base/file.c), and by nobody any more. */
static bool is_unfinished(const char *name) {
    const char *process = strstr(name, temporary);
    if (!process || is_temporary(name)) return false;
    process += strlen(temporary);
    return *process && !process[strspn(process, "0123456789")];
}

/* Names that `wanted` takes; a folder that is not there has none. */
static mdl_status names(mdl_arena *memory, const char *dir, bool (*wanted)(const char *), int *n, const char ***found) {
    MDL_VEC(const char *) list = {0};
    DIR *folder = opendir(dir);
    *n = 0;
    if (!folder) return errno == ENOENT ? MDL_OK : mdl_fail_errno("%s", dir);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (wanted(entry->d_name)) MDL_PUSH(memory, list, mdl_strdup(memory, entry->d_name));
    closedir(folder);
    *n = list.n;
    *found = list.at;
    return MDL_OK;
}

/* Newest first; in one millisecond, the later step; refused ones last. */
static int newest(const void *left, const void *right) {
    const mdl_checkpoint *a = left, *b = right;
    if (!a->refused != !b->refused) return a->refused ? 1 : -1;
    if (a->commit.time != b->commit.time) return a->commit.time > b->commit.time ? -1 : 1;
    if (a->commit.step != b->commit.step) return a->commit.step > b->commit.step ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Takes the status over. */
static const char *reason(mdl_arena *memory, mdl_status status) {
    const char *text = status ? mdl_strdup(memory, mdl_message(status)) : NULL;
    mdl_status_free(status);
    return text;
}

mdl_status mdl_checkpoint_list(mdl_arena *memory, const char *dir, mdl_checkpoints *list) {
    int n;
    const char **name;
    *list = (mdl_checkpoints){0};
    mdl_status status = names(memory, dir, is_numbered, &n, &name);
    for (int i = 0; i < n; i++) {
        mdl_checkpoint c = {.name = name[i], .path = mdl_printf(memory, "%s/%s", dir, name[i])};
        c.refused = reason(memory, mdl_commit_read(memory, c.path, &c.commit));
        MDL_PUSH(memory, *list, c);
    }
    if (list->n) qsort(list->at, (size_t)list->n, sizeof *list->at, newest);
    return status;
}

mdl_status mdl_checkpoint_find(mdl_arena *memory, const char *dir, int64_t at_most, mdl_checkpoint **found, const char **skipped) {
    mdl_checkpoints list;
    mdl_text text = {.arena = memory};
    *found = NULL;
    mdl_status status = mdl_checkpoint_list(memory, dir, &list);
    for (int i = 0; i < list.n && !status; i++) {
        mdl_checkpoint *c = &list.at[i];
        if (*found && !c->refused) continue;
        if (!c->refused && c->commit.step > at_most) continue;
        if (!c->refused) c->refused = reason(memory, mdl_checkpoint_verify(memory, c->path, &c->commit));
        if (c->refused)
            mdl_text_printf(&text, "%sskipped %s: %s", text.n ? "\n" : "", c->name, c->refused);
        else
            *found = c;
    }
    *skipped = text.at;
    return status;
}

/* NAME.tmp-RUN-PID holds a whole checkpoint, and NAME is free: a run ended between the commit and the rename. */
static bool name_it(mdl_arena *memory, const char *dir, const char *name, const char *final) {
    mdl_commit commit;
    struct stat facts;
    bool replaced;
    const char *from = mdl_printf(memory, "%s/%s", dir, name), *to = mdl_printf(memory, "%s/%s", dir, final);
    if (!lstat(to, &facts) || reason(memory, mdl_checkpoint_verify(memory, from, &commit))) return false;
    mdl_status status = mdl_file_move_folder(from, to, &replaced);
    if (!status) status = mdl_file_sync_folder(dir);
    return !reason(memory, status);
}

static mdl_status remove_unfinished(mdl_arena *memory, const char *dir, mdl_text *said) {
    int n;
    const char **name;
    mdl_status status = names(memory, dir, is_unfinished, &n, &name);
    for (int i = 0; i < n && !status; i++) {
        status = mdl_file_remove_folder(mdl_printf(memory, "%s/%s", dir, name[i]));
        mdl_text_printf(said, "%sremoved %s, which was not whole", said->n ? "\n" : "", name[i]);
    }
    return status;
}

mdl_status mdl_checkpoint_tidy(mdl_arena *memory, const char *dir, const char **said) {
    int n;
    const char **name;
    mdl_text text = {.arena = memory};
    mdl_status status = names(memory, dir, is_temporary, &n, &name);
    for (int i = 0; i < n && !status; i++) {
        const char *final = mdl_strndup(memory, name[i], (size_t)(strstr(name[i], temporary) - name[i]));
        bool named = name_it(memory, dir, name[i], final);
        if (!named) status = mdl_file_remove_folder(mdl_printf(memory, "%s/%s", dir, name[i]));
        mdl_text_printf(&text, "%s%s", text.n ? "\n" : "",
                        named ? mdl_printf(memory, "%s was whole but for its name, and has it now", final)
                              : mdl_printf(memory, "removed %s, which was not whole or not needed", name[i]));
    }
    if (!status) status = remove_unfinished(memory, dir, &text);
    *said = text.at;
    return status;
}
