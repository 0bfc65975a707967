/* The file of rates: one JSON object, by the identity of a device. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/profile/profile.h"

/* What is not as this program writes it is as good as absent. */
static bool find(const json_t *file, const char *device, mdl_rates *rates) {
    const json_t *row = json_object_get(file, device);
    return row && !json_unpack((json_t *)row, "{s:F, s:F, s:F}", "copy", &rates->copy, "f32", &rates->f32, "bf16", &rates->bf16) &&
           rates->copy > 0 && rates->f32 > 0 && rates->bf16 > 0;
}

static mdl_status keep(const char *path, json_t *file, const char *device, const mdl_rates *rates) {
    char *folder = strdup(path), *slash = strrchr(folder, '/');
    *slash = 0;
    json_object_set_new(file, device, json_pack("{s:f, s:f, s:f}", "copy", rates->copy, "f32", rates->f32, "bf16", rates->bf16));
    char *text = json_dumps(file, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    mdl_status status = mdl_file_make_folder(folder);
    if (!status) status = mdl_file_write(path, text, strlen(text));
    free(folder);
    free(text);
    return status;
}

mdl_status mdl_profile_rate(mdl_session *session, mdl_profile *p, const char **note) {
    const char *path = mdl_file_in_cache(p->memory, "rates.json");
    *note = NULL;
    p->device = session->backend->identity(session->device);
    json_t *file = path ? json_load_file(path, 0, NULL) : NULL;
    if (!json_is_object(file)) json_decref(file), file = json_object();
    mdl_status status = MDL_OK;
    if (!find(file, p->device, &p->rates)) {
        status = session->backend->rates(session->device, 0, &p->rates);
        mdl_status kept = status || !path ? MDL_OK : keep(path, file, p->device, &p->rates);
        if (kept) *note = mdl_printf(p->memory, "the rates are not kept: %s", mdl_message(kept));
        mdl_status_free(kept);
    }
    json_decref(file);
    return mdl_context(status, "measuring what the device can do");
}
