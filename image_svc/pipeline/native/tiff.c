/* Whether a TIFF has all of its pixels, where libtiff does not say.
 *
 * Of codes that cannot be and of data that end too early it only warns where pixels are coded as in a fax (CCITT) or lie
 * in JPEGs, and shows what there is; Pillow turns the warnings off. So all strips or tiles are decoded once more, one at
 * a time into the same memory, for what is said.
 *
 * Plain C behind `pipeline/headers/tiff.py`, without Python. One thread at a time: libtiff's handlers are the process's.
 */

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

/* As `header.heed` has them. What cannot be read at all is left to the one who decodes it. */
enum { WHOLE = 0, DAMAGED = 1, NO_MEMORY = 2 };

typedef struct {
    const uint8_t *bytes;
    toff_t size, at;
} File;

static int damaged;

static void hear(const char *module, const char *format, va_list values)
{
    if (module == NULL)
        return;
    /* A code that is none, or a line that is not as long as the others: all that follows is wrong, or is not there. Not
     * so in what came over a telephone line (G3): a broken line ends with itself, and real ones have some. */
    if (strcmp(module, "Fax4Decode") == 0 || strcmp(module, "Fax3DecodeRLE") == 0) {
        damaged = 1;
    } else if (strcmp(module, "JPEGLib") == 0) {
        char said[200];
        vsnprintf(said, sizeof said, format, values);
        /* libjpeg's JWRN_HIT_MARKER and JWRN_JPEG_EOF, JWRN_HUFF_BAD_CODE and JWRN_MUST_RESYNC: blocks are missing, or
         * not where they were. What else it warns of is no reason. */
        if (strstr(said, "remature end") || strstr(said, "bad Huffman code") || strstr(said, "instead of RST"))
            damaged = 1;
    }
}

static tmsize_t read_file(thandle_t handle, void *to, tmsize_t wanted)
{
    File *file = handle;
    const toff_t left = file->at < file->size ? file->size - file->at : 0;
    const size_t given = wanted < 0 ? 0 : (toff_t)wanted < left ? (size_t)wanted : (size_t)left;
    memcpy(to, file->bytes + (given ? file->at : 0), given);
    file->at += given;
    return (tmsize_t)given;
}

static tmsize_t write_file(thandle_t handle, void *from, tmsize_t size)
{
    (void)handle, (void)from, (void)size;
    return 0;
}

static toff_t seek_file(thandle_t handle, toff_t to, int from)
{
    File *file = handle;
    file->at = from == SEEK_CUR ? file->at + to : from == SEEK_END ? file->size + to : to;
    return file->at;
}

static int close_file(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t file_size(thandle_t handle)
{
    return ((File *)handle)->size;
}

/* libtiff asks for memory to read from, and only reads from it. */
static int map_file(thandle_t handle, void **base, toff_t *size)
{
    File *file = handle;
    memcpy(base, &file->bytes, sizeof *base);
    *size = file->size;
    return 1;
}

static void unmap_file(thandle_t handle, void *base, toff_t size)
{
    (void)handle, (void)base, (void)size;
}

static int32_t decode(TIFF *tiff)
{
    uint16_t compression = 0, photometric = 0;
    TIFFGetField(tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    if (compression == COMPRESSION_JPEG && photometric == PHOTOMETRIC_YCBCR)
        TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB); /* as Pillow does */
    const int tiled = TIFFIsTiled(tiff);
    const tmsize_t size = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
    const uint32_t count = tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    if (size <= 0)
        return WHOLE;
    void *pixels = malloc((size_t)size);
    if (pixels == NULL)
        return NO_MEMORY;
    damaged = 0; /* by what was said of the directory: notes may be broken */
    for (uint32_t number = 0; number < count && !damaged; number++) {
        const tmsize_t got = tiled ? TIFFReadEncodedTile(tiff, number, pixels, size)
                                   : TIFFReadEncodedStrip(tiff, number, pixels, size);
        if (got < 0)
            break;
    }
    free(pixels);
    return damaged ? DAMAGED : WHOLE;
}

/* What libtiff says of the pixels of the first page of a file. */
int32_t darkroom_tiff_whole(const void *bytes, size_t size)
{
    File file = {.bytes = bytes, .size = size};
    TIFFErrorHandler errors = TIFFSetErrorHandler(hear), warnings = TIFFSetWarningHandler(hear);
    TIFF *tiff = TIFFClientOpen(
        "", "r", &file, read_file, write_file, seek_file, close_file, file_size, map_file, unmap_file);
    const int32_t said = tiff == NULL ? WHOLE : decode(tiff);
    if (tiff != NULL)
        TIFFClose(tiff);
    TIFFSetErrorHandler(errors);
    TIFFSetWarningHandler(warnings);
    return said;
}
