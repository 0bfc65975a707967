/* Transposed copies of a row kernel's results: see mdl_store_across in compiler/kernel/cuda/rows.h. */
#include <inttypes.h>

#include "compiler/target/cuda.h"
#include "runtime/base/status.h"

bool mdl_cuda_is_across(const mdl_loop_kernel *k, const mdl_loop_stmt *s) {
    return s->code == MDL_LOOP_STORE && k->arrays.at[s->array].column_major;
}

/* The statement that stores to `array`, or (-1) stores register `reg` by rows; NULL: none. */
static const mdl_loop_stmt *find(const mdl_loop_kernel *k, const mdl_loop_list *list, int array, int reg) {
    for (int i = 0; i < list->n; i++) {
        const mdl_loop_stmt *s = &list->at[i], *inside = s->body ? find(k, s->body, array, reg) : NULL;
        if (inside) return inside;
        if (s->code != MDL_LOOP_STORE) continue;
        bool by_rows = k->arrays.at[s->array].space == MDL_MEM_RESULT && !k->arrays.at[s->array].column_major;
        if (array >= 0 ? s->array == array : by_rows && s->in[0] == reg) return s;
    }
    return NULL;
}

static const mdl_loop_stmt *find_in(const mdl_loop_kernel *k, int array, int reg) {
    const mdl_loop_stmt *found = NULL;
    for (int i = 0; i < k->phases.n && !found; i++) found = find(k, &k->phases.at[i].body, array, reg);
    return found;
}

void mdl_cuda_print_across(mdl_text *t, const mdl_loop_kernel *k) {
    bool any = false;
    for (int i = 0; i < k->arrays.n; i++) {
        const mdl_loop_array *a = &k->arrays.at[i];
        if (a->space != MDL_MEM_RESULT || !a->column_major) continue;
        const mdl_loop_stmt *store = find_in(k, i, -1), *by_rows = store ? find_in(k, -1, store->in[0]) : NULL;
        if (!by_rows) mdl_bug("a transposed result without the result");
        if (!any) mdl_text_printf(t, "    MDL_SHARED uint32_t across[MDL_ACROSS_ROWS][MDL_ACROSS_COLUMNS / 4 + 1];\n");
        any = true;
        mdl_text_printf(t, "    mdl_store_across(o%d, o%d, first, last, args.immediate[0], %" PRId64 ", LANES * ROWS, across);\n",
                        i, by_rows->array, a->width);
    }
}
