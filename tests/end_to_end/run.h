/* What the end-to-end suites share: a folder of their own, commands run in it, and reading back what a run wrote. */
#ifndef MDL_TESTS_END_TO_END_RUN_H
#define MDL_TESTS_END_TO_END_RUN_H

#include "runtime/base/arena.h"
#include "runtime/base/safetensors.h"
#include "tests/check.h"

typedef struct {
    mdl_test *t;
    mdl_arena *memory;
    const char *folder; /* below the scratch folder; models/, data/ and configs/ in it are links to the source tree */
    const char *target; /* mdlc's options for it: "" is this machine's CPU */
    bool emulated;      /* kernels for a GPU, on the CPU: slow */
} mdl_e2e;

mdl_e2e mdl_e2e_begin(mdl_test *t, const char *name);
/* The same for target cuda: in emulation, or for the arch that MDL_TEST_ARCH names, on the GPU there is. */
mdl_e2e mdl_e2e_begin_cuda(mdl_test *t, const char *name);
void mdl_e2e_end(mdl_e2e *e);

/* Runs a shell command in the folder and checks its exit status; returns what it printed, valid until `end`. mdlc and mdlrun are
 * on the path. Threads wait without spinning: tests share their machine, and results do not depend on it. */
const char *mdl_e2e_run(mdl_e2e *e, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same without the check; *status may be NULL. */
const char *mdl_e2e_try(mdl_e2e *e, int *status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Trains PLAN on FASTA in the folder, writing to `output`; `settings` are further overrides. */
const char *mdl_e2e_train(mdl_e2e *e, int status, const char *plan, const char *fasta, const char *output, const char *settings);

/* Shell text, for behind a run that was put into the background: it is $pid, and has written a line of metrics to OUTPUT. */
#define MDL_E2E_UNTIL_IT_TRAINS(output) \
    "pid=$!; i=0; while [ ! -s " output "/metrics.jsonl ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i + 1)); done; "

/* Shell text for a Python that has PyTorch, transformers, safetensors and TensorBoard; NULL where there is none. */
const char *mdl_e2e_python(mdl_e2e *e);

void mdl_e2e_write(mdl_e2e *e, const char *name, const char *text);
const char *mdl_e2e_read(mdl_e2e *e, const char *name); /* "" when there is no such file */
bool mdl_e2e_exists(mdl_e2e *e, const char *name);
/* A FASTA file of n sequences of `length` residues each, all different. */
void mdl_e2e_fasta(mdl_e2e *e, const char *name, int n, int length);

/* The numbers under `key` in the lines of OUTPUT/metrics.jsonl; a line without it, or with null, gives NAN. Returns their count. */
int mdl_e2e_metrics(mdl_e2e *e, const char *output, const char *key, double **values);
/* Every loss and gradient norm that the run logged is finite, and there are `lines` of them. */
void mdl_e2e_check_finite(mdl_e2e *e, const char *output, int lines);
/* All values of OUTPUT/model.safetensors, in file order, as one array of *n numbers. */
float *mdl_e2e_weights(mdl_e2e *e, const char *output, int64_t *n);
/* The L2 norm of a - b; NAN when a number is not finite. */
double mdl_e2e_distance(int64_t n, const float *a, const float *b);

#endif
