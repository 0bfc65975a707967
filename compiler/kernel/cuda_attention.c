/* See cuda_attention.h. */
#include "compiler/kernel/cuda_attention.h"

mdl_cuda_template mdl_cuda_attention(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                     int buffers, const char *symbol) {
    return (memory->q.dtype == MDL_F32 ? mdl_cuda_attention_f32 : mdl_cuda_attention_bf16)(arena, shape, memory, buffers, symbol);
}

mdl_cuda_template mdl_cuda_attention_bwd(mdl_arena *arena, const mdl_attention_shape *shape, const mdl_attention_memory *memory,
                                         int buffers, const char *symbol) {
    return (memory->q.dtype == MDL_F32 ? mdl_cuda_attention_bwd_f32 : mdl_cuda_attention_bwd_bf16)(arena, shape, memory, buffers,
                                                                                                   symbol);
}
