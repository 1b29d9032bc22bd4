// What the process says at its end. A `run` passes on the program's own code besides these.
#pragma once

namespace forkbox::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;    // it could not do what was asked; stderr says why
inline constexpr int kExitUsage = 2;      // a flag, a variable or the config file is wrong
inline constexpr int kExitTimeout = 124;  // of `run`: as timeout(1)
inline constexpr int kExitOurs = 125;     // of `run`: the sandbox failed, not the program
inline constexpr int kExitSignalBase = 128;

}  // namespace forkbox::cli
