// What the generated bindings and the probe need of the C library; ../libc.c has it.
#pragma once
#include <stddef.h>

void *malloc(size_t size);
void *realloc(void *memory, size_t size);
void free(void *memory);
_Noreturn void abort(void);
