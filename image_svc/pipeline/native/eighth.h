#ifndef DARKROOM_EIGHTH_H
#define DARKROOM_EIGHTH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

/* Where the samples of a component go: `bytes` from line to line. */
typedef struct {
    uint8_t *samples;
    size_t bytes;
} Eighth;

/* Whether `darkroom_eighth` knows this kind of JPEG: baseline, all in one scan, and an eighth of it wanted. `info` has
 * read the header, and the dimensions have been calculated. */
int darkroom_eighth_knows(j_decompress_ptr info);

/* Decodes the coded data that begin at `data`, an eighth across and down: of a component at its DCT_scaled_size (1 or
 * 2), so many samples of each block. `to` has room for all blocks of all MCUs. Returns 0 where anything is not as it
 * should be: libjpeg then says what. Changes nothing in `info`; takes memory from its pool. */
int darkroom_eighth(j_decompress_ptr info, const uint8_t *data, size_t size, const Eighth *to);

#endif
