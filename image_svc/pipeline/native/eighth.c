/* An eighth of the pixels of a baseline JPEG for half of what libjpeg takes for it.
 *
 * Of each block an eighth shows the mean alone. What costs the time is to find where a block ends: its 63 other
 * coefficients are coded one after the other, each as long as its code says. libjpeg decodes them one by one. Here a
 * table, asked with the next bits, tells how far as many whole coefficients lead as these bits hold: some two for each
 * look. Where colours are stored coarser than the luminance, theirs is decoded as far as a quarter shows.
 *
 * Numbers in brackets are those of ITU-T T.81.
 */

#include "eighth.h"

#include <math.h>
#include <string.h>

#include "huffman.h"

enum {
    MOST = 18,  /* bits that a step passes over: three of them are filled in at once */
    BLOCKS = 10 /* of an MCU, at most (B.2.3) */
};

/* What the next bits bring: bits to go on by, coefficients passed, whether the block has ended. As small as it can be,
 * and the bits lowest, where a shift takes them from. */
typedef uint16_t Step;
enum { GO = 63, OVER = 6, OVERS = 127, END = 13 };

typedef struct {
    Code code;
    Step steps[1 << LOOK];
    uint32_t wide; /* numbers of so many bits may be larger than a picture's */
} Steps;

enum { NOTHING, ACROSS, DOWN, BOTH, WAYS };

/* What a coefficient adds to the means of a block's quarters, in fractions of 16 bits, and how. */
typedef struct {
    int32_t weight[64];
    uint8_t way[64];
} Means;

/* One of an MCU's. */
typedef struct {
    const Code *dc;
    const Steps *ac;
    const Means *means;
    const uint16_t *limits;
    int32_t *before; /* the mean of the component's last block, in its steps (F.2.1.3.1) */
    uint8_t *at;     /* where its means go, in the first MCU; from there */
    size_t next;     /* to the place in the next MCU, */
    size_t below;    /* in the one below, */
    size_t bytes;    /* and to the next line */
    int32_t halved;  /* two by two means of it are wanted, and not one */
} Block;

/* What the scan is made of. */
typedef struct {
    Block blocks[BLOCKS]; /* of an MCU */
    Means means[4];
    Limits limits[4];
    int32_t count, before[4];
    uint32_t across, down; /* MCUs */
} Scan;

static int one_scan(j_decompress_ptr info) {
    if (info->progressive_mode || info->arith_code || info->comps_in_scan != info->num_components) return 0;
    int32_t blocks = 0;
    for (int32_t n = 0; n < info->num_components; n++) {
        const jpeg_component_info *c = &info->comp_info[n];
        if (info->cur_comp_info[n] != c) return 0;
        blocks += c->h_samp_factor * c->v_samp_factor;
    }
    return info->num_components == 1 || blocks <= BLOCKS;
}

int darkroom_eighth_knows(j_decompress_ptr info) {
    for (int32_t n = 0; n < info->num_components; n++) {
        int scaled = info->comp_info[n].DCT_scaled_size;
        if (scaled != 1 && scaled != 2) return 0;
    }
    return one_scan(info);
}

