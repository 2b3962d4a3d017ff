/* Times libfec's Viterbi decoder of K=7, rate 1/2, on 8-bit soft symbols, one core: a program of its own, because libfec
 * is LGPL.
 *
 * usage: libfec_viterbi SECONDS
 * Decodes frames of 8192 bits and six bits of tail, with the kernel that the library picks for this processor. Prints one
 * figure: Gbit/s of information bits, the median of windows of about 50 ms, as our own figures are taken. */
#include <fec.h>
#include <string.h>

#include "timing.h"

enum { BITS = 8192, TAIL = 6 };

static unsigned char data[BITS / 8], decoded[BITS / 8 + 1], symbols[2 * (BITS + TAIL)];
static void *decoder;

static long decode_frame(void)
{
    init_viterbi27(decoder, 0);
    update_viterbi27_blk(decoder, symbols, BITS + TAIL);
    chainback_viterbi27(decoder, decoded, BITS, 0);
    return BITS;
}

static int is_restored(void)
{
    return memcmp(decoded, data, sizeof data) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: libfec_viterbi SECONDS\n");
        return 2;
    }
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
    decoder = create_viterbi27(BITS + TAIL);
    if (!decoder) {
        fprintf(stderr, "libfec makes no decoder\n");
        return 1;
    }
    return time_work(decode_frame, is_restored, atof(argv[1]));
}
