/* Times libfec's Viterbi decoder of K=7, rate 1/2, on 8-bit soft symbols, one core: a program of its own, because libfec
 * is LGPL.
 *
 * usage: libfec_viterbi SECONDS
 * Decodes frames of 8192 bits and six bits of tail, with the kernel that the library picks for this processor. Prints one
 * figure: Gbit/s of information bits, the median of windows of about 50 ms, as our own figures are taken. */
#include <fec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BITS = 8192, TAIL = 6, WINDOWS = 4096 };

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

static unsigned char data[BITS / 8], decoded[BITS / 8 + 1], symbols[2 * (BITS + TAIL)];

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: libfec_viterbi SECONDS\n");
        return 2;
    }
    double seconds = atof(argv[1]);
    int polynomials[2] = {V27POLYA, V27POLYB};
    unsigned shift = 0;
    for (int i = 0; i < BITS + TAIL; i++) {
        unsigned bit = i < BITS ? random_u32() & 1 : 0;
        if (i < BITS)
            data[i / 8] = (unsigned char)(data[i / 8] << 1 | bit);
        shift = shift << 1 | bit;
        for (int which = 0; which < 2; which++) {
            int one = __builtin_parity(shift & (unsigned)polynomials[which]);
            symbols[2 * i + which] = (unsigned char)((one ? 168 : 88) + (int)(random_u32() % 33) - 16);
        }
    }
    set_viterbi27_polynomial(polynomials);
    void *decoder = create_viterbi27(BITS + TAIL);
    if (!decoder) {
        fprintf(stderr, "libfec makes no decoder\n");
        return 1;
    }
    static double rates[WINDOWS];
    int windows = 0;
    double start = seconds_now();
    do {
        double begin = seconds_now(), spent;
        long frames = 0;
        do {
            init_viterbi27(decoder, 0);
            update_viterbi27_blk(decoder, symbols, BITS + TAIL);
            chainback_viterbi27(decoder, decoded, BITS, 0);
            frames++;
            spent = seconds_now() - begin;
        } while (spent < 0.05);
        rates[windows++] = 1e-9 * BITS * (double)frames / spent;
        if (memcmp(decoded, data, sizeof data) != 0) {
            fprintf(stderr, "libfec did not restore what was sent\n");
            return 1;
        }
    } while (windows < WINDOWS && (windows < 3 || seconds_now() - start < seconds));
    qsort(rates, (size_t)windows, sizeof rates[0], ascending);
    printf("%.6f\n", rates[windows / 2]);
    return 0;
}
