/* What the drivers of peers share: random numbers, and a figure taken as our own are: the median of windows of about 50 ms. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static unsigned random_u32(void)
{
    static unsigned long long state = 88172645463325252ULL;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 16);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs `work`, which returns how many information bits it did or a negative number when it failed, for about `seconds`
 * and at least three windows; `check` tells after each whether the work was done right. Prints Gbit/s. The exit code. */
static int time_work(long (*work)(void), int (*check)(void), double seconds)
{
    enum { WINDOWS = 4096 };
    static double rates[WINDOWS];
    int windows = 0;
    double start = seconds_now();
    do {
        double begin = seconds_now(), spent, bits = 0;
        do {
            long done = work();
            if (done < 0)
                return 1;
            bits += (double)done;
            spent = seconds_now() - begin;
        } while (spent < 0.05);
        rates[windows++] = 1e-9 * bits / spent;
        if (!check()) {
            fprintf(stderr, "libfec did not restore what was sent\n");
            return 1;
        }
    } while (windows < WINDOWS && (windows < 3 || seconds_now() - start < seconds));
    qsort(rates, (size_t)windows, sizeof rates[0], ascending);
    printf("%.6f\n", rates[windows / 2]);
    return 0;
}
