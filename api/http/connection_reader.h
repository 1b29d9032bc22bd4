// ConnectionReader: the thread that reads a connection's socket, as far as it can be told to stop.
#pragma once

#include <memory>

#include "base/unique_fd.h"

namespace forkbox::http {

class Connection;

class ConnectionReader {
 public:
  virtual ~ConnectionReader() = default;

  // The calling thread is the one that reads.
  [[nodiscard]] virtual bool IsThisThread() const = 0;

  // In the reading thread alone, until OnDisconnect. Puts something that stays silent into the
  // place of the socket `peer_fd`, which must be open elsewhere: not another byte of the socket is
  // read. Closing the descriptor returned ends the silence: the reader drops its peer then, and
  // OnDisconnect follows. Invalid when there are no descriptors; then nothing has changed.
  virtual UniqueFd LetGo(int peer_fd) = 0;

  // From any thread: has the reading thread see after the connection, as if it had had input. May
  // get lost; ask again.
  virtual void Call(const std::shared_ptr<Connection>& connection) = 0;
};

}  // namespace forkbox::http
