/* The thread that waits for signals, and the flag that it sets. */
#include "runtime/train/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* Ends the waiting; real-time signals have no other meaning here. */
#define RELEASE SIGRTMIN

static atomic_int first;
static sigset_t caught, before;
static pthread_t waiter;

static bool is_ignored(int signal) {
    struct sigaction action;
    return !sigaction(signal, NULL, &action) && action.sa_handler == SIG_IGN;
}

static int next_signal(void) {
    int signal;
    while (sigwait(&caught, &signal)) continue;
    return signal;
}

static void *wait_for_signals(void *unused) {
    (void)unused;
    for (int signal; (signal = next_signal()) != RELEASE;) {
        int none = 0;
        if (atomic_compare_exchange_strong(&first, &none, signal) || signal != SIGINT) continue;
        pthread_sigmask(SIG_UNBLOCK, &caught, NULL);
        raise(signal); /* its default action ends the process */
    }
    return NULL;
}

mdl_status mdl_interrupt_catch(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    atomic_store(&first, 0);
    sigemptyset(&caught);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (!is_ignored(signals[i])) sigaddset(&caught, signals[i]);
    sigaddset(&caught, RELEASE);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &caught, &before);
    int error = pthread_create(&waiter, NULL, wait_for_signals, NULL);
    if (!error) return MDL_OK;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return mdl_fail(MDL_SYSTEM, "cannot start the thread that waits for signals: %s", strerror(error));
}

void mdl_interrupt_release(void) {
    pthread_kill(waiter, RELEASE);
    pthread_join(waiter, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool mdl_interrupted(void) { return mdl_interrupt_signal() != 0; }

int mdl_interrupt_signal(void) { return atomic_load(&first); }
