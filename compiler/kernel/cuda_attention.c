/* Which of attention's kernels for CUDA. */
#include "compiler/kernel/cuda_attention.h"

mdl_cuda_template mdl_cuda_attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                     int buffers, bool hopper, const char *symbol) {
    if (memory->q.dtype == MDL_F32) return mdl_cuda_attention_f32(arena, shape, memory, buffers, symbol);
    if (hopper && mdl_cuda_attention_fits_hopper(shape, memory, false))
        return mdl_cuda_attention_hopper(arena, shape, memory, buffers, symbol);
    return mdl_cuda_attention_bf16(arena, shape, memory, buffers, symbol);
}

mdl_cuda_template mdl_cuda_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                         int buffers, bool hopper, const char *symbol) {
    if (memory->q.dtype == MDL_F32) return mdl_cuda_attention_bwd_f32(arena, shape, memory, buffers, symbol);
    if (hopper && mdl_cuda_attention_fits_hopper(shape, memory, true))
        return mdl_cuda_attention_bwd_hopper(arena, shape, memory, buffers, symbol);
    return mdl_cuda_attention_bwd_bf16(arena, shape, memory, buffers, symbol);
}

int64_t mdl_cuda_attention_tile_rows(const mdl_attention_shape *shape, const mdl_attention_memory *memory, bool backward,
                                     bool hopper) {
    if (memory->q.dtype == MDL_F32) return 0;
    return hopper && !backward && mdl_cuda_attention_fits_hopper(shape, memory, backward) ? 128 : 64;
}
