#include "compiler/kernel/cuda_attention.h"
mdl_cuda_template mdl_cuda_attention_f32(mdl_arena *a, const mdl_attention_shape *s, const mdl_attention_memory *m, int b,
                                         const char *n) {
    (void)a, (void)s, (void)m, (void)b;
    return (mdl_cuda_template){.text = mdl_printf(a, "MDL_KERNEL(%s, 1, 1, 32, 1) {}\n", n), .threads = 32, .blocks = {0, 64, 1}};
}
mdl_cuda_template mdl_cuda_attention_bwd_f32(mdl_arena *a, const mdl_attention_shape *s, const mdl_attention_memory *m, int b,
                                             const char *n) {
    return mdl_cuda_attention_f32(a, s, m, b, n);
}
mdl_cuda_template mdl_cuda_attention_bwd_bf16(mdl_arena *a, const mdl_attention_shape *s, const mdl_attention_memory *m, int b,
                                              const char *n) {
    return mdl_cuda_attention_f32(a, s, m, b, n);
}
mdl_cuda_template mdl_cuda_attention_bf16(mdl_arena *a, const mdl_attention_shape *s, const mdl_attention_memory *m, int b,
                                          const char *n) {
    return mdl_cuda_attention_f32(a, s, m, b, n);
}
