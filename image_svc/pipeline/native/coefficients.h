#ifndef DARKROOM_COEFFICIENTS_H
#define DARKROOM_COEFFICIENTS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

/* What coded data should have had: blocks before the end or another marker; something that shows that others are not
 * what they were. */
enum { BLOCKS_MISSING = 1, DAMAGED = 2 };

typedef struct Coefficients Coefficients;

/* Takes the place of libjpeg's decoder of coefficients for a baseline JPEG with all in one scan, whose coded data begin
 * at `data`: `info` has just been started. NULL where it is of another kind, and libjpeg's own goes on. Takes memory
 * from the pool of `info`, and its `client_data`. */
Coefficients *darkroom_coefficients(j_decompress_ptr info, const uint8_t *data, size_t size);

/* What the data should have had, after all blocks that nobody has asked for have been passed, too; `holes` where they
 * have zeros that a download may have left. Behind the last pixel some cameras and editors leave something, so that this
 * must go on as pixels do, to its end, if there is no hole before it. */
int32_t darkroom_coefficients_missing(j_decompress_ptr info, Coefficients *coefficients, int holes);

#endif
