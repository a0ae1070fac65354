// Loops of plain code, compiled for wider vectors too; the machine chooses when the program starts. The build
// forbids contraction, so all give the same floats.
#pragma once

// Only glibc chooses so, and sanitizers are not ready yet when it does.
#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define OCTAVO_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define OCTAVO_CLONES
#endif
