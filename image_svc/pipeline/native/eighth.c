/* The coded data of a baseline JPEG: an eighth of its pixels for half of what libjpeg takes for it, and whether there
 * are more data than pixels.
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

enum {
    LOOK = 13,  /* bits that a table of steps is asked with: its 16 KB leave room in a processor's nearest cache */
    MOST = 18,  /* and that one passes over: three of them are filled in at once */
    NEAR = 10,  /* and one of single numbers: 4 KB */
    BLOCKS = 10, /* of an MCU, at most (B.2.3) */
    SPARE = 16   /* bytes behind a picture's data that are nothing rare: what some cameras and editors leave there */
};

/* What the next bits bring: bits to go on by, coefficients passed, whether the block has ended. As small as it can be,
 * and the bits lowest, where a shift takes them from. */
typedef uint16_t Step;
enum { GO = 63, OVER = 6, OVERS = 127, END = 13 };
/* One code and the number behind it: bits of both, coefficients passed before it, the number; 0 where they are longer. */
typedef uint32_t Pair;
enum { PASSED = 8, NUMBER = 16, BYTE = 0xFF };

typedef struct {
    Step steps[1 << LOOK];
    Pair pairs[1 << NEAR];
    uint16_t symbols[1 << LOOK]; /* length and value of one code; 0 where it is longer */
    int32_t last[18];            /* of each length, the largest code, -1 where there is none (F.2.2.3) */
    int32_t offset[17];          /* from a code of a length to its place among the values */
    const uint8_t *values;
    int32_t count;
} Code;

typedef struct {
    const uint8_t *at, *end;
    uint64_t bits; /* the next one is the highest */
    int32_t count; /* of them; below zero where more were taken than there are */
} Reader;

enum { NOTHING, ACROSS, DOWN, BOTH, WAYS };

/* What a coefficient adds to the means of a block's quarters, in fractions of 16 bits, and how. */
typedef struct {
    int32_t weight[64];
    uint8_t way[64];
} Means;

