// What goes between PtySession and pty_shell, over the channel of the process (descriptor 3).
//
//   to pty_shell     PtyMessage …   each sent whole or not at all
//   from pty_shell   kPtyOpened     one byte, once: the terminal is there
//
// Nothing else is read from it, and never with room for descriptors: the terminal's own, both of
// them, stay in the box. What is typed and what is shown go over standard input and output; how it
// ended is how pty_shell ends. The end of the channel ends the terminal.
//
// Numbers are in the machine's own order: both ends run on it.
#pragma once

#include <cstdint>

namespace forkbox::execd {

enum class PtyMessageKind : std::uint32_t {
  kResize = 1,  // first: columns, second: rows
  kKey = 2,     // first: the signal, to the job that has the terminal, as its key would send it
  kSignal = 3,  // first: the signal, to the process group of the program
};

struct PtyMessage {
  PtyMessageKind kind{};
  std::uint16_t first = 0;
  std::uint16_t second = 0;
};
static_assert(sizeof(PtyMessage) == 8);

inline constexpr char kPtyOpened = 'O';

}  // namespace forkbox::execd
