/* The switch of stacks: by hand on x86-64, by ucontext elsewhere. AddressSanitizer is told of every switch. */
#include "runtime/device/cuda/fiber.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

#ifdef __x86_64__
typedef void *context; /* the stack pointer; what must survive a call lies there */
#else
typedef ucontext_t context;
#endif

struct mdl_fiber {
    context own, outside; /* of the fiber, of who entered it */
    void (*run)(void *data);
    void *data;
    char *stack; /* its lowest address, above the guard page */
    size_t stack_bytes;
    const void *outside_stack; /* for AddressSanitizer */
    size_t outside_bytes;
};

struct mdl_fibers {
    int n;
    char *stacks;
    mdl_fiber *fiber;
};

/* ---- AddressSanitizer: which stack the code runs on ---- */
#ifdef __SANITIZE_ADDRESS__
static void announce(void **fake, const void *stack, size_t bytes) { __sanitizer_start_switch_fiber(fake, stack, bytes); }
static void arrived(void *fake, const void **from, size_t *bytes) { __sanitizer_finish_switch_fiber(fake, from, bytes); }
static void forget_frames(const mdl_fiber *f) { ASAN_UNPOISON_MEMORY_REGION(f->stack, f->stack_bytes); }
#else
static void announce(void **fake, const void *stack, size_t bytes) { (void)fake, (void)stack, (void)bytes; }
static void arrived(void *fake, const void **from, size_t *bytes) { (void)fake, (void)from, (void)bytes; }
static void forget_frames(const mdl_fiber *f) { (void)f; }
#endif

static void begin(mdl_fiber *f) {
    arrived(NULL, &f->outside_stack, &f->outside_bytes);
    f->run(f->data);
    mdl_bug("a fiber returned");
}

/* ---- the switch ---- */
#ifdef __x86_64__
/* Saves the registers that a callee must keep on the stack, and the stack pointer in *save; continues where `load` was saved. */
void mdl_fiber_switch(context *save, context load);
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".type mdl_fiber_switch, @function\n"
    "mdl_fiber_switch:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size mdl_fiber_switch, . - mdl_fiber_switch\n"
    /* What a fresh fiber returns into: calls rbp with rbx, where they were left for it. */
    ".type mdl_fiber_begin, @function\n"
    "mdl_fiber_begin:\n"
    "    movq %rbx, %rdi\n"
    "    callq *%rbp\n"
    "    ud2\n"
    ".size mdl_fiber_begin, . - mdl_fiber_begin\n");
void mdl_fiber_begin(void);

static void switch_to(context *save, const context *load) { mdl_fiber_switch(save, *load); }

/* Registers as the switch takes them up, then mdl_fiber_begin as the address to return to: rsp is a multiple of 16 there. */
static void prepare(mdl_fiber *f, char *top) {
    enum { R15, R14, R13, R12, RBX, RBP, RETURN, WORDS };
    uintptr_t *frame = (uintptr_t *)((uintptr_t)top & ~(uintptr_t)15) - WORDS;
    memset(frame, 0, WORDS * sizeof *frame);
    frame[RBX] = (uintptr_t)f;
    frame[RBP] = (uintptr_t)begin;
    frame[RETURN] = (uintptr_t)mdl_fiber_begin;
    f->own = frame;
}
#else
static void switch_to(context *save, const context *load) { swapcontext(save, load); }

/* makecontext passes integers of 32 bits. */
static void begin_words(unsigned high, unsigned low) { begin((mdl_fiber *)((uintptr_t)high << 32 | low)); }

static void prepare(mdl_fiber *f, char *top) {
    getcontext(&f->own);
    f->own.uc_stack.ss_sp = f->stack;
    f->own.uc_stack.ss_size = (size_t)(top - f->stack);
    f->own.uc_link = NULL;
    makecontext(&f->own, (void (*)(void))begin_words, 2, (unsigned)((uintptr_t)f >> 32), (unsigned)(uintptr_t)f);
}
#endif

void mdl_fiber_enter(mdl_fiber *f) {
    void *fake = NULL;
    announce(&fake, f->stack, f->stack_bytes);
    switch_to(&f->outside, &f->own);
    arrived(fake, NULL, NULL);
}

void mdl_fiber_leave(mdl_fiber *f) {
    void *fake = NULL;
    announce(&fake, f->outside_stack, f->outside_bytes);
    switch_to(&f->own, &f->outside);
    arrived(fake, &f->outside_stack, &f->outside_bytes);
}

mdl_fiber *mdl_fiber_reset(mdl_fibers *fibers, int i, void (*run)(void *data), void *data) {
    enum { STAGGER = 192, STEPS = 16 }; /* tops at one distance of 64 KiB would all lie in one set of the cache */
    mdl_fiber *f = &fibers->fiber[i];
    f->run = run, f->data = data;
    forget_frames(f);
    prepare(f, f->stack + f->stack_bytes - i % STEPS * STAGGER);
    return f;
}

/* ---- stacks ---- */
mdl_status mdl_fibers_new(int n, mdl_fibers **fibers) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)n * MDL_FIBER_STACK;
    mdl_fibers *all = calloc(1, sizeof *all);
    mdl_fiber *fiber = calloc((size_t)n, sizeof *fiber);
    char *stacks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *fibers = NULL;
    if (!all || !fiber || stacks == MAP_FAILED) {
        free(all);
        free(fiber);
        if (stacks != MAP_FAILED) munmap(stacks, bytes);
        return mdl_fail(MDL_SYSTEM, "not enough memory for the stacks of %d threads", n);
    }
    for (int i = 0; i < n; i++) {
        char *lowest = stacks + (size_t)i * MDL_FIBER_STACK;
        mprotect(lowest, page, PROT_NONE); /* where it is refused, an overflow is not caught */
        fiber[i].stack = lowest + page;
        fiber[i].stack_bytes = MDL_FIBER_STACK - page;
    }
    *all = (mdl_fibers){n, stacks, fiber};
    *fibers = all;
    return MDL_OK;
}

void mdl_fibers_free(mdl_fibers *fibers) {
    if (!fibers) return;
    munmap(fibers->stacks, (size_t)fibers->n * MDL_FIBER_STACK);
    free(fibers->fiber);
    free(fibers);
}
