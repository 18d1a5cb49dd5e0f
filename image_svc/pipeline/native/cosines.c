/* The lowest terms of a picture's cosine transform, which placeholders and perceptual hashes are made of. */

#include <math.h>
#include <stdint.h>

enum { SIDE = 128, WAVES = 16 }; /* pixels of a side and waves along it, at most */

static void waves(double to[WAVES][SIDE], int32_t count, int32_t length) {
    for (int32_t wave = 0; wave < count; wave++)
        for (int32_t at = 0; at < length; at++) to[wave][at] = cos(M_PI / length * wave * (at + 0.5));
}

/* `terms` gets for each of `down` waves from top to bottom, one after the other, each of `across` from left to right:
 * the sum of all values, which come row by row, each times both waves at the middle of its pixel. Returns 0, and does
 * nothing, where there is no such picture or too much of one. */
int32_t darkroom_cosines(const double *values, int32_t width, int32_t height, int32_t across, int32_t down,
                         double *terms) {
    double horizontal[WAVES][SIDE], vertical[WAVES][SIDE];
    if (width < 1 || height < 1 || width > SIDE || height > SIDE) return 0;
    if (across < 1 || down < 1 || across > WAVES || down > WAVES) return 0;
    waves(horizontal, across, width);
    waves(vertical, down, height);
    for (int32_t term = 0; term < across * down; term++) terms[term] = 0.0;
    for (int32_t row = 0; row < height; row++) {
        for (int32_t x = 0; x < across; x++) {
            double along = 0.0;
            for (int32_t at = 0; at < width; at++) along += values[row * width + at] * horizontal[x][at];
            for (int32_t y = 0; y < down; y++) terms[y * across + x] += along * vertical[y][row];
        }
    }
    return 1;
}
