// An interactive session of bash: descriptor 3 is its channel. With --merged both of its outputs
// are one stream.

#include <unistd.h>

#include <string_view>

#include "runner/languages/bash/bash_keeper.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--merged") {
    ::dup2(STDOUT_FILENO, STDERR_FILENO);
  }
  forkbox::languages::BashKeeper keeper(3);
  return keeper.Run();
}
