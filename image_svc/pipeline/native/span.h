#ifndef DARKROOM_SPAN_H
#define DARKROOM_SPAN_H

#include <stdint.h>

/* A place in a file, from a byte to that behind the last; as `native.Span` has it. */
typedef struct {
    uint64_t start, end;
} Span;

#endif
