/* oneDNN's sgemm and matmul. */
#include "runtime/device/onednn.h"

#include <dnnl.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/arena.h"

const char *mdl_onednn_version(void) {
    static _Thread_local char text[64];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

bool mdl_onednn_has_bf16(void) { /* the values of instruction sets are sets of bits */
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

bool mdl_onednn_sgemm(const mdl_onednn_shape *s, bool add, const float *a, const float *b, float *d) {
    return !dnnl_sgemm(s->trans_a ? 'T' : 'N', s->trans_b ? 'T' : 'N', s->m, s->n, s->k, 1.0f, a, s->lda, b, s->ldb,
                       add ? 1.0f : 0.0f, d, s->ldd);
}

/* ---- the two interfaces: descriptors were structs in 2.x and are handles in 3.x ---- */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t description;
typedef const_dnnl_memory_desc_t any_description;

static bool describe(description *to, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return !dnnl_memory_desc_create_with_strides(to, 2, dims, type, strides);
}
static void forget(description *d) { dnnl_memory_desc_destroy(*d); }
static any_description of(const description *d) { return *d; }
static bool describe_matmul(dnnl_primitive_desc_t *to, dnnl_engine_t engine, const description x[3], dnnl_primitive_attr_t attr) {
    return !dnnl_matmul_primitive_desc_create(to, engine, x[0], x[1], NULL, x[2], attr);
}
#else
typedef dnnl_memory_desc_t description;
typedef const dnnl_memory_desc_t *any_description;

static bool describe(description *to, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return !dnnl_memory_desc_init_by_strides(to, 2, dims, type, strides);
}
static void forget(description *d) { (void)d; }
static any_description of(const description *d) { return d; }
static bool describe_matmul(dnnl_primitive_desc_t *to, dnnl_engine_t engine, const description x[3], dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t matmul;
    return !dnnl_matmul_desc_init(&matmul, &x[0], &x[1], NULL, &x[2]) &&
           !dnnl_primitive_desc_create(to, &matmul, attr, engine, NULL);
}
#endif

/* ---- matmul ---- */
enum { A, B, D, SCRATCH, MEMORIES };
static const int roles[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};

struct mdl_onednn_matmul {
    mdl_onednn_shape shape;
    const mdl_onednn *library;
    dnnl_primitive_t primitive; /* NULL: not on this machine */
    int64_t scratch_bytes;
    dnnl_memory_t (*memory)[MEMORIES]; /* by thread: what it works on at the moment */
};

struct mdl_onednn {
    mdl_arena *arena;
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* by thread */
    int threads;
    MDL_VEC(mdl_onednn_matmul *) matmuls;
};

void mdl_onednn_close(mdl_onednn *library) {
    if (!library) return;
    for (int i = 0; i < library->matmuls.n; i++) {
        mdl_onednn_matmul *m = library->matmuls.at[i];
        for (int t = 0; m->memory && t < library->threads; t++)
            for (int k = 0; k < MEMORIES; k++) dnnl_memory_destroy(m->memory[t][k]);
        if (m->primitive) dnnl_primitive_destroy(m->primitive);
    }
    for (int t = 0; t < library->threads; t++)
        if (library->streams[t]) dnnl_stream_destroy(library->streams[t]);
    if (library->engine) dnnl_engine_destroy(library->engine);
    mdl_arena_free(library->arena);
}

mdl_onednn *mdl_onednn_open(int threads) {
    mdl_arena *arena = mdl_arena_new();
    mdl_onednn *library = MDL_NEW(arena, mdl_onednn);
    *library = (mdl_onednn){.arena = arena, .streams = MDL_NEW_ARRAY(arena, dnnl_stream_t, threads), .threads = threads};
    bool ok = !dnnl_engine_create(&library->engine, dnnl_cpu, 0);
    for (int t = 0; ok && t < threads; t++)
        ok = !dnnl_stream_create(&library->streams[t], library->engine, dnnl_stream_default_flags);
    if (ok) return library;
    mdl_onednn_close(library);
    return NULL;
}

/* The reference code of the library is slower than converting to f32. */
static bool is_reference(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) || !name || !strncmp(name, "ref", 3);
}

static void make_memories(mdl_onednn_matmul *m, const description x[3], any_description scratch) {
    bool ok = true;
    m->memory = mdl_alloc(m->library->arena, sizeof *m->memory * (size_t)m->library->threads);
    for (int t = 0; t < m->library->threads; t++)
        for (int k = 0; k < MEMORIES && ok; k++)
            ok = !dnnl_memory_create(&m->memory[t][k], k == SCRATCH ? scratch : of(&x[k]), m->library->engine, DNNL_MEMORY_NONE);
    if (ok) return;
    dnnl_primitive_destroy(m->primitive);
    m->primitive = NULL;
}

static void make_primitive(mdl_onednn_matmul *m, const description x[3]) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bool ok = !dnnl_primitive_attr_create(&attr) && !dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) &&
              describe_matmul(&pd, m->library->engine, x, attr) && !is_reference(pd) && !dnnl_primitive_create(&m->primitive, pd);
    if (ok) {
        any_description scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        m->scratch_bytes = (int64_t)dnnl_memory_desc_get_size(scratch);
        make_memories(m, x, scratch);
    }
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
}

