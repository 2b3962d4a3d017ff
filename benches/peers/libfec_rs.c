/* Times libfec's CCSDS Reed-Solomon (255,223), dual basis, on one core: a program of its own, because libfec is LGPL.
 *
 * usage: libfec_rs encode|decode ERRORS SECONDS
 * Every codeword gets ERRORS wrong symbols at random places. Prints one figure: Gbit/s of information bits, the median
 * of windows of about 50 ms, as our own figures are taken. The work per codeword is what a receiver has to do with a codeblock of
 * interleaving depth 5: take each codeword apart, decode it, put its information symbols back (as ours does in place). */
#include <fec.h>
#include <string.h>

#include "timing.h"

enum { DEPTH = 5, K = 223, N = 255, BLOCKS = 16 };

static int encoding, errors;
static unsigned char sent[BLOCKS][N * DEPTH], received[BLOCKS][N * DEPTH], work[BLOCKS][N * DEPTH];

static void encode_block(unsigned char *block)
{
    unsigned char codeword[N];
    for (int c = 0; c < DEPTH; c++) {
        for (int n = 0; n < K; n++)
            codeword[n] = block[n * DEPTH + c];
        encode_rs_ccsds(codeword, codeword + K, 0);
        for (int n = K; n < N; n++)
            block[n * DEPTH + c] = codeword[n];
    }
}

static int decode_block(unsigned char *block)
{
    unsigned char codeword[N];
    int corrected = 0;
    for (int c = 0; c < DEPTH; c++) {
        for (int n = 0; n < N; n++)
            codeword[n] = block[n * DEPTH + c];
        int count = decode_rs_ccsds(codeword, NULL, 0, 0);
        if (count > 0)
            for (int n = 0; n < N; n++)
                block[n * DEPTH + c] = codeword[n];
        corrected += count;
    }
    return corrected;
}

static long do_blocks(void)
{
    memcpy(work, encoding ? sent : received, sizeof work);
    for (int b = 0; b < BLOCKS; b++) {
        if (encoding)
            encode_block(work[b]);
        else if (decode_block(work[b]) != DEPTH * errors) {
            fprintf(stderr, "libfec counted other errors than were made\n");
            return -1;
        }
    }
    return 8L * K * DEPTH * BLOCKS;
}

static int are_restored(void)
{
    return memcmp(work, sent, sizeof work) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: libfec_rs encode|decode ERRORS SECONDS\n");
        return 2;
    }
    encoding = strcmp(argv[1], "encode") == 0;
    errors = atoi(argv[2]);
    for (int b = 0; b < BLOCKS; b++) {
        for (int i = 0; i < K * DEPTH; i++)
            sent[b][i] = (unsigned char)random_u32();
        encode_block(sent[b]);
        memcpy(received[b], sent[b], sizeof sent[b]);
        for (int c = 0; c < DEPTH; c++) {
            unsigned char hit[N] = {0};
            for (int left = errors; left > 0;) {
                unsigned n = random_u32() % N;
                if (!hit[n]) {
                    hit[n] = 1;
                    received[b][n * DEPTH + c] ^= (unsigned char)(1 + random_u32() % 255);
                    left--;
                }
            }
        }
    }
    return time_work(do_blocks, are_restored, atof(argv[3]));
}
