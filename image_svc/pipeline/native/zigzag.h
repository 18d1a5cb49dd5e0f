/* The order in which a block's coefficients are coded (figure A.6 of ITU-T T.81): where each stands in its block. */

#ifndef DARKROOM_ZIGZAG_H
#define DARKROOM_ZIGZAG_H

#include <stdint.h>

/* What the code for a block's end passes: all that could be left, and more than the longest run. */
enum { ALL = 128 };

/* Beyond the last there is room for what passes it. */
static const uint8_t NATURAL[64 + ALL] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,
    7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46,
    53, 60, 61, 54, 47, 55, 62, 63,
};

#endif
