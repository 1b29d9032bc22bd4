// PtyRelay: stands between a terminal and those outside the box who look at it: carries what is
// typed from standard input to the terminal, what is shown to standard output, and does what the
// channel says (pty_wire.h), until the program of the terminal has ended.
//
// One thread. Nothing here blocks but poll(2).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <string_view>

namespace forkbox::execd {

class PtyRelay {
 public:
  // `signals`: a signalfd(2) of SIGCHLD. All non-blocking but the channel, and kept open by others.
  PtyRelay(int master, int channel, int signals, pid_t program)
      : master_(master), channel_(channel), signals_(signals), program_(program) {}

  // Until the program has ended and all it has printed is handed on; returns how, as wait4(2) has
  // it. What others go on printing in its terminal is not waited for.
  int Run();

 private:
  // What was read and is not yet written.
  struct Waiting {
    std::array<char, 32768> bytes;  // NOLINT: filled by read
    std::size_t begin = 0;
    std::size_t end = 0;
    [[nodiscard]] bool empty() const { return begin == end; }
    [[nodiscard]] std::string_view view() const { return {bytes.data() + begin, end - begin}; }
  };
  static bool Fill(int fd, Waiting* waiting);   // false: nothing came
  static bool Drain(Waiting* waiting, int fd);  // false: it never will be taken
  void TakeMessages();
  void SignalProgram(int number) const;
  void LookForEnd();

  const int master_;
  const int channel_;
  const int signals_;
  const pid_t program_;
  Waiting typed_;
  Waiting shown_;
  bool channel_open_ = true;
  bool input_open_ = true;
  bool output_open_ = true;
  bool ended_ = false;
  int wait_status_ = 0;
};

}  // namespace forkbox::execd
