/* What is coded in a baseline JPEG, bit by bit: for those that read it in their own ways.
 *
 * Numbers in brackets are those of ITU-T T.81.
 */

#ifndef DARKROOM_HUFFMAN_H
#define DARKROOM_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include "zigzag.h"

enum {
    LOOK = 13, /* bits that a table of single codes is asked with: its 16 KB leave room in a processor's nearest cache */
    NEAR = 10  /* and one of codes with their numbers: 4 KB */
};

/* One code and the number behind it: bits of both, coefficients passed before it, the number; 0 where they are longer.
 * The code for the end of a block passes all that could be left. */
typedef uint32_t Pair;
enum { PASSED = 8, NUMBER = 16, BYTE = 0xFF };

typedef struct {
    Pair pairs[1 << NEAR];
    uint16_t symbols[1 << LOOK]; /* length and value of one code; 0 where it is longer */
    int32_t last[18];            /* of each length, the largest code, -1 where there is none (F.2.2.3) */
    int32_t offset[17];          /* from a code of a length to its place among the values */
    const uint8_t *values;
    int32_t count;
} Code;

/* Of each coefficient in the order in which they are coded, the largest that a picture can have, in steps. */
typedef uint16_t Limits[DCTSIZE2 + ALL];
/* What 8-bit samples make of a block is at most 1024 (A.3.3, of a block that is all white, or all black; the others are
 * smaller); encoders that round, or let a white edge overshoot (mozjpeg), come a little higher. */
enum { LARGEST = 1280 };

typedef struct {
    const uint8_t *at, *end;
    uint64_t bits; /* the next one is the highest */
    int32_t count; /* of them; below zero where more were taken than there are */
} Reader;

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
            if (r->end - r->at < 2) return;
            if (r->at[1] == 0xFF) { /* any number of them is one (B.1.1.2) */
                r->at++;
                continue;
            }
            if (r->at[1] != 0) return; /* a marker: there are no more */
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

static inline void limit(Limits to, const UINT16 *quantisers) {
    memset(to, 0, sizeof(Limits));
    for (int k = 0; k < DCTSIZE2; k++) {
        const int step = quantisers[NATURAL[k]];
        to[k] = (uint16_t)(LARGEST / (step ? step : 1) + 1);
    }
}

/* Whether a number is larger than a picture's can be. */
static inline uint32_t exceeds(int32_t number, const uint16_t *limits, uint32_t k) {
    return (uint32_t)(number + limits[k]) > 2u * limits[k];
}

/* Generates the codes (C.2) and what follows from them; `differences`: those of first coefficients. 0 for a table that
 * is none, as libjpeg sees it: no code is all ones, and a difference has at most 15 bits. */
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
        uint32_t run = (uint32_t)(found & BYTE) >> 4, passed = differences || size || run == 15 ? run : ALL;
        code->pairs[bits] = (uint32_t)(length + size) | passed << PASSED | number << NUMBER;
    }
    code->values = table->huffval;
    code->count = place;
    return 1;
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

/* Past a restart's marker (E.2.4), which must be the one that is due. */
static int restart(Reader *r, int32_t number) {
    while (r->at < r->end && *r->at == 0xFF && r->end - r->at > 1 && r->at[1] == 0xFF) r->at++;
    if (r->count >= 8 || r->end - r->at < 2 || r->at[0] != 0xFF || r->at[1] != JPEG_RST0 + number) return 0;
    r->at += 2;
    r->bits = 0;
    r->count = 0;
    return 1;
}

#endif
