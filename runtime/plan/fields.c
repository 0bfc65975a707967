/* The tables of plan.json. A key is added here, in plan.h and in docs/plan-format.md, nowhere else. */
#include "runtime/plan/fields.h"

#define FIELD(type, key, kind) \
    { #key, MDL_FIELD_##kind, offsetof(type, key), false, 0, 0 }
#define OPTIONAL(type, key, kind, otherwise) \
    { #key, MDL_FIELD_##kind, offsetof(type, key), true, otherwise, 0 }
#define ONLY(type, key, kind, when) \
    { #key, MDL_FIELD_##kind, offsetof(type, key), false, 0, 1u << MDL_LAUNCH_##when }
#define GEMM(key, kind) \
    { #key, MDL_FIELD_##kind, offsetof(mdl_plan_launch, gemm.key), false, 0, 1u << MDL_LAUNCH_GEMM }
#define GEMM_OPTIONAL(key, kind, otherwise) \
    { #key, MDL_FIELD_##kind, offsetof(mdl_plan_launch, gemm.key), true, otherwise, 1u << MDL_LAUNCH_GEMM }
#define GRID(key, kind, otherwise) \
    { "grid_" #key, MDL_FIELD_##kind, offsetof(mdl_plan_kernel, grid.key), true, otherwise, 0 }
#define END \
    { NULL, MDL_FIELD_STR, 0, false, 0, 0 }

const mdl_field mdl_plan_header[] = {
    FIELD(mdl_plan, version, INT),
    FIELD(mdl_plan, model, STR),
    FIELD(mdl_plan, target, STR),
    FIELD(mdl_plan, isa, STR),
    FIELD(mdl_plan, precision, STR),
    FIELD(mdl_plan, compiler, STR),
    FIELD(mdl_plan, tokens, I64),
    FIELD(mdl_plan, segments, I64),
    FIELD(mdl_plan, max_length, I64),
    FIELD(mdl_plan, tile, I64),
    FIELD(mdl_plan, arena_bytes, SIZES),
    FIELD(mdl_plan, metrics, STRS),
    FIELD(mdl_plan, export_name, STR_OR_NULL),
    FIELD(mdl_plan, vocab, STR_OR_NULL),
    END,
};

static const mdl_field dim_fields[] = {FIELD(mdl_plan_dim, name, STR), FIELD(mdl_plan_dim, value, I64), END};

static const mdl_field param_fields[] = {
    FIELD(mdl_plan_param, name, STR),          FIELD(mdl_plan_param, type, TYPE),        FIELD(mdl_plan_param, arena, ARENA),
    FIELD(mdl_plan_param, offset, I64),        FIELD(mdl_plan_param, decay, BOOL),       FIELD(mdl_plan_param, carry, BOOL),
    FIELD(mdl_plan_param, group, STR_OR_NULL), FIELD(mdl_plan_param, init, STR_OR_NULL), END,
};

static const mdl_field tie_fields[] = {FIELD(mdl_plan_tie, name, STR), FIELD(mdl_plan_tie, target, STR), END};

static const mdl_field unit_fields[] = {FIELD(mdl_plan_unit, name, STR), FIELD(mdl_plan_unit, offset, I64),
                                        FIELD(mdl_plan_unit, bytes, I64), END};

static const mdl_field input_fields[] = {
    FIELD(mdl_plan_input, name, STR),   FIELD(mdl_plan_input, source, STR),      FIELD(mdl_plan_input, type, TYPE),
    FIELD(mdl_plan_input, offset, I64), OPTIONAL(mdl_plan_input, below, I64, 0), END,
};

static const mdl_field loss_fields[] = {FIELD(mdl_plan_loss, name, STR), FIELD(mdl_plan_loss, weight, REAL), END};

static const mdl_field layout_fields[] = {
    FIELD(mdl_plan_name_map, layout, STR),      FIELD(mdl_plan_name_map, kind, STR),
    FIELD(mdl_plan_name_map, theirs, STR),      FIELD(mdl_plan_name_map, ours, STR_OR_NULL),
    OPTIONAL(mdl_plan_name_map, rows, I64, 0),  OPTIONAL(mdl_plan_name_map, groups, I64, 0),
    OPTIONAL(mdl_plan_name_map, first, I64, 0), END,
};

static const mdl_field kernel_fields[] = {
    FIELD(mdl_plan_kernel, symbol, STR),
    FIELD(mdl_plan_kernel, class, STR),
    FIELD(mdl_plan_kernel, hash, STR),
    FIELD(mdl_plan_kernel, span, STR),
    FIELD(mdl_plan_kernel, args, SIGNATURE),
    GRID(rows, INT, MDL_TIMES_ONE),
    GRID(per, I64, 1),
    GRID(most, I64, 0),
    GRID(times, I64, 1),
    OPTIONAL(mdl_plan_kernel, maps, MAPS, 0),
    FIELD(mdl_plan_kernel, launches, INT),
    OPTIONAL(mdl_plan_kernel, resources, RESOURCES, 0),
    END,
};

static const mdl_field file_fields[] = {
    FIELD(mdl_plan_file, path, STR),
    FIELD(mdl_plan_file, size, I64),
    FIELD(mdl_plan_file, hash, STR),
    END,
};

const mdl_field mdl_plan_program_header[] = {
    FIELD(mdl_plan_program, name, STR),
    FIELD(mdl_plan_program, activation_bytes, I64),
    FIELD(mdl_plan_program, live_bytes, I64),
    END,
};

static const mdl_field buffer_fields[] = {
    FIELD(mdl_plan_buffer, name, STR),         FIELD(mdl_plan_buffer, arena, ARENA),     FIELD(mdl_plan_buffer, offset, I64),
    FIELD(mdl_plan_buffer, bytes, I64),        FIELD(mdl_plan_buffer, type, TYPE),       OPTIONAL(mdl_plan_buffer, of, INT, -1),
    OPTIONAL(mdl_plan_buffer, stride, I64, 0), OPTIONAL(mdl_plan_buffer, value, INT, 0), END,
};

static const mdl_field launch_fields[] = {
    FIELD(mdl_plan_launch, kind, LAUNCH),
    ONLY(mdl_plan_launch, kernel, INT, KERNEL),
    ONLY(mdl_plan_launch, grid, I64, KERNEL),
    GEMM(m, I64),
    GEMM(n, I64),
    GEMM(k, I64),
    GEMM_OPTIONAL(batch, I64, 1),
    GEMM(lda, I64),
    GEMM(ldb, I64),
    GEMM_OPTIONAL(ldc, I64, 0),
    GEMM(ldd, I64),
    GEMM_OPTIONAL(stride_a, I64, 0),
    GEMM_OPTIONAL(stride_b, I64, 0),
    GEMM_OPTIONAL(stride_c, I64, 0),
    GEMM_OPTIONAL(stride_d, I64, 0),
    GEMM_OPTIONAL(type_a, DTYPE, MDL_F32),
    GEMM_OPTIONAL(type_b, DTYPE, MDL_F32),
    GEMM_OPTIONAL(type_c, DTYPE, MDL_F32),
    GEMM_OPTIONAL(type_d, DTYPE, MDL_F32),
    GEMM_OPTIONAL(type_bias, DTYPE, MDL_F32),
    GEMM(trans_a, BOOL),
    GEMM(trans_b, BOOL),
    GEMM_OPTIONAL(has_c, BOOL, false),
    GEMM_OPTIONAL(has_bias, BOOL, false),
    GEMM_OPTIONAL(has_scales, BOOL, false),
    GEMM_OPTIONAL(fast_sums, BOOL, false),
    FIELD(mdl_plan_launch, args, ARGS),
    OPTIONAL(mdl_plan_launch, stream, INT, 0),
    OPTIONAL(mdl_plan_launch, waits, INTS, 0),
    OPTIONAL(mdl_plan_launch, threads, INT, 1),
    OPTIONAL(mdl_plan_launch, shared_bytes, I64, 0),
    OPTIONAL(mdl_plan_launch, cluster, INT, 1),
    OPTIONAL(mdl_plan_launch, workspace, INT, -1),
    FIELD(mdl_plan_launch, bytes, I64),
    FIELD(mdl_plan_launch, flops, I64),
    FIELD(mdl_plan_launch, label, STR),
    FIELD(mdl_plan_launch, span, STR),
    END,
};

static const mdl_field result_fields[] = {FIELD(mdl_plan_result, name, STR), FIELD(mdl_plan_result, buffer, INT), END};

#define LIST(owner, key, item, type, fields, name) \
    { #key, item, offsetof(owner, key), sizeof(type), fields, #name }
#define END_LIST \
    { NULL, NULL, 0, 0, NULL, NULL }

const mdl_list mdl_plan_lists[] = {
    LIST(mdl_plan, dims, "dim", mdl_plan_dim, dim_fields, name),
    LIST(mdl_plan, specials, "special", mdl_plan_dim, dim_fields, name),
    LIST(mdl_plan, losses, "loss", mdl_plan_loss, loss_fields, name),
    LIST(mdl_plan, layouts, "layout line", mdl_plan_name_map, layout_fields, theirs),
    LIST(mdl_plan, ties, "tie", mdl_plan_tie, tie_fields, name),
    LIST(mdl_plan, inputs, "input", mdl_plan_input, input_fields, name),
    LIST(mdl_plan, units, "unit", mdl_plan_unit, unit_fields, name),
    LIST(mdl_plan, params, "param", mdl_plan_param, param_fields, name),
    LIST(mdl_plan, kernels, "kernel", mdl_plan_kernel, kernel_fields, symbol),
    LIST(mdl_plan, files, "file", mdl_plan_file, file_fields, path),
    END_LIST,
};

const mdl_list mdl_plan_program_lists[] = {
    LIST(mdl_plan_program, buffers, "buffer", mdl_plan_buffer, buffer_fields, name),
    LIST(mdl_plan_program, results, "result", mdl_plan_result, result_fields, name),
    LIST(mdl_plan_program, launches, "launch", mdl_plan_launch, launch_fields, label),
    END_LIST,
};
