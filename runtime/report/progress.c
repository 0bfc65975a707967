/* The progress line. */
#include "runtime/report/progress.h"

#include <math.h>
#include <unistd.h>

void mdl_duration_text(char *text, size_t size, double seconds) {
    if (!(seconds >= 0 && seconds < 1e12)) {
        snprintf(text, size, "n/a");
        return;
    }
    long long s = llround(seconds), hours = s / 3600 % 24, minutes = s / 60 % 60;
    if (s >= 86400)
        snprintf(text, size, "%lldd %02lld:%02lld:%02lld", s / 86400, hours, minutes, s % 60);
    else if (s >= 3600)
        snprintf(text, size, "%lld:%02lld:%02lld", hours, minutes, s % 60);
    else
        snprintf(text, size, "%lld:%02lld", minutes, s % 60);
}

void mdl_amount_text(char *text, size_t size, double amount) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    int unit = 0;
    while (amount >= 999.5 && unit < 4) amount /= 1000, unit++;
    snprintf(text, size, unit && amount < 99.95 ? "%.1f%s" : "%.0f%s", amount, units[unit]);
}

int mdl_progress_line(char *line, size_t size, const mdl_progress_view *v) {
    char rate[16], left[32], total[24];
    int digits = snprintf(total, sizeof total, "%lld", (long long)v->max_steps);
    mdl_amount_text(rate, sizeof rate, v->tokens_per_second);
    mdl_duration_text(left, sizeof left, v->seconds_left);
    return snprintf(line, size, "step %*lld/%s  loss %.4f  lr %.2e  grad %.3g  %s tok/s  ETA %s", digits, (long long)v->step, total,
                    v->loss, v->lr, v->grad_norm, rate, left);
}

mdl_progress mdl_progress_begin(FILE *out) {
    return (mdl_progress){.out = out, .terminal = isatty(fileno(out)), .shown_at = -INFINITY};
}

void mdl_progress_step(mdl_progress *p, const mdl_progress_view *view, bool logged, double now) {
    char line[256];
    bool last = view->step == view->max_steps;
    if (p->terminal ? now < p->shown_at + 0.1 && !last : !logged) return;
    int width = mdl_progress_line(line, sizeof line, view);
    if (p->terminal)
        fprintf(p->out, "\r%-*s", p->width, line);
    else
        fprintf(p->out, "%s\n", line);
    fflush(p->out);
    p->shown_at = now;
    p->width = width;
}

void mdl_progress_end(mdl_progress *p) {
    if (p->terminal && p->width) fputc('\n', p->out);
    p->width = 0;
}