/* One of an MCU's. */
typedef struct {
    const Code *dc, *ac;
    const Means *means;
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

/* ---- bits --------------------------------------------------------------------------------------------------------- */

/* Has at least 56 bits there, where the data have them. Where it is asked matters less than that it does not branch by
 * how many there were, which no processor can foresee. */
static inline void fill(Reader *r) {
    if (r->count < 0) return;
    if (r->end - r->at >= 8) {
        uint64_t next = 0;
        for (int n = 0; n < 8; n++) next = next << 8 | r->at[n]; /* one load and a swap, as compilers see it */
        uint64_t none = ~next;
        if (!((none - 0x0101010101010101u) & next & 0x8080808080808080u)) { /* no FF among them */
            r->bits |= next >> r->count; /* with a part of a byte that comes again the next time, the same */
            r->at += (63 - r->count) >> 3;
            r->count |= 56;
            return;
        }
    }
    while (r->count < 56 && r->at < r->end) {
        if (*r->at == 0xFF) {
            if (r->end - r->at < 2 || r->at[1] != 0) return; /* a marker: there are no more */
            r->bits |= (uint64_t)0xFF << (56 - r->count);
            r->at += 2;
        } else {
            r->bits |= (uint64_t)*r->at++ << (56 - r->count);
        }
        r->count += 8;
    }
}

static inline void take(Reader *r, int32_t bits) {
    r->bits <<= bits;
    r->count -= bits;
}

/* EXTEND (F.2.2.1): a number of so many bits, 0 to 15, in which small ones are negative. */
static inline int32_t extended(int32_t value, int32_t bits) {
    return bits && value < 1 << (bits - 1) ? value - (1 << bits) + 1 : value;
}

/* One code's value, -1 where there is no such code. The reader has been filled. */
static inline int32_t symbol(Reader *r, const Code *code) {
    uint16_t found = code->symbols[r->bits >> (64 - LOOK)];
    if (found) {
        take(r, found >> 8);
        return found & 0xFF;
    }
    for (int32_t length = 1; length <= 16; length++) {
        int32_t bits = (int32_t)(r->bits >> (64 - length));
        if (bits <= code->last[length]) {
            int32_t place = bits + code->offset[length];
            if (place < 0 || place >= code->count) return -1;
            take(r, length);
            return code->values[place];
        }
    }
    return -1;
}

/* One code and its number: 0 where there is none. `run` coefficients are passed before it. */
static inline int pair(Reader *r, const Code *code, int32_t *run, int32_t *number) {
    fill(r);
    Pair found = code->pairs[r->bits >> (64 - NEAR)];
    if (found) {
        take(r, (int32_t)(found & BYTE));
        *run = (int32_t)(found >> PASSED & BYTE);
        *number = (int32_t)found >> NUMBER;
        return 1;
    }
    int32_t value = symbol(r, code);
    if (value < 0) return 0;
    int32_t bits = value & 15;
    *run = value >> 4;
    *number = bits ? extended((int32_t)(r->bits >> (64 - bits)), bits) : 0;
    take(r, bits);
    return 1;
}

/* ---- codes -------------------------------------------------------------------------------------------------------- */

/* Generates the codes (C.2) and what follows from them. 0 for a table that is none, as libjpeg sees it: no code is all
 * ones, and a difference has at most 15 bits. */
static int generate(Code *code, const JHUFF_TBL *table, int differences) {
    memset(code, 0, sizeof *code);
    int32_t next = 0, place = 0;
    for (int32_t length = 1; length <= 16; length++, next <<= 1) {
        int32_t count = table->bits[length];
        code->offset[length] = place - next;
        if ((count && next + count >= 1 << length) || place + count > 256) return 0;
        for (int32_t n = 0; n < count && differences; n++)
            if (table->huffval[place + n] > 15) return 0;
        for (int32_t n = 0; n < count && length <= LOOK; n++) {
            uint16_t found = (uint16_t)(length << 8 | table->huffval[place + n]);
            for (int32_t rest = 0; rest < 1 << (LOOK - length); rest++)
                code->symbols[(next + n) << (LOOK - length) | rest] = found;
        }
        next += count;
        place += count;
        code->last[length] = count ? next - 1 : -1;
    }
    for (int32_t bits = 0; bits < 1 << NEAR; bits++) {
        int32_t found = code->symbols[bits << (LOOK - NEAR)], length = found >> 8, size = found & 15;
        int32_t left = NEAR - length - size;
        if (!found || left < 0) continue;
        uint32_t number = (uint32_t)extended(bits >> left & ((1 << size) - 1), size);
        code->pairs[bits] = (uint32_t)(length + size) | (uint32_t)(found & BYTE) >> 4 << PASSED | number << NUMBER;
    }
    code->values = table->huffval;
    code->count = place;
    return 1;
}

/* How far all whole codes of coefficients lead that so many bits hold. */
static void look_ahead(Code *code) {
    for (uint32_t asked = 0; asked < 1 << LOOK; asked++) {
        uint32_t left = asked, bits = 0, passed = 0, ended = 0;
        while (!ended && bits < LOOK && passed < 64) {
            uint32_t found = code->symbols[left & ((1 << LOOK) - 1)];
            uint32_t length = found >> 8, size = found & 15, run = (found & BYTE) >> 4;
            if (!found || bits + length > LOOK || bits + length + size > MOST) break;
            bits += length + size;
            if (size || run == 15)
                passed += run + 1;
            else
                ended = 1;
            left <<= length + size;
        }
        code->steps[asked] = (Step)(bits | passed << OVER | ended << END);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

/* Passes over a block's coefficients but the first. */
static inline int pass(Reader *r, const Code *code) {
    for (uint32_t k = 1; k < 64;) {
        fill(r);
        for (int n = 0; n < 3; n++) { /* of at most 18 bits each */
            Step step = code->steps[r->bits >> (64 - LOOK)];
            uint32_t passed = k + (step >> OVER & OVERS), ended = (uint32_t)step >> END;
            if (!step || passed + ended > 64) goto one; /* after the last one nothing says that it was */
            take(r, step & GO);
            if (ended) return 1;
            k = passed;
            if (k == 64) return 1;
        }
        continue;
    one:
        fill(r);
        int32_t value = symbol(r, code);
        if (value < 0) return 0;
        uint32_t size = (uint32_t)value & 15, run = (uint32_t)value >> 4;
        if (!size && run != 15) return 1;
        k += run + 1;
        if (k > 64) return 0;
        take(r, (int32_t)size);
    }
    return 1;
}

static Means means(const UINT16 *quantisers) {
    Means m = {0};
    int32_t x = 0, y = 0;
    for (int32_t k = 0; k < 64; k++) {
        double part[2];
        for (int axis = 0; axis < 2; axis++) { /* the mean of half a cosine; that of the other half is its opposite */
            int32_t wave = axis ? y : x;
            double sum = 0.0;
            for (int32_t n = 0; n < 4; n++) sum += cos((2 * n + 1) * wave * M_PI / 16.0);
            part[axis] = sum / 4.0 * (wave ? 1.0 : M_SQRT1_2);
        }
        m.way[k] = (uint8_t)((x & 1 && !y) ? ACROSS : (y & 1 && !x) ? DOWN : (x & 1 && y & 1) ? BOTH : NOTHING);
        m.weight[k] = (int32_t)lround(part[0] * part[1] / 4.0 * quantisers[8 * y + x] * 65536.0);
        /* The zigzag (figure A.6). */
        if ((x + y) & 1)
            y == 7 ? x++ : x == 0 ? y++ : (x--, y++);
        else
            x == 7 ? y++ : y == 0 ? x++ : (x++, y--);
    }
    return m;
}

static inline int halves(Reader *r, const Code *code, const Means *m, int64_t sums[WAYS]) {
    for (int32_t k = 1; k < 64; k++) {
        int32_t run, number;
        if (!pair(r, code, &run, &number)) return 0;
        k += run;
        if (!number) {
            if (run != 15) return 1;
            continue;
        }
        if (k > 63) return 0;
        sums[m->way[k]] += (int64_t)number * m->weight[k];
    }
    return 1;
}

static inline uint8_t sample(int64_t value) {
    value = 128 + ((value + 32768) >> 16);
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Whether a marker stands here, or nothing any more. FF 00 is a byte of coded data. */
static inline int at_marker(const Reader *r) { return r->end - r->at < 2 || (r->at[0] == 0xFF && r->at[1]); }

/* How many bytes but zeros are left up to the next marker, which are passed over. Zeros may be there to fill. */
static int32_t pass_spare(Reader *r) {
    int32_t spare = 0;
    take(r, r->count & 7); /* the rest of a byte */
    for (; r->count > 0; take(r, 8)) spare += r->bits >> 56 != 0;
    for (; !at_marker(r); r->at += r->at[0] == 0xFF ? 2 : 1) spare += r->at[0] != 0;
    r->bits = 0;
    r->count = 0;
    return spare;
}

/* ---- the scan ----------------------------------------------------------------------------------------------------- */

/* Past a restart's marker (E.2.4), which must be the one that is due. */
static int restart(Reader *r, int32_t number) {
    while (r->at < r->end && *r->at == 0xFF && r->end - r->at > 1 && r->at[1] == 0xFF) r->at++;
    if (r->count >= 8 || r->end - r->at < 2 || r->at[0] != 0xFF || r->at[1] != JPEG_RST0 + number) return 0;
    r->at += 2;
    r->bits = 0;
    r->count = 0;
    return 1;
}

/* One block: its means. 0 where it is none. */
static inline int decode(Reader *r, const Block *block, uint8_t *at) {
    int32_t run, number;
    if (!pair(r, block->dc, &run, &number) || run) return 0;
    int32_t before = *block->before + number;
    if (before < -65536 || before > 65536) return 0;
    *block->before = before;
    const Means *m = block->means;
    int64_t mean = (int64_t)before * m->weight[0];
    if (!block->halved) {
        if (!pass(r, block->ac)) return 0;
        at[0] = sample(mean);
    } else {
        int64_t add[WAYS] = {0};
        if (!halves(r, block->ac, m, add)) return 0;
        at[0] = sample(mean + add[ACROSS] + add[DOWN] + add[BOTH]);
        at[1] = sample(mean - add[ACROSS] + add[DOWN] - add[BOTH]);
        at[block->bytes] = sample(mean + add[ACROSS] - add[DOWN] - add[BOTH]);
        at[block->bytes + 1] = sample(mean - add[ACROSS] - add[DOWN] + add[BOTH]);
    }
    return r->count >= 0;
}

/* Reads what a scan is made of; `to` says where its means go, if anywhere. 0 where it is none. */
static int gather(j_decompress_ptr info, Scan *scan, const Eighth *to) {
    Code *codes[2][NUM_HUFF_TBLS] = {{0}};
    const int32_t components = info->num_components;
    memset(scan, 0, sizeof *scan);
    for (int32_t n = 0; n < components; n++) {
        const jpeg_component_info *c = &info->comp_info[n];
        const JQUANT_TBL *quantisers = info->quant_tbl_ptrs[c->quant_tbl_no & 3];
        if (!quantisers || c->quant_tbl_no > 3 || c->dc_tbl_no > 3 || c->ac_tbl_no > 3) return 0;
        if (to) scan->means[n] = means(quantisers->quantval);
        for (int kind = 0; kind < 2; kind++) {
            int32_t number = kind ? c->ac_tbl_no : c->dc_tbl_no;
            const JHUFF_TBL *table = kind ? info->ac_huff_tbl_ptrs[number] : info->dc_huff_tbl_ptrs[number];
            if (!table) return 0;
            if (codes[kind][number]) continue;
            Code *code = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, sizeof(Code));
            if (!generate(code, table, !kind)) return 0;
            if (kind) look_ahead(code);
            codes[kind][number] = code;
        }
        size_t h = components == 1 ? 1 : (size_t)c->h_samp_factor, v = components == 1 ? 1 : (size_t)c->v_samp_factor;
        size_t scaled = to ? (size_t)c->DCT_scaled_size : 0, bytes = to ? to[n].bytes : 0;
        for (size_t y = 0; y < v; y++)
            for (size_t x = 0; x < h; x++)
                scan->blocks[scan->count++] = (Block){
                    .dc = codes[0][c->dc_tbl_no],
                    .ac = codes[1][c->ac_tbl_no],
                    .means = &scan->means[n],
                    .before = &scan->before[n],
                    .at = to ? to[n].samples + (y * bytes + x) * scaled : NULL,
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

/* ---- more data than pixels ---------------------------------------------------------------------------------------- */

/* Passes over an MCU; 0 where it is none. */
static int pass_over(Reader *r, const Scan *scan) {
    for (int32_t n = 0; n < scan->count; n++) {
        int32_t run, number;
        if (!pair(r, scan->blocks[n].dc, &run, &number) || run || !pass(r, scan->blocks[n].ac) || r->count < 0) return 0;
    }
    return 1;
}

/* Whether the data end here, as they do: with ones that fill the last byte (F.1.2.3). */
static int ended(Reader *r) {
    fill(r);
    if (r->count > 7 || r->count < 0) return 0;
    uint64_t ones = ~((uint64_t)0) << 1 << (63 - r->count);
    return (r->bits & ones) == ones;
}

int darkroom_eighth_spare(j_decompress_ptr info, const uint8_t *data, size_t size) {
    Scan scan;
    if (!one_scan(info) || !gather(info, &scan, NULL)) return 0;
    Reader r = {data, data + size, 0, 0};
    const uint64_t count = (uint64_t)scan.across * scan.down;
    int32_t restarts = 0;
    for (uint64_t n = 0; n < count; n++) {
        if (info->restart_interval && n && n % info->restart_interval == 0) {
            pass_spare(&r);
            if (!restart(&r, restarts++ & 7)) return 1;
        }
        if (!pass_over(&r, &scan)) return 1; /* a code that is none, or more coefficients than a block has */
    }
    Reader behind = r;
    if (pass_spare(&r) > SPARE)
        while (pass_over(&behind, &scan))
            if (ended(&behind)) return 1;
    return 0;
}
