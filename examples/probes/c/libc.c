// The little of a C library that a probe needs. Without a real one the component has 5 KB and imports no WASI.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536

// Memory is given out in a row and taken back all at once, when nothing of it is in use any more: that is at the end
// of every call, because everything that a call allocates is freed in it or by the generated code right after it.
// What is never freed would grow the instance up to its limit, not beyond.

extern unsigned char __heap_base; // set by the linker, behind all data

static uintptr_t next;
static size_t in_use;

typedef struct {
    size_t size;
    size_t padding; // keeps what follows aligned to 8
} header;

static uintptr_t start(void) { return ((uintptr_t)&__heap_base + 7) & ~(uintptr_t)7; }

void *malloc(size_t size) {
    if (in_use == 0) next = start();
    size_t needed = sizeof(header) + ((size + 7) & ~(size_t)7);
    if (needed < size) return NULL;
    uintptr_t end = __builtin_wasm_memory_size(0) * PAGE;
    if (end - next < needed) {
        size_t pages = (needed - (end - next) + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return NULL;
    }
    header *block = (header *)next;
    block->size = size;
    next += needed;
    in_use++;
    return block + 1;
}

void free(void *memory) {
    // an empty list or string has no memory, only an address that is not null
    if ((uintptr_t)memory >= start()) in_use--;
}

void *realloc(void *memory, size_t size) {
    if (memory == NULL) return malloc(size);
    size_t old = ((header *)memory - 1)->size;
    if (size <= old) return memory;
    void *larger = malloc(size);
    if (larger == NULL) return NULL;
    memcpy(larger, memory, old);
    free(memory);
    return larger;
}

// A trap: the host throws the instance away and counts a fault of the plugin.
_Noreturn void abort(void) { __builtin_trap(); }

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    unsigned char *target = to;
    const unsigned char *source = from;
    while (length-- > 0) *target++ = *source++;
    return to;
}

void *memset(void *to, int byte, size_t length) {
    unsigned char *target = to;
    while (length-- > 0) *target++ = (unsigned char)byte;
    return to;
}

int memcmp(const void *one, const void *other, size_t length) {
    const unsigned char *left = one, *right = other;
    for (; length > 0; length--, left++, right++) {
        if (*left != *right) return *left < *right ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != '\0') length++;
    return length;
}
