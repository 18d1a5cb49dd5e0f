/* The coefficients of a baseline JPEG, for libjpeg, which makes pixels of them.
 *
 * libjpeg's own decoder looks for a code with 8 bits, and then takes the number behind it. Here a table that is asked
 * with the next bits gives both at once, and a block's end like a number. And what libjpeg passes over in silence is
 * told: coefficients beyond a block's last or larger than a picture's, and data behind the last block. A bit that is
 * not what it was makes codes longer or shorter than they were, until by chance they fall into step again, some pixels
 * earlier or later.
 *
 * The decoder takes the place of libjpeg's own behind the interface that has been between its modules since 1995
 * (jpegint.h). Numbers in brackets are those of ITU-T T.81.
 */

#include "coefficients.h"

#define JPEG_INTERNALS
#include <jpegint.h>

#include "huffman.h"

/* Bytes behind the last block, or before a restart, that are nothing rare: what some cameras and editors leave there. */
enum { SPARE = 16 };
/* Codes with their numbers that are filled in at once: of at most NEAR bits each. */
enum { AT_ONCE = 5 };

struct Coefficients {
    Reader reader;
    const Code *first[MAX_COMPS_IN_SCAN], *others[MAX_COMPS_IN_SCAN];
    Limits limits[MAX_COMPS_IN_SCAN];
    int32_t before[MAX_COMPS_IN_SCAN]; /* the first coefficient of the component's last block (F.2.1.3.1) */
    uint64_t done;                     /* MCUs */
    uint32_t left;                     /* of them up to the next restart */
    int32_t restarts, missing;
};

/* A block, whose coefficients are zero so far. 0 where it is none. */
static inline int decode(Reader *r, const Code *first, const Code *others, const uint16_t *limits, int32_t *before,
                         JCOEF *block) {
    int32_t run, number;
    if (!pair(r, first, &run, &number) || run) return 0;
    *before += number;
    const JCOEF mean = (JCOEF)*before;
    uint32_t k = 1, over = exceeds(*before, limits, 0);
    while (k < DCTSIZE2) {
        fill(r);
        for (int n = 0; n < AT_ONCE; n++) {
            Pair found = others->pairs[r->bits >> (64 - NEAR)];
            if (!found) goto one;
            take(r, (int32_t)(found & BYTE));
            k += found >> PASSED & BYTE;
            over |= exceeds((int32_t)found >> NUMBER, limits, k);
            block[NATURAL[k]] = (JCOEF)((int32_t)found >> NUMBER);
            if (++k >= DCTSIZE2) goto done;
        }
        continue;
    one:
        if (!pair(r, others, &run, &number)) return 0;
        k += number || run == 15 ? (uint32_t)run : ALL;
        over |= exceeds(number, limits, k);
        block[NATURAL[k]] = (JCOEF)number;
        k++;
    }
done:
    block[0] = mean; /* what lies beyond the last goes there */
    return (k == DCTSIZE2 || k > ALL) && !over && r->count >= 0;
}

/* What is wrong where a block is none. */
static int32_t reason(const Reader *r) { return r->count < 32 && at_marker(r) ? BLOCKS_MISSING : DAMAGED; }

static int32_t pass_restart(Coefficients *c) {
    Reader *r = &c->reader;
    if (pass_spare(r) > SPARE) return DAMAGED;
    if (!restart(r, c->restarts++ & 7)) return r->end - r->at < 2 || r->at[1] == JPEG_EOI ? BLOCKS_MISSING : DAMAGED;
    memset(c->before, 0, sizeof c->before);
    return 0;
}

/* libjpeg's `decode_mcu`. Where a block is none, all others stay grey: nobody is going to see them. */
static boolean decode_mcu(j_decompress_ptr info, JBLOCKROW *blocks) {
    Coefficients *c = info->client_data;
    c->done++;
    if (info->restart_interval && !c->left && !c->missing) {
        c->missing = pass_restart(c);
        c->left = info->restart_interval;
    }
    if (c->missing) return TRUE;
    c->left--;
    Reader r = c->reader;
    for (int n = 0; n < info->blocks_in_MCU; n++) {
        int of = info->MCU_membership[n];
        if (!decode(&r, c->first[of], c->others[of], c->limits[of], &c->before[of], blocks[n][0])) {
            c->missing = reason(&r);
            break;
        }
    }
    c->reader = r;
    return TRUE;
}

Coefficients *darkroom_coefficients(j_decompress_ptr info, const uint8_t *data, size_t size) {
    if (info->progressive_mode || info->arith_code || info->comps_in_scan != info->num_components) return NULL;
    Coefficients *c = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, sizeof *c);
    *c = (Coefficients){.reader = {data, data + size, 0, 0}, .left = info->restart_interval};
    const Code *codes[2][NUM_HUFF_TBLS] = {{0}};
    for (int n = 0; n < info->comps_in_scan; n++) {
        const int numbers[2] = {info->cur_comp_info[n]->dc_tbl_no, info->cur_comp_info[n]->ac_tbl_no};
        for (int kind = 0; kind < 2; kind++) {
            const int number = numbers[kind];
            if (!codes[kind][number]) {
                const JHUFF_TBL *table = kind ? info->ac_huff_tbl_ptrs[number] : info->dc_huff_tbl_ptrs[number];
                Code *code = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, sizeof *code);
                if (!generate(code, table, !kind)) return NULL;
                codes[kind][number] = code;
            }
        }
        limit(c->limits[n], info->cur_comp_info[n]->quant_table->quantval);
        c->first[n] = codes[0][numbers[0]];
        c->others[n] = codes[1][numbers[1]];
    }
    info->client_data = c;
    info->entropy->decode_mcu = decode_mcu;
    return c;
}

/* Whether the data end here, as they do: with ones that fill the last byte (F.1.2.3). */
static int ended(Reader *r) {
    fill(r);
    if (r->count > 7 || r->count < 0) return 0;
    uint64_t ones = ~((uint64_t)0) << 1 << (63 - r->count);
    return (r->bits & ones) == ones;
}

int32_t darkroom_coefficients_missing(j_decompress_ptr info, Coefficients *c, int holes) {
    JBLOCK block;
    JBLOCKROW blocks[D_MAX_BLOCKS_IN_MCU];
    for (int n = 0; n < D_MAX_BLOCKS_IN_MCU; n++) blocks[n] = &block;
    const uint64_t all = (uint64_t)info->MCUs_per_row * info->MCU_rows_in_scan;
    while (c->done < all) decode_mcu(info, blocks); /* where nobody has asked for them */
    Reader end = c->reader;
    if (c->missing || pass_spare(&end) <= SPARE) return c->missing;
    if (holes) return DAMAGED;
    for (c->left = UINT32_MAX; !c->missing; decode_mcu(info, blocks))
        if (ended(&c->reader)) return DAMAGED;
    return 0;
}