/* How far all whole codes of coefficients lead that so many bits hold; `least`: of the limits of those who use them. */
static void look_ahead(Steps *steps, uint32_t least) {
    steps->wide = 1;
    while (1u << steps->wide <= least) steps->wide++;
    for (uint32_t asked = 0; asked < 1 << LOOK; asked++) {
        uint32_t left = asked, bits = 0, passed = 0, ended = 0;
        while (!ended && bits < LOOK && passed < 64) {
            uint32_t found = steps->code.symbols[left & ((1 << LOOK) - 1)];
            uint32_t length = found >> 8, size = found & 15, run = (found & BYTE) >> 4;
            if (!found || size >= steps->wide || bits + length > LOOK || bits + length + size > MOST) break;
            bits += length + size;
            if (size || run == 15)
                passed += run + 1;
            else
                ended = 1;
            left <<= length + size;
        }
        steps->steps[asked] = (Step)(bits | passed << OVER | ended << END);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

/* Passes over a block's coefficients but the first. */
static inline int pass(Reader *r, const Steps *steps, const uint16_t *limits) {
    for (uint32_t k = 1; k < 64;) {
        fill(r);
        for (int n = 0; n < 3; n++) { /* of at most 18 bits each */
            Step step = steps->steps[r->bits >> (64 - LOOK)];
            uint32_t passed = k + (step >> OVER & OVERS), ended = (uint32_t)step >> END;
            if (!step || passed + ended > 64) goto one; /* after the last one nothing says that it was */
            take(r, step & GO);
            if (ended) return 1;
            k = passed;
            if (k == 64) return 1;
        }
        continue;
    one:;
        int32_t run, number;
        if (!pair(r, &steps->code, &run, &number)) return 0;
        if (!number && run != 15) return 1;
        k += (uint32_t)run + 1;
        if (k > 64 || exceeds(number, limits, k - 1)) return 0;
    }
    return 1;
}

static Means means(const UINT16 *quantisers) {
    Means m = {0};
    for (int32_t k = 0; k < 64; k++) {
        const int32_t x = NATURAL[k] % 8, y = NATURAL[k] / 8;
        double part[2];
        for (int axis = 0; axis < 2; axis++) { /* the mean of half a cosine; that of the other half is its opposite */
            int32_t wave = axis ? y : x;
            double sum = 0.0;
            for (int32_t n = 0; n < 4; n++) sum += cos((2 * n + 1) * wave * M_PI / 16.0);
            part[axis] = sum / 4.0 * (wave ? 1.0 : M_SQRT1_2);
        }
        m.way[k] = (uint8_t)((x & 1 && !y) ? ACROSS : (y & 1 && !x) ? DOWN : (x & 1 && y & 1) ? BOTH : NOTHING);
        m.weight[k] = (int32_t)lround(part[0] * part[1] / 4.0 * quantisers[8 * y + x] * 65536.0);
    }
    return m;
}

static inline int halves(Reader *r, const Code *code, const Means *m, const uint16_t *limits, int64_t sums[WAYS]) {
    for (int32_t k = 1; k < 64; k++) {
        int32_t run, number;
        if (!pair(r, code, &run, &number)) return 0;
        k += run;
        if (!number) {
            if (run != 15) return 1;
            continue;
        }
        if (k > 63 || exceeds(number, limits, (uint32_t)k)) return 0;
        sums[m->way[k]] += (int64_t)number * m->weight[k];
    }
    return 1;
}

static inline uint8_t sample(int64_t value) {
    value = 128 + ((value + 32768) >> 16);
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* ---- the scan ----------------------------------------------------------------------------------------------------- */

/* One block: its means. 0 where it is none. */
static inline int decode(Reader *r, const Block *block, uint8_t *at) {
    int32_t run, number;
    if (!pair(r, block->dc, &run, &number) || run) return 0;
    int32_t before = *block->before + number;
    if (exceeds(before, block->limits, 0)) return 0;
    *block->before = before;
    const Means *m = block->means;
    int64_t mean = (int64_t)before * m->weight[0];
    if (!block->halved) {
        if (!pass(r, block->ac, block->limits)) return 0;
        at[0] = sample(mean);
    } else {
        int64_t add[WAYS] = {0};
        if (!halves(r, &block->ac->code, m, block->limits, add)) return 0;
        at[0] = sample(mean + add[ACROSS] + add[DOWN] + add[BOTH]);
        at[1] = sample(mean - add[ACROSS] + add[DOWN] - add[BOTH]);
        at[block->bytes] = sample(mean + add[ACROSS] - add[DOWN] - add[BOTH]);
        at[block->bytes + 1] = sample(mean - add[ACROSS] - add[DOWN] + add[BOTH]);
    }
    return r->count >= 0;
}

/* Reads what a scan is made of; `to` says where its means go. 0 where it is none. */
static int gather(j_decompress_ptr info, Scan *scan, const Eighth *to) {
    Steps *codes[2][NUM_HUFF_TBLS] = {{0}}; /* those of first coefficients without steps */
    const int32_t components = info->num_components;
    uint32_t least[NUM_HUFF_TBLS] = {LARGEST, LARGEST, LARGEST, LARGEST};
    memset(scan, 0, sizeof *scan);
    for (int32_t n = 0; n < components; n++) {
        const jpeg_component_info *c = &info->comp_info[n];
        const JQUANT_TBL *quantisers = info->quant_tbl_ptrs[c->quant_tbl_no & 3];
        if (!quantisers || c->quant_tbl_no > 3 || c->dc_tbl_no > 3 || c->ac_tbl_no > 3) return 0;
        scan->means[n] = means(quantisers->quantval);
        limit(scan->limits[n], quantisers->quantval);
        for (int k = 1; k < DCTSIZE2; k++)
            if (scan->limits[n][k] < least[c->ac_tbl_no]) least[c->ac_tbl_no] = scan->limits[n][k];
    }
    for (int32_t n = 0; n < components; n++) {
        const jpeg_component_info *c = &info->comp_info[n];
        for (int kind = 0; kind < 2; kind++) {
            int32_t number = kind ? c->ac_tbl_no : c->dc_tbl_no;
            const JHUFF_TBL *table = kind ? info->ac_huff_tbl_ptrs[number] : info->dc_huff_tbl_ptrs[number];
            if (!table) return 0;
            if (codes[kind][number]) continue;
            size_t size = kind ? sizeof(Steps) : sizeof(Code);
            Steps *steps = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, size);
            if (!generate(&steps->code, table, !kind)) return 0;
            if (kind) look_ahead(steps, least[number]);
            codes[kind][number] = steps;
        }
        size_t h = components == 1 ? 1 : (size_t)c->h_samp_factor, v = components == 1 ? 1 : (size_t)c->v_samp_factor;
        size_t scaled = (size_t)c->DCT_scaled_size, bytes = to[n].bytes;
        for (size_t y = 0; y < v; y++)
            for (size_t x = 0; x < h; x++)
                scan->blocks[scan->count++] = (Block){
                    .dc = &codes[0][c->dc_tbl_no]->code,
                    .ac = codes[1][c->ac_tbl_no],
                    .means = &scan->means[n],
                    .limits = scan->limits[n],
                    .before = &scan->before[n],
                    .at = to[n].samples + (y * bytes + x) * scaled,
                    .next = h * scaled,
                    .below = v * scaled * bytes,
                    .bytes = bytes,
                    .halved = scaled == 2,
                };
        scan->across = (c->width_in_blocks + (uint32_t)h - 1) / (uint32_t)h;
        scan->down = (c->height_in_blocks + (uint32_t)v - 1) / (uint32_t)v;
    }
    if (components > 1) {
        uint32_t width = 8 * (uint32_t)info->max_h_samp_factor, height = 8 * (uint32_t)info->max_v_samp_factor;
        scan->across = (info->image_width + width - 1) / width;
        scan->down = (info->image_height + height - 1) / height;
    }
    return 1;
}

int darkroom_eighth(j_decompress_ptr info, const uint8_t *data, size_t size, const Eighth *to) {
    Scan scan;
    if (!gather(info, &scan, to)) return 0;
    Reader r = {data, data + size, 0, 0};
    int32_t restarts = 0;
    uint32_t left = info->restart_interval;
    for (uint32_t y = 0; y < scan.down; y++) {
        for (uint32_t x = 0; x < scan.across; x++) {
            if (info->restart_interval) {
                if (!left) {
                    if (!restart(&r, restarts++ & 7)) return 0;
                    memset(scan.before, 0, sizeof scan.before);
                    left = info->restart_interval;
                }
                left--;
            }
            for (int32_t n = 0; n < scan.count; n++) {
                const Block *block = &scan.blocks[n];
                if (!decode(&r, block, block->at + y * block->below + x * block->next)) return 0;
            }
        }
    }
    return r.count >= 0 && !pass_spare(&r);
}
