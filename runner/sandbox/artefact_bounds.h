// How much a compiler may hand back: kept by the child that collects it, and checked again by the
// driver, which believes nothing.
#pragma once

#include <cstddef>

namespace forkbox::sandbox {

inline constexpr std::size_t kMaxArtefactBytes = 24U << 20;  // of all files together
inline constexpr std::size_t kMaxArtefactFiles = 4096;
inline constexpr std::size_t kMaxArtefactDepth = 32;  // of folders in each other
inline constexpr std::size_t kMaxArtefactPathBytes = 1024;
// Of the answer that brings them.
inline constexpr std::size_t kMaxArtefactAnswerBytes =
    1 + 4 + kMaxArtefactBytes + kMaxArtefactFiles * (12 + kMaxArtefactPathBytes);

// Of a program as it goes into its sandbox: what was compiled, its code and the files beside it,
// with their paths. Leaves room in a job (kMaxJobFrameBytes) for arguments and environment.
inline constexpr std::size_t kMaxProgramBytes = 88U << 20;

}  // namespace forkbox::sandbox