static void make(mdl_onednn_matmul *m) {
    const mdl_onednn_shape *s = &m->shape;
    const dnnl_dims_t dims[] = {{s->m, s->k}, {s->k, s->n}, {s->m, s->n}};
    const dnnl_dims_t strides[] = {
        {s->trans_a ? 1 : s->lda, s->trans_a ? s->lda : 1}, {s->trans_b ? 1 : s->ldb, s->trans_b ? s->ldb : 1}, {s->ldd, 1}};
    description x[3];
    int n = 0;
    if (s->m == 1 || s->n == 1 || s->k == 1) return; /* 3.7.2 takes no notice of the padding between single elements */
    while (n < 3 && describe(&x[n], dims[n], n == D && !s->to_bf16 ? dnnl_f32 : dnnl_bf16, strides[n])) n++;
    if (n == 3) make_primitive(m, x);
    while (n > 0) forget(&x[--n]);
}

static bool same(const mdl_onednn_shape *x, const mdl_onednn_shape *y) {
    return x->m == y->m && x->n == y->n && x->k == y->k && x->lda == y->lda && x->ldb == y->ldb && x->ldd == y->ldd &&
           x->trans_a == y->trans_a && x->trans_b == y->trans_b && x->to_bf16 == y->to_bf16;
}

const mdl_onednn_matmul *mdl_onednn_matmul_for(mdl_onednn *library, const mdl_onednn_shape *shape) {
    mdl_onednn_matmul *m = NULL;
    for (int i = 0; i < library->matmuls.n && !m; i++)
        if (same(&library->matmuls.at[i]->shape, shape)) m = library->matmuls.at[i];
    if (!m) {
        m = MDL_NEW(library->arena, mdl_onednn_matmul);
        *m = (mdl_onednn_matmul){.shape = *shape, .library = library};
        make(m);
        MDL_PUSH(library->arena, library->matmuls, m);
    }
    return m->primitive ? m : NULL;
}

int64_t mdl_onednn_scratch_bytes(const mdl_onednn_matmul *matmul) { return matmul->scratch_bytes; }

bool mdl_onednn_run(const mdl_onednn_matmul *m, int thread, const void *a, const void *b, void *d, void *scratch) {
    dnnl_memory_t *memory = m->memory[thread];
    void *const at[MEMORIES] = {(void *)a, (void *)b, d, scratch};
    dnnl_exec_arg_t args[MEMORIES];
    for (int k = 0; k < MEMORIES; k++) {
        if (dnnl_memory_set_data_handle(memory[k], at[k])) return false;
        args[k] = (dnnl_exec_arg_t){roles[k], memory[k]};
    }
    return !dnnl_primitive_execute(m->primitive, m->library->streams[thread], MEMORIES, args) &&
           !dnnl_stream_wait(m->library->streams[thread]);
}
